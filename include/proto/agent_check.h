/* agent_check.h - the line by which a server's agent says how much it wants (HAProxy's configuration manual,
 * agent-check): words apart by blanks, tabs or commas, to the end of the line.  Pure. */
#ifndef PROTO_AGENT_CHECK_H
#define PROTO_AGENT_CHECK_H

#include <stdbool.h>

#include "base/str.h"

/* More than that of a weight is no answer that was meant. */
#define AGENT_PERCENT_MAX 1000

enum agent_wish { AGENT_WISH_NONE, AGENT_WISH_READY, AGENT_WISH_DRAIN };
enum agent_state { AGENT_STATE_NONE, AGENT_STATE_UP, AGENT_STATE_DOWN };

/* What is not said stays as it was. */
struct agent_say {
	bool has_percent;
	unsigned percent;	/* "75%", of the weight that is configured */
	enum agent_wish wish;	/* "ready", "drain", "maint" */
	enum agent_state state;	/* "up"; "down", "fail", "failed", "stopped", each perhaps with "#reason" */
	struct str unknown;	/* the first word that is none of these; n 0: all are known */
};

/* False: there is no word in it. */
bool agent_say_parse(struct str line, struct agent_say *out);

#endif
