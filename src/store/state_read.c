/* state_read.c - the text of the embedded store's file, read.  jansson says what it missed: "Object item not
 * found: color".  Thread: main. */
#include <jansson.h>
#include <string.h>

#include "store/node_text.h"
#include "store/state_file.h"
#include "store/state_marks.h"

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
	state_unmark(&a);
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
