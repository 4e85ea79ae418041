/* test_proxy_protocol.c - each header is parsed whole, at every cut and
 * against a guard page, with a stream behind it and without; all must agree. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/hash.h"
#include "proto/proxy_protocol.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define ROOM (2 * PROXY_V2_MAX)

/* A copy whose last byte is followed by a page nobody may read. */
static char *
guarded(const void *bytes, size_t n)
{
	static char *pages;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (pages == NULL) {
		pages = mmap(NULL, ROOM + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(pages != MAP_FAILED);
		assert_int_equal(mprotect(pages + ROOM, page, PROT_NONE), 0);
	}
	assert_true(n <= ROOM);
	return memcpy(pages + ROOM - n, bytes, n);
}

/* The verdict on all of it; that on every part of it must be the same, or
 * "need more" before the byte that decided. */
static enum proxy_verdict
parse_all_ways(const void *p, size_t n, struct proxy_header *out, enum proxy_reason *reason)
{
	enum proxy_verdict whole = proxy_header_parse(guarded(p, n), n, out, reason);
	bool decided = false;

	for (size_t cut = 0; cut <= n; cut += n > 2048 && cut > 256 && cut + 256 < n ? 97 : 1) {
		struct proxy_header h;
		enum proxy_reason r;
		enum proxy_verdict v = proxy_header_parse(guarded(p, cut), cut, &h, &r);

		if (whole == PROXY_DONE)
			assert_int_equal(v, cut < out->length ? PROXY_NEED_MORE : PROXY_DONE);
		if (v == PROXY_NEED_MORE) {
			assert_false(decided);
			continue;
		}
		decided = true;
		assert_int_equal(v, whole);
		assert_int_equal(r, *reason);
		if (v == PROXY_DONE)
			assert_memory_equal(&h, out, sizeof(h));
	}
	assert_int_equal(decided, whole != PROXY_NEED_MORE);
	return whole;
}

static struct proxy_header
good(const void *p, size_t n)
{
	struct proxy_header h, again;
	enum proxy_reason reason;
	char stream[ROOM];

	if (parse_all_ways(p, n, &h, &reason) != PROXY_DONE)
		fail_msg("refused: %s", proxy_reason_words(reason));
	assert_int_equal(h.length, n);
	/* What follows belongs to the stream, even when it looks like a header. */
	memcpy(stream, p, n);
	memcpy(stream + n, "PROXY UNKNOWN\r\n", 15);
	assert_int_equal(parse_all_ways(stream, n + 15, &again, &reason), PROXY_DONE);
	assert_memory_equal(&h, &again, sizeof(h));
	return h;
}

static void
assert_end(const struct proxy_header *h, const struct proxy_end *e, const char *ip, unsigned port)
{
	char text[INET6_ADDRSTRLEN];

	inet_ntop(h->family == PROXY_IP4 ? AF_INET : AF_INET6, e->ip, text, sizeof(text));
	assert_string_equal(text, ip);
	assert_int_equal(e->port, port);
}

static void
assert_bad(const void *p, size_t n, enum proxy_reason expected)
{
	struct proxy_header h;
	enum proxy_reason reason;

	if (parse_all_ways(p, n, &h, &reason) != PROXY_BAD)
		fail_msg("accepted, or waited for: %.*s", (int)n, (const char *)p);
	if (reason != expected)
		fail_msg("%.*s: %s", (int)n, (const char *)p, proxy_reason_words(reason));
}

/* Version 1 */

static void
test_v1_addresses(void **state)
{
	static const struct {
		const char *line, *source, *destination;
		unsigned source_port, destination_port;
		enum proxy_family family;
	} cases[] = {
		{ "PROXY TCP4 192.168.0.1 10.0.0.2 56324 443\r\n", "192.168.0.1", "10.0.0.2", 56324, 443,
		  PROXY_IP4 },
		{ "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255",
		  "255.255.255.255", 65535, 65535, PROXY_IP4 },
		{ "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0", "0.0.0.0", 0, 0, PROXY_IP4 },
		{ "PROXY TCP6 2001:db8::7 ::1 1 2\r\n", "2001:db8::7", "::1", 1, 2, PROXY_IP6 },
		{ "PROXY TCP6 ::ffff:1.2.3.4 2001:DB8::A 80 81\r\n", "::ffff:1.2.3.4", "2001:db8::a", 80, 81,
		  PROXY_IP6 },
		{ "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		  "65535 65535\r\n",
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535,
		  65535, PROXY_IP6 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct proxy_header h = good(cases[i].line, strlen(cases[i].line));

		assert_int_equal(h.version, 1);
		assert_false(h.local);
		assert_int_equal(h.family, cases[i].family);
		assert_end(&h, &h.source, cases[i].source, cases[i].source_port);
		assert_end(&h, &h.destination, cases[i].destination, cases[i].destination_port);
	}
}

static void
test_v1_unknown_says_nothing(void **state)
{
	static const char *const lines[] = {
		"PROXY UNKNOWN\r\n",
		"PROXY UNKNOWN \r\n",
		"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
		"PROXY UNKNOWN TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		assert_int_equal(good(lines[i], strlen(lines[i])).family, PROXY_UNKNOWN);
}

static void
test_v1_length(void **state)
{
	char line[PROXY_V1_MAX + 2];

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "PROXY UNKNOWN ", 14);
	memcpy(line + PROXY_V1_MAX - 2, "\r\n", 2);
	assert_int_equal(good(line, PROXY_V1_MAX).length, PROXY_V1_MAX);
	memcpy(line + PROXY_V1_MAX - 2, "x\r\n", 3);
	assert_bad(line, PROXY_V1_MAX + 1, PROXY_LINE_LONG);
	memset(line + PROXY_V1_MAX - 2, 'x', 4);
	assert_bad(line, sizeof(line), PROXY_LINE_LONG);
}

static void
test_v1_refused(void **state)
{
	static const struct {
		const char *line;
		enum proxy_reason reason;
	} cases[] = {
		{ "GET / HTTP/1.1\r\n", PROXY_SIGNATURE },
		{ "POST / HTTP/1.1\r\n", PROXY_SIGNATURE },
		{ "PROXY\tTCP4", PROXY_SIGNATURE },
		{ "proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n", PROXY_SIGNATURE },
		{ " PROXY UNKNOWN\r\n", PROXY_SIGNATURE },
		{ "\x16\x03\x01", PROXY_SIGNATURE },
		{ "PROXY UNKNOWN\n", PROXY_LINE_END },
		{ "PROXY UNKNOWN\r\r\n", PROXY_LINE_END },
		{ "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", PROXY_LINE_END },
		{ "PROXY \r\n", PROXY_PROTOCOL_BAD },
		{ "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n", PROXY_PROTOCOL_BAD },
		{ "PROXY TCP 1.2.3.4 5.6.7.8 1 2\r\n", PROXY_PROTOCOL_BAD },
		{ "PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n", PROXY_PROTOCOL_BAD },
		{ "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", PROXY_PROTOCOL_BAD },
		{ "PROXY UNKNOWN6 \r\n", PROXY_PROTOCOL_BAD },
		{ "PROXY TCP4\r\n", PROXY_ADDRESS_BAD },
		{ "PROXY TCP4 \r\n", PROXY_ADDRESS_BAD },
		{ "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", PROXY_ADDRESS_BAD },
		{ "PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n", PROXY_ADDRESS_BAD },
		{ "PROXY TCP4 1.2.3.4\r\n", PROXY_ADDRESS_BAD },
		{ "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n", PROXY_ADDRESS_BAD },
		{ "PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n", PROXY_ADDRESS_BAD },
		{ "PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n", PROXY_ADDRESS_BAD },
		{ "PROXY TCP4 ::1 ::1 1 2\r\n", PROXY_ADDRESS_BAD },
		{ "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", PROXY_ADDRESS_BAD },
		{ "PROXY TCP6 fe80::1%lo ::1 1 2\r\n", PROXY_ADDRESS_BAD },
		{ "PROXY TCP6 [::1] ::1 1 2\r\n", PROXY_ADDRESS_BAD },
		{ "PROXY TCP4 1.2.3.4 5.6.7.8\r\n", PROXY_PORT_BAD },
		{ "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", PROXY_PORT_BAD },
		{ "PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n", PROXY_PORT_BAD },
		{ "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n", PROXY_PORT_BAD },
		{ "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", PROXY_PORT_BAD },
		{ "PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n", PROXY_PORT_BAD },
		{ "PROXY TCP4 1.2.3.4 5.6.7.8 1 00\r\n", PROXY_PORT_BAD },
		{ "PROXY TCP4 1.2.3.4 5.6.7.8 080 2\r\n", PROXY_PORT_BAD },
		{ "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n", PROXY_PORT_BAD },
		{ "PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n", PROXY_PORT_BAD },
		{ "PROXY TCP4 1.2.3.4 5.6.7.8 1 99999999999999999999\r\n", PROXY_PORT_BAD },
	};
	static const char nul[] = "PROXY TCP4 1.2.3.4\0 5.6.7.8 1 2\r\n";

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_bad(cases[i].line, strlen(cases[i].line), cases[i].reason);
	assert_bad(nul, sizeof(nul) - 1, PROXY_ADDRESS_BAD);
}

/* Version 2 */

struct v2 {
	unsigned char bytes[ROOM];
	size_t n;
};

static void
v2_begin(struct v2 *v, unsigned command, unsigned family)
{
	memcpy(v->bytes, SIGNATURE, 12);
	v->bytes[12] = (unsigned char)command;
	v->bytes[13] = (unsigned char)family;
	v->n = 16;
}

static void
v2_add(struct v2 *v, const void *p, size_t n)
{
	memcpy(v->bytes + v->n, p, n);
	v->n += n;
}

static void
v2_tlv(struct v2 *v, unsigned type, const void *p, size_t n)
{
	unsigned char head[3] = { (unsigned char)type, (unsigned char)(n >> 8), (unsigned char)n };

	v2_add(v, head, 3);
	v2_add(v, p, n);
}

static void
v2_end(struct v2 *v)
{
	v->bytes[14] = (unsigned char)((v->n - 16) >> 8);
	v->bytes[15] = (unsigned char)(v->n - 16);
}

#define TCP4_BLOCK "\xc0\xa8\x00\x01\x0a\x00\x00\x02\xdc\x04\x01\xbb"

static struct v2
v2_tcp4(void)
{
	struct v2 v;

	v2_begin(&v, 0x21, 0x11);
	v2_add(&v, TCP4_BLOCK, 12);
	v2_end(&v);
	return v;
}

static void
test_v2_addresses(void **state)
{
	unsigned char path[216] = "/run/some.sock";
	struct proxy_header h;
	struct v2 v = v2_tcp4();

	(void)state;
	h = good(v.bytes, v.n);
	assert_int_equal(h.version, 2);
	assert_int_equal(h.family, PROXY_IP4);
	assert_end(&h, &h.source, "192.168.0.1", 56324);
	assert_end(&h, &h.destination, "10.0.0.2", 443);

	v2_begin(&v, 0x21, 0x21);
	v2_add(&v, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07", 16);
	v2_add(&v, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x50\xff\xff", 20);
	v2_end(&v);
	h = good(v.bytes, v.n);
	assert_int_equal(h.family, PROXY_IP6);
	assert_end(&h, &h.source, "2001:db8::7", 80);
	assert_end(&h, &h.destination, "::1", 65535);

	v2_begin(&v, 0x21, 0x31);
	v2_add(&v, path, sizeof(path));
	v2_end(&v);
	assert_int_equal(good(v.bytes, v.n).family, PROXY_UNIX);
}

static void
test_v2_unspec_and_local_say_nothing(void **state)
{
	static const unsigned families[] = { 0x00, 0x11, 0x12, 0x21, 0x31, 0xff };
	struct proxy_header h;
	struct v2 v;

	(void)state;
	v2_begin(&v, 0x21, 0x00);
	v2_end(&v);
	h = good(v.bytes, v.n);
	assert_int_equal(h.family, PROXY_UNKNOWN);
	assert_false(h.local);
	/* An address block of no known form is to be ignored. */
	v2_add(&v, "\xff\xff\xff\xff\xff", 5);
	v2_end(&v);
	assert_int_equal(good(v.bytes, v.n).family, PROXY_UNKNOWN);
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		v2_begin(&v, 0x20, families[i]);
		v2_end(&v);
		h = good(v.bytes, v.n);
		assert_true(h.local);
		assert_int_equal(h.family, PROXY_UNKNOWN);
		v2_add(&v, TCP4_BLOCK "junk", 16);
		v2_end(&v);
		h = good(v.bytes, v.n);
		assert_true(h.local);
		assert_int_equal(h.family, PROXY_UNKNOWN);
	}
}

static void
test_v2_refused(void **state)
{
	static const unsigned families[] = { 0x01, 0x02, 0x10, 0x12, 0x13, 0x20,
					     0x22, 0x30, 0x32, 0x33, 0x41, 0xff };
	struct v2 v = v2_tcp4();

	(void)state;
	for (size_t i = 0; i < 12; i++) {
		struct v2 wrong = v;

		wrong.bytes[i] ^= 0x20;
		assert_bad(wrong.bytes, i + 1, PROXY_SIGNATURE);
	}
	v.bytes[12] = 0x11;
	assert_bad(v.bytes, v.n, PROXY_VERSION_BAD);
	v.bytes[12] = 0x31;
	assert_bad(v.bytes, 13, PROXY_VERSION_BAD);
	for (unsigned command = 2; command < 16; command++) {
		v.bytes[12] = (unsigned char)(0x20 | command);
		assert_bad(v.bytes, 13, PROXY_COMMAND_BAD);
	}
	v.bytes[12] = 0x21;
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		v.bytes[13] = (unsigned char)families[i];
		assert_bad(v.bytes, 14, PROXY_FAMILY_BAD);
	}
	v = v2_tcp4();
	for (v.bytes[15] = 0; v.bytes[15] < 12; v.bytes[15]++)
		assert_bad(v.bytes, v.n, PROXY_TOO_SHORT);
	v.bytes[13] = 0x21;
	v.bytes[15] = 12;
	assert_bad(v.bytes, v.n, PROXY_TOO_SHORT);
}

static void
test_v2_length(void **state)
{
	static const unsigned char filler[PROXY_V2_MAX];
	struct v2 v = v2_tcp4();

	(void)state;
	v2_tlv(&v, 0x04, filler, PROXY_V2_MAX - v.n - 3);
	v2_end(&v);
	assert_int_equal(good(v.bytes, v.n).length, PROXY_V2_MAX);
	/* One more is refused before it has arrived. */
	v.n++;
	v2_end(&v);
	assert_bad(v.bytes, 16, PROXY_TOO_LONG);
	v.bytes[14] = v.bytes[15] = 0xff;
	assert_bad(v.bytes, 16, PROXY_TOO_LONG);
}

static void
test_v2_tlvs_are_stepped_over(void **state)
{
	struct proxy_header h;
	static const char unique_id[PROXY_UNIQUE_ID_MAX + 1] = "a7";
	struct v2 v = v2_tcp4(), bad;

	(void)state;
	v2_tlv(&v, 0x01, "h2", 2);
	v2_tlv(&v, 0x02, "example.org", 11);
	v2_tlv(&v, 0x04, "", 0);
	v2_tlv(&v, 0xea, "\1vpce-08d2bf15fac5001c9", 23);
	v2_tlv(&v, 0x20, "\1\0\0\0\0\x21\0\x07TLSv1.3", 15);
	v2_end(&v);
	h = good(v.bytes, v.n);
	assert_end(&h, &h.source, "192.168.0.1", 56324);
	/* One or two bytes of a TLV are none ... */
	for (size_t more = 1; more <= 2; more++) {
		bad = v;
		v2_add(&bad, "\1\0", more);
		v2_end(&bad);
		assert_bad(bad.bytes, bad.n, PROXY_TLV_BAD);
	}
	/* ... and none goes beyond the header, though the stream goes on. */
	bad = v;
	v2_tlv(&bad, 0x05, "12345678", 8);
	v2_end(&bad);
	bad.bytes[15]--;
	assert_bad(bad.bytes, bad.n, PROXY_TLV_BAD);
	/* A unique id has 128 bytes at most. */
	bad = v;
	v2_tlv(&bad, 0x05, unique_id, PROXY_UNIQUE_ID_MAX);
	v2_end(&bad);
	(void)good(bad.bytes, bad.n);
	v2_tlv(&bad, 0x05, unique_id, PROXY_UNIQUE_ID_MAX + 1);
	v2_end(&bad);
	assert_bad(bad.bytes, bad.n, PROXY_UNIQUE_ID_LONG);
	/* With UNSPEC and LOCAL nothing is looked at. */
	bad.bytes[13] = 0;
	(void)good(bad.bytes, bad.n);
	bad.bytes[12] = 0x20;
	(void)good(bad.bytes, bad.n);
	bad = v2_tcp4();
	v2_add(&bad, "\x05\xff\xff", 3);
	v2_end(&bad);
	v2_add(&bad, "the stream", 10);
	assert_bad(bad.bytes, bad.n, PROXY_TLV_BAD);
}

/* By single bits, as the definition says. */
static unsigned
slow_crc32c(const unsigned char *p, size_t n)
{
	unsigned crc = 0xffffffff;

	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void
test_v2_checksum(void **state)
{
	struct v2 v = v2_tcp4(), wrong;
	size_t at;
	unsigned crc;

	(void)state;
	assert_int_equal(slow_crc32c((const unsigned char *)"123456789", 9), 0xe3069283);
	v2_tlv(&v, 0x02, "example.org", 11);
	v2_tlv(&v, 0x03, "\0\0\0\0", 4);
	at = v.n - 4;
	v2_tlv(&v, 0x01, "h2", 2);
	v2_end(&v);
	crc = htonl(slow_crc32c(v.bytes, v.n));
	memcpy(v.bytes + at, &crc, 4);
	good(v.bytes, v.n);
	/* A flipped bit of what the checksum is for: addresses, ports, names. */
	for (size_t i = 16; i < v.n; i++) {
		struct proxy_header h;
		enum proxy_reason reason;

		wrong = v;
		wrong.bytes[i] ^= 0x40;
		assert_int_equal(parse_all_ways(wrong.bytes, wrong.n, &h, &reason),
				 i == at - 3 || i == at + 4 ?
					 proxy_header_parse(wrong.bytes, wrong.n, &h, NULL) :
					 PROXY_BAD);
	}
	wrong = v;
	wrong.bytes[16] ^= 1;
	assert_bad(wrong.bytes, wrong.n, PROXY_CHECKSUM_BAD);
	/* Two of them, or one of another length, is no checksum. */
	wrong = v;
	v2_tlv(&wrong, 0x03, "\0\0\0\0", 4);
	v2_end(&wrong);
	assert_bad(wrong.bytes, wrong.n, PROXY_TLV_BAD);
	wrong = v2_tcp4();
	v2_tlv(&wrong, 0x03, "\0\0\0", 3);
	v2_end(&wrong);
	assert_bad(wrong.bytes, wrong.n, PROXY_TLV_BAD);
	/* With UNSPEC too, where the TLVs come at once. */
	v2_begin(&wrong, 0x21, 0);
	v2_tlv(&wrong, 0x03, "\1\2\3\4", 4);
	v2_end(&wrong);
	assert_bad(wrong.bytes, wrong.n, PROXY_CHECKSUM_BAD);
}

/* Writing */

static void
test_written_as_the_specification_shows(void **state)
{
	struct proxy_header h = { .version = 1,
				  .family = PROXY_IP4,
				  .source = { { 192, 168, 0, 1 }, 56324 },
				  .destination = { { 10, 0, 0, 2 }, 443 } };
	struct v2 v = v2_tcp4();
	char out[PROXY_WRITE_MAX];

	(void)state;
	assert_int_equal(proxy_header_write(&h, out), 43);
	assert_memory_equal(out, "PROXY TCP4 192.168.0.1 10.0.0.2 56324 443\r\n", 43);
	h.version = 2;
	assert_int_equal(proxy_header_write(&h, out), v.n);
	assert_memory_equal(out, v.bytes, v.n);
	h.local = true;
	assert_int_equal(proxy_header_write(&h, out), 16);
	assert_memory_equal(out, SIGNATURE "\x20\0\0\0", 16);
	h.version = 1;
	assert_int_equal(proxy_header_write(&h, out), 15);
	assert_memory_equal(out, "PROXY UNKNOWN\r\n", 15);
	h = (struct proxy_header){ .version = 1, .family = PROXY_UNIX };
	assert_int_equal(proxy_header_write(&h, out), 15);
	h.version = 2;
	assert_int_equal(proxy_header_write(&h, out), 16);
	assert_memory_equal(out, SIGNATURE "\x21\0\0\0", 16);
	h = (struct proxy_header){ .version = 1,
				   .family = PROXY_IP6,
				   .source = { .port = 65535 },
				   .destination = { .port = 65535 } };
	memset(h.source.ip, 0xff, 16);
	memset(h.destination.ip, 0xff, 16);
	assert_true(proxy_header_write(&h, out) <= PROXY_V1_MAX);
}

/* Properties: what is written is read back; no mutilation of it is read as
 * something else than the parser promises. */
static void
test_round_trip(void **state)
{
	uint64_t seed = 4711;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct proxy_header h = { .version = (uint8_t)(1 + random_next(&seed) % 2),
					  .family = (enum proxy_family)(random_next(&seed) % 3) },
				    back;
		size_t ip = h.family == PROXY_IP4 ? 4 : h.family == PROXY_IP6 ? 16 : 0;
		char out[PROXY_WRITE_MAX];

		for (size_t i = 0; i < ip; i++) {
			/* Runs of zero are what :: stands for. */
			h.source.ip[i] = (uint8_t)(random_next(&seed) % 3 ? random_next(&seed) : 0);
			h.destination.ip[i] = (uint8_t)random_next(&seed);
		}
		if (ip > 0) {
			h.source.port = (uint16_t)random_next(&seed);
			h.destination.port = (uint16_t)random_next(&seed);
		}
		h.local = ip == 0 && h.version == 2 && random_next(&seed) % 2;
		h.length = proxy_header_write(&h, out);
		assert_true(h.length <= PROXY_WRITE_MAX);
		back = good(out, h.length);
		assert_int_equal(back.version, h.version);
		assert_int_equal(back.local, h.local);
		assert_int_equal(back.family, h.family);
		assert_memory_equal(&back.source, &h.source, sizeof(h.source));
		assert_memory_equal(&back.destination, &h.destination, sizeof(h.destination));
	}
}

static void
test_mutilated_headers_keep_the_promises(void **state)
{
	uint64_t seed = 99;
	unsigned verdicts[3] = { 0 };

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct proxy_header h;
		enum proxy_reason reason;
		struct v2 v = v2_tcp4();
		size_t n;

		if (round % 2) {
			n = (size_t)snprintf((char *)v.bytes, ROOM, "PROXY TCP6 2001:db8::7 ::1 %u 2\r\n",
					     round);
		} else {
			v2_tlv(&v, 4, "12345", 5);
			v2_end(&v);
			n = v.n;
		}
		for (unsigned k = 1 + random_next(&seed) % 3; k > 0; k--) {
			char near = "PROXY \r\n0:"[random_next(&seed) % 10], any = (char)random_next(&seed);

			v.bytes[random_next(&seed) % n] =
				(unsigned char)(random_next(&seed) % 2 ? any : near);
		}
		verdicts[parse_all_ways(v.bytes, n, &h, &reason)]++;
	}
	assert_true(verdicts[PROXY_NEED_MORE] > 100 && verdicts[PROXY_DONE] > 100 &&
		    verdicts[PROXY_BAD] > 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1_addresses),
		cmocka_unit_test(test_v1_unknown_says_nothing),
		cmocka_unit_test(test_v1_length),
		cmocka_unit_test(test_v1_refused),
		cmocka_unit_test(test_v2_addresses),
		cmocka_unit_test(test_v2_unspec_and_local_say_nothing),
		cmocka_unit_test(test_v2_refused),
		cmocka_unit_test(test_v2_length),
		cmocka_unit_test(test_v2_tlvs_are_stepped_over),
		cmocka_unit_test(test_v2_checksum),
		cmocka_unit_test(test_written_as_the_specification_shows),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_mutilated_headers_keep_the_promises),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
