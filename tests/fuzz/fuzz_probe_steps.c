/* fuzz_probe_steps.c - the conversation of a check: which step is next must not depend on how the
 * other side's bytes are cut, and what is missing can always be shown. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "control/probe_steps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 8

/* The first byte says how many steps there are, then of each one its kind and length, and its bytes. */
static size_t
take_steps(const uint8_t **p, size_t *n, struct check_step *steps)
{
	size_t wanted = *n > 0 ? *(*p)++ % STEPS_MAX : 0, made = 0;

	*n -= *n > 0;
	while (made < wanted && *n >= 2) {
		size_t length = 1 + (*p)[0] / 2 % 16;
		bool expect = ((*p)[0] & 1) != 0;

		++*p;
		--*n;
		if (length > *n)
			break;
		steps[made].expect = expect;
		steps[made].n = length;
		steps[made].bytes = malloc(length + 1);
		CHECK(steps[made].bytes != NULL);
		memcpy(steps[made].bytes, *p, length);
		steps[made++].bytes[length] = '\0';
		*p += length;
		*n -= length;
	}
	return made;
}

/* All that is to be said is taken at once; the step that waits for more, or n_steps. */
static size_t
hold(const struct check_step *steps, size_t n_steps, const char *heard, size_t n, size_t piece)
{
	struct probe_steps s;
	const struct check_step *next;
	size_t at = 0, reached;
	char text[160];

	probe_steps_init(&s, steps, n_steps);
	while ((next = probe_steps_next(&s)) != NULL) {
		size_t part = n - at < piece ? n - at : piece;

		CHECK(next >= steps && next < steps + n_steps);
		if (!next->expect) {
			s.sent = next->n;
			continue;
		}
		if (part == 0 || !probe_steps_hear(&s, heard + at, part))
			break;
		at += part;
	}
	reached = s.at;
	CHECK(reached <= n_steps && (next == NULL) == (reached == n_steps));
	if (n_steps > 0)
		probe_steps_missing(&s, text, sizeof(text));
	probe_steps_clear(&s);
	return reached;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct check_step steps[STEPS_MAX];
	size_t n = take_steps(&data, &size, steps), whole;
	/* A block of its own: the sanitizer sees one byte too far. */
	char *heard = malloc(size > 0 ? size : 1);

	CHECK(heard != NULL);
	if (size > 0)
		memcpy(heard, data, size);
	whole = hold(steps, n, heard, size, SIZE_MAX);
	for (size_t piece = 1; piece < 32; piece += piece < 4 ? 1 : 7)
		CHECK(hold(steps, n, heard, size, piece) == whole);
	free(heard);
	for (size_t i = 0; i < n; i++)
		free(steps[i].bytes);
	return 0;
}
