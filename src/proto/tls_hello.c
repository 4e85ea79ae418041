/* tls_hello.c - reads a ClientHello.  Pure. */
#include <stdbool.h>
#include <string.h>

#include "base/check.h"
#include "proto/tls_hello.h"

#define RECORD_HEAD 5
#define RECORD_MAX 16384
#define RECORD_HANDSHAKE 22
#define MESSAGE_HEAD 4
#define CLIENT_HELLO 1
#define EXTENSION_NAME 0
#define EXTENSION_VERSIONS 43

/* The bytes of the message, with the heads of the records between them left
 * out; what was not sent yet, or is not there to be had, ends the reading. */
struct reader {
	const uint8_t *p;
	size_t n;	/* bytes that came */
	size_t at;	/* the next one */
	size_t record;	/* bytes left of the record that is read */
	size_t message;	/* bytes left of the message */
	size_t wanted;	/* missing: with fewer there is no going on */
	bool missing, bad;
	enum tls_hello_reason why;
};

static bool
refuse_hello(struct reader *r, enum tls_hello_reason why)
{
	if (!r->bad && !r->missing) {
		r->bad = true;
		r->why = why;
	}
	return false;
}

static bool
lacks(struct reader *r, size_t wanted)
{
	if (!r->bad && !r->missing) {
		r->missing = true;
		r->wanted = wanted;
	}
	return false;
}

/* Where the rest of the message ends, in records as long as they may be. */
static size_t
least_end(const struct reader *r)
{
	return r->at + r->message + (r->message + RECORD_MAX - 1) / RECORD_MAX * RECORD_HEAD;
}

/* The head of the next record; the whole record is waited for, and what the
 * message has left: a hello in a thousand records is not looked at for each. */
static bool
next_record(struct reader *r)
{
	const uint8_t *h = r->p + r->at;
	size_t have = r->n - r->at, length, least = least_end(r);

	if (least > TLS_HELLO_MAX)
		return refuse_hello(r, TLS_HELLO_LONG);

	if ((have > 0 && h[0] != RECORD_HANDSHAKE) || (have > 1 && h[1] != 3))
		return refuse_hello(r, TLS_HELLO_OTHER);
	if (have < RECORD_HEAD)
		return lacks(r, least);
	length = (size_t)h[3] << 8 | h[4];
	if (length == 0 || length > RECORD_MAX)
		return refuse_hello(r, TLS_HELLO_LENGTH);
	if (r->at + RECORD_HEAD + length > TLS_HELLO_MAX)
		return refuse_hello(r, TLS_HELLO_LONG);
	/* What it is shows in its first bytes: not a client's, not worth waiting for. */
	if (r->at == 0 && have > RECORD_HEAD && h[RECORD_HEAD] != CLIENT_HELLO)
		return refuse_hello(r, TLS_HELLO_OTHER);
	if (have < RECORD_HEAD + length) {
		size_t end = r->at + RECORD_HEAD + length;

		return lacks(r, end > least ? end : least);
	}
	r->at += RECORD_HEAD;
	r->record = length;
	return true;
}

/* The next n bytes, n at least 1 and mostly few, to out unless that is NULL. */
static bool
take_bytes(struct reader *r, size_t n, uint8_t *out)
{
	if (r->bad || r->missing)
		return false;
	if (n > r->message)
		return refuse_hello(r, TLS_HELLO_LENGTH);
	while (n > 0) {
		size_t part;

		if (r->record == 0 && !next_record(r))
			return false;
		part = n < r->record ? n : r->record;
		if (out != NULL) {
			memcpy(out, r->p + r->at, part);
			out += part;
		}
		r->at += part;
		r->record -= part;
		r->message -= part;
		n -= part;
	}
	return true;
}

/* A number of so many bytes; 0 when it cannot be had. */
static size_t
read_number(struct reader *r, unsigned bytes)
{
	uint8_t b[3] = { 0 };
	size_t v = 0;

	if (!take_bytes(r, bytes, b))
		return 0;
	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | b[i];
	return v;
}

static bool
skip_bytes(struct reader *r, size_t n)
{
	return n == 0 ? !r->bad && !r->missing : take_bytes(r, n, NULL);
}

/* A vector: its length stands before it, in so many bytes; of one that is too
 * short, too long or no multiple of unit nothing is skipped. */
static bool
vector(struct reader *r, unsigned bytes, size_t least, size_t most, size_t unit)
{
	size_t n = read_number(r, bytes);

	if (r->bad || r->missing)
		return false;
	if (n < least || n > most || n % unit != 0)
		return refuse_hello(r, TLS_HELLO_CONTENT);
	return skip_bytes(r, n);
}

/* Printable and in lower case. */
static bool
settle_name(struct reader *r, struct tls_hello *out)
{
	for (size_t i = 0; i < out->n_name; i++) {
		unsigned char c = (unsigned char)out->name[i];

		if (c <= ' ' || c >= 0x7f)
			return refuse_hello(r, TLS_HELLO_NAME_BAD);
		if (c >= 'A' && c <= 'Z')
			out->name[i] = (char)(c + 32);
	}
	if (out->n_name > 0 && out->name[out->n_name - 1] == '.')
		out->n_name--;
	out->name[out->n_name] = '\0';
	return out->n_name > 0 || refuse_hello(r, TLS_HELLO_NAME_BAD);
}

/* server_name: a list of names of several kinds, of which one is in use. */
static bool
read_server_names(struct reader *r, size_t size, struct tls_hello *out)
{
	size_t end, list;

	if (size < 2)
		return refuse_hello(r, TLS_HELLO_CONTENT);
	list = read_number(r, 2);
	if (r->bad || r->missing)
		return false;
	if (list != size - 2 || list == 0)
		return refuse_hello(r, TLS_HELLO_CONTENT);
	end = r->message - list;
	while (r->message > end) {
		size_t kind = read_number(r, 1), n = read_number(r, 2);

		if (r->bad || r->missing)
			return false;
		if (r->message < end || n > r->message - end)
			return refuse_hello(r, TLS_HELLO_LENGTH);
		if (kind != 0) {
			if (!skip_bytes(r, n))
				return false;
			continue;
		}
		if (n == 0 || n >= TLS_HELLO_NAME || out->n_name > 0)
			return refuse_hello(r, TLS_HELLO_NAME_BAD);
		if (!take_bytes(r, n, (uint8_t *)out->name))
			return false;
		out->n_name = n;
		if (!settle_name(r, out))
			return false;
	}
	return true;
}

/* supported_versions: the highest that is one, and none of those made up to
 * keep us flexible (RFC 8701). */
static bool
read_versions(struct reader *r, size_t size, struct tls_hello *out)
{
	size_t n = read_number(r, 1);

	if (r->bad || r->missing)
		return false;
	if (n != size - 1 || n < 2 || n % 2 != 0)
		return refuse_hello(r, TLS_HELLO_CONTENT);
	for (; n > 0; n -= 2) {
		size_t v = read_number(r, 2);

		if (r->bad || r->missing)
			return false;
		if (v >> 8 == 3 && v > out->version)
			out->version = (uint16_t)v;
	}
	return true;
}

static bool
read_extensions(struct reader *r, struct tls_hello *out)
{
	bool named = false, versions = false;
	size_t all;

	/* The oldest clients have none. */
	if (r->message == 0)
		return true;
	all = read_number(r, 2);
	if (r->bad || r->missing)
		return false;
	if (all != r->message)
		return refuse_hello(r, TLS_HELLO_LENGTH);
	while (r->message > 0) {
		size_t type = read_number(r, 2), size = read_number(r, 2);

		if (r->bad || r->missing)
			return false;
		if (size > r->message)
			return refuse_hello(r, TLS_HELLO_LENGTH);
		if ((type == EXTENSION_NAME && named) ||
		    (type == EXTENSION_VERSIONS && (versions || size == 0)))
			return refuse_hello(r, TLS_HELLO_CONTENT);
		named |= type == EXTENSION_NAME;
		versions |= type == EXTENSION_VERSIONS;
		if (!(type == EXTENSION_NAME     ? read_server_names(r, size, out) :
		      type == EXTENSION_VERSIONS ? read_versions(r, size, out) :
						   skip_bytes(r, size)))
			return false;
	}
	return true;
}

static bool
read_client_hello(struct reader *r, struct tls_hello *out)
{
	size_t length;

	r->message = MESSAGE_HEAD;
	if (read_number(r, 1) != CLIENT_HELLO)
		return refuse_hello(r, TLS_HELLO_OTHER);
	length = read_number(r, 3);
	if (r->bad || r->missing)
		return false;
	if (length > TLS_HELLO_MESSAGE_MAX - MESSAGE_HEAD)
		return refuse_hello(r, TLS_HELLO_LONG);
	r->message = length;
	out->version = (uint16_t)read_number(r, 2);
	if (!skip_bytes(r, 32) || !vector(r, 1, 0, 32, 1) || !vector(r, 2, 2, 65534, 2) ||
	    !vector(r, 1, 1, 255, 1) || !read_extensions(r, out))
		return false;
	/* The client has nothing more to say before it was answered. */
	return r->record == 0 || refuse_hello(r, TLS_HELLO_LENGTH);
}

static enum tls_hello_reason
name_stranger(const uint8_t *p, size_t n)
{
	static const char *const methods[] = { "GET ", "POST", "HEAD", "PUT ", "DELE",
					       "OPTI", "PATC", "CONN", "TRAC", "PRI " };

	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (n >= 4 && memcmp(p, methods[i], 4) == 0)
			return TLS_HELLO_HTTP;
	return n >= 3 && (p[0] & 0x80) != 0 && p[2] == CLIENT_HELLO ? TLS_HELLO_SSL2 : TLS_HELLO_OTHER;
}

enum tls_hello_verdict
tls_hello_parse(const void *p, size_t n, struct tls_hello *out, enum tls_hello_reason *reason)
{
	struct reader r = { .p = p, .n = n };

	memset(out, 0, sizeof(*out));
	if (read_client_hello(&r, out)) {
		out->length = r.at;
		return TLS_HELLO_DONE;
	}
	if (r.missing) {
		out->wanted = r.wanted;
		return TLS_HELLO_NEED_MORE;
	}
	/* Strangers give themselves away by a few bytes more. */
	if (r.why == TLS_HELLO_OTHER && n < 4 && ((const uint8_t *)p)[0] != RECORD_HANDSHAKE) {
		out->wanted = 4;
		return TLS_HELLO_NEED_MORE;
	}
	*reason = r.why == TLS_HELLO_OTHER ? name_stranger(p, n) : r.why;
	return TLS_HELLO_BAD;
}

const char *
tls_hello_reason_words(enum tls_hello_reason r)
{
	switch (r) {
	case TLS_HELLO_HTTP:
		return "plain HTTP where TLS is spoken";
	case TLS_HELLO_SSL2:
		return "a ClientHello of SSL 2";
	case TLS_HELLO_OTHER:
		return "no ClientHello of TLS";
	case TLS_HELLO_LENGTH:
		return "a ClientHello whose lengths do not fit";
	case TLS_HELLO_LONG:
		return "a ClientHello longer than 64 KiB";
	case TLS_HELLO_CONTENT:
		return "a ClientHello with a part that is none";
	case TLS_HELLO_NAME_BAD:
		return "a ClientHello with a name that is none";
	}
	return "";
}

enum tls_alert
tls_hello_alert(enum tls_hello_reason r)
{
	switch (r) {
	case TLS_HELLO_SSL2:
		return TLS_ALERT_PROTOCOL_VERSION;
	/* As OpenSSL says it: what is too long for us may be well-formed. */
	case TLS_HELLO_LONG:
		return TLS_ALERT_ILLEGAL_PARAMETER;
	case TLS_HELLO_LENGTH:
	case TLS_HELLO_CONTENT:
	case TLS_HELLO_NAME_BAD:
		return TLS_ALERT_DECODE_ERROR;
	case TLS_HELLO_HTTP:
	case TLS_HELLO_OTHER:
		break;
	}
	return TLS_ALERT_UNEXPECTED_MESSAGE;
}

void
tls_alert_write(enum tls_alert alert, char out[TLS_ALERT_SIZE])
{
	/* alert(21), the version that all records carry, 2 bytes: fatal(2), which. */
	static const char head[] = { 21, 3, 3, 0, 2, 2 };

	memcpy(out, head, sizeof(head));
	out[TLS_ALERT_SIZE - 1] = (char)alert;
}
