/* moved_clock.c - clock_gettime(), time() and epoll_wait() as this program sees them.
 * Any thread; a test moves from one of them.  What is shared is relaxed, so that
 * ThreadSanitizer sees no order here that the program does not make. */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "moved_clock.h"

#define NS 1000000000ll
/* A loop whose clock stands looks up so often, in milliseconds: another thread
 * may have moved it. */
#define LOOK 5
/* The most that clock_pass() moves at once, in milliseconds. */
#define STEP 1000

/* libev fires a timer once its moment is past: what is added to each move, in
 * nanoseconds. */
#define PAST 1000

/* In nanoseconds: what is added to the machine's clock; or, not 0, where it stands. */
static struct moved {
	clockid_t id;
	_Atomic int64_t offset, still;
} clocks[] = { { .id = CLOCK_MONOTONIC }, { .id = CLOCK_REALTIME } };

/* In the thread that called clock_pass(). */
static _Thread_local bool passes;

static int64_t
machine(clockid_t id)
{
	struct timespec ts;

	syscall(SYS_clock_gettime, id, &ts);
	return (int64_t)ts.tv_sec * NS + ts.tv_nsec;
}

static int64_t
moved_now(struct moved *c)
{
	int64_t still = atomic_load_explicit(&c->still, memory_order_relaxed);

	return still != 0 ? still : machine(c->id) + atomic_load_explicit(&c->offset, memory_order_relaxed);
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	for (size_t i = 0; i < sizeof(clocks) / sizeof(*clocks); i++)
		if (clocks[i].id == id) {
			int64_t now = moved_now(&clocks[i]);

			*ts = (struct timespec){ now / NS, now % NS };
			return 0;
		}
	return (int)syscall(SYS_clock_gettime, id, ts);
}

/* What OpenSSL asks. */
time_t
time(time_t *at)
{
	time_t now = (time_t)(moved_now(&clocks[1]) / NS);

	if (at != NULL)
		*at = now;
	return now;
}

int
epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
	typedef int wait_fn(int, struct epoll_event *, int, int);
	static wait_fn *_Atomic next;
	wait_fn *f = atomic_load_explicit(&next, memory_order_relaxed);
	int n;

	if (f == NULL) {
		f = (wait_fn *)(uintptr_t)dlsym(RTLD_NEXT, "epoll_wait");
		atomic_store_explicit(&next, f, memory_order_relaxed);
	}
	if (atomic_load_explicit(&clocks[0].still, memory_order_relaxed) == 0)
		return f(fd, events, max, timeout);
	n = f(fd, events, max, timeout == 0 ? 0 : passes ? 1 : timeout > 0 && timeout < LOOK ? timeout : LOOK);
	/* 0 also where a timer is due at this very moment: it fires past that. */
	if (n == 0 && (passes || timeout == 0))
		clock_move((timeout >= 0 && timeout < STEP ? timeout : STEP) / 1e3);
	return n;
}

void
clock_move(double seconds)
{
	int64_t ns = (int64_t)(seconds * 1e9) + PAST;

	for (size_t i = 0; i < sizeof(clocks) / sizeof(*clocks); i++)
		atomic_fetch_add_explicit(atomic_load_explicit(&clocks[i].still, memory_order_relaxed) != 0 ?
						  &clocks[i].still :
						  &clocks[i].offset,
					  ns, memory_order_relaxed);
}

void
clock_stop(void)
{
	passes = false;
	for (size_t i = 0; i < sizeof(clocks) / sizeof(*clocks); i++)
		atomic_store_explicit(&clocks[i].still, moved_now(&clocks[i]), memory_order_relaxed);
}

void
clock_pass(void)
{
	clock_stop();
	passes = true;
}

bool
clock_passes(void)
{
	return passes;
}

void
clock_go(void)
{
	passes = false;
	for (size_t i = 0; i < sizeof(clocks) / sizeof(*clocks); i++) {
		struct moved *c = &clocks[i];

		atomic_store_explicit(&c->offset, moved_now(c) - machine(c->id), memory_order_relaxed);
		atomic_store_explicit(&c->still, 0, memory_order_relaxed);
	}
}

double
clock_of_machine(void)
{
	return (double)machine(CLOCK_MONOTONIC) / 1e9;
}
