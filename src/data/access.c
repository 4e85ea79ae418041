/* access.c - which access lines are written.  Thread: the worker that owns it. */
#include "base/decimal.h"
#include "base/json.h"
#include "base/log.h"
#include "data/access.h"
#include "net/tls.h"

void
access_init(struct access *a, const struct config *config)
{
	struct str key = STR("\"sample\":");

	a->which = config->log.access;
	a->sample = config->log.sample;
	a->owed = 1 - a->sample;	/* the first is written */
	memcpy(a->sampled, key.p, key.n);
	a->sampled[key.n + decimal_9(a->sampled + key.n, a->sample)] = '\0';
}

bool
access_due(struct access *a, bool is_error, struct str *share)
{
	*share = STR("");
	if (a->which == ACCESS_OFF || (a->which == ACCESS_ERRORS && !is_error))
		return false;
	if (a->sample >= 1 || a->which == ACCESS_ERRORS)
		return true;
	if (is_error) {
		*share = STR("\"sample\":1");
		return true;
	}
	a->owed += a->sample;
	/* Sums of what is no binary fraction end a little below. */
	if (a->owed < 1 - 1e-9)
		return false;
	a->owed -= 1;
	*share = str_from(a->sampled);
	return true;
}

struct str
access_tls(struct tls *t, const char *name, struct buf *b)
{
	struct tls_facts f = { .server_name = name };
	struct json j;

	buf_init(b, 2048);
	if (t == NULL && name[0] == '\0')
		return STR("");
	if (t != NULL)
		tls_facts(t, &f);
	json_init(&j, b);
	if (f.server_name[0] != '\0')
		json_cstr(&j, "sni", f.server_name);
	if (t != NULL) {
		json_cstr(&j, "tls", f.protocol);
		json_cstr(&j, "cipher", f.cipher);
		json_bool(&j, "resumed", f.resumed);
	}
	if (f.peer != NULL)
		json_cstr(&j, "subject", f.peer->subject);
	return b->failed ? STR("") : buf_str(b);
}
