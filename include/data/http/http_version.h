/* http_version.h - how a client's connection goes on that speaks another version of HTTP than 1: the table by
 * which data/http knows it (data/http2/http2_conn.c fills it, proxy_new() names it).
 * Thread: the owning worker. */
#ifndef DATA_HTTP_VERSION_H
#define DATA_HTTP_VERSION_H

#include <stdbool.h>
#include <stddef.h>

#include "model/ending.h"

struct config;
struct deadline;
struct http_conn;
struct worker;

struct http_version {
	const char *alpn;	/* by which TLS clients ask for it */
	/* Plain bytes that begin so are of it; fewer than all of them: perhaps. */
	const char *preface;
	size_t preface_bytes;

	/* -- of a client; c->versed is its -- */

	/* READING: speaks it from now on, beginning with what is in c->in.  False without memory. */
	bool (*begin)(struct http_conn *c);
	void (*on_event)(struct http_conn *c, int revents);
	/* Its deadline. */
	void (*expired)(struct http_conn *c);
	/* Nothing is under way. */
	bool (*is_idle)(const struct http_conn *c);
	/* It is told to bring no more requests, and closed when nothing is under way; again: nothing more. */
	void (*leave)(struct http_conn *c);
	/* Ends what is under way; the caller closes. */
	void (*end)(struct http_conn *c, enum ending ending);
	/* When the loop turn is over that it ended in. */
	void (*free)(struct http_conn *c);

	/* Of a lane's stall_clock: it has had something to send for a while. */
	void (*stalled)(struct deadline *d);
	/* Of its trim_clock: nothing has been under way for a while. */
	void (*trim)(struct deadline *d);
	/* Of its rest_clock: the rest of a request that is answered does not come. */
	void (*rest_expired)(struct deadline *d);

	/* -- of a worker -- */

	/* Makes its buffers large enough for that configuration, before the first client and at each reload. */
	void (*fit)(struct worker *w, const struct config *config);
	/* The turn of the loop is over: writes what has gathered, ... */
	void (*flush)(struct worker *w);
	/* ... and frees streams that have ended, after their exchanges. */
	void (*reap)(struct worker *w);
	void (*destroy)(struct worker *w);
};

extern const struct http_version http2_version;

#endif
