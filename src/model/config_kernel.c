/* config_kernel.c - what services of engine "kernel" have, and what that engine
 * cannot do: it passes packets on and terminates nothing.  Start-up thread only. */
#include <stdlib.h>
#include <string.h>

#include "model/config_draft.h"

#define AT(member) .offset = offsetof(struct draft, c.kernel.member)
#define TABLE_MAX 32

static const char *const on_stop_words[] = { "keep", "remove", NULL };
static const char *const shortcut_words[] = { "off", "auto", "on", NULL };

static void
key_table(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	const char *name = config_setting_type(s) == CONFIG_TYPE_STRING ? config_setting_get_string(s) : "";
	size_t n = strspn(name, "-0123456789_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

	if (n < 1 || n > TABLE_MAX || name[n] != '\0' || name[0] < 'A' || name[0] == '_')
		cursor_key_error(
			c, s,
			"expected a letter and then up to %d of A-Z a-z 0-9 _ - such as \"main\", found %s",
			TABLE_MAX - 1, cursor_found(s).s);
	else
		key_text(c, k, s);
}

static void
read_source(const struct cursor *c, const config_setting_t *item, struct draft *d)
{
	struct addr *list = d->c.kernel.source_addresses, a;
	size_t n = d->c.kernel.n_source_addresses;

	if (!addr_parse_ip(config_setting_get_string(item), 0, &a)) {
		cursor_key_error(c, item, "\"%s\" is not an IP address (without port)", show(config_setting_get_string(item)).s);
		return;
	}
	addr_unmap(&a);
	if (addr_is_any(&a)) {
		cursor_key_error(c, item, "%s stands for all addresses; name one of this host's", show(config_setting_get_string(item)).s);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (addr_equal(&list[i], &a)) {
			cursor_key_error(c, item, "%s is there twice", show(config_setting_get_string(item)).s);
			return;
		}
	list[d->c.kernel.n_source_addresses++] = a;
}

static void
key_source_addresses(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct draft *d = c->base;

	(void)k;
	free(d->c.kernel.source_addresses);
	d->c.kernel.source_addresses = NULL;
	d->c.kernel.n_source_addresses = 0;
	if (!cursor_texts(c, s, "an address of this host"))
		return;
	if (cursor_items(s) > KERNEL_SOURCES_MAX) {
		cursor_key_error(c, s, "%zu addresses; %d at most", cursor_items(s), KERNEL_SOURCES_MAX);
		return;
	}
	d->c.kernel.source_addresses = must_array(cursor_items(s) + 1, sizeof(struct addr));
	for (size_t i = 0; i < cursor_items(s); i++)
		read_source(c, cursor_item(s, i), d);
}

const struct key kernel_keys[] = {
	{ KEY("table", key_table), AT(table) },
	{ KEY("on_stop", key_word), AT(on_stop), .words = on_stop_words },
	{ KEY("tag", key_count), AT(tag), .max = 255 },
	{ KEY("shortcut", key_word), AT(shortcut), .words = shortcut_words },
	{ KEY("source_addresses", key_source_addresses) },
	{ 0 },
};

/* Off is what the engine does anyway. */
static bool
setting_is_off(const config_setting_t *s)
{
	switch (config_setting_type(s)) {
	case CONFIG_TYPE_INT:
		return config_setting_get_int(s) == 0;
	case CONFIG_TYPE_INT64:
		return config_setting_get_int64(s) == 0;
	case CONFIG_TYPE_FLOAT:
		return config_setting_get_float(s) == 0;
	case CONFIG_TYPE_BOOL:
		return !config_setting_get_bool(s);
	}
	return false;
}

/* Keys of the other engine.  Of the defaults only those matter whose loss
 * changes who gets in, or what is said to whom. */
static void
check_engines(const struct cursor *c, const struct service_draft *s)
{
	for (const struct key *k = service_keys; k->name != NULL; k++) {
		const config_setting_t *own, *at;

		if (k->engines == 0 || (k->engines & 1u << s->s.engine))
			continue;
		own = at = config_setting_get_member(s->at, k->name);
		if (s->s.engine == ENGINE_PROXY) {
			if (own != NULL)
				cursor_error(c, own,
					     "%s: belongs to engine = \"kernel\"; set that, or remove it",
					     k->name);
			continue;
		}
		if (at == NULL && k->firm && s->defaults != NULL)
			at = config_setting_get_member(s->defaults, k->name);
		/* A key of another mode is complained about as that. */
		if (at == NULL || setting_is_off(at) || (k->modes != 0 && !(k->modes & 1u << s->s.mode)))
			continue;
		if (own != NULL)
			cursor_error(
				c, own,
				"%s: engine = \"kernel\" cannot do this: it passes packets on and terminates "
				"no connection; remove it, or set engine = \"proxy\"",
				k->name);
		else
			cursor_error(
				c, at,
				"%s: engine = \"kernel\" of %s cannot do this, and leaving it out there would "
				"change what it means; set it in the services that are proxied, or switch it off in this one",
				k->name, s->where);
	}
}

static void
check_addresses(const struct cursor *c, const struct addr *list, size_t n, const config_setting_t *at,
		const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (addr_family(&list[i]) == AF_UNIX)
			cursor_error(
				c, cursor_item(at, i),
				"%s: engine = \"kernel\" has no Unix sockets: it passes packets on; give an address and "
				"a port, or set engine = \"proxy\"",
				key);
}

/* Packets stay of the family they came in. */
static void
check_families(const struct cursor *c, const struct service_draft *s, const struct addr *list, size_t n,
	       const config_setting_t *at, const char *key)
{
	char text[ADDR_TEXT];

	for (size_t i = 0; i < n; i++)
		for (enum color color = GREEN; color <= BLUE; color++) {
			const struct color_config *cc = &s->s.colors[color];
			bool reachable = cc->n_backends == 0 || addr_family(&list[i]) == AF_UNIX;

			for (size_t k = 0; k < cc->n_backends && !reachable; k++)
				reachable = cc->backends[k].address.len == 0 ||
					    addr_family(&cc->backends[k].address) == addr_family(&list[i]);
			if (!reachable)
				cursor_error(
					c, cursor_item(at, i),
					"%s: %s cannot be forwarded to %s, which has no %s backend: engine = \"kernel\" "
					"translates addresses, not families",
					key, addr_format(&list[i], text), s->s.colorless ? "the service" : color_word(color),
					addr_family(&list[i]) == AF_INET6 ? "IPv6" : "IPv4");
		}
}

static void
check_what_it_cannot(const struct cursor *c, const struct service_draft *s)
{
	if (s->s.mode == MODE_HTTP) {
		cursor_error(
			c, draft_at(s, "engine"),
			"engine: \"kernel\" cannot do mode = \"http\": it passes packets on and reads no requests; set "
			"mode = \"tcp\", or engine = \"proxy\"");
		return;
	}
	if (s->s.balance == BALANCE_LEAST_CONN || s->s.balance == BALANCE_P2C)
		cursor_error(
			c, draft_at(s, "balance"),
			"balance: engine = \"kernel\" cannot do \"%s\": the kernel has no count of each backend's "
			"connections when it chooses; set \"round_robin\" or \"source_hash\"",
			balance_word(s->s.balance));
	if (s->s.local_clients && s->s.flow_source == SOURCE_TRANSPARENT)
		cursor_error(
			c, draft_at(s, "local_clients"),
			"local_clients: cannot be with source = \"transparent\": answers to this host's own address "
			"would not come back through it");
	check_addresses(c, s->s.listen, s->s.n_listen, s->listen, "listen");
	check_addresses(c, s->s.preview, s->s.n_preview, s->preview, "preview");
	check_families(c, s, s->s.listen, s->s.n_listen, s->listen, "listen");
	check_families(c, s, s->s.preview, s->s.n_preview, s->preview, "preview");
}

void
draft_check_engine(const struct cursor *c, const struct service_draft *s)
{
	check_engines(c, s);
	if (s->s.engine == ENGINE_KERNEL)
		check_what_it_cannot(c, s);
	else
		draft_check_udp(c, s);
}

/* What the other engine's built-in values say is not so here. */
void
draft_settle_engine(struct service_config *s)
{
	if (s->engine != ENGINE_KERNEL)
		return;
	s->max_connections = s->backend_max_connections = 0;
	s->retries = 0;
	s->retry_pause = 0;
	s->connect_timeout = s->idle_timeout = s->client_timeout = s->server_timeout = 0;
	s->limits.queue_timeout = 0;
	s->passive.failures = 0;
	s->source_address.len = 0;
	s->listen_tls = s->backend_tls.on = false;
	s->proxy_protocol.send = SEND_NONE;
}

void
draft_check_kernel(struct draft *d)
{
	struct cursor c = { d->r, NULL, "", NULL };
	const config_setting_t *own = config_setting_get_member(d->root, "kernel");

	size_t n = 0;

	for (size_t i = 0; i < d->n_services; i++)
		n += d->services[i].s.engine == ENGINE_KERNEL;
	d->c.kernel.on = n > 0;
	if (n > KERNEL_SERVICES_MAX)
		cursor_error(&c, d->list,
			     "services: %zu of engine = \"kernel\", but one teald can have %d at most", n,
			     KERNEL_SERVICES_MAX);
	if (own != NULL && !d->c.kernel.on)
		cursor_warn(&c, own, "kernel changes nothing: no service has engine = \"kernel\"");
	if (d->c.kernel.table == NULL)
		d->c.kernel.table = must_strdup("main");
}
