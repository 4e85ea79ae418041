/* redis_hello.c - the questions asked of a server before it is used, one after
 * the other, so that the first bad answer is the one that is told.
 *
 * ROLE must say master; a user who may not ask that gets the same out of INFO
 * replication.  INFO cluster must be allowed: nothing else tells a cluster
 * before a write goes astray.  PING is what a server that is loading refuses.
 * Thread: main. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "store/redis_hello.h"

#define CLUSTER "it is a Redis Cluster, which is not supported; use a single Redis, or Sentinel"

static void ask_hello(struct redis_hello *h, enum redis_question q);

const char *
redis_hello_refusal(const redisReply *reply)
{
	static const struct {
		const char *code, *why;
	} refusals[] = {
		{ "READONLY", "it is a replica, which takes no writes" },
		{ "MASTERDOWN", "it is a replica that has lost its master" },
		{ "LOADING", "it is loading its data" },
		{ "NOAUTH", "it wants a password, and none is configured" },
		{ "MOVED", CLUSTER },
		{ "ASK", CLUSTER },
		{ "CROSSSLOT", CLUSTER },
		{ "CLUSTERDOWN", CLUSTER },
	};

	for (size_t i = 0; reply->type == REDIS_REPLY_ERROR && i < ARRAY_LEN(refusals); i++)
		if (wire_is_error(reply, refusals[i].code))
			return refusals[i].why;
	return NULL;
}

static void hello_fail(struct redis_hello *h, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void
hello_fail(struct redis_hello *h, const char *fmt, ...)
{
	char text[512];
	struct why why;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	h->question = ASK_NOTHING;
	h->done(h->arg, why_set(&why, E_STORE, "%s: %s", h->wire->where, text), &why);
}

static bool
contains(const redisReply *r, const char *text)
{
	return (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_ERROR) &&
	       memmem(r->str, (size_t)r->len, text, strlen(text)) != NULL;
}

/* The server's own words are not repeated here: they may hold the password. */
static void
judge_auth(struct redis_hello *h, const redisReply *r)
{
	const char *user = h->user != NULL ? h->user : "default";

	if (r->type == REDIS_REPLY_STATUS) {
		ask_hello(h, h->database != 0 ? ASK_SELECT : ASK_PING);
	} else if (wire_is_error(r, "WRONGPASS") || contains(r, "invalid password")) {
		h->wrong_password = true;
		hello_fail(h, "the password of user \"%s\" is wrong, or there is no such user", user);
	} else if (contains(r, "without any password")) {
		hello_fail(h, "it has no password, but one is configured");
	} else if (redis_hello_refusal(r) != NULL) {
		hello_fail(h, "%s", redis_hello_refusal(r));
	} else {
		hello_fail(h, "it refused to log in user \"%s\"", user);
	}
}

static void
judge_ping(struct redis_hello *h, const redisReply *r)
{
	if (r->type != REDIS_REPLY_STATUS && !wire_is_error(r, "NOPERM")) {
		hello_fail(h, "it answered PING with: %s", wire_text(r).s);
	} else if (h->sentinel) {
		h->question = ASK_NOTHING;
		h->done(h->arg, OK, &(struct why){ "" });
	} else {
		ask_hello(h, ASK_ROLE);
	}
}

static bool
says(const redisReply *r, size_t i, const char *text)
{
	return r->type == REDIS_REPLY_ARRAY && r->elements > i && r->element[i]->type == REDIS_REPLY_STRING &&
	       str_eq((struct str){ r->element[i]->str, (size_t)r->element[i]->len }, text);
}

static void
role_is_right(struct redis_hello *h)
{
	if (!h->again) {
		ask_hello(h, ASK_CLUSTER);
		return;
	}
	h->question = ASK_NOTHING;
	h->done(h->arg, OK, &(struct why){ "" });
}

static void
judge_role(struct redis_hello *h, const redisReply *r)
{
	if (says(r, 0, "master"))
		role_is_right(h);
	else if (says(r, 0, "slave"))
		hello_fail(h, "it is a replica, not the master");
	else if (says(r, 0, "sentinel"))
		hello_fail(h, "it is a Sentinel, not Redis; name it in store.sentinels");
	else if (r->type == REDIS_REPLY_ERROR)
		ask_hello(h, ASK_ROLE_BY_INFO);
	else
		hello_fail(h, "it answered ROLE with: %s", wire_text(r).s);
}

static void
judge_role_by_info(struct redis_hello *h, const redisReply *r)
{
	h->role_by_info = true;
	if (contains(r, "role:master"))
		role_is_right(h);
	else if (contains(r, "role:slave"))
		hello_fail(h, "it is a replica, not the master");
	else if (wire_is_error(r, "NOPERM"))
		hello_fail(h, "user \"%s\" may use neither ROLE nor INFO, which tell a master from a replica",
			   h->user != NULL ? h->user : "default");
	else
		hello_fail(h, "it answered INFO replication with: %s", wire_text(r).s);
}

static void
judge_cluster(struct redis_hello *h, const redisReply *r)
{
	if (contains(r, "cluster_enabled:1"))
		hello_fail(h, CLUSTER);
	else if (wire_is_error(r, "NOPERM"))
		hello_fail(h, "user \"%s\" may not use INFO, which tells whether it is a Redis Cluster",
			   h->user != NULL ? h->user : "default");
	else if (r->type != REDIS_REPLY_STRING)
		hello_fail(h, "it answered INFO cluster with: %s", wire_text(r).s);
	else {
		h->question = ASK_NOTHING;
		h->done(h->arg, OK, &(struct why){ "" });
	}
}

static void
hello_on_reply(void *arg, enum err e, const redisReply *r, const struct why *why)
{
	struct redis_hello *h = arg;
	enum redis_question q = h->question;

	(void)why;
	if (e != OK) {
		h->question = ASK_NOTHING;
		return;
	}
	if (q != ASK_AUTH && redis_hello_refusal(r) != NULL) {
		hello_fail(h, "%s", redis_hello_refusal(r));
		return;
	}
	switch (q) {
	case ASK_AUTH:
		judge_auth(h, r);
		return;
	case ASK_SELECT:
		if (r->type == REDIS_REPLY_STATUS)
			ask_hello(h, ASK_PING);
		else if (contains(r, "cluster mode"))
			hello_fail(h, CLUSTER);
		else
			hello_fail(h, "it refused database %u: %s", h->database, wire_text(r).s);
		return;
	case ASK_PING:
		judge_ping(h, r);
		return;
	case ASK_ROLE:
		judge_role(h, r);
		return;
	case ASK_ROLE_BY_INFO:
		judge_role_by_info(h, r);
		return;
	case ASK_CLUSTER:
		judge_cluster(h, r);
		return;
	case ASK_NOTHING:
		CHECK(!"an answer to no question");
	}
}

static void
ask_hello(struct redis_hello *h, enum redis_question q)
{
	struct str argv[3];
	char number[16];
	size_t n = 0;

	h->question = q;
	switch (q) {
	case ASK_AUTH:
		argv[n++] = STR("AUTH");
		if (h->user != NULL)
			argv[n++] = str_from(h->user);
		argv[n++] = str_from(h->password != NULL ? h->password : "");
		break;
	case ASK_SELECT:
		snprintf(number, sizeof(number), "%u", h->database);
		argv[n++] = STR("SELECT");
		argv[n++] = str_from(number);
		break;
	case ASK_PING:
		argv[n++] = STR("PING");
		break;
	case ASK_ROLE:
		argv[n++] = STR("ROLE");
		break;
	case ASK_ROLE_BY_INFO:
		argv[n++] = STR("INFO");
		argv[n++] = STR("replication");
		break;
	case ASK_CLUSTER:
		argv[n++] = STR("INFO");
		argv[n++] = STR("cluster");
		break;
	case ASK_NOTHING:
		CHECK(!"no question");
	}
	wire_send(h->wire, h->timeout, n, argv, hello_on_reply, h);
}

void
redis_hello_start(struct redis_hello *h, double timeout)
{
	h->wrong_password = h->again = h->role_by_info = false;
	h->timeout = timeout;
	if (h->user != NULL || h->password != NULL)
		ask_hello(h, ASK_AUTH);
	else
		ask_hello(h, h->database != 0 ? ASK_SELECT : ASK_PING);
}

void
redis_hello_again(struct redis_hello *h, double timeout)
{
	if (h->question != ASK_NOTHING)
		return;
	h->again = true;
	h->timeout = timeout;
	ask_hello(h, h->role_by_info ? ASK_ROLE_BY_INFO : ASK_ROLE);
}
