/* lock.c - lock, unlock and check: questions and changes beside the flip
 * itself.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "control/flip.h"
#include "control/gate.h"

/* -- check ------------------------------------------------------------------ */

struct check {
	struct flip_watcher *watcher;
	struct gate *gate;
};

static void
check_on_gate(struct gate *g, void *arg)
{
	struct check *c = arg;
	const struct service *s = g->ctl->service;
	struct flip_outcome o = { .service = s, .changed = CHANGED_NO };
	struct buf text;
	char line[RECORD_REASON + 256];

	flip_tell(c->watcher, &(struct flip_event){ .kind = FLIP_EVENT_CHECKED, .gate = g });
	if (s->record.lock.on && s->record.color != g->color) {
		snprintf(line, sizeof(line), "%s is locked by %s: %s", s->config->name, s->record.lock.by,
			 s->record.lock.reason);
		o.error = E_LOCKED;
		o.message = line;
	} else if (!gate_is_open(g)) {
		buf_init(&text, sizeof(line) - 1);
		buf_printf(&text, "%s -> %s: ", s->config->name, color_word(g->color));
		gate_text(g, &text);
		str_copy(line, sizeof(line), buf_str(&text));
		buf_free(&text);
		o.error = E_UNHEALTHY;
		o.message = line;
	} else {
		o.changed = CHANGED_UNSAID;
		o.gate = g;
	}
	/* It may have left when it was told. */
	flip_end(&c->watcher, &o);
	gate_free(&c->gate);
	free(c);
}

void
flip_check(struct service_ctl *ctl, enum color to, struct flip_watcher *watcher)
{
	struct check *c = must_alloc(sizeof(*c));

	flip_watch(&c->watcher, watcher);
	c->gate = gate_new(ctl, to, check_on_gate, c);
}

/* -- lock and unlock ---------------------------------------------------------- */

struct locking {
	struct flip_watcher *watcher;
	struct service_ctl *ctl;
	bool on;
};

static void
answer_lock(struct flip_watcher **place, struct service_ctl *ctl, bool changed)
{
	flip_end(place, &(struct flip_outcome){ .service = ctl->service,
						.changed = changed ? CHANGED_YES : CHANGED_NO });
}

static void
answer_lock_error(struct flip_watcher **place, struct service_ctl *ctl, enum err error, const char *message)
{
	flip_end(place, &(struct flip_outcome){ .error = error,
						.message = message,
						.service = ctl->service,
						.changed = error == E_UNKNOWN ? CHANGED_UNKNOWN : CHANGED_NO });
}

static void
lock_on_store(void *arg, enum err e, const struct record *now, const struct why *why)
{
	struct locking *l = arg;
	const struct record *r = &l->ctl->service->record;

	(void)now;
	if (e == OK) {
		BUS_EMIT(&l->ctl->control->bus, LOG_INFO_LEVEL, l->on ? "service.locked" : "service.unlocked",
			 l->ctl->service, LS("by", r->lock.by), LS("reason", r->lock.reason));
		answer_lock(&l->watcher, l->ctl, true);
	} else {
		answer_lock_error(&l->watcher, l->ctl, e,
				  e == E_CONFLICT ? "the service was changed at the same time; try again" : why->text);
	}
	free(l);
}

void
flip_lock(struct service_ctl *ctl, const char *reason, const struct actor *by, struct flip_watcher *watcher)
{
	struct control *c = ctl->control;
	const struct record *now = &ctl->service->record;
	struct store_write w = { .service = ctl->service->config->name, .means = STORE_LOCK,
				.expect_epoch = now->epoch, .next = *now };
	struct locking *l;

	if (!ctl->service->known) {
		answer_lock_error(&watcher, ctl, E_STORE, "the store has not been read yet; try again when /readyz says ready");
		return;
	}
	if (reason == NULL && !now->lock.on) {
		answer_lock(&watcher, ctl, false);
		return;
	}
	if (reason != NULL && now->lock.on) {
		/* A second lock does not replace the first: its owner would
		 * unlock what somebody else still wants locked. */
		answer_lock(&watcher, ctl, false);
		return;
	}
	l = must_alloc(sizeof(*l));
	l->ctl = ctl;
	l->on = reason != NULL;
	flip_watch(&l->watcher, watcher);
	w.next.lock.on = reason != NULL;
	w.next.lock.at_us = clock_wall_us();
	memcpy(w.next.lock.by, by->user, sizeof(w.next.lock.by));
	str_copy(w.next.lock.reason, sizeof(w.next.lock.reason), str_from(reason != NULL ? reason : ""));
	str_copy(w.entry.service, sizeof(w.entry.service), str_from(w.service));
	w.entry.at_us = w.next.lock.at_us;
	audit_set_host(&w.entry);
	w.entry.change = reason != NULL ? CHANGE_LOCK : CHANGE_UNLOCK;
	w.entry.epoch = now->epoch;
	w.entry.from = w.entry.to = now->color;
	memcpy(w.entry.by, by->user, sizeof(w.entry.by));
	w.entry.uid = by->uid;
	w.entry.pid = by->pid;
	memcpy(w.entry.reason, w.next.lock.reason, sizeof(w.entry.reason));
	str_copy(w.entry.result, sizeof(w.entry.result), STR("ok"));
	c->store->write(c->store, &w, lock_on_store, l);
}
