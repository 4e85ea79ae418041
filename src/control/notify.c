/* notify.c - which event goes to which receiver.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/control.h"
#include "control/notify.h"

/* Helpers that read certificates, at most; and how long the end waits for them, seconds. */
#define HELPERS_MAX 4
#define GOODBYE 0.2

static bool
matches(char *const *patterns, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		if (str_glob(patterns[i], text))
			return true;
	return false;
}

static bool
is_of_flip(const char *event)
{
	return strncmp(event, "flip.", 5) == 0;
}

/* These are told by the teald that was asked, and by no other. */
static bool
is_of_asked(const char *event)
{
	return strcmp(event, "flip.committed") == 0 || strcmp(event, "flip.refused") == 0 ||
	       strcmp(event, "flip.partial_fleet") == 0;
}

static bool
is_elsewhere(const struct notify *n, const struct notify_config *config, const char *event, const struct service *s)
{
	return config->fleet == NOTIFY_ONCE && n->control->store->fleet != NULL && is_of_flip(event) &&
	       !is_of_asked(event) && s != NULL && !rollout_is_ours(s->ctl);
}

static bool
wants_event(const struct notify *n, const struct notify_config *config, const char *event, const struct service *s)
{
	if (!matches(config->events, config->n_events, event) || is_elsewhere(n, config, event, s))
		return false;
	return config->n_services == 0 ||
	       (s != NULL && matches(config->services, config->n_services, s->config->name));
}

static void
make_id(char id[NOTIFY_ID])
{
	unsigned char random[16];

	CHECK(getrandom(random, sizeof(random), 0) == (ssize_t)sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(id + 2 * i, 3, "%02x", random[i]);
}

static struct notify_event *
make_event(const struct notify_config *config, const struct notify_event_facts *facts)
{
	struct notify_event *e = must_alloc(sizeof(*e));
	struct buf body;

	list_init(&e->link);
	memcpy(e->id, facts->id, sizeof(e->id));
	str_copy(e->event, sizeof(e->event), str_from(facts->event));
	e->born = clock_now();
	buf_init(&body, NOTIFY_BODY_MAX);
	notify_body(&body, config, facts);
	e->body = (struct str){ str_dup(buf_str(&body)), buf_len(&body) };
	CHECK(e->body.p != NULL);
	buf_free(&body);
	return e;
}

static void
notify_on_event(struct bus_listener *l, enum log_level level, const char *event, const struct service *s,
		const struct log_field *fields)
{
	struct notify *n = container_of(l, struct notify, listener);
	struct notify_event_facts facts = {
		.event = event, .service = s, .fields = fields, .host = n->host, .at_us = clock_wall_us()
	};
	char id[NOTIFY_ID] = "";

	/* Progress of every second is for those who look on. */
	if (n->held || level < LOG_INFO_LEVEL)
		return;
	LIST_EACH(it, &n->receivers) {
		struct receiver *r = list_entry(it, struct receiver, link);
		struct notify_event *e;

		if (!wants_event(n, r->config, event, s))
			continue;
		if (id[0] == '\0')
			make_id(id);
		facts.id = id;
		e = make_event(r->config, &facts);
		receiver_add(r, &e);
	}
}

struct receiver *
notify_find(const struct notify *n, struct str name)
{
	for (struct link *l = n->receivers.next; l != &n->receivers; l = l->next) {
		struct receiver *r = list_entry(l, struct receiver, link);

		if (str_eq(name, r->config->name))
			return r;
	}
	return NULL;
}

static struct jobs *
notify_helpers(struct notify *n)
{
	if (n->jobs == NULL)
		n->jobs = jobs_new_growing(n->control->loop, 1, HELPERS_MAX);
	return n->jobs;
}

static void
add_receiver(struct notify *n, const struct notify_config *config)
{
	struct receiver *r = receiver_new(config, n->control->loop, n->control->hosts, notify_helpers(n));

	list_append(&n->receivers, &r->link);
}

static void
remove_receiver(struct receiver *r, const char *why)
{
	if (r->n > 0)
		LOG_WARN("notify.lost", LS("name", r->config->name), LU("count", r->n),
			 LU("total", receiver_lost(r) + r->n), LS("reason", why), LS("error", r->problem));
	receiver_free(&r);
}

void
notify_reconfigure(struct notify *n, const struct config *config)
{
	struct link old;

	list_init(&old);
	list_splice(&old, &n->receivers);
	for (size_t i = 0; i < config->n_notify; i++) {
		const struct notify_config *its = &config->notify[i];
		struct receiver *r = NULL;

		LIST_EACH(l, &old)
			if (strcmp(list_entry(l, struct receiver, link)->config->name, its->name) == 0)
				r = list_entry(l, struct receiver, link);
		if (r == NULL) {
			add_receiver(n, its);
			continue;
		}
		list_remove(&r->link);
		list_append(&n->receivers, &r->link);
		receiver_reconfigure(r, its);
	}
	LIST_EACH(l, &old)
		remove_receiver(list_entry(l, struct receiver, link), "the receiver is not in the configuration any more");
}

void
notify_on_name(struct notify *n, const struct hostname *name)
{
	if (n == NULL)
		return;
	LIST_EACH(l, &n->receivers)
		receiver_on_name(list_entry(l, struct receiver, link), name);
}

bool
notify_is_busy(const struct notify *n)
{
	for (struct link *l = n->receivers.next; l != &n->receivers; l = l->next)
		if (receiver_is_busy(list_entry(l, struct receiver, link)))
			return true;
	return false;
}

void
notify_hold(struct notify *n)
{
	n->held = true;
	LIST_EACH(l, &n->receivers)
		receiver_hold(list_entry(l, struct receiver, link), true);
}

void
notify_resume(struct notify *n)
{
	n->held = false;
	LIST_EACH(l, &n->receivers)
		receiver_hold(list_entry(l, struct receiver, link), false);
}

struct notify *
notify_new(struct control *c)
{
	struct notify *n = must_alloc(sizeof(*n));

	*n = (struct notify){ .control = c, .listener.hear = notify_on_event };
	list_init(&n->receivers);
	if (gethostname(n->host, sizeof(n->host) - 1) != 0)
		n->host[0] = '\0';
	for (size_t i = 0; i < c->config->n_notify; i++)
		add_receiver(n, &c->config->notify[i]);
	bus_listen(&c->bus, &n->listener);
	return n;
}

void
notify_free(struct notify **np)
{
	struct notify *n = *np;

	*np = NULL;
	if (n == NULL)
		return;
	bus_leave(&n->listener);
	LIST_EACH(l, &n->receivers) {
		struct receiver *r = list_entry(l, struct receiver, link);

		if (n->held)
			receiver_free(&r);
		else
			remove_receiver(r, "teald has ended");
	}
	if (n->jobs != NULL)
		jobs_leave(&n->jobs, GOODBYE);
	free(n);
}
