/* fuzz_json.c - whatever bytes go into a string, jansson reads the line back,
 * and what was valid UTF-8 comes back unchanged. */
#include <jansson.h>

#include "base/check.h"
#include "base/json.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_utf8(const char *p, size_t n)
{
	uint32_t point;
	size_t len;

	for (; n > 0; p += len, n -= len)
		if ((len = utf8_next(p, n, &point)) == 0)
			return false;
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = { (const char *)data, size };
	double number = 0;
	struct buf out;
	struct json j;
	json_error_t error;
	json_t *read, *text;

	memcpy(&number, data, size < sizeof(number) ? size : sizeof(number));
	buf_init(&out, 6 * size + 256);
	json_init(&j, &out);
	json_object(&j, NULL);
	json_str(&j, "text", s);
	json_double(&j, "number", number);
	json_object_end(&j);
	json_line_end(&j);
	CHECK(!out.failed);
	CHECK(memchr(buf_str(&out).p, '\n', buf_len(&out) - 1) == NULL);
	read = json_loadb(buf_str(&out).p, buf_len(&out), JSON_ALLOW_NUL, &error);
	CHECK(read != NULL);
	text = json_object_get(read, "text");
	if (is_utf8(s.p, s.n))
		CHECK(json_string_length(text) == s.n && memcmp(json_string_value(text), s.p, s.n) == 0);
	json_decref(read);
	buf_free(&out);
	return 0;
}
