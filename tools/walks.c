/* walks.c - preloaded by tools/walks: writes down each function that a thread
 * enters and leaves, of a program that was built with -finstrument-functions.
 * One file a thread, $TEAL_WALKS.TID, of 8-byte numbers: offset in the program
 * times two, plus one when it is entered. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PLAIN __attribute__((no_instrument_function))

void __cyg_profile_func_enter(void *function, void *from);
void __cyg_profile_func_exit(void *function, void *from);

static uintptr_t base;	/* where the program lies */
static __thread FILE *out;

PLAIN __attribute__((constructor)) static void
find_base(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long first;

	if (maps == NULL || fscanf(maps, "%lx", &first) != 1)
		abort();
	fclose(maps);
	base = first;
}

PLAIN static void
note(void *function, uintptr_t entered)
{
	uint64_t n = ((uintptr_t)function - base) << 1 | entered;
	char path[4096];

	if (out == NULL) {
		snprintf(path, sizeof(path), "%s.%d", getenv("TEAL_WALKS"), gettid());
		if ((out = fopen(path, "w")) == NULL)
			abort();
	}
	fwrite(&n, sizeof(n), 1, out);
}

PLAIN void
__cyg_profile_func_enter(void *function, void *from)
{
	(void)from;
	note(function, 1);
}

PLAIN void
__cyg_profile_func_exit(void *function, void *from)
{
	(void)from;
	note(function, 0);
}
