/* log.c - levels, and lines put into the calling thread's ring.
 * Any thread that attached; see log_ring.h for who owns what. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log_ring.h"

struct log_shared log_shared = { .wake = -1 };

static atomic_int level_now = LOG_INFO_LEVEL;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static _Thread_local struct log_ring *mine;
static _Thread_local char line_text[LOG_LINE_MAX];

static const char *const level_words[] = { "debug", "info", "warn", "error" };

enum log_level
log_level(void)
{
	return (enum log_level)atomic_load_explicit(&level_now, memory_order_relaxed);
}

void
log_set_level(enum log_level level)
{
	atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
}

const char *
log_level_word(enum log_level level)
{
	CHECK((size_t)level < ARRAY_LEN(level_words));
	return level_words[level];
}

bool
log_level_from_word(const char *word, enum log_level *level)
{
	for (size_t i = 0; i < ARRAY_LEN(level_words); i++) {
		if (strcmp(word, level_words[i]) == 0) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

static void
release_ring(void *p)
{
	struct log_ring *r = p;

	mine = NULL;
	atomic_store_explicit(&r->owned, false, memory_order_release);
}

static void
make_key(void)
{
	CHECK(pthread_key_create(&key, release_ring) == 0);
}

/* A ring of a thread that ended, or a new one; NULL when memory is out. */
static struct log_ring *
ring_get(void)
{
	struct log_ring *r;

	for (r = atomic_load(&log_shared.rings); r != NULL; r = r->next)
		if (!atomic_load_explicit(&r->owned, memory_order_relaxed) &&
		    !atomic_exchange(&r->owned, true))
			return r;
	if ((r = aligned_alloc(CACHE_LINE, sizeof(*r) + LOG_RING_SIZE)) == NULL)
		return NULL;
	memset(r, 0, sizeof(*r));
	atomic_store(&r->owned, true);
	r->next = atomic_load(&log_shared.rings);
	while (!atomic_compare_exchange_weak(&log_shared.rings, &r->next, r))
		continue;
	return r;
}

static bool
attach(void)
{
	if (mine != NULL)
		return true;
	pthread_once(&key_once, make_key);
	if ((mine = ring_get()) == NULL)
		return false;
	CHECK(pthread_setspecific(key, mine) == 0);
	return true;
}

void
log_attach(void)
{
	CHECK(attach());
}

static void
count_dropped(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void
log_ring_bell(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		return;	/* only when it is ringing already */
}

static size_t
room_of(enum log_share share)
{
	switch (share) {
	case LOG_SHARE_ORDINARY:
		return LOG_RING_ORDINARY;
	case LOG_SHARE_AUDIT:
		return LOG_RING_ORDINARY + LOG_RING_AUDIT;
	case LOG_SHARE_AUDIT_FIRST:
		break;
	}
	return LOG_RING_SIZE;
}

static void
push(struct log_ring *r, const char *text, size_t n, size_t room)
{
	size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	size_t at = tail % LOG_RING_SIZE, first = n < LOG_RING_SIZE - at ? n : LOG_RING_SIZE - at;
	int wanted;

	if (tail + n - r->head_seen > LOG_RING_ORDINARY / 2)
		r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
	if (tail + n - r->head_seen > room) {
		count_dropped(&r->dropped, 1);
		return;
	}
	memcpy(r->data + at, text, first);
	memcpy(r->data, text + first, n - first);
	/* Store, then load, in the one order of all sequentially consistent
	 * operations; the log thread announces its sleep, then looks at tail.
	 * So one of the two sees the other. */
	atomic_store(&r->tail, tail + n);
	wanted = atomic_load(&log_shared.sleep);
	if (wanted == LOG_AWAKE || (wanted == LOG_NAPPING && tail + n - r->head_seen < LOG_RING_ORDINARY / 2))
		return;
	if (atomic_exchange(&log_shared.sleep, LOG_AWAKE) != LOG_AWAKE)
		log_ring_bell(log_shared.wake);
}

double
log_filled(void)
{
	size_t used;

	if (mine == NULL)
		return 0.0;
	mine->head_seen = atomic_load_explicit(&mine->head, memory_order_acquire);
	used = atomic_load_explicit(&mine->tail, memory_order_relaxed) - mine->head_seen;
	return (double)used / (double)LOG_RING_ORDINARY;
}

/* Writes to stderr; a closed reader must not end the program by SIGPIPE. */
static void
write_direct(const char *text, size_t n)
{
	sigset_t pipe_only, before, pending;
	bool was_pending;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	sigpending(&pending);
	was_pending = sigismember(&pending, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
	if (write(STDERR_FILENO, text, n) != (ssize_t)n) {
		count_dropped(&log_shared.lost, 1);
		if (!was_pending)
			sigtimedwait(&pipe_only, NULL, &(struct timespec){ 0, 0 });
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void
log_write(enum log_level level, const char *event, const struct log_field *fields)
{
	log_write_share(LOG_SHARE_ORDINARY, level, event, fields);
}

void
log_write_share(enum log_share share, enum log_level level, const char *event, const struct log_field *fields)
{
	int now = atomic_load_explicit(&log_shared.mode, memory_order_acquire);
	size_t n;

	if (now == LOG_STOPPED || (n = log_line(line_text, level, event, fields)) == 0)
		count_dropped(&log_shared.lost, 1);
	else if (now == LOG_DIRECT)
		write_direct(line_text, n);
	else if (attach())	/* a helper thread may have come without */
		push(mine, line_text, n, room_of(share));
	else
		count_dropped(&log_shared.lost, 1);
}

uint64_t
log_dropped(void)
{
	uint64_t n = atomic_load_explicit(&log_shared.lost, memory_order_relaxed);

	for (struct log_ring *r = atomic_load(&log_shared.rings); r != NULL; r = r->next)
		n += atomic_load_explicit(&r->dropped, memory_order_relaxed);
	return n;
}
