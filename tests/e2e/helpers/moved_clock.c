/* moved_clock.c - a library that a test preloads into teald (LD_PRELOAD), so
 * that it decides how far the process's clocks are ahead of the machine's.
 * moved_clock.py compiles it, writes the offset and waits for those who wait.
 *
 * The file TEAL_MOVED_CLOCK is a struct shared. Every reading of a clock gets
 * `offset` added; every wait that has an end is cut into slices of SLICE real
 * milliseconds, and is over when the moved clock says so. A thread that waits
 * in epoll_wait() has a slot, which tells the offset by which it chose the end
 * of that wait: all timers due by then have run. And it tells that it was asked
 * and nothing was there for it to do: `quiet` is then what the test `asked`.
 *
 * `wall` is added to readings of the time since 1970 alone, as when the machine's clock is set.
 *
 * Time that the kernel keeps does not move: TCP's timers, conntrack's. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SLICE 10 /* ms */
#define SLOTS 255
#define SECOND INT64_C(1000000000)
/* No machine is up for so long: later than this is a time since 1970. */
#define LONGEST_UPTIME INT64_C(1000000000)

struct slot {
	int64_t thread; /* its kernel's number; 0: free */
	int64_t seen;
	int64_t turns; /* waits begun */
	int64_t got;   /* waits that brought events */
	int64_t quiet; /* `asked` before the last look that brought none */
};

struct shared {
	int64_t offset; /* ns, written by the test */
	int64_t asked;	/* written by the test */
	int64_t taken;	/* slots */
	int64_t wall;	/* ns, written by the test */
	struct slot slots[SLOTS];
};

static struct shared *shared;
/* By which offset this thread last read a clock: what it computes an end of
 * waiting from, before it comes here. */
static __thread int64_t last_read;
static __thread struct slot *mine;

static __attribute__((constructor)) void
begin(void)
{
	const char *path = getenv("TEAL_MOVED_CLOCK");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at = fd >= 0 ? mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (fd >= 0)
		close(fd);
	if (at != MAP_FAILED)
		__atomic_store_n(&shared, at, __ATOMIC_RELEASE);
}

static int64_t
offset_now(void)
{
	struct shared *s = __atomic_load_n(&shared, __ATOMIC_ACQUIRE);

	return s != NULL ? __atomic_load_n(&s->offset, __ATOMIC_ACQUIRE) : 0;
}

static int64_t
wall_now(void)
{
	struct shared *s = __atomic_load_n(&shared, __ATOMIC_ACQUIRE);

	return s != NULL ? __atomic_load_n(&s->wall, __ATOMIC_ACQUIRE) : 0;
}

static int64_t
ns_of(const struct timespec *ts)
{
	return ts->tv_sec * SECOND + ts->tv_nsec;
}

static struct timespec
timespec_of(int64_t ns)
{
	return (struct timespec){.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
}

/* What the machine's clock says. */
static int64_t
real_ns(clockid_t clock)
{
	struct timespec ts = {0};

	syscall(SYS_clock_gettime, clock, &ts);
	return ns_of(&ts);
}

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, ts);

	if (rc != 0)
		return rc;
	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
		*ts = timespec_of(ns_of(ts) + wall_now());
	switch (clock) {
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_BOOTTIME:
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
		last_read = offset_now();
		*ts = timespec_of(ns_of(ts) + last_read);
	}
	return 0;
}

int
gettimeofday(struct timeval *tv, void *zone)
{
	struct timespec ts;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *at)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (at != NULL)
		*at = ts.tv_sec;
	return ts.tv_sec;
}

/* Of the next in the search order: a sanitizer's, or libc's. */
static void *
next(void **kept, const char *name)
{
	void *f = __atomic_load_n(kept, __ATOMIC_RELAXED);

	if (f == NULL) {
		f = dlsym(RTLD_NEXT, name);
		__atomic_store_n(kept, f, __ATOMIC_RELAXED);
	}
	return f;
}

/* Milliseconds of the next slice; 0: the end, a moved time, has come. */
static int
slice(int64_t end)
{
	int64_t left = end - (real_ns(CLOCK_MONOTONIC) + offset_now());

	if (left <= 0)
		return 0;
	return left >= SLICE * INT64_C(1000000) ? SLICE : (int)((left + 999999) / 1000000);
}

/* Tells the test that this thread waits, having read the clock at last_read. */
static void
tell(void)
{
	if (mine == NULL) {
		int64_t n = __atomic_fetch_add(&shared->taken, 1, __ATOMIC_RELAXED);

		if (n >= SLOTS)
			abort();
		mine = &shared->slots[n];
		__atomic_store_n(&mine->seen, last_read, __ATOMIC_RELEASE);
		__atomic_store_n(&mine->thread, syscall(SYS_gettid), __ATOMIC_RELEASE);
	}
	__atomic_store_n(&mine->seen, last_read, __ATOMIC_RELEASE);
}

/* So many events came. */
static void
note(int n)
{
	if (n > 0)
		__atomic_store_n(&mine->got, mine->got + 1, __ATOMIC_RELEASE);
}

int
epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
	static void *kept;
	int (*real)(int, struct epoll_event *, int, int);
	int64_t end;

	*(void **)&real = next(&kept, "epoll_wait");
	if (shared == NULL)
		return real(fd, events, max, timeout);
	if (timeout == 0) { /* timers or others are due: it comes back */
		int n = real(fd, events, max, timeout);

		if (mine != NULL) {
			__atomic_store_n(&mine->turns, mine->turns + 1, __ATOMIC_RELAXED);
			note(n);
		}
		return n;
	}
	tell();
	__atomic_store_n(&mine->turns, mine->turns + 1, __ATOMIC_RELAXED);
	end = timeout < 0 ? INT64_MAX : real_ns(CLOCK_MONOTONIC) + last_read + timeout * INT64_C(1000000);
	for (;;) {
		int64_t asked;
		int ms, n;

		if (timeout < 0)
			last_read = offset_now(); /* an end that never comes */
		tell();
		asked = __atomic_load_n(&shared->asked, __ATOMIC_ACQUIRE);
		ms = slice(end);
		n = real(fd, events, max, ms);
		note(n);
		if (n != 0 || ms == 0)
			return n;
		__atomic_store_n(&mine->quiet, asked, __ATOMIC_RELEASE);
	}
}

int
poll(struct pollfd *of, nfds_t n, int timeout)
{
	static void *kept;
	int (*real)(struct pollfd *, nfds_t, int);
	int64_t end = real_ns(CLOCK_MONOTONIC) + offset_now() + timeout * INT64_C(1000000);

	*(void **)&real = next(&kept, "poll");
	if (shared == NULL || timeout <= 0)
		return real(of, n, timeout);
	for (;;) {
		int ms = slice(end), got = real(of, n, ms);

		if (got != 0 || ms == 0)
			return got;
	}
}

int
pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
	static void *kept;
	int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

	*(void **)&real = next(&kept, "pthread_cond_timedwait");
	if (shared == NULL)
		return real(cond, mutex, until);
	for (;;) {
		/* A condition keeps its clock to itself, but a time tells of which it is. */
		bool is_wall = until->tv_sec > LONGEST_UPTIME;
		int64_t end = ns_of(until) - offset_now() - (is_wall ? wall_now() : 0);
		int64_t now = real_ns(is_wall ? CLOCK_REALTIME : CLOCK_MONOTONIC);
		int64_t part = now + SLICE * INT64_C(1000000);
		struct timespec to = timespec_of(end <= 0 ? 0 : end < part ? end : part);
		int rc = real(cond, mutex, &to);

		if (rc != ETIMEDOUT || end <= part)
			return rc;
	}
}
