/* fuzz_http1_response.c - the verdict on the head of a response must not depend on how
 * its bytes were cut into calls, on where they lie, nor on how they are scanned.
 * The first byte of the input chooses the cuts and the limit. */
#include "http1_check.h"
#include "proto/http1_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http1_head h;
	struct http1_body body;

	if (size < 1)
		return 0;
	if (size > HEAD_MAX + 100)
		size = HEAD_MAX + 100;	/* beyond the limit there is nothing to find, only time to lose */
	lenient = data[0] & 0x20;
	read_all_ways(&h, (const char *)data + 1, size - 1, true, data[0] & 0x80 ? 64 : HEAD_MAX,
		      (data[0] & 0x40 ? 64 : 1) + data[0] % 64);
	if (h.verdict != HTTP1_DONE)
		return 0;
	check_done(&h, (const char *)data + 1, size - 1);
	http1_head_keep_alive(&h);
	http1_head_upgrades(&h);
	http1_head_find(&h, "host", NULL);
	if (http1_body_of_response(&body, &h, data[0] & 1) == HTTP1_DONE)
		CHECK(body.framing != HTTP1_BODY_CHUNKED || !http1_head_has(&h, HTTP1_CONTENT_LENGTH) ||
		      (body.odd & HTTP1_ODD_BIT(HTTP1_ODD_LENGTH_AND_CODING)));
	return 0;
}
