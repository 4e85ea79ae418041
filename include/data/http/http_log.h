/* http_log.h - the access line of one HTTP request, and its counters.
 * Thread: the owning worker. */
#ifndef DATA_HTTP_LOG_H
#define DATA_HTTP_LOG_H

#include "data/endpoint.h"
#include "data/lane.h"
#include "data/tried.h"

struct http_record {
	struct lane *lane;
	const struct backend *backend;	/* NULL: none was reached */
	const struct tried *tried;	/* NULL: none failed */
	struct endpoint client;
	struct tls *tls;	/* the client's; NULL: it came without */
	enum entrance entrance;
	enum color color;
	uint64_t epoch;
	struct str method, host, path, agent, id, trace;	/* of the request; empty: not known */
	const char *protocol;	/* "HTTP/1.1"; "": not known */
	bool http2;	/* it came by that */
	unsigned status;	/* sent to the client; 499: it left before */
	int grpc_status;	/* that the backend has said (grpc-status); < 0: none */
	uint64_t bytes_in, bytes_out;
	double seconds, connect_seconds;
	double queue_seconds;	/* that it waited, and before its first request the client */
	double tls_seconds;	/* of the client's handshake; < 0: none, or of an earlier request */
	double first_byte_seconds;	/* until the backend's answer began; < 0: there was none */
	double backend_seconds;	/* the same from the moment that the backend was asked */
	unsigned retries;
	enum ending ending;
	const char *reason;	/* why Teal answered itself, or cut; NULL: it did not */
};

void http_log(const struct http_record *r);

#endif
