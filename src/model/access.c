/* access.c - which access lines are written.  Thread: the one that owns it. */
#include "base/decimal.h"
#include "model/access.h"

void
access_obey(struct access *a, const struct config *config)
{
	struct str key = STR("\"sample\":");

	a->which = config->log.access;
	a->sample = config->log.sample;
	memcpy(a->sampled, key.p, key.n);
	a->sampled[key.n + decimal_9(a->sampled + key.n, a->sample)] = '\0';
}

void
access_init(struct access *a, const struct config *config)
{
	access_obey(a, config);
	a->owed = 1 - a->sample;	/* the first is written */
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
