/* config.c - reads and checks a configuration file as a whole.
 * The walk: config_text.c (files) -> config_syntax.c (grammar) -> libconfig ->
 * this file, config_store.c and config_draft.c (keys, by tables) ->
 * config_color.c (backends) -> config_check.c (what fits together).  Start-up thread only. */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fds.h"
#include "model/config_account.h"
#include "model/config_copy.h"
#include "model/config_draft.h"
#include "model/secret.h"

#define AT(member) .offset = offsetof(struct draft, c.member)
#define WORKERS_MAX 1024
#define SAMPLE_MIN 0.000001

static const char *const to_words[] = { "stdout", "syslog", NULL };
static const char *const level_words[] = { "debug", "info", "warn", "error", NULL };

static void
key_socket(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	const char *text = config_setting_type(s) == CONFIG_TYPE_STRING ? config_setting_get_string(s) : "";
	size_t max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

	if (strncmp(text, "unix:", 5) == 0)
		cursor_key_error(c, s, "the path alone, without unix:");
	else if (strlen(text) > max)
		cursor_key_error(c, s, "the path of a socket has at most %zu bytes, this one %zu", max,
				 strlen(text));
	else
		key_text(c, k, s);
}

static void
key_mode(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	const char *text = config_setting_type(s) == CONFIG_TYPE_STRING ? config_setting_get_string(s) : "";
	size_t n = strspn(text, "01234567");
	struct draft *d = c->base;

	(void)k;
	if (n < 3 || n > 4 || text[n] != '\0' || strtoul(text, NULL, 8) > 0777)
		cursor_key_error(c, s, "expected an octal mode in double quotes such as \"0660\", found %s",
				 cursor_found(s).s);
	else
		d->c.admin.mode = (mode_t)strtoul(text, NULL, 8);
}

static void
key_observe(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct draft *d = c->base;
	struct why why;

	(void)k;
	d->c.observe.on = true;
	if (config_setting_type(s) != CONFIG_TYPE_STRING)
		cursor_key_error(c, s, "expected an address in double quotes, found %s", cursor_found(s).s);
	else if (addr_parse(config_setting_get_string(s), ADDR_ANY_HOST, &d->c.observe.listen, &why) != OK)
		cursor_key_error(c, s, "%s", why.text);
}

/* Names under which a browser may ask for the status page. */
static void
key_observe_hosts(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct draft *d = c->base;
	char *name;

	(void)k;
	if (!cursor_texts(c, s, "a host name"))
		return;
	for (size_t i = 0; i < cursor_items(s); i++) {
		name = must_strdup(config_setting_get_string(cursor_item(s, i)));
		for (char *p = name; *p != '\0'; p++)
			*p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
		if (*name == '\0' || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-*")] != '\0')
			cursor_key_error(c, cursor_item(s, i), "\"%.200s\" is not a host name such as \"status.example\" "
				"or \"*.example\"", config_setting_get_string(cursor_item(s, i)));
		d->c.observe.hosts = must_grow(d->c.observe.hosts, d->c.observe.n_hosts + 1, sizeof(char *));
		d->c.observe.hosts[d->c.observe.n_hosts++] = name;
	}
}

static void
key_access(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct draft *d = c->base;
	int type = config_setting_type(s);

	(void)k;
	if (type == CONFIG_TYPE_BOOL)
		d->c.log.access = config_setting_get_bool(s) ? ACCESS_ON : ACCESS_OFF;
	else if (type == CONFIG_TYPE_STRING && strcmp(config_setting_get_string(s), "errors") == 0)
		d->c.log.access = ACCESS_ERRORS;
	else
		cursor_key_error(c, s, "expected true, false or \"errors\", found %s", cursor_found(s).s);
}

/* Kept for later: what it needs may stand further down in the file. */
static void
key_keep(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	memcpy((char *)c->base + k->offset, &s, sizeof(s));
}

static void
key_keep_group(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	if (config_setting_type(s) != CONFIG_TYPE_GROUP)
		cursor_key_error(c, s, "expected a group { }, found %s", cursor_found(s).s);
	else
		key_keep(c, k, s);
}

static const struct key admin_keys[] = {
	{ KEY("socket", key_socket), AT(admin.socket) },
	{ KEY("mode", key_mode) },
	{ KEY("group", key_text), AT(admin.group) },
	{ KEY("roles", key_roles), .keys = role_keys },
	{ KEY("listen", key_admin_listen) },
	{ KEY("allow", key_networks), AT(admin.net.allow) },
	{ KEY("tls", key_group), .keys = admin_tls_keys },
	{ KEY("token_file", key_file), AT(admin.net.token_file) },
	{ 0 },
};

static const struct key observe_keys[] = {
	{ KEY("listen", key_observe) },
	{ KEY("freebind", key_bool), AT(observe.freebind) },
	{ KEY("backend_metrics", key_bool), AT(observe.backend_metrics) },
	{ KEY("hosts", key_observe_hosts) },
	{ KEY("allow", key_networks), AT(observe.allow) },
	{ KEY("password_file", key_text), AT(observe.password_file) },
	{ 0 },
};

static const struct key ready_keys[] = {
	{ KEY("min_services", key_percent_or_count), AT(ready.min_services) },
	{ 0 },
};

static const struct key log_keys[] = {
	{ KEY("level", key_word), AT(log.level), .words = level_words },
	{ KEY("access", key_access) },
	{ KEY("sample", key_fraction), AT(log.sample), .min = SAMPLE_MIN, .max = 1 },
	{ KEY("to", key_word), AT(log.to_syslog), .words = to_words },
	{ KEY("syslog", key_group), .keys = syslog_keys },
	{ 0 },
};

static const struct key stop_keys[] = {
	{ KEY("notice", key_seconds), AT(stop.notice) },
	{ KEY("timeout", key_seconds), AT(stop.timeout) },
	{ 0 },
};

static const struct key upgrade_keys[] = {
	{ KEY("ready_timeout", key_seconds), AT(upgrade.ready_timeout) },
	{ KEY("timeout", key_seconds), AT(upgrade.timeout) },
	{ 0 },
};

const struct key root_keys[] = {
	{ KEY("workers", key_count), AT(workers), .max = WORKERS_MAX },
	{ KEY("max_connections", key_count), AT(max_connections), .max = 100e6 },
	{ KEY("state_dir", key_text), AT(state_dir) },
	{ KEY("user", key_text), AT(user) },
	{ KEY("store", key_group), .keys = store_keys },
	{ KEY("admin", key_group), .keys = admin_keys },
	{ KEY("observe", key_group), .keys = observe_keys },
	{ KEY("ready", key_group), .keys = ready_keys },
	{ KEY("log", key_group), .keys = log_keys },
	{ KEY("stop", key_group), .keys = stop_keys },
	{ KEY("upgrade", key_group), .keys = upgrade_keys },
	{ KEY("kernel", key_group), .keys = kernel_keys },
	{ KEY("notify", key_notify), .keys = notify_keys },
	{ KEY("node_pools", key_keep), .offset = offsetof(struct draft, pools) },
	{ KEY("defaults", key_keep_group), .offset = offsetof(struct draft, defaults), .keys = service_keys },
	{ KEY("services", key_keep), .offset = offsetof(struct draft, list) },
	{ KEY("groups", key_keep_group), .offset = offsetof(struct draft, groups) },
	{ 0 },
};

static unsigned
online_cpus(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t mine;

	/* Fewer when taskset or a cgroup says so. */
	if (sched_getaffinity(0, sizeof(mine), &mine) == 0 && CPU_COUNT(&mine) > 0 && CPU_COUNT(&mine) < n)
		n = CPU_COUNT(&mine);
	return n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : (unsigned)n;
}

static const config_setting_t *
root_at(const struct draft *d, const char *path)
{
	const config_setting_t *s = config_setting_lookup((config_setting_t *)(uintptr_t)d->root, path);

	return s != NULL ? s : d->root;
}

static void
resolve_user(struct draft *d, const struct cursor *c)
{
	struct cursor in = *c;

	if (d->c.user != NULL)
		account_user(c, root_at(d, "user"), d->c.user, &d->c.uid, &d->c.gid);
	in.prefix = "admin.";
	if (d->c.admin.group != NULL)
		account_group(&in, root_at(d, "admin.group"), d->c.admin.group, &d->c.admin.gid);
}

static void
read_root(struct draft *d)
{
	struct cursor c = { d->r, NULL, "", d };

	d->c.workers = 0;
	draft_default_store(d);
	d->c.admin.socket = must_strdup("/run/teal/admin.sock");
	d->c.admin.mode = 0660;
	d->c.log.level = LOG_INFO_LEVEL;
	d->c.log.access = ACCESS_ON;
	d->c.log.sample = 1.0;
	draft_default_syslog(d);
	draft_default_admin(d);
	d->c.observe.backend_metrics = true;
	d->c.stop.timeout = 30.0;
	d->c.upgrade.ready_timeout = 30.0;
	d->c.upgrade.timeout = 600.0;
	d->c.ready.min_services = (struct quorum){ 1, false };
	cursor_read(&c, d->root, root_keys);
	if (d->c.workers == 0)
		d->c.workers = online_cpus();
	if (d->c.workers > FDS_MAX)
		cursor_warn(&c, root_at(d, "workers"),
			    "workers: with %u of them an upgrade hands no connection over, for it has channels for %u: those that are "
			    "there drain until upgrade.timeout",
			    d->c.workers, FDS_MAX);
	if (d->c.log.sample < 1 && d->c.log.access != ACCESS_ON)
		cursor_warn(&c, root_at(d, "log.sample"),
			    "log.sample changes nothing: log.access writes %s lines about what went well",
			    d->c.log.access == ACCESS_OFF ? "no lines at all, so no" : "no");
	draft_check_syslog(d, config_setting_lookup((config_setting_t *)(uintptr_t)d->root, "log.syslog"));
	if (config_setting_get_member(d->root, "state_dir") == NULL)
		cursor_error(&c, d->root,
			     "state_dir is missing: teald keeps the active colors there, so that a restart "
			     "serves the right one; add state_dir = \"/var/lib/teal\";");
	if (config_setting_get_member(d->root, "observe") != NULL && !d->c.observe.on &&
	    config_setting_type(config_setting_get_member(d->root, "observe")) == CONFIG_TYPE_GROUP)
		cursor_error(&c, root_at(d, "observe"), "observe: listen is missing");
	resolve_user(d, &c);
	draft_read_pools(d);
	draft_read_services(d);
	draft_read_groups(d);
	draft_check_admin(d);
	draft_check_roles(d);
	if (!d->c.ready.min_services.percent && d->c.ready.min_services.value > d->n_services && d->n_services > 0)
		cursor_error(&c, root_at(d, "ready.min_services"),
			     "ready.min_services: %u are wanted, but there are only %zu services: teald would never be ready",
			     d->c.ready.min_services.value, d->n_services);
	draft_check_all(d);
}

static void
config_clear(struct config *c)
{
	for (size_t i = 0; i < c->n_services; i++)
		service_config_clear(&c->services[i]);
	free(c->services);
	config_files_free(c->files, c->n_files);
	config_files_free(c->named, c->n_named);
	free(c->path);
	free(c->state_dir);
	free(c->user);
	store_config_clear(&c->store);
	free(c->admin.socket);
	free(c->admin.group);
	admin_net_clear(&c->admin.net);
	for (size_t i = 0; i < c->observe.n_hosts; i++)
		free(c->observe.hosts[i]);
	free(c->observe.hosts);
	cidr_set_clear(&c->observe.allow);
	free(c->observe.password_file);
	secret_free(&c->observe.password);
	free(c->kernel.table);
	free(c->kernel.source_addresses);
	roles_free(c);
	notify_config_free(c);
	pools_free(c);
	groups_free(c);
}

const struct config *
config_ref(const struct config *config)
{
	/* The count is all that ever changes. */
	atomic_fetch_add_explicit(&((struct config *)(uintptr_t)config)->refs, 1, memory_order_relaxed);
	return config;
}

void
config_unref(const struct config **config)
{
	struct config *c = (struct config *)(uintptr_t)*config;

	*config = NULL;
	if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
		return;
	config_clear(c);
	free(c);
}

/* Moves the draft's services into its config; always, so that one function
 * frees both the good and the bad. */
static void
gather_services(struct draft *d)
{
	if (d->n_services > 0)
		d->c.services = must_array(d->n_services, sizeof(*d->c.services));
	for (size_t i = 0; i < d->n_services; i++) {
		d->c.services[i] = d->services[i].s;
		free(d->services[i].where);
	}
	d->c.n_services = d->n_services;
	free(d->services);
}

/* One complaint hides all others: there may be more once it is mended. */
static void
say_unchecked(struct complaint_list *errors)
{
	char *text = errors->entries[0].text;

	errors->entries[0].text = must_printf("%s (nothing else was checked yet)", text);
	free(text);
}

static enum err
load_from(const char *path, const struct config_copy *copy, const struct config **out, struct complaints *errors,
	  struct complaints *warnings)
{
	struct reader r = { .copy = copy };
	struct draft d = { .r = &r };
	struct config *config;
	config_t file;

	*out = NULL;
	*errors = *warnings = (struct complaints){ NULL, 0 };
	config_init(&file);
	if (config_text_read(&r.text, path, copy, &r.errors) != OK || config_syntax_check(&r.text, &r.errors) != OK) {
		if (r.text.n_lines > 0)
			say_unchecked(&r.errors);
		goto done;
	}
	if (!config_read_string(&file, r.text.bytes)) {
		/* The check above is the stricter; this is for the unforeseen. */
		struct config_line l = config_text_line(&r.text, (size_t)config_error_line(&file));

		complaint_add(&r.errors, (size_t)config_error_line(&file),
			      must_printf("%s:%u: %s", l.file, l.line, config_error_text(&file)));
		goto done;
	}
	d.root = config_root_setting(&file);
	d.c.path = must_strdup(path);
	str_copy(d.c.checksum, sizeof(d.c.checksum), str_from(r.text.checksum));
	read_root(&d);
	gather_services(&d);
	/* Complaints have copied the names of files that they needed. */
	d.c.files = r.text.files;
	d.c.n_files = r.text.n_files;
	r.text.files = NULL;
	r.text.n_files = 0;
	d.c.named = r.named;
	d.c.n_named = r.n_named;
done:
	local_addrs_free(&d.locals);
	if (r.errors.n == 0)
		draft_take_pools(&d);
	config_destroy(&file);
	complaint_list_move(&r.errors, errors);
	complaint_list_move(&r.warnings, warnings);
	config_text_free(&r.text);
	if (errors->n > 0) {
		config_clear(&d.c);
		return r.passing == errors->n ? E_INTERNAL : E_USAGE;
	}
	config = must_alloc(sizeof(*config));
	*config = d.c;
	config->refs = 1;
	*out = config;
	return OK;
}

enum err
config_load(const char *path, const struct config **out, struct complaints *errors, struct complaints *warnings)
{
	return load_from(path, NULL, out, errors, warnings);
}

enum err
config_load_copy(const struct config_copy *copy, const struct config **out, struct complaints *errors,
		 struct complaints *warnings)
{
	return load_from(copy->files[0].path, copy, out, errors, warnings);
}
