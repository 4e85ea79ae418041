/* generations.c - the processes that serve: one as a rule, two while one takes over
 * from the other.  What happens when either says something, or dies. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/supervisor/supervisor.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fds.h"

/* Of a crash handler: some thirty frames. */
#define WORDS_MAX 2800

static struct child slots[2] = { { .ends = { -1, -1, -1, -1 } }, { .ends = { -1, -1, -1, -1 } } };
/* The one whose death costs clients; and its successor until it has yielded to that,
 * or its predecessor, which is leaving. */
static struct child *serving = &slots[0], *other = &slots[1];
/* The program of serving; the one before it, or after it was fallen back to, while it
 * may be needed; that of a successor. */
static struct program program = { .fd = -1 }, spare = { .fd = -1 }, next = { .fd = -1 };
static double spare_until;
static bool fell_back;
static struct past past;
static unsigned restarts_max, hang_ticks;
static double *deaths;	/* the last restarts_max + 1 of them, a ring by restarts */
static double backoff;	/* of the next start, where one dies soon after its own */
static double died_at;	/* since when nothing serves; 0: something does */
static double start_at;	/* of the next child; 0: there is one */
static bool stopping;
static int exit_with = -1;	/* once both are gone; -1: go on */

static bool
has_successor(void)
{
	return other->pid > 0 && !other->leaving;
}

/* -- an upgrade -------------------------------------------------------------------------- */

/* The predecessor gets its end of the line to c.  An end of that line says that it has
 * ended, as it may have: where it only cannot be told, c ends before its line does (child_bury). */
static void
give_line(struct child *predecessor, struct child *c)
{
	char text[32];

	snprintf(text, sizeof(text), "successor %d", (int)c->pid);
	if (child_tell(predecessor, text, c->ends[CHILD_LINE]) || errno == EPIPE || errno == EBADF)
		child_close(&c->ends[CHILD_LINE], 1);
	else
		(void)kill(c->pid, SIGKILL);
}

static void
start_child(void)
{
	pid_t predecessor = other->pid;

	past.crashed = died_at > 0;
	start_at = 0;
	if (!child_start(serving, &program, &past, predecessor)) {
		fprintf(stderr, "teald: no process or descriptor is left for another one\n");
		start_at = clock_now() + BACKOFF_MAX;
	} else if (predecessor > 0) {
		give_line(other, serving);
	}
}

/* To serving, while it has not yielded. */
static void
upgrade_failed(enum err e, const char *why)
{
	char text[CHILD_WORD_MAX];

	snprintf(text, sizeof(text), "upgrade failed: %s: %s", err_word(e), why);
	(void)child_tell(serving, text, -1);
}

static void
child_asks(struct child *c, const char *text, size_t n)
{
	const char *end = text + n, *binary = memchr(text, '\0', n), *config;
	char why[CHILD_WORD_MAX - 64];

	binary = binary != NULL ? binary + 1 : end;
	config = binary < end ? binary + strlen(binary) + 1 : end;
	if (c != serving)
		return;
	past.crashed = false;
	if (other->pid == 0)
		program_close(&next);	/* of one that failed */
	if (stopping)
		upgrade_failed(E_INTERNAL, "teald stops");
	else if (other->pid > 0)
		upgrade_failed(E_CONFLICT, other->leaving ? "the former generation has not left yet" :
						"another upgrade is under way");
	else if (!program_open(&next, &program, binary, config < end ? config : "", why, sizeof(why)))
		upgrade_failed(E_USAGE, why);
	else if (!child_start(other, &next, &past, serving->pid))
		upgrade_failed(E_INTERNAL, "no process or descriptor is left for another one");
	else {
		give_line(serving, other);
		other->deadline = clock_now() + strtod(text, NULL);
		snprintf(why, sizeof(why), "RELOADING=1\nSTATUS=upgrading: process %d is to take over",
			 (int)other->pid);
		notify_say(why);
	}
}

/* The successor is the one that serves from now on. */
static void
take_over(void)
{
	struct child *former = serving;

	serving = other;
	other = former;
	other->leaving = true;
	/* It has died just before its predecessor yielded, and is to be started again. */
	if (serving->pid == 0) {
		died_at = start_at = clock_now();
		return;
	}
	serving->deadline = 0;
	sockets_settle(serving->pid, true);
	program_close(&spare);
	spare = program;
	program = next;
	next = (struct program){ .fd = -1 };
	spare_until = clock_now() + FALL_BACK_SECONDS;
	fell_back = false;
}

static void
child_is_ready(struct child *c)
{
	c->ready = true;
	if (c == other && has_successor())
		take_over();
	if (c != serving)
		return;
	if (died_at > 0)
		SAY(LOG_INFO_LEVEL, "teald.recovered", LI("pid", c->pid),
		    LF("seconds", clock_now() - died_at), LU("count", past.restarts));
	died_at = 0;
	notify_say("READY=1");
}

static void
child_notifies(struct child *c, const char *text)
{
	const char *status = strstr(text, "STATUS=");

	if (status != NULL)
		snprintf(c->doing, sizeof(c->doing), "%.*s", (int)strcspn(status + 7, "\n"), status + 7);
	if (c != serving)
		return;
	if (strstr(text, "STOPPING=1") != NULL && !stopping) {
		stopping = true;
		if (other->pid > 0)
			(void)kill(other->pid, SIGTERM);
	}
	notify_say(text);
}

static void
generations_on_message(struct child *c, const char *text, size_t n, const int *fds, unsigned n_fds)
{
	if (strcmp(text, "keep") == 0)
		sockets_keep(fds, n_fds, c == other && !c->leaving ? c->pid : 0);
	else
		fds_close(fds, n_fds);
	if (strcmp(text, "ready") == 0) {
		child_is_ready(c);
	} else if (strcmp(text, "beat") == 0) {
		c->beats = true;
		c->silent = 0;
	} else if (strncmp(text, "forget ", 7) == 0) {
		if (c == serving)
			sockets_forget(text + 7, (socklen_t)(n - 7));
		(void)child_tell(c, "forgot", -1);
	} else if (strncmp(text, "config ", 7) == 0) {
		snprintf(past.copy, sizeof(past.copy), "%s", text + 7);
	} else if (strcmp(text, "unfit") == 0) {
		c->unfit = true;
	} else if (strncmp(text, "notify ", 7) == 0) {
		child_notifies(c, text + 7);
	} else if (strncmp(text, "upgrade ", 8) == 0) {
		child_asks(c, text + 8, n - 8);
	} else if (strcmp(text, "firm") == 0 && c == serving) {
		/* The former file's store no longer has the truth: no way leads back to it. */
		program_close(&spare);
	} else if (strcmp(text, "prepared") == 0) {
		c->deadline = 0;
	} else if (strcmp(text, "yielded") == 0 && c == serving) {
		take_over();
	}
}

/* A predecessor that is about to yield says so before its successor can know: it is read first. */
static void
read_both(void)
{
	struct child *first = serving, *second = other;

	child_read(first, generations_on_message);
	child_read(second, generations_on_message);
	child_read_err(first);
	child_read_err(second);
}

/* -- an end -------------------------------------------------------------------------------- */

/* "SIGSEGV", "status 2" */
static const char *
how_ended(int status)
{
	static char text[24];
	const char *name = sigabbrev_np(WTERMSIG(status));

	if (WIFEXITED(status))
		snprintf(text, sizeof(text), "status %d", WEXITSTATUS(status));
	else
		snprintf(text, sizeof(text), "SIG%s", name != NULL ? name : "?");
	return text;
}

static void
tell_crash(const struct child *c, int status, double now, const char *words)
{
	SAY(LOG_ERROR_LEVEL, "teald.crashed", LI("pid", c->pid),
	    LS("kind", c == serving ? "serving" :
		       c->leaving   ? "leaving" :
				      "successor"),
	    WIFSIGNALED(status) ? LS("signal", how_ended(status)) : LI("status", WEXITSTATUS(status)),
	    LF("seconds", now - c->born), LU("count", past.restarts), LS("doing", c->doing),
	    LS("backtrace", words));
}

static void
successor_ended(struct child *c, int status)
{
	char why[CHILD_WORD_MAX - 64];
	const char *hint = "";

	for (char *at = c->said; (at = strchr(at, '\n')) != NULL;)
		*at = at[1] != '\0' ? ';' : '\0';
	if (strstr(c->said, "--successor") != NULL)
		hint = "; no teald, or one too old to take over, which needs a restart";
	snprintf(why, sizeof(why), "%s %s%s (%s)%s%s%s", next.path,
		 c->late ? "was not ready in time" : "ended with ", c->late ? "" : how_ended(status),
		 c->doing, *c->said != '\0' ? ": " : "", c->said, hint);
	sockets_settle(c->pid, false);
	/* 2: its file, or its binary, is not what it should be. */
	upgrade_failed(c->late                                           ? E_TIMEOUT :
		       WIFEXITED(status) && WEXITSTATUS(status) == 2 ? E_CONFIG :
									 E_INTERNAL,
		       why);
	if (!stopping)
		notify_say("READY=1\nSTATUS=serving; an upgrade failed");
}

/* It ends, and so does what is left. */
static void
end_with(int status)
{
	exit_with = status;
	start_at = 0;
	if (has_successor())
		(void)kill(other->pid, SIGKILL);	/* it holds nothing */
	else if (other->pid > 0 && !stopping)
		(void)kill(other->pid, SIGTERM);
	stopping = true;
}

/* The other program than the one that died, while there is one: the former one or,
 * where that could not start, the new one again. */
static bool
has_spare(bool served, double now)
{
	return spare.fd >= 0 && now < spare_until && !(fell_back && served);
}

static void
fall_back(double now)
{
	struct program bad = program;

	program = spare;
	spare = bad;
	spare_until = now + FALL_BACK_SECONDS;
	fell_back = true;
	past.fallbacks++;
	SAY(LOG_ERROR_LEVEL, "teald.fallback", LS("from", bad.path), LS("to", program.path));
}

/* Its place is a successor's, or that of one that is started. */
static void
serving_died(const struct child *c, int status, double now, const char *words)
{
	bool well = c->ready && now - c->born >= EARLY;
	unsigned most = restarts_max + 1;

	died_at = deaths[past.restarts++ % most] = now;
	past.restarted_at = clock_wall_us() / 1000000;
	past.unfit = c->unfit;
	tell_crash(c, status, now, words);
	if (stopping) {
		end_with(EXIT_FAILED);
	} else if (has_successor()) {
		take_over();
	} else {
		if (past.restarts >= most && now - deaths[past.restarts % most] < RESTART_WINDOW) {
			SAY(LOG_ERROR_LEVEL, "teald.gave_up", LU("count", most),
			    LS("hint", "it dies again and again; see teald.crashed before this line"));
			fprintf(stderr,
				"teald: the serving process died %u times within a minute; giving up\n",
				most);
			notify_say("STOPPING=1\nSTATUS=the serving process died again and again");
			exit(EXIT_FAILED);
		}
		if (has_spare(c->ready, now))
			fall_back(now);
		if (well)
			backoff = 0;
		start_at = now + (backoff < BACKOFF_MAX ? backoff : BACKOFF_MAX);
		if (!well)
			backoff = backoff > 0 ? backoff * 2 : BACKOFF_FIRST;
		notify_say("STATUS=the serving process died; starting another");
	}
}

static void
serving_ended(const struct child *c, int status, double now, const char *words)
{
	/* As asked, or because it could not start, and has said why.  A restart that could
	 * not is tried again, for clients wait. */
	bool last = past.restarts == 0 || c->ready || WEXITSTATUS(status) == 0;

	if (WIFEXITED(status) && (stopping || (last && !has_successor() && !has_spare(c->ready, now))))
		end_with(WEXITSTATUS(status));
	/* Before it could take the signal up there was nothing to drain. */
	else if (stopping && WIFSIGNALED(status) &&
		 (WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGINT))
		end_with(0);
	else
		serving_died(c, status, now, words);
}

static void
child_ended(struct child *c, int status)
{
	double now = clock_now();
	char words[WORDS_MAX];

	read_both();
	child_bury(c, words, sizeof(words));
	if (c == serving)
		serving_ended(c, status, now, words);
	else {
		if (WIFSIGNALED(status) && !stopping)
			tell_crash(c, status, now, words);
		if (!c->leaving)
			successor_ended(c, status);
	}
	c->pid = 0;
	/* What a successor needs to know once its predecessor has ended. */
	if (c->leaving) {
		snprintf(words, sizeof(words), "alone %u %lld", past.restarts, (long long)past.restarted_at);
		(void)child_tell(serving, words, -1);
	}
}

/* Those that were orphaned, too, where this is process 1. */
void
generations_reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == serving->pid)
			child_ended(serving, status);
		else if (pid == other->pid)
			child_ended(other, status);
}

/* -- their time ----------------------------------------------------------------------------- */

void
generations_begin(struct program *p, unsigned most_restarts, unsigned ticks)
{
	program = *p;
	restarts_max = most_restarts;
	hang_ticks = ticks;
	deaths = must_array(restarts_max + 1, sizeof(*deaths));
	start_child();
}

double
generations_watch(struct pollfd p[GENERATIONS_FDS], double until)
{
	double due = start_at > 0 ? start_at : has_successor() ? other->deadline : 0;

	for (unsigned i = 0; i < GENERATIONS_FDS; i++)
		p[i] = (struct pollfd){ slots[i / 2].ends[i % 2 == 0 ? CHILD_LINK : CHILD_ERR], POLLIN, 0 };
	return due > 0 && due < until ? due : until;
}

void
generations_turn(double now)
{
	read_both();
	if (has_successor() && other->deadline > 0 && now >= other->deadline) {
		(void)kill(other->pid, other->late ? SIGKILL : SIGABRT);
		other->late = true;
		other->deadline = now + KILL_TICKS;
	}
	if (start_at > 0 && now >= start_at)
		start_child();
	if (exit_with >= 0 && serving->pid == 0 && other->pid == 0)
		exit(exit_with);
}

static void
watch_over(struct child *c)
{
	if (c->pid == 0 || !c->beats || hang_ticks == 0)
		return;
	if (++c->silent == hang_ticks)
		SAY(LOG_ERROR_LEVEL, "teald.hangs", LI("pid", c->pid), LF("seconds", hang_ticks),
		    LS("doing", c->doing));
	if (c->silent == hang_ticks || c->silent == hang_ticks + KILL_TICKS)
		(void)kill(c->pid, c->silent == hang_ticks ? SIGABRT : SIGKILL);
}

void
generations_tick(void)
{
	watch_over(serving);
	watch_over(other);
}

void
generations_signal(int number)
{
	bool stop = number == SIGTERM || number == SIGINT;

	if (stop && !stopping)
		notify_say("STOPPING=1");
	stopping |= stop;
	if (serving->pid > 0)
		(void)kill(serving->pid, number);
	if (stop && other->pid > 0)
		(void)kill(other->pid, number);
	/* Nothing serves, and nothing will. */
	if (stop && serving->pid == 0)
		end_with(0);
}
