/* test_hpack_table.c - the tables of both ends stay the same, with libnghttp2's field compression as the oracle of ours:
 * random lists of fields and changes of the table's size in between, encoded by one and decoded by the other, both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#include "base/hash.h"
#include "hpack_text.h"
#include "proto/hpack_encoder.h"
#include "scaled.h"

#define FIELDS_MAX 40
#define TEXT_MAX 700

/* A list of fields, as nghttp2 takes it. */
struct list {
	nghttp2_nv fields[FIELDS_MAX];
	char text[FIELDS_MAX][2][TEXT_MAX];
	unsigned n;
};

static uint64_t seed = 20;

static unsigned
dice(unsigned sides)
{
	return (unsigned)(random_next(&seed) % sides);
}

/* A name of the static table, one of a few others, or letters. */
static size_t
roll_name(char *room)
{
	static const char *const few[] = { "x-request-id", "traceparent", "grpc-status", "x",
					   "cookie",       "set-cookie" };
	unsigned i = 1 + dice(HPACK_STATIC);
	size_t n;

	switch (dice(4)) {
	case 0:
		return (size_t)sprintf(room, "%s", few[dice(6)]);
	case 1:
		n = 1 + dice(dice(8) == 0 ? 300 : 30);
		for (size_t k = 0; k < n; k++)
			room[k] = "abcdefghijklmnopqrstuvwxyz0123456789-_!#$%&'*+.^`|~"[dice(51)];
		return n;
	default:
		memcpy(room, hpack_static[i].text, hpack_static[i].name_n);
		return hpack_static[i].name_n;
	}
}

static size_t
roll_value(char *room)
{
	static const char *const few[] = { "",      "GET",   "/", "200",     "404", "gzip, deflate",
					   "https", "nginx", "1", "no-cache" };
	size_t n;

	if (dice(3) > 0)
		return (size_t)sprintf(room, "%s", few[dice(10)]);
	n = dice(dice(6) == 0 ? TEXT_MAX : 40);
	for (size_t k = 0; k < n; k++)
		room[k] = (char)(dice(3) > 0 ? ' ' + dice(95) : dice(256));
	return n;
}

static void
roll_list(struct list *l)
{
	l->n = dice(FIELDS_MAX);
	for (unsigned i = 0; i < l->n; i++)
		l->fields[i] = (nghttp2_nv){
			.name = (uint8_t *)l->text[i][0],
			.value = (uint8_t *)l->text[i][1],
			.namelen = roll_name(l->text[i][0]),
			.valuelen = roll_value(l->text[i][1]),
			.flags = dice(5) == 0 ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE,
		};
}

static void
assert_same(struct str got, const uint8_t *p, size_t n)
{
	assert_int_equal(got.n, n);
	if (n > 0)
		assert_memory_equal(got.p, p, n);
}

/* They encode, we decode. */
static void
test_theirs_is_read(void **state)
{
	static struct list l;
	static uint8_t block[FIELDS_MAX * TEXT_MAX * 3];

	(void)state;
	for (unsigned connection = 0; connection < scaled(80, 8000); connection++) {
		struct hpack_decoder d;
		nghttp2_hd_deflater *theirs;
		uint32_t own = dice(3) == 0 ? dice(20000) : 4096;

		assert_int_equal(nghttp2_hd_deflate_new(&theirs, own), 0);
		hpack_decoder_init(&d, 4096);
		for (unsigned round = 0; round < 50; round++) {
			struct hpack_fields *f = test_fields();
			ssize_t n;

			for (unsigned changes = dice(12) == 0 ? 1 + dice(3) : 0; changes > 0; changes--) {
				uint32_t limit = dice(2) ? dice(300) : dice(10000);

				hpack_decoder_limit(&d, limit);
				assert_int_equal(nghttp2_hd_deflate_change_table_size(theirs, limit), 0);
			}
			if (dice(8) == 0) {
				hpack_table_trim(&d.table);
				assert_true(d.table.cap == d.table.used && d.table.used <= d.table.size);
			}
			roll_list(&l);
			n = nghttp2_hd_deflate_hd(theirs, block, sizeof(block), l.fields, l.n);
			assert_true(n >= 0);
			assert_int_equal(hpack_decode(&d, (struct str){ (char *)block, (size_t)n }, f),
					 HTTP2_FINE);
			assert_int_equal(nghttp2_hd_deflate_get_dynamic_table_size(theirs), d.table.size);
			if (f->over != HTTP2_FINE)
				continue;
			assert_int_equal(f->count, l.n);
			for (unsigned i = 0; i < l.n; i++) {
				assert_same(hpack_name(f, &f->fields[i]), l.fields[i].name,
					    l.fields[i].namelen);
				assert_same(hpack_value(f, &f->fields[i]), l.fields[i].value,
					    l.fields[i].valuelen);
				if (l.fields[i].flags & NGHTTP2_NV_FLAG_NO_INDEX)
					assert_true(f->fields[i].never);
			}
		}
		nghttp2_hd_deflate_del(theirs);
		hpack_decoder_free(&d);
	}
}

/* Reads all of a block, and compares. */
static void
they_read(nghttp2_hd_inflater *theirs, const uint8_t *p, size_t n, const struct list *l)
{
	unsigned count = 0;

	for (;;) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t used = nghttp2_hd_inflate_hd2(theirs, &nv, &flags, p, n, 1);

		assert_true(used >= 0);
		p += used;
		n -= (size_t)used;
		if (flags & NGHTTP2_HD_INFLATE_EMIT) {
			assert_true(count < l->n);
			assert_same((struct str){ (char *)nv.name, nv.namelen }, l->fields[count].name,
				    l->fields[count].namelen);
			assert_same((struct str){ (char *)nv.value, nv.valuelen }, l->fields[count].value,
				    l->fields[count].valuelen);
			count++;
		}
		if (flags & NGHTTP2_HD_INFLATE_FINAL)
			break;
		assert_true(n > 0 || (flags & NGHTTP2_HD_INFLATE_EMIT));
	}
	assert_int_equal(nghttp2_hd_inflate_end_headers(theirs), 0);
	assert_int_equal(n, 0);
	assert_int_equal(count, l->n);
}

/* We encode, they decode; ours may forget its table, of which theirs knows nothing. */
static void
check_ours_is_read(bool forgets)
{
	static struct list l;
	static char block[FIELDS_MAX * TEXT_MAX * 3];

	for (unsigned connection = 0; connection < scaled(80, 8000); connection++) {
		struct hpack_encoder e;
		nghttp2_hd_inflater *theirs;

		assert_int_equal(nghttp2_hd_inflate_new(&theirs), 0);
		hpack_encoder_init(&e, dice(2) ? HPACK_ENCODER_MOST : dice(HPACK_ENCODER_MOST));
		for (unsigned round = 0; round < 50; round++) {
			char *p;

			for (unsigned changes = dice(12) == 0 ? 1 + dice(3) : 0; changes > 0; changes--) {
				uint32_t limit = dice(2) ? dice(300) : dice(10000);

				hpack_encoder_limit(&e, limit);
				assert_int_equal(nghttp2_hd_inflate_change_table_size(theirs, limit), 0);
			}
			if (forgets && dice(8) == 0)
				hpack_encoder_forget(&e);
			roll_list(&l);
			p = hpack_encode_begin(&e, block);
			for (unsigned i = 0; i < l.n; i++)
				p = hpack_encode(&e, p, (struct str){ l.text[i][0], l.fields[i].namelen },
						 (struct str){ l.text[i][1], l.fields[i].valuelen },
						 (enum hpack_how)dice(3));
			they_read(theirs, (uint8_t *)block, (size_t)(p - block), &l);
			assert_true(forgets || nghttp2_hd_inflate_get_dynamic_table_size(theirs) == e.table.size);
		}
		nghttp2_hd_inflate_del(theirs);
		hpack_encoder_free(&e);
	}
}

static void
test_ours_is_read(void **state)
{
	(void)state;
	check_ours_is_read(false);
	check_ours_is_read(true);
}

/* What either refuses, so does the other: blocks of one that were changed a little.  Where both go on they have read
 * the same number of fields, and their tables are as large. */
static void
test_damaged_blocks(void **state)
{
	static struct list l;
	static uint8_t block[FIELDS_MAX * TEXT_MAX * 3];
	unsigned refused = 0, taken = 0;

	(void)state;
	for (unsigned round = 0; round < scaled(4000, 400000); round++) {
		struct hpack_decoder d;
		struct hpack_fields *f = test_fields();
		nghttp2_hd_deflater *writer;
		nghttp2_hd_inflater *theirs;
		ssize_t n, used = 0;
		unsigned count = 0;
		int flags = 0;
		enum http2_reason reason;

		assert_int_equal(nghttp2_hd_deflate_new(&writer, 4096), 0);
		assert_int_equal(nghttp2_hd_inflate_new(&theirs), 0);
		hpack_decoder_init(&d, 4096);
		roll_list(&l);
		n = nghttp2_hd_deflate_hd(writer, block, sizeof(block), l.fields, l.n);
		assert_true(n >= 0);
		if (n > 0)
			block[dice((unsigned)n < 40 ? (unsigned)n : 40)] ^= (uint8_t)(1u << dice(8));
		reason = hpack_decode(&d, (struct str){ (char *)block, (size_t)n }, f);
		for (ssize_t at = 0; used >= 0 && !(flags & NGHTTP2_HD_INFLATE_FINAL); at += used) {
			nghttp2_nv nv;

			flags = 0;
			used = nghttp2_hd_inflate_hd2(theirs, &nv, &flags, block + at, (size_t)(n - at), 1);
			count += (flags & NGHTTP2_HD_INFLATE_EMIT) != 0;
		}
		assert_int_equal(reason == HTTP2_FINE, used >= 0);
		if (reason == HTTP2_FINE) {
			assert_true(f->over != HTTP2_FINE || f->count == count);
			assert_int_equal(nghttp2_hd_inflate_get_dynamic_table_size(theirs), d.table.size);
			taken++;
		} else {
			refused++;
		}
		nghttp2_hd_deflate_del(writer);
		nghttp2_hd_inflate_del(theirs);
		hpack_decoder_free(&d);
	}
	assert_true(refused > 100 && taken > 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_theirs_is_read),
		cmocka_unit_test(test_ours_is_read),
		cmocka_unit_test(test_damaged_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
