/* grpc.h - what gRPC adds to HTTP/2: the status of a call, and messages in DATA; and of its standard service
 * grpc.health.v1.Health the one call Check, whose two messages have a single field each.
 * Sources: "gRPC over HTTP2" (PROTOCOL-HTTP2.md), "Statuscodes" and "GRPC Health Checking Protocol" of grpc/grpc,
 * "Protocol Buffers: Encoding".  Pure. */
#ifndef PROTO_GRPC_H
#define PROTO_GRPC_H

#include <stdbool.h>

#include "base/str.h"

/*	number, name */
#define GRPC_STATUS_TABLE(X) \
	X(0, "OK") \
	X(1, "CANCELLED") \
	X(2, "UNKNOWN") \
	X(3, "INVALID_ARGUMENT") \
	X(4, "DEADLINE_EXCEEDED") \
	X(5, "NOT_FOUND") \
	X(6, "ALREADY_EXISTS") \
	X(7, "PERMISSION_DENIED") \
	X(8, "RESOURCE_EXHAUSTED") \
	X(9, "FAILED_PRECONDITION") \
	X(10, "ABORTED") \
	X(11, "OUT_OF_RANGE") \
	X(12, "UNIMPLEMENTED") \
	X(13, "INTERNAL") \
	X(14, "UNAVAILABLE") \
	X(15, "DATA_LOSS") \
	X(16, "UNAUTHENTICATED")
#define GRPC_STATUSES 17
#define GRPC_OK 0
#define GRPC_NOT_FOUND 5
#define GRPC_UNIMPLEMENTED 12

/* Is it a fault of the server's?  Those that its mapping to HTTP makes a 5xx of: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED,
 * INTERNAL, UNAVAILABLE and DATA_LOSS (google.rpc.Code). */
bool grpc_status_is_fault(unsigned status);
/* "UNAVAILABLE"; of a number that has no name "other". */
const char *grpc_status_word(unsigned status);
/* The value of grpc-status: decimal, at most 999.  False: it is none. */
bool grpc_status_read(struct str value, unsigned *status);
/* The value of grpc-message, percent-encoded, into words for people: at most n - 1 bytes and a NUL, what is not
 * printable ASCII as a dot. */
void grpc_message_text(struct str value, char *out, size_t n);

/* Each message has a head: whether it is compressed, and its length. */
#define GRPC_MESSAGE_HEAD 5

#define GRPC_HEALTH_PATH "/grpc.health.v1.Health/Check"
/* A name of a service is no longer. */
#define GRPC_SERVICE_MAX 1024
/* HealthCheckRequest with its head; service: "": the server as a whole.  Returns its bytes. */
#define GRPC_HEALTH_ASK_MAX (GRPC_MESSAGE_HEAD + 3 + GRPC_SERVICE_MAX)
size_t grpc_health_ask(struct str service, char out[GRPC_HEALTH_ASK_MAX]);

/* HealthCheckResponse.ServingStatus. */
#define GRPC_SERVING 1
/* "NOT_SERVING"; of a number that has no name "another status". */
const char *grpc_health_word(unsigned serving);
/* All DATA of an answer: NULL and *serving, or why it is not one message of that type. */
const char *grpc_health_read(struct str data, unsigned *serving);

#endif
