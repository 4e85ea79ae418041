/* tried.c - backends that could not be reached.  Thread: owning worker. */
#include <stdio.h>
#include <stdlib.h>

#include "data/tried.h"

void
tried_add(struct tried **t, struct backend *b)
{
	unsigned n = *t != NULL ? (*t)->n : 0;
	struct tried *grown = realloc(*t, sizeof(*grown) + (n + 1) * sizeof(struct backend *));

	if (grown == NULL)
		return;
	grown->list[n] = backend_ref(b);
	grown->n = n + 1;
	*t = grown;
}

void
tried_free(struct tried **t)
{
	for (unsigned i = 0; *t != NULL && i < (*t)->n; i++)
		backend_unref(&(*t)->list[i]);
	free(*t);
	*t = NULL;
}

struct str
tried_json(const struct tried *t, char out[TRIED_TEXT])
{
	int n = 0;

	out[0] = '\0';
	for (unsigned i = 0; t != NULL && i < t->n && i < TRIED_TOLD; i++)
		n += snprintf(out + n, (size_t)(TRIED_TEXT - n), "%s\"%s\"", i > 0 ? "," : "\"tried\":[",
			      t->list[i]->text);
	if (n > 0)
		snprintf(out + n, (size_t)(TRIED_TEXT - n), "]");
	return str_from(out);
}
