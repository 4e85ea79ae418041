/* drill_turn.c - what a drill does in the middle of its load other than
 * flipping: a reload or an upgrade, by teald's admin socket or by any command,
 * and killing the process that serves.  Thread: the drill's own; it may block. */
#include <jansson.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "app/tealbench/drill.h"

#define LOOK_NS 200000
#define STATUS_SECONDS 10.
#define GONE_POLL_MS 10000

static void
turn_failed(struct drill_flip *f, const char *words)
{
	str_copy(f->error, sizeof(f->error), str_from(words));
}

/* A verb of teald's that ends with an object that has "ok". */
static void
turn_by_admin(const struct drill_config *c, const char *verb, struct drill_flip *f)
{
	uint64_t deadline = load_now() + load_ns(c->flip_timeout);
	struct drill_admin a;
	struct why why = { "" };
	char line[64];
	json_t *o;

	snprintf(line, sizeof(line), "%s\n", verb);
	if (drill_admin_open(&a, c->admin, &why) != OK || !drill_admin_send(&a, line)) {
		turn_failed(f, "the admin socket is closed");
		goto out;
	}
	while ((o = drill_admin_next(&a, deadline)) != NULL) {
		if (json_object_get(o, "ok") == NULL) {	/* progress */
			json_decref(o);
			continue;
		}
		f->made = json_is_true(json_object_get(o, "ok"));
		if (f->made)
			atomic_store(&f->applied, load_now());
		else
			turn_failed(f, json_string_value(json_object_get(o, "error")));
		json_decref(o);
		goto out;
	}
	turn_failed(f, "no answer from the admin socket");
out:
	drill_admin_close(&a);
}

/* --- a crash --- */

/* Whom to kill: as teald's status says, or as the command prints. */
static pid_t
find_victim(const struct drill_config *c)
{
	struct drill_admin a;
	struct why why = { "" };
	json_t *o = NULL;
	FILE *said;
	int pid = 0;

	if (c->pid_command != NULL) {
		if ((said = popen(c->pid_command, "re")) == NULL)
			return 0;
		if (fscanf(said, "%d", &pid) != 1)
			pid = 0;
		pclose(said);
	} else if (drill_admin_open(&a, c->admin, &why) == OK) {
		if (drill_admin_send(&a, "status\n"))
			o = drill_admin_next(&a, load_now() + load_ns(STATUS_SECONDS));
		pid = (int)json_integer_value(json_object_get(o, "pid"));
		json_decref(o);
		drill_admin_close(&a);
	}
	return pid > 1 ? pid : 0;
}

/* Kills it and waits until it is no more. */
static bool
kill_victim(pid_t pid)
{
	struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	bool gone;

	if (p.fd < 0)
		return false;
	gone = syscall(SYS_pidfd_send_signal, p.fd, SIGKILL, NULL, 0) == 0 && poll(&p, 1, GONE_POLL_MS) == 1;
	close(p.fd);
	return gone;
}

static void
turn_crash(struct drill *d, struct drill_flip *f)
{
	const struct drill_config *c = d->config;
	struct timespec nap = { 0, LOOK_NS };
	pid_t pid = find_victim(c);
	uint64_t deadline;

	if (pid == 0) {
		turn_failed(f, "nothing to kill");
		return;
	}
	atomic_store(&d->serves_again, 0);
	atomic_store(&d->dead, UINT64_MAX);	/* it dies from now on */
	atomic_store(&f->asked, load_now());
	if (!kill_victim(pid)) {
		atomic_store(&d->dead, 0);
		turn_failed(f, "could not be killed");
		return;
	}
	f->dead = load_now();
	atomic_store(&d->dead, f->dead);
	deadline = load_now() + load_ns(c->flip_timeout);
	while (atomic_load(&d->serves_again) == 0 && load_now() < deadline && !atomic_load(&d->stop))
		nanosleep(&nap, NULL);
	atomic_store(&f->applied, atomic_load(&d->serves_again));
	f->made = f->applied != 0;
	if (!f->made)
		turn_failed(f, "nothing serves again");
}

void
drill_turn(struct drill *d, struct drill_flip *f)
{
	const struct drill_config *c = d->config;

	switch (c->during) {
	case DURING_CRASH:
		turn_crash(d, f);
		return;
	case DURING_FLIP:
	case DURING_RELOAD:
	case DURING_UPGRADE:
		if (c->command != NULL)
			drill_command_flip(c, f);
		else
			turn_by_admin(c, drill_during_word(c->during), f);
		return;
	}
}

/* --- seen by the load's threads --- */

void
drill_saw_success(struct drill *d, uint64_t began, uint64_t now)
{
	uint64_t dead = atomic_load_explicit(&d->dead, memory_order_relaxed), none = 0;

	if (dead != 0 && began > dead)
		atomic_compare_exchange_strong(&d->serves_again, &none, now);
}

bool
drill_died_with_it(struct drill *d, uint64_t connected, enum load_error error)
{
	uint64_t dead = atomic_load(&d->dead);

	return dead != 0 && connected <= dead &&
	       (error == LOAD_RESET || error == LOAD_SHORT || error == LOAD_CLOSED);
}
