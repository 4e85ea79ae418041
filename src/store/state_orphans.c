/* state_orphans.c - see the header. */
#include <stdlib.h>
#include <string.h>

#include "store/state_orphans.h"

static int
compare_known_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

size_t
state_orphans(const struct state *s, const struct config *config, const struct state_service **first)
{
	const char **names = must_array(2 * config->n_services, sizeof(*names));
	size_t n = 0, n_names = 0;

	for (size_t i = 0; i < config->n_services; i++) {
		names[n_names++] = config->services[i].name;
		if (config->services[i].rename != NULL)
			names[n_names++] = config->services[i].rename;
	}
	qsort(names, n_names, sizeof(*names), compare_known_names);
	*first = NULL;
	for (size_t i = 0; i < s->n; i++) {
		const struct state_service *v = s->services[i];
		const char *name = v->name;

		if (!v->known || v->record.change == CHANGE_INITIAL ||
		    bsearch(&name, names, n_names, sizeof(*names), compare_known_names) != NULL)
			continue;
		if (n++ == 0)
			*first = v;
	}
	free(names);
	return n;
}

static bool
has_record(const struct state *s, const char *name)
{
	const struct state_service *v = name != NULL ? state_find(s, name) : NULL;

	return v != NULL && v->known;
}

bool
state_begins(const struct state *s, const struct service_config *sc)
{
	return !sc->colorless && !has_record(s, sc->name) && !has_record(s, sc->rename);
}
