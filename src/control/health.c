/* health.c - makes verdicts of the answers that targets give.
 *
 * Each backend has one check, which uses one target (control/targets.h): backends that are
 * asked the same at the same address, of whatever services, share it, and each makes
 * its own verdict of the answers.
 *
 * Thread: main. */
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/health_private.h"

/* Seconds between two complaints of what teald itself lacks. */
#define COMPLAIN_EVERY 10

static struct check *
check_of(const struct target_user *u)
{
	struct check *c = container_of((struct target_user *)(uintptr_t)u, struct check, user);

	CHECK(c->magic == CHECK_MAGIC);
	return c;
}

void
check_become(struct check *c, enum backend_state state)
{
	struct health *h = c->group->health;
	enum backend_state was = c->backend->state;

	CHECK(state != was);
	c->backend->state = state;
	c->backend->since_us = clock_wall_us();
	h->events.changed(h->events.arg, c->group->service, c->backend, was);
}

static bool
has_failed(const struct check *c)
{
	return c->failed > 0 && c->failed >= check_config_of(c)->fall;
}

/* The table of verdicts. */
static void
judge_check(struct check *c)
{
	const struct health_config *hc = check_config_of(c);

	/* Down is down, whatever the checks say. */
	if (c->backend->agent.down)
		return;
	switch (c->backend->state) {
	case BACKEND_CHECKING:
		if (c->passed > 0)
			check_become(c, BACKEND_UP);
		else if (has_failed(c))
			check_become(c, c->declined > 0 ? BACKEND_DRAINING : BACKEND_DOWN);
		return;
	case BACKEND_UP:
		if (has_failed(c))
			check_become(c, c->declined > 0 ? BACKEND_DRAINING : BACKEND_DOWN);
		return;
	case BACKEND_DRAINING:
		if (c->passed > 0 && c->passed >= hc->rise)
			check_become(c, BACKEND_UP);
		else if (c->broken > 0 && c->broken >= hc->fall)
			check_become(c, BACKEND_DOWN);
		return;
	case BACKEND_DOWN:
		if (c->passed > 0 && c->passed >= hc->rise)
			check_become(c, BACKEND_UP);
		else if (c->declined > 0 && c->declined >= hc->rise)
			check_become(c, BACKEND_DRAINING);
		return;
	}
}

/* The last answer speaks against the verdict, or there is none yet. */
static bool
is_changing(const struct check *c)
{
	if (c->backend->agent.down)
		return false;
	switch (c->backend->state) {
	case BACKEND_CHECKING:
		return true;
	case BACKEND_UP:
		return c->failed > 0;
	case BACKEND_DRAINING:
		return c->passed + c->broken > 0;
	case BACKEND_DOWN:
		return c->passed + c->declined > 0;
	}
	return false;
}

static void
check_question(struct target_user *u, struct probe_request *out)
{
	struct check *c = check_of(u);
	struct question *q = &c->group->health->question;

	question_clear(q);
	question_make(q, c->group->service, c->backend);
	*out = q->request;
	out->told = &c->group->health->told;
}

static void
set_endpoints(struct check *c, unsigned endpoints)
{
	struct health *h = c->group->health;

	if (c->backend->endpoints == endpoints)
		return;
	c->backend->endpoints = endpoints;
	if (backend_weigh(c->backend))
		h->events.weighed(h->events.arg, c->group->service, c->backend);
}

/* True: it wants nothing new; *error says so then, perhaps in text. */
static bool
hear_kube_proxy(struct check *c, const char **error, char text[sizeof(c->backend->error)])
{
	struct probe_told *told = &c->group->health->told;
	struct kube_health *k = &c->group->health->kube;

	if (told->fresh)
		kube_health_read(str_from(told->kept), (struct str){ told->text, told->n }, k);
	told->fresh = false;
	if (*error == NULL && !(k->counted && k->endpoints == 0)) {
		set_endpoints(c, k->counted && check_config_of(c)->weight == HEALTH_WEIGHT_ENDPOINTS ? k->endpoints : 0);
		return false;
	}
	if (*error != NULL && told->status != 503)
		return false;
	kube_health_reason(k, told->status, text, sizeof(c->backend->error));
	*error = text;
	return true;
}

static void
check_on_answer(struct target_user *u, const char *error, bool prompt)
{
	struct check *c = check_of(u);
	char text[sizeof(c->backend->error)];
	bool declines = check_config_of(c)->type == HEALTH_KUBE_PROXY && hear_kube_proxy(c, &error, text);

	(void)prompt;
	c->answered = true;
	c->backend->checks[error == NULL]++;
	if (error == NULL) {
		c->failed = c->declined = c->broken = 0;
		c->passed += c->passed < UINT32_MAX;
		if (!c->backend->agent.down)
			c->backend->error[0] = '\0';
	} else {
		c->passed = 0;
		c->failed += c->failed < UINT32_MAX;
		c->declined = declines ? c->declined + (c->declined < UINT32_MAX) : 0;
		c->broken = declines ? 0 : c->broken + (c->broken < UINT32_MAX);
		if (!c->backend->agent.down)
			str_copy(c->backend->error, sizeof(c->backend->error), str_from(error));
	}
	judge_check(c);
}

void
check_complain(const struct check *c, const char *error)
{
	struct health *h = c->group->health;
	double now = clock_now();

	if (h->complained > 0 && now - h->complained < COMPLAIN_EVERY)
		return;
	h->complained = now;
	LOG_WARN("health.cannot_check", LS("service", c->group->service->config->name),
		 LR(NULL, str_from(c->group->service->config->labels_json)),
		 LS("backend", c->backend->text), LS("reason", error));
}

static void
check_on_trouble(struct target_user *u, const char *error)
{
	check_complain(check_of(u), error);
}

static double
check_every(const struct target_user *u)
{
	const struct check *c = check_of(u);
	const struct health_config *hc = check_config_of(c);

	if (!is_changing(c))
		return hc->interval;
	return hc->fast_interval > 0 ? hc->fast_interval : hc->interval / 4;
}

static bool
check_is_down(const struct target_user *u)
{
	return check_of(u)->backend->state == BACKEND_DOWN;
}

static const struct targets_ops check_ops = {
	.question = check_question,
	.answered = check_on_answer,
	.not_asked = check_on_trouble,
	.every = check_every,
	.is_down = check_is_down,
};

/* Its backend is asked as the service's configuration says now, and soon; or not at
 * all: then it is up. */
static void
check_begin(struct check *c)
{
	struct health *h = c->group->health;
	struct question q;

	if (!backend_has_address(c->backend))
		return;
	health_agent_settle(c);
	if (check_config_of(c)->type != HEALTH_NONE) {
		question_make(&q, c->group->service, c->backend);
		target_join(h->targets, &c->user, question_key(&q, c->group->service));
		question_clear(&q);
		return;
	}
	c->answered = true;
	if (c->backend->agent.down)
		return;
	c->backend->error[0] = '\0';
	if (c->backend->state != BACKEND_UP)
		check_become(c, BACKEND_UP);
}

static struct check *
check_new(struct group *g, struct backend *b)
{
	struct check *c = must_alloc(sizeof(*c));

	c->magic = CHECK_MAGIC;
	c->group = g;
	c->backend = backend_ref(b);
	c->user.owner = &g->owner;
	list_init(&c->user.link);
	c->agent.owner = &g->agents;
	list_init(&c->agent.link);
	return c;
}

static void
check_free(struct check *c)
{
	target_leave(&c->user);
	target_leave(&c->agent);
	backend_unref(&c->backend);
	c->magic = 0;
	free(c);
}

/* What the service's configuration says now; false: it is what the group went by. */
static bool
take_check_terms(struct group *g)
{
	const struct health_config *hc = &g->service->config->health;
	const struct check_terms was = g->terms;

	g->terms = (struct check_terms){ .type = hc->type,
					 .weight = hc->weight,
					 .interval = hc->interval,
					 .fast_interval = hc->fast_interval,
					 .rise = hc->rise,
					 .fall = hc->fall };
	return was.type != hc->type || was.weight != hc->weight || was.interval != hc->interval ||
	       was.fast_interval != hc->fast_interval || was.rise != hc->rise || was.fall != hc->fall;
}

/* By new terms from now on; changed: they are others, beside the question. */
static void
check_renew(struct check *c, bool changed)
{
	struct target *before = c->user.target;

	if (check_config_of(c)->type != HEALTH_KUBE_PROXY || check_config_of(c)->weight != HEALTH_WEIGHT_ENDPOINTS)
		set_endpoints(c, 0);
	/* The one that it has must not go because it leaves and comes again. */
	if (before != NULL && check_config_of(c)->type != HEALTH_NONE && backend_has_address(c->backend)) {
		struct question q;
		bool same;

		question_make(&q, c->group->service, c->backend);
		same = target_is(before, question_key(&q, c->group->service));
		question_clear(&q);
		if (same) {
			health_agent_settle(c);
			if (!changed)
				return;
			c->passed = c->failed = c->declined = c->broken = 0;
			target_ask(c->group->health->targets, before);
			return;
		}
	}
	c->passed = c->failed = c->declined = c->broken = 0;
	target_leave(&c->user);
	check_begin(c);
}

static struct group *
group_new(struct health *h, struct service *s)
{
	struct group *g = must_alloc(sizeof(*g));
	size_t k = 0;

	*g = (struct group){ .health = h, .service = s, .n = s->colors[GREEN].n + s->colors[BLUE].n };
	(void)take_check_terms(g);
	target_owner_init(&g->owner);
	target_owner_init(&g->agents);
	g->checks = must_array(g->n, sizeof(*g->checks));
	for (int color = 0; color < COLORS; color++)
		for (size_t i = 0; i < s->colors[color].n; i++)
			g->checks[k++] = check_new(g, s->colors[color].backends[i]);
	return g;
}

static void
group_start(struct group *g)
{
	for (size_t i = 0; i < g->n; i++)
		check_begin(g->checks[i]);
}

static void
group_free(struct group *g)
{
	if (g == NULL)
		return;
	for (size_t i = 0; i < g->n; i++)
		check_free(g->checks[i]);
	free(g->checks);
	free(g);
}

static void
group_put(struct health *h, struct group *g)
{
	unsigned index = g->service->index;

	if (index >= h->n) {
		h->groups = must_grow(h->groups, index + 1, sizeof(*h->groups));
		while (h->n <= index)
			h->groups[h->n++] = NULL;
	}
	CHECK(h->groups[index] == NULL);
	h->groups[index] = g;
}

struct health *
health_new(struct ev_loop *loop, struct service **services, size_t n, const struct health_events *events)
{
	struct health *h = must_alloc(sizeof(*h));

	h->targets = targets_new(loop, &check_ops);
	h->agents = health_agents_new(loop);
	h->events = *events;
	for (size_t i = 0; i < n; i++)
		group_put(h, group_new(h, services[i]));
	for (size_t i = 0; i < h->n; i++)
		if (h->groups[i] != NULL)
			group_start(h->groups[i]);
	return h;
}

void
health_free(struct health **hp)
{
	struct health *h = *hp;

	*hp = NULL;
	if (h == NULL)
		return;
	for (size_t i = 0; i < h->n; i++)
		group_free(h->groups[i]);
	targets_free(&h->targets);
	targets_free(&h->agents);
	question_clear(&h->question);
	free(h->groups);
	free(h);
}

static struct group *
group_of(const struct health *h, const struct service *s)
{
	CHECK(s->index < h->n && h->groups[s->index] != NULL && h->groups[s->index]->service == s);
	return h->groups[s->index];
}

static size_t
check_at(struct group *g, const struct backend *b)
{
	size_t i = g->next, left = g->n;

	for (; left > 0; left--, i++) {
		if (i >= g->n)
			i = 0;
		if (g->checks[i]->backend == b)
			break;
	}
	CHECK(left > 0);
	g->next = i + 1;
	return i;
}

static struct check *
check_for(const struct health *h, const struct service *s, const struct backend *b)
{
	struct group *g = group_of(h, s);

	return g->checks[check_at(g, b)];
}

void
health_add_service(struct health *h, struct service *s)
{
	struct group *g = group_new(h, s);

	group_put(h, g);
	group_start(g);
}

void
health_remove_service(struct health *h, struct service *s)
{
	struct group *g = group_of(h, s);

	h->groups[s->index] = NULL;
	group_free(g);
	targets_go_on(h->targets);
	targets_go_on(h->agents);
}

void
health_reconfigure(struct health *h, struct service *s)
{
	struct group *g = group_of(h, s);
	bool changed = take_check_terms(g);

	for (size_t i = 0; i < g->n; i++)
		check_renew(g->checks[i], changed);
	targets_go_on(h->targets);
	targets_go_on(h->agents);
}

void
health_add(struct health *h, struct service *s, struct backend *b)
{
	struct group *g = group_of(h, s);

	g->checks = must_grow(g->checks, g->n + 1, sizeof(*g->checks));
	g->checks[g->n] = check_new(g, b);
	check_begin(g->checks[g->n++]);
}

void
health_remove(struct health *h, struct service *s, struct backend *b)
{
	struct group *g = group_of(h, s);
	size_t i = check_at(g, b);

	check_free(g->checks[i]);
	g->checks[i] = g->checks[--g->n];
	targets_go_on(h->targets);
	targets_go_on(h->agents);
}

void
health_give_up(struct health *h, struct service *s, struct backend *b, const char *why)
{
	struct check *c = check_for(h, s, b);

	CHECK(!backend_has_address(b));
	c->answered = true;
	str_copy(b->error, sizeof(b->error), str_from(why));
	if (b->state != BACKEND_DOWN)
		check_become(c, BACKEND_DOWN);
}

void
health_kick(struct health *h, struct service *s)
{
	struct group *g = group_of(h, s);

	for (size_t i = 0; i < g->n; i++)
		if (g->checks[i]->user.target != NULL)
			target_hurry(h->targets, g->checks[i]->user.target);
}

void
health_adopt(struct health *h, const struct service *s, struct backend *b, enum backend_state state)
{
	struct check *c = check_for(h, s, b);

	b->state = state;
	c->answered |= state != BACKEND_CHECKING;
}

bool
health_first_round(const struct health *h, const struct service *s)
{
	const struct group *g = group_of(h, s);

	for (size_t i = 0; i < g->n; i++)
		if (!g->checks[i]->answered)
			return false;
	return true;
}

size_t
health_sharers(const struct health *h, const struct service *s, const struct backend *b)
{
	const struct target *t = check_for(h, s, b)->user.target;

	return t != NULL ? target_users(t) : 0;
}

const char *const health_counters[2] = {
	"teal_probes_total{result=\"failed\"}", "teal_probes_total{result=\"passed\"}"
};

struct targets_totals
health_totals(const struct health *h)
{
	struct targets_totals checks = targets_totals(h->targets), agents = targets_totals(h->agents);

	checks.targets += agents.targets;
	for (int passed = 0; passed < 2; passed++)
		checks.probes[passed] += agents.probes[passed];
	return checks;
}
