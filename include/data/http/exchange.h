/* exchange.h - one HTTP request and its answer.
 * The color is picked when it begins, and again whenever it is tried anew with
 * nothing spent.  Born in exchange_begin(), ends once in exchange_end(), freed
 * at the end of the loop turn.
 * Thread: the owning worker. */
#ifndef DATA_EXCHANGE_H
#define DATA_EXCHANGE_H

#include "base/buf.h"
#include "data/dial.h"
#include "data/http/stream.h"
#include "data/http/upstream.h"

#define EXCHANGE_MAGIC 0x65786368u
/* Bytes of most requests, with what the log line wants. */
#define EXCHANGE_ROOM 512

/* A response head that came in pieces. */
struct exchange_part {
	struct buf bytes;
	struct http1_head head;
};

struct exchange {
	uint32_t magic;
	bool answering;	/* an answer is on its way to the client */
	bool head_request;	/* HEAD: the answer has no body */
	bool idempotent;	/* may be executed twice (RFC 9110 section 9.2.2) */
	bool streamed;	/* more of its body has passed than `text` holds: it cannot be sent again */
	bool minor0;	/* the client speaks HTTP/1.0 */
	bool json;	/* the client would rather read that than HTML */
	bool events;	/* the client is an EventSource */
	bool upgrade;	/* the client asks for another protocol */
	bool binds;	/* the client logs in, by a scheme that belongs to the connection */
	bool expects;	/* the client waits for a 100 before it sends the body */
	bool fresh;	/* no pooled connection: one has failed it */
	bool informational_sent;	/* an interim answer (1xx) went to the client */
	bool upstream_write_closed;	/* the backend takes no more of the request */
	bool fin_forwarded;	/* the client's end of file went on to it */
	bool kept;	/* the backend will keep the connection, and nothing about it is in doubt */
	uint8_t odd;	/* HTTP1_ODD_BIT() of what was odd about the answer */
	bool was_blocked;	/* at the last look at the pace the client took nothing */
	bool responding;	/* response_clock is the one that runs */
	/* Lane, color, backend; entrance: preview also for single requests of the main
	 * one; deadline: once the backend is reached response, then idle. */
	struct dial dial;
	struct http_stream *stream;	/* the client */
	struct upstream *upstream;
	struct deadline pace;	/* while a body is on its way */
	struct body_pump up, down;
	/* What is sent to the backend: the head and what of the body came with
	 * it; behind it what the log line wants. */
	char *text;
	size_t n_text, sent;
	struct http1_slice method, path, agent, id, host, trace;	/* in text */
	struct http1_slice protocols;	/* likewise: to what the client would upgrade */
	struct exchange_part *part;	/* owned, or NULL */
	uint64_t interim;	/* bytes of the interim heads that have come */
	uint64_t bytes_in, bytes_out;	/* what passed besides the bodies: heads */
	uint64_t marked_up, marked_down;	/* bytes at the last look at the pace */
	unsigned status;	/* sent to the client; 0: none yet */
	uint8_t backend_reset;	/* upstream.reset of the last one */
	int16_t grpc_status;	/* that the backend has said; < 0: none */
	bool grpc;	/* a call of gRPC: its messages come when there are any */
	double asked;	/* seconds from dial.born until the backend was, last */
	double first_byte;	/* seconds from dial.born until the answer's head was there; < 0: it is not */
	char room[EXCHANGE_ROOM];	/* `text`, where that is no longer */
};

struct http1_host;

/* A request whose head is h, at p[0..n) with what came behind it; returns how
 * many bytes were the request's.  The client has an exchange then, or was
 * answered, or has ended. */
size_t exchange_begin(struct http_stream *s, const struct endpoint *peer, struct lane *l, const struct http1_head *h, const struct http1_host *host,
		      const struct http1_body *body, enum entrance entrance, char *p, size_t n);

/* Events: of the client while the exchange goes on, and of the backend's. */
void exchange_on_client(struct exchange *x, int revents);
void exchange_on_upstream(struct exchange *x, int revents);
/* Of lane->http->response_clock and x_idle_clock. */
void exchange_expired(struct deadline *d);
void exchange_pace_expired(struct deadline *d);

/* Gives up: answers, if nothing was answered yet, or cuts. */
void exchange_fail(struct exchange *x, enum ending ending, const char *reason);
/* The client is gone: so is what it had asked for. */
void exchange_abort(struct exchange *x, enum ending ending);

/* -- between exchange.c and exchange_*.c ------------------------------------- */

/* x->text is not used any more. */
void exchange_drop_text(struct exchange *x);
/* x->text: the head, what of the body is in hand, and behind it what is asked of it later.  False
 * without memory, or room for the head. */
MUST_USE bool exchange_compose(struct exchange *x, const struct http1_head *h, const struct http1_host *host,
			       const char *body, size_t n);
/* What was kept of the body that has passed joins x->text, and is sent again with it.  False without memory. */
MUST_USE bool exchange_compose_again(struct exchange *x);

/* The connection is there: sends the request. */
void exchange_ask(struct exchange *x);
extern const struct dial_ops exchange_dial_ops;

/* Of a request that is whole: reaches a backend, after those who wait for one. */
void exchange_dial(struct exchange *x);
/* The backend is gone, or useless, before there was an answer; tries another
 * when that is right.  reason: NULL for the ending's own words. */
void exchange_lost(struct exchange *x, enum ending ending, const char *reason);
/* Reads what the backend says.  False: the exchange is over, or begins anew. */
MUST_USE bool exchange_read_answer(struct exchange *x);
/* The client takes bytes again. */
MUST_USE bool exchange_push_answer(struct exchange *x);
/* An answer that was begun cannot be finished: its reader must notice. */
void exchange_cut(struct exchange *x, enum ending ending, const char *reason);
/* Ends it without an answer; the client's exchange is NULL then. */
void exchange_end(struct exchange *x, enum ending ending, const char *reason);
void exchange_drop_upstream(struct exchange *x);
void exchange_forget_part(struct exchange *x);

/* The client says no more, and nothing is left of what it has said. */
static inline bool
exchange_client_is_done(const struct exchange *x)
{
	return x->stream->eof && x->stream->ops->is_last(x->stream);
}

/* For the client so far. */
static inline uint64_t
exchange_bytes_out(const struct exchange *x)
{
	return x->bytes_out + x->down.passed;
}

static inline struct str
exchange_text(const struct exchange *x, struct http1_slice s)
{
	return (struct str){ x->text != NULL ? x->text + s.at : "", s.n };
}

#endif
