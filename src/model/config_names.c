/* config_names.c - the host names in a configuration, for a check before the start
 * of whether they resolve.
 * Start-up thread only; blocks on names. */
#include <stdlib.h>

#include "model/config.h"
#include "model/node.h"

struct asked {
	const char *host;
	bool found;
	struct why why;
};

static const struct asked *
look_up_name(struct asked **list, size_t *n, const char *host)
{
	struct asked *a;
	struct addr *addrs;
	size_t n_addrs;

	for (size_t i = 0; i < *n; i++)
		if (node_same_host((*list)[i].host, host))
			return &(*list)[i];
	*list = must_grow(*list, *n + 1, sizeof(**list));
	a = &(*list)[(*n)++];
	*a = (struct asked){ .host = host };
	a->found = addr_resolve_all(host, &addrs, &n_addrs, &a->why) == OK;
	free(addrs);
	return a;
}

void
config_look_up(const struct config *config, struct complaints *warnings)
{
	struct asked *list = NULL;
	size_t n = 0;

	for (size_t i = 0; i < config->n_services; i++)
		for (enum color color = GREEN; color <= BLUE; color++) {
			const struct service_config *s = &config->services[i];
			const struct color_config *cc = &s->colors[color];

			for (size_t k = 0; k < cc->n_backends; k++) {
				const struct asked *a =
					cc->backends[k].address.len == 0 ?
						look_up_name(&list, &n, cc->backends[k].host) :
						NULL;

				if (a == NULL || a->found)
					continue;
				warnings->lines =
					must_grow(warnings->lines, warnings->n + 1, sizeof(*warnings->lines));
				warnings->lines[warnings->n++] =
					must_printf("%s:%u: service \"%s\": %s%shost %s", s->at.file,
						    s->at.line, s->name, s->colorless ? "" : color_word(color),
						    s->colorless ? "" : ": ", a->why.text);
			}
		}
	free(list);
}
