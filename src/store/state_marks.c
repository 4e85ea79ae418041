/* state_marks.c - see the header.  Any thread. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "store/state_marks.h"

#define SHIFT_MARK "shift %u "

static const struct {
	enum change change, as;
} marked[] = { { CHANGE_CLAIM, CHANGE_LOCK }, { CHANGE_RELEASE, CHANGE_UNLOCK }, { CHANGE_HOLD, CHANGE_LOCK },
	     { CHANGE_UNHOLD, CHANGE_UNLOCK } };

static void
mark_change(struct audit_entry *e)
{
	if (e->change == CHANGE_SHIFT) {
		char expect[sizeof(e->expect)];

		snprintf(expect, sizeof(expect), SHIFT_MARK "%.19s", e->share, e->expect);
		memcpy(e->expect, expect, sizeof(expect));
		e->change = CHANGE_ROLLBACK;
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(marked); i++)
		if (e->change == marked[i].change) {
			str_copy(e->expect, sizeof(e->expect), str_from(change_word(e->change)));
			e->change = marked[i].as;
			return;
		}
}

static void
unmark_change(struct audit_entry *e)
{
	int mark = 0;

	if (e->change == CHANGE_ROLLBACK && sscanf(e->expect, SHIFT_MARK "%n", &e->share, &mark) == 1 && mark > 0) {
		e->change = CHANGE_SHIFT;
		memmove(e->expect, e->expect + mark, strlen(e->expect + mark) + 1);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(marked); i++)
		if (e->change == marked[i].as && strcmp(e->expect, change_word(marked[i].change)) == 0) {
			e->change = marked[i].change;
			e->expect[0] = '\0';
			return;
		}
}

static void
mark_revision(struct audit_entry *e)
{
	char expect[sizeof(e->expect) + REVISION_WORD + 2];

	if (e->revision[0] == '\0')
		return;
	snprintf(expect, sizeof(expect), "#%s %s", e->revision, e->expect);
	/* No epoch is so long that any of it is cut. */
	str_copy(e->expect, sizeof(e->expect), str_from(expect));
}

static void
unmark_revision(struct audit_entry *e)
{
	char expect[sizeof(e->expect)];
	struct str revision = { e->expect + 1, REVISION_WORD - 1 };

	if (e->expect[0] != '#' || strlen(e->expect) < REVISION_WORD + 1 || !revision_is_word(revision))
		return;
	str_copy(e->revision, sizeof(e->revision), revision);
	str_copy(expect, sizeof(expect), str_from(e->expect + REVISION_WORD + 1));
	memcpy(e->expect, expect, sizeof(expect));
}

void
state_mark(struct audit_entry *e)
{
	mark_change(e);
	mark_revision(e);
}

void
state_unmark(struct audit_entry *e)
{
	unmark_revision(e);
	unmark_change(e);
}
