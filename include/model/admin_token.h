/* admin_token.h - tokens of the admin listener: what admin.token_file says of them, and making one.
 * A token is "teal_" and 64 hexadecimal digits (32 bytes of getrandom(2)).  The file has only its
 * SHA-256, which is enough for a secret of that length: there is nothing to be guessed.
 *
 *	# name    hash                    the last day it is good for (UTC), if there is one
 *	ci-shop   sha256:9f86d0…          until=2027-01-31
 *
 * A name may have several lines, so that one token follows another.  Any thread. */
#ifndef MODEL_ADMIN_TOKEN_H
#define MODEL_ADMIN_TOKEN_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "model/claim_token.h"

/* With NUL. */
#define ADMIN_TOKEN_NAME 57
#define ADMIN_TOKEN_TEXT (sizeof("teal_") + 64)
/* Bytes of the file, and tokens in it, at most. */
#define ADMIN_TOKEN_FILE_MAX 65536
#define ADMIN_TOKENS_MAX 500

struct admin_token {
	char name[ADMIN_TOKEN_NAME];
	char hash[CLAIM_HASH];	/* lower case */
	int64_t until;	/* seconds since 1970, from which it is good no more; 0: none */
};

/* A file's text.  OK: *out is the caller's, for free().  E_USAGE: why names the line and what is wrong,
 * never what stands in it. */
MUST_USE enum err admin_tokens_parse(struct str text, struct admin_token **out, size_t *n, struct why *why);

/* The one with that hash, or NULL.  Takes as long whichever it is, and if it is none. */
const struct admin_token *admin_token_by_hash(const struct admin_token *list, size_t n, const char hash[CLAIM_HASH]);

bool admin_token_is_name(const char *name);
/* A new one: the secret, and its line of the file with a newline.  False when the kernel has no
 * random bytes. */
bool admin_token_make(const char *name, char token[ADMIN_TOKEN_TEXT], struct buf *line);

#endif
