/* redis_record.c - records and history lines as Redis keeps them.  Any thread. */
#define _XOPEN_SOURCE 700
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "store/redis_number.h"
#include "store/redis_record.h"

/* -- time ------------------------------------------------------------------------ */

/* RFC 3339 in UTC, or plain microseconds; false for anything else. */
static bool
parse_time(const char *text, int64_t *out)
{
	struct tm tm = { 0 };
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t us = 0, unit = 100000;
	uint64_t plain;

	if (rest == NULL) {
		if (!str_to_u64(str_from(text), CLOCK_US_MAX, &plain))
			return false;
		*out = (int64_t)plain;
		return true;
	}
	if (*rest == '.')
		for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit /= 10)
			us += (*rest - '0') * unit;
	if (strcmp(rest, "Z") != 0)
		return false;
	*out = (int64_t)timegm(&tm) * 1000000 + us;
	return *out >= 0 && *out <= CLOCK_US_MAX;
}

/* -- records ---------------------------------------------------------------------- */

static void
format_lock(const struct record *r, char *out, size_t size)
{
	struct buf text;
	struct json j;
	char at[CLOCK_TEXT];

	out[0] = '\0';
	if (!r->lock.on)
		return;
	buf_init(&text, size - 1);
	json_init(&j, &text);
	clock_format(r->lock.at_us, 6, at);
	json_object(&j, NULL);
	json_cstr(&j, "by", r->lock.by);
	json_cstr(&j, "reason", r->lock.reason);
	json_cstr(&j, "at", at);
	json_object_end(&j);
	str_copy(out, size, buf_str(&text));
	buf_free(&text);
}

static void
format_claim(const struct record *r, char *out, size_t size)
{
	struct buf text;
	struct json j;
	char at[CLOCK_TEXT];

	out[0] = '\0';
	if (!r->claim.on)
		return;
	buf_init(&text, size - 1);
	json_init(&j, &text);
	clock_format(r->claim.at_us, 6, at);
	json_object(&j, NULL);
	json_cstr(&j, "by", r->claim.by);
	json_cstr(&j, "reason", r->claim.reason);
	json_cstr(&j, "at", at);
	json_u64(&j, "epoch", r->claim.epoch);
	json_i64(&j, "until_us", r->claim.until_us);
	json_cstr(&j, "token", r->claim.token);
	json_object_end(&j);
	str_copy(out, size, buf_str(&text));
	buf_free(&text);
}

static void
format_hold(const struct record *r, char *out, size_t size)
{
	struct buf text;
	struct json j;
	char at[CLOCK_TEXT];

	out[0] = '\0';
	if (!r->hold.on)
		return;
	buf_init(&text, size - 1);
	json_init(&j, &text);
	clock_format(r->hold.at_us, 6, at);
	json_object(&j, NULL);
	json_cstr(&j, "by", r->hold.by);
	json_cstr(&j, "reason", r->hold.reason);
	json_cstr(&j, "at", at);
	json_u64(&j, "epoch", r->hold.epoch);
	json_i64(&j, "until_us", r->hold.until_us);
	json_object_end(&j);
	str_copy(out, size, buf_str(&text));
	buf_free(&text);
}

void
redis_record_format(const struct record *r, struct redis_record_text *out)
{
	snprintf(out->color, sizeof(out->color), "%s", color_word(r->color));
	snprintf(out->epoch, sizeof(out->epoch), "%llu", (unsigned long long)r->epoch);
	snprintf(out->previous, sizeof(out->previous), "%s",
		 r->change == CHANGE_FLIP ? color_word(color_other(r->color)) : "");
	snprintf(out->change, sizeof(out->change), "%s", change_word(r->change));
	snprintf(out->by, sizeof(out->by), "%s", r->by);
	clock_format(r->at_us, 6, out->at);
	snprintf(out->reason, sizeof(out->reason), "%s", r->reason);
	format_lock(r, out->locked, sizeof(out->locked));
	snprintf(out->forced, sizeof(out->forced), "%s", r->forced ? "1" : "");
	format_claim(r, out->claimed, sizeof(out->claimed));
	format_hold(r, out->held, sizeof(out->held));
	/* A teald that knows no revisions leaves the field as it is. */
	out->revision[0] = '\0';
	if (r->revision[0] != '\0')
		snprintf(out->revision, sizeof(out->revision), "%s@%llu", r->revision, (unsigned long long)r->epoch);
	share_format(&r->share, r->epoch, out->share);
}

/* NULL for nil, or for what is no text. */
static const char *
element_text(const redisReply *reply, size_t i)
{
	const redisReply *e = reply->element[i];

	return e->type == REDIS_REPLY_STRING && strlen(e->str) == (size_t)e->len ? e->str : NULL;
}

static bool
parse_lock(const char *text, struct record *r)
{
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *by, *reason, *at;
	bool ok = json_unpack(o, "{s:s, s:s, s:s}", "by", &by, "reason", &reason, "at", &at) == 0;

	if (ok) {
		r->lock.on = true;
		str_copy(r->lock.by, sizeof(r->lock.by), str_from(by));
		str_copy(r->lock.reason, sizeof(r->lock.reason), str_from(reason));
		ok = parse_time(at, &r->lock.at_us);
	}
	json_decref(o);
	return ok;
}

static bool
parse_claim(const char *text, struct record *r)
{
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *by, *reason, *at, *token;
	json_int_t epoch, until;
	bool ok = json_unpack(o, "{s:s, s:s, s:s, s:I, s:I, s:s}", "by", &by, "reason", &reason, "at", &at, "epoch",
			      &epoch, "until_us", &until, "token", &token) == 0 &&
		  epoch >= 1 && epoch <= (json_int_t)REDIS_NUMBER_MAX && until >= 0 && until <= CLOCK_US_MAX &&
		  claim_is_hash(token);

	if (ok) {
		r->claim.on = true;
		r->claim.epoch = (uint64_t)epoch;
		r->claim.until_us = until;
		str_copy(r->claim.token, sizeof(r->claim.token), str_from(token));
		str_copy(r->claim.by, sizeof(r->claim.by), str_from(by));
		str_copy(r->claim.reason, sizeof(r->claim.reason), str_from(reason));
		ok = parse_time(at, &r->claim.at_us);
	}
	json_decref(o);
	return ok;
}

/* As parse_claim(). */
static bool
parse_hold(const char *text, struct record *r)
{
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *by, *reason, *at;
	json_int_t epoch, until;
	bool ok = json_unpack(o, "{s:s, s:s, s:s, s:I, s:I}", "by", &by, "reason", &reason, "at", &at, "epoch", &epoch,
			      "until_us", &until) == 0 &&
		  epoch >= 1 && epoch <= (json_int_t)REDIS_NUMBER_MAX && until >= 0 && until <= CLOCK_US_MAX;

	if (ok) {
		r->hold.on = true;
		r->hold.epoch = (uint64_t)epoch;
		r->hold.until_us = until;
		str_copy(r->hold.by, sizeof(r->hold.by), str_from(by));
		str_copy(r->hold.reason, sizeof(r->hold.reason), str_from(reason));
		ok = parse_time(at, &r->hold.at_us);
	}
	json_decref(o);
	return ok;
}

/* Of another epoch, or no such text: it says nothing of the record as it is. */
static void
parse_revision(const char *text, struct record *r)
{
	const char *at = strchr(text, '@');
	uint64_t epoch;

	if (at == NULL || !str_to_u64(str_from(at + 1), UINT64_MAX, &epoch) || epoch != r->epoch ||
	    !revision_is_word((struct str){ text, (size_t)(at - text) }))
		return;
	str_copy(r->revision, sizeof(r->revision), (struct str){ text, (size_t)(at - text) });
}

enum err
redis_record_parse(const redisReply *reply, struct record *out, bool *exists, struct why *why)
{
	const char *text[REDIS_RECORD_FIELDS];
	bool any = false;
	uint64_t epoch;

	memset(out, 0, sizeof(*out));
	*exists = false;
	if (reply->type == REDIS_REPLY_ERROR)
		return why_set(why, E_STORE, "%.*s", (int)(reply->len < 200 ? reply->len : 200), reply->str);
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != REDIS_RECORD_FIELDS)
		return why_set(why, E_STORE, "the answer is not the fields of a hash");
	for (size_t i = 0; i < REDIS_RECORD_FIELDS; i++) {
		text[i] = element_text(reply, i);
		any |= reply->element[i]->type != REDIS_REPLY_NIL;
	}
	if (!any)
		return OK;
	if (text[0] == NULL || !color_from_word(str_from(text[0]), &out->color))
		return why_set(why, E_STORE, "the field color is \"%.20s\", neither green nor blue",
			       text[0] != NULL ? text[0] : "");
	if (text[1] == NULL || !str_to_u64(str_from(text[1]), UINT64_MAX, &epoch) || epoch < 1)
		return why_set(why, E_STORE, "the field epoch is \"%.20s\", not a number from 1",
			       text[1] != NULL ? text[1] : "");
	if (epoch > REDIS_NUMBER_MAX)
		return why_set(why, E_STORE, "the field epoch is %llu, " REDIS_NUMBER_TOO_GREAT,
			       (unsigned long long)epoch);
	out->epoch = epoch;
	if (text[3] == NULL || !change_from_word(text[3], &out->change) || !change_is_of_color(out->change))
		out->change = text[2] != NULL && text[2][0] != '\0' ? CHANGE_FLIP :
			      epoch == 1                            ? CHANGE_INITIAL :
								      CHANGE_ROLLBACK;
	str_copy(out->by, sizeof(out->by), str_from(text[4] != NULL ? text[4] : ""));
	if (text[5] == NULL || !parse_time(text[5], &out->at_us))
		out->at_us = 0;
	str_copy(out->reason, sizeof(out->reason), str_from(text[6] != NULL ? text[6] : ""));
	if (reply->element[7]->type != REDIS_REPLY_NIL &&
	    (text[7] == NULL || (text[7][0] != '\0' && !parse_lock(text[7], out))))
		return why_set(why, E_STORE, "the field locked is not what Teal writes there");
	out->forced = text[8] != NULL && strcmp(text[8], "1") == 0;
	if (reply->element[9]->type != REDIS_REPLY_NIL &&
	    (text[9] == NULL || (text[9][0] != '\0' && !parse_claim(text[9], out))))
		return why_set(why, E_STORE, "the field claimed is not what Teal writes there");
	if (text[10] != NULL)
		parse_revision(text[10], out);
	if (reply->element[11]->type != REDIS_REPLY_NIL &&
	    (text[11] == NULL || !share_parse(str_from(text[11]), out->epoch, &out->share)))
		return why_set(why, E_STORE, "the field share is not what Teal writes there");
	if (reply->element[12]->type != REDIS_REPLY_NIL &&
	    (text[12] == NULL || (text[12][0] != '\0' && !parse_hold(text[12], out))))
		return why_set(why, E_STORE, "the field held is not what Teal writes there");
	*exists = true;
	return OK;
}

/* -- history ------------------------------------------------------------------------- */

void
redis_entry_format(const struct audit_entry *a, struct buf *out)
{
	struct json j;

	json_init(&j, out);
	json_object(&j, NULL);
	json_cstr(&j, "service", a->service);
	json_i64(&j, "at_us", a->at_us);
	json_cstr(&j, "change", change_word(a->change));
	json_u64(&j, "epoch", a->epoch);
	json_cstr(&j, "from", color_word(a->from));
	json_cstr(&j, "to", color_word(a->to));
	json_cstr(&j, "by", a->by);
	json_u64(&j, "uid", a->uid);
	json_i64(&j, "pid", a->pid);
	json_cstr(&j, "reason", a->reason);
	json_cstr(&j, "expect", a->expect);
	json_cstr(&j, "result", a->result);
	json_cstr(&j, "host", a->host);
	if (a->revision[0] != '\0')
		json_cstr(&j, "revision", a->revision);
	if (a->share > 0)
		json_u64(&j, "share", a->share);
	json_object_end(&j);
}

bool
redis_entry_parse(struct str text, struct audit_entry *out)
{
	const char *service, *change, *from, *to, *by, *reason, *expect, *result, *host = "", *revision = "";
	json_int_t at, epoch, uid, pid, share = 0;
	json_t *o = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
	bool ok;

	memset(out, 0, sizeof(*out));
	ok = json_unpack(o, "{s:s, s:I, s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:s, s?:s, s?:s, s?I}", "service",
			 &service, "at_us", &at, "change", &change, "epoch", &epoch, "from", &from, "to", &to,
			 "by", &by, "uid", &uid, "pid", &pid, "reason", &reason, "expect", &expect, "result",
			 &result, "host", &host, "revision", &revision, "share", &share) == 0 &&
	     at >= 0 && at <= CLOCK_US_MAX && epoch >= 0 && share >= 0 && share <= SHARE_WHOLE && change_from_word(change, &out->change) &&
	     color_from_word(str_from(from), &out->from) && color_from_word(str_from(to), &out->to);
	if (ok) {
		out->at_us = at;
		out->epoch = (uint64_t)epoch;
		out->uid = (uint32_t)uid;
		out->pid = (int32_t)pid;
		out->share = (uint32_t)share;
		str_copy(out->service, sizeof(out->service), str_from(service));
		str_copy(out->by, sizeof(out->by), str_from(by));
		str_copy(out->reason, sizeof(out->reason), str_from(reason));
		str_copy(out->expect, sizeof(out->expect), str_from(expect));
		str_copy(out->result, sizeof(out->result), str_from(result));
		str_copy(out->host, sizeof(out->host), str_from(host));
		if (revision_is_word(str_from(revision)))
			str_copy(out->revision, sizeof(out->revision), str_from(revision));
	}
	json_decref(o);
	return ok;
}
