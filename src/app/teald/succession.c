/* succession.c - the successor's side of an upgrade, and what both sides say of
 * themselves.  Thread: main. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/teald/admin.h"
#include "app/teald/admin_caller.h"
#include "app/teald/observe.h"
#include "app/teald/succession.h"
#include "app/teald/supervised.h"
#include "app/teald/upgrade.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/tlv.h"
#include "base/version.h"
#include "control/peer.h"
#include "data/handover.h"
#include "kernel/shortcut.h"
#include "model/config_keys.h"
#include "store/state_disk.h"

/* A store that does not answer does not hold up commands any longer than that, seconds. */
#define STORE_WITHIN 2.0
/* The supervisor knows of a predecessor's end by then, seconds after its line has ended. */
#define END_IS_KNOWN 5.0

static int line_fd = -1;	/* from the environment; -1: taken, or none */
static int predecessor_pid;

struct succession {
	struct peer_line line;
	struct control *control;
	struct proxy *proxy;
	struct peer *peer;
	struct admin *admin;	/* NULL before it serves */
	struct observe *observe;	/* likewise, or there is none */
	struct succession_calls calls;
	struct other_generation other;	/* pid 0: it has ended */
	unsigned their_workers;
	int *channels;	/* our ends, NULL: none; consumed when we serve */
	unsigned n_channels;
	bool prepared, told;	/* the first checks are in; the other side knows */
	bool taken;	/* all is ours */
	bool alone;	/* the predecessor has ended */
	bool serving;	/* services are published and accept */
	double taken_at;	/* clock_now() */
	ev_prepare turn;
	ev_timer cut_off;	/* the line has ended; has its process? */
};

/* -- rows ------------------------------------------------------------------------------ */

bool
succession_u64(struct str row, uint16_t tag, uint64_t *out)
{
	struct tlv t;

	while (tlv_next(&row, &t))
		if (t.tag == tag)
			return tlv_as_u64(&t, out);
	return false;
}

bool
succession_str(struct str row, uint16_t tag, struct str *out)
{
	struct tlv t;

	while (tlv_next(&row, &t))
		if (t.tag == tag) {
			*out = t.value;
			return true;
		}
	return false;
}

/* Two of different keys may be the same; two of the same are. */
static uint64_t
which_store(const struct config *config)
{
	struct config_keys *keys = config_keys_new(config);
	const char *key, *value;
	uint64_t hash = 1;

	for (size_t at = 0; config_section_next(&keys->settings, &at, &key, &value);)
		if (strncmp(key, "store.", 6) == 0 ||
		    (config->store.type == STORE_FILE && strcmp(key, "state_dir") == 0)) {
			hash = hash_bytes(key, strlen(key), hash);
			hash = hash_bytes(value, strlen(value), hash);
		}
	config_keys_free(&keys);
	return hash;
}

void
succession_greet(struct peer_line *l, const struct config *config)
{
	struct buf row;

	buf_init(&row, 1024);
	tlv_u64(&row, SUCCESSION_T_FORMAT, SUCCESSION_FORMAT);
	tlv_u64(&row, SUCCESSION_T_PID, (uint64_t)getpid());
	tlv_str(&row, SUCCESSION_T_VERSION, str_from(teal_version()));
	tlv_u64(&row, SUCCESSION_T_WORKERS, config->workers);
	tlv_u64(&row, SUCCESSION_T_STORE, which_store(config));
	(void)line_send(l, SUCCESSION_HELLO, &row, NULL, 0);
	buf_free(&row);
}

void
succession_on_hello(struct other_generation *o, struct str row)
{
	struct str version = STR("");
	uint64_t pid = 0;

	(void)succession_u64(row, SUCCESSION_T_FORMAT, &o->format);
	(void)succession_u64(row, SUCCESSION_T_STORE, &o->store);
	if (succession_u64(row, SUCCESSION_T_PID, &pid))
		o->pid = (pid_t)pid;
	(void)succession_str(row, SUCCESSION_T_VERSION, &version);
	if (!str_copy(o->version, sizeof(o->version), version))
		o->version[0] = '\0';
}

/* -- the successor ----------------------------------------------------------------------- */

bool
succession_join(void)
{
	const char *text = getenv("TEAL_PREDECESSOR");

	if (text == NULL || sscanf(text, "%d %d", &line_fd, &predecessor_pid) != 2 ||
	    fcntl(line_fd, F_SETFD, FD_CLOEXEC) != 0)
		line_fd = -1;
	unsetenv("TEAL_PREDECESSOR");
	return line_fd >= 0;
}

bool
succession_is_on(void)
{
	return predecessor_pid != 0;
}

enum err
succession_check_store(const struct config *config, struct why *why)
{
	struct state_owner owner = { config->user, config->uid, config->gid };

	return config->state_dir != NULL ? state_disk_check(config->state_dir, &owner, predecessor_pid, why) : OK;
}

/* A pair for each of their workers: without one they keep what they have. */
static unsigned
make_channels(struct succession *s, int *theirs)
{
	unsigned n =
		s->other.format == SUCCESSION_FORMAT && s->their_workers <= FDS_MAX ? s->their_workers : 0;
	int pair[2];

	s->channels = must_array(n + 1, sizeof(int));
	for (s->n_channels = 0; s->n_channels < n; s->n_channels++) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
			break;
		s->channels[s->n_channels] = pair[0];
		theirs[s->n_channels] = pair[1];
	}
	return s->n_channels;
}

static void
close_channels(struct succession *s)
{
	for (unsigned i = 0; i < s->n_channels; i++)
		close(s->channels[i]);
	free(s->channels);
	s->channels = NULL;
	s->n_channels = 0;
}

static void
say_prepared(struct succession *s)
{
	int theirs[FDS_MAX];
	unsigned n;

	if (s->told || !s->prepared || s->other.format == 0 || s->taken)
		return;
	s->told = true;
	n = make_channels(s, theirs);
	supervised_say("prepared");
	(void)line_send(&s->line, SUCCESSION_PREPARED, NULL, theirs, n);
}

void
succession_prepared(struct succession *s)
{
	s->prepared = true;
	say_prepared(s);
}

/* known: the other process has said what there is. */
static void
succession_take(struct succession *s, bool known, bool reload)
{
	/* One that stops takes nothing: what is offered to it stays where it is. */
	if (s->taken || s->control->life > LIFE_SERVING || !s->calls.open(s->calls.arg))
		return;
	if (known)
		peer_begin(s->peer);
	s->taken = true;
	s->taken_at = clock_now();
	s->calls.take_over(s->calls.arg, reload);
}

static void
take_admin_connection(struct succession *s, uint16_t type, struct str row, int *fds, unsigned n)
{
	struct str in = STR(""), out = STR(""), who = STR("");
	struct admin_caller *caller = NULL;

	if (n != 1 || s->admin == NULL)
		return;
	if (type == SUCCESSION_CALLER && (!succession_str(row, SUCCESSION_T_CALLER, &who) || (caller = admin_caller_take(who)) == NULL))
		return;
	(void)succession_str(row, SUCCESSION_T_INPUT, &in);
	(void)succession_str(row, SUCCESSION_T_OUTPUT, &out);
	admin_take_over(s->admin, fds[0], in, out, &caller);
	fds[0] = -1;
}

static void
succession_on_message(struct peer_line *l, uint16_t type, struct str row, int *fds, unsigned n, bool cut)
{
	struct succession *s = l->arg;
	struct str why = STR("");
	uint64_t workers = 0, reload = 0;
	char text[400];

	(void)cut;
	switch (type) {
	case SUCCESSION_HELLO:
		succession_on_hello(&s->other, row);
		if (succession_u64(row, SUCCESSION_T_WORKERS, &workers) && workers <= FDS_MAX)
			s->their_workers = (unsigned)workers;
		say_prepared(s);
		return;
	case SUCCESSION_NO:
		(void)succession_str(row, SUCCESSION_T_WHY, &why);
		(void)str_copy(text, sizeof(text), why);
		if (!s->taken)
			s->calls.give_up(s->calls.arg, text);
		return;
	case SUCCESSION_YOURS:
		upgrade_inherit(row);
		if (n > 0) {
			shortcut_inherit(fds[0]);
			fds[0] = -1;
		}
		(void)succession_u64(row, SUCCESSION_T_HANGUP, &reload);
		succession_take(s, s->other.format == SUCCESSION_FORMAT, reload != 0);
		return;
	case SUCCESSION_HELD:
		(void)succession_u64(row, SUCCESSION_T_CLIENTS, &s->other.clients);
		(void)succession_u64(row, SUCCESSION_T_COMMANDS, &s->other.commands);
		return;
	case SUCCESSION_ADMIN:
	case SUCCESSION_CALLER:
		take_admin_connection(s, type, row, fds, n);
		return;
	case SUCCESSION_HISTORY:
		if (s->observe != NULL && s->other.format == SUCCESSION_FORMAT)
			observe_take_history(s->observe, row);
		return;
	default:
		if (type >= SUCCESSION_TYPES && s->peer != NULL && s->other.format == SUCCESSION_FORMAT)
			peer_on_message(s->peer, type, row);
	}
}

/* The predecessor has ended.  If that was before it gave way, this is a start after a crash. */
static void
go_on_alone(struct succession *s)
{
	pid_t pid = s->other.pid;

	s->other.pid = 0;
	/* An upgrade of this process will have one of its own. */
	peer_free(&s->peer);
	if (s->taken) {
		LOG_INFO("upgrade.predecessor_gone", LI("pid", pid));
		return;
	}
	LOG_WARN("upgrade.predecessor_died", LI("pid", pid));
	close_channels(s);
	succession_take(s, false, false);
}

/* Whether the process has ended, too, is the supervisor's to say. */
static void
succession_on_end(struct peer_line *l)
{
	struct succession *s = l->arg;

	if (s->alone)
		go_on_alone(s);
	else if (!s->taken)
		ev_timer_start(s->control->loop, &s->cut_off);
	else if (s->peer != NULL)
		peer_gone(s->peer);
}

/* The predecessor lives, and cannot be heard: it had no descriptor for its end of the line. */
static void
succession_on_cut_off(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct succession *s = container_of(t, struct succession, cut_off);

	(void)loop;
	(void)revents;
	if (!s->alone)
		s->calls.give_up(s->calls.arg, "its line to this one has ended; is it out of descriptors (LimitNOFILE)?");
}

static const struct line_calls calls_of_line = { succession_on_message, succession_on_end };

/* What it said at last may have to be read yet: its counters, or that all is ours. */
static void
succession_on_alone(void *arg)
{
	struct succession *s = arg;

	s->alone = true;
	if (!line_is_open(&s->line))
		go_on_alone(s);
}

static void
succession_send_peer(void *arg, enum peer_type type, const struct buf *fields)
{
	struct succession *s = arg;

	(void)line_send(&s->line, (uint16_t)type, fields, NULL, 0);
}

/* A command that changes something would only be refused before. */
static bool
store_is_there(const struct succession *s)
{
	struct store_status status;

	s->control->store->status(s->control->store, &status);
	return status.up || clock_now() - s->taken_at >= STORE_WITHIN;
}

static void
succession_on_turn(struct ev_loop *loop, ev_prepare *p, int revents)
{
	struct succession *s = p->data;

	(void)revents;
	if (!s->taken || s->control->life == LIFE_STARTING)
		return;
	if (!s->serving && s->n_channels > 0) {
		proxy_take(s->proxy, s->channels, s->n_channels);
		s->n_channels = 0;
	}
	s->serving = true;
	if (!store_is_there(s))
		return;
	ev_prepare_stop(loop, p);
	/* What commands write from now on, the store of the former file does not have. */
	if (s->other.store != 0 && s->other.store != which_store(s->control->config))
		supervised_say("firm");
	admin_thaw(s->admin);
	(void)line_send(&s->line, SUCCESSION_SERVING, NULL, NULL, 0);
}

struct succession *
succession_new(struct control *c, struct proxy *p, const struct succession_calls *calls)
{
	struct succession *s = must_alloc(sizeof(*s));

	*s = (struct succession){ .control = c,
				  .proxy = p,
				  .calls = *calls,
				  .other = { .pid = predecessor_pid, .since = clock_now() } };
	s->peer = peer_new(c, PEER_IS_PREDECESSOR, succession_send_peer, s);
	line_open(&s->line, c->loop, line_fd, &calls_of_line, s);
	line_fd = -1;
	succession_greet(&s->line, c->config);
	supervised_on_alone(succession_on_alone, s);
	ev_timer_init(&s->cut_off, succession_on_cut_off, END_IS_KNOWN, 0.0);
	ev_prepare_init(&s->turn, succession_on_turn);
	s->turn.data = s;
	ev_prepare_start(c->loop, &s->turn);
	return s;
}

void
succession_serve(struct succession *s, struct admin *a, struct observe *o)
{
	s->admin = a;
	s->observe = o;
	admin_freeze(a);
}

void
succession_free(struct succession **sp)
{
	struct succession *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	supervised_on_alone(NULL, NULL);
	ev_prepare_stop(s->control->loop, &s->turn);
	ev_timer_stop(s->control->loop, &s->cut_off);
	close_channels(s);
	line_close(&s->line);
	peer_free(&s->peer);
	free(s);
}

const struct other_generation *
succession_predecessor(const struct succession *s)
{
	return s != NULL && s->taken && s->other.pid != 0 ? &s->other : NULL;
}
