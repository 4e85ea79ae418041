/* config_draft.c - from the groups of a file to drafts of services: built-in
 * values, then the defaults, then the service's own keys.  Start-up thread. */
#include <stdlib.h>

#include "base/json.h"
#include "model/config_draft.h"

#define LABELS_JSON_MAX 4096
#define QUEUE_SHARE 10
#define QUEUE_MIN 16
/* Of a service that lets in any number. */
#define QUEUE_OF_MANY 10000

static void
trust_all(struct cidr_set *set)
{
	static const char *const all[] = { "0.0.0.0/0", "::/0", "unix:" };
	struct cidr network;
	struct why why;

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		CHECK(cidr_parse(all[i], &network, NULL, &why) == OK);
		cidr_set_add(set, &network);
	}
}

void
draft_service_defaults(struct service_draft *d)
{
	struct service_config *s = &d->s;

	s->health = (struct health_config){
		.type = HEALTH_TCP, .interval = 2.0, .timeout = 1.0, .rise = 2, .fall = 3
	};
	s->min_healthy = (struct quorum){ 50, true };
	s->passive = (struct passive_config){ .eject = 10.0, .max_ejected = { 50, true } };
	s->drain = (struct drain_config){ 30.0, 5.0, 0.0 };
	s->connect_timeout = 2.0;
	s->idle_timeout = 600.0;
	s->resolve_interval = 10.0;
	s->retries = 2;
	s->retry_pause = 1.0;
	s->client_timeout = s->server_timeout = -1;
	s->max_connections = 100000;
	s->limits.source_prefix6 = 64;
	s->limits.queue = QUEUE_AUTO;
	s->proxy_protocol.header_timeout = 5.0;
	s->http = (struct http_config){
		.header_timeout = 10.0,
		.response_timeout = 60.0,
		.keepalive_timeout = 60.0,
		.forwarded = true,
		.request_id = true,
		.max_header_size = 32 << 10,
		.max_uri = 8 << 10,
		.max_headers = 100,
		.body_min_rate = 500,
		.body_grace = 20.0,
		.pool_size = 1024,
		.pool_idle = 4.0,
		.trace = TRACE_PASS,
		.trace_sample = 1.0,
		.retry_after = 1,
		.reply.redirect_status = 302,
		.http2 = {
			.max_streams = 100,
			.max_fields = 128,
			.max_header_size = 64 << 10,
			.max_continuations = 8,
			.max_resets = 200,
			.max_control = 200,
			.max_memory = 256 << 10,
			.stall_timeout = 30.0,
		},
	};
	trust_all(&s->http.trace_trust);
	draft_default_tls(s);
	s->tcp = (struct tcp_options){ .keepalive.on = true, .backlog = 4096, .user_timeout = -1 };
}

const config_setting_t *
draft_at(const struct service_draft *s, const char *path)
{
	const config_setting_t *groups[3] = { s->at, s->pool, s->defaults }, *found;

	for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
		/* libconfig's look-up changes nothing, but says const nowhere. */
		if (groups[i] != NULL &&
		    (found = config_setting_lookup((config_setting_t *)(uintptr_t)groups[i], path)) != NULL)
			return found;
	}
	return s->at;
}

/* The labels as they go into each log line, where they must leave room for
 * the line's own fields. */
static char *
labels_json(const struct cursor *c, const struct service_draft *s)
{
	struct json j;
	struct buf b;
	char *out;

	buf_init(&b, LABELS_JSON_MAX);
	json_init(&j, &b);
	for (size_t i = 0; i < s->s.n_labels; i++)
		json_cstr(&j, s->s.labels[i].key, s->s.labels[i].value);
	if (b.failed)
		cursor_error(c, draft_at(s, "labels"), "labels: together longer than %d bytes in a log line",
			     LABELS_JSON_MAX);
	out = must_printf("%.*s", (int)buf_len(&b), buf_str(&b).p);
	buf_free(&b);
	return out;
}

/* As many may wait as a tenth of those who may be inside. */
static void
settle_queue(struct service_config *s)
{
	unsigned share = s->max_connections > 0 ? s->max_connections / QUEUE_SHARE : QUEUE_OF_MANY;

	if (s->limits.queue == QUEUE_AUTO)
		s->limits.queue = share < QUEUE_MIN ? QUEUE_MIN : share;
}

static void
read_service_group(struct draft *d, const config_setting_t *group, unsigned nth)
{
	const config_setting_t *name = config_setting_get_member(group, "name");
	struct service_draft *s = &d->services[d->n_services++];
	struct cursor c = { d->r, NULL, "", s };

	s->at = group;
	s->defaults = d->defaults;
	s->s.at = config_text_line(&d->r->text, config_setting_source_line(group));
	s->where = name != NULL && config_setting_type(name) == CONFIG_TYPE_STRING ?
			   must_printf("service \"%s\"", show(config_setting_get_string(name)).s) :
			   must_printf("service %u", nth + 1);
	c.where = s->where;
	draft_service_defaults(s);
	if (d->defaults != NULL) {
		d->r->muted++;
		cursor_read(&c, d->defaults, service_keys + SERVICE_OWN_KEYS);
		d->r->muted--;
	}
	if ((s->pool = draft_checking_pool(d, group)) != NULL) {
		struct cursor of_pool = { d->r, s->where, "health.", s };

		s->s.health.of_pool = true;
		d->r->muted++;
		cursor_read(&of_pool, config_setting_get_member(s->pool, "health"), health_keys);
		d->r->muted--;
	}
	cursor_read(&c, group, service_keys);
	if (name == NULL)
		cursor_error(&c, group, "a service needs a name");
	s->s.own_max = draft_at(s, "max_connections") != s->at;
	draft_take_names(s);
	draft_take_map(&c, s);
	draft_settle_engine(&s->s);
	draft_settle_udp(s);
	draft_settle_health(&s->s);
	draft_settle_colors(s);
	draft_check_colors(&c, s);
	draft_resolve_colors(d, s);
	draft_check_service(d, s);
	settle_queue(&s->s);
	draft_settle_tls(&s->s);
	s->s.labels_json = labels_json(&c, s);
}

/* The defaults are complained about once, in their own place, whether or not
 * a service is left that uses them. */
static void
check_defaults(struct draft *d)
{
	struct service_draft s = { .at = d->defaults };
	struct cursor c = { d->r, "defaults", "", &s };

	draft_service_defaults(&s);
	for (size_t i = 0; i < SERVICE_OWN_KEYS; i++)
		if (config_setting_get_member(d->defaults, service_keys[i].name) != NULL)
			cursor_error(&c, config_setting_get_member(d->defaults, service_keys[i].name),
				     "%s: each service has its own; remove it here", service_keys[i].name);
	cursor_read(&c, d->defaults, service_keys);
	service_config_clear(&s.s);
}

void
draft_read_services(struct draft *d)
{
	struct cursor c = { d->r, NULL, "", d };
	unsigned n = d->list != NULL ? (unsigned)cursor_items(d->list) : 0;

	if (d->defaults != NULL)
		check_defaults(d);
	if (d->list != NULL && config_setting_type(d->list) != CONFIG_TYPE_LIST &&
	    !(config_setting_type(d->list) == CONFIG_TYPE_ARRAY && n == 0)) {
		cursor_error(&c, d->list, "services: expected a list of groups ( { } ), found %s",
			     cursor_found(d->list).s);
		return;
	}
	if (n == 0) {
		cursor_error(&c, d->list != NULL ? d->list : d->root,
			     "services: none; teald has nothing to do without services = ( { } )");
		return;
	}
	d->services = must_array(n, sizeof(*d->services));
	for (unsigned i = 0; i < n; i++) {
		const config_setting_t *s = config_setting_get_elem(d->list, i);

		if (config_setting_type(s) == CONFIG_TYPE_GROUP)
			read_service_group(d, s, i);
		else
			cursor_error(&c, s, "services: expected a group { }, found %s", cursor_found(s).s);
	}
}

void
service_config_clear(struct service_config *s)
{
	for (int color = GREEN; color <= BLUE; color++) {
		for (size_t i = 0; i < s->colors[color].n_backends; i++)
			free(s->colors[color].backends[i].host);
		free(s->colors[color].backends);
	}
	for (size_t i = 0; i < s->n_labels; i++) {
		free(s->labels[i].key);
		free(s->labels[i].value);
	}
	free(s->labels);
	free(s->labels_json);
	free(s->tcp.congestion);
	health_config_clear(&s->health);
	cidr_set_clear(&s->limits.allow);
	cidr_set_clear(&s->limits.deny);
	cidr_set_clear(&s->proxy_protocol.accept_from);
	cidr_set_clear(&s->http.forwarded_trust);
	cidr_set_clear(&s->http.trace_trust);
	cidr_set_clear(&s->http.preview_allow);
	free(s->http.preview_header);
	free(s->http.default_host);
	reply_config_clear(&s->http.reply);
	for (size_t i = 0; i < s->n_names; i++)
		free(s->names[i]);
	free(s->names);
	free(s->sni_map);
	for (size_t i = 0; i < s->n_paths; i++)
		free(s->paths[i]);
	free(s->paths);
	free(s->plain_listen);
	free(s->preview);
	free(s->listen);
	tls_config_clear(s);
	free(s->pool);
	free(s->rename);
	free(s->name);
	*s = (struct service_config){ 0 };
}
