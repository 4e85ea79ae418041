/* config_share.c - listeners: which clash, and which are shared by services
 * that fit together.  Start-up thread only. */
#include <stdlib.h>
#include <string.h>

#include "model/config_draft.h"
#include "model/route.h"

/* Something that listens: whose, and where it is written. */
struct entrance_at {
	struct addr addr;
	const config_setting_t *at;
	const struct service_draft *service;	/* NULL: not a service's */
	const char *key;
	bool preview, tls, udp;
};

struct entrances {
	struct entrance_at *list;
	size_t n;
};

static void
add_entrance(struct entrances *e, const struct entrance_at *new)
{
	if ((e->n & (e->n - 1)) == 0)
		e->list = must_grow(e->list, e->n == 0 ? 1 : 2 * e->n, sizeof(*e->list));
	e->list[e->n++] = *new;
}

/* -- sharing --------------------------------------------------------------------- */

static bool
is_by_name(const struct service_draft *s)
{
	return s->s.n_names > 0 || s->s.is_default || s->s.sni_map != NULL;
}

/* Both are services' and of one kind: what keeps them from sharing an address
 * is *hint, if anything does.  False: they never could. */
static bool
could_share(const struct entrance_at *a, const struct entrance_at *b, const char **hint)
{
	*hint = "";
	if (a->service == NULL || b->service == NULL || a->service == b->service ||
	    a->preview != b->preview || !addr_equal(&a->addr, &b->addr))
		return false;
	if (a->service->s.engine == ENGINE_KERNEL || b->service->s.engine == ENGINE_KERNEL)
		*hint = "; engine = \"kernel\" looks at no names: its services share no address";
	else if (a->service->s.mode != b->service->s.mode)
		*hint = "; to share it both must be of one mode";
	else if (a->tls != b->tls)
		*hint = "; to share it both must speak TLS there, or neither";
	else if (!is_by_name(a->service) || !is_by_name(b->service))
		*hint = a->service->s.mode == MODE_HTTP ? "; to share it each needs hosts or default = true" :
							  "; to share it each needs sni or default = true";
	return true;
}

static bool
shares(const struct entrance_at *a, const struct entrance_at *b)
{
	const char *hint;

	return could_share(a, b, &hint) && hint[0] == '\0';
}

static void
complain_about_two(const struct draft *d, const struct entrance_at *late, const struct entrance_at *early,
		   const char *hint)
{
	struct config_line l = config_text_line(&d->r->text, config_setting_source_line(early->at));
	struct cursor c = { d->r, late->service != NULL ? late->service->where : NULL, "", NULL };
	char here[ADDR_TEXT], there[ADDR_TEXT];

	cursor_error(&c, late->at, "%s: %s clashes with %s, %s%s%s at %s:%u%s", late->key,
		     addr_format(&late->addr, here), addr_format(&early->addr, there), early->key,
		     early->service != NULL ? " of " : "",
		     early->service != NULL ? early->service->where : "", l.file, l.line, hint);
}

/* Sorted by what can clash at all, so that no entrance is compared with every
 * other: sixteen thousand services are no more than that. */
static int
compare_ports(const struct entrance_at *x, const struct entrance_at *y)
{
	int fx = addr_family(&x->addr), fy = addr_family(&y->addr);
	unsigned px = fx == AF_UNIX ? 0 : addr_port(&x->addr), py = fy == AF_UNIX ? 0 : addr_port(&y->addr);

	if (x->udp != y->udp)
		return x->udp - y->udp;
	return fx != fy ? fx - fy : (px > py) - (px < py);
}

static int
compare_addresses(const struct entrance_at *x, const struct entrance_at *y)
{
	int order = compare_ports(x, y);

	return order != 0 ? order : addr_compare(&x->addr, &y->addr);
}

/* In one place, in the order of the list. */
static int
compare_entrances(const void *a, const void *b)
{
	const struct entrance_at *x = *(const struct entrance_at *const *)a, *y = *(const struct entrance_at *const *)b;
	int order = compare_addresses(x, y);

	return order != 0 ? order : (x > y) - (x < y);
}

/* The end of the run of those that compare equal to the first. */
static size_t
run_end(struct entrance_at *const *sorted, size_t from, size_t n,
	int (*compare)(const struct entrance_at *x, const struct entrance_at *y))
{
	size_t end = from + 1;

	while (end < n && compare(sorted[from], sorted[end]) == 0)
		end++;
	return end;
}

static const struct entrance_at *
earlier(const struct entrance_at *a, const struct entrance_at *b)
{
	return a == NULL ? b : b == NULL || a < b ? a : b;
}

/* The first entrance before sorted[k] that it clashes with, within the run of its
 * address from `from`; those who share with the run's first share with each other,
 * unless they are one service's, and those follow each other. */
static const struct entrance_at *
clash_in_run(struct entrance_at *const *sorted, size_t from, size_t k)
{
	if (k > from && !shares(sorted[k], sorted[from]))
		return sorted[from];
	return k > from && !shares(sorted[k], sorted[k - 1]) ? sorted[k - 1] : NULL;
}

static void
check_port(const struct draft *d, struct entrance_at *const *sorted, size_t n)
{
	const struct entrance_at *any = NULL, *other = NULL;
	size_t from = 0;

	for (size_t i = 0; i < n && addr_family(&sorted[i]->addr) != AF_UNIX; i++)
		if (addr_is_any(&sorted[i]->addr))
			any = earlier(any, sorted[i]);
		else
			other = earlier(other, sorted[i]);
	for (size_t k = 0; k < n; k++) {
		const struct entrance_at *late = sorted[k], *early, *across;
		const char *hint;

		if (compare_addresses(sorted[from], late) != 0)
			from = k;
		early = clash_in_run(sorted, from, k);
		across = addr_family(&late->addr) == AF_UNIX ? NULL : addr_is_any(&late->addr) ? other : any;
		if (across != NULL && across < late)
			early = earlier(early, across);
		if (early == NULL)
			continue;
		if (config_setting_source_line(late->at) < config_setting_source_line(early->at)) {
			late = early;
			early = sorted[k];
		}
		(void)could_share(late, early, &hint);
		complain_about_two(d, late, early, hint);
	}
}

static void
check_clashes(const struct draft *d, struct entrance_at *const *sorted, size_t n)
{
	for (size_t from = 0, end; from < n; from = end) {
		end = run_end(sorted, from, n, compare_ports);
		check_port(d, sorted + from, end - from);
	}
}

/* -- sharers that do not fit ------------------------------------------------------ */

static bool
same_networks(const struct cidr_set *a, const struct cidr_set *b)
{
	return a->n == b->n && (a->n == 0 || memcmp(a->list, b->list, a->n * sizeof(*a->list)) == 0);
}

static void
differs(const struct draft *d, const struct service_draft *late, const struct service_draft *early,
	const char *key, const char *why)
{
	struct config_line l =
		config_text_line(&d->r->text, config_setting_source_line(draft_at(early, key)));
	struct cursor c = { d->r, late->where, "", NULL };

	cursor_error(&c, draft_at(late, key),
		     "%s: differs from that of %s at %s:%u, with which it shares a listener: %s", key,
		     early->where, l.file, l.line, why);
}

/* What a listener, or a connection before it has said whom it wants, goes by. */
static void
check_alike(const struct draft *d, const struct service_draft *late, const struct service_draft *early)
{
	static const char *const socket = "it belongs to the listener",
				 *const unnamed = "it counts before the name is known";
	const struct service_config *a = &late->s, *b = &early->s;

	if (!same_networks(&a->proxy_protocol.accept_from, &b->proxy_protocol.accept_from))
		differs(d, late, early, "proxy_protocol.accept_from", unnamed);
	if (a->proxy_protocol.header_timeout != b->proxy_protocol.header_timeout)
		differs(d, late, early, "proxy_protocol.header_timeout", unnamed);
	if (a->tls.handshake_timeout != b->tls.handshake_timeout)
		differs(d, late, early, "tls.handshake_timeout", unnamed);
	if (a->tcp.backlog != b->tcp.backlog)
		differs(d, late, early, "tcp.backlog", socket);
	if (a->tcp.freebind != b->tcp.freebind)
		differs(d, late, early, "tcp.freebind", socket);
	if (a->tcp.fastopen != b->tcp.fastopen)
		differs(d, late, early, "tcp.fastopen", socket);
	if (a->tcp.keepalive.on != b->tcp.keepalive.on)
		differs(d, late, early, "tcp.keepalive", socket);
	if (a->tcp.keepalive.idle != b->tcp.keepalive.idle)
		differs(d, late, early, "tcp.keepalive_idle", socket);
	if (a->tcp.keepalive.interval != b->tcp.keepalive.interval)
		differs(d, late, early, "tcp.keepalive_interval", socket);
	if (a->tcp.keepalive.count != b->tcp.keepalive.count)
		differs(d, late, early, "tcp.keepalive_count", socket);
	if (a->tcp.user_timeout != b->tcp.user_timeout)
		differs(d, late, early, "tcp.user_timeout", socket);
	if (a->mode != MODE_HTTP)
		return;
	if (a->http.header_timeout != b->http.header_timeout)
		differs(d, late, early, "header_timeout", unnamed);
	if (a->http.max_header_size != b->http.max_header_size)
		differs(d, late, early, "max_header_size", unnamed);
	if (a->http.max_headers != b->http.max_headers)
		differs(d, late, early, "max_headers", unnamed);
	if (a->http.max_uri != b->http.max_uri)
		differs(d, late, early, "max_uri", unnamed);
	if (a->http.target_utf8 != b->http.target_utf8)
		differs(d, late, early, "target_utf8", unnamed);
}

struct named {
	const char *pattern;	/* "": of the default */
	const char *prefix;	/* of its paths; "": all */
	const struct service_draft *service;
};

static int
compare_named(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int order = strcmp(x->pattern, y->pattern);

	if (order == 0)
		order = strcmp(x->prefix, y->prefix);
	return order != 0 ? order : (x->service > y->service) - (x->service < y->service);
}

/* Where the service says so. */
static const config_setting_t *
pattern_at(const struct service_draft *s, const char *pattern)
{
	const config_setting_t *list = s->s.mode == MODE_HTTP ? s->hosts : s->sni;
	char text[ROUTE_PATTERN];

	if (pattern[0] == '\0')
		return draft_at(s, "default");

	for (size_t i = 0; list != NULL && i < cursor_items(list); i++)
		if (route_pattern(config_setting_get_string(cursor_item(list, i)), text) == NULL &&
		    strcmp(text, pattern) == 0)
			return cursor_item(list, i);
	return draft_at(s, "sni_map");
}

/* A request by one path must not get past the certificate that another one asks for. */
static bool
ask_alike(const struct tls_config *a, const struct tls_config *b)
{
	return (a->client_ca == NULL) == (b->client_ca == NULL) &&
	       (a->client_ca == NULL || (strcmp(a->client_ca, b->client_ca) == 0 && a->client_verify == b->client_verify));
}

static void
check_pattern(const struct draft *d, const struct named *late, const struct named *early)
{
	const config_setting_t *there = pattern_at(early->service, early->pattern);
	struct config_line l = config_text_line(&d->r->text, config_setting_source_line(there));
	struct cursor c = { d->r, late->service->where, "", NULL };
	bool path = late->prefix[0] != '\0';

	if (strcmp(late->pattern, early->pattern) != 0 || late->service == early->service)
		return;
	if (late->service->s.listen_tls && !ask_alike(&late->service->s.tls, &early->service->s.tls))
		differs(d, late->service, early->service, "tls.client_ca", "both are reached by one name");
	if (strcmp(late->prefix, early->prefix) != 0)
		return;
	if (late->pattern[0] == '\0')
		cursor_error(&c, draft_at(late->service, "default"),
			     "default: so is %s at %s:%u, with which it shares a listener%s%s", early->service->where, l.file,
			     l.line, path ? ", for the path " : "", late->prefix);
	else
		cursor_error(&c, pattern_at(late->service, late->pattern),
			     "%s: \"%s\"%s%s is also that of %s at %s:%u, with which it shares a listener",
			     late->service->s.mode == MODE_HTTP ? "hosts" : "sni", late->pattern, path ? " with the path " : "",
			     late->prefix, early->service->where, l.file, l.line);
}

/* A client of HTTP has its place for one request; the next may be another's. */
static void
check_wait(const struct draft *d, const struct service_draft *s)
{
	struct cursor c = { d->r, s->where, "", NULL };

	if (s->s.mode == MODE_HTTP && config_setting_get_member(s->at, "queue_timeout") != NULL &&
	    s->s.limits.queue_timeout > 0)
		cursor_warn(
			&c, config_setting_get_member(s->at, "queue_timeout"),
			"queue_timeout changes nothing on listeners that are shared: no client waits for a place there");
}

static size_t
add_named(struct named *names, size_t n, const struct service_draft *s)
{
	for (size_t p = 0; p < (s->s.n_paths > 0 ? s->s.n_paths : 1); p++) {
		const char *prefix = s->s.n_paths > 0 ? s->s.paths[p] : "";

		for (size_t k = 0; k < s->s.n_names; k++)
			names[n++] = (struct named){ s->s.names[k], prefix, s };
		if (s->s.is_default)
			names[n++] = (struct named){ "", prefix, s };
	}
	return n;
}

/* All of whom share the first one's listener. */
static void
check_sharers(const struct draft *d, const struct service_draft **list, size_t n)
{
	struct named *names;
	size_t total = 0;

	for (size_t i = 0; i < n; i++) {
		total += (list[i]->s.n_names + 1) * (list[i]->s.n_paths + 1);
		check_wait(d, list[i]);
		if (i > 0)
			check_alike(d, list[i], list[0]);
	}
	names = must_array(total + 1, sizeof(*names));
	total = 0;
	for (size_t i = 0; i < n; i++)
		total = add_named(names, total, list[i]);
	qsort(names, total, sizeof(*names), compare_named);
	for (size_t i = 1; i < total; i++)
		check_pattern(d, &names[i], &names[i - 1]);
	free(names);
}

static void
check_shared(const struct draft *d, struct entrance_at *const *sorted, size_t n)
{
	const struct service_draft **list = must_array(n + 1, sizeof(*list));

	for (size_t from = 0, end; from < n; from = end) {
		size_t sharers = 0;

		end = run_end(sorted, from, n, compare_addresses);
		for (size_t k = from; k < end; k++)
			if (k == from || shares(sorted[from], sorted[k]))
				list[sharers++] = sorted[k]->service;
		if (sharers > 1)
			check_sharers(d, list, sharers);
	}
	free(list);
}

static void
add_entrances(struct entrances *e, const struct service_draft *s, const struct addr *list, size_t n,
	      const config_setting_t *at, const char *key)
{
	struct entrance_at new = { .service = s, .key = key, .preview = strcmp(key, "preview") == 0 };

	new.tls = s->s.listen_tls && strcmp(key, "plain_listen") != 0;
	new.udp = s->s.mode == MODE_UDP;
	for (size_t i = 0; i < n; i++) {
		new.addr = list[i];
		new.at = cursor_item(at, i);
		add_entrance(e, &new);
	}
}

void
draft_check_listeners(const struct draft *d)
{
	const config_setting_t *observe =
		config_setting_lookup((config_setting_t *)(uintptr_t)d->root, "observe.listen");
	const config_setting_t *admin =
		config_setting_lookup((config_setting_t *)(uintptr_t)d->root, "admin.socket");
	struct entrance_at other = { .addr = d->c.observe.listen, .at = observe, .key = "observe.listen" };
	struct entrances e = { 0 };
	struct entrance_at **sorted;
	struct why why;
	char *text;

	if (d->c.observe.on && observe != NULL)
		add_entrance(&e, &other);
	text = must_printf("unix:%s", d->c.admin.socket);
	other.at = admin != NULL ? admin : d->root;
	other.key = "admin.socket";
	if (addr_parse(text, 0, &other.addr, &why) == OK)
		add_entrance(&e, &other);
	free(text);
	other.key = "admin.listen";
	for (size_t i = 0; i < d->c.admin.net.n_listen; i++) {
		other.addr = d->c.admin.net.listen[i];
		other.at = cursor_item(config_setting_lookup((config_setting_t *)(uintptr_t)d->root, "admin.listen"), i);
		add_entrance(&e, &other);
	}
	for (size_t i = 0; i < d->n_services; i++) {
		const struct service_draft *s = &d->services[i];

		add_entrances(&e, s, s->s.listen, s->s.n_listen, s->listen, "listen");
		add_entrances(&e, s, s->s.plain_listen, s->s.n_plain_listen, s->plain_listen, "plain_listen");
		add_entrances(&e, s, s->s.preview, s->s.n_preview, s->preview, "preview");
	}
	sorted = must_array(e.n + 1, sizeof(*sorted));
	for (size_t i = 0; i < e.n; i++)
		sorted[i] = &e.list[i];
	qsort(sorted, e.n, sizeof(*sorted), compare_entrances);
	check_clashes(d, sorted, e.n);
	check_shared(d, sorted, e.n);
	free(sorted);
	free(e.list);
}
