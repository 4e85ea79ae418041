/* log_writer.c - the log thread: empties all rings, in batches, into one fd.
 * Thread: the log thread, between log_start() and log_stop(), which main
 * calls.  Only it waits for a slow reader; no thread waits for it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log_ring.h"
#include "base/log_syslog.h"
#include "base/thread.h"

/* The thread collects lines this long before it writes again, ... */
#define NAP_MS 5
/* ... and naps on that many times after the last line before it sleeps for
 * good: waking a sleeper costs the producer a system call, a nap nothing. */
#define IDLE_NAPS 10
/* "log.dropped" at most this often while lines keep being dropped. */
#define REPORT_SECONDS 1.0
#define MAX_WAIT 3600.0	/* keeps milliseconds in an int */
#define BATCH_IOV 128

/* What is to be written next, and which ring each piece comes from (NULL: the
 * log thread's own text). */
struct batch {
	struct iovec iov[BATCH_IOV];
	struct log_ring *ring[BATCH_IOV];
	int at, n;
};

static struct {
	pthread_t thread;
	int fd;
	bool own_fd;	/* our own open file: close it at the end */
	bool is_socket;
	bool may_block;	/* write() could: ask poll() first, write little */
	bool shared;	/* a pipe, socket or terminal: another process may write in between */
	bool stuck;	/* log_stop() had to leave the thread behind */
	int ended;	/* eventfd: the thread is through */
	bool torn;	/* the last byte written was not a line's end */
	uint64_t reported;
	double reported_at;
	atomic_bool stopping;
	_Atomic double stop_at;
	struct batch batch;
	char text[LOG_LINE_MAX];	/* of this thread's own lines */
	char line[LOG_LINE_MAX];	/* out of a ring, for syslog */
} out = { .ended = -1 };

/* Where lines are to go, as log_set_syslog() left it. */
struct order {
	bool syslog;
	struct log_syslog to;
};
static _Atomic(struct order *) ordered;	/* NULL: as before */

static bool
too_late(void)
{
	return atomic_load(&out.stopping) && clock_now() >= atomic_load(&out.stop_at);
}

/* Waits for the bell, and for room in fd when that is given; milliseconds, -1
 * for ever.  True if fd has room or an error to tell. */
static bool
await(int fd, int ms)
{
	struct pollfd p[2] = { { .fd = log_shared.wake, .events = POLLIN }, { .fd = fd, .events = POLLOUT } };
	uint64_t n;

	if (poll(p, fd >= 0 ? 2 : 1, ms) <= 0)
		return false;
	if (p[0].revents != 0 && read(log_shared.wake, &n, sizeof(n)) < 0)
		CHECK(errno == EAGAIN || errno == EINTR);
	return fd >= 0 && p[1].revents != 0;
}

/* Until fd takes bytes again; false when log_stop() will not wait for it. */
static bool
await_room(void)
{
	while (!too_late()) {
		int ms = -1;

		if (atomic_load(&out.stopping))
			ms = (int)((atomic_load(&out.stop_at) - clock_now()) * 1000) + 1;
		if (await(out.fd, ms))
			return true;
	}
	return false;
}

/* Takes n bytes off the batch's front, and out of their rings. */
static void
batch_taken(struct batch *b, size_t n)
{
	while (n > 0) {
		struct iovec *v = &b->iov[b->at];
		struct log_ring *r = b->ring[b->at];
		size_t part = n < v->iov_len ? n : v->iov_len;

		out.torn = ((char *)v->iov_base)[part - 1] != '\n';
		if (r != NULL)
			atomic_store_explicit(&r->head,
					      atomic_load_explicit(&r->head, memory_order_relaxed) + part,
					      memory_order_release);
		v->iov_base = (char *)v->iov_base + part;
		v->iov_len -= part;
		n -= part;
		if (v->iov_len == 0)
			b->at++;
	}
}

/* Throws the rest of the batch away; a line cut by it counts as dropped. */
static void
discard_batch(struct batch *b)
{
	bool torn = out.torn;
	uint64_t lines = 0;

	for (; b->at < b->n; batch_taken(b, b->iov[b->at].iov_len)) {
		const char *p = b->iov[b->at].iov_base, *end = p + b->iov[b->at].iov_len;

		if (b->ring[b->at] == NULL)
			continue;	/* our own text is no ring's line */
		while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
			lines++;
			p++;
		}
	}
	atomic_fetch_add_explicit(&log_shared.lost, lines, memory_order_relaxed);
	out.torn = torn;
	b->at = b->n = 0;
}

/* Bytes of the lines at the batch's front that fit into one atomic write to a pipe
 * (pipe(7), PIPE_BUF); at least one line, or what there is of it. */
static size_t
whole_lines(const struct batch *b)
{
	size_t before = 0, lines = 0;

	for (int i = b->at; i < b->n; before += b->iov[i++].iov_len) {
		const char *p = b->iov[i].iov_base, *end = p + b->iov[i].iov_len, *at = p, *nl;

		while ((nl = memchr(at, '\n', (size_t)(end - at))) != NULL) {
			size_t n = before + (size_t)(nl + 1 - p);

			if (n > PIPE_BUF)
				return lines > 0 ? lines : n;
			lines = n;
			at = nl + 1;
		}
		if (lines > 0 && before + b->iov[i].iov_len > PIPE_BUF)
			return lines;
	}
	return lines > 0 ? lines : before;
}

/* The first n bytes of the batch. */
static int
first_bytes(const struct batch *b, size_t n, struct iovec *v)
{
	int k = 0;

	for (int i = b->at; n > 0; i++, k++) {
		v[k] = b->iov[i];
		if (v[k].iov_len > n)
			v[k].iov_len = n;
		n -= v[k].iov_len;
	}
	return k;
}

/* During an upgrade two processes write into one pipe: each line stays whole, of those
 * that are no longer than PIPE_BUF. */
static ssize_t
write_some(struct batch *b)
{
	struct iovec v[BATCH_IOV];
	struct msghdr m = { .msg_iov = v };
	size_t n;

	if (!out.shared)
		return writev(out.fd, &b->iov[b->at], b->n - b->at);
	n = whole_lines(b);
	/* A pipe that poll() calls writable takes a page without blocking. */
	if (out.may_block && n > PIPE_BUF)
		n = PIPE_BUF;
	m.msg_iovlen = (size_t)first_bytes(b, n, v);
	if (out.is_socket)
		return sendmsg(out.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (out.may_block && !await_room()) {
		errno = ETIMEDOUT;
		return -1;
	}
	return writev(out.fd, v, (int)m.msg_iovlen);
}

/* Writes the whole batch, or drops what cannot be written; false then. */
static bool
flush_batch(struct batch *b)
{
	bool ok = true;

	while (b->at < b->n) {
		ssize_t n = write_some(b);

		if (n >= 0) {
			batch_taken(b, (size_t)n);
		} else if (errno != EINTR && !((errno == EAGAIN || errno == EWOULDBLOCK) && await_room())) {
			discard_batch(b);
			ok = false;
		}
	}
	b->at = b->n = 0;
	return ok;
}

static void
add_to_batch(struct batch *b, struct log_ring *r, char *p, size_t n)
{
	if (n == 0)
		return;
	b->ring[b->n] = r;
	b->iov[b->n++] = (struct iovec){ p, n };
}

/* After a line that an error cut in two, the next begins on its own. */
static void
begin_batch(struct batch *b)
{
	if (b->n == 0 && out.torn)
		add_to_batch(b, NULL, "\n", 1);
}

/* Adds all that a ring holds now; false when that is nothing. */
static bool
gather(struct batch *b, struct log_ring *r)
{
	size_t tail = atomic_load(&r->tail);
	size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	size_t n = tail - head, at = head % LOG_RING_SIZE;
	size_t first = n < LOG_RING_SIZE - at ? n : LOG_RING_SIZE - at;

	if (n == 0)
		return false;
	begin_batch(b);
	add_to_batch(b, r, r->data + at, first);
	add_to_batch(b, r, r->data, n - first);
	return true;
}

/* -- syslog ---- */

/* Where they can be read while the receiver cannot be told: on standard output, unless
 * that is full. */
static void
tell_news(void)
{
	/* Of its own: what is sent meanwhile may lie in out.text. */
	static char text[LOG_LINE_MAX];
	struct pollfd p = { .fd = out.fd, .events = POLLOUT };
	const struct log_output now = log_output();
	int news = syslog_news();
	size_t n;

	if (news == 0)
		return;
	n = log_line(text, news > 0 ? LOG_INFO_LEVEL : LOG_WARN_LEVEL, news > 0 ? "log.connected" : "log.failed",
		     (const struct log_field[]){ LS("where", syslog_where()), LS("error", now.problem), LOG_FIELDS_END });
	if (poll(&p, 1, 0) > 0 && write(out.fd, text, n) < 0)
		return;	/* it is in status, too */
}

static bool
await_syslog(int fd, int ms)
{
	tell_news();
	if (too_late() || atomic_load(&ordered) != NULL)
		return false;
	if (atomic_load(&out.stopping)) {
		int left = (int)((atomic_load(&out.stop_at) - clock_now()) * 1000) + 1;

		ms = ms < 0 || ms > left ? left : ms;
	}
	(void)await(fd, ms);
	return !too_late() && atomic_load(&ordered) == NULL;
}

/* The next line of a ring into out.line; 0: there is none before `tail`. */
static size_t
copy_line(const struct log_ring *r, size_t head, size_t tail)
{
	size_t at = head % LOG_RING_SIZE, n = tail - head, first;
	const char *nl;

	n = n < LOG_LINE_MAX ? n : LOG_LINE_MAX;
	first = n < LOG_RING_SIZE - at ? n : LOG_RING_SIZE - at;
	memcpy(out.line, r->data + at, first);
	memcpy(out.line + first, r->data, n - first);
	nl = memchr(out.line, '\n', n);
	return nl != NULL ? (size_t)(nl - out.line) + 1 : n;
}

static bool
drain_to_syslog(void)
{
	bool any = false;

	for (struct log_ring *r = atomic_load(&log_shared.rings); r != NULL; r = r->next) {
		size_t tail = atomic_load(&r->tail), head = atomic_load_explicit(&r->head, memory_order_relaxed);

		for (size_t n; head != tail; head += n) {
			n = copy_line(r, head, tail);
			any = true;
			if (!syslog_put((struct str){ out.line, n }, await_syslog))
				return true;
			atomic_store_explicit(&r->head, head + n, memory_order_release);
		}
	}
	(void)syslog_flush(await_syslog);
	tell_news();
	return any;
}

static void
obey_order(void)
{
	struct order *o = atomic_exchange(&ordered, NULL);
	struct log_syslog *to = NULL;

	if (o == NULL)
		return;
	if (o->syslog) {
		to = must_alloc(sizeof(*to));
		*to = o->to;
	}
	syslog_set(&to);
	free(o);
}

void
log_set_syslog(const struct log_syslog *to)
{
	struct order *o = must_alloc(sizeof(*o));

	o->syslog = to != NULL;
	if (to != NULL)
		o->to = *to;
	free(atomic_exchange(&ordered, o));
	if (log_shared.wake >= 0)
		log_ring_bell(log_shared.wake);
}

struct log_output
log_output(void)
{
	return syslog_status();
}

/* Empties all rings once; false when there was nothing. */
static bool
drain(void)
{
	struct batch *b = &out.batch;
	bool any = false;

	if (syslog_is_on())
		return drain_to_syslog();
	for (struct log_ring *r = atomic_load(&log_shared.rings); r != NULL; r = r->next) {
		any |= gather(b, r);
		if (b->n > BATCH_IOV - 3)
			flush_batch(b);
	}
	flush_batch(b);
	return any;
}

/* Says how many lines are missing, once lines can be written again.  True if
 * it has to be tried again later. */
static bool
report(void)
{
	struct batch *b = &out.batch;
	uint64_t total = log_dropped();
	double now = clock_now();
	size_t n;

	if (total == out.reported)
		return false;
	if (now - out.reported_at < REPORT_SECONDS && !atomic_load(&out.stopping))
		return true;
	n = log_line(out.text, LOG_WARN_LEVEL, "log.dropped",
		     (const struct log_field[]){ LU("count", total - out.reported), LU("total", total),
						 LOG_FIELDS_END });
	out.reported_at = now;
	if (syslog_is_on()) {
		if (!syslog_put((struct str){ out.text, n }, await_syslog) || !syslog_flush(await_syslog))
			return true;
		out.reported = total;
		return false;
	}
	begin_batch(b);
	add_to_batch(b, NULL, out.text, n);
	if (!flush_batch(b))
		return true;
	out.reported = total;
	return false;
}

static void
rest(int ms, enum log_sleep how)
{
	bool held = false;

	atomic_store(&log_shared.sleep, how);
	for (struct log_ring *r = atomic_load(&log_shared.rings); r != NULL && how == LOG_SLEEPING;
	     r = r->next)
		held |= atomic_load(&r->tail) != atomic_load_explicit(&r->head, memory_order_relaxed);
	if (!held && !atomic_load(&out.stopping) && atomic_load(&ordered) == NULL)
		await(-1, ms);
	atomic_store(&log_shared.sleep, LOG_AWAKE);
}

/* Out of time: what the rings still hold is dropped. */
static void
drop_all(void)
{
	for (struct log_ring *r = atomic_load(&log_shared.rings); r != NULL; r = r->next) {
		gather(&out.batch, r);
		discard_batch(&out.batch);
	}
}

/* The thread needs no capabilities.  It keeps them when it runs as root, because
 * a change of user applies to all threads at once. */
static void
give_up_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	if (geteuid() != 0)
		(void)syscall(SYS_capset, &head, none);
}

static void *
log_thread(void *unused)
{
	int idle = 0;

	(void)unused;
	give_up_capabilities();
	while (!atomic_load(&out.stopping)) {
		bool any, later;

		obey_order();
		any = drain();
		later = report();
		idle = any ? 0 : idle + 1;
		if (idle <= IDLE_NAPS)
			rest(NAP_MS, LOG_NAPPING);
		else
			rest(later ? (int)(REPORT_SECONDS * 1000) : -1, LOG_SLEEPING);
	}
	while (drain() && !too_late())
		continue;
	drop_all();
	report();
	syslog_set(&(struct log_syslog *){ NULL });
	log_ring_bell(out.ended);
	return NULL;
}

/* ---- start and stop ---- */

/* Writing must never hang for ever, or log_stop() would; but O_NONBLOCK on
 * stdout itself would apply to every process that shares it.  So a pipe or terminal is
 * opened anew, which gives us flags of our own; a socket has MSG_DONTWAIT. */
static void
open_output(int fd)
{
	char path[64];
	struct stat st;
	int flags = fcntl(fd, F_GETFL), own;

	out.fd = fd;
	out.own_fd = out.is_socket = out.may_block = out.shared = false;
	if (flags < 0 || fstat(fd, &st) != 0)
		return;	/* each write will fail, and be counted */
	out.is_socket = S_ISSOCK(st.st_mode);
	out.shared = out.is_socket || S_ISFIFO(st.st_mode) || isatty(fd);
	if ((flags & O_NONBLOCK) || (!S_ISFIFO(st.st_mode) && !isatty(fd)))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if ((own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)) >= 0) {
		out.fd = own;
		out.own_fd = true;
	} else {
		out.may_block = true;	/* another user's pipe */
	}
}

void
log_start(int fd)
{
	CHECK(atomic_load(&log_shared.mode) != LOG_RUNNING && !out.stuck);
	open_output(fd);
	/* Kept for ever: a thread may ring it just after the end. */
	if (log_shared.wake < 0)
		log_shared.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	out.ended = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	CHECK(log_shared.wake >= 0 && out.ended >= 0);
	out.torn = false;
	out.reported = log_dropped();
	out.reported_at = -REPORT_SECONDS;
	atomic_store(&out.stopping, false);
	atomic_store(&log_shared.sleep, LOG_AWAKE);
	/* With SIGPIPE blocked, as all signals, a reader that has left is EPIPE. */
	CHECK(thread_start(&out.thread, "log", log_thread, NULL) == 0);
	atomic_store(&log_shared.mode, LOG_RUNNING);
}

void
log_stop(double seconds)
{
	struct pollfd p = { .fd = out.ended, .events = POLLIN };

	if (atomic_load(&log_shared.mode) != LOG_RUNNING)
		return;
	if (seconds > MAX_WAIT)
		seconds = MAX_WAIT;
	atomic_store(&out.stop_at, clock_now() + seconds);
	atomic_store(&log_shared.mode, LOG_STOPPED);
	atomic_store(&out.stopping, true);
	log_ring_bell(log_shared.wake);
	while (poll(&p, 1, (int)(seconds * 1000) + 500) < 0 && errno == EINTR)
		continue;
	if (p.revents == 0) {
		/* Inside a write that nothing can end but the exit of the process. */
		out.stuck = true;
		pthread_detach(out.thread);
		return;
	}
	pthread_join(out.thread, NULL);
	if (out.own_fd)
		close(out.fd);
	close(out.ended);
}
