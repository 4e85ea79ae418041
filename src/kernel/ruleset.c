/* ruleset.c - the table, as main wants it.
 * Thread: main; what writes to the kernel is on the ruleset's own. */
#include "kernel/ruleset.h"

enum ending
ruleset_refusal_ending(enum ruleset_refusal r)
{
	switch (r) {
#define X(name, ending) case name: return ending;
	RULESET_REFUSAL_TABLE(X)
#undef X
	}
	return END_INTERNAL;
}
