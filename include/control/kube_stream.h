/* kube_stream.h - one request to an API server over HTTP/1.1 and its answer as it comes, plain or by TLS.
 * For a thread that may wait: every call waits until its deadline, or until it is told to stop.
 * Owned by one thread. */
#ifndef CONTROL_KUBE_STREAM_H
#define CONTROL_KUBE_STREAM_H

#include "base/buf.h"
#include "net/io.h"
#include "net/tls_client.h"
#include "proto/http1_body.h"
#include "proto/http_url.h"

/* Of one request. */
struct kube_request {
	const struct http_url *server;	/* its target is what stands before every path */
	const char *server_name;	/* that its certificate must carry; NULL: the host of the URL */
	const char *path;	/* "/api/v1/nodes?limit=500" */
	const char *token;	/* bearer token; NULL: none */
	struct ssl_ctx_st *context;	/* of https; NULL with http */
	int stop_fd;	/* readable: stop */
	double deadline;	/* clock_now(): of the answer's head */
};

struct kube_stream {
	struct io io;
	int stop_fd;
	struct buf in;	/* received, not yet looked at */
	struct http1_head head;
	struct http1_body body;
	bool over;	/* of the body nothing is to come */
};

/* Connects, asks and reads the answer's head.  OK: *status is the answer's, and kube_stream_close() is due.
 * E_STORE with the reason: there is no answer. */
MUST_USE enum err kube_stream_open(struct kube_stream *s, const struct kube_request *r, unsigned *status, struct why *why);
/* Appends what comes next of the body to out, waiting for it until `deadline`.  OK: something came, or *ended: the body
 * is whole.  E_STORE with the reason: it is cut short, makes no sense, or did not come in time (*late), or out is full. */
MUST_USE enum err kube_stream_read(struct kube_stream *s, struct buf *out, double deadline, bool *ended, bool *late,
				   struct why *why);
void kube_stream_close(struct kube_stream *s);

/* Waits; false: it is told to stop. */
bool kube_wait(int stop_fd, double seconds);

#endif
