/* test_tls_hello.c - ClientHellos whole, at every cut and against a guard page,
 * in one record and in many; and those that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/tls_hello.h"

#define SIZE 131072

static uint8_t *guard;	/* what lies behind SIZE bytes must not be read */

static int
begin(void **state)
{
	(void)state;
	guard = mmap(NULL, SIZE + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(guard != MAP_FAILED);
	return mprotect(guard + SIZE, 4096, PROT_NONE);
}

static int
end(void **state)
{
	(void)state;
	return munmap(guard, SIZE + 4096);
}

static enum tls_hello_verdict
parse(const uint8_t *p, size_t n, struct tls_hello *out, enum tls_hello_reason *reason)
{
	assert_true(n <= SIZE);
	memcpy(guard + SIZE - n, p, n);
	return tls_hello_parse(guard + SIZE - n, n, out, reason);
}

struct message {
	uint8_t p[SIZE];
	size_t n;
};

static void
put(struct message *m, unsigned bytes, size_t v)
{
	while (bytes-- > 0)
		m->p[m->n++] = (uint8_t)(v >> (8 * bytes));
}

static void
put_bytes(struct message *m, const void *p, size_t n)
{
	memcpy(m->p + m->n, p, n);
	m->n += n;
}

static void
put_name(struct message *m, const char *name)
{
	size_t n = strlen(name);

	put(m, 2, 0);	/* server_name */
	put(m, 2, n + 5);
	put(m, 2, n + 3);
	put(m, 1, 0);
	put(m, 2, n);
	put_bytes(m, name, n);
}

/* A hello with these extensions, as one handshake message. */
static void
make(struct message *m, const struct message *extensions)
{
	static const uint8_t random[32] = { 7 };

	m->n = 0;
	put(m, 1, 1);
	put(m, 3, 2 + 32 + 1 + 2 + 4 + 2 + 2 + extensions->n);
	put(m, 2, 0x0303);
	put_bytes(m, random, 32);
	put(m, 1, 0);	/* session id */
	put(m, 2, 4);
	put(m, 4, 0x1a1a1301);	/* GREASE, TLS_AES_128_GCM_SHA256 */
	put(m, 2, 0x0100);	/* compression */
	put(m, 2, extensions->n);
	put_bytes(m, extensions->p, extensions->n);
}

/* In records of so many bytes. */
static void
wrap(struct message *out, const struct message *m, size_t size)
{
	out->n = 0;
	for (size_t at = 0; at < m->n; at += size) {
		size_t n = m->n - at < size ? m->n - at : size;

		put(out, 3, 0x160301);
		put(out, 2, n);
		put_bytes(out, m->p + at, n);
	}
}

/* Whole, and at every cut. */
static struct tls_hello
expect_done(const struct message *m)
{
	enum tls_hello_reason reason;
	struct tls_hello h, part;

	assert_int_equal(parse(m->p, m->n, &h, &reason), TLS_HELLO_DONE);
	assert_int_equal(h.length, m->n);
	for (size_t n = 0; n < m->n; n += n < 2000 ? 1 : 97) {
		assert_int_equal(parse(m->p, n, &part, &reason), TLS_HELLO_NEED_MORE);
		assert_true(part.wanted > n && part.wanted <= m->n);
	}
	return h;
}

static void
test_names(void **state)
{
	static const struct {
		const char *sent, *read;
	} names[] = {
		{ "shop.example", "shop.example" },
		{ "SHOP.Example", "shop.example" },
		{ "shop.example.", "shop.example" },
		{ "_x-1.shop.example", "_x-1.shop.example" },
		{ "127.0.0.1", "127.0.0.1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct message x = { .n = 0 }, m, wire;

		put(&x, 4, 0x2a2a0000);	/* GREASE */
		put_name(&x, names[i].sent);
		put(&x, 2, 16);	/* ALPN, not looked at */
		put(&x, 2, 5);
		put(&x, 2, 3);
		put(&x, 3, 0x026832);
		put(&x, 2, 43);	/* versions: GREASE, 1.3, 1.2 */
		put(&x, 2, 7);
		put(&x, 1, 6);
		put(&x, 6, 0x7a7a03040303);
		make(&m, &x);
		for (size_t size = 1; size < m.n + 2; size += size < 8 ? 1 : 50) {
			struct tls_hello h;

			wrap(&wire, &m, size);
			h = expect_done(&wire);
			assert_string_equal(h.name, names[i].read);
			assert_int_equal(h.version, 0x0304);
		}
	}
}

static void
test_without_a_name(void **state)
{
	struct message x = { .n = 0 }, m, wire;

	(void)state;
	make(&m, &x);
	wrap(&wire, &m, 16384);
	assert_string_equal(expect_done(&wire).name, "");
	assert_int_equal(expect_done(&wire).version, 0x0303);
	/* The oldest have no extensions, not even none. */
	m.n -= 2;
	m.p[3] = (uint8_t)(m.p[3] - 2);
	wrap(&wire, &m, 16384);
	assert_string_equal(expect_done(&wire).name, "");
}

static void
test_long_ones(void **state)
{
	struct message x = { .n = 0 }, m, wire;
	enum tls_hello_reason reason;
	struct tls_hello h;

	(void)state;
	put(&x, 2, 21);	/* padding */
	put(&x, 2, 20000);
	memset(x.p + x.n, 0, 20000);
	x.n += 20000;
	put_name(&x, "behind.example");
	make(&m, &x);
	wrap(&wire, &m, 16384);
	assert_string_equal(expect_done(&wire).name, "behind.example");
	/* So many records are no hello any more. */
	wire.n = 0;
	for (int i = 0; i < 11000; i++)
		put(&wire, 6, i == 0 ? 0x160301000101 : 0x160301000100);
	assert_int_equal(parse(wire.p, wire.n, &h, &reason), TLS_HELLO_BAD);
}

/* A hello of so many bytes in all, its name at the end. */
static void
make_long(struct message *m, size_t bytes)
{
	struct message x = { .n = 0 };
	size_t pad;

	make(m, &x);
	put_name(&x, "behind.example");
	pad = bytes - m->n - x.n - 4;
	x.n = 0;
	put(&x, 2, 21);	/* padding */
	put(&x, 2, pad);
	memset(x.p + x.n, 0, pad);
	x.n += pad;
	put_name(&x, "behind.example");
	make(m, &x);
	assert_int_equal(m->n, bytes);
}

static void
test_the_longest(void **state)
{
	struct message m, wire;
	enum tls_hello_reason reason;
	struct tls_hello h;

	(void)state;
	make_long(&m, TLS_HELLO_MESSAGE_MAX);
	for (size_t size = 200; size <= 16384; size *= 3) {
		wrap(&wire, &m, size);
		assert_string_equal(expect_done(&wire).name, "behind.example");
	}
	/* Its heads take too much room: known by the first record. */
	wrap(&wire, &m, 100);
	assert_int_equal(parse(wire.p, wire.n, &h, &reason), TLS_HELLO_BAD);
	assert_int_equal(reason, TLS_HELLO_LONG);
	assert_int_equal(tls_hello_alert(reason), TLS_ALERT_ILLEGAL_PARAMETER);
	/* What is too long says so by its length. */
	m.p[1] = 1;
	m.p[2] = m.p[3] = 0;
	wrap(&wire, &m, 16384);
	assert_int_equal(parse(wire.p, 5 + 16384, &h, &reason), TLS_HELLO_BAD);
	assert_int_equal(reason, TLS_HELLO_LONG);
}

/* However small its records are: who waits for what is wanted looks seldom. */
static void
test_small_records_are_not_looked_at_one_by_one(void **state)
{
	struct message m, wire;
	enum tls_hello_reason reason;
	enum tls_hello_verdict v;
	struct tls_hello h;
	size_t n = 1;
	int looks = 0;

	(void)state;
	make_long(&m, 10000);
	wrap(&wire, &m, 1);
	while ((v = parse(wire.p, n, &h, &reason)) == TLS_HELLO_NEED_MORE) {
		n = h.wanted;
		looks++;
	}
	assert_int_equal(v, TLS_HELLO_DONE);
	assert_int_equal(n, wire.n);
	assert_true(looks < 100);
}

#define BAD(reason_, bytes) { reason_, (const uint8_t *)(bytes), sizeof(bytes) - 1 }

static void
test_what_is_none(void **state)
{
	static const struct {
		enum tls_hello_reason reason;
		const uint8_t *p;
		size_t n;
	} strangers[] = {
		BAD(TLS_HELLO_HTTP, "GET / HTTP/1.1\r\n"),
		BAD(TLS_HELLO_HTTP, "POST"),
		BAD(TLS_HELLO_OTHER, "SSH-2.0"),
		BAD(TLS_HELLO_OTHER, "\x17\3\3\0\1x"),
		BAD(TLS_HELLO_OTHER, "\x16\2\0\0\1\1"),
		BAD(TLS_HELLO_OTHER, "\x16\3\1\0\5\2\0\0\1\0"),
		BAD(TLS_HELLO_SSL2, "\x80\x2e\1\3\1\0\x15"),
		BAD(TLS_HELLO_LENGTH, "\x16\3\1\0\0"),
		BAD(TLS_HELLO_LENGTH, "\x16\3\1\x40\1\1"),
		BAD(TLS_HELLO_LONG, "\x16\3\1\0\4\1\xff\xff\xff"),
		BAD(TLS_HELLO_LENGTH, "\x16\3\1\0\6\1\0\0\2\3\3"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		enum tls_hello_reason reason;
		struct tls_hello h;

		assert_int_equal(parse(strangers[i].p, strangers[i].n, &h, &reason), TLS_HELLO_BAD);
		assert_int_equal(reason, strangers[i].reason);
		assert_true(tls_hello_reason_words(reason)[0] != '\0');
	}
}

static void
expect_bad(const struct message *extensions, enum tls_hello_reason expected)
{
	enum tls_hello_reason reason;
	struct message m, wire;
	struct tls_hello h;

	make(&m, extensions);
	wrap(&wire, &m, 16384);
	assert_int_equal(parse(wire.p, wire.n, &h, &reason), TLS_HELLO_BAD);
	assert_int_equal(reason, expected);
}

static void
test_bad_extensions(void **state)
{
	struct message x = { .n = 0 };

	(void)state;
	put_name(&x, "two.example");
	put_name(&x, "names.example");
	expect_bad(&x, TLS_HELLO_CONTENT);
	x.n = 0;
	put_name(&x, "sp ace");
	expect_bad(&x, TLS_HELLO_NAME_BAD);
	x.n = 0;
	put_name(&x, "");
	expect_bad(&x, TLS_HELLO_NAME_BAD);
	x.n = 0;
	put_name(&x, ".");
	expect_bad(&x, TLS_HELLO_NAME_BAD);
	x.n = 0;
	put(&x, 4, 0x00000000);	/* server_name of a server */
	expect_bad(&x, TLS_HELLO_CONTENT);
	x.n = 0;
	put(&x, 4, 0x000a0005);	/* longer than what is left */
	expect_bad(&x, TLS_HELLO_LENGTH);
	x.n = 0;
	put(&x, 4, 0x002b0002);	/* an odd list of versions */
	put(&x, 2, 0x0103);
	expect_bad(&x, TLS_HELLO_CONTENT);
}

/* What follows a hello must not be there yet. */
static void
test_company(void **state)
{
	struct message x = { .n = 0 }, m, wire;
	enum tls_hello_reason reason;
	struct tls_hello h;

	(void)state;
	put_name(&x, "shop.example");
	make(&m, &x);
	put(&m, 1, 0);
	wrap(&wire, &m, 16384);
	assert_int_equal(parse(wire.p, wire.n, &h, &reason), TLS_HELLO_BAD);
	assert_int_equal(reason, TLS_HELLO_LENGTH);
	/* But in a record of its own it may: early data. */
	m.n--;
	wrap(&wire, &m, 16384);
	put(&wire, 6, 0x170303000178);
	assert_int_equal(parse(wire.p, wire.n, &h, &reason), TLS_HELLO_DONE);
	assert_int_equal(h.length, wire.n - 6);
}

static void
test_alerts(void **state)
{
	char text[TLS_ALERT_SIZE];

	(void)state;
	tls_alert_write(TLS_ALERT_UNRECOGNIZED_NAME, text);
	assert_memory_equal(text, "\x15\3\3\0\2\2\x70", TLS_ALERT_SIZE);
	assert_int_equal(tls_hello_alert(TLS_HELLO_HTTP), TLS_ALERT_UNEXPECTED_MESSAGE);
	assert_int_equal(tls_hello_alert(TLS_HELLO_SSL2), TLS_ALERT_PROTOCOL_VERSION);
	assert_int_equal(tls_hello_alert(TLS_HELLO_LENGTH), TLS_ALERT_DECODE_ERROR);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),	     cmocka_unit_test(test_without_a_name),
		cmocka_unit_test(test_long_ones),    cmocka_unit_test(test_what_is_none),
		cmocka_unit_test(test_the_longest),  cmocka_unit_test(test_small_records_are_not_looked_at_one_by_one),
		cmocka_unit_test(test_bad_extensions), cmocka_unit_test(test_company),
		cmocka_unit_test(test_alerts),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
