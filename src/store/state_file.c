/* state_file.c - the embedded store's memory and its text; see the header.
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
	return (r->color == GREEN || r->color == BLUE) && r->epoch >= 1 && r->epoch <= STATE_EPOCH_MAX &&
	       change_is_of_color(r->change) && r->share.idle < SHARE_WHOLE && r->at_us >= 0 && (!r->lock.on || r->lock.at_us >= 0) &&
	       (!r->claim.on ||
		(r->claim.epoch <= STATE_EPOCH_MAX && r->claim.at_us >= 0 && r->claim.until_us >= 0 &&
		 claim_is_hash(r->claim.token)));
}

/* Claims are told as locks with a mark in `expect`, which a lock has none of, and shifts as rollbacks with
 * a mark before it: a teald that knows neither reads the file, too. */
#define SHIFT_MARK "shift %u "
static const struct {
	enum change change, as;
} marked[] = { { CHANGE_CLAIM, CHANGE_LOCK }, { CHANGE_RELEASE, CHANGE_UNLOCK } };

static void
mark_change(struct audit_entry *e)
{
	if (e->change == CHANGE_SHIFT) {
		char expect[sizeof(e->expect)];

		snprintf(expect, sizeof(expect), SHIFT_MARK "%.19s", e->share, e->expect);
		memcpy(e->expect, expect, sizeof(expect));
		e->change = CHANGE_ROLLBACK;
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(marked); i++)
		if (e->change == marked[i].change) {
			str_copy(e->expect, sizeof(e->expect), str_from(change_word(e->change)));
			e->change = marked[i].as;
			return;
		}
}

static void
unmark_change(struct audit_entry *e)
{
	int mark = 0;

	if (e->change == CHANGE_ROLLBACK && sscanf(e->expect, SHIFT_MARK "%n", &e->share, &mark) == 1 && mark > 0) {
		e->change = CHANGE_SHIFT;
		memmove(e->expect, e->expect + mark, strlen(e->expect + mark) + 1);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(marked); i++)
		if (e->change == marked[i].as && strcmp(e->expect, change_word(marked[i].change)) == 0) {
			e->change = marked[i].change;
			e->expect[0] = '\0';
			return;
		}
}

/* A revision stands before what was expected, for the same reason. */
static void
mark_revision(struct audit_entry *e)
{
	char expect[sizeof(e->expect) + REVISION_WORD + 2];

	if (e->revision[0] == '\0')
		return;
	snprintf(expect, sizeof(expect), "#%s %s", e->revision, e->expect);
	/* No epoch is so long that any of it is cut. */
	str_copy(e->expect, sizeof(e->expect), str_from(expect));
}

static void
unmark_revision(struct audit_entry *e)
{
	char expect[sizeof(e->expect)];
	struct str revision = { e->expect + 1, REVISION_WORD - 1 };

	if (e->expect[0] != '#' || strlen(e->expect) < REVISION_WORD + 1 || !revision_is_word(revision))
		return;
	str_copy(e->revision, sizeof(e->revision), revision);
	str_copy(expect, sizeof(expect), str_from(e->expect + REVISION_WORD + 1));
	memcpy(e->expect, expect, sizeof(expect));
}

/* What a record is part of is read from the line of its change: an older teald knows no such field. */
static void
take_revision(struct state_service *v, const struct audit_entry *e)
{
	if (!v->known || v->record.epoch != e->epoch || e->revision[0] == '\0' || strcmp(e->result, err_word(OK)) != 0 ||
	    v->record.change != e->change)
		return;
	memcpy(v->record.revision, e->revision, sizeof(e->revision));
	memcpy(v->next.revision, e->revision, sizeof(e->revision));
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

	CHECK(a.change <= CHANGE_SHIFT && a.epoch <= STATE_EPOCH_MAX && a.at_us >= 0);
	clean(a.service);
	clean(a.by);
	clean(a.reason);
	clean(a.expect);
	clean(a.result);
	clean(a.host);
	buf_init(&text, ENTRY_MAX);
	json_init(&j, &text);
	told = a;
	mark_change(&told);
	mark_revision(&told);
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

/* Reading.  jansson says what it missed: "Object item not found: color". */

static enum err
shape_error(struct why *why, const char *what, size_t i, const json_error_t *error)
{
	return why_set(why, E_STORE, "%s %zu is not as teald writes it: %s", what, i + 1, error->text);
}

static bool
take_json_text(char *to, size_t size, const char *text)
{
	return str_copy(to, size, str_from(text));
}

static enum err
read_lock(json_t *lock, struct record *r, size_t i, struct why *why)
{
	const char *by, *reason;
	json_int_t at;
	json_error_t error;

	if (json_is_null(lock))
		return OK;
	if (json_unpack_ex(lock, &error, JSON_STRICT, "{s:I, s:s, s:s}", "at_us", &at, "by", &by, "reason",
			   &reason) != 0)
		return shape_error(why, "the lock of service", i, &error);
	r->lock.on = true;
	r->lock.at_us = at;
	if (at < 0 || !take_json_text(r->lock.by, sizeof(r->lock.by), by) ||
	    !take_json_text(r->lock.reason, sizeof(r->lock.reason), reason))
		return why_set(why, E_STORE, "the lock of service %zu holds a value that cannot be", i + 1);
	return OK;
}

static enum err
read_service_record(json_t *o, size_t i, struct state *s, struct why *why)
{
	const char *name, *color, *change, *by, *reason, *share = "";
	json_int_t epoch, at;
	json_t *lock;
	int forced = 0;
	json_error_t error;
	struct record r = { 0 };
	struct state_service *v;
	enum err e;

	if (json_unpack_ex(o, &error, JSON_STRICT, "{s:s, s:s, s:I, s:s, s:I, s:s, s:s, s:o, s?:b, s?:s}", "name",
			   &name, "color", &color, "epoch", &epoch, "change", &change, "at_us", &at, "by",
			   &by, "reason", &reason, "lock", &lock, "forced", &forced, "share", &share) != 0)
		return shape_error(why, "service", i, &error);
	if (name[0] == '\0' || strlen(name) >= RECORD_NAME)
		return why_set(why, E_STORE, "service %zu has no name that a service can have", i + 1);
	if (!color_from_word(str_from(color), &r.color))
		return why_set(why, E_STORE, "service \"%s\" has the color \"%.32s\"", name, color);
	if (epoch < 1)
		return why_set(why, E_STORE, "service \"%s\" has the epoch %lld", name, (long long)epoch);
	if (at < 0 || !change_from_word(change, &r.change) || r.change > CHANGE_ROLLBACK ||
	    !take_json_text(r.by, sizeof(r.by), by) || !take_json_text(r.reason, sizeof(r.reason), reason))
		return why_set(why, E_STORE, "service \"%s\" holds a value that cannot be", name);
	r.epoch = (uint64_t)epoch;
	r.at_us = at;
	r.forced = forced != 0;
	if (!share_parse(str_from(share), r.epoch, &r.share))
		return why_set(why, E_STORE, "service \"%s\" has a share that cannot be", name);
	if (r.share.idle > 0 && r.change == CHANGE_ROLLBACK)
		r.change = CHANGE_SHIFT;
	if ((e = read_lock(lock, &r, i, why)) != OK)
		return e;
	v = state_add(s, name);
	if (v->known)
		return why_set(why, E_STORE, "service \"%s\" is there twice", name);
	v->known = true;
	v->record = v->next = r;
	return OK;
}

static enum err
read_entry(json_t *o, size_t i, struct state *s, struct why *why)
{
	const char *service, *change, *from, *to, *by, *reason, *expect, *result, *host = "";
	json_int_t at, epoch, uid, pid;
	json_error_t error;
	struct audit_entry a = { 0 };
	struct state_entry *e;

	if (json_unpack_ex(o, &error, JSON_STRICT,
			   "{s:s, s:I, s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:s, s?:s}", "service",
			   &service, "at_us", &at, "change", &change, "epoch", &epoch, "from", &from, "to",
			   &to, "by", &by, "uid", &uid, "pid", &pid, "reason", &reason, "expect", &expect,
			   "result", &result, "host", &host) != 0)
		return shape_error(why, "line of history", i, &error);
	a.at_us = at;
	a.epoch = (uint64_t)epoch;
	a.uid = (uint32_t)uid;
	a.pid = (int32_t)pid;
	if (at < 0 || epoch < 0 || uid != a.uid || pid != a.pid || !change_from_word(change, &a.change) || a.change > CHANGE_UNLOCK ||
	    !color_from_word(str_from(from), &a.from) || !color_from_word(str_from(to), &a.to) ||
	    !take_json_text(a.service, sizeof(a.service), service) ||
	    !take_json_text(a.by, sizeof(a.by), by) || !take_json_text(a.reason, sizeof(a.reason), reason) ||
	    !take_json_text(a.expect, sizeof(a.expect), expect) ||
	    !take_json_text(a.result, sizeof(a.result), result) ||
	    !take_json_text(a.host, sizeof(a.host), host))
		return why_set(why, E_STORE, "line of history %zu holds a value that cannot be", i + 1);
	unmark_change(&a);
	unmark_revision(&a);
	e = state_entry_new(s, &a);
	take_revision(e->service, &a);
	state_remember(s, &e);
	return OK;
}

static enum err
read_pool(json_t *o, size_t i, struct state *s, struct why *why)
{
	const char *name;
	json_int_t version;
	int forced = 0;
	json_t *hosts, *terms = NULL;
	json_error_t error;
	struct state_pool *p;

	if (json_unpack_ex(o, &error, JSON_STRICT, "{s:s, s:I, s:o, s?:b, s?:o}", "pool", &name, "version",
			   &version, "hosts", &hosts, "forced", &forced, "terms", &terms) != 0)
		return shape_error(why, "pool", i, &error);
	if (name[0] == '\0' || version < 1 || state_find_pool(s, name) != NULL)
		return why_set(why, E_STORE, "pool %zu holds a value that cannot be", i + 1);
	p = state_add_pool(s, name);
	if (!overlay_from_json(hosts, &p->now))
		return why_set(why, E_STORE, "pool \"%.64s\" holds what cannot be a node", name);
	p->now.version = (uint64_t)version;
	p->now.forced = forced != 0;
	if (terms != NULL)
		overlay_take_terms(terms, &p->now);
	overlay_copy(&p->next, &p->now);
	return OK;
}

static enum err
read_payload(json_t *root, struct state *s, struct why *why)
{
	json_t *services, *history, *pools = NULL;
	json_error_t error;
	enum err e;

	if (json_unpack_ex(root, &error, JSON_STRICT, "{s:o, s:o, s?:o}", "services", &services, "history",
			   &history, "nodes", &pools) != 0)
		return why_set(why, E_STORE, "is not as teald writes it: %s", error.text);
	if (!json_is_array(services) || !json_is_array(history) || (pools != NULL && !json_is_array(pools)))
		return why_set(why, E_STORE,
			       "is not as teald writes it: services, history and nodes are lists");
	for (size_t i = 0; i < json_array_size(services); i++)
		if ((e = read_service_record(json_array_get(services, i), i, s, why)) != OK)
			return e;
	for (size_t i = 0; i < json_array_size(history); i++)
		if ((e = read_entry(json_array_get(history, i), i, s, why)) != OK)
			return e;
	for (size_t i = 0; i < json_array_size(pools); i++)
		if ((e = read_pool(json_array_get(pools, i), i, s, why)) != OK)
			return e;
	return OK;
}

/* The first line; *payload is what follows it. */
static enum err
read_header(struct str file, struct str *payload, struct why *why)
{
	const char *newline = memchr(file.p, '\n', file.n < STATE_HEADER ? file.n : STATE_HEADER);
	const char *format = NULL, *hash = NULL;
	json_int_t version = 0, bytes = 0;
	char expected[STATE_HEADER];
	json_t *header = NULL;
	enum err e = OK;

	if (file.n == 0)
		return why_set(why, E_STORE, "is empty");
	if (newline != NULL)
		header = json_loadb(file.p, (size_t)(newline - file.p), JSON_REJECT_DUPLICATES, NULL);
	if (json_unpack(header, "{s:s, s:I}", "format", &format, "version", &version) != 0 ||
	    strcmp(format, "teal-state") != 0) {
		e = why_set(why, E_STORE, "is not a state file of teald: its first line does not say so");
		goto out;
	}
	if (version != STATE_VERSION) {
		e = why_set(why, E_STORE,
			    "has format version %lld, and this teald knows version %d: was it "
			    "written by a newer one?",
			    (long long)version, STATE_VERSION);
		goto out;
	}
	*payload = (struct str){ newline + 1, file.n - (size_t)(newline + 1 - file.p) };
	if (json_unpack(header, "{s:I, s:s}", "bytes", &bytes, "hash", &hash) != 0)
		e = why_set(why, E_STORE, "has a damaged first line");
	else if (bytes < 0 || payload->n < (size_t)bytes)
		e = why_set(why, E_STORE, "is cut short: %lld bytes should follow its first line, and %zu do",
			    (long long)bytes, payload->n);
	else if (payload->n > (size_t)bytes)
		e = why_set(why, E_STORE,
			    "is longer than it should be: %lld bytes should follow its first line, "
			    "and %zu do",
			    (long long)bytes, payload->n);
	else if (state_header(*payload, expected) != (size_t)(newline + 1 - file.p) ||
		 memcmp(expected, file.p, (size_t)(newline + 1 - file.p)) != 0)
		e = why_set(why, E_STORE,
			    "is damaged or was edited: the checksum in its first line does not fit "
			    "its contents");
out:
	json_decref(header);
	return e;
}

enum err
state_decode(struct str file, struct state *s, struct why *why)
{
	struct str payload;
	json_error_t error;
	json_t *root;
	enum err e;

	if ((e = read_header(file, &payload, why)) != OK)
		return e;
	if ((root = json_loadb(payload.p, payload.n, JSON_REJECT_DUPLICATES, &error)) == NULL)
		return why_set(why, E_STORE, "is not JSON in line %d: %s", error.line + 1, error.text);
	e = read_payload(root, s, why);
	json_decref(root);
	return e;
}
