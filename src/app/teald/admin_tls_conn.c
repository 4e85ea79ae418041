/* admin_tls_conn.c - one connection of the admin listener: the handshake, who it is, and then bytes
 * between its client and main.
 * Thread: the listener's.  Born in admin_tls_conn_new(), dies in admin_tls_conn_end(), freed by the
 * thread at the end of the loop's turn. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "app/teald/admin.h"
#include "app/teald/admin_tls_thread.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

/* So long who was refused may read why, seconds. */
#define LINGER 2.0
/* So long a client may stay that main has closed. */
#define GOODBYE 5.0
/* Reads of bytes of one who is refused, before others have their turn. */
#define READS_A_TURN 16
#define REFUSAL_MAX 1024

static void conn_step(struct admin_tls_conn *c);

static void
become(struct admin_tls_conn *c, enum admin_tls_state to)
{
	struct admin_tls_thread *t = c->thread;

	t->pending -= c->state == ADMIN_TLS_SHAKES || c->state == ADMIN_TLS_ASKED;
	t->open -= c->state == ADMIN_TLS_OPEN;
	c->state = to;
	t->pending += to == ADMIN_TLS_SHAKES || to == ADMIN_TLS_ASKED;
	t->open += to == ADMIN_TLS_OPEN;
	c->since = clock_now();
	admin_tls_set_numbers(t);
}

void
admin_tls_conn_end(struct admin_tls_conn *c)
{
	struct admin_tls_thread *t = c->thread;

	if (c->state == ADMIN_TLS_ENDED)
		return;
	become(c, ADMIN_TLS_ENDED);
	io_close(t->loop, &c->client);
	io_close(t->loop, &c->main);
	relay_end(&c->up, &t->buffers);
	relay_end(&c->down, &t->buffers);
	/* Of a token that came in part. */
	explicit_bzero(c->line, sizeof(c->line));
	list_remove(&c->link);
	list_append(&t->ended, &c->link);
	t->n--;
	admin_tls_set_numbers(t);
	ev_prepare_start(t->loop, &t->reap);
}

/* Closed over unread bytes a connection is reset, and what was said before that is lost. */
static void
linger(struct admin_tls_conn *c)
{
	become(c, ADMIN_TLS_LINGERS);
	(void)shutdown(io_fd(&c->client), SHUT_WR);
	conn_step(c);
}

static void
refuse_conn_for(struct admin_tls_conn *c, enum admin_tls_result result, const char *why)
{
	admin_tls_refused(c->thread, result, c->peer_text, why);
}

/* In the words of the admin socket, for its client. */
static void
refuse_aloud(struct admin_tls_conn *c, enum admin_tls_result result, const char *why, const char *message)
{
	struct buf text;
	struct json j;

	refuse_conn_for(c, result, why);
	buf_init(&text, REFUSAL_MAX);
	json_init(&j, &text);
	json_object(&j, NULL);
	json_bool(&j, "ok", false);
	json_cstr(&j, "error", err_word(E_DENIED));
	json_cstr(&j, "message", message);
	json_bool(&j, "changed", false);
	json_object_end(&j);
	json_line_end(&j);
	(void)io_write(&c->client, buf_str(&text).p, buf_len(&text), false);
	buf_free(&text);
	(void)io_shutdown(&c->client);
	linger(c);
}

/* -- who it is ------------------------------------------------------------------------- */

static void admin_tls_main_on_event(struct ev_loop *loop, ev_io *w, int revents);

/* Main gets it, with the caller, which is consumed; NULL: there was no memory for one. */
static void
give_to_main(struct admin_tls_conn *c, struct admin_caller **caller)
{
	struct admin_tls_thread *t = c->thread;
	int pair[2];

	if (*caller == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
		refuse_conn_for(c, ADMIN_TLS_LIMIT, *caller == NULL ? "out of memory" : strerror(errno));
		admin_caller_unref(caller);
		admin_tls_conn_end(c);
		return;
	}
	LOG_DEBUG("admin.accepted", LS("user", (*caller)->name), LS("peer", c->peer_text));
	become(c, ADMIN_TLS_OPEN);
	c->moved = c->since;
	c->id = ++t->last_id;
	io_init(&c->main, pair[0], admin_tls_main_on_event);
	admin_tls_count(ADMIN_TLS_ACCEPTED);
	admin_tls_send_caller(t, pair[1], caller, c->id);
	conn_step(c);
}

static void
take_certificate(struct admin_tls_conn *c, const char *subject)
{
	struct admin_tls_thread *t = c->thread;
	struct admin_caller *caller;
	struct tls_names names;

	/* The terms may have changed since the handshake began. */
	if (!tls_names(c->client.tls, &names) ||
	    (c->terms != t->terms && !tls_names_still_pass(c->client.tls, t->site))) {
		refuse_aloud(c, ADMIN_TLS_CERTIFICATE, "its certificate is not accepted any more",
			     "the client certificate is not accepted: what admin.tls says has just changed");
		return;
	}
	if (names.cn[0] == '\0' && names.n == 0) {
		refuse_aloud(c, ADMIN_TLS_CERTIFICATE, "its certificate names no one",
			     "the client certificate has neither a common name (one) nor a subjectAltName, so nothing says who this is");
		return;
	}
	c->terms = t->terms;
	c->by_certificate = true;
	caller = admin_caller_by_certificate(&names, subject, c->peer_text);
	give_to_main(c, &caller);
}

static void
on_handshake_done(struct admin_tls_conn *c)
{
	struct tls_facts facts;

	tls_facts(c->client.tls, &facts);
	if (facts.peer != NULL) {
		take_certificate(c, facts.peer->subject != NULL ? facts.peer->subject : "");
	} else if (c->thread->config->admin.net.token_file == NULL) {
		refuse_aloud(c, ADMIN_TLS_CERTIFICATE, "it showed no certificate",
			     "a client certificate is needed here (tealctl --cert=FILE --key=FILE)");
	} else {
		/* The time of the handshake is that of the token. */
		c->state = ADMIN_TLS_ASKED;
		conn_step(c);
	}
}

static void
on_handshake_failed(struct admin_tls_conn *c)
{
	char why[256];

	snprintf(why, sizeof(why), "%s", tls_why(c->client.tls));
	switch (tls_failure(c->client.tls)) {
	case TLS_CERTIFICATE:
		refuse_conn_for(c, ADMIN_TLS_CERTIFICATE, why);
		break;
	case TLS_MEMORY:
		refuse_conn_for(c, ADMIN_TLS_LIMIT, why);
		break;
	case TLS_GONE:
	case TLS_FAILED:
		refuse_conn_for(c, ADMIN_TLS_HANDSHAKE, why);
		break;
	}
	linger(c);
}

/* "auth TOKEN"; a copy of it stays nowhere. */
static void
judge_token_line(struct admin_tls_conn *c, struct str line)
{
	const struct admin_net_config *a = &c->thread->config->admin.net;
	const struct admin_token *token;
	struct admin_caller *caller;
	char hash[CLAIM_HASH], reply[160];
	int n;

	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	if (line.n < 6 || memcmp(line.p, "auth ", 5) != 0) {
		refuse_aloud(c, ADMIN_TLS_TOKEN, "it showed neither a certificate nor a token",
			     "this connection has shown no client certificate, so its first line has to be: auth TOKEN (tealctl: --cert and "
			     "--key, or --token-file)");
		return;
	}
	claim_hash((struct str){ line.p + 5, line.n - 5 }, hash);
	token = admin_token_by_hash(a->tokens, a->n_tokens, hash);
	if (token == NULL) {
		refuse_aloud(c, ADMIN_TLS_TOKEN, "its token is unknown, or was taken out of admin.token_file",
			     "the token is not one of this teald's: it is unknown here, or was taken out of admin.token_file");
		return;
	}
	if (token->until != 0 && clock_wall_us() / 1000000 >= token->until) {
		refuse_aloud(c, ADMIN_TLS_TOKEN, "its token has expired",
			     "the token has expired: make a new one (teald --new-token=NAME), or change its date in admin.token_file");
		return;
	}
	n = snprintf(reply, sizeof(reply), "{\"ok\":true,\"user\":\"token:%s\"}\n", token->name);
	/* The first bytes for the client: where they have no place nothing has. */
	if (io_write(&c->client, reply, (size_t)n, false) != n) {
		admin_tls_conn_end(c);
		return;
	}
	caller = admin_caller_by_token(token, c->peer_text);
	give_to_main(c, &caller);
}

static void
read_auth_line(struct admin_tls_conn *c)
{
	const char *newline;
	ssize_t n;

	do {
		n = io_read(&c->client, c->line + c->n, sizeof(c->line) - c->n);
		if (n < 0 && io_would_block()) {
			io_want(c->thread->loop, &c->client, EV_READ);
			return;
		}
		if (n <= 0) {
			refuse_conn_for(c, ADMIN_TLS_TOKEN, "it left before it had shown who it is");
			admin_tls_conn_end(c);
			return;
		}
		c->n += (size_t)n;
		newline = memchr(c->line, '\n', c->n);
	} while (newline == NULL && c->n < sizeof(c->line));
	if (newline == NULL) {
		judge_token_line(c, STR(""));
	} else {
		size_t taken = (size_t)(newline - c->line) + 1;

		/* What came behind it is the first command's. */
		if (c->n > taken && !relay_hold(&c->up, newline + 1, c->n - taken)) {
			admin_tls_conn_end(c);
			return;
		}
		judge_token_line(c, (struct str){ c->line, taken - 1 });
	}
	explicit_bzero(c->line, sizeof(c->line));
}

/* -- bytes ------------------------------------------------------------------------------- */

/* False: the connection is over, or lingers. */
static bool
relay_up(struct admin_tls_conn *c)
{
	struct admin_tls_thread *t = c->thread;

	if (c->deaf)
		return true;
	switch (relay_move(&c->up, &c->client, &c->main, &t->buffers, c->down.done)) {
	case RELAY_OK:
		return true;
	case RELAY_DESTINATION_FAILED:
		/* What main has said before it closed is still to be told. */
		c->deaf = true;
		relay_end(&c->up, &t->buffers);
		return true;
	case RELAY_SOURCE_FAILED:
	case RELAY_NO_MEMORY:
		break;
	}
	/* For main it is as if a client of the socket had left: what it runs goes on. */
	admin_tls_conn_end(c);
	return false;
}

static bool
relay_down(struct admin_tls_conn *c)
{
	bool was_done = c->down.done;

	switch (relay_move(&c->down, &c->main, &c->client, &c->thread->buffers, c->up.done)) {
	case RELAY_OK:
		if (c->down.done && !was_done)
			c->since = clock_now();
		return true;
	case RELAY_SOURCE_FAILED:
		/* Closed over bytes that main had not read; all that it had said has been read. */
		(void)io_shutdown(&c->client);
		linger(c);
		return false;
	case RELAY_DESTINATION_FAILED:
	case RELAY_NO_MEMORY:
		break;
	}
	admin_tls_conn_end(c);
	return false;
}

static void
move_bytes(struct admin_tls_conn *c)
{
	struct admin_tls_thread *t = c->thread;

	if (!relay_up(c) || !relay_down(c))
		return;
	if (c->down.done && c->up.done) {
		admin_tls_conn_end(c);
		return;
	}
	if (c->down.done && c->deaf) {
		linger(c);
		return;
	}
	if (!relay_is_blocked(&c->down) || relay_waiting(&c->down) != c->waiting)
		c->moved = clock_now();
	c->waiting = relay_waiting(&c->down);
	io_want(t->loop, &c->client, relay_wants(&c->up, &c->down) & (c->deaf ? EV_WRITE : EV_READ | EV_WRITE));
	io_want(t->loop, &c->main, c->deaf ? relay_wants(&c->down, &c->up) & EV_READ : relay_wants(&c->down, &c->up));
}

/* Until the client has gone, or its time is over. */
static void
discard_rest(struct admin_tls_conn *c)
{
	struct admin_tls_thread *t = c->thread;
	ssize_t n = 1;

	for (int i = 0; i < READS_A_TURN && n > 0; i++)
		n = recv(io_fd(&c->client), t->room, sizeof(t->room), MSG_DONTWAIT);
	if (n > 0 || (n < 0 && io_would_block())) {
		ev_io_stop(t->loop, &c->client.watcher);
		ev_io_set(&c->client.watcher, io_fd(&c->client), EV_READ);
		ev_io_start(t->loop, &c->client.watcher);
	} else {
		admin_tls_conn_end(c);
	}
}

static void
conn_step(struct admin_tls_conn *c)
{
	switch (c->state) {
	case ADMIN_TLS_SHAKES:
		switch (io_handshake(&c->client)) {
		case 1:
			on_handshake_done(c);
			return;
		case 0:
			io_want(c->thread->loop, &c->client, EV_READ);
			return;
		}
		on_handshake_failed(c);
		return;
	case ADMIN_TLS_ASKED:
		read_auth_line(c);
		return;
	case ADMIN_TLS_OPEN:
		move_bytes(c);
		return;
	case ADMIN_TLS_LINGERS:
		discard_rest(c);
		return;
	case ADMIN_TLS_ENDED:
		return;
	}
}

static void
admin_tls_client_on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	(void)loop;
	(void)revents;
	conn_step(container_of(w, struct admin_tls_conn, client.watcher));
}

static void
admin_tls_main_on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	(void)loop;
	(void)revents;
	conn_step(container_of(w, struct admin_tls_conn, main.watcher));
}

/* -- life ---------------------------------------------------------------------------------- */

void
admin_tls_conn_new(struct admin_tls_thread *t, int fd, const struct addr *peer)
{
	struct admin_tls_conn *c = calloc(1, sizeof(*c));
	struct tls *tls = c != NULL ? tls_accept(t->site, fd, "", NULL) : NULL;

	if (tls == NULL) {
		free(c);
		close(fd);
		return;
	}
	c->thread = t;
	c->state = ADMIN_TLS_ENDED;
	c->peer = *peer;
	addr_format(peer, c->peer_text);
	c->terms = t->terms;
	io_init(&c->client, fd, admin_tls_client_on_event);
	io_start_tls(&c->client, &tls);
	io_init(&c->main, -1, admin_tls_main_on_event);
	list_init(&c->link);
	list_append(&t->conns, &c->link);
	t->n++;
	become(c, ADMIN_TLS_SHAKES);
	conn_step(c);
}

void
admin_tls_conn_sweep(struct admin_tls_conn *c, double now)
{
	double age = now - c->since, limit = c->thread->config->admin.net.handshake_timeout;

	switch (c->state) {
	case ADMIN_TLS_SHAKES:
		if (age >= limit) {
			refuse_conn_for(c, ADMIN_TLS_TIMEOUT, "its TLS handshake took too long");
			admin_tls_conn_end(c);
		}
		return;
	case ADMIN_TLS_ASKED:
		if (age >= limit)
			refuse_aloud(c, ADMIN_TLS_TIMEOUT, "it took too long to show who it is",
				     "no token came in time (admin.tls.handshake_timeout)");
		return;
	case ADMIN_TLS_OPEN:
		if ((c->down.done && age >= GOODBYE) || (relay_is_blocked(&c->down) && now - c->moved > ADMIN_STUCK_SECONDS))
			admin_tls_conn_end(c);
		return;
	case ADMIN_TLS_LINGERS:
		if (age >= LINGER)
			admin_tls_conn_end(c);
		return;
	case ADMIN_TLS_ENDED:
		return;
	}
}

void
admin_tls_conn_judge(struct admin_tls_conn *c)
{
	if (c->state != ADMIN_TLS_OPEN || !c->by_certificate)
		return;
	c->terms = c->thread->terms;
	if (tls_names_still_pass(c->client.tls, c->thread->site))
		return;
	refuse_conn_for(c, ADMIN_TLS_CERTIFICATE, "its certificate is not accepted any more");
	/* Commands that wait in between are not executed. */
	admin_tls_send_revoked(c->thread, c->id);
	admin_tls_conn_end(c);
}
