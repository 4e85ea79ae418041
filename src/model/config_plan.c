/* config_plan.c - compares two configurations.  Any thread. */
#include <stdlib.h>
#include <string.h>

#include "model/config_plan.h"

/* What cannot be changed in place; a name that ends in '.' stands for all that begin so. */
static const char *const settings_of_a_start[] = {
	"workers", "state_dir", "user", "store.", "admin.socket", "admin.mode", "admin.group",
	"observe.listen", "observe.freebind", "kernel.", NULL,
};

static const char *const service_of_a_start[] = {
	"mode", "engine", NULL,
};

/* The engine of the kernel reads what it was made with. */
static bool
is_of_kernel(const struct config_section *s)
{
	const char *engine = config_section_value(s, "engine");

	return engine != NULL && strcmp(engine, "kernel") == 0;
}

static bool
is_listed(const char *const *list, const char *key)
{
	for (; *list != NULL; list++) {
		size_t n = strlen(*list);

		if (n > 0 && (*list)[n - 1] == '.' ? strncmp(*list, key, n) == 0 : strcmp(*list, key) == 0)
			return true;
	}
	return false;
}

/* -- comparing ----------------------------------------------------------------------- */

struct changes {
	struct config_change **list;
	size_t *n;
	const char *const *of_a_start;	/* NULL: all are */
};

static void
add_change(const struct changes *to, const char *key, const char *from, const char *now)
{
	struct config_change *c;

	*to->list = must_grow(*to->list, *to->n + 1, sizeof(**to->list));
	c = &(*to->list)[(*to->n)++];
	*c = (struct config_change){
		.key = must_strdup(key),
		.from = from != NULL ? must_strdup(from) : NULL,
		.to = now != NULL ? must_strdup(now) : NULL,
		.restart = to->of_a_start == NULL || is_listed(to->of_a_start, key),
	};
}

static void
compare(const struct config_section *from, const struct config_section *to, const struct changes *out)
{
	const char *key, *value, *other;
	size_t at = 0;

	if (from->n == to->n && (to->n == 0 || memcmp(from->bytes, to->bytes, to->n) == 0))
		return;
	while (config_section_next(to, &at, &key, &value)) {
		other = config_section_value(from, key);
		if (other == NULL || strcmp(other, value) != 0)
			add_change(out, key, other, value);
	}
	for (at = 0; config_section_next(from, &at, &key, &value);)
		if (config_section_value(to, key) == NULL)
			add_change(out, key, value, NULL);
}

static int
compare_sections(const void *a, const void *b)
{
	const struct config_section *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static const struct config_section **
sort_by_name(const struct config_keys *k)
{
	const struct config_section **sorted = must_array(k->n + 1, sizeof(*sorted));

	for (size_t i = 0; i < k->n; i++)
		sorted[i] = &k->services[i];
	qsort(sorted, k->n, sizeof(*sorted), compare_sections);
	return sorted;
}

static const struct config_section *
find(const struct config_section **sorted, size_t n, const char *name)
{
	struct config_section wanted = { .name = (char *)(uintptr_t)name };
	const struct config_section *key = &wanted, **found;

	found = name == NULL || n == 0 ? NULL : bsearch(&key, sorted, n, sizeof(*sorted), compare_sections);
	return found != NULL ? *found : NULL;
}

static struct service_plan *
add_service(struct config_plan *p, enum service_fate fate, const char *name, const char *was, bool restart)
{
	struct service_plan *s;

	p->services = must_grow(p->services, p->n + 1, sizeof(*p->services));
	s = &p->services[p->n++];
	*s = (struct service_plan){ .fate = fate,
				    .name = must_strdup(name),
				    .was = was != NULL ? must_strdup(was) : NULL,
				    .restart = restart };
	p->restarts += s->restart;
	return s;
}

static size_t
count_restarts(const struct config_change *list, size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += list[i].restart;
	return sum;
}

/* What is at the old one's place, or of the old name where the file says so. */
static void
plan_service(struct config_plan *p, const struct config_section *old, const struct config_section *new)
{
	struct config_change *list = NULL;
	struct service_plan *s;
	bool renamed, kernel;
	size_t n = 0;

	if (old == NULL) {
		(void)add_service(p, SERVICE_ADDED, new->name, NULL, is_of_kernel(new));
		return;
	}
	renamed = strcmp(old->name, new->name) != 0;
	kernel = is_of_kernel(old) || is_of_kernel(new);
	compare(old, new, &(struct changes){ &list, &n, kernel ? NULL : service_of_a_start });
	if (!renamed && n == 0) {
		p->unchanged++;
		return;
	}
	s = add_service(p, renamed ? SERVICE_RENAMED : SERVICE_CHANGED, new->name, renamed ? old->name : NULL,
			renamed && kernel);
	s->changes = list;
	s->n = n;
	p->restarts += count_restarts(list, n);
}

struct config_plan *
config_plan_new(const struct config_keys *from, const struct config_keys *to)
{
	const struct config_section **olds = sort_by_name(from), **news = sort_by_name(to);
	struct config_plan *p = must_alloc(sizeof(*p));

	*p = (struct config_plan){ 0 };
	compare(&from->settings, &to->settings, &(struct changes){ &p->settings, &p->n_settings, settings_of_a_start });
	p->restarts = count_restarts(p->settings, p->n_settings);
	for (size_t i = 0; i < to->n; i++) {
		const struct config_section *new = &to->services[i], *old = find(olds, from->n, new->name);

		plan_service(p, old != NULL ? old : find(olds, from->n, new->rename), new);
	}
	for (size_t i = 0; i < from->n; i++) {
		const char *name = from->services[i].name;
		bool goes = find(news, to->n, name) == NULL;

		for (size_t k = 0; goes && k < p->n; k++)
			goes = p->services[k].was == NULL || strcmp(p->services[k].was, name) != 0;
		if (goes)
			(void)add_service(p, SERVICE_REMOVED, name, NULL, is_of_kernel(&from->services[i]));
	}
	free(olds);
	free(news);
	return p;
}

static void
changes_free(struct config_change *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(list[i].key);
		free(list[i].from);
		free(list[i].to);
	}
	free(list);
}

void
config_plan_free(struct config_plan **pp)
{
	struct config_plan *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	changes_free(p->settings, p->n_settings);
	for (size_t i = 0; i < p->n; i++) {
		changes_free(p->services[i].changes, p->services[i].n);
		free(p->services[i].name);
		free(p->services[i].was);
	}
	free(p->services);
	free(p);
}

bool
config_plan_is_empty(const struct config_plan *p)
{
	return p->n == 0 && p->n_settings == 0;
}

/* -- telling ------------------------------------------------------------------------- */

/* The next item of "[a, b]"; *list goes behind it.  False at the end. */
static bool
next_item(const char **list, struct str *item)
{
	const char *p = *list + (**list == '[' ? 1 : 2), *end;

	if (**list == ']' || **list == '\0' || *p == ']')
		return false;
	end = strstr(p, ", ");
	*item = (struct str){ p, end != NULL ? (size_t)(end - p) : strlen(p) - 1 };
	*list = p + item->n;
	return true;
}

static bool
has_item(const char *list, struct str wanted)
{
	struct str item;

	while (next_item(&list, &item))
		if (item.n == wanted.n && memcmp(item.p, wanted.p, item.n) == 0)
			return true;
	return false;
}

/* Items of a list that another one has not: " +10.0.0.3:80". */
static void
put_items(struct buf *out, char sign, const char *of, const char *without)
{
	struct str item;

	while (next_item(&of, &item))
		if (!has_item(without, item))
			buf_printf(out, " %c%.*s", sign, (int)item.n, item.p);
}

static bool
is_list(const char *value)
{
	return value != NULL && value[0] == '[';
}

/* Of a list what comes and what goes, unless only its order is another. */
static void
put_change(struct buf *out, const struct config_change *c)
{
	size_t before;

	buf_printf(out, "%s", c->key);
	before = buf_len(out);
	if (is_list(c->from) && is_list(c->to)) {
		put_items(out, '+', c->to, c->from);
		put_items(out, '-', c->from, c->to);
	}
	if (buf_len(out) == before)
		buf_printf(out, " %s -> %s", c->from != NULL ? c->from : "none", c->to != NULL ? c->to : "none");
}

static const char needs_restart[] = ": needs an upgrade";

static void
put_changes(struct buf *out, const char *service, const struct config_change *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		buf_printf(out, list[i].restart ? "! " : "~ ");
		if (service != NULL)
			buf_printf(out, "service %s: ", service);
		put_change(out, &list[i]);
		buf_printf(out, "%s\n", list[i].restart ? needs_restart : "");
	}
}

static void
put_fate(struct buf *out, const struct service_plan *s)
{
	static const char signs[] = {
		[SERVICE_ADDED] = '+', [SERVICE_REMOVED] = '-', [SERVICE_RENAMED] = '>', [SERVICE_CHANGED] = '~'
	};

	if (s->fate == SERVICE_CHANGED)
		return;
	buf_printf(out, "%c service %s", s->restart ? '!' : signs[s->fate], s->name);
	if (s->fate == SERVICE_RENAMED)
		buf_printf(out, " (was %s)", s->was);
	else if (s->restart)
		buf_printf(out, s->fate == SERVICE_ADDED ? " is new" : " is gone");
	buf_printf(out, "%s\n", s->restart ? needs_restart : "");
}

void
config_plan_text(const struct config_plan *p, struct buf *out)
{
	put_changes(out, NULL, p->settings, p->n_settings);
	for (size_t i = 0; i < p->n; i++) {
		put_fate(out, &p->services[i]);
		put_changes(out, p->services[i].name, p->services[i].changes, p->services[i].n);
	}
	buf_printf(out, "= %zu unchanged\n", p->unchanged);
}

static void
json_names(struct json *j, const char *key, const struct config_plan *p, enum service_fate fate)
{
	json_array(j, key);
	for (size_t i = 0; i < p->n; i++)
		if (p->services[i].fate == fate)
			json_cstr(j, NULL, p->services[i].name);
	json_array_end(j);
}

static void
json_change(struct json *j, const char *service, const struct config_change *c)
{
	json_object(j, NULL);
	if (service != NULL)
		json_cstr(j, "service", service);
	json_cstr(j, "key", c->key);
	json_cstr(j, "from", c->from);
	json_cstr(j, "to", c->to);
	json_object_end(j);
}

/* The keys alone, for scripts, and their values. */
static void
json_changes(struct json *j, const struct config_change *list, size_t n)
{
	json_array(j, "keys");
	for (size_t i = 0; i < n; i++)
		json_cstr(j, NULL, list[i].key);
	json_array_end(j);
	json_array(j, "values");
	for (size_t i = 0; i < n; i++)
		json_change(j, NULL, &list[i]);
	json_array_end(j);
}

static void
json_restarts(struct json *j, const char *service, const struct config_change *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].restart)
			json_change(j, service, &list[i]);
}

void
config_plan_json(const struct config_plan *p, struct json *j)
{
	json_names(j, "added", p, SERVICE_ADDED);
	json_names(j, "removed", p, SERVICE_REMOVED);
	json_array(j, "renamed");
	for (size_t i = 0; i < p->n; i++) {
		if (p->services[i].fate != SERVICE_RENAMED)
			continue;
		json_object(j, NULL);
		json_cstr(j, "service", p->services[i].name);
		json_cstr(j, "was", p->services[i].was);
		json_object_end(j);
	}
	json_array_end(j);
	json_array(j, "changed");
	for (size_t i = 0; i < p->n; i++) {
		if (p->services[i].n == 0)
			continue;
		json_object(j, NULL);
		json_cstr(j, "service", p->services[i].name);
		json_changes(j, p->services[i].changes, p->services[i].n);
		json_object_end(j);
	}
	json_array_end(j);
	json_object(j, "settings");
	json_changes(j, p->settings, p->n_settings);
	json_object_end(j);
	json_u64(j, "unchanged", p->unchanged);
	json_array(j, "needs_upgrade");
	json_restarts(j, NULL, p->settings, p->n_settings);
	for (size_t i = 0; i < p->n; i++) {
		const struct service_plan *s = &p->services[i];

		if (s->restart)
			json_change(j, s->name, &(struct config_change){ .key = (char *)(uintptr_t)"name",
									 .from = s->fate == SERVICE_ADDED ? NULL :
										 s->fate == SERVICE_RENAMED ? s->was : s->name,
									 .to = s->fate == SERVICE_REMOVED ? NULL : s->name });
		json_restarts(j, s->name, s->changes, s->n);
	}
	json_array_end(j);
}

static void
put_restarts(struct buf *out, size_t *told, const char *service, const struct config_change *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!list[i].restart)
			continue;
		buf_printf(out, "%s%s%s%s%s", (*told)++ > 0 ? ", " : "", service != NULL ? "service " : "",
			   service != NULL ? service : "", service != NULL ? ": " : "", list[i].key);
	}
}

void
config_plan_restarts(const struct config_plan *p, struct buf *out)
{
	size_t told = 0;

	put_restarts(out, &told, NULL, p->settings, p->n_settings);
	for (size_t i = 0; i < p->n; i++) {
		const struct service_plan *s = &p->services[i];

		if (s->restart)
			buf_printf(out, "%sservice %s%s", told++ > 0 ? ", " : "", s->name,
				   s->fate == SERVICE_ADDED ? " (new)" : s->fate == SERVICE_REMOVED ? " (gone)" : " (renamed)");
		put_restarts(out, &told, s->name, s->changes, s->n);
	}
}
