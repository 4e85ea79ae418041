/* log_syslog.h - the log thread's way to a receiver of syslog messages; log_writer.c
 * alone includes it.
 * Thread: the log thread, but for syslog_status(). */
#ifndef BASE_LOG_SYSLOG_H
#define BASE_LOG_SYSLOG_H

#include "base/syslog_line.h"

/* Consumed (free()); NULL: none.  What was kept for the one before is dropped and counted. */
void syslog_set(struct log_syslog **to);
bool syslog_is_on(void);

/* How a wait ends: waits until fd (-1: none) can be written to, for so many milliseconds at most (-1: for
 * ever), or until there is news for the thread.  False: no further wait, what was to be written is given up. */
typedef bool syslog_wait(int fd, int ms);

/* Writes the line, or takes it to be written with the next ones.  False: neither, because wait() says so. */
bool syslog_put(struct str line, syslog_wait *wait);
/* Writes all that was taken.  False: as above. */
bool syslog_flush(syslog_wait *wait);

/* News to be told elsewhere, once: 1 connected, -1 failed, 0 none. */
int syslog_news(void);
/* "udp://10.0.0.5:514", good until the next syslog_set(). */
const char *syslog_where(void);

/* Any thread. */
struct log_output syslog_status(void);

#endif
