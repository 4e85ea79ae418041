/* redis_client.h - our end of a connection to Redis in a test: a loop, helper
 * threads, a configuration, and what was told.  Time passes from timer to timer
 * (clock_pass()); so that a server may take its time, timeouts are NEVER but where
 * a test says otherwise. */
#ifndef TESTS_UNIT_REDIS_CLIENT_H
#define TESTS_UNIT_REDIS_CLIENT_H

#include "redis_server.h"
#include "store/redis.h"
#include "wait.h"

struct client {
	struct redis *redis;
	unsigned ups, downs, messages;
	struct why why;	/* of the last down */
	char message[256];	/* the last one: "channel payload" */
	void (*on_up)(struct client *c);	/* done inside of the callback */
	void (*on_down)(struct client *c);
	void (*on_message)(struct client *c);
};

struct answer {
	unsigned times;
	enum err e;
	int type;
	long long integer;
	size_t n;	/* of a text, its length; of a list, its elements */
	char text[1024];	/* the first bytes, or the reason when e is not OK */
	void (*then)(struct answer *a);	/* done inside of the callback */
	struct client *client;
};

static struct {
	char dir[64];
	struct ev_loop *loop;
	struct jobs *jobs;
	struct config config;
	struct redis_server server;
	struct client client;
} t;

static inline void
client_on_up(void *arg)
{
	struct client *c = arg;

	c->ups++;
	if (c->on_up != NULL)
		c->on_up(c);
}

static inline void
client_on_down(void *arg, const struct why *why)
{
	struct client *c = arg;

	c->downs++;
	c->why = *why;
	if (c->on_down != NULL)
		c->on_down(c);
}

static inline void
client_on_message(void *arg, struct str channel, struct str payload)
{
	struct client *c = arg;

	c->messages++;
	snprintf(c->message, sizeof(c->message), "%.*s %.*s", (int)channel.n, channel.p, (int)payload.n,
		 payload.p);
	if (c->on_message != NULL)
		c->on_message(c);
}

static inline void
client_start(struct client *c, const char *channel)
{
	struct redis_events events = {
		.up = client_on_up, .down = client_on_down, .message = client_on_message, .arg = c
	};

	c->redis = redis_new(t.loop, &t.config, t.jobs, channel, &events);
}

static inline void
answer_on_reply(void *arg, enum err e, const redisReply *reply, const struct why *why)
{
	struct answer *a = arg;

	a->times++;
	a->e = e;
	assert_int_equal(e == OK, reply != NULL);
	if (e != OK) {
		assert_string_not_equal(why->text, "");
		snprintf(a->text, sizeof(a->text), "%s", why->text);
	} else {
		a->type = reply->type;
		a->integer = reply->integer;
		a->n = reply->type == REDIS_REPLY_ARRAY ? reply->elements : (size_t)reply->len;
		if (reply->str != NULL)
			snprintf(a->text, sizeof(a->text), "%.*s", (int)(a->n < 127 ? a->n : 127),
				 reply->str);
	}
	if (a->then != NULL)
		a->then(a);
}

/* Sends words separated by blanks. */
static inline void
ask_within(struct client *c, struct answer *a, double timeout, const char *line)
{
	struct str argv[32];
	size_t n = 0;

	for (const char *p = line; *p != '\0';) {
		size_t len = strcspn(p, " ");

		argv[n++] = (struct str){ p, len };
		p += len + (p[len] == ' ');
	}
	a->client = c;
	redis_command(c->redis, timeout, n, argv, answer_on_reply, a);
}

static inline void
ask(struct client *c, struct answer *a, const char *line)
{
	ask_within(c, a, NEVER, line);
}

/* Asks and waits: the text of the answer, which must not be an error. */
static inline struct answer
tell(struct client *c, const char *line)
{
	struct answer a = { 0 };

	ask(c, &a, line);
	WAIT_UNTIL(t.loop, a.times > 0);
	if (a.e != OK || a.type == REDIS_REPLY_ERROR)
		fail_msg("%s: %s", line, a.text);
	return a;
}

static inline void
assert_contains(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", text, part);
}

/* Waits for the first verdict, which must be bad for this reason. */
static inline void
assert_refused(const char *reason)
{
	unsigned downs = t.client.downs;

	client_start(&t.client, NULL);
	WAIT_UNTIL(t.loop, t.client.downs > downs || t.client.ups > 0);
	assert_int_equal(t.client.ups, 0);
	assert_contains(t.client.why.text, reason);
	assert_string_equal(redis_why(t.client.redis), t.client.why.text);
	assert_false(redis_is_up(t.client.redis));
}

/* Runs the loop for a while and says how often it turned. */
static inline unsigned
turns_within(double seconds)
{
	unsigned before = ev_iteration(t.loop);
	double end = clock_now() + seconds;
	ev_timer guard;

	ev_timer_init(&guard, wait_on_look, seconds, 0);
	ev_timer_start(t.loop, &guard);
	while (clock_now() < end)
		ev_run(t.loop, EVRUN_ONCE);
	ev_timer_stop(t.loop, &guard);
	return ev_iteration(t.loop) - before;
}

static inline void
config_timeouts(double seconds)
{
	t.config.store.connect_timeout = t.config.store.command_timeout = seconds;
}

static inline void
config_by_socket(void)
{
	snprintf(t.config.store.path, sizeof(t.config.store.path), "%s", t.server.path);
}

static inline void
config_by_port(const char *host, unsigned port)
{
	t.config.store.path[0] = '\0';
	snprintf(t.config.store.at.host, sizeof(t.config.store.at.host), "%s", host);
	t.config.store.at.port = port;
}

static inline int
begin(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	signal(SIGPIPE, SIG_IGN);
	clock_pass();
	strcpy(t.dir, "/tmp/test_redis.XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	t.loop = ev_loop_new(0);
	t.jobs = jobs_new(t.loop, 1);
	t.config.store = (struct store_config){ .type = STORE_REDIS };
	config_timeouts(NEVER);
	snprintf(t.config.store.path, sizeof(t.config.store.path), "%s/redis.sock", t.dir);
	return 0;
}

static inline int
end(void **state)
{
	char *command = must_printf("rm -rf %s", t.dir);
	int rc;

	(void)state;
	redis_free(&t.client.redis);
	redis_server_stop(&t.server);
	jobs_free(&t.jobs);
	ev_loop_destroy(t.loop);
	clock_go();
	rc = system(command);
	free(command);
	return rc;
}

#endif
