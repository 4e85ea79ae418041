/* admin.c - the admin socket: its file, its clients, and who makes way for
 * whom.
 * Thread: main.  Born in admin_bind(), serves from admin_start() on, dies in
 * admin_close(). */
#include <stdlib.h>

#include "app/teald/admin_user.h"
#include "base/clock.h"
#include "app/teald/command.h"
#include "control/certs.h"
#include "control/node_drain.h"

#define BACKLOG 512
/* Accepted before others have their turn. */
#define ACCEPTS_A_TURN 16
/* Until accepting is tried again when descriptors or memory are out. */
#define PAUSE_SECONDS 0.1
/* One line in the log stands for all of so many seconds. */
#define COMPLAIN_SECONDS 10.0
#define SWEEP_SECONDS 1.0
/* Names of users that a directory is asked for at a time. */
#define NAME_HELPERS_MAX 8
/* How long the end waits for those, seconds. */
#define GOODBYE 0.2

static const char busy_reply[] =
	"{\"ok\":false,\"error\":\"internal\",\"message\":\"all places of the admin socket are taken by "
	"running commands; try again\"}\n";

/* The group the configuration names, and the user to be dropped to: it is
 * teald's own, and removes the file at the end. */
static struct listening_terms
socket_terms_of(const struct config *config)
{
	struct listening_terms t = {
		.backlog = BACKLOG,
		.mode = config->admin.mode & 0777,
		.uid = config->user != NULL && geteuid() == 0 ? config->uid : (uid_t)-1,
		.gid = config->admin.group != NULL ? config->admin.gid : (gid_t)-1,
	};

	if (t.gid == (gid_t)-1 && t.uid != (uid_t)-1)
		t.gid = config->gid;
	return t;
}

struct admin *
admin_bind(const struct config *config, struct why *why)
{
	const struct listening_terms terms = socket_terms_of(config);
	struct admin *a = must_alloc(sizeof(*a));
	struct addr addr = { .len = sizeof(struct sockaddr_un) };
	struct why reason;

	a->config = config;
	list_init(&a->clients);
	list_init(&a->dead);
	list_init(&a->commands);
	list_init(&a->users);
	addr.u.un.sun_family = AF_UNIX;
	if (!str_copy(addr.u.un.sun_path, sizeof(addr.u.un.sun_path), str_from(config->admin.socket)))
		(void)why_set(why, E_USAGE, "admin.socket %s: longer than %zu bytes", config->admin.socket,
			      sizeof(addr.u.un.sun_path) - 1);
	else if (listening_open(&a->listening, &addr, &terms, 1, &reason) != OK)
		(void)why_set(why, E_USAGE, "admin.socket: %.900s", reason.text);
	else if ((a->tls = admin_tls_bind(config, why)) != NULL)
		return a;
	else {
		close(a->listening.fds[0]);
		listening_close(&a->listening);
	}
	free(a);
	return NULL;
}

static bool
may_complain(double *last)
{
	if (clock_now() - *last < COMPLAIN_SECONDS)
		return false;
	*last = clock_now();
	return true;
}

/* One try: a refused client does not get a place to wait.  What it sent is read
 * first: closed over unread bytes, a connection is reset. */
static void
refuse_conn(struct admin *a, int fd)
{
	a->refused++;
	if (may_complain(&a->complained_busy))
		LOG_WARN("admin.refused", LS("why", "all clients are busy"), LU("clients", a->n_clients),
			 LU("refused", a->refused));
	for (int i = 0; i < 16 && recv(fd, a->scratch, sizeof(a->scratch), MSG_DONTWAIT) > 0; i++)
		continue;
	if (send(fd, busy_reply, sizeof(busy_reply) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		LOG_DEBUG("admin.refused_unheard", LS("why", strerror(errno)));
	close(fd);
}

static void
admit(struct admin *a, int fd)
{
	struct rights *rights;
	struct admin_user *u;
	pid_t pid = 0;

	if ((rights = rights_of_peer(a->control->config, fd, a->own_uid, &pid)) == NULL) {
		LOG_WARN("admin.refused", LS("why", strerror(errno)));
		close(fd);
		return;
	}
	u = admin_user_of(a, rights);
	if (admin_user_has_room(a, u)) {
		admin_conn_new(a, fd, &rights, pid);
		return;
	}
	rights_unref(&rights);
	refuse_conn(a, fd);
}

/* -- the admin listener -------------------------------------------------------------- */

/* As main meets those of the socket in admit(). */
static void
take_caller(void *arg, int fd, struct admin_caller **caller, uint64_t id)
{
	struct rights *rights = NULL;
	struct admin *a = arg;
	struct admin_conn *c;

	if (!a->closing && admin_caller_is_over(*caller, a->control->config, clock_wall_us() / 1000000) == NULL)
		rights = rights_of_caller(a->control->config, *caller);
	admin_caller_unref(caller);
	if (rights == NULL) {
		close(fd);
	} else if (!admin_user_has_room(a, admin_user_of(a, rights))) {
		rights_unref(&rights);
		refuse_conn(a, fd);
	} else if ((c = admin_conn_new(a, fd, &rights, 0)) != NULL) {
		c->id = id;
		if (a->give != NULL)
			admin_conn_give(c);
	}
}

static void
close_revoked(void *arg, uint64_t id)
{
	struct admin *a = arg;

	LIST_EACH(l, &a->clients) {
		struct admin_conn *c = list_entry(l, struct admin_conn, link);

		if (c->id == id)
			admin_conn_close(c);
	}
}

/* Connections that another process does the cryptography of cannot be judged again: their clients
 * come anew. */
static void
show_site(void *arg, struct tls_site *site)
{
	struct admin *a = arg;

	if (a->shown)
		LIST_EACH(l, &a->clients) {
			struct admin_conn *c = list_entry(l, struct admin_conn, link);

			if (c->id == 0 && c->rights->caller != NULL)
				admin_conn_close(c);
		}
	a->shown = true;
	admin_tls_show(a->tls, site);
}

enum err
admin_prepare(struct admin *a, const struct config *to, struct why *why)
{
	return admin_tls_prepare(a->tls, to, why);
}

void
admin_abandon(struct admin *a)
{
	admin_tls_abandon(a->tls);
}

unsigned
admin_relayed(const struct admin *a)
{
	return admin_tls_left(a->tls);
}

/* Without memory the old ones must not stay: then the client goes.  So does one whose token was taken
 * back. */
static void
renew_client(struct admin_conn *c, const struct config *config)
{
	const struct admin_caller *caller = c->rights->caller;
	const char *over = caller != NULL ? admin_caller_is_over(caller, config, clock_wall_us() / 1000000) : NULL;
	struct rights *r = over == NULL ? rights_renew(c->rights, config) : NULL;

	if (over != NULL)
		LOG_INFO("admin.closed", LS("why", over), LS("user", caller->name), LS("peer", caller->peer));
	if (r == NULL) {
		admin_conn_close(c);
		return;
	}
	rights_unref(&c->rights);
	c->rights = r;
	if (c->command != NULL) {
		rights_unref(&c->command->rights);
		c->command->rights = rights_ref(r);
	}
}

void
admin_reconfigure(struct admin *a, const struct config *config)
{
	LIST_EACH(l, &a->clients)
		renew_client(list_entry(l, struct admin_conn, link), config);
	admin_tls_reconfigure(a->tls, config);
}

static bool
admin_has_place(struct acceptor *acceptor)
{
	(void)acceptor;
	return true;
}

static void
admin_take(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	(void)peer;
	admit(container_of(acceptor, struct admin, acceptor), fd);
}

static bool
admin_none(struct acceptor *acceptor, int e)
{
	struct admin *a = container_of(acceptor, struct admin, acceptor);

	if (e == 0)
		return false;
	if ((e == EMFILE || e == ENFILE) && spare_give(&a->spare))
		return true;
	/* Descriptors or memory are out.  An idle client's place may be
	 * just what is missing; if not, wait rather than spin. */
	if (may_complain(&a->complained_full))
		LOG_WARN("admin.accept_paused", LS("why", strerror(e)), LF("seconds", PAUSE_SECONDS));
	admin_make_room(a);
	acceptor_pause(&a->acceptor, PAUSE_SECONDS);
	return false;
}

static const struct acceptor_calls calls = { ACCEPTS_A_TURN, ACCEPTS_A_TURN, admin_has_place, admin_take,
					     admin_none };

static void
sweep_on_time(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct admin *a = container_of(t, struct admin, sweep);
	bool busy = false;

	(void)revents;
	LIST_EACH(link, &a->clients) {
		struct admin_conn *c = list_entry(link, struct admin_conn, link);

		if (admin_conn_is_idle(c))
			continue;
		admin_conn_sweep(c);
		busy = busy || admin_conn_is_open(c);
	}
	busy |= admin_users_tell(a);
	if (!busy)
		ev_timer_stop(loop, t);
}

void
admin_watch_busy(struct admin *a)
{
	if (ev_is_active(&a->sweep))
		return;
	ev_timer_set(&a->sweep, SWEEP_SECONDS, SWEEP_SECONDS);
	ev_timer_start(a->loop, &a->sweep);
}

static void
bury_conn(struct admin *a)
{
	LIST_EACH(link, &a->dead) {
		struct admin_conn *c = list_entry(link, struct admin_conn, link);

		list_remove(link);
		buf_free(&c->in);
		buf_free(&c->out);
		rights_unref(&c->rights);
		c->magic = 0;
		free(c);
	}
	if (a->control != NULL && a->control->life != LIFE_STOPPED)
		spare_keep(&a->spare);
}

/* Before the loop sleeps: no callback is on the stack that could hold one. */
static void
admin_reap_on_turn(struct ev_loop *loop, ev_prepare *p, int revents)
{
	struct admin *a = container_of(p, struct admin, reap);

	(void)revents;
	admin_users_bound_replies(a);
	bury_conn(a);
	ev_prepare_stop(loop, p);
}

void
admin_start(struct admin *a, struct control *c)
{
	a->control = c;
	a->loop = c->loop;
	a->own_uid = geteuid();
	if (gethostname(a->host, sizeof(a->host)) != 0)
		a->host[0] = '\0';
	a->host[sizeof(a->host) - 1] = '\0';
	/* Threads of their own: a directory that hangs must not hold up the store,
	 * whose writes wait in control's, nor one user's name that of another. */
	a->jobs = jobs_new_growing(c->loop, 1, NAME_HELPERS_MAX);
	a->names = user_names_new(c->loop, a->jobs);
	events_open(&a->events, &c->bus);
	ev_timer_init(&a->sweep, sweep_on_time, 0.0, 0.0);
	ev_prepare_init(&a->reap, admin_reap_on_turn);
	spare_init(&a->spare, ADMIN_SPARE);
	acceptor_init(&a->acceptor, a->loop, a->listening.fds[0], &calls);
	acceptor_resume(&a->acceptor);
	LOG_INFO("admin.listening", LS("socket", a->config->admin.socket));
	admin_tls_start(a->tls, a->loop, c->config, &(struct admin_tls_calls){ take_caller, close_revoked, a });
	certs_watch_admin(c->certs, show_site, a);
}

struct admin *
admin_open(struct control *c, struct why *why)
{
	struct admin *a = admin_bind(c->config, why);

	if (a != NULL)
		admin_start(a, c);
	return a;
}

void
admin_set_upgrade(struct admin *a, struct upgrade *u)
{
	a->upgrade = u;
}

void
admin_hush(struct admin *a)
{
	a->reads = ADMIN_READS_QUICK;
}

void
admin_freeze(struct admin *a)
{
	a->reads = ADMIN_READS_NONE;
	acceptor_pause(&a->acceptor, 0);
	LIST_EACH(l, &a->clients)
		admin_conn_refresh(list_entry(l, struct admin_conn, link));
}

void
admin_thaw(struct admin *a)
{
	a->reads = ADMIN_READS_ALL;
	acceptor_resume(&a->acceptor);
	LIST_EACH(l, &a->clients)
		admin_conn_thaw(list_entry(l, struct admin_conn, link));
}

bool
admin_is_settled(const struct admin *a)
{
	LIST_EACH(l, &a->commands) {
		switch (list_entry(l, struct command, link)->request.command) {
		case ADMIN_EVENTS:
		case ADMIN_UPGRADE:
		case ADMIN_RELOAD:
		case ADMIN_FLIP:
		case ADMIN_SHIFT:
		case ADMIN_ROLLBACK:
			if (list_entry(l, struct command, link)->name.names == NULL)
				continue;
			return false;
		case ADMIN_STATUS:
		case ADMIN_ACTIVE:
		case ADMIN_IDLE:
		case ADMIN_CONFIG:
			continue;	/* read only, and refused: a user's name is being looked up */
		case ADMIN_NODE:
			/* The drain is in the store, and goes on there as here. */
			if (node_drain_waits(a->control, list_entry(l, struct command, link)))
				continue;
			return false;
		default:
			if (verb_flip_waits(list_entry(l, struct command, link)))
				continue;
			return false;
		}
	}
	return true;
}

void
admin_take_back(struct admin *a)
{
	static const struct why gone = { "another process has taken over, and the client had left before this was begun" };

	LIST_EACH(l, &a->commands) {
		struct command *cmd = list_entry(l, struct command, link);

		cmd->unbegun |= cmd->request.command == ADMIN_EVENTS || verb_reload_take_back(cmd) ||
				verb_flip_take_back(cmd);
		if (cmd->unbegun && cmd->client == NULL)
			command_fail(cmd, E_INTERNAL, &gone);
	}
}

void
admin_yield(struct admin *a, admin_give_fn *give, void *arg)
{
	a->give = give;
	a->give_arg = arg;
	acceptor_close(&a->acceptor);
	admin_tls_yield(a->tls);
	LIST_EACH(l, &a->clients)
		admin_conn_give(list_entry(l, struct admin_conn, link));
}

void
admin_take_over(struct admin *a, int fd, struct str in, struct str out, struct admin_caller **caller)
{
	struct rights *rights;
	struct admin_conn *c;
	pid_t pid = 0;

	if (*caller == NULL)
		rights = rights_of_peer(a->control->config, fd, a->own_uid, &pid);
	else
		rights = rights_of_caller(a->control->config, *caller);
	admin_caller_unref(caller);
	if (rights == NULL) {
		close(fd);
		return;
	}
	/* It had a place in the former process: no other client is closed for it. */
	if ((c = admin_conn_new(a, fd, &rights, pid)) != NULL)
		admin_conn_restore(c, in, out);
}

unsigned
admin_commands(const struct admin *a)
{
	unsigned n = 0;

	LIST_EACH(l, &a->commands)
		n++;
	return n;
}

unsigned
admin_clients(const struct admin *a)
{
	return a->n_clients;
}

static void
stop_serving(struct admin *a)
{
	struct link *link;

	a->closing = true;
	certs_watch_admin(a->control->certs, NULL, NULL);
	while ((link = list_first(&a->commands)) != NULL)
		command_abandon(list_entry(link, struct command, link));
	while ((link = list_first(&a->clients)) != NULL)
		admin_conn_close(list_entry(link, struct admin_conn, link));
	events_close(&a->events);
	ev_timer_stop(a->loop, &a->sweep);
	ev_prepare_stop(a->loop, &a->reap);
	bury_conn(a);
	(void)admin_users_tell(a);
	admin_users_free(a);
	spare_close(&a->spare);
	user_names_free(&a->names);
	/* A directory that does not answer holds up no end. */
	jobs_leave(&a->jobs, GOODBYE);
}

void
admin_close(struct admin **ap)
{
	struct admin *a = *ap;

	*ap = NULL;
	if (a == NULL)
		return;
	if (a->control != NULL) {
		stop_serving(a);
		acceptor_close(&a->acceptor);
	} else {
		close(a->listening.fds[0]);
	}
	admin_tls_close(&a->tls);
	listening_close(&a->listening);
	free(a);
}
