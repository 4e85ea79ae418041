/* config_keys.c - walks the tables of config*.c and lists what was read.  Any thread. */
#include <stdlib.h>
#include <string.h>

#include "model/config_keys.h"
#include "model/config_value.h"

#define VALUE_MAX ((size_t)1 << 20)

/* -- lists ------------------------------------------------------------------------- */

struct config_keys *
config_keys_empty(void)
{
	struct config_keys *k = must_alloc(sizeof(*k));

	*k = (struct config_keys){ 0 };
	return k;
}

static void
section_clear(struct config_section *s)
{
	free(s->name);
	free(s->rename);
	free(s->bytes);
}

void
config_keys_free(struct config_keys **kp)
{
	struct config_keys *k = *kp;

	*kp = NULL;
	if (k == NULL)
		return;
	section_clear(&k->settings);
	for (size_t i = 0; i < k->n; i++)
		section_clear(&k->services[i]);
	free(k->services);
	free(k);
}

struct config_section *
config_keys_add(struct config_keys *k, const char *name, const char *rename)
{
	struct config_section *s;

	k->services = must_grow(k->services, k->n + 1, sizeof(*k->services));
	s = &k->services[k->n++];
	*s = (struct config_section){ .name = must_strdup(name),
				      .rename = rename != NULL ? must_strdup(rename) : NULL };
	return s;
}

static void
put_size_key(struct config_section *s, const char *text)
{
	size_t n = strlen(text) + 1;

	if (s->n + n > s->cap) {
		s->cap = 2 * (s->n + n);
		s->bytes = must_grow(s->bytes, s->cap, 1);
	}
	memcpy(s->bytes + s->n, text, n);
	s->n += n;
}

void
config_section_add(struct config_section *s, const char *key, const char *value)
{
	put_size_key(s, key);
	put_size_key(s, value);
}

bool
config_section_next(const struct config_section *s, size_t *at, const char **key, const char **value)
{
	if (*at >= s->n)
		return false;
	*key = s->bytes + *at;
	*value = *key + strlen(*key) + 1;
	*at = (size_t)(*value - s->bytes) + strlen(*value) + 1;
	return true;
}

const char *
config_section_value(const struct config_section *s, const char *wanted)
{
	const char *key, *value;
	size_t at = 0;

	while (config_section_next(s, &at, &key, &value))
		if (strcmp(key, wanted) == 0)
			return value;
	return NULL;
}

/* -- the walk ---------------------------------------------------------------------------- */

struct walk {
	struct config_section *to;
	struct buf value;
	const void *base;	/* a draft, or a service_draft */
	const struct service_config *service;	/* NULL: keys of no service */
};

static void
add_key(struct walk *w, const char *path)
{
	buf_append(&w->value, "", 1);
	CHECK(!w->value.failed);
	config_section_add(w->to, path, buf_str(&w->value).p);
	buf_clear(&w->value);
}

static void
add_backend_keys(struct walk *w, const char *path, const struct color_config *c)
{
	char text[ADDR_TEXT];

	buf_printf(&w->value, "[");
	for (size_t i = 0; i < c->n_backends; i++) {
		const struct backend_config *b = &c->backends[i];

		buf_printf(&w->value, "%s%s", i > 0 ? ", " : "", backend_config_text(b, text));
		if (b->weight != 1)
			buf_printf(&w->value, " weight %u", b->weight);
		if (b->health_at.len > 0)
			buf_printf(&w->value, " health %s", addr_format(&b->health_at, text));
		else if (b->health_port != c->health_port)
			buf_printf(&w->value, " health_port %u", b->health_port);
		if (b->backup)
			buf_printf(&w->value, " backup");
	}
	buf_printf(&w->value, "]");
	add_key(w, path);
}

/* prefix: "green.", or "" in a service without colors. */
static void
add_color(struct walk *w, const char *prefix, enum color color)
{
	const struct color_config *c = &w->service->colors[color];
	char path[64];

	snprintf(path, sizeof(path), "%sport", prefix);
	buf_printf(&w->value, c->port > 0 ? "%u" : "none", c->port);
	add_key(w, path);
	snprintf(path, sizeof(path), "%shealth_port", prefix);
	buf_printf(&w->value, c->health_port > 0 ? "%u" : "none", c->health_port);
	add_key(w, path);
	snprintf(path, sizeof(path), "%sbackends", prefix);
	add_backend_keys(w, path, c);
}

static void
add_labels(struct walk *w)
{
	char path[128];

	for (size_t i = 0; i < w->service->n_labels; i++) {
		snprintf(path, sizeof(path), "labels.%s", w->service->labels[i].key);
		config_value_text(&w->value, w->service->labels[i].value);
		add_key(w, path);
	}
}

static void walk_keys(struct walk *w, const struct key *keys, const char *prefix);

static void
add_pools(struct walk *w, const struct config *c)
{
	const void *base = w->base;

	for (size_t i = 0; i < c->n_pools; i++) {
		char *path = must_printf("node_pools.%s%s", c->pools[i].name, c->pools[i].kube != NULL ? ".kubernetes." : "");

		if (c->pools[i].kube != NULL) {
			w->base = c->pools[i].kube;
			walk_keys(w, kube_keys, path);
			w->base = base;
		} else {
			config_value_texts(&w->value, c->pools[i].hosts, c->pools[i].n_hosts);
			add_key(w, path);
		}
		free(path);
	}
}

/* Is the key one that the service's mode and engine, and its having colors or not, know? */
static bool
counts(const struct service_config *s, const struct key *k)
{
	return !(s->colorless ? k->colored : k->colorless) && (k->modes == 0 || (k->modes & 1u << s->mode)) &&
	       (k->engines == 0 || (k->engines & 1u << s->engine));
}

/* Those that are neither one value nor a plain group; false: it is none of them. */
static bool
is_odd(struct walk *w, const struct key *k)
{
	const struct service_config *s = w->service;

	if (s == NULL && k->keys == service_keys)
		return true;	/* the defaults: each service says what it has of them */
	if (s == NULL && strcmp(k->name, "services") == 0)
		return true;
	if (s == NULL && strcmp(k->name, "node_pools") == 0) {
		add_pools(w, &((const struct draft *)w->base)->c);
		return true;
	}
	if (s != NULL && k < service_keys + SERVICE_OWN_KEYS && k >= service_keys)
		return true;	/* name and rename: the section's own */
	if (s != NULL && k->read == key_color) {
		add_color(w, strcmp(k->name, "green") == 0 ? "green." : "blue.", strcmp(k->name, "green") == 0 ? GREEN : BLUE);
		return true;
	}
	/* The three keys of a service without colors, at the last of them. */
	if (s != NULL && k->colorless) {
		if (k->read == key_backends)
			add_color(w, "", GREEN);
		return true;
	}
	if (s != NULL && strcmp(k->name, "labels") == 0) {
		add_labels(w);
		return true;
	}
	return false;
}

/* A group that is a switch as well: false says so, and then nothing in it matters. */
static bool
key_is_off(struct walk *w, const struct key *k)
{
	bool on;

	if (k->keys != tls_keys && k->keys != backend_tls_keys)
		return false;
	on = k->keys == tls_keys ? w->service->listen_tls : w->service->backend_tls.on;
	buf_printf(&w->value, on ? "true" : "false");
	add_key(w, k->name);
	return !on;
}

static void
walk_key(struct walk *w, const struct key *k, const char *prefix)
{
	char path[128];
	key_writer *write;

	snprintf(path, sizeof(path), "%s%s", prefix, k->name);
	if ((w->service != NULL && !counts(w->service, k)) || is_odd(w, k))
		return;
	if ((write = config_value_writer(path, k)) != NULL) {
		write(&w->value, w->base, k);
		add_key(w, path);
	} else if (!key_is_off(w, k)) {
		/* A key without a row above would be missing in every plan. */
		CHECK(k->keys != NULL);
		strcat(path, ".");
		walk_keys(w, k->keys, path);
	}
}

static void
walk_keys(struct walk *w, const struct key *keys, const char *prefix)
{
	for (; keys->name != NULL; keys++)
		walk_key(w, keys, prefix);
}

struct config_keys *
config_keys_new(const struct config *config)
{
	struct config_keys *k = config_keys_empty();
	struct walk w = { .to = &k->settings, .base = (const char *)config - offsetof(struct draft, c) };

	buf_init(&w.value, VALUE_MAX);
	walk_keys(&w, root_keys, "");
	for (size_t i = 0; i < config->n_services; i++) {
		w.service = &config->services[i];
		w.base = (const char *)w.service - offsetof(struct service_draft, s);
		w.to = config_keys_add(k, w.service->name, w.service->rename);
		walk_keys(&w, service_keys, "");
	}
	buf_free(&w.value);
	return k;
}
