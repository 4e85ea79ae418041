/* guarded.h - bytes in front of a page that nobody may read: one byte too far
 * is a fault, without any sanitizer. */
#ifndef TESTS_GUARDED_H
#define TESTS_GUARDED_H

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUARDED_MAX 65536

/* The last copy made is the only one that is good. */
static inline char *
guarded(const char *bytes, size_t n)
{
	static char *pages;
	size_t page = (size_t)sysconf(_SC_PAGESIZE), room = GUARDED_MAX;

	if (pages == NULL) {
		pages = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(pages != MAP_FAILED);
		assert_int_equal(mprotect(pages + room, page, PROT_NONE), 0);
	}
	assert_true(n <= room);
	/* A tempting token in front of them. */
	memset(pages + room - n - (n + 64 <= room ? 64 : 0), 'Z', n + 64 <= room ? 64 : 0);
	return memcpy(pages + room - n, bytes, n);
}

#endif
