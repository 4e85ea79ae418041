/* status.c - what teald is and does, as JSON.  Thread: main. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/teald/bake_json.h"
#include "app/teald/admin_status.h"
#include "app/teald/engine_table.h"
#include "app/teald/quality_json.h"
#include "app/teald/status.h"
#include "app/teald/supervised.h"
#include "app/teald/trouble.h"
#include "app/teald/upgrade.h"
#include "base/clock.h"
#include "base/version.h"
#include "control/claim.h"
#include "control/drain.h"
#include "control/engines.h"
#include "control/nodes.h"
#include "control/notify.h"
#include "control/ramp.h"
#include "control/reload.h"

void
status_time_json(struct json *j, const char *key, int64_t us)
{
	char text[CLOCK_TEXT];

	if (us <= 0) {
		json_null(j, key);
		return;
	}
	clock_format(us, 3, text);
	json_cstr(j, key, text);
}

void
status_deadline_json(struct json *j, const char *key, const struct service_ctl *ctl)
{
	double left;

	if (ctl->drain == NULL || !isfinite(ctl->drain->deadline)) {
		json_null(j, key);
		return;
	}
	left = ctl->drain->deadline - clock_now();
	/* Tenths are enough for people, and do not flicker. */
	json_double(j, key, left > 0 ? ceil(left * 10) / 10 : 0);
}

static void
backends_json(struct json *j, const struct service_ctl *ctl, enum color color)
{
	const struct health *health = ctl->control->health;
	const struct service *s = ctl->service;
	char text[ADDR_TEXT];

	json_array(j, "backends");
	for (size_t i = 0; i < s->colors[color].n; i++) {
		const struct backend *b = s->colors[color].backends[i];

		json_object(j, NULL);
		json_cstr(j, "address", b->text);
		json_cstr(j, "state", backend_word(b));
		json_cstr(j, "admin", backend_admin_word(b));
		json_cstr(j, "node", b->host);
		/* Only there when it is so: of thousands few are. */
		if (b->node_down)
			json_bool(j, "node_down", true);
		json_u64(j, "weight", b->weight);
		/* What its checks make of that, where they do. */
		if (b->endpoints > 0)
			json_u64(j, "endpoints", b->endpoints);
		if (s->config->health.agent.port != 0) {
			json_object(j, "agent");
			json_cstr(j, "said", b->agent.said[0] != '\0' ? b->agent.said : NULL);
			json_bool(j, "answers", !b->agent.silent);
			json_object_end(j);
		}
		if (b->share != 100)
			json_double(j, "weight_now", backend_weight(b) / 100.0);
		json_bool(j, "backup", b->backup);
		json_u64(j, "connections", atomic_load_explicit(&b->connections, memory_order_relaxed));
		status_time_json(j, "since", b->since_us);
		json_cstr(j, "error", b->error[0] != '\0' ? b->error : NULL);
		/* Where it is asked, and how many backends are judged by the same answers. */
		json_cstr(j, "check", backend_has_address(b) ? addr_format(&b->health_address, text) : NULL);
		json_u64(j, "check_shared", health != NULL ? health_sharers(health, s, b) : 0);
		json_object_end(j);
	}
	json_array_end(j);
}

/* What every form of it has. */
static void
color_state_json(struct json *j, const struct service_ctl *ctl, enum color color)
{
	const struct service *s = ctl->service;

	json_u64(j, "connections", service_connections(s, ENTRANCE_MAIN, color));
	json_bool(j, "draining", ctl->drain != NULL && ctl->drain->color == color);
	json_u64(j, "healthy", service_healthy(s, color));
	json_u64(j, "total", s->colors[color].n);
	json_u64(j, "drained", service_drained(s, color));
}

static void
color_json(struct json *j, const struct service_ctl *ctl, enum color color, const struct service_totals *totals,
	   enum status_form form)
{
	const struct service *s = ctl->service;

	json_object(j, s->colorless ? "" : color_word(color));
	color_state_json(j, ctl, color);
	json_u64(j, "preview_connections", service_connections(s, ENTRANCE_PREVIEW, color));
	json_u64(j, "node_down", trouble_by_node(s, color));
	if (!s->colorless)
		json_u64(j, "needed", service_needed(s, color));
	json_u64(j, "connections_total", totals->begun[color]);
	if (s->config->mode == MODE_HTTP)
		json_u64(j, "requests_total", totals->requests[color]);
	json_u64(j, "bytes_in", totals->in[color]);
	json_u64(j, "bytes_out", totals->out[color]);
	if (form == STATUS_FULL)
		backends_json(j, ctl, color);
	json_object_end(j);
}

static void
lock_json(struct json *j, const struct record *r)
{
	if (!r->lock.on) {
		json_null(j, "locked");
		return;
	}
	json_object(j, "locked");
	status_time_json(j, "at", r->lock.at_us);
	json_cstr(j, "by", r->lock.by);
	json_cstr(j, "reason", r->lock.reason);
	json_object_end(j);
}

void
status_claim_json(struct json *j, const struct service_ctl *ctl)
{
	const struct record *r = &ctl->service->record;

	if (!claim_holds(ctl)) {
		json_null(j, "claimed");
		return;
	}
	json_object(j, "claimed");
	status_time_json(j, "at", r->claim.at_us);
	json_cstr(j, "by", r->claim.by);
	json_cstr(j, "reason", r->claim.reason);
	status_time_json(j, "until", r->claim.until_us);
	json_object_end(j);
}

static void
put_ramp(struct json *j, const struct service_ctl *ctl)
{
	const struct ramp *r = &ctl->service->record.share.ramp;
	const struct ramp_run *run = ctl->ramp;
	double left;

	if (!r->on || run == NULL || !run->on) {
		json_null(j, "ramp");
		return;
	}
	left = run->due - clock_now();
	json_object(j, "ramp");
	json_array(j, "steps");
	for (unsigned i = 0; i < r->n; i++)
		json_double(j, NULL, r->steps[i] / 100.0);
	json_array_end(j);
	json_u64(j, "step", r->at + 1);
	json_u64(j, "of", r->n);
	json_double(j, "every", r->every_ms / 1e3);
	json_double(j, "next_in", left > 0 ? left : 0);
	json_cstr(j, "host", r->host[0] != '\0' ? r->host : NULL);
	json_cstr(j, "held", run->held ? run->text : NULL);
	json_object_end(j);
}

void
status_share_json(struct json *j, const struct service_ctl *ctl)
{
	const struct record *r = &ctl->service->record;
	const struct share *share = &r->share;

	if (share->idle == 0) {
		json_null(j, "share");
		return;
	}
	json_object(j, "share");
	json_cstr(j, "color", color_word(color_other(r->color)));
	json_double(j, "percent", share->idle / 100.0);
	json_u64(j, "since_epoch", share->since);
	json_cstr(j, "diverted", ctl->diverted ? color_word(ctl->diverted_from) : NULL);
	put_ramp(j, ctl);
	json_object_end(j);
}

static void
drain_json(struct json *j, const struct service_ctl *ctl)
{
	if (ctl->drain == NULL) {
		json_null(j, "drain");
		return;
	}
	json_object(j, "drain");
	json_cstr(j, "color", color_word(ctl->drain->color));
	json_u64(j, "remaining", engines_count(ctl, ctl->drain->color));
	json_u64(j, "at_start", ctl->drain->at_start);
	status_deadline_json(j, "deadline_in", ctl);
	json_object_end(j);
}

static void
listen_json(struct json *j, const char *key, const struct addr *list, size_t n)
{
	char text[ADDR_TEXT];

	json_array(j, key);
	for (size_t i = 0; i < n; i++)
		json_cstr(j, NULL, addr_format(&list[i], text));
	json_array_end(j);
}

/* Where clients come in, and which of them. */
static void
entrances_json(struct json *j, const struct service_config *s)
{
	listen_json(j, "listen", s->listen, s->n_listen);
	listen_json(j, "plain_listen", s->plain_listen, s->n_plain_listen);
	listen_json(j, "preview", s->preview, s->n_preview);
	json_bool(j, "tls", s->listen_tls);
	json_array(j, s->mode == MODE_HTTP ? "hosts" : "sni");
	for (size_t i = 0; i < s->n_names - s->n_mapped; i++)
		json_cstr(j, NULL, s->names[i]);
	json_array_end(j);
	if (s->sni_map != NULL)
		json_u64(j, "sni_map_names", s->n_mapped);
	json_bool(j, "default", s->is_default);
	if (s->n_paths > 0)
		json_array(j, "paths");
	for (size_t i = 0; i < s->n_paths; i++)
		json_cstr(j, NULL, s->paths[i][0] != '\0' ? s->paths[i] : "/");
	if (s->n_paths > 0)
		json_array_end(j);
}

static const char *
text_or_null(const char *text)
{
	return text[0] != '\0' ? text : NULL;
}

/* What every form of it has: a line of `status`. */
static void
state_json(struct json *j, const struct service_ctl *ctl)
{
	const struct service *s = ctl->service;
	const struct record *r = &s->record;
	bool colored = !s->colorless, flipped = colored && s->known && r->change != CHANGE_INITIAL;

	json_cstr(j, "name", s->config->name);
	json_cstr(j, "mode", mode_word(s->config->mode));
	/* Before the store has answered the color is unknown. */
	json_cstr(j, "active", colored && s->known ? color_word(r->color) : NULL);
	json_cstr(j, "idle", colored && s->known ? color_word(color_other(r->color)) : NULL);
	if (colored)
		json_u64(j, "epoch", r->epoch);
	else
		json_null(j, "epoch");
	lock_json(j, r);
	status_claim_json(j, ctl);
	status_share_json(j, ctl);
	json_cstr(j, "change", colored && s->known ? change_word(r->change) : NULL);
	status_time_json(j, "changed_at", r->at_us);
	json_cstr(j, "changed_by", flipped ? text_or_null(r->by) : NULL);
	json_cstr(j, "reason", text_or_null(r->reason));
	if (r->revision[0] != '\0')
		json_cstr(j, "revision", r->revision);
	trouble_rollback_json(j, ctl);
	trouble_json(j, ctl);
	json_u64(j, "waiting", service_waiting(s));
	drain_json(j, ctl);
}

static void
summary_colors_json(struct json *j, const struct service_ctl *ctl)
{
	json_object(j, "colors");
	for (int color = GREEN; color < (ctl->service->colorless ? BLUE : COLORS); color++) {
		json_object(j, ctl->service->colorless ? "" : color_word((enum color)color));
		color_state_json(j, ctl, (enum color)color);
		json_object_end(j);
	}
	json_object_end(j);
}

/* The members; what moves all the time, and is a part of its own on the page, is the caller's to add. */
static void
service_members(struct json *j, const struct service_ctl *ctl, enum status_form form)
{
	const struct service *s = ctl->service;
	const struct service_config *config = s->config;
	struct service_totals totals;

	state_json(j, ctl);
	if (form == STATUS_SUMMARY) {
		summary_colors_json(j, ctl);
		return;
	}
	service_totals(s, &totals);
	json_cstr(j, "engine", engine_word(config->engine));
	json_u64(j, "generation", s->generation);
	if (!s->colorless)
		json_u64(j, "applied_epoch", s->applied_epoch);
	else
		json_null(j, "applied_epoch");
	entrances_json(j, config);
	json_object(j, "health");
	json_cstr(j, "type", health_word(config->health.type));
	json_double(j, "interval", config->health.interval);
	/* The pool that says so, where the service does not itself. */
	json_cstr(j, "pool", config->health.of_pool ? config->pool : NULL);
	json_object_end(j);
	json_u64(j, "max_connections", config->max_connections);
	json_u64(j, "connections",
		 service_connections(s, ENTRANCE_MAIN, GREEN) + service_connections(s, ENTRANCE_MAIN, BLUE));
	json_u64(j, "failed_total", totals.failed);
	if (config->mode == MODE_HTTP)
		json_u64(j, "errors_total", totals.errors);
	json_object(j, "colors");
	color_json(j, ctl, GREEN, &totals, form);
	if (!s->colorless)
		color_json(j, ctl, BLUE, &totals, form);
	json_object_end(j);
}

void
status_service_json(struct json *j, const char *key, const struct service_ctl *ctl, enum status_form form)
{
	json_object(j, key);
	service_members(j, ctl, form);
	json_object_end(j);
}

/* -- nodes --------------------------------------------------------------------- */

static const char *
node_state_word(enum node_wish wish)
{
	switch (wish) {
	case NODE_READY:
		return "ready";
	case NODE_DRAIN:
		return "draining";
	case NODE_REMOVED:
		return "removed";
	}
	return "";
}

void
status_node_json(struct json *j, const struct node_view *v, const struct node_sum *sum)
{
	json_cstr(j, "host", v->host);
	json_cstr(j, "origin", v->watched != NULL ? "cluster" : v->configured ? "configured" : "added");
	json_cstr(j, "state", node_state_word(v->wish));
	status_time_json(j, "state_since", v->terms.since_us);
	status_time_json(j, "drain_until", v->terms.timeout_us >= 0 ? v->terms.since_us + v->terms.timeout_us : 0);
	json_bool(j, "changed", v->said);
	json_cstr(j, "problem", text_or_null(v->problem));
	json_cstr(j, "health", node_does_word(v->does));
	status_time_json(j, "since", node_since_us(v));
	json_cstr(j, "reason", text_or_null(v->reason));
	json_u64(j, "up", sum->up);
	json_u64(j, "total", sum->total);
	json_u64(j, "checking", sum->checking);
	json_u64(j, "draining", sum->draining);
	json_u64(j, "ejected", sum->ejected);
	json_u64(j, "connections", sum->connections);
	if (v->watched == NULL)
		return;
	json_cstr(j, "cluster_name", v->watched->node.name);
	json_cstr(j, "cluster", watched_why_word(v->watched->why));
	json_cstr(j, "cluster_taint", text_or_null(v->watched->node.taint));
	status_time_json(j, "cluster_since", v->watched->since_us);
}

static bool
is_node_in_trouble(const struct node_view *v)
{
	return v->wish == NODE_READY && (v->does == NODE_DOWN || v->problem[0] != '\0');
}

bool
status_uses_pool(const struct service *s, const struct pool_config *pool)
{
	return s->config->pool != NULL && strcmp(s->config->pool, pool->name) == 0;
}

bool
status_may_see_pool(const struct rights *rights, const struct control *c, const struct pool_config *pool)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct service *s = c->services[i]->service;

		if (status_uses_pool(s, pool) && rights_have(rights, ADMIN_RIGHT_READ, s->config->name))
			return true;
	}
	return rights_have(rights, ADMIN_RIGHT_READ, RIGHTS_EVERYWHERE);
}

struct node_sum *
status_sum_nodes(const struct control *c, const struct rights *rights, const struct pool_config *pool)
{
	bool all = rights == NULL || rights_have(rights, ADMIN_RIGHT_READ, RIGHTS_EVERYWHERE);
	struct node_sum *sums;
	size_t n;
	const struct node_view *list = nodes_views(c, pool, &n);

	sums = must_array(n + 1, sizeof(*sums));
	for (size_t i = 0; all && i < n; i++)
		sums[i] = list[i].sum;
	for (size_t i = 0; !all && i < c->n; i++) {
		const struct service *s = c->services[i]->service;

		if (status_uses_pool(s, pool) && rights_have(rights, ADMIN_RIGHT_READ, s->config->name))
			nodes_add_to_each(sums, n, s);
	}
	return sums;
}

void
status_watch_json(struct json *j, const char *key, const struct control *c, const struct pool_config *pool)
{
	struct nodes_watch_view w;

	nodes_watch_look(c, pool, &w);
	json_object(j, key);
	if (key == NULL)
		json_cstr(j, "pool", pool->name);
	json_bool(j, "up", w.up);
	if (w.age >= 0)
		json_u64(j, "age", (uint64_t)w.age);
	else
		json_null(j, "age");
	json_cstr(j, "server", text_or_null(w.server));
	json_cstr(j, "problem", text_or_null(w.problem));
	if (w.shared) {
		json_cstr(j, "role", watch_role_word(w.role));
		json_cstr(j, "watcher", text_or_null(w.holder));
		status_time_json(j, "watcher_since", w.since_us);
	}
	json_object_end(j);
}

static void
watches_json(struct json *j, const struct control *c, const struct rights *rights)
{
	json_array(j, "watches");
	for (size_t i = 0; i < c->config->n_pools; i++)
		if (c->config->pools[i].kube != NULL && (rights == NULL || status_may_see_pool(rights, c, &c->config->pools[i])))
			status_watch_json(j, NULL, c, &c->config->pools[i]);
	json_array_end(j);
}

void
status_nodes_json(struct json *j, const struct control *c, const struct rights *rights, bool troubled)
{
	json_array(j, "nodes");
	for (size_t i = 0; i < c->config->n_pools; i++) {
		const struct pool_config *pool = &c->config->pools[i];
		const struct node_view *list;
		struct node_sum *sums;
		size_t n;

		if (rights != NULL && !status_may_see_pool(rights, c, pool))
			continue;
		list = nodes_views(c, pool, &n);
		sums = status_sum_nodes(c, rights, pool);
		for (size_t k = 0; k < n; k++) {
			if (troubled && !is_node_in_trouble(&list[k]))
				continue;
			json_object(j, NULL);
			json_cstr(j, "pool", pool->name);
			status_node_json(j, &list[k], &sums[k]);
			json_object_end(j);
		}
		free(sums);
	}
	json_array_end(j);
}

/* A name is told to those who may read the service. */
static const char *
problem_for(const struct store_status *s, const struct rights *rights)
{
	if (s->problem_service == NULL || rights == NULL || rights_have(rights, ADMIN_RIGHT_READ, s->problem_service))
		return s->problem;
	return "with the record of a service that this user may not read";
}

void
status_store_json(struct json *j, const struct control *c, const struct rights *rights)
{
	struct store_status status;

	control_store_status(c, &status);
	json_object(j, "store");
	json_cstr(j, "type", status.type);
	json_bool(j, "up", status.up);
	json_double(j, "age", status.age > 0 ? round(status.age * 1000) / 1000 : 0);
	json_cstr(j, "where", status.where);
	json_cstr(j, "problem", problem_for(&status, rights));
	json_object_end(j);
}

/* The path of a url may be a secret: where, but no more. */
static void
receivers_json(struct json *j, const struct control *c)
{
	char origin[HTTP_URL_ORIGIN];

	json_array(j, "notify");
	for (struct link *l = c->notify->receivers.next; l != &c->notify->receivers; l = l->next) {
		const struct receiver *r = list_entry(l, struct receiver, link);

		json_object(j, NULL);
		json_cstr(j, "name", r->config->name);
		json_cstr(j, "where", http_url_origin(&r->config->url, origin));
		json_u64(j, "waiting", r->n);
		json_u64(j, "delivered", r->counts.delivered);
		json_u64(j, "lost", receiver_lost(r));
		status_time_json(j, "delivered_at", r->delivered_at_us);
		json_cstr(j, "error", text_or_null(r->problem));
		json_object_end(j);
	}
	json_array_end(j);
}

static void
log_json(struct json *j, const struct control *c)
{
	const struct log_output log = log_output();

	json_object(j, "log");
	json_cstr(j, "to", log.syslog ? "syslog" : "stdout");
	json_bool(j, "up", log.up);
	json_cstr(j, "error", log.problem);
	json_u64(j, "dropped", log_dropped() + c->inherited.log_dropped);
	json_object_end(j);
}

void
status_engines_json(struct json *j, const struct control *c)
{
	for (size_t k = 0; k < ARRAY_LEN(engine_classes); k++) {
		const struct engine_class *class = engine_classes[k];
		size_t i = 0;

		if (class->status == NULL)
			continue;
		while (i < c->n_engines && c->engines[i]->class != class)
			i++;
		if (i == c->n_engines) {
			json_null(j, class->name);
			continue;
		}
		json_object(j, class->name);
		class->status(c->engines[i], j);
		json_object_end(j);
	}
}

void
status_json(struct json *j, struct control *c, const struct service_ctl *only, const struct rights *rights,
	    const struct status_wish *wish)
{
	char host[RECORD_NAME + 1] = "";
	const char *reason = NULL;
	bool ready = control_ready(c, &reason);
	const struct reload_status config = reload_status(c->reloads);
	uint64_t well = 0;

	nodes_look(c);
	json_array(j, "services");
	for (size_t i = 0; i < c->n; i++) {
		const struct service_ctl *ctl = c->services[i];

		if ((only != NULL && only != ctl) ||
		    (rights != NULL && !rights_have(rights, ADMIN_RIGHT_READ, ctl->service->config->name)))
			continue;
		if (wish->troubled && trouble_count(ctl) == 0) {
			well++;
			continue;
		}
		json_object(j, NULL);
		service_members(j, ctl, wish->form);
		if (wish->form != STATUS_SUMMARY) {
			quality_json(j, ctl);
			if (!ctl->service->colorless)
				bake_json(j, ctl);
		}
		json_object_end(j);
	}
	json_array_end(j);
	if (wish->troubled)
		json_u64(j, "well", well);
	/* Those in trouble: what a person would miss where services are listed. */
	if (wish->troubled || wish->form == STATUS_BRIEF)
		status_nodes_json(j, c, rights, true);
	watches_json(j, c, rights);
	status_store_json(j, c, rights);
	status_engines_json(j, c);
	receivers_json(j, c);
	log_json(j, c);
	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	json_cstr(j, "host", host);
	json_cstr(j, "version", teal_version());
	json_bool(j, "ready", ready);
	json_cstr(j, "not_ready", ready ? NULL : reason);
	json_bool(j, "maintenance", c->maintenance);
	json_i64(j, "pid", getpid());
	if (supervised_by() > 0)
		json_i64(j, "supervisor", supervised_by());
	else
		json_null(j, "supervisor");
	json_u64(j, "restarts", supervised_restarts());
	upgrade_status_json(j);
	admin_status_json(j);
	json_double(j, "uptime", round((clock_now() - control_counts_since(c)) * 1000) / 1000);
	json_u64(j, "workers", c->config->workers);
	json_object(j, "config");
	json_u64(j, "generation", config.generation);
	status_time_json(j, "loaded_at", config.loaded_at_us);
	json_cstr(j, "checksum", config.checksum);
	json_bool(j, "last_reload_successful", config.last_good);
	json_bool(j, "fallback", config.from_copy);
	json_object_end(j);
}
