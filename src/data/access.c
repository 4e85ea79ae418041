/* access.c - access lines of a worker.  Thread: the worker that writes them. */
#include "base/json.h"
#include "base/log.h"
#include "data/access.h"
#include "data/lane.h"
#include "net/tls.h"

/* Lines about refused clients of one service in one second: a flood of connections
 * must not fill the disk. */
#define LINES_MAX 100

struct str
access_tls(struct tls *t, const char *name, double seconds, struct buf *b)
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
		if (seconds >= 0)
			json_double(&j, "tls_seconds", seconds);
	}
	if (f.peer != NULL)
		json_cstr(&j, "subject", f.peer->subject);
	return b->failed ? STR("") : buf_str(b);
}

bool
access_is_due(struct lane *l, enum ending ending, bool is_error, struct str *share)
{
	return access_due(&l->worker->access, is_error, share) &&
	       (!ending_is_refusal(ending) || access_may_tell(l));
}

bool
access_may_tell(struct lane *l)
{
	struct service *s = l->service;
	uint64_t second = (uint64_t)l->worker->now << 32, next;
	uint64_t lines = atomic_load_explicit(&s->refusal_lines, memory_order_relaxed);

	do {
		/* Another worker may be a moment ahead: its second counts. */
		next = lines < second ? second : lines;
		if ((uint32_t)next >= LINES_MAX) {
			atomic_fetch_add_explicit(&s->refusals_untold, 1, memory_order_relaxed);
			return false;
		}
	} while (!atomic_compare_exchange_weak_explicit(&s->refusal_lines, &lines, next + 1,
							memory_order_relaxed, memory_order_relaxed));
	return true;
}

void
access_tell_untold(struct lane *l)
{
	struct service *s = l->service;
	uint64_t n;

	if (atomic_load_explicit(&s->refusals_untold, memory_order_relaxed) == 0 ||
	    atomic_load_explicit(&s->refusal_lines, memory_order_relaxed) >> 32 == (uint64_t)l->worker->now)
		return;
	n = atomic_exchange_explicit(&s->refusals_untold, 0, memory_order_relaxed);
	if (n > 0)
		LOG_WARN("refusals.untold", LS("service", l->config->name),
			 LR(NULL, str_from(l->config->labels_json)), LU("lines", n),
			 LS("hint", "teal_rejected_total counts all of them"));
}
