/* config_color.c - green and blue: nodes, ports and backends become addresses,
 * or names that are looked up later.
 * Start-up thread only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/backend.h"
#include "model/config_draft.h"
#include "model/node.h"

#define PORT_MAX 65535
#define HOST_MAX 253

const struct key backend_keys[] = {
	{ KEY("address", key_text) },
	{ KEY("weight", key_count), .max = BACKEND_WEIGHT_MAX },
	{ KEY("health_port", key_count), .min = 1, .max = PORT_MAX },
	{ KEY("health_address", key_health_address) },
	{ KEY("backup", key_bool) },
	{ 0 },
};

static const struct key color_keys[] = {
	{ KEY("port", key_count), .offset = offsetof(struct color_draft, port), .min = 1, .max = PORT_MAX },
	{ KEY("health_port", key_count), .offset = offsetof(struct color_draft, health_port), .min = 1, .max = PORT_MAX },
	{ KEY("backends", key_backends), .offset = offsetof(struct color_draft, backends), .keys = backend_keys },
	{ 0 },
};

void
key_color(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct color_draft *color = (void *)((char *)c->base + k->offset);
	struct key group = { KEY(k->name, key_group), .keys = color_keys };
	struct cursor in = *c;

	color->at = s;
	/* What the service says itself replaces what the defaults said. */
	if (config_setting_type(s) == CONFIG_TYPE_GROUP && config_setting_get_member(s, "port") != NULL)
		color->backends = NULL;
	if (config_setting_type(s) == CONFIG_TYPE_GROUP && config_setting_get_member(s, "backends") != NULL)
		color->port = 0;
	in.base = color;
	key_group(&in, &group, s);
}

/* An address, for no name is looked up to check what has an address; a port is a key of its own. */
void
key_health_address(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	const char *text = config_setting_type(s) == CONFIG_TYPE_STRING ? config_setting_get_string(s) : "";
	struct addr a;

	if (!addr_parse_ip(text, 0, &a))
		cursor_key_error(c, s, "expected an IP address without port, such as \"10.0.0.1\", found %s",
				 cursor_found(s).s);
	else if (c->base != NULL)
		memcpy((char *)c->base + k->offset, &a, sizeof(a));
}

/* "host:port" into its parts; NULL, or what is wrong with it. */
static const char *
split_backend(const char *text, char host[HOST_MAX + 1], unsigned *port)
{
	const char *colon = strrchr(text, ':');
	struct addr addr;
	uint64_t number;
	struct str h;

	if (strncmp(text, "unix:", 5) == 0)
		return "a backend is an address and a port, not a Unix socket";
	if (addr_parse_ip(text, 0, &addr) || colon == NULL)
		return "no port; write ADDRESS:PORT, [IPV6]:PORT or NAME:PORT";
	if (!str_to_u64(str_from(colon + 1), PORT_MAX, &number) || number == 0)
		return "the port must be a number from 1 to 65535";
	h = (struct str){ text, (size_t)(colon - text) };
	if (!str_copy(host, HOST_MAX + 1, h))
		return "the name is too long";
	*port = (unsigned)number;
	if (addr_parse_ip(host, 0, &addr))
		return strchr(host, ':') == NULL || host[0] == '[' ?
			       NULL :
			       "write an IPv6 address in brackets: [ADDRESS]:PORT";
	return node_is_host(host) ? NULL : "neither an address nor a name before the port";
}

/* The text of a backend that is a text or a group. */
static const char *
backend_text(const config_setting_t *item)
{
	const config_setting_t *address = item;

	if (config_setting_type(item) == CONFIG_TYPE_GROUP)
		address = config_setting_get_member(item, "address");
	return address != NULL && config_setting_type(address) == CONFIG_TYPE_STRING ?
		       config_setting_get_string(address) :
		       NULL;
}

/* 1 unless it says something else.  What is no weight was complained about
 * when it was read. */
static unsigned
configured_weight(const config_setting_t *item)
{
	const config_setting_t *weight = NULL;

	if (config_setting_type(item) == CONFIG_TYPE_GROUP)
		weight = config_setting_get_member(item, "weight");
	if (weight == NULL || config_setting_type(weight) != CONFIG_TYPE_INT ||
	    config_setting_get_int(weight) < 0)
		return 1;
	return (unsigned)config_setting_get_int(weight);
}

/* What a group says of where it is checked, and of its part; what is wrong was complained about when it was read. */
static void
read_terms(const config_setting_t *item, struct backend_config *b)
{
	const config_setting_t *port, *at, *backup;

	if (config_setting_type(item) != CONFIG_TYPE_GROUP)
		return;
	port = config_setting_get_member(item, "health_port");
	at = config_setting_get_member(item, "health_address");
	backup = config_setting_get_member(item, "backup");
	if (port != NULL && config_setting_type(port) == CONFIG_TYPE_INT && config_setting_get_int(port) > 0)
		b->health_port = (unsigned)config_setting_get_int(port);
	if (at != NULL && config_setting_type(at) == CONFIG_TYPE_STRING &&
	    !addr_parse_ip(config_setting_get_string(at), 0, &b->health_at))
		b->health_at = (struct addr){ 0 };
	b->backup = backup != NULL && config_setting_type(backup) == CONFIG_TYPE_BOOL && config_setting_get_bool(backup);
}

void
key_backends(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct cursor in = *c;
	int type = config_setting_type(s);
	struct shown prefix;

	memcpy((char *)c->base + k->offset, &s, sizeof(s));
	if (type != CONFIG_TYPE_ARRAY && type != CONFIG_TYPE_LIST && type != CONFIG_TYPE_STRING) {
		cursor_key_error(c, s, "expected a list such as [\"10.0.0.1:80\"], found %s",
				 cursor_found(s).s);
		return;
	}
	if (cursor_items(s) == 0)
		cursor_key_error(c, s, "the list is empty; at least one backend is needed");
	snprintf(prefix.s, sizeof(prefix.s), "%.80sbackends.", c->prefix);
	in.prefix = prefix.s;
	in.base = NULL;
	for (size_t i = 0; i < cursor_items(s); i++) {
		const config_setting_t *item = cursor_item(s, i);
		const char *text = backend_text(item), *wrong;
		char host[HOST_MAX + 1];
		unsigned port;

		if (config_setting_type(item) == CONFIG_TYPE_GROUP) {
			cursor_read(&in, item, k->keys);
			if (config_setting_get_member(item, "address") == NULL)
				cursor_key_error(c, item, "a backend needs an address");
		} else if (text == NULL) {
			cursor_key_error(c, item, "expected \"ADDRESS:PORT\", found %s",
					 cursor_found(item).s);
		}
		if (text != NULL && (wrong = split_backend(text, host, &port)) != NULL)
			cursor_key_error(c, item, "\"%s\": %s", show(text).s, wrong);
	}
}

/* A host of a pool or of nodes: no port. */
static bool
check_host(const struct cursor *c, const config_setting_t *item)
{
	const char *text = config_setting_get_string(item);

	if (node_is_host(text))
		return true;
	if (strchr(text, ':') != NULL)
		cursor_key_error(c, item, "\"%s\" must not carry a port; each color adds its own",
				 show(text).s);
	else
		cursor_key_error(c, item, "\"%s\" is neither an address nor the name of a host",
				 show(text).s);
	return false;
}

/* Does the i-th text stand in the list before? */
static bool
is_repeated(const config_setting_t *s, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (strcmp(config_setting_get_string(cursor_item(s, j)),
			   config_setting_get_string(cursor_item(s, i))) == 0)
			return true;
	return false;
}

/* A list of hosts, each once. */
static void
check_hosts(const struct cursor *c, const config_setting_t *s)
{
	if (!cursor_texts(c, s, "a host"))
		return;
	if (cursor_items(s) == 0)
		cursor_key_error(c, s, "the list is empty");
	for (size_t i = 0; i < cursor_items(s); i++) {
		const config_setting_t *item = cursor_item(s, i);

		if (check_host(c, item) && is_repeated(s, i))
			cursor_key_error(c, item, "\"%s\" is listed twice",
					 show(config_setting_get_string(item)).s);
	}
}

void
key_nodes(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	const config_setting_t **nodes = (void *)((char *)c->base + k->offset);

	*nodes = s;
	if (config_setting_type(s) == CONFIG_TYPE_STRING)
		return;	/* the name of a pool: looked up when all is read */
	if (config_setting_type(s) != CONFIG_TYPE_ARRAY && config_setting_type(s) != CONFIG_TYPE_LIST)
		cursor_key_error(c, s, "expected the name of a node pool or a list of hosts, found %s",
				 cursor_found(s).s);
	else
		check_hosts(c, s);
}

/* A pool is a list of hosts, or a group that has one, or says who tells of them. */
struct pool_draft {
	struct pool_config *pool;
	const config_setting_t *nodes, *kube;	/* or NULL */
};

static void
key_pool_nodes(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	(void)k;
	check_hosts(c, s);
}

static void
key_pool_kube(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct pool_draft *d = c->base;
	struct cursor in = *c;

	d->pool->kube = must_alloc(sizeof(*d->pool->kube));
	kube_config_default(d->pool->kube);
	in.base = d->pool->kube;
	key_group(&in, k, s);
	in.prefix = "kubernetes.";
	if (config_setting_type(s) == CONFIG_TYPE_GROUP)
		draft_check_kube(&in, s, d->pool->kube);
}

/* For services, which read it again each; complained about here, once. */
static void
key_pool_health(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct service_draft service = { .at = s->parent };
	struct cursor in = { c->r, c->where, "", &service };

	draft_service_defaults(&service);
	key_group(&in, k, s);
	if (config_setting_type(s) == CONFIG_TYPE_GROUP)
		draft_check_health_keys(&in, &service);
	service_config_clear(&service.s);
}

static const struct key pool_keys[] = {
	{ KEY("nodes", key_pool_nodes) },
	{ KEY("kubernetes", key_pool_kube), .keys = kube_keys },
	{ KEY("health", key_pool_health), .keys = health_keys },
	{ 0 },
};

/* The hosts of a pool; NULL: it lists none. */
static const config_setting_t *
pool_hosts(const config_setting_t *pool)
{
	return config_setting_type(pool) == CONFIG_TYPE_GROUP ? config_setting_get_member(pool, "nodes") : pool;
}

static void
read_pool_group(const struct cursor *c, const config_setting_t *s, struct pool_config *p)
{
	char *where = must_printf("node_pools.%s", p->name);
	struct pool_draft d = { .pool = p };
	struct cursor in = { c->r, where, "", &d };
	const config_setting_t *nodes, *kube;

	cursor_read(&in, s, pool_keys);
	nodes = config_setting_get_member(s, "nodes");
	kube = config_setting_get_member(s, "kubernetes");
	if (nodes == NULL && kube == NULL)
		cursor_error(&in, s, "has no nodes; add nodes = [\"10.0.0.11\"]; or kubernetes: { server = \"https://HOST:6443\"; }");
	if (nodes != NULL && kube != NULL)
		cursor_error(&in, kube, "has both nodes and kubernetes; keep one: tealctl node add brings one that the cluster does not have");
	if (kube != NULL && strlen(p->name) >= KUBE_POOL_NAME)
		cursor_error(&in, s, "the name is too long: a pool that is watched has one of at most %d bytes", KUBE_POOL_NAME - 1);
	free(where);
}

void
draft_read_pools(struct draft *d)
{
	struct cursor c = { d->r, NULL, "node_pools.", NULL };
	unsigned n;

	if (d->pools == NULL)
		return;
	if (config_setting_type(d->pools) != CONFIG_TYPE_GROUP) {
		cursor_error(&c, d->pools, "node_pools: expected a group { }, found %s",
			     cursor_found(d->pools).s);
		return;
	}
	n = (unsigned)config_setting_length(d->pools);
	d->c.pools = must_array(n, sizeof(*d->c.pools));
	for (unsigned i = 0; i < n; i++) {
		const config_setting_t *s = config_setting_get_elem(d->pools, i);
		struct pool_config *p = &d->c.pools[d->c.n_pools++];

		p->name = must_strdup(config_setting_name(s));
		if (config_setting_type(s) == CONFIG_TYPE_GROUP)
			read_pool_group(&c, s, p);
		else
			check_hosts(&c, s);
	}
}

const config_setting_t *
draft_checking_pool(const struct draft *d, const config_setting_t *service)
{
	const config_setting_t *nodes = config_setting_get_member(service, "nodes"), *pool, *health;

	if (nodes == NULL && d->defaults != NULL)
		nodes = config_setting_get_member(d->defaults, "nodes");
	if (nodes == NULL || config_setting_type(nodes) != CONFIG_TYPE_STRING || d->pools == NULL ||
	    config_setting_type(d->pools) != CONFIG_TYPE_GROUP)
		return NULL;
	pool = config_setting_get_member(d->pools, config_setting_get_string(nodes));
	if (pool == NULL || config_setting_type(pool) != CONFIG_TYPE_GROUP)
		return NULL;
	health = config_setting_get_member(pool, "health");
	return health != NULL && config_setting_type(health) == CONFIG_TYPE_GROUP ? pool : NULL;
}

void
draft_take_pools(struct draft *d)
{
	for (size_t i = 0; i < d->c.n_pools; i++) {
		const config_setting_t *s = pool_hosts(config_setting_get_elem(d->pools, (unsigned)i));
		struct pool_config *p = &d->c.pools[i];
		size_t n = s != NULL ? cursor_items(s) : 0;

		p->hosts = must_array(n, sizeof(*p->hosts));
		for (; p->n_hosts < n; p->n_hosts++)
			p->hosts[p->n_hosts] = must_strdup(config_setting_get_string(cursor_item(s, p->n_hosts)));
	}
}

void
pools_free(struct config *c)
{
	for (size_t i = 0; i < c->n_pools; i++) {
		for (size_t k = 0; k < c->pools[i].n_hosts; k++)
			free(c->pools[i].hosts[k]);
		free(c->pools[i].hosts);
		free(c->pools[i].name);
		kube_config_free(&c->pools[i].kube);
	}
	free(c->pools);
	c->pools = NULL;
	c->n_pools = 0;
}

char *
backend_config_text(const struct backend_config *b, char text[ADDR_TEXT])
{
	if (b->address.len > 0)
		return addr_format(&b->address, text);
	snprintf(text, ADDR_TEXT, "%.100s:%u", b->host, b->port);
	return text;
}

bool
backend_config_same(const struct backend_config *a, const struct backend_config *b)
{
	if (a->port != b->port)
		return false;
	/* Of thousands each is compared with each. */
	if (a->address.len > 0 && b->address.len > 0)
		return addr_equal(&a->address, &b->address);
	return node_same_host(a->host, b->host);
}

/* Adds host:port to the color, or complains at the setting it comes from, which may say more of it. */
static void
add_color_backend(const struct cursor *c, const config_setting_t *at, struct color_config *color,
		  const char *host, unsigned port, unsigned weight)
{
	struct backend_config b = { .host = must_strdup(host),
				    .port = port,
				    .health_port = color->health_port,
				    .health_at = color->health_at,
				    .weight = weight };
	unsigned check_port;
	char text[ADDR_TEXT];

	read_terms(at, &b);
	check_port = b.health_port != 0 ? b.health_port : port;
	if (b.health_at.len > 0)
		addr_set_port(&b.health_at, check_port);
	/* Else it is a name, for later. */
	if (!addr_parse_ip(host, port, &b.address) || !addr_parse_ip(host, check_port, &b.health_address))
		b.address = b.health_address = (struct addr){ 0 };
	else if (b.health_at.len > 0)
		b.health_address = b.health_at;
	/* Or one that is this service, or another's listener, would not be known as that. */
	addr_unmap(&b.address);
	addr_unmap(&b.health_address);
	for (size_t i = 0; i < color->n_backends; i++) {
		if (!backend_config_same(&color->backends[i], &b))
			continue;
		cursor_error(c, at, "%sbackend %s is listed twice", c->prefix, backend_config_text(&b, text));
		free(b.host);
		return;
	}
	color->backends[color->n_backends++] = b;
}

/* What is behind nodes: a pool, or the list itself; NULL after a complaint. */
static const config_setting_t *
find_nodes(const struct draft *d, const struct cursor *c, const config_setting_t *nodes)
{
	const char *name, *names[64];
	const config_setting_t *pool;
	size_t n = 0;

	if (config_setting_type(nodes) != CONFIG_TYPE_STRING)
		return nodes;
	name = config_setting_get_string(nodes);
	if (d->pools != NULL && config_setting_type(d->pools) != CONFIG_TYPE_GROUP)
		return NULL;
	if (d->pools != NULL && (pool = config_setting_get_member(d->pools, name)) != NULL)
		return pool;
	for (size_t i = 0;
	     d->pools != NULL && i < (size_t)config_setting_length(d->pools) && n < ARRAY_LEN(names); i++)
		names[n++] = config_setting_name(config_setting_get_elem(d->pools, (unsigned)i));
	cursor_error(c, nodes, "nodes: there is no node pool \"%s\"%s", show(name).s,
		     cursor_guess(name, names, n).s);
	return NULL;
}

static void
resolve_listed(const struct cursor *c, const struct color_draft *from, struct color_config *to)
{
	const config_setting_t *list = from->backends;

	to->backends = must_array(cursor_items(list) + 1, sizeof(*to->backends));
	for (size_t i = 0; i < cursor_items(list); i++) {
		const config_setting_t *item = cursor_item(list, i);
		const char *text = backend_text(item);
		char host[HOST_MAX + 1];
		unsigned port;

		/* What is malformed was complained about when it was read. */
		if (text != NULL && split_backend(text, host, &port) == NULL)
			add_color_backend(c, item, to, host, port, configured_weight(item));
	}
}

static void
resolve_nodes(const struct cursor *c, const config_setting_t *hosts, const struct color_draft *from,
	      struct color_config *to)
{
	size_t n = hosts != NULL ? cursor_items(hosts) : 0;

	to->port = from->port;
	to->backends = must_array(n + 1, sizeof(*to->backends));
	/* What is malformed was complained about when it was read. */
	for (size_t i = 0; i < n; i++)
		if (config_setting_type(cursor_item(hosts, i)) != CONFIG_TYPE_STRING)
			return;
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *item = cursor_item(hosts, i);
		const char *host = config_setting_get_string(item);

		if (node_is_host(host) && !is_repeated(hosts, i))
			add_color_backend(c, item, to, host, from->port, 1);
	}
}

static bool
has_any(const config_setting_t *group, const char *a, const char *b)
{
	return group != NULL &&
	       (config_setting_get_member(group, a) != NULL || config_setting_get_member(group, b) != NULL);
}

/* Whatever the request: none would reach a backend. */
static bool
is_answered_by_teald(const struct service_config *s)
{
	return s->mode == MODE_HTTP && (s->http.reply.redirect != NULL || s->http.reply.maintenance);
}

/* What the service says itself counts before what the defaults say. */
void
draft_settle_colors(struct service_draft *s)
{
	const config_setting_t *by =
		has_any(s->at, "green", "blue") || has_any(s->at, "port", "backends") ? s->at : s->defaults;

	s->s.colorless = has_any(by, "port", "backends") && !has_any(by, "green", "blue");
	if (!s->s.colorless && !has_any(by, "green", "blue") && s->nodes == NULL && is_answered_by_teald(&s->s))
		s->s.colorless = s->s.backendless = true;
	if (!s->s.colorless)
		return;
	if (by == s->at && config_setting_get_member(by, "port") == NULL)
		s->own.port = 0;
	if (by == s->at && config_setting_get_member(by, "backends") == NULL)
		s->own.backends = NULL;
	s->own.at = by;
	s->colors[GREEN] = s->own;
	s->colors[BLUE] = (struct color_draft){ 0 };
	/* Of the defaults, for others. */
	s->s.initial = GREEN;
	s->preview = NULL;
	s->s.n_preview = 0;
	s->s.http.color_header = false;
	free(s->s.http.preview_header);
	s->s.http.preview_header = NULL;
}

void
draft_check_colors(const struct cursor *c, const struct service_draft *s)
{
	for (const struct key *k = service_keys; k->name != NULL; k++) {
		const config_setting_t *own;

		if (!(s->s.colorless ? k->colored : k->colorless) ||
		    (own = config_setting_get_member(s->at, k->name)) == NULL)
			continue;
		if (s->s.colorless)
			cursor_error(c, own,
				     "%s: only a service with the colors green and blue has this; this one has its backends "
				     "without colors; remove it",
				     k->name);
		else
			cursor_error(c, own,
				     "%s: a service with the colors green and blue has this in each color; move it there, or "
				     "remove both colors",
				     k->name);
	}
}

/* Of a color, or of a service without: word is then "the service". */
static void
resolve_color(const struct cursor *c, struct service_draft *s, const config_setting_t *hosts, enum color color)
{
	const struct color_draft *from = &s->colors[color];
	const char *word = s->s.colorless ? "the service" : color_word(color);

	s->s.colors[color].health_port = from->health_port != 0 ? from->health_port : s->s.health.port;
	s->s.colors[color].health_at = s->s.health.address;
	if (from->backends != NULL && from->port != 0)
		cursor_error(c, from->at, "%s has both port and backends; keep one", word);
	else if (from->backends != NULL)
		resolve_listed(c, from, &s->s.colors[color]);
	else if (config_setting_get_member(from->at, "port") == NULL && from->port == 0)
		cursor_error(c, from->at, "%s needs port (with nodes) or backends", word);
	else if (s->nodes == NULL)
		cursor_error(c, from->at, "%s has a port but %s no nodes; add nodes or list backends", word,
			     s->s.colorless ? "has" : "the service has");
	else if (hosts != NULL && from->port != 0)
		resolve_nodes(c, s->s.pool != NULL ? pool_hosts(hosts) : hosts, from, &s->s.colors[color]);
}

static void
complain_of_missing(const struct cursor *c, const struct service_draft *s, const char *word)
{
	if (s->colors[GREEN].at != NULL || s->colors[BLUE].at != NULL)
		cursor_error(c, s->at, "%s is missing; add %s: { port = ...; } or %s: { backends = [...]; }", word,
			     word, word);
	else if (strcmp(word, "green") == 0)
		cursor_error(c, s->at,
			     "no backends; add backends = [\"10.0.0.11:80\"], or nodes and port; or, to flip between two "
			     "versions, green: { } and blue: { } with backends or a port each%s",
			     s->s.mode == MODE_HTTP ? "; only with redirect or maintenance = true a service needs none" : "");
}

void
draft_resolve_colors(struct draft *d, struct service_draft *s)
{
	struct cursor c = { d->r, s->where, "", s };
	const config_setting_t *hosts = s->nodes != NULL ? find_nodes(d, &c, s->nodes) : NULL;

	if (hosts != NULL && hosts != s->nodes)
		s->s.pool = must_strdup(config_setting_name(hosts));
	if (s->s.backendless)
		return;
	if (s->s.colorless) {
		resolve_color(&c, s, hosts, GREEN);
		return;
	}
	for (enum color color = GREEN; color <= BLUE; color++) {
		const char *word = color_word(color);
		struct shown prefix;

		snprintf(prefix.s, sizeof(prefix.s), "%s: ", word);
		c.prefix = prefix.s;
		if (s->colors[color].at == NULL)
			complain_of_missing(&c, s, word);
		else if (config_setting_type(s->colors[color].at) == CONFIG_TYPE_GROUP)
			resolve_color(&c, s, hosts, color);
		/* Else it was complained about when it was read. */
	}
}
