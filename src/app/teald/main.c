/* main.c - teald: reads the configuration, opens everything, serves, stops.
 * Thread: main. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/teald/admin.h"
#include "app/teald/admin_tls.h"
#include "model/admin_token.h"
#include "app/teald/against.h"
#include "app/teald/check.h"
#include "app/teald/engine_table.h"
#include "app/teald/fallback.h"
#include "app/teald/kernel_services.h"
#include "app/teald/observe.h"
#include "app/teald/startup.h"
#include "app/teald/succession.h"
#include "app/teald/supervised.h"
#include "app/teald/upgrade.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/slice.h"
#include "base/standard.h"
#include "base/version.h"
#include "control/control.h"
#include "control/reload.h"
#include "data/proxy.h"
#include "net/handed.h"

#define EXIT_FAILED 1
#define EXIT_USAGE 2
/* Seconds: a second signal that comes sooner is the first one's echo. */
#define SECOND_SIGNAL_AFTER 0.5

struct teald {
	struct ev_loop *loop;
	const struct config *config;
	struct service **services;
	size_t n;
	struct jobs *jobs;
	struct store *store;
	struct proxy *proxy;
	struct kernel_services *kernel_services;	/* NULL: nothing of it is needed */
	struct admin *admin;
	struct observe *observe;
	struct succession *succession;	/* NULL: no other process gave way to this one */
	struct upgrade *upgrade;	/* NULL before it serves */
	struct control control;
	bool control_opened;
	ev_signal term, interrupt, hangup, usr2;
	unsigned signals;
	double stopped_at;	/* clock_now() of the first of them */
	struct reload_wait reload;	/* for SIGHUP */
	bool reloading, again;	/* that is asked for; and once more behind it */
	bool assume_initial;
	bool failed;	/* while serving; why.text says how */
	struct why why;
};

static const char usage[] =
	"usage: teald -c FILE [-t [--user=NAME] [--print-ruleset] [--against=SOCKET]]\n"
	"             [--assume-initial]\n"
	"             [--no-supervisor | --max-restarts=N --watchdog=SEC]\n"
	"       teald --new-token=NAME | --help | --version\n"
	"\n"
	"The load balancer of two colors.  Stays in the foreground, logs JSON lines\n"
	"on stdout; SIGTERM drains and exits, a second one half a second later exits at\n"
	"once.\n"
	"\n"
	"  -c, --config FILE   the configuration, see teal.conf(5)\n"
	"  -t, --test          check the configuration, start nothing\n"
	"  --user=NAME         with -t: check as that user, whose teald will read the files\n"
	"  --print-ruleset     with -t: print the nftables rules for the services of\n"
	"                      engine \"kernel\"\n"
	"  --against=SOCKET    with -t: print what the file would change of the teald with\n"
	"                      that admin socket\n"
	"  --assume-initial    with Redis: services that neither Redis nor state_dir\n"
	"                      knows begin with their `initial` color, before Redis\n"
	"                      has answered\n"
	"  --no-supervisor     serve in this process, which nothing starts again\n"
	"  --max-restarts=N    end when the serving process died more often than that\n"
	"                      within a minute (5)\n"
	"  --watchdog=SEC      end a serving process whose main thread hangs for so\n"
	"                      long (30), and start another; 0: never\n"
	"  --new-token=NAME    make a token for the admin listener: its line for\n"
	"                      admin.token_file on stdout, itself on stderr, once\n"
	"  -V, --version       print the version\n"
	"  -h, --help          print this\n"
	"\n"
	"Exit status: 0 stopped as asked, 1 could not start or was hurried,\n"
	"2 wrong use or configuration.\n";

struct options {
	const char *config;
	bool test;
	bool print;
	const char *against;	/* an admin socket; NULL: none */
	const char *user;	/* of -t: who would serve; NULL: who asks, or the configuration's */
	bool assume_initial;
	bool successor;	/* of the process whose supervisor started this one */
};

/* The one moment at which there is the token itself. */
static int
print_new_token(const char *name)
{
	char token[ADMIN_TOKEN_TEXT];
	struct buf line;

	if (!admin_token_is_name(name)) {
		fputs("teald: --new-token: a name is up to 56 of A-Z a-z 0-9 . _ -\n", stderr);
		return EXIT_USAGE;
	}
	buf_init(&line, 1024);
	if (!admin_token_make(name, token, &line)) {
		fputs("teald: --new-token: the kernel gives no random numbers\n", stderr);
		buf_free(&line);
		return EXIT_FAILED;
	}
	fprintf(stderr, "%s\n", token);
	explicit_bzero(token, sizeof(token));
	printf("%.*s", (int)buf_len(&line), buf_str(&line).p);
	buf_free(&line);
	return fflush(stdout) == 0 ? 0 : EXIT_FAILED;
}

/* Returns an exit status, or -1 to go on. */
static int
parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "test", no_argument, NULL, 't' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ "assume-initial", no_argument, NULL, 'a' },
		{ "print-ruleset", no_argument, NULL, 'p' },
		{ "against", required_argument, NULL, 'g' },
		{ "user", required_argument, NULL, 'u' },
		{ "new-token", required_argument, NULL, 'n' },
		{ "successor", no_argument, NULL, 's' },
		/* The supervisor has read these, and leaves them to be seen. */
		{ "no-supervisor", no_argument, NULL, 'r' },
		{ "max-restarts", required_argument, NULL, 'r' },
		{ "watchdog", required_argument, NULL, 'r' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:tVh", longs, NULL)) != -1)
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case 't':
			o->test = true;
			break;
		case 'p':
			o->print = true;
			break;
		case 'g':
			o->against = optarg;
			break;
		case 'u':
			o->user = optarg;
			break;
		case 'a':
			o->assume_initial = true;
			break;
		case 's':	/* the supervisor's alone */
			o->successor = true;
			break;
		case 'r':
			break;
		case 'n':
			return print_new_token(optarg);
		case 'V':
			printf("teald %s\n", teal_version());
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs("try: teald --help\n", stderr);
			return EXIT_USAGE;
		}
	if (optind < argc) {
		fprintf(stderr, "teald: unexpected argument \"%s\"; try: teald --help\n", argv[optind]);
		return EXIT_USAGE;
	}
	if (o->print && !o->test) {
		fputs("teald: --print-ruleset goes with -t: nothing is started\n", stderr);
		return EXIT_USAGE;
	}
	if (o->user != NULL && !o->test) {
		fputs("teald: --user goes with -t; who serves is the user that starts teald, or user in the configuration\n", stderr);
		return EXIT_USAGE;
	}
	if (o->against != NULL && !o->test) {
		fputs("teald: --against goes with -t: nothing is started\n", stderr);
		return EXIT_USAGE;
	}
	if (o->successor != succession_is_on()) {
		fputs("teald: --successor is for the supervisor, which starts one when an upgrade is asked for\n", stderr);
		return EXIT_USAGE;
	}
	if (o->config == NULL) {
		fputs("teald: no configuration given; use: teald -c FILE\n", stderr);
		return EXIT_USAGE;
	}
	return -1;
}

/* A start does not wait for names; a test tells of them. */
static enum err
load(const char *path, bool test, const struct config **config, struct complaints *errors)
{
	struct complaints warnings = { 0 };
	enum err e = config_load(path, config, errors, &warnings);

	if (e == OK && test)
		config_look_up(*config, &warnings);
	for (size_t i = 0; i < warnings.n; i++)
		fprintf(stderr, "%s (warning)\n", warnings.lines[i]);
	for (size_t i = 0; i < errors->n; i++)
		fprintf(stderr, "%s\n", errors->lines[i]);
	complaints_free(&warnings);
	return e;
}

static void
teald_on_stopped(void *arg)
{
	struct teald *t = arg;

	ev_break(t->loop, EVBREAK_ALL);
}

/* A port that cannot be listened on after all: better to end, and be seen. */
static void
teald_on_fatal(void *arg, const struct why *why)
{
	struct teald *t = arg;

	t->failed = true;
	t->control.life = LIFE_STOPPED;
	t->why = *why;
	ev_break(t->loop, EVBREAK_ALL);
}

static void
teald_on_refused(void *arg, struct service *s)
{
	control_backend_refused(arg, s);
}

static void
stop_on_signal(struct teald *t, int signum)
{
	LOG_INFO("teald.signal", LS("signal", signum == SIGINT ? "SIGINT" : "SIGTERM"));
	if (t->signals++ == 0) {
		t->stopped_at = clock_now();
		stop_begin(&t->control);
		return;
	}
	/* timeout(1), and who signals a process and its group, sends two at once. */
	if (clock_now() - t->stopped_at < SECOND_SIGNAL_AFTER)
		return;
	LOG_WARN("teald.hurried", LS("reason", "a second signal: connections are cut"));
	log_stop(0.2);
	_exit(EXIT_FAILED);
}

static void
teald_on_term(struct ev_loop *loop, ev_signal *w, int revents)
{
	(void)loop;
	(void)revents;
	stop_on_signal(container_of(w, struct teald, term), w->signum);
}

static void
teald_on_interrupt(struct ev_loop *loop, ev_signal *w, int revents)
{
	(void)loop;
	(void)revents;
	stop_on_signal(container_of(w, struct teald, interrupt), w->signum);
}

static void reload_on_hangup(struct teald *t);

static void
hangup_on_done(struct reload_wait *w, const struct reload_result *result)
{
	struct teald *t = container_of(w, struct teald, reload);

	(void)result;	/* the log has it */
	t->reloading = false;
	if (t->again && t->control.life <= LIFE_SERVING) {
		t->again = false;
		reload_on_hangup(t);
	}
}

/* However many come while a file is read, it is read once more. */
static void
reload_on_hangup(struct teald *t)
{
	t->again = t->reloading;
	if (t->reloading || t->control.reloads == NULL || t->control.life > LIFE_SERVING)
		return;
	t->reloading = true;
	t->reload = (struct reload_wait){ .done = hangup_on_done };
	str_copy(t->reload.by, sizeof(t->reload.by), STR("SIGHUP"));
	reload_ask(t->control.reloads, &t->reload);
}

static void
teald_on_hangup(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct teald *t = container_of(w, struct teald, hangup);

	(void)loop;
	(void)revents;
	LOG_INFO("teald.signal", LS("signal", "SIGHUP"));
	reload_on_hangup(t);
}

static void
teald_on_usr2(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct teald *t = container_of(w, struct teald, usr2);

	(void)loop;
	(void)revents;
	LOG_INFO("teald.signal", LS("signal", "SIGUSR2"));
	if (t->upgrade != NULL)
		upgrade_on_signal(t->upgrade);
}

static void
teald_on_prepared(void *arg)
{
	struct teald *t = arg;

	succession_prepared(t->succession);
}

static void
teald_on_added(void *arg, struct service *s)
{
	struct teald *t = arg;

	t->services = must_grow(t->services, t->n + 1, sizeof(*t->services));
	t->services[t->n++] = s;
}

static void
teald_on_removed(void *arg, struct service *s)
{
	struct teald *t = arg;

	for (size_t i = 0; i < t->n; i++)
		if (t->services[i] == s) {
			t->services[i] = t->services[--t->n];
			break;
		}
	service_free(&s);
}

static enum err
teald_on_reload(void *arg, const struct config *to, struct why *why)
{
	struct teald *t = arg;

	return admin_prepare(t->admin, to, why);
}

static void
teald_on_reload_failed(void *arg)
{
	struct teald *t = arg;

	admin_abandon(t->admin);
}

/* Of all engines, and of teald itself. */
static void
whole_needs(const struct config *config, struct engine_needs *out)
{
	engine_table_needs(config, out);
	/* Nothing of clients is to be had for them. */
	if (config->admin.net.n_listen > 0)
		out->listeners += ADMIN_TLS_DESCRIPTORS;
}

static void
teald_on_reloaded(void *arg, const struct config *config)
{
	struct teald *t = arg;
	struct engine_needs needs;

	whole_needs(config, &needs);
	proxy_set_descriptors(t->proxy, startup_descriptors(&needs));
	admin_reconfigure(t->admin, config);
	if (t->observe != NULL)
		observe_reconfigure(t->observe, config);
}

static void
teald_on_reloading(void *arg, bool begins)
{
	(void)arg;
	supervised_reloading(begins);
}

static enum err
open_kernel_services(struct teald *t, struct why *why)
{
	return kernel_services_open(&t->kernel_services, t->loop, t->config, t->services, t->n, why);
}

/* The store has been opened: who asks is answered from here on. */
static void
serve_public(struct teald *t)
{
	kernel_services_start(t->kernel_services, &t->control);
	admin_start(t->admin, &t->control);
	if (t->observe != NULL)
		observe_start(t->observe, &t->control);
	t->upgrade = upgrade_new(&(struct upgrade_parts){ .control = &t->control,
							  .proxy = t->proxy,
							  .store = &t->store,
							  .kernel_services = &t->kernel_services,
							  .admin = t->admin,
							  .observe = t->observe,
							  .succession = &t->succession,
							  .on_done = teald_on_stopped,
							  .arg = t });
	admin_set_upgrade(t->admin, t->upgrade);
}

/* The process that served before gives way, or is gone. */
static bool
teald_on_let_go(void *arg)
{
	struct teald *t = arg;
	struct engine *kernel;
	struct why why;

	handed_settle();
	if (open_kernel_services(t, &why) != OK) {
		teald_on_fatal(t, &why);
		return false;
	}
	if ((kernel = kernel_services_engine(t->kernel_services)) != NULL)
		control_join_engine(&t->control, kernel);
	return true;
}

static void
teald_on_take_over(void *arg, bool reload)
{
	struct teald *t = arg;
	struct why why;

	if (control_begin(&t->control, &why) != OK) {
		teald_on_fatal(t, &why);
		return;
	}
	serve_public(t);
	succession_serve(t->succession, t->admin, t->observe);
	reload_opened(t->control.reloads, false);
	supervised_settle();
	if (reload)
		reload_on_hangup(t);
}

static void
teald_on_give_up(void *arg, const char *text)
{
	struct why why;

	(void)why_set(&why, E_INTERNAL, "the process that serves goes on: %s", text);
	teald_on_fatal(arg, &why);
}

/* Everything that can fail, in the order that leaves nothing half done: what
 * needs root first, then the drop of privileges, then what writes files. */
static enum err
open_all(struct teald *t, struct why *why)
{
	struct engine *engines[ENGINES], *kernel_services;
	struct engine_needs needs;
	size_t n_engines = 0;
	uint32_t descriptors;
	unsigned unasked;
	enum err e;

	whole_needs(t->config, &needs);
	descriptors = startup_descriptors(&needs);
	t->n = t->config->n_services;
	t->services = must_array(t->n, sizeof(struct service *));
	for (size_t i = 0; i < t->n; i++)
		t->services[i] = service_new(&t->config->services[i], (unsigned)i, t->config->workers);
	t->proxy = proxy_new(t->loop, t->config, t->services, (unsigned)t->n, descriptors);
	if ((e = proxy_bind(t->proxy, why)) != OK)
		return e;
	if ((t->admin = admin_bind(t->config, why)) == NULL)
		return E_USAGE;
	if (t->config->observe.on && (t->observe = observe_bind(t->config, why)) == NULL)
		return E_USAGE;
	if ((unasked = handed_drop_rest()) > 0 && !succession_is_on())
		LOG_WARN("listen.handed_unused", LU("count", unasked),
			 LS("hint", "given by the service manager for addresses that nothing listens on here"));
	if ((e = startup_state_dir(t->config, why)) != OK ||
	    (e = startup_drop_privileges(t->config, needs.capabilities, why)) != OK ||
	    (succession_is_on() && (e = succession_check_store(t->config, why)) != OK) ||
	    (e = succession_is_on() ? kernel_services_prepare(t->config, why) : open_kernel_services(t, why)) != OK)
		return e;
	t->jobs = jobs_new(t->loop, 1);
	t->store = t->config->store.type == STORE_REDIS ? store_redis_new(t->config, t->jobs, t->assume_initial) :
							  store_file_new(t->config, t->jobs);
	if ((e = proxy_start(t->proxy, why)) != OK)
		return e;
	engines[n_engines++] = &t->proxy->engine;
	if ((kernel_services = kernel_services_engine(t->kernel_services)) != NULL)
		engines[n_engines++] = kernel_services;
	e = (succession_is_on() ? control_prepare : control_open)(&t->control, t->loop, t->config, t->jobs, t->store,
								  engines, n_engines, t->services, t->n, why);
	t->control_opened = true;
	t->control.on_stopped = teald_on_stopped;
	t->control.on_fatal = teald_on_fatal;
	t->control.on_added = teald_on_added;
	t->control.on_removed = teald_on_removed;
	t->control.on_reload = teald_on_reload;
	t->control.on_reload_failed = teald_on_reload_failed;
	t->control.on_reloaded = teald_on_reloaded;
	t->control.on_reloading = teald_on_reloading;
	t->control.on_prepared = teald_on_prepared;
	t->control.arg = t;
	t->proxy->on_refused = teald_on_refused;
	if (e != OK)
		return e;
	if (succession_is_on())
		supervised_wait();
	supervised_watch(&t->control);
	if (!succession_is_on()) {
		serve_public(t);
		return OK;
	}
	t->succession = succession_new(&t->control, t->proxy,
				       &(struct succession_calls){ teald_on_let_go, teald_on_take_over, teald_on_give_up, t });
	return OK;
}

/* The reverse: first the listeners, then the threads, then what they used. */
static void
close_all(struct teald *t)
{
	succession_free(&t->succession);
	if (t->upgrade != NULL)
		upgrade_end(t->upgrade);
	/* A write that is under way still tells control, and control the proxy. */
	if (t->store != NULL)
		t->store->close(&t->store);
	proxy_free(&t->proxy);
	/* The workers' last letters may have been for it. */
	upgrade_free(&t->upgrade);
	kernel_services_close(&t->kernel_services);
	if (t->control_opened)
		control_forget(&t->control);
	/* Commands that never got their turn name their service once more. */
	admin_close(&t->admin);
	observe_close(&t->observe);
	if (t->control_opened)
		control_close(&t->control);
	jobs_free(&t->jobs);
	for (size_t i = 0; i < t->n; i++)
		service_free(&t->services[i]);
	free(t->services);
}

/* A hangup that comes while teald begins waits, for the file may have been read already; so
 * does what asks for an upgrade. */
static void
hold_hangups(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR2);
	sigprocmask(how, &set, NULL);
}

static void
watch_signals(struct teald *t)
{
	signal(SIGPIPE, SIG_IGN);
	ev_signal_init(&t->term, teald_on_term, SIGTERM);
	ev_signal_init(&t->interrupt, teald_on_interrupt, SIGINT);
	ev_signal_init(&t->hangup, teald_on_hangup, SIGHUP);
	ev_signal_start(t->loop, &t->term);
	ev_signal_start(t->loop, &t->interrupt);
	ev_signal_start(t->loop, &t->hangup);
	ev_signal_init(&t->usr2, teald_on_usr2, SIGUSR2);
	ev_signal_start(t->loop, &t->usr2);
}

/* What is wrong in the configuration stays wrong; what could not be read or looked
 * up at this moment may be there at the next start, which the unit makes. */
static int
exit_status(enum err e)
{
	return e == OK ? 0 : e == E_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

/* What a helper that hangs may read yet, while the process ends.  Volatile, or the
 * compiler would leave out what is never read. */
static const struct config *volatile kept;

/* *cp is NULL on return when it has to stay. */
static int
serve_until_stopped(const struct config **cp, bool assume_initial)
{
	const struct config *config = *cp;
	struct teald t = { .config = config, .assume_initial = assume_initial };
	struct why why = { "" };
	enum err e;

	t.loop = ev_default_loop(EVBACKEND_EPOLL | EVFLAG_NOENV);
	CHECK(t.loop != NULL);
	log_start(STDOUT_FILENO);
	log_attach();
	log_set_level(config->log.level);
	if (config->log.to_syslog)
		log_set_syslog(&config->log.syslog);
	watch_signals(&t);
	fallback_log();
	LOG_INFO("teald.starting", LS("version", teal_version()), LI("pid", getpid()), LS("config", config->path),
		 LU("workers", config->workers), LU("services", config->n_services));
	e = open_all(&t, &why);
	if (e == OK && !succession_is_on())
		reload_opened(t.control.reloads, fallback_is_taken());
	/* The workers are there already. */
	slice_shorten();
	hold_hangups(SIG_UNBLOCK);
	if (e == OK)
		ev_run(t.loop, 0);
	if (t.failed)
		e = why_set(&why, E_INTERNAL, "%s", t.why.text);
	if (e != OK)
		LOG_ERROR("teald.failed", LS("error", why.text));
	/* A restart that failed is tried again, with what was kept; a first start is not. */
	if (e != OK && supervised_restarts() == 0 && !succession_is_on())
		handed_forget(NULL, false);
	else if (e != OK && !fallback_is_taken() && !succession_is_on())
		supervised_unfit();
	close_all(&t);
	if (t.control.left_behind) {
		kept = config;
		*cp = NULL;
	}
	if (e == OK)
		LOG_INFO("teald.stopped", LI("pid", getpid()));
	log_stop(1.0);
	if (e != OK)
		fprintf(stderr, "teald: %s\n", why.text);
	ev_loop_destroy(t.loop);
	return e == OK ? 0 : EXIT_FAILED;
}

int
main(int argc, char **argv)
{
	struct options o = { 0 };
	const struct config *config = NULL;
	struct complaints errors;
	struct why why;
	enum err e;
	int status;

	hold_hangups(SIG_BLOCK);
	standard_descriptors();
	supervised_join();
	if (succession_join())
		handed_borrow();
	status = parse_options(argc, argv, &o);
	if (status >= 0)
		return status;
	if (o.user != NULL && check_as_user(o.user, &why) != OK) {
		fprintf(stderr, "teald: %s\n", why.text);
		return EXIT_USAGE;
	}
	if ((e = load(o.config, o.test, &config, &errors)) == OK)
		e = check_as_served(config, &(struct check){ o.test ? o.config : NULL, o.user });
	if (fallback_take(o.config, e, &errors, &config))
		e = check_as_served(config, &(struct check){ NULL, NULL });
	if (e != OK) {
		status = exit_status(e);
	} else if (o.assume_initial && config->store.type != STORE_REDIS) {
		fputs("teald: --assume-initial is for store.type = \"redis\"; the embedded store needs no such thing\n",
		      stderr);
		status = EXIT_USAGE;
	} else if (o.print) {
		kernel_services_print(config);
		status = 0;
	} else if (o.against != NULL) {
		if ((e = against_print(o.against, config, &why)) != OK)
			fprintf(stderr, "teald: %s\n", why.text);
		status = e == OK ? 0 : err_exit_status(e);
	} else if (o.test) {
		printf("%s: ok\n", o.config);
		status = 0;
	} else {
		status = serve_until_stopped(&config, o.assume_initial);
		/* What libraries free at the end, a helper that hangs may come back to. */
		if (kept != NULL) {
			fflush(NULL);
			_exit(status);
		}
	}
	config_unref(&config);
	return status;
}
