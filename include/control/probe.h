/* probe.h - one check of one address: can it be connected to, now, and does it
 * answer what it should?
 * Thread: main. */
#ifndef CONTROL_PROBE_H
#define CONTROL_PROBE_H

#include <ev.h>

#include "base/str.h"
#include "control/probe_answer.h"
#include "model/config.h"
#include "net/addr.h"

struct probe;

/* What an answer says beside its verdict. */
#define PROBE_TOLD_TEXT 2048
struct probe_told {
	unsigned status;	/* of HTTP; 0: it is none */
	char kept[PROBE_KEPT];	/* the value of the header that is kept; "": there is none */
	char text[PROBE_TOLD_TEXT];	/* the line, or the body as far as it is here and fits */
	size_t n;
	bool fresh;	/* set by the probe; cleared by a reader that keeps what it has read, for all that hear this
			 * answer after it */
};

struct probe_request {
	const struct addr *to;
	const struct addr *source;	/* NULL or empty: the kernel chooses */
	double timeout;	/* seconds for all of it */
	/* A header of the PROXY protocol goes first: the probe is teald's own connection, for no client (LOCAL).
	 * Version 1 has no word for that which all receivers take (Apache closes the connection for UNKNOWN, and
	 * Varnish and gunicorn do not take it either), so there it names the probe's own addresses; at a Unix
	 * socket, where there are none, it is UNKNOWN. */
	enum proxy_send proxy;
	/* By TLS from there on: NULL for plain; and what its certificate must say. */
	struct ssl_ctx_st *tls;
	const char *server_name;
	struct str send;	/* sent then, copied; empty: nothing */
	/* The status line that an HTTP server must answer with; NULL: nothing is
	 * read, to be connected (and to have sent) is enough. */
	const struct status_set *expect;
	unsigned *status;	/* where that of the answer goes before done is called; NULL: nowhere */
	/* All of the answer is judged, as a client's would be (probe_answer.h); NULL:
	 * the status line alone. */
	const struct http_config *http;
	/* Of http: what its body must hold; NULL: anything.  head: it answers a HEAD, and has none. */
	const char *expect_body;
	bool head;
	/* Said and heard then, in this order (without expect); n_steps 0: nothing. */
	const struct check_step *steps;
	size_t n_steps;
	/* Where it goes right before done is called, and what it is: with http, of a header that is
	 * kept.  Several probes may share one.  NULL: nowhere. */
	struct probe_told *told;
	const char *keep;
	bool line;	/* one line of text is heard, the answer that is told, whatever is in it */
	bool datagram;	/* by UDP; steps begin with one that is sent */
	bool grpc;	/* what is sent is a call by HTTP/2 (probe_grpc.h), whose answer is judged; by TLS "h2" is agreed first */
	/* The configuration that expect, http, expect_body and steps are of: the probe takes a reference, for
	 * a reload may replace it meanwhile.  NULL: it outlives the probe. */
	const struct config *tree;
};

/* error is NULL when all was as it should be within the timeout, else a short
 * reason such as "connection refused", "timed out after 1 s" or "HTTP status
 * 503".  The probe is gone when this is called. */
typedef void probe_done_fn(void *arg, const char *error, double seconds);

/* Never calls done from inside.  Returns NULL when it could not even begin; done is not called then and
 * *error says why, errno too: it is teald that lacks something, no fault of the
 * other side's. */
struct probe *probe_start(struct ev_loop *loop, const struct probe_request *request, probe_done_fn *done, void *arg,
			  const char **error);
/* Gives up without calling done; *pp is NULL on return. */
void probe_cancel(struct probe **pp);

#endif
