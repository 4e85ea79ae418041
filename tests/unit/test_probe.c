/* test_probe.c - one connection attempt against real sockets: what answers,
 * what refuses, what stays silent. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "control/probe.h"
#include "wait.h"

static struct ev_loop *loop;
static unsigned fds_before;

static unsigned
open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static int
set_up(void **state)
{
	(void)state;
	fds_before = open_fds();
	loop = ev_loop_new(0);
	return 0;
}

/* Whatever happened, no probe has left a socket behind. */
static int
tear_down(void **state)
{
	(void)state;
	ev_loop_destroy(loop);
	assert_int_equal(open_fds(), fds_before);
	return 0;
}

struct answer {
	unsigned calls;
	bool failed;
	char error[128];
	double seconds;
};

static void
on_done(void *arg, const char *error, double seconds)
{
	struct answer *a = arg;

	a->calls++;
	a->failed = error != NULL;
	str_copy(a->error, sizeof(a->error), str_from(error != NULL ? error : ""));
	a->seconds = seconds;
}

static struct probe *
start_saying(struct str text, struct answer *a, const struct addr *to, const struct addr *source, double timeout)
{
	const char *error;
	struct probe *p;

	*a = (struct answer){ 0 };
	p = probe_start(loop, &(struct probe_request){ .to = to, .source = source, .timeout = timeout, .send = text },
			on_done, a, &error);
	if (p == NULL)
		fail_msg("could not begin: %s", error);
	assert_int_equal(a->calls, 0);	/* never from inside */
	return p;
}

static struct probe *
start(struct answer *a, const struct addr *to, const struct addr *source, double timeout)
{
	return start_saying(STR(""), a, to, source, timeout);
}

static struct answer
probe_saying(struct str text, const struct addr *to, const struct addr *source, double timeout)
{
	struct answer a;

	start_saying(text, &a, to, source, timeout);
	WAIT_UNTIL(loop, a.calls > 0);
	assert_int_equal(a.calls, 1);
	assert_true(a.seconds >= 0 && a.seconds < 10);
	return a;
}

static struct answer
probe(const struct addr *to, const struct addr *source, double timeout)
{
	return probe_saying(STR(""), to, source, timeout);
}

/* A listener on a free port; *at is where.  -1 without such a family here. */
static int
listen_on(const char *where, int backlog, struct addr *at)
{
	int fd;

	assert_int_equal(addr_parse(where, ADDR_PORT_0, at, NULL), OK);
	fd = socket(addr_family(at), SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, &at->u.sa, at->len) != 0) {
		close(fd);
		return -1;
	}
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, &at->u.sa, &at->len), 0);
	return fd;
}

static void
test_what_listens_passes(void **state)
{
	static const char *const where[] = { "127.0.0.1:0", "[::1]:0" };
	unsigned passed = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(where); i++) {
		struct addr at;
		int fd = listen_on(where[i], 10, &at);

		if (fd < 0)
			continue;	/* no IPv6 on this machine */
		assert_false(probe(&at, NULL, 1).failed);
		passed++;
		close(fd);
	}
	assert_true(passed >= 1);
}

/* -- the question and its answer ------------------------------------------------ */

struct server {
	int listener;
	const char *answer;	/* sent in two pieces, then the connection ends */
	char heard[256];
	bool silent;
	bool waits, half_closes;	/* until the other side ends; ends its own first, behind the answer */
	ssize_t last;	/* of send() and recv() then: 0 is the end, -1 a reset */
};

static void *
serve_once(void *arg)
{
	struct server *s = arg;
	int fd = accept(s->listener, NULL, NULL);
	size_t half = strlen(s->answer) / 2;
	ssize_t n = recv(fd, s->heard, sizeof(s->heard) - 1, 0);

	s->heard[n > 0 ? n : 0] = '\0';
	if (s->silent) {
		recv(fd, &half, 1, 0);
	} else {
		send(fd, s->answer, half, MSG_NOSIGNAL);
		usleep(2000);	/* so that it arrives in two pieces */
		s->last = send(fd, s->answer + half, strlen(s->answer) - half, MSG_NOSIGNAL);
		if (s->half_closes)
			shutdown(fd, SHUT_WR);
		if (s->waits && s->last >= 0)
			s->last = recv(fd, s->heard + sizeof(s->heard) - 1, 1, 0);
	}
	close(fd);
	return NULL;
}

static struct answer
ask(struct server *s)
{
	struct status_set good;
	struct answer a = { 0 };
	const char *error;
	struct addr at;
	pthread_t thread;

	assert_true(status_set_parse("200-399", &good));
	s->listener = listen_on("127.0.0.1:0", 10, &at);
	assert_int_equal(pthread_create(&thread, NULL, serve_once, s), 0);
	assert_non_null(probe_start(loop,
				    &(struct probe_request){ .to = &at,
							     .timeout = s->silent ? 0.2 : 5,
							     .send = STR("GET /up HTTP/1.1\r\n\r\n"),
							     .expect = &good },
				    on_done, &a, &error));
	WAIT_UNTIL(loop, a.calls > 0);
	pthread_join(thread, NULL);
	close(s->listener);
	assert_string_equal(s->heard, "GET /up HTTP/1.1\r\n\r\n");
	return a;
}

static void
test_answers_are_judged(void **state)
{
	static const struct {
		const char *answer, *error;	/* NULL: good */
	} table[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", NULL },
		{ "HTTP/1.0 399\r\n\r\n", NULL },
		{ "HTTP/1.1 204 \n\n", NULL },
		{ "HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP status 503" },
		{ "HTTP/1.1 199 x\r\n\r\n", "HTTP status 199" },
		{ "HTTP/2 200\r\n\r\n", "did not answer in HTTP" },
		{ "HTTP/1.1 2000\r\n", "did not answer in HTTP" },
		{ "SSH-2.0-OpenSSH_9.2\r\n", "did not answer in HTTP" },
		{ "HTTP/1.1 200", "did not answer in HTTP" },
		{ "", "closed the connection without an answer" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct server s = { .answer = table[i].answer };
		struct answer a = ask(&s);

		if (strcmp(a.error, table[i].error != NULL ? table[i].error : "") != 0)
			fail_msg("%s: %s", table[i].answer, a.error);
	}
}

/* A server sees no reset, though the status is known before its answer is whole. */
static void
test_an_answer_is_heard_to_its_end(void **state)
{
	static char good[20000], bad[20000];
	const struct {
		char *text;
		const char *head, *error;
	} answers[] = {
		{ good, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "" },
		{ bad, "HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n", "HTTP status 503" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		memset(answers[i].text, 'x', sizeof(good) - 1);
		memcpy(answers[i].text, answers[i].head, strlen(answers[i].head));
		for (int half_closes = 0; half_closes <= 1; half_closes++) {
			struct server s = { .answer = answers[i].text, .waits = true, .half_closes = half_closes };

			assert_string_equal(ask(&s).error, answers[i].error);
			assert_int_equal(s.last, 0);
		}
	}
}

static void
test_a_line_without_end_is_no_answer(void **state)
{
	char endless[4096];
	struct server s = { .answer = endless };

	(void)state;
	memset(endless, 'x', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = '\0';
	assert_string_equal(ask(&s).error, "did not answer in HTTP");
}

static void
test_silence_times_out(void **state)
{
	struct server s = { .answer = "", .silent = true };

	(void)state;
	assert_string_equal(ask(&s).error, "no answer after 0.2 s");
}

/* Who comes after the probes is the first that the server sees. */
static void
test_a_server_never_sees_one_that_says_nothing(void **state)
{
	struct addr at, peer = { .len = sizeof(peer.u) }, own = { .len = sizeof(own.u) };
	int fd = listen_on("127.0.0.1:0", 50, &at), client, accepted;
	bool first = false;

	(void)state;
	/* Again, if we had to wait for a CPU for so long that the kernel spoke for
	 * us: else it sees each. */
	for (int tries = 0; tries < 20 && !first; tries++) {
		for (int i = 0; i < 20; i++)
			assert_false(probe(&at, NULL, 5).failed);
		client = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(connect(client, &at.u.sa, at.len), 0);
		assert_int_equal(getsockname(client, &own.u.sa, &own.len), 0);
		first = true;
		for (;; first = false) {
			peer.len = sizeof(peer.u);
			accepted = accept(fd, &peer.u.sa, &peer.len);
			assert_true(accepted >= 0);
			close(accepted);
			if (addr_equal(&peer, &own))
				break;
		}
		close(client);
	}
	assert_true(first);
	close(fd);
}

static void
test_what_does_not_listen_refuses(void **state)
{
	struct addr at;
	struct answer a;
	int fd = listen_on("127.0.0.1:0", 10, &at);

	(void)state;
	close(fd);
	a = probe(&at, NULL, 1);
	assert_true(a.failed);
	assert_string_equal(a.error, "connection refused");
}

/* Fills a listener that nobody accepts from until it no longer answers. */
static unsigned
fill(const struct addr *at, int *fillers, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		struct pollfd p = { .events = POLLOUT };

		p.fd = fillers[i] = socket(addr_family(at), SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(p.fd, &at->u.sa, at->len) != 0 && poll(&p, 1, 50) == 0)
			return i + 1;
	}
	fail_msg("it takes any number");
	return i;
}

static void
test_what_stays_silent_times_out(void **state)
{
	int fillers[16];
	struct addr at;
	struct answer a;
	int fd = listen_on("127.0.0.1:0", 0, &at);
	unsigned n = fill(&at, fillers, ARRAY_LEN(fillers));

	(void)state;
	a = probe(&at, NULL, 0.05);
	assert_string_equal(a.error, "timed out after 0.05 s");
	assert_true(a.seconds >= 0.049);
	while (n-- > 0)
		close(fillers[n]);
	close(fd);
}

static void
test_unix_sockets(void **state)
{
	char path[] = "/tmp/teal-probe-XXXXXX", where[64];
	struct addr at;
	struct answer a;
	int fd, filler;

	(void)state;
	assert_non_null(mkdtemp(path));
	snprintf(where, sizeof(where), "unix:%s/s", path);
	assert_int_equal(addr_parse(where, 0, &at, NULL), OK);
	a = probe(&at, NULL, 1);
	assert_string_equal(a.error, "no such file or directory");
	fd = listen_on(where, 0, &at);
	assert_false(probe(&at, NULL, 1).failed);
	/* That one waits to be accepted, and there is no room for another. */
	filler = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	(void)!connect(filler, &at.u.sa, at.len);
	a = probe(&at, NULL, 1);
	assert_string_equal(a.error, "its queue of connections is full");
	close(filler);
	close(fd);
	a = probe(&at, NULL, 1);
	assert_string_equal(a.error, "connection refused");
	unlink(at.u.un.sun_path);
	rmdir(path);
}

static void
test_it_comes_from_the_source(void **state)
{
	struct addr at, source, peer = { .len = sizeof(peer.u) };
	struct answer a;
	int fd = listen_on("127.0.0.1:0", 10, &at), client;

	(void)state;
	assert_true(addr_parse_ip("127.0.0.7", 0, &source));
	assert_false(probe_saying(STR("hello"), &at, &source, 1).failed);
	client = accept(fd, &peer.u.sa, &peer.len);
	assert_true(client >= 0);
	addr_set_port(&peer, 0);
	assert_true(addr_equal(&peer, &source));
	close(client);
	/* Sessions could not connect from there either: an answer, not an excuse. */
	assert_true(addr_parse_ip("192.0.2.1", 0, &source));
	a = probe(&at, &source, 1);
	assert_string_equal(a.error, "cannot assign requested address");
	/* Of another family: nothing to do with this backend. */
	assert_true(addr_parse_ip("::1", 0, &source));
	assert_false(probe(&at, &source, 1).failed);
	close(fd);
}

static void
test_a_cancelled_one_is_never_heard_of(void **state)
{
	struct addr at;
	struct answer a, b;
	int fd = listen_on("127.0.0.1:0", 10, &at);
	struct probe *p = start(&a, &at, NULL, 0.01);

	(void)state;
	probe_cancel(&p);
	assert_null(p);
	probe_cancel(&p);	/* harmless */
	b = probe(&at, NULL, 1);
	assert_false(b.failed);
	assert_int_equal(a.calls, 0);
	close(fd);
}

/* The backend answered in time; it was this thread that was held up. */
static void
test_a_stall_of_ours_is_not_the_backends_fault(void **state)
{
	struct addr at;
	struct answer a;
	int fd = listen_on("127.0.0.1:0", 10, &at);

	(void)state;
	start(&a, &at, NULL, 0.01);
	poll(NULL, 0, 50);	/* the stall itself */
	WAIT_UNTIL(loop, a.calls == 1);
	assert_false(a.failed);
	assert_true(a.seconds > 0.04);
	close(fd);
}

/* What a backend at text hears first from a probe with a header of this version. */
static void
hear_header(const char *text, enum proxy_send send, char heard[256], struct addr *at)
{
	struct answer a = { 0 };
	const char *error;
	int fd = listen_on(text, 10, at), client;
	ssize_t n;

	assert_non_null(probe_start(loop, &(struct probe_request){ .to = at, .timeout = 5, .proxy = send }, on_done, &a,
				    &error));
	WAIT_UNTIL(loop, a.calls == 1);
	assert_false(a.failed);
	client = accept(fd, NULL, NULL);
	assert_true(client >= 0);
	n = recv(client, heard, 255, 0);
	assert_true(n >= 0);
	heard[n] = '\0';
	close(client);
	close(fd);
}

static void
test_a_probe_that_says_a_header_names_itself(void **state)
{
	char heard[256], expected[256];
	unsigned port;
	struct addr at;

	(void)state;
	hear_header("127.0.0.1:0", SEND_V1, heard, &at);
	assert_int_equal(sscanf(heard, "PROXY TCP4 127.0.0.1 127.0.0.1 %u", &port), 1);
	assert_true(port > 0);
	snprintf(expected, sizeof(expected), "PROXY TCP4 127.0.0.1 127.0.0.1 %u %u\r\n", port, addr_port(&at));
	assert_string_equal(heard, expected);
	hear_header("[::1]:0", SEND_V1, heard, &at);
	assert_int_equal(sscanf(heard, "PROXY TCP6 ::1 ::1 %u", &port), 1);
	hear_header("127.0.0.1:0", SEND_V2, heard, &at);
	assert_memory_equal(heard, "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16);
}

static void
test_without_descriptors_it_cannot_begin(void **state)
{
	struct rlimit before, none;
	struct answer a = { 0 };
	const char *error = NULL;
	struct probe *p;
	struct addr at;
	int fd = listen_on("127.0.0.1:0", 10, &at);

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ 3, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	p = probe_start(loop, &(struct probe_request){ .to = &at, .timeout = 1 }, on_done, &a, &error);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_null(p);
	assert_string_equal(error, "too many open files");
	assert_int_equal(a.calls, 0);
	close(fd);
}

int
main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_what_listens_passes),
		TEST(test_answers_are_judged),
		TEST(test_an_answer_is_heard_to_its_end),
		TEST(test_a_line_without_end_is_no_answer),
		TEST(test_silence_times_out),
		TEST(test_a_server_never_sees_one_that_says_nothing),
		TEST(test_what_does_not_listen_refuses),
		TEST(test_what_stays_silent_times_out),
		TEST(test_unix_sockets),
		TEST(test_it_comes_from_the_source),
		TEST(test_a_cancelled_one_is_never_heard_of),
		TEST(test_a_stall_of_ours_is_not_the_backends_fault),
		TEST(test_a_probe_that_says_a_header_names_itself),
		TEST(test_without_descriptors_it_cannot_begin),
	};

	return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
