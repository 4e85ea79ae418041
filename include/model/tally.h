/* tally.h - counters with one writer.
 * One tally for each worker and service; the worker adds, main sums over the
 * workers when asked.  Neither waits for the other.  An ending is counted behind
 * all else that its connection or request adds, and before its access line is
 * written and a session's sockets are closed: who sees it has the rest, too. */
#ifndef MODEL_TALLY_H
#define MODEL_TALLY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/color.h"
#include "model/ending.h"
#include "model/judge.h"
#include "proto/grpc.h"
#include "proto/http1_reason.h"
#include "proto/http2_reason.h"

/* Where a connection came in: the service's own listeners or its preview. */
enum entrance { ENTRANCE_MAIN, ENTRANCE_PREVIEW };
#define ENTRANCES 2

/* Upper bounds in seconds of the connect and session histograms; one more
 * bucket for +Inf.  Sub-millisecond on a LAN, seconds when a SYN is lost. */
#define TALLY_BUCKETS 14
extern const double tally_bounds[TALLY_BUCKETS];
/* The same for requests, which applications answer: a millisecond to half a
 * minute. */
extern const double tally_request_bounds[TALLY_BUCKETS];

struct tally_histogram {
	_Atomic uint64_t count[TALLY_BUCKETS + 1];	/* not cumulative */
	_Atomic uint64_t sum_us;
};

/* Status codes are counted one by one where RFC 9110 and its kin name them;
 * what a backend invents is counted by its first digit, so that it cannot make
 * up series.  In order: the named ones, then "1xx" to "5xx" and "other". */
#define TALLY_CODES 69

/* What only HTTP counts. */
struct tally_http {
	_Atomic uint64_t requests[TALLY_CODES];
	_Atomic uint64_t http2_requests[TALLY_CODES];	/* of requests, those that came by HTTP/2 */
	_Atomic uint64_t http2_refused[HTTP2_REASONS];	/* streams, and connections */
	_Atomic uint64_t grpc[GRPC_STATUSES + 1];	/* answers of gRPC by their status; the last: of no name */
	_Atomic uint64_t odd_answers[HTTP1_ODDS];
	struct tally_histogram request_seconds, first_byte_seconds;
};

struct tally_color {
	_Atomic uint64_t active;	/* connections now on this color */
	_Atomic uint64_t ended[ENDINGS];
	_Atomic uint64_t bytes_in, bytes_out;	/* from and to the client */
	_Atomic uint64_t retries;	/* connects tried on a further backend */
	_Atomic uint64_t no_port;	/* connects that had no port to come from */
	_Atomic uint64_t diverted;	/* of its share, to the other color: it had no healthy backend */
	/* Only of UDP: from and to the client, and those that found no way. */
	_Atomic uint64_t datagrams_in, datagrams_out, datagrams_dropped;
	/* Of clients, for a bake: model/judged.h. */
	_Atomic uint64_t exposures, troubles[JUDGE_SEEN_SIGNALS];
	struct tally_histogram connect_seconds;
	struct tally_http *http;	/* NULL: the service is not of HTTP */
};

struct tally {
	_Alignas(64) struct tally_color colors[ENTRANCES][COLORS];
	/* With clients: [TLS 1.3, or else 1.2][resumed, or else whole]. */
	_Atomic uint64_t handshakes[2][2];
	struct tally_histogram handshake_seconds;	/* of those, by tally_request_bounds */
	struct tally_histogram queue_seconds;	/* of clients that have waited, however that ended; likewise */
};

/* Only the owning thread may call these. */
static inline void
tally_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_release);
}
void tally_observe(struct tally_histogram *h, double seconds);
void tally_handshake(struct tally *t, bool tls_1_3, bool resumed, double seconds);
/* A client waits in a queue no more. */
void tally_queued(struct tally *t, double seconds);
/* One request is over: the status its client was sent (499: it left before
 * there was one), and the time from its first byte to the last of the reply.
 * The tally must be of a service of HTTP. */
void tally_request(struct tally_color *t, unsigned status, double seconds);
/* It had come by HTTP/2. */
void tally_http2_request(struct tally_color *t, unsigned status);
/* Its backend has said that status of gRPC. */
void tally_grpc(struct tally_color *t, unsigned status);
/* The backend's answer to one began so long after the request's first byte. */
void tally_first_byte(struct tally_color *t, double seconds);
/* A tick that was due every `every` seconds came so long after the last one;
 * by tally_request_bounds. */
void tally_lag(struct tally_histogram *h, double since, double every);

/* Any thread. */
static inline uint64_t
tally_read(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_acquire);
}

/* The label of requests[i]: "200", "5xx", "other". */
const char *tally_code_word(unsigned i);

/* n zeroed tallies on cache lines of their own, with or without what only HTTP
 * counts; one free() takes all.  Aborts when memory is out. */
struct tally *tally_array(unsigned n, bool http);

#endif
