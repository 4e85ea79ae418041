/* flip_lock.c - lock and unlock: a conditional write like a flip's, without a gate.
 * Thread: main. */
#include <stdlib.h>

#include "base/clock.h"
#include "control/flip.h"
#include "control/services.h"

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
	ctl_unref(&l->ctl);
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
		 * unlock what the first one's owner still wants locked. */
		answer_lock(&watcher, ctl, false);
		return;
	}
	l = must_alloc(sizeof(*l));
	l->ctl = ctl_ref(ctl);
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
