/* check.c - what happens when a promise is broken, and allocation that must
 * not fail.  Any thread. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

_Noreturn void
check_failed(const char *file, int line, const char *what)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "%s:%d: broken promise: %s\n", file, line, what);

	if (n > (int)sizeof(text) - 1)
		n = (int)sizeof(text) - 1;
	if (write(STDERR_FILENO, text, (size_t)n) < 0)
		_exit(134);
	abort();
}

static void *
or_die(void *p)
{
	if (p == NULL)
		check_failed(__FILE__, __LINE__, "out of memory");
	return p;
}

void *
must_alloc(size_t size)
{
	return or_die(calloc(1, size > 0 ? size : 1));
}

void *
must_array(size_t n, size_t size)
{
	return or_die(calloc(n > 0 ? n : 1, size));
}

void *
must_grow(void *old, size_t n, size_t size)
{
	return or_die(reallocarray(old, n > 0 ? n : 1, size));
}

char *
must_strdup(const char *s)
{
	return or_die(strdup(s));
}

char *
must_printf(const char *fmt, ...)
{
	va_list ap;
	char *s = NULL;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return or_die(s);
}
