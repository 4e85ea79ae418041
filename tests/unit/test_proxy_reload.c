/* test_proxy_reload.c - workers that serve take another configuration: what is
 * not concerned goes on, addresses go from one service to another with those who
 * are queued there, and nothing is left of what has gone. */
#include "config_file.h"

#include <dirent.h>
#include <errno.h>

#include "data/lane.h"
#include "data/port.h"
#include "data/proxy.h"
#include "data/proxy_reload.h"
#include "model/balance.h"
#include "scaled.h"
#include "wait.h"

#define WORKERS 2
#define SLOTS 8
#define ROUNDS_USUAL 40
#define ROUNDS_FULL 1000

/* A backend is a listening socket; who is connected to it is told from where. */
struct backend_socket {
	int fd;
	unsigned port;
};

static struct {
	struct ev_loop *loop;
	struct proxy *proxy;
	const struct config *config;
	struct service *services[SLOTS];	/* [slot] */
	struct backend_socket backends[3];
	unsigned ports[3];	/* to listen on */
	uint64_t generation, committed;
	struct service *leaving;
	struct drain_orders orders;	/* its */
	unsigned acked[SLOTS];	/* workers */
	bool forgotten;
} town;

/* -- the world around the engine ------------------------------------------------ */

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

/* As programs do that begin to listen later. */
static int
bound(unsigned port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static int
dial(unsigned port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The next connection that reaches that backend. */
static int
reached(unsigned backend)
{
	int fd = -1;

	WAIT_UNTIL(town.loop, (fd = accept4(town.backends[backend].fd, NULL, NULL, SOCK_CLOEXEC)) >= 0);
	return fd;
}

static void
assert_flows(int from, int to, const char *words)
{
	char got[64];
	size_t n = strlen(words), have = 0;

	assert_int_equal(send(from, words, n, MSG_NOSIGNAL), (ssize_t)n);
	while (have < n) {
		ssize_t k = recv(to, got + have, n - have, 0);

		assert_true(k > 0);
		have += (size_t)k;
	}
	assert_memory_equal(got, words, n);
}

static void
assert_ended(int fd)
{
	char byte;

	assert_true(recv(fd, &byte, 1, 0) <= 0);
	close(fd);
}

static unsigned
descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static void
on_acked(void *arg, struct engine *e, struct service *s, unsigned thread, uint64_t generation)
{
	(void)arg, (void)e, (void)thread;
	if (generation == s->generation)
		town.acked[s->index]++;
}

static void
on_committed(void *arg, struct engine *e, uint64_t generation)
{
	(void)arg, (void)e;
	town.committed = generation;
}

static void
on_forgotten(void *arg, struct engine *e, struct service *s)
{
	(void)arg, (void)e;
	assert_ptr_equal(s, town.leaving);
	town.forgotten = true;
}

/* The clock was moved. */
static void
on_stalled(void *arg, struct engine *e, unsigned thread, double seconds)
{
	(void)arg, (void)seconds;
	e->resume(e, thread);
}

static struct snapshot *
snapshot_of(struct service *s)
{
	const unsigned n[COLORS] = { (unsigned)s->colors[GREEN].n, (unsigned)s->colors[BLUE].n };
	struct snapshot *snapshot = snapshot_new(++s->generation, 1, GREEN, n);

	town.acked[s->index] = 0;
	for (int c = 0; c < COLORS; c++) {
		for (unsigned i = 0; i < n[c]; i++) {
			snapshot->colors[c].usable[i] = backend_ref(s->colors[c].backends[i]);
			snapshot->colors[c].weights[i] = 100;
		}
		balance_prepare(&snapshot->colors[c], NULL);
	}
	return snapshot;
}

static void
serve(struct service *s)
{
	struct engine *e = &town.proxy->engine;
	struct snapshot *snapshot = snapshot_of(s);
	struct why why;

	if (e->open(e, s, &why) != OK)
		fail_msg("%s", why.text);
	e->publish(e, s, &snapshot);
	WAIT_UNTIL(town.loop, town.acked[s->index] == WORKERS);
}

static struct service *
known(const char *name)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (town.services[i] != NULL && strcmp(town.services[i]->config->name, name) == 0)
			return town.services[i];
	return NULL;
}

static unsigned
free_slot(void)
{
	unsigned i = 0;

	while (town.services[i] != NULL)
		i++;
	assert_true(i < SLOTS);
	return i;
}

static const struct config *
configured(const char *text)
{
	char *whole = must_printf("state_dir = \"/s\"; workers = 2; log: { access = false; }; services = (\n%s);\n", text);
	const struct config *c = config_ref(good(whole));

	free(whole);
	return c;
}

/* "name" on that listening port, with that backend. */
static const char *
service_text(const char *name, unsigned port, unsigned backend, const char *more)
{
	static char text[8][1024];
	static unsigned at;

	at = (at + 1) % 8;
	snprintf(text[at], sizeof(text[at]),
		 "{ name = \"%s\"; listen = \"127.0.0.1:%u\"; green: { backends = [\"127.0.0.1:%u\"]; };\n"
		 "blue: { backends = [\"127.0.0.1:%u\"]; }; %s }",
		 name, town.ports[port], town.backends[backend].port, town.backends[backend].port, more);
	return text[at];
}

static const char *
both(const char *a, const char *b)
{
	static char text[2048];

	snprintf(text, sizeof(text), "%s,\n%s", a, b);
	return text;
}

static const char *
three(const char *a, const char *b, const char *c)
{
	static char text[4096];

	snprintf(text, sizeof(text), "%s,\n%s,\n%s", a, b, c);
	return text;
}

static void
start(const char *text)
{
	struct service *list[SLOTS];
	struct why why;
	size_t n;

	memset(&town, 0, offsetof(typeof(town), backends));
	town.generation = town.committed = 0;
	town.loop = ev_loop_new(EVFLAG_AUTO);
	town.config = configured(text);
	n = town.config->n_services;
	for (unsigned i = 0; i < n; i++)
		list[i] = town.services[i] = service_new(&town.config->services[i], i, WORKERS);
	town.proxy = proxy_new(town.loop, town.config, list, (unsigned)n, 2000);
	town.proxy->engine.on_acked = on_acked;
	town.proxy->engine.on_committed = on_committed;
	town.proxy->engine.on_stalled = on_stalled;
	town.proxy->engine.on_forgotten = on_forgotten;
	if (proxy_bind(town.proxy, &why) != OK || proxy_start(town.proxy, &why) != OK)
		fail_msg("%s", why.text);
	for (unsigned i = 0; i < n; i++)
		serve(town.services[i]);
}

static void
stop(void)
{
	proxy_free(&town.proxy);
	for (unsigned i = 0; i < SLOTS; i++)
		service_free(&town.services[i]);
	config_unref(&town.config);
	ev_loop_destroy(town.loop);
}

struct attempt {
	struct reload reload;
	struct reload_service services[SLOTS];
	struct service *removed[SLOTS];
};

/* What control would order. */
static void
plan(struct attempt *a, const struct config *to)
{
	memset(a, 0, sizeof(*a));
	a->reload = (struct reload){ town.config, to, ++town.generation, a->services, to->n_services, a->removed, 0 };
	for (unsigned i = 0; i < SLOTS; i++) {
		bool stays = false;

		for (size_t k = 0; k < to->n_services && town.services[i] != NULL; k++)
			stays |= strcmp(to->services[k].name, town.services[i]->config->name) == 0;
		if (town.services[i] != NULL && !stays)
			a->removed[a->reload.n_removed++] = town.services[i];
	}
	for (size_t k = 0; k < to->n_services; k++) {
		struct service *s = known(to->services[k].name);

		if (s == NULL) {
			unsigned slot = free_slot();

			s = town.services[slot] = service_new(&to->services[k], slot, WORKERS);
		}
		a->services[k] = (struct reload_service){ .service = s, .config = &to->services[k], .changed = true };
	}
}

static void
commit(struct attempt *a)
{
	struct engine *e = &town.proxy->engine;

	e->commit(e, &a->reload);
	for (size_t k = 0; k < a->reload.n; k++)
		a->services[k].service->config = a->services[k].config;
	WAIT_UNTIL(town.loop, town.committed == town.generation);
	for (size_t k = 0; k < a->reload.n; k++)
		if (a->services[k].service->generation == 0)
			serve(a->services[k].service);
}

/* A service that was removed: cut after so many seconds, then nothing is left of it. */
static void
let_go(struct service *s, double timeout)
{
	struct engine *e = &town.proxy->engine;

	town.orders = (struct drain_orders){ .at = clock_now(), .timeout = timeout, .ending = END_DRAINED, .all = true };
	town.leaving = s;
	town.forgotten = false;
	for (int c = 0; c < COLORS; c++)
		e->drain(e, s, (enum color)c, &town.orders);
	e->forget(e, s);
}

static void
on_who_holds(void *arg, const struct holders *holders)
{
	(void)arg;
	assert_true(holders->n <= 10);
}

/* What a stop orders, and a command asks, while workers let go of it one by one. */
static bool
asked_meanwhile(struct service *s)
{
	struct engine *e = &town.proxy->engine;

	e->drain(e, s, GREEN, &town.orders);
	e->holders(e, s, GREEN, 10, on_who_holds, NULL);
	return false;
}

static void
forget_service(struct service *s)
{
	unsigned slot = s->index;

	WAIT_UNTIL(town.loop, town.forgotten || asked_meanwhile(s));
	for (unsigned i = 0; i < WORKERS; i++)
		assert_null(town.proxy->workers[i].lanes[slot]);
	service_free(&town.services[slot]);
}

/* The whole of it: removed services end at once. */
static void
reload(const char *text)
{
	const struct config *to = configured(text), *from = town.config;
	struct engine *e = &town.proxy->engine;
	struct attempt a;
	struct why why;

	plan(&a, to);
	if (e->prepare(e, &a.reload, &why) != OK)
		fail_msg("%s", why.text);
	commit(&a);
	town.config = to;
	for (size_t i = 0; i < a.reload.n_removed; i++) {
		let_go(a.removed[i], 0);
		forget_service(a.removed[i]);
	}
	config_unref(&from);
}

static int
set_up(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(town.backends); i++)
		town.backends[i].fd = listening(&town.backends[i].port);
	for (unsigned i = 0; i < ARRAY_LEN(town.ports); i++)
		close(listening(&town.ports[i]));
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(town.backends); i++)
		close(town.backends[i].fd);
	return 0;
}

/* -- stories --------------------------------------------------------------------- */

static void
test_an_address_goes_to_another_service(void **state)
{
	int first, at_first, second, at_second;

	(void)state;
	start(service_text("shop", 0, 0, ""));
	first = dial(town.ports[0]);
	at_first = reached(0);
	/* shop moves, pay takes its address; who is connected stays with shop. */
	reload(both(service_text("shop", 1, 0, ""), service_text("pay", 0, 1, "")));
	assert_flows(first, at_first, "still here");
	second = dial(town.ports[0]);
	at_second = reached(1);
	assert_flows(second, at_second, "to pay");
	close(second);
	close(at_second);
	second = dial(town.ports[1]);
	at_second = reached(0);
	assert_flows(at_second, second, "to shop");
	close(second);
	close(at_second);
	close(first);
	close(at_first);
	stop();
}

static void
test_clients_that_are_queued_meet_the_new_service(void **state)
{
	const struct config *to, *from;
	struct attempt a;
	struct engine *e;
	struct why why;
	int queued, at;

	(void)state;
	start(service_text("shop", 0, 0, ""));
	e = &town.proxy->engine;
	from = town.config;
	to = configured(service_text("pay", 0, 1, ""));
	plan(&a, to);
	assert_int_equal(e->prepare(e, &a.reload, &why), OK);
	e->commit(e, &a.reload);
	WAIT_UNTIL(town.loop, town.committed == town.generation);
	/* Its color is not known yet: it waits, and is not refused. */
	queued = dial(town.ports[0]);
	assert_true(queued >= 0);
	serve(a.services[0].service);
	at = reached(1);
	assert_flows(queued, at, "to pay");
	close(queued);
	close(at);
	town.config = to;
	let_go(a.removed[0], 0);
	forget_service(a.removed[0]);
	config_unref(&from);
	stop();
}

static void
test_a_removed_service_drains_and_leaves_nothing(void **state)
{
	const struct config *to, *from;
	struct service *shop;
	struct engine *e;
	struct attempt a;
	struct why why;
	int client, at;

	(void)state;
	start(both(service_text("shop", 0, 0, ""), service_text("pay", 1, 1, "")));
	e = &town.proxy->engine;
	shop = known("shop");
	client = dial(town.ports[0]);
	at = reached(0);
	from = town.config;
	to = configured(service_text("pay", 1, 1, ""));
	plan(&a, to);
	assert_int_equal(e->prepare(e, &a.reload, &why), OK);
	commit(&a);
	town.config = to;
	assert_int_equal(dial(town.ports[0]), -1);
	let_go(shop, -1);
	assert_flows(client, at, "on its way");
	assert_false(town.forgotten);
	close(at);
	assert_ended(client);
	forget_service(shop);
	config_unref(&from);
	/* pay never noticed. */
	client = dial(town.ports[1]);
	at = reached(1);
	assert_flows(client, at, "pay");
	close(client);
	close(at);
	stop();
}

static void
test_what_cannot_be_opened_changes_nothing(void **state)
{
	const struct config *to;
	unsigned before, taken;
	struct engine *e;
	struct attempt a;
	struct why why;
	int client, at, stranger = listening(&taken);
	char *text;

	(void)state;
	start(service_text("shop", 0, 0, ""));
	e = &town.proxy->engine;
	before = descriptors();
	text = must_printf("{ name = \"shop\"; listen = [\"127.0.0.1:%u\", \"127.0.0.1:%u\"]; green: { backends = "
			   "[\"127.0.0.1:1\"]; }; blue: { backends = [\"127.0.0.1:1\"]; }; }",
			   town.ports[1], taken);
	to = configured(text);
	plan(&a, to);
	assert_int_equal(e->prepare(e, &a.reload, &why), E_USAGE);
	assert_non_null(strstr(why.text, "another process already does"));
	assert_non_null(strstr(why.text, "service \"shop\""));
	assert_int_equal(descriptors(), before);
	config_unref(&to);
	free(text);
	/* So does one that our own is part of. */
	text = must_printf("{ name = \"shop\"; listen = \"0.0.0.0:%u\"; green: { backends = [\"127.0.0.1:1\"]; }; "
			   "blue: { backends = [\"127.0.0.1:1\"]; }; }", town.ports[0]);
	to = configured(text);
	plan(&a, to);
	assert_int_equal(e->prepare(e, &a.reload, &why), E_USAGE);
	assert_non_null(strstr(why.text, "it may be teald itself"));
	assert_int_equal(descriptors(), before);
	config_unref(&to);
	free(text);
	/* One that could be, and is given up.  Meanwhile no other program may begin to listen
	 * there, bound though it is: the commit could not. */
	close(stranger);
	stranger = bound(town.ports[1]);
	to = configured(service_text("shop", 1, 1, ""));
	plan(&a, to);
	assert_int_equal(e->prepare(e, &a.reload, &why), OK);
	assert_int_equal(listen(stranger, 1), -1);
	assert_int_equal(errno, EADDRINUSE);
	e->abandon(e);
	assert_int_equal(listen(stranger, 1), 0);
	close(stranger);
	assert_int_equal(descriptors(), before - 1);
	config_unref(&to);
	client = dial(town.ports[0]);
	at = reached(0);
	assert_flows(client, at, "as before");
	close(client);
	close(at);
	stop();
}

static void
test_a_new_timeout_holds_for_the_next_deadline(void **state)
{
	int client, at;

	(void)state;
	start(service_text("shop", 0, 0, "idle_timeout = 3600.0;"));
	client = dial(town.ports[0]);
	at = reached(0);
	assert_flows(client, at, "hello");
	reload(service_text("shop", 0, 0, "idle_timeout = 0.2;"));
	/* What moves is touched by the new terms, and then is too long idle. */
	clock_move(1000);
	assert_flows(client, at, "within the old time");
	WAIT_UNTIL(town.loop, recv(client, &(char){ 0 }, 1, MSG_DONTWAIT) == 0);
	close(client);
	close(at);
	stop();
}

static void
test_limits_keep_their_counts(void **state)
{
	int clients[3], at[2];
	char byte;

	(void)state;
	start(service_text("shop", 0, 0, ""));
	for (int i = 0; i < 2; i++) {
		clients[i] = dial(town.ports[0]);
		at[i] = reached(0);
	}
	reload(service_text("shop", 0, 0, "max_connections = 2; max_connections_per_source = 2;"));
	clients[2] = dial(town.ports[0]);
	assert_true(recv(clients[2], &byte, 1, 0) <= 0);
	close(clients[2]);
	close(clients[0]);
	close(at[0]);
	WAIT_UNTIL(town.loop, known("shop")->admission.held == 1);
	clients[2] = dial(town.ports[0]);
	at[0] = reached(0);
	assert_flows(clients[2], at[0], "in");
	for (int i = 0; i < 2; i++) {
		close(clients[i + 1]);
		close(at[i]);
	}
	WAIT_UNTIL(town.loop, known("shop")->admission.held == 0);
	stop();
}

/* -- HTTP ------------------------------------------------------------------------- */

/* Until the blank line behind a head; of an answer with its two bytes. */
static void
read_message(int fd, char *text, size_t room, size_t body)
{
	size_t n = 0;
	char *end;

	text[0] = '\0';
	while ((end = strstr(text, "\r\n\r\n")) == NULL || (size_t)(end - text) + 4 + body > n) {
		ssize_t k = recv(fd, text + n, room - 1 - n, 0);

		if (k <= 0)
			fail_msg("ended after: %s", text);
		n += (size_t)k;
		text[n] = '\0';
	}
}

static void
ask(int client, const char *host)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host);

	assert_int_equal(send(client, text, (size_t)n, MSG_NOSIGNAL), n);
}

/* The backend answers what that client asked; is the client to go? */
static bool
answered(int client, int at)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
	char text[2048];

	read_message(at, text, sizeof(text), 0);
	assert_begins(text, "GET / HTTP/1.1\r\n");
	assert_int_equal(send(at, answer, sizeof(answer) - 1, MSG_NOSIGNAL), sizeof(answer) - 1);
	read_message(client, text, sizeof(text), 2);
	assert_begins(text, "HTTP/1.1 200 OK\r\n");
	return strcasestr(text, "connection: close") != NULL;
}

static void
test_the_next_request_goes_by_the_new_names(void **state)
{
	const char *http = "mode = \"http\";";
	int client, at, at_news;

	(void)state;
	start(service_text("pages", 0, 0, http));
	client = dial(town.ports[0]);
	ask(client, "a.example");
	at = reached(0);
	assert_false(answered(client, at));
	reload(both(service_text("pages", 1, 0, http), service_text("news", 0, 1, http)));
	ask(client, "a.example");
	at_news = reached(1);
	assert_false(answered(client, at_news));
	/* And where nobody listens any more it is the last one. */
	reload(both(service_text("pages", 1, 0, http), service_text("news", 2, 1, http)));
	ask(client, "a.example");
	assert_true(answered(client, at_news));
	assert_ended(client);
	close(at);
	close(at_news);
	stop();
}

/* A client of a shared listener outlives the service that it asked last. */
static void
test_who_may_ask_others_stays(void **state)
{
	const char *a = "mode = \"http\"; hosts = \"a.example\"; max_connections = 5;",
		   *b = "mode = \"http\"; hosts = \"b.example\"; max_connections = 5;";
	const struct config *to, *from;
	struct service *pages;
	struct attempt order;
	int client, at;
	struct why why;

	(void)state;
	start(both(service_text("pages", 0, 0, a), service_text("news", 0, 1, b)));
	pages = known("pages");
	client = dial(town.ports[0]);
	ask(client, "a.example");
	at = reached(0);
	assert_false(answered(client, at));
	from = town.config;
	to = configured(service_text("news", 0, 1, b));
	plan(&order, to);
	assert_int_equal(town.proxy->engine.prepare(&town.proxy->engine, &order.reload, &why), OK);
	commit(&order);
	town.config = to;
	let_go(pages, -1);
	forget_service(pages);
	config_unref(&from);
	close(at);
	ask(client, "b.example");
	at = reached(1);
	assert_false(answered(client, at));
	close(client);
	close(at);
	WAIT_UNTIL(town.loop, town.proxy->descriptors.held == town.proxy->idle_upstreams);
	stop();
}

/* What the workers have, as they say. */
struct look {
	struct mail mail;
	bool back;
	unsigned clocks, idle_clocks, listeners;
};

static void
look_back(struct mail *m, void *receiver)
{
	(void)receiver;
	container_of(m, struct look, mail)->back = true;
}

static void
look_open(struct mail *m, void *receiver)
{
	struct look *l = container_of(m, struct look, mail);
	struct worker *w = receiver;

	l->clocks = w->n_clocks;
	l->idle_clocks = w->idle_clocks;
	for (unsigned i = 0; worker_next_listener(w, &i) != NULL;)
		l->listeners++;
	m->deliver = look_back;
	mailbox_send(&w->proxy->mailbox, m);
}

static struct look
look(void)
{
	struct look sum = { .back = true };

	for (unsigned i = 0; i < WORKERS; i++) {
		struct look l = { .mail.deliver = look_open };

		mailbox_send(&town.proxy->workers[i].mailbox, &l.mail);
		WAIT_UNTIL(town.loop, l.back);
		sum.clocks += l.clocks;
		sum.idle_clocks += l.idle_clocks;
		sum.listeners += l.listeners;
	}
	return sum;
}

/* An upload that is in time by the terms it began with is in time by longer ones. */
static void
test_an_upload_is_not_held_to_a_time_it_has_not_had(void **state)
{
	static const char head[] = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 60001\r\n\r\nb";
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
	char body[30000], text[2048];
	int client, at;

	(void)state;
	start(service_text("pages", 0, 0, "mode = \"http\"; body_min_rate = 1000; body_grace = 2.0;"));
	memset(body, 'b', sizeof(body));
	client = dial(town.ports[0]);
	assert_int_equal(send(client, head, sizeof(head) - 1, MSG_NOSIGNAL), sizeof(head) - 1);
	at = reached(0);
	/* What counts is what comes once the clock runs. */
	read_message(at, text, sizeof(text), 1);
	assert_int_equal(send(client, body, sizeof(body), MSG_NOSIGNAL), sizeof(body));
	for (size_t n = 0; n < sizeof(body);) {
		ssize_t k = recv(at, text, sizeof(text), 0);

		assert_true(k > 0);
		n += (size_t)k;
	}
	reload(service_text("pages", 0, 0, "mode = \"http\"; body_min_rate = 1000; body_grace = 60.0;"));
	assert_true(look().idle_clocks > 0);
	clock_move(2.5);
	/* Its first deadline has passed, and the next one is of the new kind. */
	WAIT_UNTIL(town.loop, look().idle_clocks == 0);
	assert_int_equal(send(client, body, sizeof(body), MSG_NOSIGNAL), sizeof(body));
	assert_int_equal(send(at, answer, sizeof(answer) - 1, MSG_NOSIGNAL), sizeof(answer) - 1);
	read_message(client, text, sizeof(text), 2);
	assert_begins(text, "HTTP/1.1 200 OK\r\n");
	close(client);
	close(at);
	stop();
}

/* HTTP and TCP, addresses and times that come and go. */
static void
test_many_reloads_leave_nothing(void **state)
{
	char *base = must_strdup(service_text("shop", 0, 0, ""));
	unsigned before, clocks, rounds = scaled(ROUNDS_USUAL, ROUNDS_FULL);
	int client, at;

	(void)state;
	start(base);
	client = dial(town.ports[0]);
	at = reached(0);
	assert_flows(client, at, "first");
	reload(base);
	before = descriptors();
	WAIT_UNTIL(town.loop, look().idle_clocks == 0);
	clocks = look().clocks;
	for (unsigned i = 0; i < rounds; i++) {
		char *more = must_printf("connect_timeout = %u.0; idle_timeout = %u.0; mode = \"%s\";", i + 1, i + 7,
					 i % 2 ? "http" : "tcp");
		/* One that changes its mode is another service. */
		char *name = must_printf("extra%u", i % 6);
		const char *text;

		text = three(base, service_text(name, 1, 1, more),
			     service_text(i % 2 ? "pages" : "stream", 2, i % 3, more));
		if (i % 2 == 0)
			reload(base);
		reload(text);
		free(name);
		free(more);
		if (i % 2 == 1)
			reload(base);
	}
	reload(base);
	WAIT_UNTIL(town.loop, look().idle_clocks == 0 && look().listeners == WORKERS);
	assert_int_equal(look().clocks, clocks);
	assert_int_equal(descriptors(), before);
	assert_flows(client, at, "last");
	close(client);
	close(at);
	free(base);
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_an_address_goes_to_another_service, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_clients_that_are_queued_meet_the_new_service, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_removed_service_drains_and_leaves_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_cannot_be_opened_changes_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_new_timeout_holds_for_the_next_deadline, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limits_keep_their_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_next_request_goes_by_the_new_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_who_may_ask_others_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_an_upload_is_not_held_to_a_time_it_has_not_had, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_reloads_leave_nothing, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
