/* serve.h - the light backend: what its threads and its modes share. */
#ifndef APP_TEALBENCH_SERVE_H
#define APP_TEALBENCH_SERVE_H

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/tealbench/chunked.h"
#include "app/tealbench/options.h"
#include "app/tealbench/secure.h"
#include "base/buf.h"
#include "base/json.h"
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
	/* UDP, and the socket is ready: there are no peers; else NULL. */
	void (*datagrams)(struct ev_loop *loop, ev_io *w, int revents);
};

extern const struct serve_mode serve_mode_http, serve_mode_echo, serve_mode_hello, serve_mode_sink,
	serve_mode_source, serve_mode_mute, serve_mode_udp;

/* What a deliberately bad backend does to every so-manieth request (in TCP
 * modes: connection), so that what is to notice can be shown to notice.
 *	enum           word     what */
#define SERVE_BREAK_TABLE(X) \
	X(BREAK_NOT,   "none")	/* it is good */ \
	X(BREAK_RESET, "reset")	/* cuts the connection */ \
	X(BREAK_CLOSE, "close")	/* ends it in good order, unanswered */ \
	X(BREAK_SHORT, "short")	/* ends it in the middle of the answer */ \
	X(BREAK_BODY,  "body")	/* one byte of the body is another */ \
	X(BREAK_5XX,   "5xx")	/* answers 503 */ \
	X(BREAK_LATE,  "late")	/* answers two seconds later */ \
	X(BREAK_LIE,   "lie")	/* gives the other color's name */

enum serve_break {
#define X(name, word) name,
	SERVE_BREAK_TABLE(X)
#undef X
		SERVE_BREAKS
};

#define SERVE_LABELS_MAX 64
#define SERVE_LABEL_MAX 32

/* Requests by what one header said; under the totals' lock. */
struct serve_labels {
	unsigned n;
	struct {
		char text[SERVE_LABEL_MAX + 1];
		uint64_t count;
	} label[SERVE_LABELS_MAX];
	uint64_t others;	/* more values than fit */
};

/* Counted by all threads. */
struct serve_totals {
	_Atomic uint64_t connections, requests, open, broken, bytes_in;
	pthread_mutex_t lock;
	struct serve_labels colors, epochs;	/* X-Teal-Color, X-Teal-Epoch */
};

struct serve_config {
	const char *name, *lie;	/* who it is, and whom it names when it lies */
	const struct serve_mode *mode;
	struct ssl_ctx_st *context;	/* NULL: plain */
	enum serve_break broken;
	uint64_t break_every;
	struct buf headers;	/* further lines of every answer's head */
	uint64_t die_after;	/* requests, or connections in TCP modes; 0: never */
	const char *congestion;	/* NULL: the kernel's */
	uint64_t bytes;	/* source: sent to every client at once, unasked; 0: when asked */
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
	HTTP_WS,	/* no longer HTTP: WebSocket */
	HTTP_LINGER,	/* answered for good; eating what still comes */
};

/* The WebSocket frame being echoed. */
struct ws {
	uint64_t left, at;	/* payload still to come; and behind us */
	unsigned char mask[4];
	unsigned opcode;
	bool in_frame;
};

struct http_exchange {
	enum http_phase phase;
	enum {
		ROUTE_WHO,
		ROUTE_BYTES,
		ROUTE_STATUS,
		ROUTE_STREAM,
		ROUTE_ECHO,
		ROUTE_HEADERS,
		ROUTE_STATS,
		ROUTE_SLOW,
		ROUTE_DIE,
		ROUTE_WS,
		ROUTE_ERROR
	} route;
	bool keep, head_only, chunked_in, chunked_out;
	enum serve_break broken;	/* what is wrong with this one */
	uint64_t body_left;	/* of a body with Content-Length */
	struct chunked chunked;
	uint64_t number, every_ms;	/* what the path asked for */
	uint64_t delay_ms;	/* before the answer */
	uint64_t budget;	/* /slow: bytes that may be taken now */
	uint64_t offset;	/* of the pattern, sent so far */
	unsigned status;
	struct ws ws;
	char ws_key[25];
	struct buf shown;	/* /headers: the head as it came */
};

/* peer - one accepted connection.  Born in listener_on_accept(), dies in
 * peer_end(); its thread owns it. */
struct peer {
	unsigned magic;
	int fd;
	struct ssl_st *ssl;	/* NULL: plain */
	int handshake_wants;	/* EV_READ or EV_WRITE; 0: it is over */
	struct link link;
	struct serve_thread *thread;
	struct serve_listener *listener;
	ev_io io;
	ev_timer timer;
	struct buf in, out;
	uint64_t id, requests;
	uint64_t taken, left;	/* bytes: of sink and source */
	bool eof;
	bool lies;
	struct http_exchange http;
};

/* Listens on all of the list with n threads, says so, and serves until a
 * SIGTERM or SIGINT. */
MUST_USE enum err
serve_run(const struct serve_config *config, const struct option_list *list, unsigned n, struct why *why);

/* One read into the thread's scratch.  n > 0: bytes; 0: end of file, p->eof
 * is set; -1: nothing now; -2: the connection is broken. */
int64_t peer_read(struct peer *p);
/* Sends now what the peer takes and keeps the rest.  False: broken, or more
 * than SERVE_HELD_MAX would be held. */
bool peer_send(struct peer *p, const void *data, size_t n);
/* Sends what is held; false: broken. */
bool peer_flush(struct peer *p);
/* Ends our direction; false: broken. */
bool peer_end_sending(struct peer *p);
/* Closing will cut the connection. */
void peer_will_reset(struct peer *p);
/* The next request (or connection) is counted; what is to go wrong with it.
 * May end the process: --die-after. */
enum serve_break serve_turn(const struct serve_config *config);
/* Everything that was counted, as the members of a JSON object. */
void serve_put_totals(struct json *j, const struct serve_config *config);
void serve_count_label(struct serve_totals *totals, struct serve_labels *labels, struct str value);
/* Sends up to n bytes of the pattern straight from it, only while nothing is
 * held; what was sent, or -1: broken. */
int64_t peer_send_pattern(struct peer *p, uint64_t offset, uint64_t n);

/* Answers of HTTP (serve_answer.c).  Each writes into p->out and sets the
 * phase that follows; false: it does not fit. */
bool answer_head(struct peer *p, unsigned status, const char *type, int64_t length);
bool answer_text(struct peer *p, unsigned status, const char *type, struct str body);
bool answer_who(struct peer *p, unsigned status);
bool answer_stats(struct peer *p);
bool answer_short(struct peer *p);
bool answer_error(struct peer *p, unsigned status, const char *words);
/* Which route a request takes; p->http gets what the path says. */
void answer_route(struct http_exchange *x, struct str method, struct str path);

/* WebSocket (serve_ws.c): is it asked for in good order, and with which key;
 * the answer to that; one step of the echo. */
enum ws_verdict {
	WS_ON,	/* done something */
	WS_MORE,	/* more bytes are needed */
	WS_OVER,	/* closed in good order */
	WS_BAD
};
bool ws_wanted(const struct http1_head *h, struct str *key);
bool ws_answer(struct peer *p, struct str key);
enum ws_verdict ws_step(struct peer *p);

#endif
