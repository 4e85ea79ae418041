/* admin_user.h - the users of the admin socket, and what each of them takes of
 * what they share: places, commands whose client has left, audit lines.
 *
 * Of ADMIN_CLIENTS_MAX places ADMIN_RESERVE are for root and the user teald runs
 * as, and no more than ADMIN_NET_MAX are for who came by the admin listener. When all
 * that one may have are taken, the user with the most of them makes way.
 * Thread: main. */
#ifndef APP_TEALD_ADMIN_USER_H
#define APP_TEALD_ADMIN_USER_H

#include "app/teald/admin_conn.h"

/* Places that those who came by the admin listener share. */
#define ADMIN_NET_MAX 64
/* Places that only root and teald's own user may take. */
#define ADMIN_RESERVE 32
/* Commands of one user that go on after their clients have left; a further one
 * that changes something is refused. */
#define ADMIN_ORPHANS_EACH 64
/* Audit lines about commands that changed nothing, at once and each second; what
 * is beyond is counted, and told in one line a second. */
#define ADMIN_REFUSED_BURST 50.0
#define ADMIN_REFUSED_RATE 5.0
/* Bytes of replies that one user's clients have not taken, over all of them: as
 * much as one client may have.  Beyond, the longest without progress is closed. */
#define ADMIN_UNREAD_EACH CLIENT_REPLY_MAX
/* Without progress for so long, a reader is slow: it makes way. */
#define ADMIN_SLOW_SECONDS 1.0

struct outcome;

struct admin_user {
	struct link link;	/* admin->users */
	uid_t uid;
	char who[RECORD_NAME];	/* of who came by the admin listener; "": a user of this machine */
	bool trusted;	/* root, or the user teald runs as */
	struct link clients;	/* struct admin_conn, longest idle first */
	unsigned n;
	unsigned n_orphans;
	double credit, credited_at;	/* of lines about refused commands */
	/* Refused commands that no line has told of, and the last of them. */
	uint64_t untold;
	char name[RECORD_NAME];
	const char *command;	/* a word of the table of commands */
	char result[24];	/* a word; copied: a flip's is its outcome's */
	pid_t pid;
	struct rights *last;	/* whose it was; one reference, or NULL */
};

/* Finds the user whose rights these are, or makes one that lives as long as anything is left of it. */
struct admin_user *admin_user_of(struct admin *a, const struct rights *r);
/* Frees those of whom nothing is left. */
void admin_users_sweep(struct admin *a);
void admin_users_free(struct admin *a);

/* Makes place for one more client of the user.  False: no other client may be closed
 * for it. */
bool admin_user_has_room(struct admin *a, struct admin_user *u);
/* Keeps each user's unread replies within their limit.  Closes clients: not while
 * any list of them, or of listeners, is walked. */
void admin_users_bound_replies(struct admin *a);
/* The client of any user that is idle for the longest, or reads slowly, is
 * closed; false: there is none. */
bool admin_make_room(struct admin *a);

/* May a line be written about a refused command of the user?  Otherwise it is
 * counted, and told later. */
bool admin_user_may_tell(struct admin_user *u);
/* Tells what was counted; true while something is left to be told. */
bool admin_users_tell(struct admin *a);

#endif
