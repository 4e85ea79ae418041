/* log_ring.h - what the three files of the log share; no other file includes it.
 * log_line.c builds a line, log.c puts it into the calling thread's ring,
 * log_writer.c is the thread that empties the rings.
 *
 * A ring has one writer, the thread that attached, and one reader, the log
 * thread.  tail and head count bytes ever put and ever taken; only whole
 * lines are published, so what lies between them is whole lines. */
#ifndef BASE_LOG_RING_H
#define BASE_LOG_RING_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/log.h"

#define LOG_RING_ORDINARY ((size_t)1 << 20)
/* More, for the audit alone; and still more, for those who may do everything. */
#define LOG_RING_AUDIT ((size_t)128 << 10)
#define LOG_RING_AUDIT_FIRST ((size_t)128 << 10)
#define LOG_RING_SIZE (LOG_RING_ORDINARY + LOG_RING_AUDIT + LOG_RING_AUDIT_FIRST)
#define CACHE_LINE 64

struct log_ring {
	/* The writer's. */
	_Alignas(CACHE_LINE) _Atomic size_t tail;
	size_t head_seen;	/* head as last looked up: an older value is a safe one */
	_Atomic uint64_t dropped;
	/* The reader's. */
	_Alignas(CACHE_LINE) _Atomic size_t head;
	/* Neither's in the steady state. */
	_Alignas(CACHE_LINE) struct log_ring *next;	/* set before it is listed */
	atomic_bool owned;	/* a living thread writes to it */
	char data[];
};

enum log_mode { LOG_DIRECT, LOG_RUNNING, LOG_STOPPED };
enum log_sleep { LOG_AWAKE, LOG_NAPPING, LOG_SLEEPING };

struct log_shared {
	_Atomic(struct log_ring *) rings;	/* grows only; a ring is taken over, never freed */
	atomic_int mode;
	atomic_int sleep;	/* what the log thread announced */
	_Atomic uint64_t lost;	/* lines dropped outside any ring */
	int wake;	/* eventfd; set before LOG_RUNNING and kept for ever */
};
extern struct log_shared log_shared;

/* Builds a line in text[LOG_LINE_MAX], '\n' included; its length, or 0 if it
 * is too long even with its strings cut. */
size_t log_line(char *text, enum log_level level, const char *event, const struct log_field *fields);

/* Makes an eventfd readable. */
void log_ring_bell(int fd);

#endif
