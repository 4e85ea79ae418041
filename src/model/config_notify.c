/* config_notify.c - the list notify: ( { } ) of a configuration: receivers of events.
 * Start-up thread only, but for notify_value(). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/config_draft.h"
#include "model/config_value.h"
#include "model/secret.h"
#include "net/tls_client.h"

#define NOTIFY(member) .offset = offsetof(struct notify_config, member)
#define RECEIVERS_MAX 32
#define QUEUE_MAX 10000
#define TIMEOUT_MIN 0.1
#define TIMEOUT_MAX 60
#define RETRY_MAX 86400

static const char *const format_words[] = { "json", "grafana", NULL };
static const char *const fleet_words[] = { "once", "every", NULL };

/* Where nothing is said of them. */
static const char *const usual_events[] = { "flip.*", "service.locked", "service.unlocked" };
static const char *const grafana_events[] = { "flip.committed" };

static key_reader key_receiver_url, key_patterns, key_tags, key_receiver_name;

const struct key notify_keys[] = {
	{ KEY("name", key_receiver_name), NOTIFY(name) },
	{ KEY("url", key_receiver_url), NOTIFY(url) },
	{ KEY("events", key_patterns), NOTIFY(events) },
	{ KEY("services", key_patterns), NOTIFY(services) },
	{ KEY("tags", key_tags), NOTIFY(tags) },
	{ KEY("format", key_word), NOTIFY(format), .words = format_words },
	{ KEY("fleet", key_word), NOTIFY(fleet), .words = fleet_words },
	{ KEY("secret_file", key_text), NOTIFY(secret_file) },
	{ KEY("token_file", key_text), NOTIFY(token_file) },
	{ KEY("ca", key_text), NOTIFY(ca) },
	{ KEY("verify", key_bool), NOTIFY(verify) },
	{ KEY("timeout", key_seconds), NOTIFY(timeout), .min = TIMEOUT_MIN, .max = TIMEOUT_MAX },
	{ KEY("retry_for", key_seconds), NOTIFY(retry_for), .max = RETRY_MAX },
	{ KEY("queue", key_count), NOTIFY(queue), .min = 1, .max = QUEUE_MAX },
	{ 0 },
};

#define NAME_BYTES "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-"

/* Comes into labels of metrics. */
static void
key_receiver_name(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	const char *text = config_setting_type(s) == CONFIG_TYPE_STRING ? config_setting_get_string(s) : "";
	size_t n = strspn(text, NAME_BYTES);

	if (text[0] != '\0' && (text[n] != '\0' || n >= NOTIFY_NAME))
		cursor_key_error(c, s, "expected at most %d of A-Z a-z 0-9 . _ : -, found \"%s\"", NOTIFY_NAME - 1,
				 show(text).s);
	else
		key_text(c, k, s);
}

/* Never shown in a message: that of a chat is as good as a password. */
static void
key_receiver_url(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct notify_config *n = c->base;
	struct why why;

	(void)k;
	if (config_setting_type(s) != CONFIG_TYPE_STRING)
		cursor_key_error(c, s, "expected a URL in double quotes, found %s", cursor_found(s).s);
	else if (http_url_parse(config_setting_get_string(s), &n->url, &why) != OK)
		cursor_key_error(c, s, "%s", why.text);
}

static void
key_patterns(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	bool events = strcmp(k->name, "events") == 0;

	cursor_take_texts(c, k, s, events ? "the name of an event, or a pattern such as \"flip.*\"" :
					    "the name of a service, or a pattern such as \"shop-*\"",
		   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-*");
}

static void
key_tags(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	cursor_take_texts(c, k, s, "a tag of letters, digits and . _ : / = -",
		   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/=-");
}

static void
default_events(struct notify_config *n)
{
	const char *const *list = n->format == NOTIFY_GRAFANA ? grafana_events : usual_events;
	size_t all = n->format == NOTIFY_GRAFANA ? ARRAY_LEN(grafana_events) : ARRAY_LEN(usual_events);

	if (n->n_events > 0)
		return;
	n->events = must_array(all, sizeof(*n->events));
	for (; n->n_events < all; n->n_events++)
		n->events[n->n_events] = must_strdup(list[n->n_events]);
}

static void
default_name(struct notify_config *n)
{
	char text[HTTP_URL_ORIGIN];

	if (n->name != NULL)
		return;
	http_url_authority(&n->url, text);
	for (char *p = text; *p != '\0'; p++)
		if (strchr(NAME_BYTES, *p) == NULL)
			*p = '_';
	text[NOTIFY_NAME - 1] = '\0';
	n->name = must_strdup(text);
}

/* At the key of the receiver, or at the receiver. */
static const config_setting_t *
key_place(const config_setting_t *s, const char *key)
{
	const config_setting_t *its = config_setting_get_member(s, key);

	return its != NULL ? its : s;
}

static char *
read_secret(const struct cursor *c, const config_setting_t *s, const char *key, const char *path)
{
	char *secret = NULL;
	struct why why;
	mode_t mode;

	if (path == NULL)
		return NULL;
	if (secret_read(path, &secret, &mode, &why) != OK)
		cursor_error(c, key_place(s, key), "notify.%s: %s", key, why.text);
	else if (mode & 0004)
		cursor_warn(c, key_place(s, key), "notify.%s: every user can read %s (mode %04o); chmod 0640 it", key, path,
			    (unsigned)mode & 07777);
	return secret;
}

/* It becomes a header field. */
static void
check_token(const struct cursor *c, const config_setting_t *s, const struct notify_config *n)
{
	for (const char *p = n->token; p != NULL && *p != '\0'; p++)
		if (*p < ' ' || *p >= 0x7f) {
			cursor_error(c, key_place(s, "token_file"),
				     "notify.token_file: %s has bytes that no header field may have", n->token_file);
			return;
		}
}

/* Those of the bus (control/bus.h). */
static const char *const known_events[] = {
	"backend.added", "backend.agent", "backend.down", "backend.drain", "backend.draining",
	"backend.ejected", "backend.readmitted", "backend.ready", "backend.removed", "backend.up",
	"backend.weight", "bake.begun", "bake.ended", "bake.lost", "bake.promotion_failed", "bake.resumed", "bake.rollback_failed", "bake.worse", "backup.idle", "backup.used", "engine.recovered", "engine.trouble", "flip.applied",
	"flip.applying", "flip.committed", "flip.drain_cancelled", "flip.drain_stuck", "flip.drained",
	"flip.draining", "flip.partial_fleet", "flip.refused", "listen.failed", "maintenance.off",
	"maintenance.on", "node.down", "node.drained", "node.draining", "node.gone", "node.up",
	"node.watched", "nodes.none_left", "nodes.watch_failed", "nodes.watch_recovered", "nodes.watch_role", "nodes.watched",
	"ramp.begun", "ramp.ended", "ramp.held", "ramp.resumed", "reload.applied", "reload.failed", "service.added", "service.claim_expired", "service.claimed",
	"service.locked", "service.released", "service.removed", "service.renamed", "service.unlocked",
	"share.diverted", "share.restored", "shift.applied", "shift.applying", "store.epoch_lower", "store.forwarded", "store.fresh", "store.not_forwarded", "store.stale",
	"teald.closing", "teald.drained", "teald.draining", "teald.serving", "teald.stopping",
	"upgrade.failed", "upgrade.finished", "upgrade.prepared", "upgrade.serving", "upgrade.started",
	"upgrade.timeout", "upgrade.yielded", "worker.stalled", NULL,
};

static void
check_tls(const struct cursor *c, const config_setting_t *s, const struct notify_config *n)
{
	struct ssl_ctx_st *context;
	struct why why;

	if (n->ca != NULL && !n->url.tls)
		cursor_warn(c, key_place(s, "ca"), "notify.ca changes nothing: the url is http://");
	else if (n->ca != NULL &&
		 tls_client_context(&(struct tls_client_options){ .ca = n->ca }, &context, &why) != OK)
		cursor_error(c, key_place(s, "ca"), "notify.ca: %s", why.text);
	else if (n->ca != NULL)
		tls_context_free(&context);
	if (!n->verify && n->url.tls)
		cursor_warn(c, key_place(s, "verify"),
			    "notify.verify = false: any machine on the way there can read the events, and answer in the receiver's place");
	if (n->token != NULL && !n->url.tls)
		cursor_warn(c, key_place(s, "token_file"),
			    "notify.token_file: the token goes over the network unencrypted; use https://");
}

static bool
fits_an_event(const char *pattern)
{
	size_t i = 0;

	while (known_events[i] != NULL && !str_glob(pattern, known_events[i]))
		i++;
	return known_events[i] != NULL;
}

static bool
fits_a_service(const struct draft *d, const char *pattern)
{
	for (size_t i = 0; i < d->n_services; i++)
		if (d->services[i].s.name != NULL && str_glob(pattern, d->services[i].s.name))
			return true;
	return false;
}

void
draft_check_notify(const struct draft *d)
{
	const config_setting_t *list = config_setting_get_member(d->root, "notify");
	struct cursor c = { d->r, NULL, "", NULL };

	for (size_t i = 0; i < d->c.n_notify; i++) {
		const struct notify_config *n = &d->c.notify[i];
		const config_setting_t *s = config_setting_get_elem(list, (unsigned)i);

		for (size_t k = 0; k < n->n_events; k++)
			if (!fits_an_event(n->events[k]))
				cursor_warn(&c, key_place(s, "events"),
					    "notify.events: \"%s\" is no event that there is, so nothing is sent for it; teald(8) lists "
					    "them under LOG", n->events[k]);
		for (size_t k = 0; k < n->n_services; k++)
			if (!fits_a_service(d, n->services[k]))
				cursor_warn(&c, key_place(s, "services"),
					    "notify.services: \"%s\" is no service of this file, so nothing is sent for it",
					    n->services[k]);
	}
}

static void
read_receiver(const struct cursor *c, const config_setting_t *s, struct notify_config *n)
{
	struct cursor in = *c;

	*n = (struct notify_config){ .verify = true, .timeout = 5.0, .retry_for = 300.0, .queue = 1000 };
	in.prefix = "notify.";
	in.base = n;
	cursor_read(&in, s, notify_keys);
	if (config_setting_get_member(s, "url") == NULL)
		cursor_error(c, s, "notify: url is missing; add url = \"https://HOST/PATH\";");
	default_events(n);
	default_name(n);
	n->secret = read_secret(c, s, "secret_file", n->secret_file);
	n->token = read_secret(c, s, "token_file", n->token_file);
	check_token(c, s, n);
	check_tls(c, s, n);
	if (n->n_tags > 0 && n->format != NOTIFY_GRAFANA)
		cursor_warn(c, key_place(s, "tags"), "notify.tags changes nothing: it is for format = \"grafana\"");
}

void
key_notify(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct draft *d = c->base;
	unsigned n = (unsigned)cursor_items(s);

	(void)k;
	if (config_setting_type(s) != CONFIG_TYPE_LIST &&
	    !(config_setting_type(s) == CONFIG_TYPE_ARRAY && n == 0)) {
		cursor_key_error(c, s, "expected a list of groups ( { } ), found %s", cursor_found(s).s);
		return;
	}
	if (n > RECEIVERS_MAX) {
		cursor_key_error(c, s, "%u receivers are too many: %d at most", n, RECEIVERS_MAX);
		return;
	}
	d->c.notify = must_array(n + 1, sizeof(*d->c.notify));
	for (unsigned i = 0; i < n; i++) {
		const config_setting_t *item = config_setting_get_elem(s, i);

		if (config_setting_type(item) != CONFIG_TYPE_GROUP) {
			cursor_key_error(c, item, "expected a group { }, found %s", cursor_found(item).s);
			continue;
		}
		read_receiver(c, item, &d->c.notify[d->c.n_notify++]);
		for (size_t j = 0; j + 1 < d->c.n_notify; j++)
			if (strcmp(d->c.notify[j].name, d->c.notify[d->c.n_notify - 1].name) == 0)
				cursor_error(c, item,
					     "notify: two receivers are called \"%s\"; give them names of their own: name = \"...\";",
					     d->c.notify[j].name);
	}
}

static void
texts_free(char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

void
notify_config_free(struct config *c)
{
	for (size_t i = 0; i < c->n_notify; i++) {
		struct notify_config *n = &c->notify[i];

		explicit_bzero(&n->url, sizeof(n->url));
		free(n->name);
		texts_free(n->events, n->n_events);
		texts_free(n->services, n->n_services);
		texts_free(n->tags, n->n_tags);
		free(n->secret_file);
		free(n->token_file);
		secret_free(&n->secret);
		secret_free(&n->token);
		free(n->ca);
	}
	free(c->notify);
}

/* -- in words ----------------------------------------------------------------------------- */

static void
put_patterns(struct buf *out, const char *word, char *const *list, size_t n)
{
	if (n == 0)
		return;
	buf_printf(out, " %s", word);
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%c%s", i > 0 ? '+' : ' ', list[i]);
}

static void
put_receiver(struct buf *out, const struct notify_config *n)
{
	char origin[HTTP_URL_ORIGIN];

	buf_printf(out, "%s: %s", n->name, http_url_origin(&n->url, origin));
	config_value_hash(out, n->url.target);
	put_patterns(out, "events", n->events, n->n_events);
	put_patterns(out, "services", n->services, n->n_services);
	put_patterns(out, "tags", n->tags, n->n_tags);
	buf_printf(out, " format %s fleet %s", format_words[n->format], fleet_words[n->fleet]);
	if (n->secret_file != NULL) {
		buf_printf(out, " secret %s", n->secret_file);
		config_value_hash(out, n->secret);
	}
	if (n->token_file != NULL) {
		buf_printf(out, " token %s", n->token_file);
		config_value_hash(out, n->token);
	}
	if (n->ca != NULL)
		buf_printf(out, " ca %s", n->ca);
	buf_printf(out, "%s timeout %.9g retry_for %.9g queue %u", n->verify ? "" : " unverified", n->timeout,
		   n->retry_for, n->queue);
}

void
notify_value(struct buf *out, const void *base, const struct key *k)
{
	const struct config *c = &((const struct draft *)base)->c;

	(void)k;
	buf_printf(out, "[");
	for (size_t i = 0; i < c->n_notify; i++) {
		buf_printf(out, i > 0 ? ", " : "");
		put_receiver(out, &c->notify[i]);
	}
	buf_printf(out, "]");
}
