/* state_file.c - the embedded store's memory, and its text as it is written; see the header.
 * Thread: main. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/utf8.h"
#include "store/node_text.h"
#include "store/state_file.h"
#include "store/state_marks.h"

/* The longest entry: five strings whose every byte may become "\u0012". */
#define ENTRY_MAX (6 * sizeof(struct audit_entry) + 512)

void
state_init(struct state *s)
{
	*s = (struct state){ 0 };
	list_init(&s->history);
}

void
state_free(struct state *s)
{
	LIST_EACH(l, &s->history)
		free(list_entry(l, struct state_entry, link));
	for (size_t i = 0; i < s->n; i++)
		free(s->services[i]);
	free(s->services);
	for (size_t i = 0; i < s->n_pools; i++) {
		overlay_free(&s->pools[i]->now);
		overlay_free(&s->pools[i]->next);
		free(s->pools[i]->name);
		free(s->pools[i]);
	}
	free(s->pools);
	state_init(s);
}

/* Where the name is, or where it belongs. */
static size_t
place_of_name(const struct state *s, const char *name, bool *found)
{
	size_t low = 0, high = s->n;

	*found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, s->services[middle]->name);

		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

struct state_service *
state_find(const struct state *s, const char *name)
{
	bool found;
	size_t i = place_of_name(s, name, &found);

	return found ? s->services[i] : NULL;
}

/* At its place, which no other has. */
static void
place_service(struct state *s, struct state_service *v, const char *name)
{
	bool found;
	size_t i = place_of_name(s, name, &found);

	CHECK(!found);
	str_copy(v->name, sizeof(v->name), str_from(name));
	if (s->n == s->room) {
		s->room = s->room > 0 ? 2 * s->room : 16;
		s->services = must_grow(s->services, s->room, sizeof(s->services[0]));
	}
	memmove(&s->services[i + 1], &s->services[i], (s->n - i) * sizeof(s->services[0]));
	s->services[i] = v;
	s->n++;
}

static void
displace_service(struct state *s, const struct state_service *v)
{
	bool found;
	size_t i = place_of_name(s, v->name, &found);

	CHECK(found);
	s->n--;
	memmove(&s->services[i], &s->services[i + 1], (s->n - i) * sizeof(s->services[0]));
}

struct state_service *
state_add(struct state *s, const char *name)
{
	struct state_service *v = state_find(s, name);

	if (v != NULL)
		return v;
	v = must_alloc(sizeof(*v));
	place_service(s, v, name);
	return v;
}

struct state_pool *
state_find_pool(const struct state *s, const char *name)
{
	for (size_t i = 0; i < s->n_pools; i++)
		if (strcmp(s->pools[i]->name, name) == 0)
			return s->pools[i];
	return NULL;
}

struct state_pool *
state_add_pool(struct state *s, const char *name)
{
	struct state_pool *p = state_find_pool(s, name);

	if (p != NULL)
		return p;
	p = must_alloc(sizeof(*p));
	p->name = must_strdup(name);
	s->pools = must_grow(s->pools, s->n_pools + 1, sizeof(s->pools[0]));
	s->pools[s->n_pools++] = p;
	return p;
}

/* In place, byte for byte: the text never grows out of its field. */
static void
clean(char *text)
{
	size_t n = strlen(text), len;
	uint32_t point;

	for (size_t i = 0; i < n; i += len)
		if ((len = utf8_next(text + i, n - i, &point)) == 0) {
			text[i] = '?';
			len = 1;
		}
}

bool
state_accept_record(struct record *r)
{
	clean(r->by);
	clean(r->reason);
	clean(r->lock.by);
	clean(r->lock.reason);
	clean(r->claim.by);
	clean(r->claim.reason);
	clean(r->hold.by);
	clean(r->hold.reason);
	return (r->color == GREEN || r->color == BLUE) && r->epoch >= 1 && r->epoch <= STATE_EPOCH_MAX &&
	       change_is_of_color(r->change) && r->share.idle < SHARE_WHOLE && r->at_us >= 0 && (!r->lock.on || r->lock.at_us >= 0) &&
	       (!r->claim.on ||
		(r->claim.epoch <= STATE_EPOCH_MAX && r->claim.at_us >= 0 && r->claim.until_us >= 0 &&
		 claim_is_hash(r->claim.token))) &&
	       (!r->hold.on || (r->hold.epoch <= STATE_EPOCH_MAX && r->hold.at_us >= 0 && r->hold.until_us >= 0));
}

static void
entry_text(const struct audit_entry *e, struct json *j)
{
	json_object(j, NULL);
	json_cstr(j, "service", e->service);
	json_i64(j, "at_us", e->at_us);
	json_cstr(j, "change", change_word(e->change));
	json_u64(j, "epoch", e->epoch);
	json_cstr(j, "from", color_word(e->from));
	json_cstr(j, "to", color_word(e->to));
	json_cstr(j, "by", e->by);
	json_u64(j, "uid", e->uid);
	json_i64(j, "pid", e->pid);
	json_cstr(j, "reason", e->reason);
	json_cstr(j, "expect", e->expect);
	json_cstr(j, "result", e->result);
	json_cstr(j, "host", e->host);
	json_object_end(j);
}

struct state_entry *
state_entry_new(struct state *s, const struct audit_entry *entry)
{
	struct audit_entry a = *entry, told;
	struct state_entry *e;
	struct buf text;
	struct json j;

	CHECK(a.change <= CHANGE_LAST && a.epoch <= STATE_EPOCH_MAX && a.at_us >= 0);
	clean(a.service);
	clean(a.by);
	clean(a.reason);
	clean(a.expect);
	clean(a.result);
	clean(a.host);
	buf_init(&text, ENTRY_MAX);
	json_init(&j, &text);
	told = a;
	state_mark(&told);
	entry_text(&told, &j);
	CHECK(!text.failed);
	e = must_alloc(sizeof(*e) + buf_len(&text));
	list_init(&e->link);
	e->service = state_add(s, a.service);
	e->entry = a;
	e->n = buf_len(&text);
	memcpy(e->text, buf_str(&text).p, e->n);
	buf_free(&text);
	return e;
}

void
state_entry_free(struct state_entry **ep)
{
	free(*ep);
	*ep = NULL;
}

/* The same line with the service's name as it is now. */
static void
entry_rename(struct state *s, struct state_entry *old, const struct state_service *v)
{
	struct audit_entry a = old->entry;
	struct state_entry *e;

	str_copy(a.service, sizeof(a.service), str_from(v->name));
	e = state_entry_new(s, &a);
	list_append(&old->link, &e->link);
	list_remove(&old->link);
	state_entry_free(&old);
}

bool
state_rename(struct state *s, const char *from, const char *to)
{
	struct state_service *v = state_find(s, from), *there = state_find(s, to);

	if (v == NULL || !v->known || (there != NULL && there->known))
		return false;
	displace_service(s, v);
	/* What was but a history: pointers to it stay good, and its lines are v's. */
	if (there != NULL) {
		displace_service(s, there);
		place_service(s, there, from);
		v->entries += there->entries;
		there->entries = 0;
	}
	place_service(s, v, to);
	LIST_EACH(l, &s->history) {
		struct state_entry *e = list_entry(l, struct state_entry, link);

		if (there != NULL && e->service == there)
			e->service = v;
		else if (e->service == v)
			entry_rename(s, e, v);
	}
	return true;
}

/* Drops what is neither among the last STATE_HISTORY nor among the last
 * STATE_HISTORY_EACH of its service. */
static void
forget_history(struct state *s)
{
	size_t old = s->n_history > STATE_HISTORY ? s->n_history - STATE_HISTORY : 0;

	LIST_EACH(l, &s->history) {
		struct state_entry *e = list_entry(l, struct state_entry, link);

		if (old-- == 0)
			return;
		if (e->service->entries <= STATE_HISTORY_EACH)
			continue;
		list_remove(l);
		e->service->entries--;
		s->n_history--;
		free(e);
	}
}

void
state_remember(struct state *s, struct state_entry **ep)
{
	struct state_entry *e = *ep;

	*ep = NULL;
	list_append(&s->history, &e->link);
	e->service->entries++;
	s->n_history++;
	forget_history(s);
}

static void
record_text(const struct state_service *v, struct json *j)
{
	const struct record *r = &v->next;
	char share[SHARE_TEXT];

	json_object(j, NULL);
	json_cstr(j, "name", v->name);
	json_cstr(j, "color", color_word(r->color));
	json_u64(j, "epoch", r->epoch);
	/* A teald that knows of no shares reads the file while there is none. */
	json_cstr(j, "change", change_word(r->change == CHANGE_SHIFT ? CHANGE_ROLLBACK : r->change));
	json_i64(j, "at_us", r->at_us);
	json_cstr(j, "by", r->by);
	json_cstr(j, "reason", r->reason);
	/* Left out otherwise: then older teald can read it. */
	if (r->forced)
		json_bool(j, "forced", true);
	if (r->share.idle > 0) {
		share_format(&r->share, r->epoch, share);
		json_cstr(j, "share", share);
	}
	if (r->lock.on) {
		json_object(j, "lock");
		json_i64(j, "at_us", r->lock.at_us);
		json_cstr(j, "by", r->lock.by);
		json_cstr(j, "reason", r->lock.reason);
		json_object_end(j);
	} else {
		json_null(j, "lock");
	}
	json_object_end(j);
}

static void
entries_text(const struct link *list, struct json *j)
{
	for (const struct link *l = list->next; l != list; l = l->next) {
		const struct state_entry *e = container_of(l, const struct state_entry, link);

		json_raw(j, NULL, (struct str){ e->text, e->n });
	}
}

/* Left out while nothing was ever said: then older teald can read it. */
static void
pools_text(const struct state *s, struct json *j)
{
	bool any = false;

	for (size_t i = 0; i < s->n_pools; i++) {
		const struct state_pool *p = s->pools[i];

		if (p->next.version == 0)
			continue;
		if (!any)
			json_array(j, "nodes");
		any = true;
		json_object(j, NULL);
		json_cstr(j, "pool", p->name);
		json_u64(j, "version", p->next.version);
		if (p->next.forced)
			json_bool(j, "forced", true);
		overlay_json(j, "hosts", &p->next);
		/* Left out for the same reason while no node's connections are ended. */
		(void)overlay_terms_json(j, "terms", &p->next, true);
		json_object_end(j);
	}
	if (any)
		json_array_end(j);
}

bool
state_encode(const struct state *s, const struct link *more, struct buf *out)
{
	struct json j;

	json_init(&j, out);
	json_object(&j, NULL);
	json_array(&j, "services");
	for (size_t i = 0; i < s->n; i++)
		if (s->services[i]->known)
			record_text(s->services[i], &j);
	json_array_end(&j);
	json_array(&j, "history");
	entries_text(&s->history, &j);
	entries_text(more, &j);
	json_array_end(&j);
	pools_text(s, &j);
	json_object_end(&j);
	json_line_end(&j);
	return !out->failed;
}

size_t
state_header(struct str payload, char text[STATE_HEADER])
{
	int n = snprintf(text, STATE_HEADER,
			 "{\"format\":\"teal-state\",\"version\":%d,\"bytes\":%zu,\"hash\":\"%016" PRIx64
			 "\"}\n",
			 STATE_VERSION, payload.n, hash_bytes(payload.p, payload.n, STATE_VERSION));

	CHECK(n > 0 && n < STATE_HEADER);
	return (size_t)n;
}
