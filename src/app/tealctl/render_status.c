/* render_status.c - services, their colors and backends, the store.  One
 * thread. */
#include <string.h>

#include "app/tealctl/render.h"
#include "app/tealctl/say.h"

static const char *const color_words[] = { "green", "blue" };

/* Cells have a style of their own: no colors inside, which would count as
 * characters. */
static const struct output plain;

static enum style
style_of_state(json_t *state)
{
	const char *s = json_string_value(state);

	/* One that drains does so on purpose. */
	return s == NULL || strcmp(s, "up") == 0 || strcmp(s, "draining") == 0 ? STYLE_PLAIN : STYLE_BAD;
}

static json_t *
status_color(json_t *service, const char *word)
{
	return json_object_get(json_at(service, "colors"), word);
}

/* Of those in color_words, how many it has: of one without colors "" takes the place of them. */
static size_t
colors_of(json_t *service, const char *const **words)
{
	static const char *const none[] = { "" };
	bool colorless = status_color(service, "") != NULL;

	*words = colorless ? none : color_words;
	return colorless ? ARRAY_LEN(none) : ARRAY_LEN(color_words);
}

static bool
is_colorless(json_t *service)
{
	return status_color(service, "") != NULL;
}

/* The color that drains, as a JSON word; NULL when none does. */
static const char *
draining_color(json_t *service)
{
	for (size_t i = 0; i < ARRAY_LEN(color_words); i++)
		if (json_has(status_color(service, color_words[i]), "draining"))
			return color_words[i];
	return NULL;
}

/* "2/3 up, 1 drained, 118 conn" */
static void
color_cell(struct table *t, json_t *color)
{
	json_t *healthy = json_at(color, "healthy"), *total = json_at(color, "total");
	double drained = json_number_value(json_at(color, "drained"));
	bool well = json_number_value(healthy) + drained >= json_number_value(total);
	struct buf b;

	buf_init(&b, 256);
	say_into(&b, &plain, color,
		 drained > 0 ? "{healthy}/{total} up, {drained} drained, {connections} conn" :
			       "{healthy}/{total} up, {connections} conn");
	table_add(t,
		  json_number_value(healthy) == 0 ? STYLE_BAD :
		  well                            ? STYLE_PLAIN :
						    STYLE_NOTE,
		  buf_str(&b));
	buf_free(&b);
}

static bool
is_way_back(json_t *trouble)
{
	const char *what = json_string_value(json_at(trouble, "what"));

	return what != NULL && strcmp(what, "rollback_impossible") == 0;
}

static void
note_cell(struct table *t, json_t *service)
{
	const char *draining = draining_color(service);
	struct buf b;
	json_t *one;
	size_t i;

	buf_init(&b, 65536);
	if (json_has(service, "locked"))
		say_into(&b, &plain, service, "locked by {locked.by}: {locked.reason}");
	if (json_has(service, "claimed")) {
		buf_printf(&b, "%s", buf_len(&b) > 0 ? "; " : "");
		say_into(&b, &plain, service, "claimed by {claimed.by} until {claimed.until:time}: {claimed.reason}");
	}
	if (json_has(service, "share")) {
		buf_printf(&b, "%s", buf_len(&b) > 0 ? "; " : "");
		say_into(&b, &plain, service, "{share.color} has {share.percent}% of the clients");
		if (json_has(service, "share.ramp"))
			say_into(&b, &plain, service, ", step {share.ramp.step} of {share.ramp.of}");
		if (json_has(service, "share.ramp.held"))
			say_into(&b, &plain, service, ", the next is refused: {share.ramp.held}");
	}
	if (draining != NULL) {
		buf_printf(&b, "%s%s drains", buf_len(&b) > 0 ? "; " : "", draining);
		if (json_is_number(json_at(service, "drain.deadline_in")))
			say_into(&b, &plain, service, ", {drain.deadline_in:duration} at most");
	}
	json_array_foreach(json_at(service, "trouble"), i, one)
	{
		buf_printf(&b, "%s", buf_len(&b) > 0 ? "; " : "");
		say_into(&b, &plain, one, is_way_back(one) ? "no way back: {message}" : "{message}");
	}
	table_add(t, buf_len(&b) > 0 ? STYLE_NOTE : STYLE_PLAIN, buf_str(&b));
	buf_free(&b);
}

static bool
is_flipped(json_t *service)
{
	const char *change = json_string_value(json_at(service, "change"));

	return change == NULL || strcmp(change, "initial") != 0;
}

static void
print_services(struct render *r, json_t *services)
{
	static const char *const heads[] = { "SERVICE", "MODE",    "ACTIVE", "EPOCH", "GREEN",
					     "BLUE",    "CHANGED", "BY",     "NOTE",  NULL };
	struct table t;
	struct buf b;
	json_t *s;
	size_t i;

	table_init(&t, heads);
	buf_init(&b, 4096);
	json_array_foreach(services, i, s)
	{
		say_cells(&t, s, "name mode active epoch");
		if (is_colorless(s)) {
			color_cell(&t, status_color(s, ""));
			table_add(&t, STYLE_PLAIN, STR("-"));
		} else {
			color_cell(&t, status_color(s, "green"));
			color_cell(&t, status_color(s, "blue"));
		}
		buf_clear(&b);
		if (is_colorless(s))
			buf_printf(&b, "-");
		else if (is_flipped(s))
			text_time(&b, json_at(s, "changed_at"));
		else
			buf_printf(&b, "not flipped");
		table_add(&t, STYLE_PLAIN, buf_str(&b));
		say_cells(&t, s, "changed_by");
		note_cell(&t, s);
	}
	buf_free(&b);
	table_print(&t, r->out);
}

static void
say_backends(struct table *t, json_t *service, const char *word)
{
	json_t *backends = json_at(status_color(service, word), "backends"), *b;
	const char *active = json_string_value(json_at(service, "active"));
	enum style style = strcmp(word, "green") == 0 ? STYLE_GREEN : STYLE_BLUE;
	bool colorless = is_colorless(service);
	struct buf when;
	size_t i;

	buf_init(&when, 4096);
	json_array_foreach(backends, i, b)
	{
		if (!colorless) {
			table_add(t, style, str_from(word));
			table_printf(t, STYLE_PLAIN, "%s%s",
				     active != NULL && strcmp(active, word) == 0 ? "active" : "idle",
				     json_has(status_color(service, word), "draining") ? ", drains" : "");
		}
		say_cells(t, b, "address");
		buf_clear(&when);
		text_json(&when, json_at(b, "state"));
		if (json_string_value(json_at(b, "admin")) != NULL &&
		    strcmp(json_string_value(json_at(b, "admin")), "drain") == 0)
			buf_printf(&when, ", drain");
		if (json_has(b, "node_down"))
			buf_printf(&when, ", with its node");
		if (json_has(b, "backup"))
			buf_printf(&when, ", backup");
		table_add(t, style_of_state(json_at(b, "state")), buf_str(&when));
		say_cells(t, b, "connections");
		buf_clear(&when);
		text_time(&when, json_at(b, "since"));
		table_add(t, STYLE_PLAIN, buf_str(&when));
		say_cells(t, b, "error");
	}
	buf_free(&when);
}

/* "listens on 0.0.0.0:443 (TLS) for shop.example,*.shop.example" */
static void
print_entrances(struct render *r, json_t *s)
{
	static const struct {
		const char *key, *text;
	} parts[] = {
		{ "listen", "listens on {listen:list}" },
		{ "tls", " (TLS)" },
		{ "plain_listen", ", without TLS on {plain_listen:list}" },
		{ "hosts", ", for {hosts:list}" },
		{ "sni", ", for {sni:list}" },
		{ "default", ", the default there" },
		{ "preview", "; preview on {preview:list}" },
	};
	struct buf b;

	if (!json_has(s, "listen"))
		return;
	buf_init(&b, 65536);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (json_has(s, parts[i].key))
			say_into(&b, &plain, s, parts[i].text);
	output_line(r->out, "%.*s", (int)buf_len(&b), buf_str(&b).p);
	buf_free(&b);
}

static bool
is_forwarded(json_t *service)
{
	const char *engine = json_string_value(json_at(service, "engine"));

	return engine != NULL && strcmp(engine, "kernel") == 0;
}

/* Is there a way back, and what is wrong. */
static void
print_outlook(struct render *r, json_t *s)
{
	json_t *one;
	size_t i;

	if (json_is_object(json_at(s, "rollback")))
		say(r->out, json_at(s, "rollback"),
		    json_has(s, "rollback.possible") ? "a flip to {to} is possible" :
						       "a flip to {to} would be refused: {why}");
	json_array_foreach(json_at(s, "trouble"), i, one)
	{
		if (!is_way_back(one))
			say(r->out, one, "trouble: {message}");
	}
}

static void
print_detail(struct render *r, json_t *s)
{
	static const char *const heads[] = { "COLOR",       "ROLE",  "BACKEND", "STATE",
					     "CONNECTIONS", "SINCE", "ERROR",   NULL };
	const char *const *words;
	bool colorless = is_colorless(s);
	size_t n = colors_of(s, &words);
	struct table t;

	say(r->out, s,
	    colorless ? (is_forwarded(s) ? "{name} ({mode}, forwarded by the kernel), without colors" : "{name} ({mode}), without colors") :
	    is_forwarded(s) ? "{name} ({mode}, forwarded by the kernel): {active} is active, epoch {epoch}" :
			      "{name} ({mode}): {active} is active, epoch {epoch}");
	if (!is_flipped(s) && !colorless)
		output_line(r->out, "%s", "not flipped yet");
	else if (json_has(s, "changed_at"))
		say(r->out, s,
		    json_has(s, "reason") ? "changed {changed_at:time} by {changed_by}: {reason}" :
					    "changed {changed_at:time} by {changed_by}");
	if (json_has(s, "locked"))
		say(r->out, s, "locked {locked.at:time} by {locked.by}: {locked.reason}");
	if (json_has(s, "claimed"))
		say(r->out, s, "claimed {claimed.at:time} by {claimed.by}, until {claimed.until:time}: {claimed.reason}");
	print_entrances(r, s);
	if (!colorless)
		print_outlook(r, s);
	for (size_t i = 0; i < n; i++) {
		bool draining = json_has(status_color(s, words[i]), "draining");
		struct buf b;

		buf_init(&b, 4096);
		say_into(&b, &plain, status_color(s, words[i]),
			 "{healthy}/{total} backends up, {connections:connections}");
		if (draining)
			buf_printf(&b, ", draining");
		if (draining && json_is_number(json_at(s, "drain.deadline_in")))
			say_into(&b, &plain, s, ", {drain.deadline_in:duration} at most");
		output_line(r->out, "%s%s%.*s", words[i], colorless ? "" : i == 1 ? ":  " : ": ", (int)buf_len(&b),
			    buf_str(&b).p);
		buf_free(&b);
	}
	output_line(r->out, "%s", "");
	table_init(&t, colorless ? heads + 2 : heads);
	for (size_t i = 0; i < n; i++)
		say_backends(&t, s, words[i]);
	table_print(&t, r->out);
}

/* Other processes than the one that answers, as upgrades have them; record: for a pipe. */
static void
print_generations(struct render *r, json_t *object, bool record)
{
	json_t *list = json_at(object, "generations"), *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		bool leaving = json_at(one, "connections") != NULL;

		if (i == 0)
			continue;
		say(r->out, one,
		    record  ? "generation\t{version}\t{pid}\t{role}\t{connections}\t{commands}" :
		    leaving ? "generation: pid {pid}, {version}, is leaving: it holds {connections:connections}, {commands} commands" :
			      "generation: pid {pid}, {version}, is {role}");
	}
}

/* Receivers of events, and of the log, that are not reached; the others are not worth a line. */
static void
print_receivers(struct render *r, json_t *object, bool record)
{
	enum style bad = r->out->colors ? STYLE_BAD : STYLE_PLAIN;
	struct buf b;
	json_t *one;
	size_t i;

	json_array_foreach(json_at(object, "notify"), i, one) {
		if (record) {
			say(r->out, one, "notify\t{name}\t{where}\t{waiting}\t{lost}\t{error}");
			continue;
		}
		if (!json_is_string(json_at(one, "error")))
			continue;
		buf_init(&b, 65536);
		say_into(&b, &plain, one, "{error}; {waiting} events wait, {lost} are lost");
		output_line(r->out, "notify: %s at %s %sfails%s: %.*s", json_string_value(json_at(one, "name")),
			    json_string_value(json_at(one, "where")), output_on(r->out, bad), output_off(r->out, bad),
			    (int)buf_len(&b), buf_str(&b).p);
		buf_free(&b);
	}
	one = json_at(object, "log.to");
	if (record && json_is_string(one) && strcmp(json_string_value(one), "syslog") == 0)
		say(r->out, json_at(object, "log"),
		    json_has(object, "log.up") ? "log\t{to}\tup\t{dropped}\t{error}" : "log\t{to}\tdown\t{dropped}\t{error}");
	else if (!record && one != NULL && !json_has(object, "log.up"))
		say(r->out, json_at(object, "log"), "log: {to} is not reached: {error}; {dropped} lines dropped so far");
}

static void
print_state(struct render *r, json_t *object)
{
	json_t *store = json_at(object, "store");
	enum style bad = r->out->colors ? STYLE_BAD : STYLE_PLAIN;
	bool up = json_has(store, "up");
	struct buf b;

	buf_init(&b, 65536);
	if (json_at(object, "version") != NULL)
		say_into(&b, &plain, object, "teald {version}, pid {pid}, up {uptime:duration}");
	if (json_at(object, "ready") != NULL) {
		buf_printf(&b, "%s", buf_len(&b) > 0 ? ", " : "");
		if (json_has(object, "ready"))
			buf_printf(&b, "ready");
		else
			buf_printf(&b, "%snot ready", output_on(r->out, bad));
		if (json_has(object, "not_ready"))
			say_into(&b, &plain, object, ": {not_ready}");
		buf_printf(&b, "%s", json_has(object, "ready") ? "" : output_off(r->out, bad));
	}
	if (buf_len(&b) > 0)
		output_line(r->out, "%.*s", (int)buf_len(&b), buf_str(&b).p);
	buf_clear(&b);
	print_generations(r, object, false);
	if (json_has(object, "config.fallback"))
		output_line(r->out, "config: %sthe file was broken when teald was started again; a copy of the one before is served%s: tealctl reload",
			    output_on(r->out, bad), output_off(r->out, bad));
	if (store != NULL) {
		say_into(&b, &plain, store,
			 !json_is_number(json_at(store, "age")) ? "store: {type}" :
			 json_has(store, "where") ? "store: {type} at {where}, {age:duration} old" :
						    "store: {type}, {age:duration} old");
		output_line(r->out, "%.*s, %s%s%s", (int)buf_len(&b), buf_str(&b).p,
			    up ? "" : output_on(r->out, bad), up ? "up" : "down",
			    up ? "" : output_off(r->out, bad));
		if (json_has(store, "problem"))
			say(r->out, store, "  {problem}");
	}
	if (json_is_object(json_at(object, "kernel"))) {
		say(r->out, json_at(object, "kernel"),
		    "kernel: table {table}, {tracked} of {entries} connections, {max} at most");
		if (json_has(object, "kernel.problem"))
			say(r->out, json_at(object, "kernel"), "  {problem}");
	}
	if (json_has(object, "proxy.paused"))
		say(r->out, json_at(object, "proxy"),
		    "connections: {connections} of clients, {max_connections} at most by {limited_by}: further ones wait to be accepted");
	if (json_integer_value(json_at(object, "proxy.http1.connections")) + json_integer_value(json_at(object, "proxy.http2.connections")) > 0)
		say(r->out, json_at(object, "proxy"),
		    "http: {http1.connections} connections by HTTP/1, {http2.connections} by HTTP/2 with {http2.streams} streams");
	if (json_is_object(json_at(object, "admin")))
		say(r->out, json_at(object, "admin"), "admin listener: {connections} connections, {accepted} accepted, {refused} refused");
	print_receivers(r, object, false);
	buf_free(&b);
}

/* teald VERSION PID ready|not-ready WHY, store TYPE up|down AGE, and with services
 * in the kernel kernel TABLE TRACKED ENTRIES MAX PROBLEM, before the store of the proxy
 * connections HELD MAX BY paused|no, http HTTP/1 HTTP/2 STREAMS; while a copy of the configuration is served, config copy */
/* Pools whose nodes a cluster tells, and does not now; all of them as records. */
static size_t
print_watches(struct render *r, json_t *object, bool record)
{
	json_t *watch;
	size_t i, n = 0;

	json_array_foreach(json_at(object, "watches"), i, watch)
	{
		n += json_has(watch, "problem");
		if (record)
			say(r->out, watch, json_has(watch, "up") ? "watch\t{pool}\tup\t{age}\t{watcher}\t{problem}" :
								   "watch\t{pool}\tdown\t{age}\t{watcher}\t{problem}");
		else if (json_has(watch, "problem"))
			say(r->out, watch, json_is_number(json_at(watch, "age")) ? "nodes of {pool}: those of {age:duration} ago: {server}: {problem}" :
								    "nodes of {pool}: none known yet: {server}: {problem}");
	}
	return n;
}

static void
record_state(struct render *r, json_t *object)
{
	if (json_at(object, "version") != NULL)
		say(r->out, object,
		    json_has(object, "ready") ? "teald\t{version}\t{pid}\tready\t-" :
						"teald\t{version}\t{pid}\tnot-ready\t{not_ready}");
	print_generations(r, object, true);
	if (json_has(object, "config.fallback"))
		output_line(r->out, "config\t%s", "copy");
	if (json_is_object(json_at(object, "proxy")))
		say(r->out, json_at(object, "proxy"),
		    json_has(object, "proxy.paused") ? "connections\t{connections}\t{max_connections}\t{limited_by}\tpaused" :
						       "connections\t{connections}\t{max_connections}\t{limited_by}\tno");
	if (json_is_object(json_at(object, "proxy.http2")))
		say(r->out, json_at(object, "proxy"), "http\t{http1.connections}\t{http2.connections}\t{http2.streams}");
	if (json_at(object, "store") != NULL)
		say(r->out, json_at(object, "store"),
		    json_has(object, "store.up") ? "store\t{type}\tup\t{age}\t{where}\t{problem}" :
						   "store\t{type}\tdown\t{age}\t{where}\t{problem}");
	if (json_is_object(json_at(object, "kernel")))
		say(r->out, json_at(object, "kernel"),
		    "kernel\t{table}\t{tracked}\t{entries}\t{max}\t{problem}");
	print_watches(r, object, true);
	print_receivers(r, object, true);
}

static void
trouble_cell(struct table *t, json_t *service)
{
	struct buf b;
	json_t *one;
	size_t i;

	buf_init(&b, 4096);
	json_array_foreach(json_at(service, "trouble"), i, one)
	{
		buf_printf(&b, "%s", buf_len(&b) > 0 ? "," : "");
		text_json(&b, json_at(one, "what"));
	}
	table_add(t, STYLE_PLAIN, buf_len(&b) > 0 ? buf_str(&b) : STR("-"));
	buf_free(&b);
}

/* service NAME MODE ACTIVE EPOCH, per color HEALTHY TOTAL CONNECTIONS,
 * DRAINING LOCKED CHANGED_AT CHANGED_BY REASON ROLLBACK TROUBLE */
static void
record_service(struct render *r, json_t *s)
{
	static const char *const columns[] = { "", "", "", "", "", "", "", "",  "",
					       "", "", "", "", "", "", "", "", "", "", NULL };
	const char *draining = draining_color(s);
	const char *const *words;
	size_t n = colors_of(s, &words);
	struct table t;

	table_init(&t, columns);
	table_add(&t, STYLE_PLAIN, STR("service"));
	say_cells(&t, s, "name mode active epoch");
	for (size_t i = 0; i < ARRAY_LEN(color_words); i++)
		say_cells(&t, i < n ? status_color(s, words[i]) : NULL, "healthy total connections");
	table_add(&t, STYLE_PLAIN, str_from(draining != NULL ? draining : "-"));
	table_add(&t, STYLE_PLAIN, json_has(s, "locked") ? STR("locked") : STR("unlocked"));
	say_cells(&t, s, "changed_at changed_by reason rollback.possible");
	trouble_cell(&t, s);
	table_add(&t, STYLE_PLAIN, json_has(s, "claimed") ? STR("claimed") : STR("unclaimed"));
	table_print(&t, r->out);
}

/* Of `status --trouble`: node POOL HOST FROM STATE CONNECTIONS - PROBLEM UP TOTAL HEALTH SINCE. */
static void
print_bad_nodes(struct render *r, json_t *object)
{
	if (json_array_size(json_at(object, "nodes")) > 0)
		render_node_rows(r, json_at(object, "nodes"));
}

static void
record_backends(struct render *r, json_t *service)
{
	static const char *const columns[] = { "", "", "", "", "", "", "", "", "", NULL };
	const char *const *words;
	size_t n = colors_of(service, &words), i;
	json_t *b;

	for (size_t k = 0; k < n; k++)
		json_array_foreach(json_at(status_color(service, words[k]), "backends"), i, b)
		{
			struct table t;

			table_init(&t, columns);
			table_add(&t, STYLE_PLAIN, STR("backend"));
			say_cells(&t, service, "name");
			table_add(&t, STYLE_PLAIN, *words[k] != '\0' ? str_from(words[k]) : STR("-"));
			say_cells(&t, b, "address state connections since admin weight");
			table_print(&t, r->out);
		}
}

void
render_status(struct render *r, json_t *object)
{
	json_t *services = json_at(object, "services"), *s;
	bool detail = r->request->service.n > 0;
	size_t i, away;

	if (!r->out->terminal) {
		print_bad_nodes(r, object);
		json_array_foreach(services, i, s)
		{
			record_service(r, s);
			if (detail)
				record_backends(r, s);
		}
		record_state(r, object);
		return;
	}
	if (detail) {
		json_array_foreach(services, i, s) print_detail(r, s);
		return;
	}
	if (r->request->trouble)
		print_bad_nodes(r, object);
	if (json_array_size(services) > 0 || !r->request->trouble)
		print_services(r, services);
	away = print_watches(r, object, false);
	if (r->request->trouble)
		say(r->out, object,
		    away + json_array_size(services) + json_array_size(json_at(object, "nodes")) == 0 ?
			    "nothing needs attention: {well} services are well" :
			    "{well} other services are well");
	print_state(r, object);
}
