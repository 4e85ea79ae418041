/* command.h - one command of the admin socket, from its line to its reply.
 *
 *	parse -> rights -> name of the user -> verb -> reply and audit
 *
 * It outlives its client where it must: a flip goes on, and its audit line
 * says how it ended.  Thread: main. */
#ifndef APP_TEALD_COMMAND_H
#define APP_TEALD_COMMAND_H

#include "app/teald/admin_conn.h"
#include "app/teald/user_names.h"
#include "app/teald/rights.h"
#include "base/json.h"
#include "control/flip.h"
#include "proto/admin_command.h"

struct lock_all;
struct waiter_for_reload;
struct admin_user;

/* How a command ended, for the audit log. */
struct outcome {
	const char *result;	/* "ok" or an error's word */
	const char *message;	/* a sentence; NULL or "": none */
	enum changed changed;
	bool has_epoch;
	uint64_t epoch;	/* of the service, when it was over */
	const char *revision;	/* of a change of several; NULL or "": none */
};

struct command {
	struct link link;	/* admin->commands */
	struct admin *admin;	/* NULL: gone; only the callback that holds it is waited for */
	struct admin_conn *client;	/* NULL: left */
	bool held;	/* a callback that cannot be called off will come */
	bool orphan;	/* counted in admin->n_orphans */
	bool audited;	/* its end goes to the audit log */
	struct actor by;	/* user is filled once it is known */
	struct rights *rights;	/* a reference: the client may leave */
	const char *missing;	/* denied: the service that is out of reach, "" for all */
	const struct admin_command_info *info;
	struct service_ctl *ctl;	/* the service it names, one reference; NULL: none */
	struct user_name_wait name;
	struct flip_watcher watcher;
	struct link listening;	/* admin->events.commands */
	struct lock_all *all;
	struct waiter_for_reload *reload;	/* NULL: it does not wait for one */
	bool unbegun;	/* it has done nothing: another process may be asked the same */
	struct admin_request request;	/* slices of line */
	struct admin_line line;
};

/* Runs a line of the client, who has no other command.  It may be over when
 * this returns, and the client closed. */
void command_run(struct admin_conn *c, struct str line);

/* Is what the line asks for answered at once, and by itself the start of nothing that lasts? */
bool command_is_quick(struct str line);

/* The client of the command goes away. */
void command_leave(struct command *cmd);

/* One that has not begun is another process's: no reply and no audit line of ours. */
void command_forget(struct command *cmd);

/* The admin socket goes away: last words to the client, if there is one. */
void command_abandon(struct command *cmd);

/* For the verbs.  Each ends the command: *cmd is gone. */
void command_reply(struct command *cmd, struct buf *text);	/* an ok reply; frees text */
void command_fail(struct command *cmd, enum err e, const struct why *why);
/* May the client know of the service? */
bool command_may_read(const struct command *cmd, const struct service *s);
/* A last line made elsewhere, with how it went for the audit log. */
void command_relay(struct command *cmd, const struct outcome *o, struct str line);

/* Begins an ok reply in text: {"ok":true; the members are the caller's. */
void command_ok(struct json *j, struct buf *text);
/* Ends it and replies. */
void command_done(struct command *cmd, struct json *j);
/* Begins the reply to what ended with e, in text: ok, or with the error's word and the message. */
void command_result(struct json *j, struct buf *text, enum err e, const char *message);
/* Ends it and replies, with how it went for the audit log. */
void command_result_done(struct command *cmd, struct json *j, const struct outcome *o);

/* First thing in a callback that held the command: true when the admin socket
 * is gone, and then so is the command. */
bool command_came_too_late(struct command *cmd);

/* A progress line to the client, if it is still there. */
void command_progress(struct command *cmd, struct str line);

/* The audit line; in audit.c. */
void audit_log(const struct command *cmd, const struct outcome *o);
/* One line about the refused commands of the user that no other tells of. */
void audit_log_untold(const struct admin *a, const struct admin_user *u);
/* Adds the refusal to the history of the service, if there is such a service. */
void audit_note_denied(const struct command *cmd);

/* Does what the command says; in verbs.c. */
void verb_run(struct command *cmd);
/* Those that change a color or a lock, or ask whether they could; in
 * verbs_flip.c. */
void verb_flip(struct command *cmd);
void verb_check(struct command *cmd);
void verb_lock(struct command *cmd);
void verb_claim(struct command *cmd);
/* A bake; in verbs_bake.c. */
void verb_bake(struct command *cmd);
void verb_signal(struct command *cmd);
void verb_wait(struct command *cmd);
/* The flip's watcher is the command's. */
void verb_flip_watch(struct command *cmd);
/* One that only asks or waits is called off, as if it had not begun; false: it is none. */
bool verb_flip_take_back(struct command *cmd);
/* Would it be? */
bool verb_flip_waits(const struct command *cmd);
/* The nodes of the pools; in verbs_node.c. */
void verb_node(struct command *cmd);
/* One of them is drained and waited for; in verbs_node_drain.c. */
void verb_node_drain(struct command *cmd, const struct pool_config *pool);
/* Certificates; in verbs_certs.c. */
void verb_certs(struct command *cmd);
/* The configuration; in verbs_reload.c. */
void verb_reload(struct command *cmd);
/* It does not wait any more; false: its reload has begun, or it waits for none. */
bool verb_reload_take_back(struct command *cmd);
/* Another process takes over; in verbs_upgrade.c. */
void verb_upgrade(struct command *cmd);
void verb_config(struct command *cmd);
/* Stops listening to what they began, which goes on; harmless when nothing
 * was. */
void verb_flip_abandon(struct command *cmd);

/* The name closest to a word among the services the command may know of, or
 * NULL when none is close. */
const char *verb_did_you_mean(const struct command *cmd, struct str word);

#endif
