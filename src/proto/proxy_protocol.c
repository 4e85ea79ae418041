/* proxy_protocol.c - reads and writes PROXY headers.  Pure; any thread.
 * The specification is doc/proxy-protocol.txt of HAProxy (2020/03/05). */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "proto/proxy_protocol.h"

static const char v1_signature[] = "PROXY ";
#define V1_SIGNATURE 6
static const char v2_signature[] = "\r\n\r\n\0\r\nQUIT\n";
#define V2_SIGNATURE 12
/* Signature, version and command, family and transport, length. */
#define V2_HEAD 16

/* Version and command; family and transport: as they stand on the wire. */
#define V2_LOCAL 0x20
#define V2_PROXY 0x21
#define V2_UNSPEC 0x00
#define V2_TCP4 0x11
#define V2_TCP6 0x21
#define V2_UNIX 0x31
/* Bytes that the addresses take. */
#define V2_TCP4_SIZE 12
#define V2_TCP6_SIZE 36
#define V2_UNIX_SIZE 216

#define TLV_CRC32C 0x03
#define TLV_UNIQUE_ID 0x05

const char *
proxy_reason_words(enum proxy_reason r)
{
	static const char *const words[] = {
#define X(name, words_) [name] = (words_),
		PROXY_REASON_TABLE(X)
#undef X
	};

	CHECK((size_t)r < ARRAY_LEN(words));
	return words[r];
}

/* -- version 1 ------------------------------------------------------------- */

/* The next word of a line whose words stand one space apart: true, and *rest
 * goes on behind it.  Both are empty after the last. */
static struct str
next_word(struct str *rest)
{
	const char *space = rest->n > 0 ? memchr(rest->p, ' ', rest->n) : NULL;
	struct str word = { rest->p, space != NULL ? (size_t)(space - rest->p) : rest->n };
	size_t skip = word.n + (space != NULL);

	*rest = (struct str){ rest->p + skip, rest->n - skip };
	return word;
}

static bool
read_ip(struct str word, int family, uint8_t ip[16])
{
	char text[INET6_ADDRSTRLEN];

	/* A NUL would end the text early. */
	return memchr(word.p, '\0', word.n) == NULL && str_copy(text, sizeof(text), word) &&
	       inet_pton(family, text, ip) == 1;
}

static bool
read_v1_port(struct str word, uint16_t *port)
{
	uint64_t v;

	if ((word.n > 1 && word.p[0] == '0') || !str_to_u64(word, 65535, &v))
		return false;
	*port = (uint16_t)v;
	return true;
}

/* "TCP4 1.2.3.4 5.6.7.8 9 10", without signature and line end. */
static enum proxy_reason
read_v1_line(struct str line, struct proxy_header *out)
{
	struct str protocol = next_word(&line), source, destination, source_port;
	int family;

	/* What follows UNKNOWN is to be ignored. */
	if (str_eq(protocol, "UNKNOWN"))
		return PROXY_FINE;
	if (!str_eq(protocol, "TCP4") && !str_eq(protocol, "TCP6"))
		return PROXY_PROTOCOL_BAD;
	out->family = str_eq(protocol, "TCP4") ? PROXY_IP4 : PROXY_IP6;
	family = out->family == PROXY_IP4 ? AF_INET : AF_INET6;
	source = next_word(&line);
	destination = next_word(&line);
	source_port = next_word(&line);
	if (!read_ip(source, family, out->source.ip) || !read_ip(destination, family, out->destination.ip))
		return PROXY_ADDRESS_BAD;
	/* The rest is the last word: a space in it is no digit. */
	if (!read_v1_port(source_port, &out->source.port) || !read_v1_port(line, &out->destination.port))
		return PROXY_PORT_BAD;
	return PROXY_FINE;
}

static enum proxy_verdict
parse_v1(const char *p, size_t n, struct proxy_header *out, enum proxy_reason *reason)
{
	size_t end = V1_SIGNATURE, seen = n < PROXY_V1_MAX ? n : PROXY_V1_MAX;

	while (end < seen && p[end] != '\r' && p[end] != '\n')
		end++;
	if (end == seen || (p[end] == '\r' && end + 1 == seen)) {
		if (seen < PROXY_V1_MAX)
			return PROXY_NEED_MORE;
		*reason = PROXY_LINE_LONG;
		return PROXY_BAD;
	}
	*reason = PROXY_LINE_END;
	if (p[end] != '\r' || p[end + 1] != '\n')
		return PROXY_BAD;
	out->version = 1;
	out->length = end + 2;
	*reason = read_v1_line((struct str){ p + V1_SIGNATURE, end - V1_SIGNATURE }, out);
	return *reason == PROXY_FINE ? PROXY_DONE : PROXY_BAD;
}

/* -- version 2 ------------------------------------------------------------- */

static unsigned
get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* CRC-32C (Castagnoli), reflected, by half bytes: such headers are short and
 * seldom. */
static uint32_t
crc32c(uint32_t crc, const uint8_t *p, size_t n)
{
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
		0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};

	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return crc;
}

/* The checksum of the header in which its own four bytes, at `at`, are 0. */
static bool
is_sound(const uint8_t *p, size_t n, size_t at)
{
	static const uint8_t zero[4];
	uint32_t crc = crc32c(0xffffffff, p, at), said;

	crc = crc32c(crc, zero, sizeof(zero));
	crc = ~crc32c(crc, p + at + 4, n - at - 4);
	said = (uint32_t)get16(p + at) << 16 | get16(p + at + 2);
	return crc == said;
}

/* Type, length of two bytes, value; p[at..n) must be full of them. */
static enum proxy_reason
check_tlvs(const uint8_t *p, size_t at, size_t n)
{
	size_t checksum = 0;
	bool long_id = false;

	while (at < n) {
		size_t size;

		if (n - at < 3 || (size = get16(p + at + 1)) > n - at - 3)
			return PROXY_TLV_BAD;
		if (p[at] == TLV_CRC32C) {
			if (size != 4 || checksum != 0)
				return PROXY_TLV_BAD;
			checksum = at + 3;
		} else if (p[at] == TLV_UNIQUE_ID) {
			long_id |= size > PROXY_UNIQUE_ID_MAX;
		}
		at += 3 + size;
	}
	if (checksum != 0 && !is_sound(p, n, checksum))
		return PROXY_CHECKSUM_BAD;
	return long_id ? PROXY_UNIQUE_ID_LONG : PROXY_FINE;
}

static void
get_end(struct proxy_end *e, const uint8_t *ip, size_t size, const uint8_t *port)
{
	memcpy(e->ip, ip, size);
	e->port = (uint16_t)get16(port);
}

/* The whole header is there. */
static enum proxy_reason
read_v2(const uint8_t *p, size_t n, struct proxy_header *out)
{
	const uint8_t *a = p + V2_HEAD;
	enum proxy_reason reason;
	size_t size = 0;

	out->version = 2;
	out->length = n;
	out->local = p[12] == V2_LOCAL;
	/* Of LOCAL everything else is to be thrown away, unread. */
	if (out->local)
		return PROXY_FINE;
	switch (p[13]) {
	case V2_TCP4:
		out->family = PROXY_IP4;
		size = V2_TCP4_SIZE;
		break;
	case V2_TCP6:
		out->family = PROXY_IP6;
		size = V2_TCP6_SIZE;
		break;
	case V2_UNIX:
		out->family = PROXY_UNIX;
		size = V2_UNIX_SIZE;
		break;
	}
	if (n - V2_HEAD < size)
		return PROXY_TOO_SHORT;
	if (out->family == PROXY_IP4) {
		get_end(&out->source, a, 4, a + 8);
		get_end(&out->destination, a + 4, 4, a + 10);
	} else if (out->family == PROXY_IP6) {
		get_end(&out->source, a, 16, a + 32);
		get_end(&out->destination, a + 16, 16, a + 34);
	}
	reason = check_tlvs(p, V2_HEAD + size, n);
	/* What stands behind UNSPEC is to be ignored, TLVs or not. */
	if (p[13] == V2_UNSPEC && (reason == PROXY_TLV_BAD || reason == PROXY_UNIQUE_ID_LONG))
		return PROXY_FINE;
	return reason;
}

/* What is wrong with the fixed part, of which n bytes are there.  Each byte is
 * judged when it comes, so that the first wrong one decides. */
static enum proxy_reason
judge_v2_head(const uint8_t *p, size_t n)
{
	if (n > 12 && p[12] >> 4 != 2)
		return PROXY_VERSION_BAD;
	if (n > 12 && p[12] != V2_LOCAL && p[12] != V2_PROXY)
		return PROXY_COMMAND_BAD;
	if (n > 13 && p[12] == V2_PROXY && p[13] != V2_UNSPEC && p[13] != V2_TCP4 && p[13] != V2_TCP6 &&
	    p[13] != V2_UNIX)
		return PROXY_FAMILY_BAD;
	if (n >= V2_HEAD && get16(p + 14) > PROXY_V2_MAX - V2_HEAD)
		return PROXY_TOO_LONG;
	return PROXY_FINE;
}

static enum proxy_verdict
parse_v2(const uint8_t *p, size_t n, struct proxy_header *out, enum proxy_reason *reason)
{
	size_t length;

	if ((*reason = judge_v2_head(p, n)) != PROXY_FINE)
		return PROXY_BAD;
	if (n < V2_HEAD || n < (length = V2_HEAD + get16(p + 14)))
		return PROXY_NEED_MORE;
	*reason = read_v2(p, length, out);
	return *reason == PROXY_FINE ? PROXY_DONE : PROXY_BAD;
}

/* -- both ------------------------------------------------------------------ */

static bool
begins(const void *p, size_t n, const char *signature, size_t size)
{
	return memcmp(p, signature, n < size ? n : size) == 0;
}

enum proxy_verdict
proxy_header_parse(const void *p, size_t n, struct proxy_header *out, enum proxy_reason *reason)
{
	enum proxy_reason unused;

	if (reason == NULL)
		reason = &unused;
	*reason = PROXY_FINE;
	memset(out, 0, sizeof(*out));
	if (n == 0)
		return PROXY_NEED_MORE;
	if (begins(p, n, v1_signature, V1_SIGNATURE))
		return n <= V1_SIGNATURE ? PROXY_NEED_MORE : parse_v1(p, n, out, reason);
	if (begins(p, n, v2_signature, V2_SIGNATURE))
		return n <= V2_SIGNATURE ? PROXY_NEED_MORE : parse_v2(p, n, out, reason);
	*reason = PROXY_SIGNATURE;
	return PROXY_BAD;
}

/* -- writing --------------------------------------------------------------- */

static size_t
write_v1(const struct proxy_header *h, char out[PROXY_WRITE_MAX])
{
	bool six = h->family == PROXY_IP6;
	char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
	int family = six ? AF_INET6 : AF_INET;

	if (h->local || (!six && h->family != PROXY_IP4))
		return (size_t)snprintf(out, PROXY_WRITE_MAX, "PROXY UNKNOWN\r\n");
	inet_ntop(family, h->source.ip, source, sizeof(source));
	inet_ntop(family, h->destination.ip, destination, sizeof(destination));
	return (size_t)snprintf(out, PROXY_WRITE_MAX, "PROXY %s %s %s %u %u\r\n", six ? "TCP6" : "TCP4",
				source, destination, h->source.port, h->destination.port);
}

static uint8_t *
put_octets(uint8_t *to, const void *p, size_t n)
{
	memcpy(to, p, n);
	return to + n;
}

static uint8_t *
put16(uint8_t *to, unsigned v)
{
	to[0] = (uint8_t)(v >> 8);
	to[1] = (uint8_t)v;
	return to + 2;
}

static size_t
write_v2(const struct proxy_header *h, uint8_t *out)
{
	bool six = h->family == PROXY_IP6, named = !h->local && (six || h->family == PROXY_IP4);
	size_t ip = six ? 16 : 4;
	uint8_t *to = put_octets(out, v2_signature, V2_SIGNATURE);

	*to++ = h->local ? V2_LOCAL : V2_PROXY;
	*to++ = !named ? V2_UNSPEC : six ? V2_TCP6 : V2_TCP4;
	to = put16(to, !named ? 0 : six ? V2_TCP6_SIZE : V2_TCP4_SIZE);
	if (!named)
		return V2_HEAD;
	to = put_octets(to, h->source.ip, ip);
	to = put_octets(to, h->destination.ip, ip);
	to = put16(to, h->source.port);
	to = put16(to, h->destination.port);
	return (size_t)(to - out);
}

size_t
proxy_header_write(const struct proxy_header *h, char out[PROXY_WRITE_MAX])
{
	return h->version == 1 ? write_v1(h, out) : write_v2(h, (uint8_t *)out);
}
