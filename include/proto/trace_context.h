/* trace_context.h - the traceparent of W3C Trace Context (Recommendation, 2021): whose trace a request belongs to.
 * Pure; any thread. */
#ifndef PROTO_TRACE_CONTEXT_H
#define PROTO_TRACE_CONTEXT_H

#include <stdbool.h>

#include "base/str.h"

#define TRACE_ID 32	/* digits of a trace-id ... */
#define TRACE_PARENT_ID 16	/* ... and of a parent-id */
#define TRACE_PARENT 55	/* bytes of a traceparent of version 00 */

/* The trace-id in the value of a traceparent, 32 digits of 0-9 and a-f; empty: it is none (sections 3.2.2 and 4.3).
 * Of a version above 00 what follows the flags is not looked at. */
struct str trace_id_of(struct str traceparent);

/* One of version 00, with the sampled flag or none.  id and parent: so many hexadecimal digits in lower case, not all 0. */
void trace_parent_write(char out[TRACE_PARENT], const char id[TRACE_ID], const char parent[TRACE_PARENT_ID], bool sampled);

#endif
