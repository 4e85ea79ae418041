/* config_group.c - the groups of services that are flipped as one.  Any thread. */
#include <stdlib.h>
#include <string.h>

#include "model/config_draft.h"

/* As many as one command takes. */
#define GROUP_MAX 32

static const struct service_draft *
find_service_draft(const struct draft *d, const char *name)
{
	for (size_t i = 0; i < d->n_services; i++)
		if (d->services[i].s.name != NULL && strcmp(d->services[i].s.name, name) == 0)
			return &d->services[i];
	return NULL;
}

static bool
group_has(const struct group_config *g, const char *service)
{
	for (size_t i = 0; i < g->n; i++)
		if (strcmp(g->services[i], service) == 0)
			return true;
	return false;
}

static void
take_group_member(const struct cursor *c, const struct draft *d, struct group_config *g, const config_setting_t *s)
{
	const struct service_draft *service;
	const char *name;

	if (s == NULL || config_setting_type(s) != CONFIG_TYPE_STRING) {
		cursor_error(c, s, "groups.%s: expected names of services, found %s", g->name, cursor_found(s).s);
		return;
	}
	name = config_setting_get_string(s);
	service = find_service_draft(d, name);
	if (service == NULL)
		cursor_error(c, s, "groups.%s: there is no service \"%s\"", g->name, show(name).s);
	else if (service->s.colorless)
		cursor_error(c, s, "groups.%s: service \"%s\" has no colors, so there is nothing to flip", g->name, show(name).s);
	else if (group_has(g, name))
		cursor_error(c, s, "groups.%s: service \"%s\" is there twice", g->name, show(name).s);
	else if (g->n == GROUP_MAX)
		cursor_error(c, s, "groups.%s: more than %d services", g->name, GROUP_MAX);
	else
		g->services[g->n++] = must_strdup(name);
}

static void
read_group(const struct cursor *c, struct draft *d, const config_setting_t *s)
{
	struct group_config *g = &d->c.groups[d->c.n_groups++];
	size_t n = cursor_items(s);

	g->name = must_strdup(config_setting_name(s));
	g->services = must_array(GROUP_MAX, sizeof(*g->services));
	if (find_service_draft(d, g->name) != NULL)
		cursor_error(c, s, "groups.%s: a service has that name: a flip could mean either", g->name);
	if (config_setting_type(s) == CONFIG_TYPE_GROUP || n == 0)
		cursor_error(c, s, "groups.%s: expected names of services, such as [\"web\", \"api\"], found %s", g->name,
			     n == 0 ? "none" : cursor_found(s).s);
	else
		for (size_t i = 0; i < n; i++)
			take_group_member(c, d, g, cursor_item(s, i));
}

void
draft_read_groups(struct draft *d)
{
	struct cursor c = { d->r, NULL, "", NULL };
	unsigned n = d->groups != NULL ? (unsigned)config_setting_length(d->groups) : 0;

	if (n == 0)
		return;
	d->c.groups = must_array(n, sizeof(*d->c.groups));
	for (unsigned i = 0; i < n; i++)
		read_group(&c, d, config_setting_get_elem(d->groups, i));
}

void
groups_free(struct config *c)
{
	for (size_t i = 0; i < c->n_groups; i++) {
		for (size_t k = 0; k < c->groups[i].n; k++)
			free(c->groups[i].services[k]);
		free(c->groups[i].services);
		free(c->groups[i].name);
	}
	free(c->groups);
	c->groups = NULL;
	c->n_groups = 0;
}

const struct group_config *
config_find_group(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->n_groups; i++)
		if (strcmp(config->groups[i].name, name) == 0)
			return &config->groups[i];
	return NULL;
}
