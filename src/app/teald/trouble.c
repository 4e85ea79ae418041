/* trouble.c - what is wrong with a service; see the header.  Thread: main. */
#include <stdio.h>

#include "app/teald/trouble.h"
#include "base/clock.h"
#include "control/bake.h"
#include "control/drain.h"
#include "control/quality.h"

/* Seconds: a change that workers have not obeyed, a drain that has not ended. */
#define APPLIED_WITHIN 5
#define OVERDUE_AFTER 10

/* Of what ended within the last minute; one that fails now and then is no trouble. */
#define ERRORS_MIN 5
#define ERRORS_SHARE 0.01
#define ERRORS_CRITICAL 0.05
/* Seconds that a flip is worth to be named as what came before. */
#define FLIP_IS_NEWS 900

#define TEXT_MAX 512

size_t
trouble_by_node(const struct service *s, enum color color)
{
	size_t n = 0;

	for (size_t i = 0; i < s->colors[color].n; i++)
		n += s->colors[color].backends[i]->node_down && backend_is_wanted(s->colors[color].backends[i]);
	return n;
}

static bool
is_bad(const struct backend *b)
{
	return backend_is_wanted(b) && backend_use(b) != BACKEND_USED && b->state != BACKEND_CHECKING &&
	       b->state != BACKEND_DRAINING;
}

/* "1/3 backends healthy, 2 needed; 10.0.0.12:11080 connection refused" */
static void
put_health(struct buf *out, const struct service *s, enum color color)
{
	size_t wanted = 0;
	const struct backend *bad = NULL;

	for (size_t i = 0; i < s->colors[color].n; i++) {
		const struct backend *b = s->colors[color].backends[i];

		/* Who wants nothing new is named where there is nothing else. */
		wanted += backend_is_wanted(b) && b->state != BACKEND_DRAINING;
		if (is_bad(b) ? bad == NULL || !is_bad(bad) : bad == NULL && b->state == BACKEND_DRAINING)
			bad = b;
	}
	if (s->colorless)
		buf_printf(out, "%zu/%zu backends healthy", service_healthy(s, color), wanted);
	else
		buf_printf(out, "%s has %zu/%zu backends healthy, %zu needed", color_word(color), service_healthy(s, color),
			   wanted, service_needed(s, color));
	if (bad != NULL)
		buf_printf(out, "; %s %s", bad->text, bad->error[0] != '\0' ? bad->error : backend_word(bad));
}

/* -- the way back -------------------------------------------------------------- */

/* Where a rollback leads: a share on its way up it takes back. */
static enum color
way_back(const struct record *r)
{
	return r->share.idle > 0 && !share_is_held_back(&r->share, r->color) ? r->color : color_other(r->color);
}

bool
trouble_may_flip(const struct service_ctl *ctl, struct buf *why)
{
	const struct service *s = ctl->service;
	const struct store *store = ctl->control->store;
	enum color to = way_back(&s->record);
	struct buf names;
	bool may = true;

	if (service_healthy(s, to) < service_needed(s, to)) {
		if (why != NULL)
			put_health(why, s, to);
		return false;
	}
	if (store->fleet == NULL)
		return true;
	buf_init(&names, TEXT_MAX);
	if (fleet_objections(store->fleet(store), s->config->name, s->index, to, &names) > 0) {
		may = false;
		if (why != NULL)
			buf_printf(why, "not every teald of the fleet can reach %s: %.*s", color_word(to),
				   (int)buf_len(&names), buf_str(&names).p);
	}
	buf_free(&names);
	return may;
}

void
trouble_rollback_json(struct json *j, const struct service_ctl *ctl)
{
	struct buf why;
	bool may;

	if (!ctl->service->known || ctl->service->colorless) {
		json_null(j, "rollback");
		return;
	}
	buf_init(&why, 2 * TEXT_MAX);
	may = trouble_may_flip(ctl, &why);
	json_object(j, "rollback");
	json_cstr(j, "to", color_word(way_back(&ctl->service->record)));
	json_bool(j, "possible", may);
	if (may)
		json_null(j, "why");
	else
		json_str(j, "why", buf_str(&why));
	json_object_end(j);
	buf_free(&why);
}

/* -- the list ------------------------------------------------------------------- */

/* Where it is written to, or only counted. */
struct list {
	struct json *json;	/* NULL: counted */
	size_t n;
};

static void
put(struct list *l, const char *what, bool critical, struct buf *text)
{
	l->n++;
	if (l->json != NULL) {
		json_object(l->json, NULL);
		json_cstr(l->json, "what", what);
		json_cstr(l->json, "severity", critical ? "critical" : "warning");
		json_str(l->json, "message", buf_str(text));
		json_object_end(l->json);
	}
	buf_clear(text);
}

static void
look_at_active(struct list *l, const struct service *s, struct buf *text)
{
	enum color active = s->record.color;
	size_t healthy = service_healthy(s, active), needed = service_needed(s, active),
	       by_node = trouble_by_node(s, active), bad = 0;
	const struct backend *first = NULL;

	for (size_t i = 0; i < s->colors[active].n; i++) {
		const struct backend *b = s->colors[active].backends[i];

		if (!is_bad(b) || b->node_down)
			continue;
		bad++;
		if (first == NULL)
			first = b;
	}
	if (s->config->backendless)
		return;
	if (healthy == 0) {
		put_health(text, s, active);
		put(l, "no_backend", true, text);
	} else if (healthy + by_node < needed) {
		put_health(text, s, active);
		put(l, "too_few_backends", false, text);
	} else if (bad > 0) {
		buf_printf(text, "%zu of %zu backends%s%s not up: %s %s%s", bad, s->colors[active].n,
			   s->colorless ? "" : " of ", s->colorless ? "" : color_word(active), first->text,
			   first->error[0] != '\0' ? first->error : backend_word(first), bad > 1 ? " and others" : "");
		put(l, "backend_down", false, text);
	}
}

/* "2.0 % of 4812 requests failed in the last minute; 0.0 % before the flip" */
static void
look_at_errors(struct list *l, const struct service_ctl *ctl, struct buf *text)
{
	const struct service *s = ctl->service;
	const char *thing = s->config->mode == MODE_HTTP ? "requests" : "sessions";
	double now = clock_now();
	struct quality_figures f = quality_recent(ctl->quality, s, s->record.color, now);
	const struct quality_flip *flip = &ctl->quality->flip;
	const struct quality_sum *before = &flip->before.sum;

	if (f.sum.errors < ERRORS_MIN || f.sum.errors <= f.sum.count * ERRORS_SHARE)
		return;
	buf_printf(text, "%.1f %% of %u %s failed within %.0f s", 100.0 * f.sum.errors / f.sum.count, f.sum.count, thing,
		   f.seconds);
	if (flip->epoch == s->record.epoch && before->count > 0 &&
	    clock_wall_us() - flip->at_us < FLIP_IS_NEWS * INT64_C(1000000))
		buf_printf(text, ", %.1f %% before the flip to %s", 100.0 * before->errors / before->count,
			   color_word(flip->to));
	put(l, "errors", f.sum.errors > f.sum.count * ERRORS_CRITICAL, text);
}

static void
look_at_service(struct list *l, const struct service_ctl *ctl)
{
	const struct service *s = ctl->service;
	uint64_t waiting = service_waiting(s);
	struct buf text;

	buf_init(&text, 4 * TEXT_MAX);
	if (!s->known) {
		buf_printf(&text, "which color is active is not known: the store has not answered");
		put(l, "color_unknown", true, &text);
		buf_free(&text);
		return;
	}
	look_at_active(l, s, &text);
	look_at_errors(l, ctl, &text);
	/* A color that nothing was ever flipped from is no way back. */
	if (s->record.change != CHANGE_INITIAL && !trouble_may_flip(ctl, &text))
		put(l, "rollback_impossible", false, &text);
	if (s->applied_epoch < s->record.epoch &&
	    clock_wall_us() - s->record.at_us > APPLIED_WITHIN * INT64_C(1000000)) {
		buf_printf(&text, "the flip to %s, epoch %llu, is stored and not applied", color_word(s->record.color),
			   (unsigned long long)s->record.epoch);
		put(l, "not_applied", true, &text);
	}
	if (bake_is_on(ctl) && ctl->bake->failed > 0 && ctl->bake->state == BAKE_PROMOTING) {
		buf_printf(&text, "the bake of %s is over, and %s could not be given the rest of the clients: see bake.promotion_failed in "
			   "the log", color_word(ctl->bake->to), color_word(ctl->bake->to));
		put(l, "bake_not_promoted", false, &text);
	} else if (bake_is_on(ctl) && ctl->bake->failed > 0) {
		buf_printf(&text, "%s is worse since its flip, and could not be rolled back: see bake.rollback_failed in the log",
			   color_word(ctl->bake->to));
		put(l, "bake_not_rolled_back", true, &text);
	}
	if (ctl->drain != NULL && clock_now() - ctl->drain->due > OVERDUE_AFTER) {
		buf_printf(&text, "the drain of %s should have ended", color_word(ctl->drain->color));
		put(l, "drain_overdue", true, &text);
	}
	if (waiting > 0) {
		buf_printf(&text, "%llu clients wait for a place", (unsigned long long)waiting);
		put(l, "waiting", false, &text);
	}
	buf_free(&text);
}

void
trouble_json(struct json *j, const struct service_ctl *ctl)
{
	struct list l = { .json = j };

	json_array(j, "trouble");
	look_at_service(&l, ctl);
	json_array_end(j);
}

size_t
trouble_count(const struct service_ctl *ctl)
{
	struct list l = { .json = NULL };

	look_at_service(&l, ctl);
	return l.n;
}
