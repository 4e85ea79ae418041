/* main.c - teald: reads the configuration, opens everything, serves, stops.
 * Thread: main. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/teald/admin.h"
#include "app/teald/admin_tls.h"
#include "app/teald/against.h"
#include "app/teald/check.h"
#include "app/teald/engine_table.h"
#include "app/teald/fallback.h"
#include "app/teald/kernel_services.h"
#include "app/teald/observe.h"
#include "app/teald/options.h"
#include "app/teald/startup.h"
#include "app/teald/succession.h"
#include "app/teald/supervised.h"
#include "app/teald/teald.h"
#include "app/teald/upgrade.h"
#include "base/log.h"
#include "base/slice.h"
#include "base/standard.h"
#include "base/version.h"
#include "control/control.h"
#include "control/reload.h"
#include "data/proxy.h"
#include "net/handed.h"

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
teald_on_needs(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct teald *t = container_of(w, struct teald, needs);
	struct engine_needs needs;

	(void)loop;
	(void)revents;
	whole_needs(t->control.config, &needs);
	proxy_set_descriptors(t->proxy, startup_descriptors(&needs));
}

static void
teald_on_reloaded(void *arg, const struct config *config)
{
	struct teald *t = arg;

	/* In the next turn: of a thousand services that takes milliseconds. */
	ev_timer_stop(t->loop, &t->needs);
	ev_timer_init(&t->needs, teald_on_needs, 0.0, 0.0);
	ev_timer_start(t->loop, &t->needs);
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
		teald_reload(t);
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
	ev_timer_stop(t->loop, &t->needs);
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
	signals_watch(&t);
	fallback_log();
	LOG_INFO("teald.starting", LS("version", teal_version()), LI("pid", getpid()), LS("config", config->path),
		 LU("workers", config->workers), LU("services", config->n_services));
	e = open_all(&t, &why);
	if (e == OK && !succession_is_on())
		reload_opened(t.control.reloads, fallback_is_taken());
	/* The workers are there already. */
	slice_shorten();
	signals_hold(SIG_UNBLOCK);
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

	signals_hold(SIG_BLOCK);
	standard_descriptors();
	supervised_join();
	if (succession_join())
		handed_borrow();
	status = options_parse(argc, argv, &o);
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
