/* err.c - words and exit statuses of errors.  Any thread. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

static const struct {
	const char *word;
	int status;
} table[] = {
#define X(name, word, status) [name] = { word, status },
	ERR_TABLE(X)
#undef X
};

const char *
err_word(enum err e)
{
	CHECK((size_t)e < ARRAY_LEN(table));
	return table[e].word;
}

int
err_exit_status(enum err e)
{
	CHECK((size_t)e < ARRAY_LEN(table));
	return table[e].status;
}

enum err
err_from_word(const char *word)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (strcmp(table[i].word, word) == 0)
			return (enum err)i;
	return E_INTERNAL;
}

enum err
why_set(struct why *why, enum err e, const char *fmt, ...)
{
	va_list ap;

	if (why == NULL)
		return e;
	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	return e;
}
