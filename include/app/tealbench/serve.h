/* serve.h - the light backend: what its threads and its modes share. */
#ifndef APP_TEALBENCH_SERVE_H
#define APP_TEALBENCH_SERVE_H

#include <ev.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/tealbench/chunked.h"
#include "base/buf.h"
#include "base/list.h"
#include "net/addr.h"
#include "proto/http1_head.h"

#define SERVE_THREADS_MAX 64
/* One read takes at most this much; so does one turn of a peer's writing,
 * times four. */
#define SERVE_SCRATCH (128 * 1024)
/* What a peer would not take yet is kept up to here; then reading stops. */
#define SERVE_HELD_MAX (256 * 1024)

struct peer;

/* What a mode does.  Each returns false when the connection is over. */
struct serve_mode {
	const char *word;
	bool (*start)(struct peer *p);	/* just accepted */
	bool (*ready)(struct peer *p, int revents);	/* EV_READ and EV_WRITE */
	bool (*timer)(struct peer *p);	/* p->timer fired; NULL: never started */
	int (*wants)(const struct peer *p);	/* the interest that follows from the state */
};

extern const struct serve_mode serve_mode_http, serve_mode_echo, serve_mode_hello, serve_mode_sink,
	serve_mode_source, serve_mode_mute;

/* Counted by all threads. */
struct serve_totals {
	_Atomic uint64_t connections, requests;
};

struct serve_config {
	const char *name;
	const struct serve_mode *mode;
	const char *congestion;	/* NULL: the kernel's */
	uint64_t bytes;	/* source: sent to everybody at once, unasked; 0: who asks */
	struct serve_totals *totals;
};

struct serve_thread {
	const struct serve_config *config;
	struct ev_loop *loop;
	ev_async stop;
	struct link peers;
	struct serve_listener *listeners;
	unsigned listener_count;
	struct http1_head head;	/* parsed anew for each try: no peer owns one */
	char *scratch;	/* SERVE_SCRATCH bytes */
};

struct serve_listener {
	struct serve_thread *thread;
	struct addr addr;
	ev_io io;
	ev_timer pause;	/* out of descriptors: try again later */
};

/* Where one HTTP request stands. */
enum http_phase {
	HTTP_HEAD,	/* its head is still arriving */
	HTTP_BODY,	/* so is its body; /echo answers meanwhile */
	HTTP_DELAY,	/* waiting before the answer */
	HTTP_BYTES,	/* sending the pattern */
	HTTP_CHUNKS,	/* sending a chunk now and then */
	HTTP_FLUSH,	/* all is produced; send what is held */
	HTTP_LINGER,	/* answered for good; eating what still comes */
};

struct http_exchange {
	enum http_phase phase;
	enum { ROUTE_WHO, ROUTE_BYTES, ROUTE_DELAY, ROUTE_STATUS, ROUTE_STREAM, ROUTE_ECHO,
	       ROUTE_HEADERS, ROUTE_ERROR } route;
	bool keep, head_only, echoing, chunked_in, chunked_out;
	uint64_t body_left;	/* of a body with Content-Length */
	struct chunked chunked;
	uint64_t number, every_ms;	/* what the path asked for */
	uint64_t offset;	/* of the pattern, sent so far */
	unsigned status;
	struct buf shown;	/* /headers: the head as it came */
};

/* peer - one accepted connection.  Born in listener_on_accept(), dies in
 * peer_end(); its thread owns it. */
struct peer {
	unsigned magic;
	int fd;
	struct link link;
	struct serve_thread *thread;
	struct serve_listener *listener;
	ev_io io;
	ev_timer timer;
	struct buf in, out;
	uint64_t id, requests;
	uint64_t taken, left;	/* bytes: of sink and source */
	bool eof;
	bool greeted;
	struct http_exchange http;
};

/* One read into the thread's scratch.  n > 0: bytes; 0: end of file, p->eof
 * is set; -1: nothing now; -2: the connection is broken. */
int64_t peer_read(struct peer *p);
/* Sends now what the peer takes and keeps the rest.  False: broken, or more
 * than SERVE_HELD_MAX would be held. */
bool peer_send(struct peer *p, const void *data, size_t n);
/* Sends what is held; false: broken. */
bool peer_flush(struct peer *p);
/* Sends up to n bytes of the pattern straight from it, only while nothing is
 * held; what was sent, or -1: broken. */
int64_t peer_send_pattern(struct peer *p, uint64_t offset, uint64_t n);

#endif
