/* notify_message.c - events as JSON, and as requests.  Thread: main. */
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/version.h"
#include "control/bus.h"
#include "control/notify_message.h"

/* -- for people ------------------------------------------------------------------------- */

static struct str
words_at(const struct log_field *fields, const char *key)
{
	const struct log_field *f = bus_field(fields, key);

	return f != NULL && f->type == LOG_STR ? f->v.s : STR("");
}

static void
append_str(struct buf *out, struct str s)
{
	buf_append(out, s.p, s.n);
}

/* " by ci-shop: deploy 8812" */
static void
put_who(struct buf *out, const struct log_field *fields)
{
	struct str by = words_at(fields, "by"), reason = words_at(fields, "reason");

	if (by.n > 0) {
		buf_printf(out, " by ");
		append_str(out, by);
	}
	if (reason.n > 0) {
		buf_printf(out, ": ");
		append_str(out, reason);
	}
}

static void
put_flip_words(struct buf *out, const struct log_field *fields)
{
	const struct log_field *epoch = bus_field(fields, "epoch");

	if (str_eq(words_at(fields, "kind"), "rollback"))
		buf_printf(out, "rolled back, ");
	append_str(out, words_at(fields, "from"));
	buf_printf(out, " -> ");
	append_str(out, words_at(fields, "to"));
	if (epoch != NULL && epoch->type == LOG_U64)
		buf_printf(out, " (epoch %" PRIu64 ")", epoch->v.u);
	put_who(out, fields);
}

static void
put_pair(struct buf *out, const struct log_field *f)
{
	switch (f->type) {
	case LOG_STR:
		if (f->v.s.n == 0)
			return;
		buf_printf(out, ", %s ", f->key);
		append_str(out, f->v.s);
		return;
	case LOG_U64:
		buf_printf(out, ", %s %" PRIu64, f->key, f->v.u);
		return;
	case LOG_I64:
		buf_printf(out, ", %s %" PRId64, f->key, f->v.i);
		return;
	case LOG_DOUBLE:
		buf_printf(out, ", %s %.3g", f->key, f->v.d);
		return;
	case LOG_BOOL:
		buf_printf(out, ", %s %s", f->key, f->v.b ? "true" : "false");
		return;
	case LOG_RAW:
	case LOG_END:
		return;
	}
}

void
notify_text(struct buf *out, const struct notify_event_facts *facts)
{
	if (facts->service != NULL)
		buf_printf(out, "%s: ", facts->service->config->name);
	if (strcmp(facts->event, "flip.committed") == 0) {
		put_flip_words(out, facts->fields);
		return;
	}
	buf_printf(out, "%s", facts->event);
	for (const struct log_field *f = facts->fields; f->type != LOG_END; f++)
		put_pair(out, f);
}

/* -- for programs ------------------------------------------------------------------------- */

static void
json_text(struct json *j, const char *key, const struct notify_event_facts *facts)
{
	struct buf text;

	buf_init(&text, NOTIFY_BODY_MAX);
	notify_text(&text, facts);
	json_str(j, key, buf_str(&text));
	buf_free(&text);
}

static void
put_event(struct json *j, const struct notify_event_facts *facts, bool whole)
{
	char time[CLOCK_TEXT];

	clock_format(facts->at_us, 6, time);
	json_object(j, NULL);
	json_cstr(j, "id", facts->id);
	json_cstr(j, "event", facts->event);
	json_cstr(j, "time", time);
	json_cstr(j, "teal", facts->host);
	if (whole) {
		json_text(j, "text", facts);
		if (facts->service != NULL) {
			json_object(j, "labels");
			json_raw(j, NULL, str_from(facts->service->config->labels_json));
			json_object_end(j);
		}
		bus_fields_json(j, facts->service, facts->fields, NULL);
	}
	json_object_end(j);
}

static void
put_annotation(struct json *j, const struct notify_config *receiver, const struct notify_event_facts *facts)
{
	struct str to = words_at(facts->fields, "to");

	json_object(j, NULL);
	json_i64(j, "time", facts->at_us / 1000);
	json_array(j, "tags");
	json_cstr(j, NULL, "teal");
	json_cstr(j, NULL, facts->event);
	if (facts->service != NULL)
		json_cstr(j, NULL, facts->service->config->name);
	if (to.n > 0)
		json_str(j, NULL, to);
	for (size_t i = 0; i < receiver->n_tags; i++)
		json_cstr(j, NULL, receiver->tags[i]);
	json_array_end(j);
	json_text(j, "text", facts);
	json_object_end(j);
}

void
notify_body(struct buf *out, const struct notify_config *receiver, const struct notify_event_facts *facts)
{
	struct json j;

	json_init(&j, out);
	if (receiver->format == NOTIFY_GRAFANA) {
		put_annotation(&j, receiver, facts);
		return;
	}
	put_event(&j, facts, true);
	if (!out->failed)
		return;
	buf_clear(out);
	out->failed = false;
	json_init(&j, out);
	put_event(&j, facts, false);
}

/* -- the request ----------------------------------------------------------------------------- */

static void
put_signature(struct buf *out, const char *secret, struct str body, int64_t now_s)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	struct buf text;

	buf_init(&text, NOTIFY_BODY_MAX + 64);
	buf_printf(&text, "%" PRId64 ".", now_s);
	append_str(&text, body);
	CHECK(!text.failed && HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)buf_str(&text).p,
				   buf_len(&text), digest, &n) != NULL);
	buf_free(&text);
	buf_printf(out, "X-Teal-Signature: t=%" PRId64 ",v1=", now_s);
	for (unsigned i = 0; i < n; i++)
		buf_printf(out, "%02x", digest[i]);
	buf_printf(out, "\r\n");
}

void
notify_request(struct buf *out, const struct notify_config *receiver, const char *id, const char *event, struct str body,
	       int64_t now_s)
{
	char authority[HTTP_URL_ORIGIN];

	buf_printf(out, "POST %s HTTP/1.1\r\nHost: %s\r\n", receiver->url.target,
		   http_url_authority(&receiver->url, authority));
	buf_printf(out, "User-Agent: teald/%s\r\nAccept: application/json\r\nContent-Type: application/json\r\n", teal_version());
	buf_printf(out, "Content-Length: %zu\r\nConnection: close\r\nX-Teal-Event: %s\r\nX-Teal-Delivery: %s\r\n", body.n,
		   event, id);
	if (receiver->token != NULL)
		buf_printf(out, "Authorization: Bearer %s\r\n", receiver->token);
	if (receiver->secret != NULL)
		put_signature(out, receiver->secret, body, now_s);
	buf_printf(out, "\r\n");
	append_str(out, body);
}
