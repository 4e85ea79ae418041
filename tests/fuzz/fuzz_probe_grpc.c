/* fuzz_probe_grpc.c - what a server answers to a check by gRPC: the verdict must not depend on how its bytes
 * are cut, and what is to be sent to it stays bounded. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "control/probe_grpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Behind the greeting that every server has to send. */
static const char greeting[] = "\0\0\0\x04\0\0\0\0";

static bool
answer_with(struct probe_grpc *g, const uint8_t *p, size_t n, size_t step, const char **error)
{
	while (n > 0) {
		size_t most;
		char *to = probe_grpc_room(g, &most);

		CHECK(to != NULL);
		most = most < n ? most : n;
		most = most < step ? most : step;
		memcpy(to, p, most);
		p += most;
		n -= most;
		if (probe_grpc_take(g, most, error))
			return true;
	}
	return false;
}

/* "": serving. */
static void
verdict_of(const uint8_t *data, size_t size, size_t step, char out[128])
{
	struct probe_grpc *g = probe_grpc_new();
	const char *error = NULL;

	if (!answer_with(g, (const uint8_t *)greeting, sizeof(greeting), sizeof(greeting), &error) &&
	    !answer_with(g, data, size, step, &error))
		CHECK(probe_grpc_take(g, 0, &error));
	CHECK(probe_grpc_reply(g).n < 256 * 17);
	snprintf(out, 128, "%s", error != NULL ? error : "");
	probe_grpc_free(&g);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char whole[128], cut[128];

	verdict_of(data, size, SIZE_MAX, whole);
	verdict_of(data, size, 1 + size / 7, cut);
	CHECK(strcmp(whole, cut) == 0);
	verdict_of(data, size, 1, cut);
	CHECK(strcmp(whole, cut) == 0);
	return 0;
}
