/* redis_sentinel.c - from the name of a master to its address.
 * Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "model/secret.h"
#include "store/redis_sentinel.h"

static void try_one(struct sentinels *s);

void
redis_endpoint_format(const struct redis_endpoint *e, char *text, size_t size)
{
	const char *form = strchr(e->host, ':') != NULL ? "[%s]:%u" : "%s:%u";

	snprintf(text, size, form, e->host, e->port);
}

static void
answer_question(struct sentinels *s, enum err e, const struct redis_endpoint *master, const struct why *why)
{
	sentinels_fn *done = s->done;

	s->done = NULL;
	ev_timer_stop(s->wire.loop, &s->timer);
	if (done != NULL)
		done(s->arg, e, master, s->where, why);
}

/* This sentinel is no use: asks the next, or fails when none is left. */
static void
next_sentinel(struct sentinels *s, const struct why *why)
{
	struct why all;

	ev_timer_stop(s->wire.loop, &s->timer);
	lookup_give_up(&s->lookup);
	s->ready = false;
	wire_close(&s->wire, why);
	s->lookup.turn++;
	s->index = (s->index + 1) % (unsigned)s->config->n_sentinels;
	if (s->done == NULL)
		return;
	if (++s->tried < s->config->n_sentinels) {
		try_one(s);
		return;
	}
	if (s->config->n_sentinels > 1)
		(void)why_set(&all, E_STORE,
			      "no sentinel could say where master \"%.128s\" is; the last: %.800s",
			      s->config->master, why->text);
	answer_question(s, E_STORE, NULL, s->config->n_sentinels > 1 ? &all : why);
}

static void
sentinel_on_answer(void *arg, enum err e, const redisReply *r, const struct why *why)
{
	struct sentinels *s = arg;
	struct redis_endpoint master = { "", 0 };
	struct why wrong;
	uint64_t port;

	(void)why;
	if (e != OK)
		return;	/* closed() follows */
	if (r->type == REDIS_REPLY_ARRAY && r->elements == 2 && r->element[0]->type == REDIS_REPLY_STRING &&
	    r->element[1]->type == REDIS_REPLY_STRING && r->element[0]->len > 0 &&
	    str_copy(master.host, sizeof(master.host),
		     (struct str){ r->element[0]->str, (size_t)r->element[0]->len }) &&
	    str_to_u64((struct str){ r->element[1]->str, (size_t)r->element[1]->len }, 65535, &port) &&
	    port > 0) {
		master.port = (unsigned)port;
		answer_question(s, OK, &master, &(struct why){ "" });
		return;
	}
	if (r->type == REDIS_REPLY_NIL)
		(void)why_set(&wrong, E_STORE, "%s: it knows no master \"%.128s\"", s->where,
			      s->config->master);
	else
		(void)why_set(&wrong, E_STORE, "%s: asked for the master, it answered: %s", s->where,
			      wire_text(r).s);
	next_sentinel(s, &wrong);
}

static void
ask_for_master(struct sentinels *s)
{
	struct str argv[] = { STR("SENTINEL"), STR("get-master-addr-by-name"), str_from(s->config->master) };

	wire_send(&s->wire, s->config->command_timeout, ARRAY_LEN(argv), argv, sentinel_on_answer, s);
}

static void
sentinel_on_hello(void *arg, enum err e, const struct why *why)
{
	struct sentinels *s = arg;

	s->reread = s->hello.wrong_password;
	if (e != OK) {
		next_sentinel(s, why);
		return;
	}
	s->ready = true;
	if (s->done != NULL)
		ask_for_master(s);
}

static void
sentinel_on_open(void *arg)
{
	struct sentinels *s = arg;

	s->hello.password = s->password;
	redis_hello_start(&s->hello, s->config->command_timeout);
}

static void
sentinel_on_closed(void *arg, const struct why *why)
{
	struct sentinels *s = arg;

	s->ready = false;
	if (s->done != NULL)
		next_sentinel(s, why);
}

static void
sentinel_on_address(void *arg, enum err e, const struct addr *address, const struct why *why)
{
	struct sentinels *s = arg;
	struct wire_target to = { .address = address,
				  .host = s->config->sentinels[s->index].host,
				  .where = s->where,
				  .tls = *s->tls };
	struct why wrong;

	ev_timer_stop(s->wire.loop, &s->timer);
	if (e != OK) {
		(void)why_set(&wrong, E_STORE, "%s: %s", s->where, why->text);
		next_sentinel(s, &wrong);
		return;
	}
	wire_open(&s->wire, &to, s->config->connect_timeout);
}

static void
sentinel_on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct sentinels *s = container_of(t, struct sentinels, timer);
	struct why why;

	(void)loop;
	(void)revents;
	(void)why_set(&why, E_STORE, "%s: its name is not found within %g s", s->where,
		      s->config->connect_timeout);
	next_sentinel(s, &why);
}

static void
try_one(struct sentinels *s)
{
	const struct redis_endpoint *at = &s->config->sentinels[s->index];
	char text[288];

	redis_endpoint_format(at, text, sizeof(text));
	snprintf(s->where, sizeof(s->where), "sentinel %s", text);
	ev_timer_stop(s->wire.loop, &s->timer);
	ev_timer_set(&s->timer, s->config->connect_timeout, 0);
	ev_timer_start(s->wire.loop, &s->timer);
	lookup_start(&s->lookup, at, s->reread ? s->config->sentinel_password_file : NULL, &s->password,
		     sentinel_on_address, s);
}

void
sentinels_init(struct sentinels *s, struct ev_loop *loop, const struct store_config *config,
	       struct jobs *jobs, struct ssl_ctx_st *const *tls)
{
	static const struct wire_events events = { .open = sentinel_on_open, .closed = sentinel_on_closed };

	memset(s, 0, sizeof(*s));
	s->config = config;
	s->tls = tls;
	s->lookup.jobs = jobs;
	s->password = config->sentinel_password != NULL ? must_strdup(config->sentinel_password) : NULL;
	wire_init(&s->wire, loop, &events, s);
	s->hello = (struct redis_hello){ .wire = &s->wire,
					 .sentinel = true,
					 .question = ASK_NOTHING,
					 .done = sentinel_on_hello,
					 .arg = s };
	ev_init(&s->timer, sentinel_on_timer);
}

void
sentinels_ask(struct sentinels *s, sentinels_fn *done, void *arg)
{
	CHECK(s->done == NULL);
	s->done = done;
	s->arg = arg;
	s->tried = 0;
	if (s->ready)
		ask_for_master(s);
	else if (s->wire.state == WIRE_CLOSED && !ev_is_active(&s->timer))
		try_one(s);
}

void
sentinels_doubt(struct sentinels *s)
{
	struct why why;

	if (s->config->n_sentinels > 1 && s->done == NULL) {
		(void)why_set(&why, E_STORE, "%s: what it said led nowhere", s->where);
		next_sentinel(s, &why);
	}
}

void
sentinels_stop(struct sentinels *s)
{
	s->done = NULL;
}

void
sentinels_end(struct sentinels *s)
{
	s->done = NULL;
	ev_timer_stop(s->wire.loop, &s->timer);
	lookup_end(&s->lookup);
	wire_close(&s->wire, &(struct why){ "closing" });
	secret_free(&s->password);
}
