/* reload_names.c - new names of hosts, before they are obeyed.  Thread: main, but
 * for reload_names_collect(). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "control/reload_names.h"

static int
compare_hosts(const void *a, const void *b)
{
	return strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

typedef void each_name_fn(void *arg, const struct service_config *sc, enum color color, const char *host);

static void
each_name(const struct config *config, each_name_fn *tell, void *arg)
{
	for (size_t i = 0; i < config->n_services; i++)
		for (enum color color = GREEN; color <= BLUE; color++) {
			const struct color_config *cc = &config->services[i].colors[color];

			for (size_t k = 0; k < cc->n_backends; k++)
				if (cc->backends[k].address.len == 0)
					tell(arg, &config->services[i], color, cc->backends[k].host);
		}
}

struct known_names {
	const char **list;	/* sorted */
	size_t n;
	struct reload_names *out;
};

static void
add_known(void *arg, const struct service_config *sc, enum color color, const char *host)
{
	struct known_names *known = arg;

	(void)sc;
	(void)color;
	known->list = must_grow(known->list, known->n + 1, sizeof(*known->list));
	known->list[known->n++] = host;
}

static void
add_unknown(void *arg, const struct service_config *sc, enum color color, const char *host)
{
	const struct known_names *known = arg;
	struct reload_names *out = known->out;

	if (known->n > 0 &&
	    bsearch(&host, known->list, known->n, sizeof(*known->list), compare_hosts) != NULL)
		return;
	out->list = must_grow(out->list, out->n + 1, sizeof(*out->list));
	out->list[out->n++] = (struct new_name){ .service = sc, .color = color, .host = host };
}

void
reload_names_collect(const struct config *from, const struct config *to, struct reload_names *out)
{
	struct known_names known = { .out = out };

	*out = (struct reload_names){ 0 };
	each_name(from, add_known, &known);
	if (known.n > 0)
		qsort(known.list, known.n, sizeof(*known.list), compare_hosts);
	each_name(to, add_unknown, &known);
	free(known.list);
}

static int
compare_asked(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)(*(struct new_name *const *)a)->waited_for;
	uintptr_t y = (uintptr_t)(*(struct new_name *const *)b)->waited_for;

	return x < y ? -1 : x > y;
}

void
reload_names_ask(struct reload_names *names, struct hosts *hosts)
{
	for (size_t i = 0; i < names->n; i++) {
		struct new_name *name = &names->list[i];

		name->asked = name->waited_for = hosts_try(hosts, name->host);
		name->found = name->asked == NULL;
		names->waiting += name->asked != NULL;
	}
	/* Thousands of names, each of many backends: an answer finds its own. */
	names->asked = must_array(names->waiting + 1, sizeof(struct new_name *));
	for (size_t i = 0; i < names->n; i++)
		if (names->list[i].asked != NULL)
			names->asked[names->n_asked++] = &names->list[i];
	qsort(names->asked, names->n_asked, sizeof(struct new_name *), compare_asked);
}

/* The first that waits for it, or where that would be. */
static size_t
first_asked(const struct reload_names *names, const struct hostname *name)
{
	size_t low = 0, high = names->n_asked;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if ((uintptr_t)names->asked[middle]->waited_for < (uintptr_t)name)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void
reload_names_on_answer(struct reload_names *names, const struct hostname *name)
{
	for (size_t i = first_asked(names, name); i < names->n_asked && names->asked[i]->waited_for == name; i++) {
		struct new_name *its = names->asked[i];

		if (its->asked == NULL)
			continue;
		its->asked = NULL;
		names->waiting--;
		its->found = name->problem[0] == '\0';
		str_copy(its->problem, sizeof(its->problem), str_from(name->problem));
	}
}

bool
reload_names_judge(const struct reload_names *names, struct complaints *errors)
{
	const char *color;
	bool all = true;

	for (size_t i = 0; i < names->n; i++) {
		const struct new_name *name = &names->list[i];

		if (name->found)
			continue;
		all = false;
		color = name->service->colorless ? "" : name->color == GREEN ? "green: " : "blue: ";
		errors->lines = must_grow(errors->lines, errors->n + 1, sizeof(*errors->lines));
		errors->lines[errors->n++] =
			name->problem[0] != '\0' ?
				must_printf("%s:%u: service \"%s\": %shost %s", name->service->at.file,
					    name->service->at.line, name->service->name, color, name->problem) :
				must_printf(
					"%s:%u: service \"%s\": %shost \"%s\": the name server has not answered in time",
					name->service->at.file, name->service->at.line, name->service->name, color, name->host);
	}
	return all;
}

void
reload_names_free(struct reload_names *names)
{
	free(names->asked);
	free(names->list);
	*names = (struct reload_names){ 0 };
}
