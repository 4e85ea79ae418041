/* options.c - long options from a table.  Main thread, start-up only. */
#include <inttypes.h>
#include <string.h>

#include "app/tealbench/options.h"
#include "base/str.h"

bool
options_size(const char *text, uint64_t max, uint64_t *out)
{
	static const struct {
		const char *word;
		unsigned shift;
	} units[] = { { "", 0 },    { "B", 0 },   { "k", 10 },	 { "K", 10 }, { "KiB", 10 },
		      { "M", 20 },  { "MiB", 20 }, { "G", 30 }, { "GiB", 30 } };
	size_t digits = strspn(text, "0123456789");

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(text + digits, units[i].word) != 0)
			continue;
		if (!str_to_u64((struct str){ text, digits }, max >> units[i].shift, out))
			return false;
		*out <<= units[i].shift;
		return true;
	}
	return false;
}

static enum err
store(const struct option_spec *o, const char *value, struct why *why)
{
	struct option_list *list;
	uint64_t number = 0;

	switch (o->type) {
	case OPTION_FLAG:
		*(bool *)o->to = true;
		return OK;
	case OPTION_COUNT:
	case OPTION_SIZE:
		if (o->type == OPTION_COUNT ? !str_to_u64(str_from(value), o->max, &number) :
					      !options_size(value, o->max, &number))
			number = UINT64_MAX;
		if (number < o->min || number > o->max)
			return why_set(why, E_USAGE, "--%s=%s: %s from %" PRIu64 " to %" PRIu64 " expected",
				       o->name, value,
				       o->type == OPTION_COUNT ? "a whole number" : "a size in bytes", o->min,
				       o->max);
		*(uint64_t *)o->to = number;
		return OK;
	case OPTION_SECONDS:
		if (!str_to_seconds(str_from(value), o->to))
			return why_set(why, E_USAGE, "--%s=%s: a number of seconds expected, like 2 or 0.5",
				       o->name, value);
		return OK;
	case OPTION_TEXT:
		*(const char **)o->to = value;
		return OK;
	case OPTION_LIST:
		list = o->to;
		if (list->n == OPTION_LIST_MAX)
			return why_set(why, E_USAGE, "--%s: given more than %d times", o->name,
				       OPTION_LIST_MAX);
		list->item[list->n++] = value;
		return OK;
	}
	return E_INTERNAL;
}

enum err
options_parse(const struct option_spec *table, size_t n, int argc, char **argv, struct why *why)
{
	const struct option_spec *o;
	const char *name, *value;
	enum err e;
	size_t len, k;

	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], "--", 2) != 0 || argv[i][2] == '\0')
			return why_set(why, E_USAGE, "%s: not an option; all of them begin with --", argv[i]);
		name = argv[i] + 2;
		len = strcspn(name, "=");
		value = name[len] == '=' ? name + len + 1 : NULL;
		for (k = 0; k < n; k++)
			if (strlen(table[k].name) == len && memcmp(table[k].name, name, len) == 0)
				break;
		if (k == n)
			return why_set(why, E_USAGE, "--%.*s: no such option", (int)len, name);
		o = &table[k];
		if (o->type == OPTION_FLAG && value != NULL)
			return why_set(why, E_USAGE, "--%s takes no value", o->name);
		if (o->type != OPTION_FLAG && value == NULL && i + 1 < argc)
			value = argv[++i];
		if (o->type != OPTION_FLAG && value == NULL)
			return why_set(why, E_USAGE, "--%s needs a value", o->name);
		if ((e = store(o, value, why)) != OK)
			return e;
	}
	return OK;
}
