/* tls_hello.h - the first thing a TLS client says, as far as it tells whom the
 * client wants (RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3).
 * Strict: what no client sends is refused.  Only looks: the bytes stay for the TLS
 * handshake that follows.  Pure. */
#ifndef PROTO_TLS_HELLO_H
#define PROTO_TLS_HELLO_H

#include <stddef.h>
#include <stdint.h>

/* The longest ClientHello that is taken; and with the heads of the records that
 * carry it, which it may span as it likes. */
#define TLS_HELLO_MESSAGE_MAX (64 * 1024)
#define TLS_HELLO_MAX (TLS_HELLO_MESSAGE_MAX + 2 * 1024)
#define TLS_HELLO_NAME 256

enum tls_hello_verdict { TLS_HELLO_DONE, TLS_HELLO_NEED_MORE, TLS_HELLO_BAD };

/* Why not; the words are for logs. */
enum tls_hello_reason {
	TLS_HELLO_HTTP,	/* a request of plain HTTP */
	TLS_HELLO_SSL2,	/* the hello of SSL 2 */
	TLS_HELLO_OTHER,	/* no record of TLS that opens a handshake */
	TLS_HELLO_LENGTH,	/* lengths that do not fit together */
	TLS_HELLO_LONG,	/* longer than what is taken */
	TLS_HELLO_CONTENT,	/* a part of it is not what it must be */
	TLS_HELLO_NAME_BAD	/* the name is none */
};

struct tls_hello {
	char name[TLS_HELLO_NAME];	/* SNI, in lower case, no dot at its end; "": none */
	size_t n_name;
	uint16_t version;	/* the highest offered: 0x0304 is TLS 1.3; GREASE apart */
	size_t length;	/* DONE: bytes of the records that carry it */
	size_t wanted;	/* NEED_MORE: a whole one has at least so many bytes, or its next record ends there */
};

/* Looks at all that has come so far, p[0..n).  *reason is set when BAD.  The
 * fields are only meaningful as their comments say. */
enum tls_hello_verdict
tls_hello_parse(const void *p, size_t n, struct tls_hello *out, enum tls_hello_reason *reason);

const char *tls_hello_reason_words(enum tls_hello_reason r);

/* A record with the one fatal alert in it, from before any encryption. */
#define TLS_ALERT_SIZE 7
enum tls_alert {
	TLS_ALERT_UNEXPECTED_MESSAGE = 10,
	TLS_ALERT_ILLEGAL_PARAMETER = 47,
	TLS_ALERT_DECODE_ERROR = 50,
	TLS_ALERT_PROTOCOL_VERSION = 70,
	TLS_ALERT_INTERNAL_ERROR = 80,
	TLS_ALERT_UNRECOGNIZED_NAME = 112
};
void tls_alert_write(enum tls_alert alert, char out[TLS_ALERT_SIZE]);
/* The alert that fits. */
enum tls_alert tls_hello_alert(enum tls_hello_reason r);

#endif
