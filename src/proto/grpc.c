/* grpc.c - statuses, and the two messages of a health check.  Any thread. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "proto/grpc.h"

bool
grpc_status_is_fault(unsigned status)
{
	static const bool faults[GRPC_STATUSES] = { [2] = true, [4] = true, [12] = true, [13] = true, [14] = true, [15] = true };

	return status < GRPC_STATUSES && faults[status];
}

const char *
grpc_status_word(unsigned status)
{
	static const char *const words[] = {
#define X(number, name) [number] = (name),
		GRPC_STATUS_TABLE(X)
#undef X
	};

	_Static_assert(ARRAY_LEN(words) == GRPC_STATUSES, "a name for each");
	return status < GRPC_STATUSES ? words[status] : "other";
}

bool
grpc_status_read(struct str value, unsigned *status)
{
	uint64_t n;

	if (value.n > 3 || !str_to_u64(value, 999, &n))
		return false;
	*status = (unsigned)n;
	return true;
}

void
grpc_message_text(struct str value, char *out, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < value.n && at + 1 < n; i++) {
		unsigned char c = (unsigned char)value.p[i];

		if (c == '%' && value.n - i > 2 && hex_digit(value.p[i + 1]) >= 0 && hex_digit(value.p[i + 2]) >= 0) {
			c = (unsigned char)(hex_digit(value.p[i + 1]) * 16 + hex_digit(value.p[i + 2]));
			i += 2;
		}
		out[at++] = c >= ' ' && c < 0x7f ? (char)c : '.';
	}
	out[at] = '\0';
}

/* -- grpc.health.v1 ------------------------------------------------------------------ */

/* Their one field has the number 1. */
#define SERVICE_TAG (1 << 3 | 2)
#define SERVING_TAG (1 << 3 | 0)

static const char *const serving_words[] = { "UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN" };

size_t
grpc_health_ask(struct str service, char out[GRPC_HEALTH_ASK_MAX])
{
	char *p = out + GRPC_MESSAGE_HEAD;
	size_t n;

	CHECK(service.n <= GRPC_SERVICE_MAX);
	/* A field that is empty is not there (proto3). */
	if (service.n > 0) {
		*p++ = SERVICE_TAG;
		if (service.n >= 128) {
			*p++ = (char)(0x80 | (service.n & 0x7f));
			*p++ = (char)(service.n >> 7);
		} else {
			*p++ = (char)service.n;
		}
		memcpy(p, service.p, service.n);
		p += service.n;
	}
	n = (size_t)(p - out) - GRPC_MESSAGE_HEAD;
	memset(out, 0, GRPC_MESSAGE_HEAD);
	out[3] = (char)(n >> 8);
	out[4] = (char)n;
	return (size_t)(p - out);
}

const char *
grpc_health_word(unsigned serving)
{
	return serving < ARRAY_LEN(serving_words) ? serving_words[serving] : "another status";
}

/* False: cut short, or longer than 64 bits. */
static bool
take_varint(struct str *rest, uint64_t *value)
{
	*value = 0;
	for (unsigned bits = 0; bits < 64 && rest->n > 0; bits += 7) {
		unsigned char c = (unsigned char)*rest->p++;

		rest->n--;
		*value |= (uint64_t)(c & 0x7f) << bits;
		if (c < 0x80)
			return true;
	}
	return false;
}

/* The value of a field that is not looked at, by its wire type. */
static bool
pass_field(struct str *rest, unsigned type)
{
	uint64_t n;

	switch (type) {
	case 0:
		return take_varint(rest, &n);
	case 1:
		n = 8;
		break;
	case 2:
		if (!take_varint(rest, &n))
			return false;
		break;
	case 5:
		n = 4;
		break;
	default:
		return false;
	}
	if (n > rest->n)
		return false;
	*rest = (struct str){ rest->p + n, rest->n - (size_t)n };
	return true;
}

static bool
read_serving(struct str rest, unsigned *serving)
{
	uint64_t tag, value;

	*serving = 0;
	while (rest.n > 0) {
		if (!take_varint(&rest, &tag) || tag >> 3 == 0)
			return false;
		if (tag != SERVING_TAG) {
			if (!pass_field(&rest, tag & 7))
				return false;
			continue;
		}
		/* The last one counts. */
		if (!take_varint(&rest, &value))
			return false;
		*serving = value > 99 ? 99 : (unsigned)value;
	}
	return true;
}

const char *
grpc_health_read(struct str data, unsigned *serving)
{
	const unsigned char *p = (const unsigned char *)data.p;
	uint32_t n;

	if (data.n == 0)
		return "no message in its answer";
	if (data.n < GRPC_MESSAGE_HEAD)
		return "message cut short";
	if (p[0] != 0)
		return "compressed message, without having been asked for one";
	n = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
	if (n != data.n - GRPC_MESSAGE_HEAD)
		return n > data.n - GRPC_MESSAGE_HEAD ? "message cut short" : "more than one message in its answer";
	if (!read_serving((struct str){ data.p + GRPC_MESSAGE_HEAD, n }, serving))
		return "malformed HealthCheckResponse";
	return NULL;
}
