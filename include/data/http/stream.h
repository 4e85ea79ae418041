/* stream.h - the client's side of an exchange, as the exchange sees it: one request is read
 * from it and one answer written to it.  What an HTTP version does with that is its
 * table; HTTP/1 has one stream for each connection (data/http/http1_stream.c).
 * Thread: the owning worker. */
#ifndef DATA_HTTP_STREAM_H
#define DATA_HTTP_STREAM_H

#include <netinet/in.h>

#include "data/endpoint.h"
#include "data/http/body_pump.h"
#include "model/ending.h"
#include "proto/http1_edit.h"

struct exchange;
struct http_answer;
struct http_asker;
struct http_stream;
struct session_legs;
struct upstream;
struct worker;

/* Of results: a source or destination that failed is the client. */
struct http_stream_ops {
	/* What a body has for it may be spliced into its socket, unless that is TLS's. */
	bool splices;

	/* HTTP/2 and its kin, whose frames end a body: chunks come off it, and trailers stay with the pump. */
	bool framed;
	const char *protocol;	/* as the log has it; NULL: HTTP/1, the request's */

	/* -- the request -- */

	/* Its head is fine, and an exchange begins. */
	void (*begins)(struct http_stream *s);
	/* What has come with the head may take it back: exchange_dial() follows once that was looked at.  NULL: nothing has. */
	void (*dials_later)(struct http_stream *s);
	/* Moves what has come of the request's body on to the backend. */
	enum pump_result (*read_body)(struct http_stream *s, struct body_pump *up, struct io *backend);
	/* The request has come whole: reads what follows, for later, or finds out that nothing
	 * does (eof). */
	enum pump_result (*read_ahead)(struct http_stream *s);
	/* At its eof: nothing of what it said before is left. */
	bool (*is_last)(const struct http_stream *s);
	/* Asks the socket: the client is gone.  whole: it may have closed its half, for its request has
	 * come. */
	bool (*is_gone)(struct http_stream *s, bool whole);
	/* What is waited for: more of the body, what follows it, room for what is written. */
	void (*want)(struct http_stream *s, bool body, bool ahead, bool room);

	/* -- the answer -- */

	/* Writes a head, edited, with the first bytes of its body, which pump_take() has seen; what the client does not
	 * take now is held by the pump.  last: nothing at all follows.  *bytes: of the
	 * head.  PUMP_BAD: it is too long, and nothing was written. */
	enum pump_result (*write_head)(struct http_stream *s, const struct http1_head *h,
				       const struct http1_edit_response *e, struct body_pump *down,
				       struct str body, bool last, size_t *bytes);
	/* Moves what has come of the body, as pump_move(); from NULL: only what is held. */
	enum pump_result (*write_body)(struct http_stream *s, struct body_pump *down, struct io *from,
				       struct str *surplus);
	/* Writes an answer of Teal's own; *bytes: how many.  False: the client does not take it. */
	bool (*answer)(struct http_stream *s, const struct http_answer *a, const struct http_asker *asker,
		       size_t *bytes);
	/* Bytes of an answer that are to be read at most, for it takes no more now; 0: it takes none until there is an
	 * event for the exchange.  NULL: what it does not take is held. */
	size_t (*room)(struct http_stream *s);
	/* Bytes written that the client's machine has not taken yet. */
	uint64_t (*untaken)(const struct http_stream *s);

	/* -- the end; each after exchange_end() -- */

	/* An answer of Teal's own was written instead of an exchange; taken: the client takes it.  close: nothing may
	 * follow. */
	void (*answered)(struct http_stream *s, bool taken, bool close);
	/* The answer is written: the next request, or goodbye. */
	void (*done)(struct http_stream *s);
	/* Ends by that reason; hard: half of an answer has gone out, which must not look whole. */
	void (*reset)(struct http_stream *s, enum ending ending, bool hard);

	/* -- what it comes by -- */

	/* The connection: whose, and by what TLS. */
	const struct io *(*io)(const struct http_stream *s);
	/* It goes on as a session: composes the head of a 101, with the bytes that follow it, as to_client of legs, and
	 * fills in what else of them is the client's.  *bytes: of the head.  NULL, or why that cannot be. */
	const char *(*upgrade)(struct http_stream *s, const struct http1_head *h,
			const struct http1_edit_response *e, struct str rest, struct session_legs *legs,
			size_t *bytes);
	/* The session has them; after exchange_end(). */
	void (*release)(struct http_stream *s);
};

struct http_stream {
	const struct http_stream_ops *ops;
	struct exchange *exchange;	/* under way; NULL: none */
	struct upstream *own;	/* the connection to a backend that served the client last, or NULL */
	double begun;	/* worker->now: first byte of the request, or since when it lingers */
	/* Of its connection, until a line has told them: seconds that it waited for a place, and that its TLS handshake
	 * took; < 0: none. */
	float queued, tls_seconds;
	uint32_t requests;	/* of the client, begun so far */
	uint8_t entrance;
	uint8_t backend_reset;	/* END_BACKEND_RESET: the code of HTTP/2 by which it did that; 0: it has said none */
	bool tls;	/* it came by TLS */
	bool keep;	/* may bring another request */
	bool close_requested;	/* it asked for nothing to follow, and sent all of its request */
	bool eof;	/* it will say no more */
	bool stays;	/* the process that follows this one does not take its connection */
	char ip[INET6_ADDRSTRLEN];	/* the client's address as text, without port */
	struct endpoint destination;	/* which a PROXY header named; family 0: here */
};

/* For the line of its request: what its connection had waited for, and the request itself in a queue; told once. */
struct http_record;
/* What the access line says of a request; minor0: of HTTP/1.0. */
static inline const char *
http_stream_protocol(const struct http_stream *s, bool minor0)
{
	return s->ops->protocol != NULL ? s->ops->protocol : minor0 ? "HTTP/1.0" : "HTTP/1.1";
}

/* How much of an answer is to be read now; 0: nothing. */
static inline size_t
http_stream_room(struct http_stream *s)
{
	return s->ops->room != NULL ? s->ops->room(s) : SIZE_MAX;
}

void http_stream_tell_waits(struct http_stream *s, double queued, struct http_record *r);

/* Its connection may go to another process.  With a login that belongs to a connection to a backend,
 * that one goes along. */
bool http_stream_may_go(const struct http_stream *s);
/* The next answer is to say that nothing follows: this process ends, and the one that follows cannot have
 * the connection. */
bool http_stream_must_leave(const struct http_stream *s, const struct worker *w);

#endif
