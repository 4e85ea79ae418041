/* log.h - JSON lines on stdout; no caller ever waits for the reader.
 * Each thread that logs owns a bounded ring with one writer; one log thread
 * empties them all in batches.  A full ring drops the line and counts it.
 *
 *	LOG_INFO("flip.applied", LS("service", name), LU("epoch", n));
 *
 * gives {"time":"…","level":"info","event":"flip.applied","service":…}.
 * The event name is stable: dashboards key on it. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum log_level { LOG_DEBUG_LEVEL, LOG_INFO_LEVEL, LOG_WARN_LEVEL, LOG_ERROR_LEVEL };

enum log_type { LOG_END, LOG_STR, LOG_U64, LOG_I64, LOG_DOUBLE, LOG_BOOL, LOG_RAW };

struct log_field {
	const char *key;
	enum log_type type;
	union {
		struct str s;
		uint64_t u;
		int64_t i;
		double d;
		bool b;
	} v;
};

/* Strings longer than this many bytes are cut in a log line. */
#define LOG_STRING_MAX 2048
/* A whole line is never longer than this. */
#define LOG_LINE_MAX 16384

static inline struct log_field
log_cstr(const char *key, const char *value)
{
	return (struct log_field){ key, LOG_STR, { .s = str_from(value != NULL ? value : "") } };
}

#define LS(k, v_) log_cstr((k), (v_))	/* C string; NULL as "" */
#define LT(k, v_) ((struct log_field){ (k), LOG_STR, { .s = (v_) } })	/* struct str */
#define LU(k, v_) ((struct log_field){ (k), LOG_U64, { .u = (v_) } })
#define LI(k, v_) ((struct log_field){ (k), LOG_I64, { .i = (v_) } })
#define LF(k, v_) ((struct log_field){ (k), LOG_DOUBLE, { .d = (v_) } })
#define LB(k, v_) ((struct log_field){ (k), LOG_BOOL, { .b = (v_) } })
/* struct str, JSON already; with k NULL it is members of the line's object,
 * such as "a":1,"b":2 */
#define LR(k, v_) ((struct log_field){ (k), LOG_RAW, { .s = (v_) } })
#define LOG_FIELDS_END ((struct log_field){ NULL, LOG_END, { .u = 0 } })

#define LOG_AT(level, event, ...) \
	((level) >= log_level() ? \
		 log_write((level), (event), \
			   (const struct log_field[]){ LOG_FIELDS_END, ##__VA_ARGS__, LOG_FIELDS_END } + 1) : \
		 (void)0)
#define LOG_DEBUG(event, ...) LOG_AT(LOG_DEBUG_LEVEL, event, ##__VA_ARGS__)
#define LOG_INFO(event, ...) LOG_AT(LOG_INFO_LEVEL, event, ##__VA_ARGS__)
#define LOG_WARN(event, ...) LOG_AT(LOG_WARN_LEVEL, event, ##__VA_ARGS__)
#define LOG_ERROR(event, ...) LOG_AT(LOG_ERROR_LEVEL, event, ##__VA_ARGS__)

/* Starts the log thread, which writes to fd (stdout).  Before it, and in
 * programs that never call it, lines go to stderr at once. */
void log_start(int fd);
/* Writes out what is held, waiting at most `seconds` for a blocked reader,
 * then ends the log thread.  Later lines go nowhere and are counted dropped. */
void log_stop(double seconds);

/* A receiver of syslog messages. */
enum log_syslog_transport {
	LOG_SYSLOG_UNIX,	/* a datagram socket such as /dev/log */
	LOG_SYSLOG_UDP,	/* RFC 5426: a datagram for each */
	LOG_SYSLOG_TCP	/* RFC 6587: octet counting */
};
enum log_syslog_format { LOG_RFC5424, LOG_RFC3164 };
struct log_syslog {
	enum log_syslog_transport transport;
	char host[254];	/* a name or an IP address */
	unsigned port;
	char path[108];	/* LOG_SYSLOG_UNIX */
	enum log_syslog_format format;
	unsigned facility;	/* RFC 5424 section 6.2.1 */
	unsigned max_message;	/* bytes, 480 at least; what is longer is cut, and says so */
};

/* From here on lines go there instead of standard output; NULL: to standard output.
 * Copied.  The log thread connects, and again whenever the connection is lost: meanwhile lines
 * wait in the rings, and are dropped once these are full.  The thread that calls log_start(),
 * before that or later. */
void log_set_syslog(const struct log_syslog *to);

/* Where lines go, as seen now. */
struct log_output {
	bool syslog;
	bool up;	/* what is written is taken, as far as that is known */
	const char *problem;	/* why it is not; static, or NULL */
	uint64_t cut;	/* messages, since the start */
};
struct log_output log_output(void);

/* Gives the calling thread its ring; once per thread that logs, before its
 * first line, and once for main.  Aborts when memory is out. */
void log_attach(void);

enum log_level log_level(void);
void log_set_level(enum log_level level);
/* "debug" "info" "warn" "error"; false for another word. */
bool log_level_from_word(const char *word, enum log_level *level);
const char *log_level_word(enum log_level level);

/* How much of a ring a line may use: what must not be pushed out by others has
 * the rest to itself. */
enum log_share {
	LOG_SHARE_ORDINARY,	/* all but the two below */
	LOG_SHARE_AUDIT,	/* what a user did */
	LOG_SHARE_AUDIT_FIRST	/* what root or the user teald runs as did */
};

/* Like log_write(), with a share of the ring that others leave alone. */
void log_write_share(enum log_share share, enum log_level level, const char *event, const struct log_field *fields);

/* Fields end with LOG_FIELDS_END. */
void log_write(enum log_level level, const char *event, const struct log_field *fields);

/* How full the calling thread's ring is, 0 to 1.  A caller that has many lines to
 * write and is in no hurry may let the log thread catch up. */
double log_filled(void);

/* Lines thrown away since the start because a ring was full or the line too
 * long; the sum over threads. */
uint64_t log_dropped(void);

#endif
