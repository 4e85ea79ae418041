/* redis.c - a connection to Redis that is always there or on its way.
 *
 * One attempt goes: where is it (the configuration or a sentinel) -> its address
 * -> connect, TLS -> the hello -> subscribe, if that is what it is for -> up.
 * Whatever fails ends in give_up(), which pauses and begins again.  While it is
 * up, it is asked every second whether it still is the master, and the sentinels
 * whether they agree: so a server that has become silent, or was replaced while
 * it lives, is found out within a second and a timeout.
 * Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "model/secret.h"
#include "net/tls_client.h"
#include "store/redis_sentinel.h"

#define REDIS_MAGIC 0x72656469u
#define PAUSE_MIN 0.1
#define PAUSE_MAX 1.0
#define TICK 1.0

struct redis {
	uint32_t magic;
	struct ev_loop *loop;
	const struct store_config *config;
	char *channel;	/* NULL: for commands */
	struct redis_events events;

	enum phase { PAUSING, ASKING, LOOKING, CONNECTING, UP } phase;
	ev_timer timer;	/* PAUSING: over; LOOKING: too long; UP: the next tick */
	struct ssl_ctx_st *tls;	/* NULL: plain, or not to be had just now */
	struct sentinels sentinels;
	struct redis_endpoint at;	/* where it is, as far as we know */
	char where[288];
	struct lookup lookup;
	struct wire wire;
	struct redis_hello hello;
	char *password;
	bool reread;	/* the password was wrong: read its file again */

	unsigned failures;	/* since it was up */
	bool down_told;
	struct why why;	/* of the last failure; "" while up */
	unsigned short seed[3];
	unsigned depth;	/* callbacks of ours that are running */
	bool freed;	/* from inside one: the memory goes when they are over */
};

static void give_up(struct redis *r, const struct why *why);

/* -- telling ----------------------------------------------------------------------- */

static void
enter(struct redis *r)
{
	CHECK(r->magic == REDIS_MAGIC);
	r->depth++;
}

static void
leave_server(struct redis *r)
{
	r->depth--;
}

static void
tell_up(struct redis *r)
{
	enter(r);
	r->events.up(r->events.arg);
	leave_server(r);
}

static void
tell_down(struct redis *r, const struct why *why)
{
	enter(r);
	r->events.down(r->events.arg, why);
	leave_server(r);
}

static void
redis_on_message(void *arg, struct str channel, struct str payload)
{
	struct redis *r = arg;

	if (r->phase != UP || !str_eq(channel, r->channel))
		return;
	enter(r);
	r->events.message(r->events.arg, channel, payload);
	leave_server(r);
}

/* -- up ---------------------------------------------------------------------------- */

static void
timer_start(struct redis *r, double after)
{
	ev_timer_stop(r->loop, &r->timer);
	ev_timer_set(&r->timer, after, 0);
	ev_timer_start(r->loop, &r->timer);
}

static void
go_up(struct redis *r)
{
	r->phase = UP;
	r->failures = 0;
	r->down_told = false;
	r->why.text[0] = '\0';
	timer_start(r, TICK);
	tell_up(r);
}

static void
redis_on_subscribed(void *arg, enum err e, const redisReply *reply, const struct why *why)
{
	struct redis *r = arg;
	struct why wrong;

	(void)why;
	if (e != OK)
		return;	/* closed() follows */
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 3) {
		go_up(r);
		return;
	}
	(void)why_set(&wrong, E_STORE, "%s: asked for channel \"%.128s\", it answered: %s", r->where,
		      r->channel, wire_text(reply).s);
	give_up(r, &wrong);
}

static void
redis_on_hello(void *arg, enum err e, const struct why *why)
{
	struct redis *r = arg;

	r->reread = r->hello.wrong_password;
	if (e != OK)
		give_up(r, why);
	else if (r->phase == UP)
		;	/* it still is what it was */
	else if (r->channel == NULL)
		go_up(r);
	else
		wire_send(&r->wire, r->config->command_timeout, 2,
			  (struct str[]){ STR("SUBSCRIBE"), str_from(r->channel) }, redis_on_subscribed, r);
}

static void
redis_on_pong(void *arg, enum err e, const redisReply *reply, const struct why *why)
{
	/* That it answered is all we wanted; if not, closed() says so. */
	(void)arg, (void)e, (void)reply, (void)why;
}

static void
redis_on_confirmed(void *arg, enum err e, const struct redis_endpoint *master, const char *by,
		   const struct why *why)
{
	struct redis *r = arg;
	char where[288];
	struct why moved;

	(void)why;
	if (e != OK || (master->port == r->at.port && strcmp(master->host, r->at.host) == 0))
		return;
	redis_endpoint_format(master, where, sizeof(where));
	(void)why_set(&moved, E_STORE, "%s: it is not the master any more, says %s: that is %s", r->where, by,
		      where);
	give_up(r, &moved);
}

/* Every second while it is up. */
static void
tick(struct redis *r)
{
	/* Behind a command that may take long, the answer may as well. */
	double timeout = r->config->command_timeout + wire_patience(&r->wire);
	unsigned conversation = r->wire.conversation;

	timer_start(r, TICK);
	if (r->channel != NULL)
		wire_send(&r->wire, timeout, 1, (struct str[]){ STR("PING") }, redis_on_pong, r);
	else
		redis_hello_again(&r->hello, timeout);
	if (r->wire.conversation == conversation && r->config->n_sentinels > 0 &&
	    !sentinels_are_asked(&r->sentinels))
		sentinels_ask(&r->sentinels, redis_on_confirmed, r);
}

/* -- an attempt -------------------------------------------------------------------- */

static void
redis_on_open(void *arg)
{
	struct redis *r = arg;

	r->hello.password = r->password;
	redis_hello_start(&r->hello, r->config->command_timeout);
}

static void
redis_on_closed(void *arg, const struct why *why)
{
	give_up(arg, why);
}

static void
redis_on_address(void *arg, enum err e, const struct addr *address, const struct why *why)
{
	struct redis *r = arg;
	struct wire_target to = { .address = address, .host = r->at.host, .where = r->where, .tls = r->tls };
	struct addr local;
	struct why wrong;

	if (e != OK) {
		(void)why_set(&wrong, E_STORE, "%s: %s", r->where, why->text);
		give_up(r, &wrong);
		return;
	}
	if (r->config->path[0] != '\0') {
		to.address = &local;
		CHECK(addr_parse(r->where, 0, &local, NULL) == OK);	/* the configuration was checked */
	}
	ev_timer_stop(r->loop, &r->timer);
	r->phase = CONNECTING;
	wire_open(&r->wire, &to, r->config->connect_timeout);
}

static void
look_up_server(struct redis *r)
{
	const char *file = r->reread ? r->config->password_file : NULL;

	r->reread = false;
	r->phase = LOOKING;
	timer_start(r, r->config->connect_timeout);
	if (r->config->path[0] != '\0' && file == NULL)
		redis_on_address(r, OK, NULL, NULL);
	else
		lookup_start(&r->lookup, &r->at, file, &r->password, redis_on_address, r);
}

static void
redis_on_master(void *arg, enum err e, const struct redis_endpoint *master, const char *by,
		const struct why *why)
{
	struct redis *r = arg;

	(void)by;
	if (e != OK) {
		give_up(r, why);
		return;
	}
	r->at = *master;
	redis_endpoint_format(master, r->where, sizeof(r->where));
	look_up_server(r);
}

static void
attempt(struct redis *r)
{
	struct why why;

	if (r->config->tls && r->tls == NULL &&
	    tls_client_context(&(struct tls_client_options){ .ca = r->config->ca }, &r->tls, &why) != OK) {
		give_up(r, &why);
	} else if (r->config->n_sentinels > 0) {
		r->phase = ASKING;
		sentinels_stop(&r->sentinels);
		sentinels_ask(&r->sentinels, redis_on_master, r);
	} else {
		look_up_server(r);
	}
}

static double
pause_length(struct redis *r)
{
	double most = PAUSE_MIN * (double)(1u << (r->failures < 8 ? r->failures : 8));

	return PAUSE_MIN + erand48(r->seed) * ((most < PAUSE_MAX ? most : PAUSE_MAX) - PAUSE_MIN);
}

static void
give_up(struct redis *r, const struct why *reason)
{
	struct why why = *reason;	/* its place may not outlive what follows */
	enum phase phase = r->phase;

	if (r->freed)
		return;
	r->phase = PAUSING;
	r->why = why;
	r->failures++;
	timer_start(r, pause_length(r));
	lookup_give_up(&r->lookup);
	enter(r);
	wire_close(&r->wire, &why);
	leave_server(r);
	if (r->freed)
		return;
	LOG_DEBUG("redis.failed", LS("where", r->where), LS("why", why.text));
	if (r->config->n_sentinels > 0) {
		sentinels_stop(&r->sentinels);
		if (phase == CONNECTING)
			sentinels_doubt(&r->sentinels);
	}
	/* Of a name's addresses another one may do better. */
	if (phase == CONNECTING)
		r->lookup.turn++;
	if (r->down_told)
		return;
	r->down_told = true;
	tell_down(r, &why);
}

static void
redis_on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct redis *r = container_of(t, struct redis, timer);
	struct why why;

	(void)loop;
	(void)revents;
	CHECK(r->magic == REDIS_MAGIC);
	switch (r->phase) {
	case PAUSING:
		attempt(r);
		return;
	case LOOKING:
		give_up(r, (why_set(&why, E_STORE, "%s: its name is not found within %g s", r->where,
				    r->config->connect_timeout),
			    &why));
		return;
	case UP:
		tick(r);
		return;
	case ASKING:
	case CONNECTING:
		return;	/* their own timers end these */
	}
}

/* -- from outside ------------------------------------------------------------------ */

struct redis *
redis_new(struct ev_loop *loop, const struct config *config, struct jobs *jobs, const char *channel,
	  const struct redis_events *events)
{
	static const struct wire_events plain = { .open = redis_on_open, .closed = redis_on_closed };
	static const struct wire_events listening = { .open = redis_on_open,
						      .closed = redis_on_closed,
						      .message = redis_on_message };
	struct redis *r = must_alloc(sizeof(*r));
	const struct store_config *s = &config->store;

	CHECK(s->type == STORE_REDIS);
	r->magic = REDIS_MAGIC;
	r->loop = loop;
	r->config = s;
	r->channel = channel != NULL ? must_strdup(channel) : NULL;
	r->events = *events;
	r->password = s->password != NULL ? must_strdup(s->password) : NULL;
	r->lookup.jobs = jobs;
	r->at = s->at;
	if (s->n_sentinels > 0)
		snprintf(r->where, sizeof(r->where), "master %.200s", s->master);
	else if (s->path[0] != '\0')
		snprintf(r->where, sizeof(r->where), "unix:%s", s->path);
	else
		redis_endpoint_format(&r->at, r->where, sizeof(r->where));
	if (getrandom(r->seed, sizeof(r->seed), 0) != sizeof(r->seed))
		memcpy(r->seed, &r, sizeof(r->seed));
	wire_init(&r->wire, loop, channel != NULL ? &listening : &plain, r);
	r->hello = (struct redis_hello){ .wire = &r->wire,
					 .user = s->user,
					 .database = s->database,
					 .question = ASK_NOTHING,
					 .done = redis_on_hello,
					 .arg = r };
	sentinels_init(&r->sentinels, loop, s, jobs, &r->tls);
	/* Nothing is told from inside. */
	ev_init(&r->timer, redis_on_timer);
	timer_start(r, 0);
	return r;
}

static void
redis_on_over(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	free(container_of(t, struct redis, timer));
}

void
redis_free(struct redis **rp)
{
	struct redis *r = *rp;
	struct why why;

	*rp = NULL;
	if (r == NULL)
		return;
	CHECK(r->magic == REDIS_MAGIC && !r->freed);
	r->freed = true;
	r->phase = PAUSING;
	ev_timer_stop(r->loop, &r->timer);
	(void)why_set(&why, E_STORE, "%s: teald is closing the connection", r->where);
	enter(r);
	wire_close(&r->wire, &why);
	leave_server(r);
	sentinels_end(&r->sentinels);
	lookup_end(&r->lookup);
	tls_context_free(&r->tls);
	secret_free(&r->password);
	free(r->channel);
	r->channel = NULL;
	if (r->depth == 0) {
		free(r);
		return;
	}
	/* Called from one of our callbacks: frames below still look at r. */
	ev_set_cb(&r->timer, redis_on_over);
	timer_start(r, 0);
}

bool
redis_is_up(const struct redis *r)
{
	return r->phase == UP && wire_is_open(&r->wire);
}

const char *
redis_where(const struct redis *r)
{
	return r->where;
}

const char *
redis_why(const struct redis *r)
{
	return r->why.text;
}

struct call {
	struct redis *redis;
	redis_reply_fn *done;
	void *arg;
};

static void
redis_on_reply(void *arg, enum err e, const redisReply *reply, const struct why *why)
{
	struct call call = *(struct call *)arg;
	const char *refusal = e == OK ? redis_hello_refusal(reply) : NULL;
	struct redis *r = call.redis;
	unsigned conversation = r->wire.conversation;
	struct why refused;

	free(arg);
	if (refusal != NULL) {
		e = why_set(&refused, E_STORE, "%s: %s", r->where, refusal);
		reply = NULL;
		why = &refused;
	}
	enter(r);
	call.done(call.arg, e, reply, why);
	leave_server(r);
	if (refusal != NULL && !r->freed && r->wire.conversation == conversation)
		give_up(r, why);
}

void
redis_command(struct redis *r, double timeout, size_t argc, const struct str *argv, redis_reply_fn *done,
	      void *arg)
{
	struct call *call;
	struct why why;

	CHECK(r->magic == REDIS_MAGIC && r->channel == NULL);
	if (!redis_is_up(r)) {
		if (r->why.text[0] != '\0')
			why = r->why;
		else
			(void)why_set(&why, E_STORE, "%s: not connected", r->where);
		done(arg, E_STORE, NULL, &why);
		return;
	}
	call = must_alloc(sizeof(*call));
	*call = (struct call){ r, done, arg };
	wire_send(&r->wire, timeout, argc, argv, redis_on_reply, call);
}
