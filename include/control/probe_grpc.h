/* probe_grpc.h - a check by gRPC: the call grpc.health.v1.Health/Check on a connection of HTTP/2 of its own.
 * What a server sends is bounded, in bytes and in frames, and what is no answer has a reason in words.
 * Thread: main. */
#ifndef CONTROL_PROBE_GRPC_H
#define CONTROL_PROBE_GRPC_H

#include "base/buf.h"
#include "base/str.h"

struct probe_grpc;

struct grpc_call {
	const char *service;	/* "": the server as a whole; GRPC_SERVICE_MAX bytes at most */
	const char *authority;
	bool tls;
	double timeout;	/* seconds, told to the server */
};
/* All that is sent to ask: preface, settings, and the call. */
void probe_grpc_ask(struct buf *say, const struct grpc_call *call);

struct probe_grpc *probe_grpc_new(void);
void probe_grpc_free(struct probe_grpc **gp);
/* Where the next bytes go, *n at most; NULL: memory is out. */
char *probe_grpc_room(struct probe_grpc *g, size_t *n);
/* So many have come there, 0: the server has ended.  False: more is to come.  True: it is settled; *error NULL: it
 * is serving, else why not, good as long as this is. */
bool probe_grpc_take(struct probe_grpc *g, size_t n, const char **error);
/* What is to be sent meanwhile, acknowledgements: probe_grpc_said() takes n bytes off it. */
struct str probe_grpc_reply(const struct probe_grpc *g);
void probe_grpc_said(struct probe_grpc *g, size_t n);
/* The frame that ends the connection. */
#define PROBE_GRPC_GOODBYE 17
void probe_grpc_goodbye(char out[PROBE_GRPC_GOODBYE]);

#endif
