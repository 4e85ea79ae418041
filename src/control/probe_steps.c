/* probe_steps.c - which step is next, and what has been heard for it.  Thread: main. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "control/probe_steps.h"

/* Of what is missing, so many bytes are shown. */
#define SHOWN 40

void
probe_steps_init(struct probe_steps *s, const struct check_step *list, size_t n)
{
	*s = (struct probe_steps){ .list = list, .n = n };
	buf_init(&s->heard, STEPS_HEARD_MAX);
}

void
probe_steps_clear(struct probe_steps *s)
{
	buf_free(&s->heard);
}

/* What is before it is of no use to a later step either. */
static bool
use_heard(struct probe_steps *s, const struct check_step *step)
{
	struct str heard = buf_str(&s->heard);
	const char *at = heard.n > 0 ? memmem(heard.p, heard.n, step->bytes, step->n) : NULL;

	if (at == NULL)
		return false;
	buf_consume(&s->heard, (size_t)(at - heard.p) + step->n);
	return true;
}

const struct check_step *
probe_steps_next(struct probe_steps *s)
{
	for (; s->at < s->n; s->at++, s->sent = 0) {
		const struct check_step *step = &s->list[s->at];

		if (step->expect ? !use_heard(s, step) : s->sent < step->n)
			return step;
	}
	return NULL;
}

bool
probe_steps_hear(struct probe_steps *s, const char *p, size_t n)
{
	return buf_append(&s->heard, p, n);
}

bool
probe_steps_listen(const struct probe_steps *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->list[i].expect)
			return true;
	return false;
}

void
probe_steps_missing(const struct probe_steps *s, char *out, size_t n)
{
	const struct check_step *step = &s->list[s->at < s->n ? s->at : s->n - 1];
	char shown[SHOWN + 1];
	size_t i;

	for (i = 0; i < step->n && i < SHOWN; i++)
		shown[i] = isprint((unsigned char)step->bytes[i]) && step->bytes[i] != '"' ? step->bytes[i] : '.';
	shown[i] = '\0';
	snprintf(out, n, "an answer without \"%s\"", shown);
}
