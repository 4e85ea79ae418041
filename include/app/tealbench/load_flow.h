/* load_flow.h - between a thread of the load and its connections. */
#ifndef APP_TEALBENCH_LOAD_FLOW_H
#define APP_TEALBENCH_LOAD_FLOW_H

#include "app/tealbench/load.h"

void flow_init(struct flow *f, struct load_thread *t, unsigned index);
void flow_free(struct flow *f);	/* closes; the memory is the thread's */

/* Connects, without a request yet unless f->in_request. */
void flow_connect(struct flow *f);
/* Starts a request that was due at that time, connecting first if need be. */
void flow_begin(struct flow *f, uint64_t intended);
/* The flow has nothing to do: its next request, now or when one is due. */
void flow_next(struct flow *f);
/* Counts the error, closes, and lets the flow rest until the next tick. */
void flow_fail(struct flow *f, enum load_error error);

/* The flow is through with its warming, one way or the other; nothing if it
 * was before. */
void load_thread_warmed(struct flow *f);
/* Ends the loop when nothing is left to do. */
void load_thread_check(struct load_thread *t);
/* When the next request not yet begun is due. */
uint64_t load_thread_due(const struct load_thread *t);
/* Sees to it that the thread wakes when that is. */
void load_thread_arm(struct load_thread *t);

#endif
