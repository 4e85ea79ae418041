/* verbs_flip.c - the admin commands that change a service, or ask whether they
 * could: flip, rollback, check, lock, unlock, claim, release.
 * Thread: main.  Control does the work and tells of it; here that becomes lines
 * for the client and the outcome for the audit log. */
#include <stdlib.h>

#include "app/teald/command.h"
#include "app/teald/flip_reply.h"
#include "control/claim.h"
#include "control/flip_group.h"
#include "control/gate_check.h"

struct lock_one {
	struct flip_watcher watcher;
	struct command *command;
};

/* lock '*': one answer for many. */
struct lock_all {
	size_t n, pending;
	enum err first_error;
	bool changed;
	struct buf messages;	/* of those that failed */
	struct buf names;	/* JSON strings of those that did not */
	struct json user_names_json;
	struct lock_one each[];
};

/* A check that found the gate open changed nothing and says no epoch. */
static struct outcome
outcome_of(const struct flip_outcome *o)
{
	return (struct outcome){ .result = err_word(o->error),
				 .message = o->message,
				 .changed = o->changed,
				 .has_epoch = o->gate == NULL && o->group == NULL,
				 .epoch = o->gate == NULL && o->group == NULL ? o->service->record.epoch : 0,
				 .revision = o->group != NULL && o->changed == CHANGED_YES ? o->group->revision : NULL };
}

static void
flip_on_progress(struct flip_watcher *w, const struct flip_event *e)
{
	struct buf text;

	buf_init(&text, CLIENT_REPLY_MAX);
	flip_reply_event(&text, e);
	command_progress(container_of(w, struct command, watcher), buf_str(&text));
	buf_free(&text);
}

static void
flip_on_done(struct flip_watcher *w, const struct flip_outcome *o)
{
	struct command *cmd = container_of(w, struct command, watcher);
	enum admin_command command = cmd->request.command;
	struct outcome outcome = outcome_of(o);
	struct buf text;

	buf_init(&text, CLIENT_REPLY_MAX);
	flip_reply_outcome(&text, o, command == ADMIN_LOCK || command == ADMIN_UNLOCK);
	command_relay(cmd, &outcome, buf_str(&text));
	buf_free(&text);
}

void
verb_flip_watch(struct command *cmd)
{
	cmd->watcher.progress = flip_on_progress;
	cmd->watcher.done = flip_on_done;
}

static enum flip_wait
flip_wait_of(enum admin_wait wait)
{
	switch (wait) {
	case ADMIN_WAIT_APPLIED: return FLIP_WAIT_APPLIED;
	case ADMIN_WAIT_DRAINED: return FLIP_WAIT_DRAINED;
	case ADMIN_WAIT_NONE: return FLIP_WAIT_NONE;
	}
	CHECK(!"a wait that a flip does not know");
	return FLIP_WAIT_APPLIED;
}

/* False when the command was refused, and is gone. */
static bool
take_reason(struct command *cmd, char reason[RECORD_REASON])
{
	struct why why;

	/* Cut text would be in the history for ever. */
	if (str_copy(reason, RECORD_REASON, cmd->request.reason))
		return true;
	command_fail(cmd,
		     why_set(&why, E_USAGE, "%s: --reason is longer than %d bytes", cmd->info->word,
			     RECORD_REASON - 1),
		     &why);
	return false;
}

/* The services, and the color of each, of which there is one. */
static size_t
take_flip_targets(const struct command *cmd, struct flip_target out[FLIP_GROUP_MAX])
{
	const struct admin_request *r = &cmd->request;

	_Static_assert(ADMIN_TARGETS_MAX <= FLIP_GROUP_MAX, "a line can name more than a group has");
	for (size_t i = 0; i < r->n_targets; i++) {
		const struct admin_target *t = &r->targets[i];

		out[i] = (struct flip_target){ .ctl = control_find(cmd->admin->control, str_from(t->name)),
					       .has_at_epoch = t->has_at_epoch,
					       .at_epoch = t->at_epoch };
		CHECK(out[i].ctl != NULL && (t->color.n == 0 || color_from_word(t->color, &out[i].to)));
	}
	return r->n_targets;
}

static bool
sees_clients(const struct service_config *sc)
{
	return sc->engine == ENGINE_PROXY && sc->mode != MODE_UDP;
}

/* What is judged is what the proxy sees.  False when the command was refused, and is gone. */
static bool
take_bake_of_flip(struct command *cmd, struct flip_request *f)
{
	const struct admin_request *r = &cmd->request;
	bool flips = f->kind == CHANGE_FLIP || (f->kind == CHANGE_SHIFT && f->share == SHARE_WHOLE);
	const struct service_config *sc;
	struct why why;

	if (r->n_targets > 0 && ((r->has_bake && r->bake > 0) || r->on_regression.n > 0)) {
		command_fail(cmd, why_set(&why, E_UNSUPPORTED, "several services as one are not judged: flip them without --%s",
					  r->has_bake ? "bake" : "on-regression"), &why);
		return false;
	}
	if (!flips || r->n_targets > 0)
		return true;
	sc = cmd->ctl->service->config;
	f->bake = r->has_bake ? r->bake : sees_clients(sc) ? sc->bake : 0;
	f->on_regression = sc->on_regression;
	for (int i = 0; r->on_regression.n > 0 && on_regression_words[i] != NULL; i++)
		if (str_eq(r->on_regression, on_regression_words[i]))
			f->on_regression = (enum on_regression)i;
	if (r->has_bake && r->bake > 0 && !sees_clients(sc)) {
		command_fail(cmd, why_set(&why, E_UNSUPPORTED, "%s: --bake needs mode \"tcp\" or \"http\" and engine \"proxy\": "
					  "what clients meet elsewhere is not seen", sc->name), &why);
		return false;
	}
	if (r->on_regression.n > 0 && !r->has_bake && f->bake == 0) {
		command_fail(cmd, why_set(&why, E_USAGE, "flip: --on-regression needs --bake: it is what the bake does when the color is "
					  "worse"), &why);
		return false;
	}
	return true;
}

/* A hold-back.  False when the command was refused, and is gone. */
static bool
is_for_bake(struct command *cmd, const struct flip_request *f)
{
	const struct admin_request *r = &cmd->request;
	bool bakes = r->n_targets == 0 && (r->has_bake ? r->bake > 0 : sees_clients(cmd->ctl->service->config) && cmd->ctl->service->config->bake > 0);
	struct why why;

	CHECK(f->kind == CHANGE_FLIP);
	if (!bakes)
		command_fail(cmd, why_set(&why, E_USAGE, "flip: --hold-back needs --bake: the old color keeps clients for the judge"), &why);
	return bakes;
}

/* Its first step is a shift.  False when the command was refused, and is gone. */
static bool
take_ramp_of_flip(struct command *cmd, struct flip_request *f)
{
	const struct admin_request *r = &cmd->request;
	struct why why;

	_Static_assert(ADMIN_RAMP_STEPS == RAMP_STEPS, "a line can name as many steps as a record has");
	if (r->n_ramp == 0)
		return true;
	if (r->n_targets > 0) {
		command_fail(cmd, why_set(&why, E_UNSUPPORTED, "several services as one have no ramp: flip them without --ramp"), &why);
		return false;
	}
	f->kind = CHANGE_SHIFT;
	f->share = r->ramp[0];
	f->ramp = (struct ramp){ .n = r->n_ramp,
				 .every_ms = (uint32_t)(r->every * 1e3),
				 .keep_claim = r->keep_claim,
				 .bake_ms = (uint32_t)(f->bake * 1e3),
				 .on_regression = f->on_regression };
	memcpy(f->ramp.steps, r->ramp, sizeof(f->ramp.steps));
	str_copy(f->ramp.claim, sizeof(f->ramp.claim), (struct str){ f->token, f->token[0] != '\0' ? RAMP_CLAIM - 1 : 0 });
	f->ramp_wait = f->wait;
	f->wait = f->wait == FLIP_WAIT_NONE ? FLIP_WAIT_NONE : FLIP_WAIT_APPLIED;
	f->bake = 0;
	return true;
}

static enum change
kind_of(const struct admin_request *r)
{
	return r->command == ADMIN_ROLLBACK ? CHANGE_ROLLBACK : r->command == ADMIN_SHIFT ? CHANGE_SHIFT : CHANGE_FLIP;
}

void
verb_flip(struct command *cmd)
{
	struct flip_target targets[FLIP_GROUP_MAX];
	const struct admin_request *r = &cmd->request;
	struct flip_request f = { .kind = kind_of(r) };

	/* The parser has let no other color through. */
	if (r->color.n > 0)
		CHECK(color_from_word(r->color, &f.to));
	f.share = r->share;
	f.has_expect = r->has_expect;
	if (r->has_expect)
		CHECK(color_from_word(r->expect_color, &f.expect));
	f.expect_has_epoch = r->has_expect_epoch;
	f.expect_epoch = r->expect_epoch;
	f.has_at_epoch = r->has_at_epoch;
	f.at_epoch = r->at_epoch;
	f.no_cut = r->no_cut;
	f.keep_claim = r->keep_claim;
	if (r->token.n > 0)
		claim_hash(r->token, f.token);
	f.wait = flip_wait_of(r->wait);
	f.wait_healthy = r->has_wait_healthy ? r->wait_healthy : 0;
	f.has_timeout = r->has_timeout;
	f.timeout = r->timeout;
	f.has_drain = r->has_drain;
	f.drain = r->drain;
	f.force = r->force;
	f.by = cmd->by;
	if (r->command == ADMIN_FLIP && r->share > 0 && !is_for_bake(cmd, &f))
		return;
	if (!take_bake_of_flip(cmd, &f) || !take_ramp_of_flip(cmd, &f))
		return;
	if (!take_reason(cmd, f.reason))
		return;
	verb_flip_watch(cmd);
	if (r->n_targets > 0)
		flip_group_start(cmd->admin->control, targets, take_flip_targets(cmd, targets), &f, &cmd->watcher);
	else
		flip_start(cmd->ctl, &f, &cmd->watcher);
}

void
verb_check(struct command *cmd)
{
	const struct admin_request *r = &cmd->request;
	struct gate_check_request c = { .wait_healthy = r->wait_healthy,
				   .has_at_epoch = r->has_at_epoch,
				   .at_epoch = r->at_epoch };
	struct flip_target targets[FLIP_GROUP_MAX];

	if (r->n_targets > 0) {
		verb_flip_watch(cmd);
		flip_group_check(cmd->admin->control, targets, take_flip_targets(cmd, targets), r->wait_healthy, &cmd->watcher);
		return;
	}
	CHECK(color_from_word(r->color, &c.to));
	if (r->token.n > 0)
		claim_hash(r->token, c.token);
	verb_flip_watch(cmd);
	gate_check_start(cmd->ctl, &c, &cmd->watcher);
}

static void
lock_all_free(struct command *cmd)
{
	struct lock_all *all = cmd->all;

	cmd->all = NULL;
	buf_free(&all->messages);
	buf_free(&all->names);
	free(all);
}

static void
lock_all_finish(struct command *cmd)
{
	struct lock_all *all = cmd->all;
	char message[1024];
	enum err e = all->first_error;
	struct outcome o = { .result = err_word(e),
			     .message = message,
			     .changed = all->changed ? CHANGED_YES : CHANGED_NO };
	struct buf text;
	struct json j;

	str_copy(message, sizeof(message), buf_str(&all->messages));
	command_result(&j, &text, e, message);
	json_array(&j, "services");
	buf_append(&text, buf_str(&all->names).p, buf_len(&all->names));
	json_array_end(&j);
	json_bool(&j, "changed", all->changed);
	lock_all_free(cmd);
	command_result_done(cmd, &j, &o);
}

static void
one_on_progress(struct flip_watcher *w, const struct flip_event *e)
{
	(void)w;
	(void)e;
}

static void
one_on_done(struct flip_watcher *w, const struct flip_outcome *o)
{
	struct lock_one *one = container_of(w, struct lock_one, watcher);
	struct lock_all *all = one->command->all;

	all->changed = all->changed || o->changed == CHANGED_YES;
	if (o->error == OK) {
		json_cstr(&all->user_names_json, NULL, o->service->config->name);
	} else {
		if (all->first_error == OK)
			all->first_error = o->error;
		/* Full: the first ones will do. */
		buf_printf(&all->messages, "%s%s", buf_len(&all->messages) > 0 ? "; " : "", o->message);
	}
	if (--all->pending == 0)
		lock_all_finish(one->command);
}

static void
lock_everything(struct command *cmd, const char *reason)
{
	struct control *c = cmd->admin->control;
	struct lock_all *all = must_alloc(sizeof(*all) + c->n * sizeof(all->each[0]));

	all->n = c->n;
	all->pending = c->n + 1;	/* one more: they may be done from inside */
	buf_init(&all->messages, 1000);
	buf_init(&all->names, CLIENT_REPLY_MAX / 2);
	json_init(&all->user_names_json, &all->names);
	cmd->all = all;
	for (size_t i = 0; i < c->n; i++) {
		struct lock_one *one = &all->each[i];

		if (c->services[i]->service->colorless) {
			all->pending--;
			continue;
		}
		one->watcher.progress = one_on_progress;
		one->watcher.done = one_on_done;
		one->command = cmd;
		flip_lock(c->services[i], reason, &cmd->by, &one->watcher);
	}
	if (--all->pending == 0)
		lock_all_finish(cmd);
}

void
verb_lock(struct command *cmd)
{
	bool lock = cmd->request.command == ADMIN_LOCK;
	char reason[RECORD_REASON];

	if (!take_reason(cmd, reason))
		return;
	if (cmd->request.all_services) {
		lock_everything(cmd, lock ? reason : NULL);
		return;
	}
	verb_flip_watch(cmd);
	flip_lock(cmd->ctl, lock ? reason : NULL, &cmd->by, &cmd->watcher);
}

/* The token of a claim whose job has left is known to none. */
static void
release_orphan(struct command *cmd, const char *token)
{
	struct claim_request q = { .release = true, .by = cmd->by };

	str_copy(q.token, sizeof(q.token), str_from(token));
	str_copy(q.reason, sizeof(q.reason), STR("the client of the claim had left before its answer"));
	claim_start(cmd->ctl, &q, NULL);
}

static void
claim_on_done(struct flip_watcher *w, const struct flip_outcome *o)
{
	struct command *cmd = container_of(w, struct command, watcher);
	struct outcome outcome = outcome_of(o);
	struct buf text;

	if (o->error == OK && o->token != NULL && cmd->client == NULL && cmd->request.token.n == 0)
		release_orphan(cmd, o->token);
	buf_init(&text, CLIENT_REPLY_MAX);
	flip_reply_claim(&text, o);
	command_relay(cmd, &outcome, buf_str(&text));
	buf_free(&text);
}

void
verb_claim(struct command *cmd)
{
	const struct admin_request *r = &cmd->request;
	struct claim_request q = { .release = r->command == ADMIN_RELEASE,
				   .force = r->force,
				   .ttl = r->ttl,
				   .wait = r->claim_wait,
				   .by = cmd->by };

	str_copy(q.token, sizeof(q.token), r->token);
	if (!take_reason(cmd, q.reason))
		return;
	cmd->watcher.progress = flip_on_progress;
	cmd->watcher.done = claim_on_done;
	claim_start(cmd->ctl, &q, &cmd->watcher);
}

bool
verb_flip_waits(const struct command *cmd)
{
	return cmd->request.command == ADMIN_CHECK ||
	       (cmd->request.command == ADMIN_CLAIM && claim_waits(&cmd->watcher));
}

bool
verb_flip_take_back(struct command *cmd)
{
	switch (cmd->request.command) {
	case ADMIN_CHECK:
		flip_unwatch(&cmd->watcher);
		return true;
	case ADMIN_CLAIM:
	case ADMIN_RELEASE:
		return claim_call_off(&cmd->watcher);
	default:
		return false;
	}
}

void
verb_flip_abandon(struct command *cmd)
{
	flip_unwatch(&cmd->watcher);
	if (cmd->all == NULL)
		return;
	for (size_t i = 0; i < cmd->all->n; i++)
		flip_unwatch(&cmd->all->each[i].watcher);
	lock_all_free(cmd);
}
