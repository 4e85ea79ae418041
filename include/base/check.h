/* check.h - assertions that stay on.
 * CHECK states what this program guarantees itself; a failure is a bug and
 * aborts with file, line and text.  Never use it on what a peer, the kernel
 * or the store sends: that is input, not a promise. */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include <stddef.h>

_Noreturn void check_failed(const char *file, int line, const char *what);

#define CHECK(x) ((x) ? (void)0 : check_failed(__FILE__, __LINE__, #x))

/* DCHECK may be expensive (walk a list); only in debug and sanitizer builds. */
#ifdef TEAL_DEBUG
#define DCHECK(x) CHECK(x)
#else
#define DCHECK(x) ((void)sizeof(x))
#endif

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Allocation that cannot fail: for start-up and for the control plane's own
 * bounded objects.  Aborts when memory is out.  The data path uses plain
 * malloc() and sheds the new connection instead. */
void *must_alloc(size_t size);	/* zeroed */
void *must_array(size_t n, size_t size);	/* zeroed; overflow checked */
void *must_grow(void *old, size_t n, size_t size);	/* realloc; not zeroed */
char *must_strdup(const char *s);
char *must_printf(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
