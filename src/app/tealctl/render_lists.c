/* render_lists.c - what still drains, what was, and who is there.  One thread. */
#include "app/tealctl/render.h"
#include "app/tealctl/say.h"

static void
connection_row(struct table *t, const struct output *o, json_t *c, bool states)
{
	static const char *const values[] = { "{client}",        "{backend}",        "{age:duration}",
					      "{idle:duration}", "{bytes_in:bytes}", "{bytes_out:bytes}" };
	struct buf b;

	if (!o->terminal) {
		table_add(t, STYLE_PLAIN, STR("connection"));
		say_cells(t, c, "client backend age idle bytes_in bytes_out");
		if (states)
			say_cells(t, c, "state");
		return;
	}
	buf_init(&b, 4096);
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		buf_clear(&b);
		say_into(&b, o, c, values[i]);
		table_add(t, STYLE_PLAIN, buf_str(&b));
	}
	buf_free(&b);
	if (states)
		say_cells(t, c, "state");
}

/* Of those that the kernel forwards the kernel's word is known. */
static void
print_connections(struct render *r, json_t *connections)
{
	static const char *const heads[] = { "CLIENT", "BACKEND", "AGE", "IDLE", "IN", "OUT", NULL };
	static const char *const more_heads[] = { "CLIENT", "BACKEND", "AGE", "IDLE", "IN", "OUT", "STATE", NULL };
	static const char *const columns[] = { "", "", "", "", "", "", "", NULL };
	static const char *const more_columns[] = { "", "", "", "", "", "", "", "", NULL };
	bool states = json_at(json_array_get(connections, 0), "state") != NULL;
	struct table t;
	json_t *c;
	size_t i;

	if (json_array_size(connections) == 0)
		return;
	if (r->out->terminal)
		table_init(&t, states ? more_heads : heads);
	else
		table_init(&t, states ? more_columns : columns);
	json_array_foreach(connections, i, c) connection_row(&t, r->out, c, states);
	table_print(&t, r->out);
}

/* {"service":"shop","draining":true,"color":"green","remaining":3,"deadline_in":12.3,
 *  "connections":[…],"truncated":false} */
void
render_drain(struct render *r, json_t *object)
{
	bool draining = json_has(object, "draining");

	if (!r->out->terminal)
		say(r->out, object,
		    draining ? "draining\t{service}\t{color}\t{remaining}\t{deadline_in}" :
			       "idle\t{service}\t-\t{remaining}\t-");
	else if (!draining)
		say(r->out, object, "{service}: nothing drains");
	else if (json_is_number(json_at(object, "deadline_in")))
		say(r->out, object,
		    "{service}: {color} drains, {remaining:connections} left, "
		    "{deadline_in:duration} at most");
	else
		say(r->out, object,
		    "{service}: {color} drains, {remaining:connections} left, "
		    "without a deadline");
	print_connections(r, json_at(object, "connections"));
	if (json_has(object, "truncated"))
		say(r->out, object, r->out->terminal ? "(there are more)" : "truncated");
}

static void
history_row(struct table *t, const struct output *o, json_t *h, bool revisions)
{
	const char *result = json_string_value(json_at(h, "result"));
	bool fine = result != NULL && strcmp(result, "ok") == 0;
	struct buf b;

	if (o->terminal) {
		buf_init(&b, 256);
		text_time(&b, json_at(h, "at"));
		table_add(t, STYLE_PLAIN, buf_str(&b));
		buf_free(&b);
	} else {
		say_cells(t, h, "at");
	}
	say_cells(t, h, "epoch kind from to by");
	if (!o->terminal)
		say_cells(t, h, "uid pid host");
	buf_init(&b, 256);
	text_json(&b, json_at(h, "result"));
	table_add(t, fine ? STYLE_PLAIN : STYLE_BAD, buf_str(&b));
	buf_free(&b);
	if (!o->terminal)
		say_cells(t, h, "expect");
	say_cells(t, h, revisions ? "reason revision" : "reason");
}

/* Some were changed with others. */
static bool
has_revisions(json_t *history)
{
	json_t *h;
	size_t i;

	json_array_foreach(history, i, h) if (json_has(h, "revision")) return true;
	return false;
}

/* {"history":[{"at":…,"epoch":43,"from":"green","to":"blue","kind":"flip","by":…,
 *  "uid":…,"pid":…,"reason":…,"result":"ok","expect":…,"host":…,"revision":…}]}, newest last */
void
render_history(struct render *r, json_t *object)
{
	static const char *const heads[] = { "AT", "EPOCH",  "WHAT",   "FROM", "TO",
					     "BY", "RESULT", "REASON", NULL };
	static const char *const heads_more[] = { "AT", "EPOCH",  "WHAT",   "FROM", "TO",
						  "BY", "RESULT", "REASON", "REVISION", NULL };
	static const char *const columns[] = { "", "", "", "", "", "", "", "", "", "", "", "", NULL };
	static const char *const columns_more[] = { "", "", "", "", "", "", "", "", "", "", "", "", "", NULL };
	json_t *history = json_at(object, "history"), *h;
	bool more = has_revisions(history);
	struct table t;
	size_t i;

	if (json_array_size(history) == 0) {
		if (r->out->terminal)
			say(r->out, object, "{service}: nothing has happened yet");
		return;
	}
	if (r->out->terminal)
		table_init(&t, more ? heads_more : heads);
	else
		table_init(&t, more ? columns_more : columns);
	json_array_foreach(history, i, h) history_row(&t, r->out, h, more);
	table_print(&t, r->out);
}

/* {"uid":1001,"user":"ci-shop","pid":4711,"because":null,"rights":["read","flip"],
 *  "everywhere":[],"services":{"shop":["read","flip"]},…} */
void
render_whoami(struct render *r, json_t *object)
{
	static const char *const heads[] = { "SERVICE", "MAY", NULL };
	static const char *const columns[] = { "", "", "", NULL };
	json_t *services = json_at(object, "services"), *rights;
	bool terminal = r->out->terminal;
	struct table t;
	const char *name;

	if (!terminal)
		say(r->out, object, "{user}\t{uid}\t{pid}\t{rights:list}");
	else if (json_has(object, "because"))
		say(r->out, object, "{user} (uid {uid}, pid {pid}) {because} and may do everything");
	else if (json_has(object, "rights"))
		say(r->out, object, "{user} (uid {uid}, pid {pid}) may: {rights:list}");
	else
		say(r->out, object, "{user} (uid {uid}, pid {pid}) may do nothing here");
	if (terminal && (json_has(object, "because") || !json_has(object, "rights")))
		return;
	if (!terminal && json_at(object, "everywhere") != NULL)
		say(r->out, object, "everywhere\t{everywhere:list}");
	if (terminal && json_has(object, "everywhere"))
		say(r->out, object, "everywhere, and on teald itself: {everywhere:list}");
	if (json_object_size(services) == 0)
		return;
	table_init(&t, terminal ? heads : columns);
	json_object_foreach(services, name, rights)
	{
		json_t *one = json_pack("{s:s, s:O}", "service", name, "may", rights);
		struct buf b;

		if (!terminal)
			table_add(&t, STYLE_PLAIN, STR("service"));
		say_cells(&t, one, "service");
		buf_init(&b, 4096);
		say_into(&b, r->out, one, "{may:list}");
		table_add(&t, STYLE_PLAIN, buf_str(&b));
		buf_free(&b);
		json_decref(one);
	}
	table_print(&t, r->out);
}

/* "shop@43 web@7": the epochs applied. */
static void
add_applied(struct table *t, json_t *services, const char *between)
{
	const char *name;
	struct buf b;
	json_t *s;

	buf_init(&b, 1 << 20);
	json_object_foreach(services, name, s)
	{
		if (buf_len(&b) > 0)
			buf_printf(&b, "%s", between);
		text_safe(&b, str_from(name));
		buf_printf(&b, "@");
		text_json(&b, json_at(s, "applied"));
	}
	table_add(t, STYLE_PLAIN, buf_str(&b));
	buf_free(&b);
}

static void
member_row(struct table *t, const struct output *o, json_t *m)
{
	bool missing = json_has(m, "missing"), ready = json_has(m, "ready");
	const char *state = missing ? "missing" : json_has(m, "self") ? "this one" : "live";
	struct buf b;

	if (!o->terminal) {
		table_add(t, STYLE_PLAIN, STR("member"));
		say_cells(t, m, "host pid id version");
		table_add(t, STYLE_PLAIN, missing ? STR("missing") : STR("live"));
		table_add(t, STYLE_PLAIN, ready ? STR("ready") : STR("not-ready"));
		say_cells(t, m, "last_seen age");
		add_applied(t, json_at(m, "services"), ",");
		return;
	}
	say_cells(t, m, "host pid version");
	table_add(t, missing ? STYLE_BAD : STYLE_PLAIN, str_from(state));
	table_add(t, ready || missing ? STYLE_PLAIN : STYLE_BAD, ready ? STR("yes") : STR("no"));
	buf_init(&b, 256);
	say_into(&b, o, m, "{age:duration} ago");
	table_add(t, STYLE_PLAIN, json_has(m, "self") ? STR("now") : buf_str(&b));
	buf_free(&b);
	add_applied(t, json_at(m, "services"), " ");
}

/* {"prefix":"teal:prod","fleet":[{"id":…,"host":…,"pid":…,"version":…,"self":true,"ready":true,
 *  "missing":false,"last_seen":…,"age":0.4,"services":{"shop":{"applied":43,…}}}],"store":{…}} */
void
render_fleet(struct render *r, json_t *object)
{
	static const char *const heads[] = { "HOST", "PID", "VERSION", "STATE", "READY", "SEEN", "APPLIED", NULL };
	static const char *const columns[] = { "", "", "", "", "", "", "", "", "", "", NULL };
	json_t *fleet = json_at(object, "fleet"), *m;
	struct table t;
	size_t i;

	if (json_array_size(fleet) > 0) {
		table_init(&t, r->out->terminal ? heads : columns);
		json_array_foreach(fleet, i, m) member_row(&t, r->out, m);
		table_print(&t, r->out);
	}
	if (!json_has(object, "store.up") && r->out->terminal)
		say(r->out, object, "the store is down, this is from {store.age:duration} ago: {store.problem}");
}

/* Services named on a terminal at most. */
#define NAMED_SERVICES 4

/* "shop 1/2, web 0/2 and 38 more": those with backends that are not up; in a pipe all. */
static void
put_bad_services(struct buf *b, json_t *services, bool terminal)
{
	size_t i, named = 0, bad = 0;
	json_t *s;

	json_array_foreach(services, i, s)
	{
		if (json_integer_value(json_at(s, "up")) >= json_integer_value(json_at(s, "total")))
			continue;
		if (bad++ >= NAMED_SERVICES && terminal)
			continue;
		buf_printf(b, "%s", named++ == 0 ? "" : terminal ? ", " : ",");
		text_json(b, json_at(s, "service"));
		buf_printf(b, terminal ? " " : "=");
		text_json(b, json_at(s, "up"));
		buf_printf(b, "/");
		text_json(b, json_at(s, "total"));
	}
	if (bad > named)
		buf_printf(b, " and %zu more", bad - named);
}

static void
bad_services_cell(struct table *t, const struct output *o, json_t *n)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	/* Where nothing is up, that says it. */
	if (json_has(n, "up"))
		put_bad_services(&b, json_at(n, "services"), o->terminal);
	else if (o->terminal && json_has(n, "total"))
		say_into(&b, &(struct output){ .terminal = false }, n, json_has(n, "reason") ? "{reason}" : "");
	table_add(t, STYLE_PLAIN, buf_len(&b) > 0 || o->terminal ? buf_str(&b) : STR("-"));
	buf_free(&b);
}

static bool
node_says(json_t *n, const char *key, const char *word)
{
	const char *value = json_string_value(json_at(n, key));

	return value != NULL && strcmp(value, word) == 0;
}

static void
node_row(struct table *t, const struct output *o, json_t *pool, json_t *n)
{
	bool down = node_says(n, "health", "down"), ready = node_says(n, "state", "ready");
	/* The cluster has something to say of it. */
	bool told = json_has(n, "cluster") && !node_says(n, "cluster", "ready");
	struct buf b;

	if (!o->terminal) {
		table_add(t, STYLE_PLAIN, STR("node"));
		say_cells(t, pool, "pool");
		say_cells(t, n, "host origin state connections");
		bad_services_cell(t, o, n);
		say_cells(t, n, "problem up total health since state_since cluster cluster_since");
		return;
	}
	say_cells(t, pool, "pool");
	say_cells(t, n, "host origin");
	buf_init(&b, 256);
	say_into(&b, &(struct output){ .terminal = false }, n, down ? "{state}, down" : "{state}");
	if (told)
		say_into(&b, &(struct output){ .terminal = false }, n, " ({cluster})");
	if (node_says(n, "state", "draining") && (json_has(n, "state_since") || told)) {
		buf_printf(&b, " since ");
		text_time(&b, json_at(n, json_has(n, "state_since") ? "state_since" : "cluster_since"));
	}
	table_add(t, down && ready ? STYLE_BAD : ready ? STYLE_PLAIN : STYLE_NOTE, buf_str(&b));
	buf_clear(&b);
	say_into(&b, &(struct output){ .terminal = false }, n, "{up}/{total} up");
	table_add(t, json_has(n, "total") && !json_has(n, "up") && ready ? STYLE_BAD : STYLE_PLAIN, buf_str(&b));
	buf_clear(&b);
	text_time(&b, json_at(n, "since"));
	table_add(t, STYLE_PLAIN, buf_str(&b));
	buf_free(&b);
	say_cells(t, n, "connections");
	bad_services_cell(t, o, n);
	say_cells(t, n, "problem");
}

static void
node_table(struct table *t, const struct output *o)
{
	static const char *const heads[] = { "POOL",	    "NODE",   "FROM",	 "STATE", "UP", "SINCE",
					     "CONNECTIONS", "NOT UP", "PROBLEM", NULL };
	static const char *const columns[] = { "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", NULL };

	table_init(t, o->terminal ? heads : columns);
}

void
render_node_rows(struct render *r, json_t *nodes)
{
	struct table t;
	json_t *n;
	size_t i;

	node_table(&t, r->out);
	json_array_foreach(nodes, i, n) node_row(&t, r->out, n, n);
	table_print(&t, r->out);
}

/* Who in the fleet asks the API of a pool. */
static void
say_watcher(struct render *r, json_t *pool, json_t *watch)
{
	const char *role = json_string_value(json_object_get(watch, "role"));

	if (role == NULL)
		return;
	if (json_has(watch, "watcher"))
		say(r->out, pool, strcmp(role, "leads") == 0 ? "the nodes of {pool} are watched by this teald, for the fleet:" :
							       "the nodes of {pool} are watched by another teald of the fleet:");
	else if (strcmp(role, "alone") == 0)
		say(r->out, pool, "the nodes of {pool} are watched by this teald for itself: the store does not say that another one does");
	else
		say(r->out, pool, "the nodes of {pool} are watched by no teald of the fleet yet");
	if (json_has(watch, "watcher"))
		say(r->out, watch, json_is_number(json_at(watch, "age")) ? "  {watcher}, since {watcher_since}; the API's last word is {age} s old" :
							    "  {watcher}, since {watcher_since}; the API has said nothing yet");
}

/* Which nodes are those of some time ago. */
static void
watches_say(struct render *r, json_t *pools)
{
	json_t *pool, *watch;
	size_t i;

	json_array_foreach(pools, i, pool)
	{
		watch = json_at(pool, "watch");
		if (!r->out->terminal || watch == NULL)
			continue;
		say_watcher(r, pool, watch);
		if (!json_has(watch, "problem"))
			continue;
		say(r->out, pool, "the API of {pool} does not tell of its nodes:");
		say(r->out, watch, json_is_number(json_at(watch, "age")) ? "  {server}: {problem}; they are those of {age} s ago" :
							    "  {server}: {problem}; none is known yet");
	}
}

static void
render_nodes(struct render *r, json_t *pools)
{
	json_t *pool, *n;
	size_t i, k, rows = 0;
	struct table t;

	json_array_foreach(pools, i, pool) rows += json_array_size(json_at(pool, "nodes"));
	if (rows == 0) {
		if (r->out->terminal)
			output_line(r->out, "there are no node pools");
		return;
	}
	node_table(&t, r->out);
	json_array_foreach(pools, i, pool)
	{
		json_array_foreach(json_at(pool, "nodes"), k, n) node_row(&t, r->out, pool, n);
	}
	table_print(&t, r->out);
	watches_say(r, pools);
}

/* {"event":"draining","pool":"main","host":"10.0.0.11","remaining":12,"unsure":0,…} */
void
render_node_event(struct render *r, json_t *object)
{
	const char *event = json_string_value(json_at(object, "event"));

	if (event == NULL || strcmp(event, "draining") != 0)
		render_streamed(r, object);
	else if (!r->out->terminal)
		say(r->out, object, "draining\t{host}\t{remaining}\t{unsure}");
	else if (json_has(object, "unsure"))
		say(r->out, object, "draining     {remaining:connections} on {host}; {unsure} of {teals} teald not known to obey yet");
	else
		say(r->out, object, "draining     {remaining:connections} on {host}");
}

/* Of one that was waited for; the last line is the proof. */
static void
render_drained_node(struct render *r, json_t *object)
{
	bool terminal = r->out->terminal, many = json_integer_value(json_at(object, "teals")) != 1;

	if (!terminal) {
		say(r->out, object, "drained\t{pool}\t{host}\t{connections}\t{teals}\t{seconds}\t{cut}");
		return;
	}
	if (json_has(object, "cut"))
		say(r->out, object, "drained      in {seconds:duration}; {cut:connections} cut at the deadline");
	if (!json_has(object, "fleet"))
		say(r->out, object, "{connections} connections on {host}");
	else
		say(r->out, object,
		    many ? "{connections} connections on {host}, in the fleet ({teals} Teals)" :
			   "{connections} connections on {host}, in the fleet (1 Teal)");
}

/* list: {"pools":[{"pool":"main","nodes":[{"host":…,"origin":"added","state":"ready",
 *  "services":[{"service":"shop","up":2,"total":2,"connections":7}],…}]}]}
 * else: {"verb":"drain","pool":"main","host":"10.0.0.11","changed":true} */
void
render_node(struct render *r, json_t *object)
{
	const char *verb = json_string_value(json_at(object, "verb"));
	bool changed = json_has(object, "changed");
	static const struct {
		const char *verb, *done, *was;
	} words[] = {
		{ "add", "{host} is a node of {pool} now", "{host} was a node of {pool} already" },
		{ "remove", "{host} is no node of {pool} any more", "{host} was removed from {pool} already" },
		{ "drain", "{host} in {pool} gets nothing new", "{host} in {pool} was drained already" },
		{ "ready", "{host} in {pool} is ready", "{host} in {pool} was ready already" },
		{ "reset", "{host} in {pool} is as configured", "{host} in {pool} was as configured already" },
	};

	if (verb == NULL) {
		render_nodes(r, json_at(object, "pools"));
		return;
	}
	if (json_at(object, "connections") != NULL) {
		render_drained_node(r, object);
		return;
	}
	if (!r->out->terminal) {
		say(r->out, object, changed ? "{verb}\t{pool}\t{host}\tchanged" : "{verb}\t{pool}\t{host}\tunchanged");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(verb, words[i].verb) == 0)
			say(r->out, object, changed ? words[i].done : words[i].was);
}
