/* config_check.c - checks over more than one key: what cannot work although
 * each key by itself is right.  Start-up thread only. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/config_draft.h"

static void
check_gate(const struct cursor *c, const struct service_draft *s)
{
	for (enum color color = GREEN; color <= BLUE; color++) {
		size_t n = 0;

		for (size_t i = 0; i < s->s.colors[color].n_backends; i++)
			n += !s->s.colors[color].backends[i].backup;
		if (n == 0 || s->s.colorless || s->s.min_healthy.percent || s->s.min_healthy.value <= n)
			continue;
		cursor_error(
			c, draft_at(s, "flip.min_healthy"),
			"flip.min_healthy: %u are wanted, but %s has only %zu: no flip to it could ever pass",
			s->s.min_healthy.value, color_word(color), n);
		return;
	}
}

/* What is judged is what the proxy sees of streams. */
static void
check_bake(const struct cursor *c, const struct service_draft *s)
{
	/* Of the defaults it is for those services that can. */
	if (s->s.bake > 0 && (s->s.engine != ENGINE_PROXY || s->s.mode == MODE_UDP) &&
	    config_setting_lookup((config_setting_t *)(uintptr_t)s->at, "flip.bake") != NULL)
		cursor_error(c, draft_at(s, "flip.bake"),
			     "flip.bake: only what goes through the proxy as TCP or HTTP can be judged; remove it, or set mode "
			     "and engine so");
}

const char *
draft_color_prefix(const struct service_draft *s, enum color color)
{
	return s->s.colorless ? "" : color == GREEN ? "green: " : "blue: ";
}

const config_setting_t *
draft_color_setting(const struct service_draft *s, enum color color)
{
	return s->colors[color].at != NULL ? s->colors[color].at : s->at;
}

/* What is set, but can change nothing or never work. */
static void
check_balance(const struct cursor *c, const struct service_draft *s)
{
	if (s->s.slow_start > 0 && s->s.balance == BALANCE_SOURCE_HASH)
		cursor_warn(
			c, draft_at(s, "slow_start"),
			"slow_start changes nothing with balance = \"source_hash\": each client has its backend");
	if ((s->s.passive.failures > 0 || s->s.passive.answers > 0) && s->s.passive.eject <= 0)
		cursor_error(c, draft_at(s, "passive.eject"),
			     "passive.eject: must be above 0; passive.failures = 0 switches ejection off");
	if (s->s.passive.answers > 0 && s->s.mode != MODE_HTTP)
		cursor_warn(
			c, draft_at(s, "passive.answers"),
			"passive.answers changes nothing without mode = \"http\": only there answers are read");
	for (enum color color = GREEN; color <= BLUE; color++) {
		size_t n = s->s.colors[color].n_backends, takers = 0, backups = 0;

		for (size_t i = 0; i < n; i++) {
			takers += s->s.colors[color].backends[i].weight > 0;
			backups += s->s.colors[color].backends[i].backup;
		}
		if (n > 0 && backups == n)
			cursor_error(c, draft_color_setting(s, color),
				     "%severy backend is a backup; of what? leave backup out of those that serve as a rule",
				     draft_color_prefix(s, color));
		if (n > 0 && takers == 0)
			cursor_error(c, draft_color_setting(s, color),
				     "%severy backend has weight 0; none could ever be used",
				     draft_color_prefix(s, color));
	}
}

static void
check_source(const struct cursor *c, const struct service_draft *s)
{
	char text[ADDR_TEXT];

	if (s->s.source_address.len == 0)
		return;
	for (enum color color = GREEN; color <= BLUE; color++) {
		const struct color_config *colors = &s->s.colors[color];

		for (size_t i = 0; i < colors->n_backends; i++) {
			if (colors->backends[i].address.len == 0 ||
			    addr_family(&colors->backends[i].address) == addr_family(&s->s.source_address))
				continue;
			cursor_error(
				c, draft_at(s, "source_address"),
				"source_address: %s cannot reach backend %s%s%s: one is IPv4, the other IPv6",
				config_setting_get_string(draft_at(s, "source_address")),
				addr_format(&colors->backends[i].address, text), s->s.colorless ? "" : " of ",
				s->s.colorless ? "" : color_word(color));
			return;
		}
	}
}

static void
check_shared_backends(const struct cursor *c, const struct service_draft *s)
{
	const struct color_config *green = &s->s.colors[GREEN], *blue = &s->s.colors[BLUE];
	char text[ADDR_TEXT];

	for (size_t i = 0; i < green->n_backends; i++)
		for (size_t j = 0; j < blue->n_backends; j++)
			if (backend_config_same(&green->backends[i], &blue->backends[j]))
				cursor_warn(
					c, draft_color_setting(s, BLUE),
					"green and blue share the backend %s: a flip changes nothing there",
					backend_config_text(&blue->backends[j], text));
}

/* A service that is its own backend would feed one connection for ever. */
static void
check_loop(struct draft *d, const struct cursor *c, const struct service_draft *s, const struct addr *listen, size_t n)
{
	char to[ADDR_TEXT], at[ADDR_TEXT];

	for (size_t l = 0; l < n; l++)
		for (enum color color = GREEN; color <= BLUE; color++)
			for (size_t i = 0; i < s->s.colors[color].n_backends; i++) {
				const struct addr *b = &s->s.colors[color].backends[i].address;

				if (local_addrs_arrives(&d->locals, b, &listen[l]))
					cursor_error(
						c, draft_color_setting(s, color),
						"%sbackend %s is the service itself, which listens on %s",
						draft_color_prefix(s, color), addr_format(b, to),
						addr_format(&listen[l], at));
			}
}

static bool
has_word(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = words; (p = strstr(p, word)) != NULL; p += n)
		if ((p == words || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\n' || p[n] == '\0'))
			return true;
	return false;
}

static void
read_sysctl(const char *path, char *out, int size)
{
	FILE *f = fopen(path, "re");

	if (f == NULL || fgets(out, size, f) == NULL)
		out[0] = '\0';
	out[strcspn(out, "\n")] = '\0';
	if (f != NULL)
		fclose(f);
}

/* Asks the kernel, for it would refuse at the first connection otherwise. */
static void
check_congestion(const struct draft *d, const struct cursor *c, const struct service_draft *s)
{
	bool privileged = d->c.user == NULL && geteuid() == 0;
	const config_setting_t *at = draft_at(s, "tcp.congestion");
	const char *name = s->s.tcp.congestion;
	char known[256];
	int fd, error = 0;

	if (name == NULL || (fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
		return;
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) != 0)
		error = errno;
	close(fd);
	if (error == ENOENT) {
		read_sysctl("/proc/sys/net/ipv4/tcp_available_congestion_control", known, sizeof(known));
		cursor_error(c, at, "tcp.congestion: the kernel knows no \"%s\"; it has: %s", show(name).s,
			     known);
		return;
	}
	read_sysctl("/proc/sys/net/ipv4/tcp_allowed_congestion_control", known, sizeof(known));
	if (error == EPERM || (!privileged && known[0] != '\0' && !has_word(known, name)))
		cursor_error(c, at,
			     "tcp.congestion: \"%s\" is kept for root; allow it with: "
			     "sysctl -w net.ipv4.tcp_allowed_congestion_control=\"%s %s\"",
			     show(name).s, known, show(name).s);
	else if (error != 0)
		cursor_error(c, at, "tcp.congestion: \"%s\": %s", show(name).s, strerror(error));
}

static void
check_limits(const struct cursor *c, const struct service_draft *s)
{
	const struct limits_config *l = &s->s.limits;

	if (l->queue_timeout > 0 && s->s.max_connections == 0 && s->s.backend_max_connections == 0)
		cursor_warn(c, draft_at(s, "queue_timeout"),
			    "queue_timeout changes nothing while max_connections and "
			    "backend_max_connections are 0: no client has to wait");
	if (l->queue_timeout <= 0 && l->queue != QUEUE_AUTO)
		cursor_warn(c, draft_at(s, "queue_limit"),
			    "queue_limit changes nothing while queue_timeout is 0: no client waits");
	if (l->per_source > 0 && s->s.max_connections > 0 && l->per_source >= s->s.max_connections)
		cursor_warn(c, draft_at(s, "max_connections_per_source"),
			    "max_connections_per_source changes nothing: one source may have all of "
			    "max_connections, which is %u",
			    s->s.max_connections);
}

/* Bit 1 of the sysctl lets listeners take data with the SYN. */
static void
check_fastopen(const struct cursor *c, const struct service_draft *s)
{
	char value[32];

	if (!s->s.tcp.fastopen)
		return;
	read_sysctl("/proc/sys/net/ipv4/tcp_fastopen", value, sizeof(value));
	if (value[0] != '\0' && (strtoul(value, NULL, 0) & 2) == 0)
		cursor_warn(c, draft_at(s, "tcp.fastopen"),
			    "tcp.fastopen changes nothing while the kernel does not take it: "
			    "sysctl -w net.ipv4.tcp_fastopen=%lu",
			    strtoul(value, NULL, 0) | 2);
}

/* A listener that would close every connection. */
static bool
check_reachable(const struct cursor *c, const struct service_draft *s, const struct addr *list, size_t n)
{
	const struct cidr_set *from = &s->s.proxy_protocol.accept_from;

	for (size_t i = 0; i < n; i++) {
		if (addr_family(&list[i]) != AF_UNIX || cidr_set_is_empty(from) ||
		    cidr_set_match(from, &list[i]))
			continue;
		cursor_warn(
			c, draft_at(s, "proxy_protocol.accept_from"),
			"proxy_protocol.accept_from: no client can connect to unix:%s; add \"unix:\" to trust "
			"its peers",
			list[i].u.un.sun_path);
		return false;
	}
	return true;
}

static void
check_accept_from(const struct cursor *c, const struct service_draft *s)
{
	(void)(check_reachable(c, s, s->s.listen, s->s.n_listen) &&
	       check_reachable(c, s, s->s.plain_listen, s->s.n_plain_listen) &&
	       check_reachable(c, s, s->s.preview, s->s.n_preview));
}

void
draft_check_service(struct draft *d, struct service_draft *s)
{
	struct cursor c = { d->r, s->where, "", s };

	if (s->listen == NULL)
		cursor_error(&c, s->at, "listen is missing; add listen = \"0.0.0.0:80\"; or the like");
	if (s->nodes != NULL && s->nodes->parent == s->at && s->colors[GREEN].backends != NULL &&
	    s->colors[BLUE].backends != NULL)
		cursor_warn(&c, s->nodes, "nodes changes nothing: both colors list their backends");
	if (s->nodes != NULL && s->nodes->parent == s->at && s->s.colorless && s->own.backends != NULL)
		cursor_warn(&c, s->nodes, "nodes changes nothing: the service lists its backends");
	if (s->s.drain.spread > 0 && s->s.drain.idle <= 0)
		cursor_warn(
			&c, draft_at(s, "drain.spread"),
			"drain.spread changes nothing while drain.idle is 0: no idle connection is closed early");
	draft_check_health(&c, s);
	check_gate(&c, s);
	check_bake(&c, s);
	check_balance(&c, s);
	check_source(&c, s);
	check_shared_backends(&c, s);
	check_loop(d, &c, s, s->s.listen, s->s.n_listen);
	check_loop(d, &c, s, s->s.preview, s->s.n_preview);
	check_loop(d, &c, s, s->s.plain_listen, s->s.n_plain_listen);
	check_congestion(d, &c, s);
	check_limits(&c, s);
	check_fastopen(&c, s);
	check_accept_from(&c, s);
	draft_check_http(&c, s);
	draft_check_engine(&c, s);
	draft_check_tls(&c, s);
}

static int
compare_names(const void *a, const void *b)
{
	const struct service_draft *x = *(const struct service_draft *const *)a,
				   *y = *(const struct service_draft *const *)b;
	int order = strcmp(x->s.name, y->s.name);

	return order != 0 ? order : (x > y) - (x < y);
}

static void
check_names(const struct draft *d)
{
	const struct service_draft **sorted = must_array(d->n_services + 1, sizeof(*sorted)), *first = NULL;
	size_t n = 0;

	for (size_t i = 0; i < d->n_services; i++)
		if (d->services[i].s.name != NULL)
			sorted[n++] = &d->services[i];
	qsort(sorted, n, sizeof(*sorted), compare_names);
	for (size_t i = 0; i < n; i++) {
		struct cursor c = { d->r, sorted[i]->where, "", NULL };
		struct config_line l;

		if (first == NULL || strcmp(first->s.name, sorted[i]->s.name) != 0) {
			first = sorted[i];
			continue;
		}
		l = config_text_line(&d->r->text, config_setting_source_line(first->at));
		cursor_error(&c, draft_at(sorted[i], "name"), "name: the service at %s:%u has the same name",
			     l.file, l.line);
	}
	free(sorted);
}

/* A name that a service gave up is no other's, and has one heir. */
static void
check_renames(const struct draft *d)
{
	for (size_t i = 0; i < d->n_services; i++) {
		const struct service_draft *s = &d->services[i];
		struct cursor c = { d->r, s->where, "", NULL };

		for (size_t k = 0; s->s.rename != NULL && k < d->n_services; k++) {
			const struct service_config *other = &d->services[k].s;

			if (other->name != NULL && strcmp(other->name, s->s.rename) == 0)
				cursor_error(&c, draft_at(s, "rename"),
					     "rename: the service \"%s\" is still here; remove it, or this",
					     s->s.rename);
			else if (k < i && other->rename != NULL && strcmp(other->rename, s->s.rename) == 0)
				cursor_error(&c, draft_at(s, "rename"),
					     "rename: the service at %s:%u was \"%s\" already", other->at.file, other->at.line,
					     s->s.rename);
		}
	}
}

/* An unused pool is often a name mistyped elsewhere. */
static void
check_pools_used(const struct draft *d)
{
	struct cursor c = { d->r, NULL, "", NULL };

	if (d->pools == NULL || config_setting_type(d->pools) != CONFIG_TYPE_GROUP)
		return;
	for (unsigned i = 0; i < (unsigned)config_setting_length(d->pools); i++) {
		const config_setting_t *pool = config_setting_get_elem(d->pools, i);
		bool used = false;

		for (size_t k = 0; k < d->n_services && !used; k++) {
			const config_setting_t *nodes = d->services[k].nodes;

			used = nodes != NULL && config_setting_type(nodes) == CONFIG_TYPE_STRING &&
			       strcmp(config_setting_get_string(nodes), pool->name) == 0;
		}
		if (!used)
			cursor_warn(&c, pool, "node_pools.%s is used by no service", show(pool->name).s);
	}
}

/* What defaults say is for services that may have it. */
static void
check_shares(const struct draft *d)
{
	unsigned all = d->c.max_connections;

	for (size_t i = 0; all > 0 && i < d->n_services; i++) {
		const struct service_draft *s = &d->services[i];
		const config_setting_t *own = config_setting_get_member(s->at, "max_connections");
		struct cursor c = { d->r, s->where, "", NULL };

		if (own != NULL && s->s.max_connections > all)
			cursor_warn(&c, own, "max_connections changes nothing: all services together have at most %u, "
					     "the max_connections outside of services", all);
	}
}

void
draft_check_all(struct draft *d)
{
	check_shares(d);
	check_names(d);
	check_renames(d);
	draft_check_listeners(d);
	draft_check_rings(d);
	draft_check_store(d);
	draft_check_observe(d);
	draft_check_kernel(d);
	check_pools_used(d);
	draft_check_notify(d);
}
