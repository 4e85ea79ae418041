/* test_handover_http.c - clients of HTTP go from one process' workers to another's between two requests, with what they
 * have said; requests are served once, where they were begun. */
#include "config_file.h"

#include <errno.h>
#include <sys/resource.h>

#include "data/handover.h"
#include "data/lane.h"
#include "data/port.h"
#include "model/balance.h"
#include "scaled.h"
#include "wait.h"

#define WORKERS 2
#define DESCRIPTORS 2000

/* The old process, or the new one: an engine, and what main knows of its one service. */
struct house {
	const struct config *config;
	struct service *service;
	struct proxy *proxy;
	unsigned acked;	/* workers that have the snapshot */
};

static struct {
	struct ev_loop *loop;
	int backend;	/* a listening socket: the test answers itself */
	unsigned backend_port, port;
	struct house old, new;
	uint32_t descriptors;	/* of a house that opens */
	bool yielded, given;
} town;

/* -- the world around the engines -------------------------------------------------- */

static int
listening(unsigned *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof(a);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

static void
on_acked(void *arg, struct engine *e, struct service *s, unsigned thread, uint64_t generation)
{
	(void)e, (void)s, (void)thread, (void)generation;
	((struct house *)arg)->acked++;
}

/* The clock was moved. */
static void
on_stalled(void *arg, struct engine *e, unsigned thread, double seconds)
{
	(void)arg, (void)seconds;
	e->resume(e, thread);
}

/* most: of each color. */
static void
publish_backends(struct house *h, unsigned most)
{
	struct service *s = h->service;
	const unsigned n[COLORS] = { s->colors[GREEN].n < most ? (unsigned)s->colors[GREEN].n : most,
				     s->colors[BLUE].n < most ? (unsigned)s->colors[BLUE].n : most };
	struct snapshot *snapshot = snapshot_new(++s->generation, 1, GREEN, n);
	struct why why;

	for (int c = 0; c < COLORS; c++) {
		for (unsigned i = 0; i < n[c]; i++) {
			snapshot->colors[c].usable[i] = backend_ref(s->colors[c].backends[i]);
			snapshot->colors[c].weights[i] = 100;
		}
		balance_prepare(&snapshot->colors[c], NULL);
	}
	h->acked = 0;
	if (h->proxy->engine.open(&h->proxy->engine, s, &why) != OK)
		fail_msg("%s", why.text);
	h->proxy->engine.publish(&h->proxy->engine, s, &snapshot);
	WAIT_UNTIL(town.loop, h->acked == WORKERS);
}

static void
publish(struct house *h)
{
	publish_backends(h, UINT32_MAX);
}

/* more: further keys of the service. */
static void
move_in(struct house *h, const char *name, const char *more)
{
	char *text = must_printf("state_dir = \"/s\"; workers = %d; log: { access = false; }; services = (\n"
				 "{ name = \"%s\"; mode = \"http\"; listen = \"127.0.0.1:%u\";\n"
				 "green: { backends = [\"127.0.0.1:%u\"]; }; blue: { backends = [\"127.0.0.1:%u\"]; };\n"
				 "%s });\n",
				 WORKERS, name, town.port, town.backend_port, town.backend_port, more);
	struct why why;

	h->config = config_ref(good(text));
	free(text);
	h->service = service_new(&h->config->services[0], 0, WORKERS);
	h->proxy = proxy_new(town.loop, h->config, &h->service, 1, town.descriptors);
	h->proxy->engine.arg = h;
	h->proxy->engine.on_acked = on_acked;
	h->proxy->engine.on_stalled = on_stalled;
	if (proxy_bind(h->proxy, &why) != OK || proxy_start(h->proxy, &why) != OK)
		fail_msg("%s", why.text);
	publish(h);
}

static void
move_out(struct house *h)
{
	proxy_free(&h->proxy);
	service_free(&h->service);
	config_unref(&h->config);
}

static void
on_yielded(void *arg)
{
	(void)arg;
	town.yielded = true;
}

static void
on_given(void *arg)
{
	(void)arg;
	town.given = true;
}

static void
yield(void)
{
	proxy_yield(town.old.proxy, on_yielded, NULL);
	WAIT_UNTIL(town.loop, town.yielded);
}

static void
channels(int mine[WORKERS], int theirs[WORKERS])
{
	for (int i = 0; i < WORKERS; i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
		mine[i] = pair[0];
		theirs[i] = pair[1];
	}
}

/* A new house opens: the old one accepts no more. */
static void
succeed(const char *name, const char *more)
{
	if (!town.yielded)
		yield();
	move_in(&town.new, name, more);
}

static void
begin_hand_over(void)
{
	int mine[WORKERS], theirs[WORKERS];

	channels(mine, theirs);
	town.given = false;
	proxy_take(town.new.proxy, theirs, WORKERS);
	proxy_give(town.old.proxy, mine, WORKERS, on_given, NULL);
}

/* What the old house can give now is with the new one. */
static void
hand_over(void)
{
	begin_hand_over();
	WAIT_UNTIL(town.loop, town.given);
}

static uint64_t
held(const struct house *h)
{
	return h->proxy->engine.left(&h->proxy->engine);
}

/* Of the old house nothing is left: whatever goes on is the new one's. */
static void
leave_old(void)
{
	WAIT_UNTIL(town.loop, held(&town.old) == 0);
	move_out(&town.old);
}

static int
set_up(void **state)
{
	(void)state;
	memset(&town, 0, sizeof(town));
	town.loop = ev_loop_new(EVFLAG_AUTO);
	town.descriptors = DESCRIPTORS;
	town.backend = listening(&town.backend_port);
	close(listening(&town.port));
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	if (town.old.proxy != NULL)
		move_out(&town.old);
	move_out(&town.new);
	close(town.backend);
	ev_loop_destroy(town.loop);
	return 0;
}

/* -- clients and backends ----------------------------------------------------------- */

static int
dial_service(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)town.port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* The next connection that reaches the backend. */
static int
reached(void)
{
	int fd = -1;

	WAIT_UNTIL(town.loop, (fd = accept4(town.backend, NULL, NULL, SOCK_CLOEXEC)) >= 0);
	return fd;
}

static bool
backend_is_dialed(void)
{
	int fd = accept4(town.backend, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void
say(int fd, const char *words)
{
	assert_int_equal(send(fd, words, strlen(words), MSG_NOSIGNAL), (ssize_t)strlen(words));
}

static bool
has_come(int fd, char *got, size_t size, const char *last)
{
	size_t have = strlen(got);
	ssize_t n = recv(fd, got + have, size - 1 - have, MSG_DONTWAIT);

	assert_true(n != 0 || strstr(got, last) != NULL);
	if (n > 0)
		got[have + (size_t)n] = '\0';
	return strstr(got, last) != NULL;
}

/* What comes, up to and with `last`, which is the end of it. */
static const char *
hear(int fd, const char *last)
{
	static char got[65536];

	got[0] = '\0';
	WAIT_UNTIL(town.loop, has_come(fd, got, sizeof(got), last));
	assert_string_equal(got + strlen(got) - strlen(last), last);
	return got;
}

static void
assert_ends(int fd)
{
	char byte;
	ssize_t n = -1;

	WAIT_UNTIL(town.loop, (n = recv(fd, &byte, 1, MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
	assert_true(n <= 0);
	close(fd);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: shop\r\n\r\n"
#define ANSWER(body) "HTTP/1.1 200 OK\r\nContent-Length: " body

/* One request, whole, with its answer; backend: the connection by which it comes, or -1: a new one. */
static int
ask(int client, int backend)
{
	say(client, GET("/"));
	if (backend < 0)
		backend = reached();
	assert_non_null(strstr(hear(backend, "\r\n\r\n"), "GET / "));
	say(backend, ANSWER("2\r\n\r\nok"));
	assert_null(strcasestr(hear(client, "ok"), "connection: close"));
	return backend;
}

/* -- stories -------------------------------------------------------------------------- */

static void
test_an_idle_client_goes_and_so_does_the_connection_to_its_backend(void **state)
{
	int client, backend;

	(void)state;
	move_in(&town.old, "shop", "");
	client = dial_service();
	backend = ask(client, -1);
	succeed("shop", "");
	hand_over();
	leave_old();
	assert_int_equal(held(&town.new), 1);
	/* Each is in the worker that gets what that one of the old process had. */
	WAIT_UNTIL(town.loop, atomic_load(&town.new.proxy->idle_upstreams) == 1);
	assert_int_equal(ask(client, backend), backend);
	assert_false(backend_is_dialed());
	close(client);
	close(backend);
	WAIT_UNTIL(town.loop, held(&town.new) == 0);
}

static void
test_part_of_a_head_goes_along(void **state)
{
	static const char head[] = "GET /in/parts HTTP/1.1\r\nHost: shop\r\nX-Long: 0123456789\r\n\r\n";
	int clients[sizeof(head)], backend;

	(void)state;
	move_in(&town.old, "shop", "");
	/* Cut at each byte; the first has said nothing yet. */
	for (size_t i = 0; i < sizeof(head) - 1; i++) {
		clients[i] = dial_service();
		assert_int_equal(send(clients[i], head, i, MSG_NOSIGNAL), (ssize_t)i);
	}
	WAIT_UNTIL(town.loop, held(&town.old) == sizeof(head) - 1);
	succeed("shop", "");
	hand_over();
	leave_old();
	for (size_t i = 0; i < sizeof(head) - 1; i++) {
		say(clients[i], head + i);
		WAIT_UNTIL(town.loop, (backend = accept4(town.backend, NULL, NULL, SOCK_CLOEXEC)) >= 0);
		assert_non_null(strstr(hear(backend, "\r\n\r\n"), "GET /in/parts HTTP/1.1\r\n"));
		say(backend, ANSWER("2\r\nConnection: close\r\n\r\nok"));
		close(backend);
		hear(clients[i], "ok");
		close(clients[i]);
	}
}

static void
test_a_request_under_way_is_served_and_its_client_follows(void **state)
{
	int client, backend;
	const char *got;

	(void)state;
	move_in(&town.old, "shop", "");
	client = dial_service();
	say(client, "POST /a HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
	backend = reached();
	hear(backend, "\r\n\r\n");
	succeed("shop", "");
	hand_over();
	assert_int_equal(held(&town.old), 1);
	assert_int_equal(held(&town.new), 0);
	say(backend, "HTTP/1.1 100 Continue\r\n\r\n");
	hear(client, "HTTP/1.1 100 Continue\r\n\r\n");
	/* With the next requests behind its body: these are the new process' to serve. */
	say(client, "body" GET("/b") GET("/c"));
	hear(backend, "body");
	assert_false(backend_is_dialed());
	say(backend, ANSWER("1\r\n\r\na"));
	got = hear(client, "\r\n\r\na");
	assert_null(strcasestr(got, "connection: close"));
	leave_old();
	close(backend);
	for (const char *path = "b"; path != NULL; path = *path == 'b' ? "c" : NULL) {
		char *line = must_printf("GET /%s HTTP/1.1\r\n", path);

		backend = reached();
		assert_non_null(strstr(hear(backend, "\r\n\r\n"), line));
		free(line);
		say(backend, ANSWER("3\r\nConnection: close\r\n\r\n"));
		say(backend, *path == 'b' ? "<b>" : "<c>");
		close(backend);
		hear(client, *path == 'b' ? "<b>" : "<c>");
	}
	/* Each was asked once. */
	assert_false(backend_is_dialed());
	close(client);
}

static void
test_one_that_waits_for_a_place_waits_on(void **state)
{
	static const char limits[] = "max_connections = 1; queue_timeout = 60.0;";
	int first, waiting[6], newcomer, backend;

	(void)state;
	move_in(&town.old, "shop", limits);
	first = dial_service();
	backend = ask(first, -1);
	/* In whichever worker: they have one order. */
	for (unsigned i = 0; i < ARRAY_LEN(waiting); i++) {
		char *request = must_printf(GET("/%u"), i);

		waiting[i] = dial_service();
		WAIT_UNTIL(town.loop, service_waiting(town.old.service) == i + 1);
		say(waiting[i], request);
		free(request);
	}
	succeed("shop", limits);
	newcomer = dial_service();
	WAIT_UNTIL(town.loop, atomic_load(&town.new.service->admission.held) == 1);
	hand_over();
	leave_old();
	/* No limit refuses those who are in already. */
	WAIT_UNTIL(town.loop, service_waiting(town.new.service) == ARRAY_LEN(waiting));
	assert_int_equal(atomic_load(&town.new.service->admission.held), 2);
	close(newcomer);
	WAIT_UNTIL(town.loop, atomic_load(&town.new.service->admission.held) == 1);
	assert_int_equal(service_waiting(town.new.service), ARRAY_LEN(waiting));
	close(backend);
	close(first);
	for (unsigned i = 0; i < ARRAY_LEN(waiting); i++) {
		char *line = must_printf("GET /%u HTTP/1.1\r\n", i);

		backend = reached();
		assert_non_null(strstr(hear(backend, "\r\n\r\n"), line));
		free(line);
		assert_int_equal(atomic_load(&town.new.service->admission.held), 1);
		close(backend);
		close(waiting[i]);
	}
}

static void
test_a_login_goes_with_its_client(void **state)
{
	int client, other, login, backend;

	(void)state;
	move_in(&town.old, "shop", "");
	client = dial_service();
	say(client, "GET / HTTP/1.1\r\nHost: shop\r\nAuthorization: NTLM AAAA\r\n\r\n");
	login = reached();
	hear(login, "\r\n\r\n");
	say(login, ANSWER("2\r\n\r\nok"));
	hear(client, "ok");
	succeed("shop", "");
	hand_over();
	leave_old();
	/* Another one gets a connection of its own. */
	other = dial_service();
	backend = ask(other, -1);
	assert_int_equal(ask(client, login), login);
	close(other);
	close(client);
	/* It ends with its client. */
	assert_ends(login);
	close(backend);
}

/* A channel is full before it is given: what is offered waits for room.  Returns the messages in it. */
static unsigned
fill(int fd)
{
	static const char junk[1000];
	unsigned n = 0;

	while (send(fd, junk, sizeof(junk), MSG_DONTWAIT) >= 0)
		n++;
	assert_int_equal(errno, EAGAIN);
	return n;
}

static void
take_out(int fd, unsigned n)
{
	char junk[1000];

	while (n-- > 0)
		assert_int_equal(recv(fd, junk, sizeof(junk), MSG_DONTWAIT), sizeof(junk));
}

/* A look from outside at what only workers write: late by a moment at most. */
__attribute__((no_sanitize("thread"))) static unsigned
offered(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < WORKERS; i++)
		n += __atomic_load_n(&town.old.proxy->workers[i].lanes[0]->handed, __ATOMIC_RELAXED);
	return n;
}

/* Its descriptor is not closed, and no other connection's, while the message that has it waits. */
static void
test_a_login_that_is_on_its_way_is_not_closed(void **state)
{
	int client, login, mine[WORKERS], theirs[WORKERS];
	unsigned junk[WORKERS];

	(void)state;
	move_in(&town.old, "shop", "");
	client = dial_service();
	say(client, "GET / HTTP/1.1\r\nHost: shop\r\nAuthorization: NTLM AAAA\r\n\r\n");
	login = reached();
	hear(login, "\r\n\r\n");
	say(login, ANSWER("2\r\n\r\nok"));
	hear(client, "ok");
	succeed("shop", "");
	channels(mine, theirs);
	for (int i = 0; i < WORKERS; i++)
		junk[i] = fill(mine[i]);
	proxy_give(town.old.proxy, mine, WORKERS, on_given, NULL);
	WAIT_UNTIL(town.loop, offered() == 1);
	/* The old process closes what it keeps of connections to backends. */
	publish_backends(&town.old, 0);
	for (int i = 0; i < WORKERS; i++)
		take_out(theirs[i], junk[i]);
	proxy_take(town.new.proxy, theirs, WORKERS);
	leave_old();
	assert_int_equal(ask(client, login), login);
	close(client);
	assert_ends(login);
}

static void
test_one_that_the_new_process_does_not_know_is_told_so(void **state)
{
	int client, backend;

	(void)state;
	move_in(&town.old, "shop", "");
	client = dial_service();
	backend = ask(client, -1);
	succeed("pay", "");
	hand_over();
	assert_int_equal(held(&town.old), 1);
	assert_true(proxy_handed(town.old.proxy).refused > 0);
	/* It goes on here, and its next answer is the last. */
	close(backend);
	say(client, GET("/"));
	backend = reached();
	hear(backend, "\r\n\r\n");
	say(backend, ANSWER("2\r\n\r\nok"));
	assert_non_null(strstr(hear(client, "ok"), "Connection: close\r\n"));
	assert_ends(client);
	close(backend);
	leave_old();
}

static void
test_what_the_new_process_had_not_taken_goes_on_when_that_dies(void **state)
{
	int mine[WORKERS], theirs[WORKERS], client, backend;

	(void)state;
	move_in(&town.old, "shop", "");
	client = dial_service();
	say(client, "GET /half HTT");
	WAIT_UNTIL(town.loop, held(&town.old) == 1);
	yield();
	channels(mine, theirs);
	proxy_give(town.old.proxy, mine, WORKERS, on_given, NULL);
	/* It reads nothing, and ends. */
	for (int i = 0; i < WORKERS; i++)
		close(theirs[i]);
	WAIT_UNTIL(town.loop, town.given);
	say(client, "P/1.1\r\nHost: shop\r\n\r\n");
	backend = reached();
	assert_non_null(strstr(hear(backend, "\r\n\r\n"), "GET /half HTTP/1.1"));
	say(backend, ANSWER("2\r\n\r\nok"));
	assert_null(strcasestr(hear(client, "ok"), "connection: close"));
	/* The next one gets it. */
	succeed("shop", "");
	hand_over();
	leave_old();
	assert_int_equal(held(&town.new), 1);
	close(client);
	close(backend);
}

static void
test_a_stream_that_a_request_becomes_goes_as_well(void **state)
{
	int client, backend;

	(void)state;
	move_in(&town.old, "shop", "");
	client = dial_service();
	say(client, "GET /chat HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n");
	backend = reached();
	hear(backend, "\r\n\r\n");
	succeed("shop", "");
	hand_over();
	assert_int_equal(held(&town.old), 1);
	say(backend, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nhello");
	hear(client, "hello");
	leave_old();
	say(client, "up");
	hear(backend, "up");
	say(backend, "down");
	hear(client, "down");
	close(client);
	assert_ends(backend);
}

static void
test_who_a_proxy_named_is_known_there(void **state)
{
	static const char keys[] = "proxy_protocol: { accept_from = [\"127.0.0.1\"]; };";
	int client, backend;

	(void)state;
	move_in(&town.old, "shop", keys);
	client = dial_service();
	say(client, "PROXY TCP4 10.1.2.3 10.9.9.9 1000 80\r\n");
	backend = ask(client, -1);
	succeed("shop", keys);
	hand_over();
	leave_old();
	say(client, GET("/"));
	assert_non_null(strstr(hear(backend, "\r\n\r\n"), "X-Forwarded-For: 10.1.2.3\r\n"));
	close(client);
	close(backend);
}

static void
test_where_descriptors_are_out_there_it_is_served_here_until_some_are_free(void **state)
{
	int clients[2], backend;
	const char *got;

	(void)state;
	move_in(&town.old, "shop", "");
	for (int i = 0; i < 2; i++)
		clients[i] = dial_service();
	WAIT_UNTIL(town.loop, held(&town.old) == 2);
	town.descriptors = 3;
	succeed("shop", "");
	begin_hand_over();
	WAIT_UNTIL(town.loop, held(&town.new) == 1 && proxy_handed(town.old.proxy).refused > 0);
	/* Two requests at once: each is asked for once, and nothing is said of an end. */
	for (int i = 0; i < 2; i++)
		say(clients[i], "GET /1 HTTP/1.1\r\nHost: shop\r\n\r\nGET /2 HTTP/1.1\r\nHost: shop\r\n\r\n");
	for (int i = 0; i < 4; i++) {
		backend = reached();
		hear(backend, "\r\n\r\n");
		say(backend, ANSWER("3\r\nX: y\r\n\r\n<a>"));
		close(backend);
	}
	for (int i = 0; i < 2; i++) {
		got = hear(clients[i], "<a>");
		assert_null(strcasestr(got, "connection: close"));
		if (strstr(strstr(got, "<a>") + 1, "<a>") == NULL)
			hear(clients[i], "<a>");
	}
	assert_false(backend_is_dialed());
	assert_int_equal(held(&town.old), 1);
	/* One of the two leaves; whichever it is, the other is with the new process soon. */
	close(clients[0]);
	leave_old();
	WAIT_UNTIL(town.loop, held(&town.new) == 1);
	close(clients[1]);
}

static void
test_many_idle_clients_go(void **state)
{
	const unsigned n = scaled(300, 5000);
	struct rlimit most;
	int *clients = must_array(n, sizeof(int));

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &most), 0);
	most.rlim_cur = most.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &most), 0);
	town.descriptors = 4 * n;
	move_in(&town.old, "shop", "");
	for (unsigned i = 0; i < n; i++)
		clients[i] = dial_service();
	WAIT_UNTIL(town.loop, held(&town.old) == n);
	succeed("shop", "");
	hand_over();
	leave_old();
	WAIT_UNTIL(town.loop, held(&town.new) == n);
	for (unsigned i = 0; i < n; i++) {
		int backend;

		say(clients[i], GET("/"));
		backend = reached();
		say(backend, ANSWER("2\r\nConnection: close\r\n\r\nok"));
		hear(clients[i], "ok");
		close(backend);
		close(clients[i]);
	}
	free(clients);
}

/* Who asked for it may be gone already. */
static void
test_an_engine_that_ends_tells_nothing_more(void **state)
{
	(void)state;
	move_in(&town.old, "shop", "");
	proxy_yield(town.old.proxy, on_yielded, NULL);
	move_out(&town.old);
	assert_false(town.yielded);
	move_in(&town.new, "shop", "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_an_idle_client_goes_and_so_does_the_connection_to_its_backend, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_part_of_a_head_goes_along, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_request_under_way_is_served_and_its_client_follows, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_that_waits_for_a_place_waits_on, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_login_goes_with_its_client, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_login_that_is_on_its_way_is_not_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_that_the_new_process_does_not_know_is_told_so, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_the_new_process_had_not_taken_goes_on_when_that_dies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_stream_that_a_request_becomes_goes_as_well, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_who_a_proxy_named_is_known_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_where_descriptors_are_out_there_it_is_served_here_until_some_are_free, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_idle_clients_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_an_engine_that_ends_tells_nothing_more, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
