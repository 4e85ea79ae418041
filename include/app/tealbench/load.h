/* load.h - the load generator: what its threads and its modes share.
 * Times are nanoseconds of CLOCK_MONOTONIC unless a name says otherwise. */
#ifndef APP_TEALBENCH_LOAD_H
#define APP_TEALBENCH_LOAD_H

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "app/tealbench/chunked.h"
#include "app/tealbench/histogram.h"
#include "app/tealbench/options.h"
#include "app/tealbench/secure.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/list.h"
#include "net/addr.h"

#define LOAD_THREADS_MAX 64

static inline uint64_t
load_ns(double seconds)
{
	return (uint64_t)(seconds * 1e9);
}

#define LOAD_SCRATCH (256 * 1024)
#define LOAD_NAMES_MAX 32
#define LOAD_NAME_MAX 64
#define LOAD_NAME_UNSAID (LOAD_NAMES_MAX + 1)

/*	enum                 word */
#define LOAD_ERROR_TABLE(X) \
	X(LOAD_REFUSED,      "refused")	/* no listener there */ \
	X(LOAD_RESET,        "reset")	/* cut by the other side */ \
	X(LOAD_TIMEOUT,      "timeout")	/* no answer, or no progress, in time */ \
	X(LOAD_SHORT,        "short")	/* ended before the answer was whole */ \
	X(LOAD_WRONG_BODY,   "wrong_body")	/* other bytes than expected */ \
	X(LOAD_5XX,          "5xx") \
	X(LOAD_STATUS,       "status")	/* any other status but 2xx */ \
	X(LOAD_PROTOCOL,     "protocol")	/* an answer that is not HTTP */ \
	X(LOAD_TLS,          "tls")	/* no handshake, or no trust */ \
	X(LOAD_CLOSED,       "closed")	/* a held connection went away */ \
	X(LOAD_UNSENT,       "unsent")	/* due in time, but no connection was free for it */ \
	X(LOAD_LOCAL,        "local")	/* out of ports, descriptors or memory here */ \
	X(LOAD_OTHER,        "other")

enum load_error {
#define X(name, word) name,
	LOAD_ERROR_TABLE(X)
#undef X
		LOAD_ERRORS
};

const char *load_error_word(enum load_error e);
enum load_error load_error_from_errno(int error);

struct flow;

enum flow_verdict {
	FLOW_MORE,	/* the answer is not whole yet */
	FLOW_DONE,	/* it is; the connection may serve again */
	FLOW_DONE_LAST,	/* it is; the connection may not */
	FLOW_FAILED,	/* flow->error says how */
};

/* One kind of load. */
struct load_mode {
	const char *word;
	bool fresh;	/* a new connection for each request; connecting is part of it */
	bool hold;	/* one request each, then the connections are kept open */
	bool bulk;	/* long transfers: cut at the end of the time, judged by bytes */
	bool http;
	bool upgrade;	/* http that becomes a WebSocket with its first request */
	const char *alpn;	/* the protocol that TLS has to agree to; NULL: none is named */
	bool datagram;	/* by UDP: a request is one, and so is its answer */
	uint64_t size;	/* default of --size */
	void (*begin)(struct flow *f);	/* sets to_send and what is awaited */
	/* What to send next: *n > 0 bytes, of the flow->to_send - flow->sent left. */
	const char *(*next)(const struct flow *f, uint64_t *n);
	/* Everything is sent; NULL: nothing to do.  False with flow->error. */
	bool (*sent)(struct flow *f);
	enum flow_verdict (*take)(struct flow *f, const char *p, size_t n);	/* n 0: end of file */
	/* Bytes of a connection that was asked nothing; false: it is of no more use.  NULL: they are an error. */
	bool (*unasked)(struct flow *f, const char *p, size_t n);
	/* The bytes need not be looked at, only counted: recv() may drop them. */
	bool (*blind)(const struct flow *f);
};

/* The mode of that word, or NULL. */
const struct load_mode *load_mode_find(const char *word);
extern const struct load_mode load_mode_http, load_mode_http_close, load_mode_http2, load_mode_ws;
/* As load_mode_http.take, of an answer that must be a 101 with nothing after it. */
enum flow_verdict load_http_take_upgrade(struct flow *f, const char *p, size_t n);

/* Told of every request that ended, by the thread that made it. */
struct load_observer {
	void (*done)(struct load_observer *o, struct flow *f, uint64_t now);
	void (*failed)(struct load_observer *o, struct flow *f, enum load_error error, uint64_t now);
};

struct load_config {
	const struct load_mode *mode;
	struct addr target;
	const char *target_text;
	const char *path, *host;	/* http; host NULL: the target */
	const char *name_header;	/* http: in which the answer says who made it */
	const char *sni, *ca;	/* tls; NULL: the host, and whom the system trusts */
	struct option_list headers;	/* http: "Name: value" */
	const char *congestion;	/* NULL: the kernel's */
	uint64_t connections, threads;
	uint64_t requests;	/* 0: as many as the time allows */
	uint64_t rate;	/* a second, over all threads; 0: closed loop */
	uint64_t size, sources;
	uint64_t ports;	/* connections go to so many in turn, from the target's on */
	uint64_t body;	/* http: bytes of the pattern to POST; 0: GET */
	uint64_t per_connection;	/* http: requests on each; 0: no limit */
	double duration, timeout;	/* seconds */
	bool check, hello, json, own;
	bool lasting;	/* a connection that ends is a failure, between requests too */
	bool tls, insecure, resume;
	bool half_close;	/* tcp-connect: end our side with the request, wait for the other's */
	bool pattern_body;	/* http: the path is /bytes/N, N in size */
	struct buf request;	/* http: the bytes of its head */
	struct ssl_ctx_st *context;	/* tls */
	struct load_observer *observer;	/* or NULL */
};

/* Counted by one thread, read by main while it runs. */
struct load_tally {
	_Atomic uint64_t done, bytes_in, bytes_out, open, settled, held, resumed;
	_Atomic uint64_t errors[LOAD_ERRORS];
};

static inline void
load_count(_Atomic uint64_t *counter, uint64_t n)
{
	/* One writer: no locked instruction is needed. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* Who answered, by the names backends give themselves. */
struct load_names {
	unsigned n;
	struct {
		char text[LOAD_NAME_MAX + 1];
		uint64_t count;
	} name[LOAD_NAMES_MAX];
	uint64_t others;	/* more names than fit */
};

/* That name's place in names->name, a new one if need be; LOAD_NAMES_MAX when
 * all are taken. */
unsigned load_names_find(struct load_names *names, struct str name);

enum load_phase {
	LOAD_WARMING,	/* connecting, where connections last */
	LOAD_RUNNING,
	LOAD_CLOSING,	/* nothing new; waiting for the answers under way */
};

struct load_thread {
	const struct load_config *config;
	unsigned index;
	pthread_t id;
	struct ev_loop *loop;
	ev_async stop;	/* at once */
	ev_async finish;	/* nothing new; what is under way is waited for */
	ev_io pace;	/* a timerfd that fires when a request is due */
	ev_timer tick;
	enum load_phase phase;
	struct flow *flows;
	unsigned flow_count;
	unsigned warmed, warming;	/* begun; still at it */
	bool ramping;
	uint64_t quota, issued, busy;
	uint64_t dialed;	/* connects begun */
	uint64_t born, began, ended;	/* thread started, first request due, last answer */
	uint64_t armed;	/* what pace is set to; 0: nothing */
	struct link ready;	/* connections waiting for a request to fall due */
	struct link paused;	/* failed ones waiting for the next tick */
	struct link deadlines;	/* busy flows, the longest untouched first */
	struct histogram latency, connect, handshake;
	struct load_names names;
	struct load_tally tally;
	_Atomic bool finished;
	char *scratch;	/* LOAD_SCRATCH bytes */
};

enum flow_state {
	FLOW_CLOSED,
	FLOW_CONNECTING,
	FLOW_SECURING,	/* TLS shakes hands */
	FLOW_GREETING,
	FLOW_BUSY,
	FLOW_READY,
	FLOW_HELD
};

/* flow - one connection of the load, reused for the next when it ends.
 * Owned by its thread. */
struct flow {
	unsigned magic;
	int fd;
	enum flow_state state;
	enum load_error error;	/* after FLOW_FAILED */
	struct load_thread *thread;
	struct ssl_st *ssl;	/* NULL: plain */
	struct ssl_session_st *session;	/* to resume with, next time */
	int handshake_wants;	/* EV_READ or EV_WRITE */
	unsigned index;	/* over all threads */
	unsigned name;	/* who is at the other end: in thread->names; LOAD_NAME_UNSAID */
	ev_io io;
	struct link link;	/* ready or paused */
	struct link deadline;
	bool warming;	/* being connected before the load begins */
	bool in_request;	/* a request waits for its answer, or for the connection */
	uint64_t intended;	/* when the request was due; latency counts from here */
	uint64_t asked;	/* when it really began: first byte, or connect where that is part of it */
	uint64_t connecting;	/* since when */
	uint64_t served;	/* answers on this connection */
	uint64_t touched;	/* last progress */
	uint64_t serial;	/* of the request, for bytes that differ each time */
	uint64_t to_send, sent, to_take, taken;
	struct load_http2 *http2;	/* NULL: nothing yet */
	struct buf in;	/* what could not be judged yet: half a head, half a line */
	/* http */
	struct chunked chunked;
	bool head_done, chunked_in, until_end, keep;
	unsigned status;
};

void load_thread_init(struct load_thread *t, const struct load_config *config, unsigned index);
void load_thread_free(struct load_thread *t);
void *load_thread_run(void *thread);

/* Checks what was asked for and makes what all threads share; free it with
 * load_config_free().  E_USAGE, E_DENIED with the sentence. */
MUST_USE enum err load_config_settle(struct load_config *config, const char *mode, struct why *why);
void load_config_free(struct load_config *config);

/* The options of a load, for a table of a command's own: n of them at most. */
#define LOAD_OPTIONS_MAX 32
size_t load_options(struct load_config *config, const char **mode, bool *unchecked,
		    struct option_spec table[LOAD_OPTIONS_MAX]);

struct load_sums {
	uint64_t done, errors, bytes, open, settled, held;
};

/* A load from its first connection to its last, watched by main. */
struct load_run {
	const struct load_config *config;
	struct load_thread *threads;	/* config->threads of them */
	struct ev_loop *loop;
	ev_timer poll;
	struct load_run *beside;	/* another one that begins and ends with it; or NULL */
	/* Asked some twenty times a second; true: begin nothing new.  NULL: what
	 * the configuration says is the end. */
	bool (*enough)(struct load_run *run, const struct load_sums *sums);
	uint64_t began, shown_at, shown_done, shown_bytes;
	bool held;	/* the event is out */
	bool closing, interrupted;
};

void load_run_init(struct load_run *run, const struct load_config *config);
void load_run_go(struct load_run *run);	/* returns when all threads have ended */
void load_run_free(struct load_run *run);

/* What all threads came to; freed with free(). */
struct load_total {
	struct histogram latency, connect, handshake;
	struct load_names names;
	uint64_t errors[LOAD_ERRORS], failed, done, bytes_in, bytes_out, held, resumed;
	double seconds;
};

struct load_total *load_total(struct load_thread *threads, unsigned n);
/* Members of a JSON object: a histogram in microseconds; its percentiles, as
 * pairs of percent and microseconds; failures by kind. */
void load_put_histogram(struct json *j, const char *key, const struct histogram *h);
void load_put_curve(struct json *j, const struct histogram *h);
void load_put_errors(struct json *j, const struct load_total *sum);
void load_print_histogram(const char *title, const struct histogram *h);

/* Prints the end result of all threads, as JSON or for people. */
void load_report(const struct load_config *config, struct load_thread *threads, unsigned n);
/* The sums so far, for the progress line. */
struct load_sums load_sum(struct load_thread *threads, unsigned n);

static inline uint64_t
load_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#endif
