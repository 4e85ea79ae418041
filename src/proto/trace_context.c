/* trace_context.c - reads and writes a traceparent.  Pure; any thread. */
#include <string.h>

#include "proto/trace_context.h"

/* "00-<32>-<16>-<2>" */
#define ID_AT 3
#define PARENT_AT (ID_AT + TRACE_ID + 1)
#define FLAGS_AT (PARENT_AT + TRACE_PARENT_ID + 1)
_Static_assert(FLAGS_AT + 2 == TRACE_PARENT, "that is all of it");

/* HEXDIGLC of section 3.2.2.1: no capitals. */
static bool
is_lower_hex(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(p[i] >= '0' && p[i] <= '9') && !(p[i] >= 'a' && p[i] <= 'f'))
			return false;
	return true;
}

static bool
is_zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != '0')
			return false;
	return true;
}

/* A later version may have more behind another '-'; ff is none. */
static bool
is_of_version(struct str t)
{
	if (!is_lower_hex(t.p, 2) || memcmp(t.p, "ff", 2) == 0)
		return false;
	if (memcmp(t.p, "00", 2) == 0)
		return t.n == TRACE_PARENT;
	return t.n == TRACE_PARENT || t.p[TRACE_PARENT] == '-';
}

struct str
trace_id_of(struct str t)
{
	if (t.n < TRACE_PARENT || !is_of_version(t) || t.p[ID_AT - 1] != '-' || t.p[PARENT_AT - 1] != '-' ||
	    t.p[FLAGS_AT - 1] != '-' || !is_lower_hex(t.p + ID_AT, TRACE_ID) || !is_lower_hex(t.p + PARENT_AT, TRACE_PARENT_ID) ||
	    !is_lower_hex(t.p + FLAGS_AT, 2) || is_zero(t.p + ID_AT, TRACE_ID) || is_zero(t.p + PARENT_AT, TRACE_PARENT_ID))
		return STR("");
	return (struct str){ t.p + ID_AT, TRACE_ID };
}

void
trace_parent_write(char out[TRACE_PARENT], const char id[TRACE_ID], const char parent[TRACE_PARENT_ID], bool sampled)
{
	memcpy(out, "00-", ID_AT);
	memcpy(out + ID_AT, id, TRACE_ID);
	out[PARENT_AT - 1] = '-';
	memcpy(out + PARENT_AT, parent, TRACE_PARENT_ID);
	memcpy(out + FLAGS_AT - 1, sampled ? "-01" : "-00", 3);
}
