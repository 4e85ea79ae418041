/* test_observe.c - the HTTP listener of those who watch, over real sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "world.h"

#include "app/teald/observe_client.h"
#include "app/teald/observe_stream.h"

static struct inbox box;

struct stage {
	struct world *w;
	struct observe *observe;
};

static int
set_up(void **state)
{
	struct stage *s = must_alloc(sizeof(*s));
	struct why why = { "" };

	s->w = world_new();
	s->observe = observe_open(&s->w->control, &why);
	if (s->observe == NULL)
		fail_msg("%s", why.text);
	*state = s;
	return 0;
}

static int
tear_down(void **state)
{
	struct stage *s = *state;

	observe_close(&s->observe);
	world_free(s->w);
	free(s);
	return 0;
}

static int
dial(struct stage *s)
{
	struct addr a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(addr_parse_ip("127.0.0.1", observe_port(s->observe), &a));
	assert_int_equal(connect(fd, &a.u.sa, a.len), 0);
	return fd;
}

static void
say(int fd, const char *text)
{
	box.n = 0;
	box.text[0] = '\0';
	box.eof = false;
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

#define AWAIT(s, fd, text) WAIT_UNTIL((s)->w->loop, inbox_has((s)->w, &box, (fd), (text)))
#define AWAIT_END(s, fd) WAIT_UNTIL((s)->w->loop, (inbox_has((s)->w, &box, (fd), ""), box.eof))

/* A request on a connection of its own; everything that came back. */
static const char *
ask(struct stage *s, const char *request)
{
	int fd = dial(s);

	say(fd, request);
	AWAIT_END(s, fd);
	close(fd);
	return box.text;
}

static void
expect(struct stage *s, const char *request, const char *status, const char *part)
{
	const char *reply = ask(s, request);

	if (strncmp(reply, "HTTP/1.1 ", 9) != 0 || strncmp(reply + 9, status, strlen(status)) != 0)
		fail_msg("not %s: %s", status, reply);
	if (strstr(reply, part) == NULL)
		fail_msg("no \"%s\" in: %s", part, reply);
}

#define CLOSE " HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"

static void
serves_its_pages(void **state)
{
	struct stage *s = *state;

	expect(s, "GET /healthz" CLOSE, "200", "\r\n\r\nok\n");
	expect(s, "GET /readyz" CLOSE, "200", "\r\n\r\nready\n");
	expect(s, "GET /metrics?x=1" CLOSE, "200", "\nteal_service_active{service=\"shop\",color=\"green\"} 1\n");
	assert_non_null(strstr(box.text, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	expect(s, "GET http://t/metrics" CLOSE, "200", "teal_build_info");
	expect(s, "GET /" CLOSE, "200", "/metrics");
	expect(s, "GET /healthz HTTP/1.0\r\n\r\n", "200", "Connection: close\r\n");
}

static void
readiness_follows_control(void **state)
{
	struct stage *s = *state;
	struct actor by = { .user = "root" };

	assert_true(control_maintenance(&s->w->control, true, &by));
	expect(s, "GET /readyz" CLOSE, "503", "\r\n\r\nin maintenance\n");
	expect(s, "GET /healthz" CLOSE, "200", "ok");
	assert_true(control_maintenance(&s->w->control, false, &by));
	expect(s, "GET /readyz" CLOSE, "200", "ready");
	stop_begin(&s->w->control);
	expect(s, "GET /readyz" CLOSE, "503", "stopping");
}

static void
refuses_what_it_does_not_serve(void **state)
{
	struct stage *s = *state;
	char *longer = must_alloc(20001);

	expect(s, "GET /nothing" CLOSE, "404", "/metrics");
	expect(s, "POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello", "405", "Allow: GET, HEAD, OPTIONS\r\n");
	expect(s, "OPTIONS *" CLOSE, "200", "Allow: GET, HEAD, OPTIONS\r\n");
	expect(s, "GET /metrics HTTP/1.1\r\n\r\n", "400", "Host");
	expect(s, "GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400", "Host");
	expect(s, "GET /metrics HTTP/1.1\nHost: a\n\n", "400", "");
	expect(s, "\x16\x03\x01\x02garbage\r\n\r\n", "400", "");
	expect(s, "GET /metrics HTTP/2.0\r\n\r\n", "505", "");
	memset(longer, 'a', 20000);
	memcpy(longer, "GET /", 5);
	expect(s, longer, "414", "");
	memcpy(longer, "GET / HTTP/1.1\r\nHost: t\r\nX: ", 28);
	expect(s, longer, "431", "");
	free(longer);
}

static void
head_has_the_length_but_not_the_body(void **state)
{
	struct stage *s = *state;

	expect(s, "HEAD /healthz" CLOSE, "200", "Content-Length: 3\r\n");
	assert_string_equal(box.text + box.n - 4, "\r\n\r\n");
}

static void
keeps_connections_for_the_next_request(void **state)
{
	struct stage *s = *state;
	int fd = dial(s);

	say(fd, "GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n");
	AWAIT(s, fd, "\r\n\r\nok\n");
	say(fd, "GET /readyz HTTP/1.1\r\nHost: t\r\n\r\n");
	AWAIT(s, fd, "\r\n\r\nready\n");
	/* Two at once, and a third in pieces. */
	say(fd, "GET /healthz HTTP/1.1\r\nHost: t\r\n\r\nGET /readyz HTTP/1.1\r\nHost: t\r\n\r\nGET /no");
	AWAIT(s, fd, "\r\n\r\nready\n");
	assert_non_null(strstr(box.text, "\r\n\r\nok\n"));
	say(fd, "where HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
	AWAIT_END(s, fd);
	assert_int_equal(strncmp(box.text, "HTTP/1.1 404 ", 13), 0);
	close(fd);
	fd = dial(s);
	say(fd, "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	AWAIT(s, fd, "Connection: keep-alive\r\n");
	say(fd, "GET /healthz HTTP/1.0\r\n\r\n");
	AWAIT_END(s, fd);
	close(fd);
}

/* The deadlines are armed; that they fire is libev's. */
static void
waits_for_nobody_for_ever(void **state)
{
	struct stage *s = *state;
	struct visitor *v;
	int fd = dial(s);

	WAIT_UNTIL(s->w->loop, s->observe->n == 1);
	v = list_entry(list_first(&s->observe->places[OBSERVE_WAITING].list), struct visitor, link);
	assert_int_equal(v->state, VISITOR_IDLE);
	assert_true(ev_timer_remaining(s->w->loop, &v->deadline) > 5);
	say(fd, "GET /heal");
	WAIT_UNTIL(s->w->loop, v->state == VISITOR_READING);
	assert_true(ev_timer_remaining(s->w->loop, &v->deadline) <= 5);
	/* More bytes do not give more time. */
	ev_timer_stop(s->w->loop, &v->deadline);
	ev_timer_set(&v->deadline, 0.05, 0.0);
	ev_timer_start(s->w->loop, &v->deadline);
	say(fd, "thz HT");
	AWAIT_END(s, fd);
	assert_int_equal(strncmp(box.text, "HTTP/1.1 408 ", 13), 0);
	close(fd);
}

static void
the_longest_idle_makes_way(void **state)
{
	struct stage *s = *state;
	int fds[OBSERVE_WAITING_MAX + 10];
	char c;

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial(s);
	/* The last ones wait until the first have had their time. */
	WAIT_UNTIL(s->w->loop, recv(fds[9], &c, 1, MSG_DONTWAIT) == 0);
	assert_int_equal(recv(fds[10], &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(s->observe->n, OBSERVE_WAITING_MAX);
	expect(s, "GET /healthz" CLOSE, "200", "ok");
	assert_int_equal(recv(fds[0], &c, 1, MSG_DONTWAIT), 0);
	assert_int_equal(recv(fds[ARRAY_LEN(fds) - 1], &c, 1, MSG_DONTWAIT), -1);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	WAIT_UNTIL(s->w->loop, s->observe->n == 0);
}

/* -- the status page ---------------------------------------------------------- */

static void
the_page_lets_nothing_else_in(void **state)
{
	struct stage *s = *state;

	expect(s, "GET /" CLOSE, "200", "Content-Type: text/html; charset=utf-8\r\n");
	assert_non_null(strstr(box.text, "\r\nContent-Security-Policy: default-src 'none'; style-src 'sha256-"));
	assert_non_null(strstr(box.text, "frame-ancestors 'none'"));
	assert_null(strstr(box.text, "unsafe"));
	assert_non_null(strstr(box.text, "</script>\n"));
	expect(s, "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "421", "observe.hosts");
	expect(s, "GET /events HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "421", "observe.hosts");
	expect(s, "GET /events HTTP/1.1\r\nHost: t\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n", "403",
	       "other sites");
	/* Scrapers come under any name. */
	expect(s, "GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "200", "teal_build_info");
}

static void
heads_of_both(void **state)
{
	struct stage *s = *state;

	expect(s, "HEAD /" CLOSE, "200", "text/html");
	assert_string_equal(box.text + box.n - 4, "\r\n\r\n");
	expect(s, "HEAD /events" CLOSE, "200", "Content-Type: text/event-stream; charset=utf-8\r\n");
	assert_string_equal(box.text + box.n - 4, "\r\n\r\n");
	assert_int_equal(s->observe->n_viewers, 0);
	expect(s, "POST /events" CLOSE, "405", "Allow: GET, HEAD, OPTIONS\r\n");
}

#define WATCH "GET /events HTTP/1.1\r\nHost: t\r\n\r\n"

static void
who_watches_gets_a_snapshot_then_deltas(void **state)
{
	struct stage *s = *state;
	int fd = dial(s);

	say(fd, WATCH);
	AWAIT(s, fd, "event: snapshot\ndata: {\"now\":");
	assert_null(strstr(box.text, "Content-Length"));
	assert_int_equal(s->observe->n_viewers, 1);
	AWAIT(s, fd, "event: delta\n");
	/* What the viewer says now is of no interest, its end is. */
	assert_int_equal(send(fd, "GET / HTTP/1.1\r\n", 16, MSG_NOSIGNAL), 16);
	box.n = 0;
	AWAIT(s, fd, "event: delta\n");
	close(fd);
	WAIT_UNTIL(s->w->loop, s->observe->n_viewers == 0);
	assert_false(ev_is_active(&s->observe->tick));
}

static void
news_do_not_wait_for_the_tick(void **state)
{
	struct stage *s = *state;
	struct actor by = { .user = "root" };
	int fd = dial(s);

	say(fd, WATCH);
	AWAIT(s, fd, "event: snapshot\n");
	box.n = 0;
	assert_true(ev_timer_remaining(s->w->loop, &s->observe->tick) > 0.1);
	assert_true(control_maintenance(&s->w->control, true, &by));
	assert_true(ev_timer_remaining(s->w->loop, &s->observe->tick) <= 0.1);
	AWAIT(s, fd, "\"not_ready\":\"in maintenance\"");
	close(fd);
}

static void
only_so_many_may_watch(void **state)
{
	struct stage *s = *state;
	int fds[VIEWERS_MAX];

	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial(s);
		say(fds[i], WATCH);
		AWAIT(s, fds[i], "event: snapshot\n");
	}
	expect(s, "GET /events" CLOSE, "503", "32 are watching already");
	/* Nor do idle ones, or those that ask, push them out. */
	expect(s, "GET /metrics" CLOSE, "200", "teal_build_info");
	assert_int_equal(s->observe->n_viewers, VIEWERS_MAX);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	WAIT_UNTIL(s->w->loop, s->observe->n_viewers == 0);
	assert_int_equal(s->observe->feed.bytes, s->observe->feed.snapshot != NULL ?
			 buf_len(&s->observe->feed.snapshot->bytes) : 0);
}

static int
dial_from(struct stage *s, const char *source)
{
	struct addr from, to;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(addr_parse_ip(source, 0, &from));
	assert_true(addr_parse_ip("127.0.0.1", observe_port(s->observe), &to));
	assert_int_equal(bind(fd, &from.u.sa, from.len), 0);
	assert_int_equal(connect(fd, &to.u.sa, to.len), 0);
	return fd;
}

static void
one_address_leaves_others_a_place_to_watch(void **state)
{
	struct stage *s = *state;
	int fds[VIEWERS_MAX], other[3];

	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial(s);
		say(fds[i], WATCH);
		AWAIT(s, fds[i], "event: snapshot\n");
	}
	for (size_t i = 0; i < ARRAY_LEN(other); i++) {
		other[i] = dial_from(s, i == 2 ? "127.0.0.3" : "127.0.0.2");
		say(other[i], WATCH);
		AWAIT(s, other[i], "event: snapshot\n");
		/* That which has watched for longest. */
		box.eof = false;
		AWAIT_END(s, fds[i]);
		assert_int_equal(s->observe->n_viewers, VIEWERS_MAX);
	}
	/* It comes again, and takes no place of theirs. */
	expect(s, "GET /events" CLOSE, "503", "watching already");
	assert_int_equal(s->observe->n_viewers, VIEWERS_MAX);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	for (size_t i = 0; i < ARRAY_LEN(other); i++)
		close(other[i]);
	WAIT_UNTIL(s->w->loop, s->observe->n_viewers == 0);
}

/* All of them ask before any has its head. */
static void
only_so_many_may_watch_that_come_at_once(void **state)
{
	struct stage *s = *state;
	int fds[VIEWERS_MAX + 20];

	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial(s);
		say(fds[i], WATCH);
	}
	WAIT_UNTIL(s->w->loop, s->observe->n == s->observe->n_viewers && s->observe->n_viewers >= VIEWERS_MAX);
	assert_int_equal(s->observe->n_viewers, VIEWERS_MAX);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	WAIT_UNTIL(s->w->loop, s->observe->n_viewers == 0);
}

/* The kernel's buffers are full: frames wait, and then it is enough. */
static void
who_does_not_read_is_cut(void **state)
{
	struct stage *s = *state;
	struct service_ctl *ctl = s->w->control.services[0];
	int slow = dial(s), well = dial(s);
	unsigned turns = 0;

	say(slow, WATCH);
	WAIT_UNTIL(s->w->loop, s->observe->n_viewers == 1);
	say(well, WATCH);
	AWAIT(s, well, "event: snapshot\n");
	/* A long reason in each service's record makes frames that add up. */
	memset(ctl->service->record.reason, 'x', sizeof(ctl->service->record.reason) - 1);
	while (s->observe->n_viewers == 2 && turns++ < 200000) {
		ctl->service->record.at_us++;
		s->observe->tick.repeat = 0;
		ev_feed_event(s->w->loop, &s->observe->tick, EV_TIMER);
		ev_run(s->w->loop, EVRUN_NOWAIT);
		box.n = 0;
		inbox_fill(&box, well);
	}
	assert_int_equal(s->observe->n_viewers, 1);
	box.n = 0;
	AWAIT(s, well, "event: delta\n");
	close(slow);
	close(well);
}

static void
refuses_a_port_that_is_taken(void **state)
{
	struct stage *s = *state;
	struct config other = s->w->config;
	struct observe *none;
	struct why why;

	addr_set_port(&other.observe.listen, observe_port(s->observe));
	assert_null(observe_bind(&other, &why));
	assert_non_null(strstr(why.text, "already does"));
	other.observe.on = false;
	none = observe_bind(&other, &why);
	assert_non_null(none);
	observe_start(none, &s->w->control);
	assert_int_equal(observe_port(none), 0);
	observe_close(&none);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(serves_its_pages, set_up, tear_down),
		cmocka_unit_test_setup_teardown(readiness_follows_control, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refuses_what_it_does_not_serve, set_up, tear_down),
		cmocka_unit_test_setup_teardown(head_has_the_length_but_not_the_body, set_up, tear_down),
		cmocka_unit_test_setup_teardown(keeps_connections_for_the_next_request, set_up, tear_down),
		cmocka_unit_test_setup_teardown(waits_for_nobody_for_ever, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_longest_idle_makes_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_page_lets_nothing_else_in, set_up, tear_down),
		cmocka_unit_test_setup_teardown(heads_of_both, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_watches_gets_a_snapshot_then_deltas, set_up, tear_down),
		cmocka_unit_test_setup_teardown(news_do_not_wait_for_the_tick, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_so_many_may_watch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_address_leaves_others_a_place_to_watch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_so_many_may_watch_that_come_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_does_not_read_is_cut, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refuses_a_port_that_is_taken, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
