/* err.h - the one error type, and the sentence that goes with it.
 * The table gives the enum, the word users see in admin replies, and the
 * exit status tealctl turns it into: one place, so that they cannot differ. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/check.h"

/*	enum               word                 exit */
#define ERR_TABLE(X) \
	X(OK,                "ok",                0) \
	X(E_INTERNAL,        "internal",          1) \
	X(E_USAGE,           "usage",             2) \
	X(E_UNSUPPORTED,     "unsupported",       2) \
	X(E_UNKNOWN_SERVICE, "unknown_service",   2) \
	X(E_UNKNOWN_COLOR,   "unknown_color",     2) \
	X(E_DENIED,          "denied",            3) \
	X(E_UNHEALTHY,       "unhealthy",         4) \
	X(E_LOCKED,          "locked",           13) \
	X(E_CLAIMED,         "claimed",           4) \
	X(E_CONFLICT,        "conflict",          5) \
	X(E_TIMEOUT,         "timeout",           6) \
	X(E_PARTIAL_FLEET,   "partial_fleet",     8) \
	X(E_STORE,           "store_unavailable", 10) \
	X(E_NOT_DURABLE,     "not_durable",       10) \
	X(E_UNKNOWN,         "unknown",           11) \
	X(E_CONFIG,          "config",            2) \
	X(E_ROLLED_BACK,     "rolled_back",       7) \
	X(E_WORSE,           "worse",            14) \
	X(E_INCONCLUSIVE,    "inconclusive",     12)

enum err {
#define X(name, word, status) name,
	ERR_TABLE(X)
#undef X
};

/* The room of a table by enum err; not one of its values, so that a switch knows all of them. */
#define X(name, word, status) + 1
enum { ERR_COUNT = 0 ERR_TABLE(X) };
#undef X

const char *err_word(enum err e);
int err_exit_status(enum err e);
/* The error with that word; E_INTERNAL for an unknown word. */
enum err err_from_word(const char *word);

/* The sentence: what, why and what to do next.  Filled by the function that
 * returns an error; empty on OK. */
struct why {
	char text[1024];
};

/* Writes the sentence and returns e, so that a function can end with
 *	return why_set(why, E_USAGE, "no such color: %s", word);
 * why may be NULL. */
enum err why_set(struct why *why, enum err e, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
