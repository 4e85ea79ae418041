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

/* A key of a table, with what is the same for every service. */
struct row {
	const struct key *key;
	char *path;
	struct config_value_form form;
	struct row *rows;	/* of a group */
	size_t n;
};

struct walk {
	struct config_section *to;	/* NULL: `value` gets all that decides whether two services are the same */
	struct buf value;
	const void *base;	/* a draft, or a service_draft */
	const struct service_config *service;	/* NULL: keys of no service */
};

static struct row *
rows_new(const struct key *keys, const char *prefix, size_t *n)
{
	struct row *rows;

	for (*n = 0; keys[*n].name != NULL;)
		++*n;
	rows = must_array(*n + 1, sizeof(*rows));
	for (size_t i = 0; i < *n; i++) {
		struct row *r = &rows[i];

		r->key = &keys[i];
		r->path = must_printf("%s%s", prefix, keys[i].name);
		r->form = config_value_form(r->path, r->key);
		if (r->form.write == NULL && r->key->keys != NULL) {
			char *inside = must_printf("%s.", r->path);

			r->rows = rows_new(r->key->keys, inside, &r->n);
			free(inside);
		}
	}
	return rows;
}

static void
rows_free(struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		rows_free(rows[i].rows, rows[i].n);
		free(rows[i].path);
	}
	free(rows);
}

static void
add_key(struct walk *w, const char *path)
{
	buf_append(&w->value, "", 1);
	if (w->to == NULL) {
		buf_append(&w->value, path, strlen(path) + 1);
		return;
	}
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

static void
put_addr(struct buf *out, const struct addr *a)
{
	buf_append(out, &a->len, sizeof(a->len));
	buf_append(out, &a->u, a->len);
}

/* All that is said below, and faster. */
static void
put_color_bytes(struct buf *out, const struct color_config *c)
{
	const size_t numbers[] = { c->n_backends, c->port, c->health_port };

	buf_append(out, numbers, sizeof(numbers));
	for (size_t i = 0; i < c->n_backends; i++) {
		const struct backend_config *b = &c->backends[i];
		const unsigned terms[] = { b->port, b->health_port, b->weight, b->backup };

		buf_append(out, b->host, strlen(b->host) + 1);
		buf_append(out, terms, sizeof(terms));
		put_addr(out, &b->address);
		put_addr(out, &b->health_at);
	}
}

/* prefix: "green.", or "" in a service without colors. */
static void
add_color(struct walk *w, const char *prefix, enum color color)
{
	const struct color_config *c = &w->service->colors[color];
	char path[64];

	if (w->to == NULL) {
		put_color_bytes(&w->value, c);
		return;
	}
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

static void walk_rows(struct walk *w, const struct row *rows, size_t n);

static void
add_pools(struct walk *w, const struct config *c)
{
	const void *base = w->base;
	struct row *rows;
	size_t n;

	for (size_t i = 0; i < c->n_pools; i++) {
		char *path = must_printf("node_pools.%s%s", c->pools[i].name, c->pools[i].kube != NULL ? ".kubernetes." : "");

		if (c->pools[i].kube != NULL) {
			w->base = c->pools[i].kube;
			rows = rows_new(kube_keys, path, &n);
			walk_rows(w, rows, n);
			rows_free(rows, n);
			w->base = base;
		} else {
			config_value_texts(&w->value, c->pools[i].hosts, c->pools[i].n_hosts);
			add_key(w, path);
		}
		free(path);
	}
}

static void
add_groups(struct walk *w, const struct config *c)
{
	for (size_t i = 0; i < c->n_groups; i++) {
		char *path = must_printf("groups.%s", c->groups[i].name);

		config_value_texts(&w->value, c->groups[i].services, c->groups[i].n);
		add_key(w, path);
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
	if (s == NULL && strcmp(k->name, "groups") == 0) {
		add_groups(w, &((const struct draft *)w->base)->c);
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
walk_row(struct walk *w, const struct row *r)
{
	const struct key *k = r->key;

	if ((w->service != NULL && !counts(w->service, k)) || is_odd(w, k))
		return;
	if (r->form.n > 0 && w->to == NULL) {
		buf_append(&w->value, (const char *)w->base + k->offset, r->form.n);
	} else if (r->form.write != NULL) {
		r->form.write(&w->value, w->base, k);
		add_key(w, r->path);
	} else if (!key_is_off(w, k)) {
		/* A key that config_value.c does not know would be missing in every plan. */
		CHECK(r->rows != NULL);
		walk_rows(w, r->rows, r->n);
	}
}

static void
walk_rows(struct walk *w, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		walk_row(w, &rows[i]);
}

static void
walk_settings(struct config_keys *k, const struct config *config)
{
	struct walk w = { .to = &k->settings, .base = (const char *)config - offsetof(struct draft, c) };
	struct row *rows;
	size_t n;

	buf_init(&w.value, VALUE_MAX);
	rows = rows_new(root_keys, "", &n);
	walk_rows(&w, rows, n);
	rows_free(rows, n);
	buf_free(&w.value);
}

static void
walk_service(struct walk *w, const struct service_config *s, const struct row *rows, size_t n)
{
	w->service = s;
	w->base = (const char *)s - offsetof(struct service_draft, s);
	walk_rows(w, rows, n);
}

/* same[i]: its section stays empty; NULL: that of none does. */
static struct config_keys *
keys_without(const struct config *config, const bool *same, const struct row *rows, size_t n)
{
	struct config_keys *k = config_keys_empty();
	struct walk w = { .to = NULL };

	walk_settings(k, config);
	buf_init(&w.value, VALUE_MAX);
	for (size_t i = 0; i < config->n_services; i++) {
		const struct service_config *s = &config->services[i];

		w.to = config_keys_add(k, s->name, s->rename);
		if (same == NULL || !same[i])
			walk_service(&w, s, rows, n);
	}
	buf_free(&w.value);
	return k;
}

struct config_keys *
config_keys_new(const struct config *config)
{
	struct config_keys *k;
	struct row *rows;
	size_t n;

	rows = rows_new(service_keys, "", &n);
	k = keys_without(config, NULL, rows, n);
	rows_free(rows, n);
	return k;
}

/* -- two of them ------------------------------------------------------------------------ */

/* The bytes of two that differ in any key are not the same.  False: there are too many to tell. */
static bool
service_digest(struct walk *w, const struct service_config *s, const struct row *rows, size_t n)
{
	/* These say which keys follow. */
	const unsigned kind[] = { s->mode, s->engine, s->colorless };

	buf_clear(&w->value);
	buf_append(&w->value, kind, sizeof(kind));
	walk_service(w, s, rows, n);
	return !w->value.failed;
}

static int
compare_named_services(const void *a, const void *b)
{
	const struct service_config *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* a_same and b_same get true where a service of that name is the same in both. */
static void
find_same(const struct config *a, const struct config *b, const struct row *rows, size_t n, bool *a_same, bool *b_same)
{
	const struct service_config **sorted = must_array(a->n_services + 1, sizeof(*sorted));
	struct walk x = { .to = NULL }, y = { .to = NULL };

	buf_init(&x.value, VALUE_MAX);
	buf_init(&y.value, VALUE_MAX);
	for (size_t i = 0; i < a->n_services; i++)
		sorted[i] = &a->services[i];
	qsort(sorted, a->n_services, sizeof(*sorted), compare_named_services);
	for (size_t i = 0; i < b->n_services; i++) {
		const struct service_config *now = &b->services[i];
		const struct service_config **was = bsearch(&now, sorted, a->n_services, sizeof(*sorted), compare_named_services);

		if (was == NULL || !service_digest(&x, *was, rows, n) || !service_digest(&y, now, rows, n))
			continue;
		b_same[i] = a_same[*was - a->services] = buf_len(&x.value) == buf_len(&y.value) &&
							 memcmp(buf_str(&x.value).p, buf_str(&y.value).p, buf_len(&x.value)) == 0;
	}
	buf_free(&x.value);
	buf_free(&y.value);
	free(sorted);
}

void
config_keys_compare(const struct config *a, const struct config *b, struct config_keys **a_keys, struct config_keys **b_keys)
{
	bool *a_same = must_array(a->n_services + 1, sizeof(*a_same)), *b_same = must_array(b->n_services + 1, sizeof(*b_same));
	struct row *rows;
	size_t n;

	rows = rows_new(service_keys, "", &n);
	find_same(a, b, rows, n, a_same, b_same);
	*a_keys = keys_without(a, a_same, rows, n);
	*b_keys = keys_without(b, b_same, rows, n);
	rows_free(rows, n);
	free(a_same);
	free(b_same);
}
