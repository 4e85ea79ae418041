/* config_map.c - names of a service from a file of their own: sni_map.  Any thread that loads a
 * configuration. */
#include <stdlib.h>
#include <string.h>

#include "model/config_draft.h"
#include "model/config_value.h"
#include "model/route.h"

#define MAP_MAX ((size_t)16 << 20)
/* Complaints about one file. */
#define FAULTS_MAX 10

/* All of it, NUL-terminated; NULL with the reason. */
static char *
read_map(const struct cursor *c, const char *path, size_t *n, struct why *why)
{
	char *bytes = cursor_file(c, path, MAP_MAX, n, why);

	if (bytes == NULL)
		return NULL;
	if (*n > MAP_MAX)
		(void)why_set(why, E_USAGE, "%.256s is longer than 16 MiB", path);
	else if (memchr(bytes, '\0', *n) != NULL)
		(void)why_set(why, E_USAGE, "%.256s is no text", path);
	else
		return bytes;
	free(bytes);
	return NULL;
}

/* The next word of a line; NULL: there is none. */
static char *
map_word(char **line)
{
	char *word = *line + strspn(*line, " \t\r");
	size_t n = strcspn(word, " \t\r");

	if (word[0] == '\0' || word[0] == '#')
		return NULL;
	*line = word + n + (word[n] != '\0');
	word[n] = '\0';
	return word;
}

static int
compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What is there twice counts once, and is no fault: lists are often merged. */
static void
drop_repeated(struct service_config *s, size_t from)
{
	size_t kept = from;

	qsort(s->names + from, s->n_names - from, sizeof(*s->names), compare_texts);
	for (size_t i = from; i < s->n_names; i++) {
		bool again = kept > from && strcmp(s->names[i], s->names[kept - 1]) == 0;

		for (size_t k = 0; k < from && !again; k++)
			again = strcmp(s->names[i], s->names[k]) == 0;
		if (again)
			free(s->names[i]);
		else
			s->names[kept++] = s->names[i];
	}
	s->n_names = kept;
	s->n_mapped = kept - from;
}

static void
take_map_line(const struct cursor *c, struct service_draft *d, const config_setting_t *at, char *line, size_t number,
	      unsigned *faults)
{
	char *name = map_word(&line), *service = name != NULL ? map_word(&line) : NULL;
	bool more = service != NULL && map_word(&line) != NULL;
	char pattern[ROUTE_PATTERN];
	const char *wrong;

	if (name == NULL || (!more && service != NULL && d->s.name != NULL && strcmp(service, d->s.name) != 0))
		return;
	wrong = route_pattern(name, pattern);
	if (wrong == NULL && route_is_address(pattern))
		wrong = "clients name no address in SNI, only names";
	if (more)
		wrong = "a line is NAME or NAME SERVICE";
	if (wrong != NULL) {
		if ((*faults)++ < FAULTS_MAX)
			cursor_error(c, at, "sni_map: %s:%zu: \"%s\": %s", d->s.sni_map, number, show(name).s, wrong);
		return;
	}
	if ((d->s.n_names & (d->s.n_names - 1)) == 0)
		d->s.names = must_grow(d->s.names, d->s.n_names == 0 ? 1 : 2 * d->s.n_names, sizeof(*d->s.names));
	d->s.names[d->s.n_names++] = must_strdup(pattern);
}

void
draft_take_map(const struct cursor *c, struct service_draft *d)
{
	const config_setting_t *at = draft_at(d, "sni_map");
	size_t from = d->s.n_names, n, number = 0;
	unsigned faults = 0;
	char *bytes, *next;
	struct why why;

	if (d->s.sni_map == NULL || d->s.mode != MODE_TCP)
		return;
	if ((bytes = read_map(c, d->s.sni_map, &n, &why)) == NULL) {
		cursor_error(c, at, "sni_map: %s", why.text);
		return;
	}
	config_value_digest(bytes, n, d->s.sni_map_hash);
	/* A power of two, as it grows. */
	d->s.names = must_grow(d->s.names, 2 * from + 2, sizeof(*d->s.names));
	for (char *line = bytes; line != NULL; line = next) {
		next = memchr(line, '\n', (size_t)(bytes + n - line));
		if (next != NULL)
			*next++ = '\0';
		take_map_line(c, d, at, line, ++number, &faults);
	}
	free(bytes);
	drop_repeated(&d->s, from);
	if (d->s.n_mapped == 0 && faults == 0)
		cursor_error(c, at, "sni_map: %s has no name for this service", d->s.sni_map);
}

void
write_sni_map(struct buf *out, const void *base, const struct key *k)
{
	const struct service_config *s = &((const struct service_draft *)base)->s;

	(void)k;
	config_value_text(out, s->sni_map);
	if (s->sni_map != NULL)
		buf_printf(out, " %zu names hash %s", s->n_mapped, s->sni_map_hash);
}
