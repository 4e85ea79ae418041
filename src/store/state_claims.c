/* state_claims.c - claims and their file; see the header. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "store/state_claims.h"

static void
claim_text(const struct state_service *v, struct json *j)
{
	const struct record *r = &v->next;

	json_object(j, NULL);
	json_cstr(j, "service", v->name);
	json_u64(j, "epoch", r->claim.epoch);
	json_i64(j, "at_us", r->claim.at_us);
	json_i64(j, "until_us", r->claim.until_us);
	json_cstr(j, "by", r->claim.by);
	json_cstr(j, "reason", r->claim.reason);
	json_cstr(j, "token", r->claim.token);
	json_object_end(j);
}

static void
hold_text(const struct state_service *v, struct json *j)
{
	const struct record *r = &v->next;

	json_object(j, NULL);
	json_cstr(j, "service", v->name);
	json_u64(j, "epoch", r->hold.epoch);
	json_i64(j, "at_us", r->hold.at_us);
	json_i64(j, "until_us", r->hold.until_us);
	json_cstr(j, "by", r->hold.by);
	json_cstr(j, "reason", r->hold.reason);
	json_object_end(j);
}

static bool
has_hold(const struct state_service *v)
{
	return v->known && v->next.hold.on && v->next.hold.epoch == v->next.epoch;
}

/* A file without holds is as a teald writes it that knows none. */
static void
put_holds(const struct state *s, struct json *j)
{
	bool any = false;

	for (size_t i = 0; i < s->n; i++)
		any |= has_hold(s->services[i]);
	if (!any)
		return;
	json_array(j, "holds");
	for (size_t i = 0; i < s->n; i++)
		if (has_hold(s->services[i]))
			hold_text(s->services[i], j);
	json_array_end(j);
}

bool
state_claims_encode(const struct state *s, struct buf *out)
{
	struct json j;

	json_init(&j, out);
	json_object(&j, NULL);
	json_cstr(&j, "format", "teal-claims");
	json_i64(&j, "version", STATE_CLAIMS_VERSION);
	json_array(&j, "claims");
	for (size_t i = 0; i < s->n; i++) {
		const struct state_service *v = s->services[i];

		if (v->known && v->next.claim.on && v->next.claim.epoch == v->next.epoch)
			claim_text(v, &j);
	}
	json_array_end(&j);
	put_holds(s, &j);
	json_object_end(&j);
	json_line_end(&j);
	return !out->failed;
}

static bool
read_claim(json_t *o, struct state *s)
{
	const char *service, *by, *reason, *token;
	json_int_t epoch, at, until;
	struct state_service *v;
	struct record r;

	if (json_unpack(o, "{s:s, s:I, s:I, s:I, s:s, s:s, s:s}", "service", &service, "epoch", &epoch, "at_us",
			&at, "until_us", &until, "by", &by, "reason", &reason, "token", &token) != 0 ||
	    epoch < 1)
		return false;
	/* Its service may have gone. */
	if ((v = state_find(s, service)) == NULL || !v->known)
		return true;
	r = v->record;
	r.claim.on = true;
	r.claim.epoch = (uint64_t)epoch;
	r.claim.at_us = at;
	r.claim.until_us = until;
	if (!str_copy(r.claim.by, sizeof(r.claim.by), str_from(by)) ||
	    !str_copy(r.claim.reason, sizeof(r.claim.reason), str_from(reason)) ||
	    !str_copy(r.claim.token, sizeof(r.claim.token), str_from(token)) || !state_accept_record(&r))
		return false;
	v->record = v->next = r;
	return true;
}

static bool
read_hold(json_t *o, struct state *s)
{
	const char *service, *by, *reason;
	json_int_t epoch, at, until;
	struct state_service *v;
	struct record r;

	if (json_unpack(o, "{s:s, s:I, s:I, s:I, s:s, s:s}", "service", &service, "epoch", &epoch, "at_us", &at, "until_us",
			&until, "by", &by, "reason", &reason) != 0 ||
	    epoch < 1)
		return false;
	if ((v = state_find(s, service)) == NULL || !v->known)
		return true;
	r = v->record;
	r.hold.on = true;
	r.hold.epoch = (uint64_t)epoch;
	r.hold.at_us = at;
	r.hold.until_us = until;
	if (!str_copy(r.hold.by, sizeof(r.hold.by), str_from(by)) ||
	    !str_copy(r.hold.reason, sizeof(r.hold.reason), str_from(reason)) || !state_accept_record(&r))
		return false;
	v->record = v->next = r;
	return true;
}

enum err
state_claims_decode(struct str file, struct state *s, struct why *why)
{
	json_t *root = json_loadb(file.p, file.n, JSON_REJECT_DUPLICATES, NULL), *claims, *holds = NULL, *one;
	const char *format;
	json_int_t version;
	enum err e = OK;
	size_t i;

	if (json_unpack(root, "{s:s, s:I, s:o, s?o}", "format", &format, "version", &version, "claims", &claims, "holds",
			&holds) != 0 ||
	    strcmp(format, "teal-claims") != 0 || !json_is_array(claims)) {
		e = why_set(why, E_STORE, "is damaged, or no file of claims");
	} else if (version != STATE_CLAIMS_VERSION) {
		e = why_set(why, E_STORE, "has format version %lld, and this teald knows version %d",
			    (long long)version, STATE_CLAIMS_VERSION);
	} else {
		json_array_foreach(claims, i, one)
		{
			if (!read_claim(one, s))
				e = why_set(why, E_STORE, "holds a claim (number %zu) that cannot be one", i + 1);
		}
		json_array_foreach(holds, i, one)
		{
			if (!read_hold(one, s))
				e = why_set(why, E_STORE, "has a hold (number %zu) that cannot be one", i + 1);
		}
	}
	json_decref(root);
	return e;
}

static uint64_t
claims_hash(struct str text)
{
	return hash_bytes(text.p, text.n, STATE_CLAIMS_VERSION);
}

/* Without a file there is nothing to write as long as there is no claim. */
static uint64_t
hash_of_none(void)
{
	const struct state none = { 0 };
	struct buf text;
	uint64_t hash;

	buf_init(&text, 256);
	CHECK(state_claims_encode(&none, &text));
	hash = claims_hash(buf_str(&text));
	buf_free(&text);
	return hash;
}

void
state_claims_open(struct state_claims *c, const struct state_disk *state, struct state *s)
{
	struct buf file;
	struct why why;
	bool exists;
	enum err e;

	c->disk = (struct state_disk){ .dir = state->dir, .lock_fd = -1, .mode = state->mode };
	c->disk.file = must_printf("%s/" STATE_CLAIMS_FILE, state->dir);
	c->disk.tmp = must_printf("%s/" STATE_CLAIMS_FILE ".tmp", state->dir);
	c->written = hash_of_none();
	buf_init(&file, STATE_MAX);
	e = state_disk_read(&c->disk, &file, &exists, &why);
	if (e == OK && exists) {
		c->written = claims_hash(buf_str(&file));
		e = state_claims_decode(buf_str(&file), s, &why);
	}
	buf_free(&file);
	if (e != OK)
		LOG_ERROR("state.claims_lost", LS("path", c->disk.file), LS("reason", why.text));
}

void
state_claims_close(struct state_claims *c)
{
	free(c->disk.file);
	free(c->disk.tmp);
	c->disk.file = c->disk.tmp = NULL;
}

bool
state_claims_begin(const struct state_claims *c, const struct state *s, struct claims_write *w)
{
	buf_init(&w->text, STATE_MAX);
	w->result = E_NOT_DURABLE;
	if (!state_claims_encode(s, &w->text)) {
		buf_free(&w->text);
		return false;
	}
	w->due = claims_hash(buf_str(&w->text)) != c->written;
	return true;
}

enum err
state_claims_write(const struct state_claims *c, struct claims_write *w, struct why *why)
{
	if (!w->due)
		return OK;
	return w->result = state_disk_write(&c->disk, buf_str(&w->text), STR(""), why);
}

void
state_claims_end(struct state_claims *c, struct claims_write *w)
{
	if (w->due && w->result == OK)
		c->written = claims_hash(buf_str(&w->text));
	buf_free(&w->text);
}
