/* syslog_line.h - a line of the log as a message of syslog.  Pure; any thread. */
#ifndef BASE_SYSLOG_LINE_H
#define BASE_SYSLOG_LINE_H

#include "base/log.h"

/* Of the longest line, and what stands before it. */
#define SYSLOG_MESSAGE_MAX (LOG_LINE_MAX + 512)

/* Who speaks. */
struct syslog_self {
	char host[256];	/* "": not known */
	int pid;
};

/* Writes the message for a line of log_line(), with or without its '\n', into
 * out[SYSLOG_MESSAGE_MAX], never longer than s->max_message: *cut bytes of the line are then left
 * out, and the message ends by saying so; 0: none are.  Returns its length.
 * RFC 5424 section 6, or the form of before (RFC 3164 section 4), which programs on the
 * same machine have without the host. */
size_t syslog_message(const struct log_syslog *s, const struct syslog_self *self, struct str line, char *out,
		      size_t *cut);

/* "daemon", "local0" ...: its number (RFC 5424 section 6.2.1), in the order of this list,
 * which ends with NULL. */
extern const char *const syslog_facilities[];

#endif
