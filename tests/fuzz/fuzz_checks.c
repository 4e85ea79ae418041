/* fuzz_checks.c - what servers say to checks: kube-proxy's answers and the lines of agents. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "model/kube_health.h"
#include "proto/agent_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first line is a header's value, the rest a body. */
static void
read_kube_proxy(struct str all)
{
	const char *end = all.n > 0 ? memchr(all.p, '\n', all.n) : NULL;
	size_t n = end != NULL ? (size_t)(end - all.p) : 0;
	struct str header = { all.p, n }, body = { all.p + n, all.n - n };
	struct kube_health k;
	char why[96];

	kube_health_read(header, body, &k);
	CHECK(k.counted || k.endpoints == 0);
	kube_health_reason(&k, 503, why, sizeof(why));
	CHECK(strncmp(why, "HTTP status 503", 15) == 0);
}

/* What is behind the end of the line changes nothing. */
static void
read_agent(struct str line)
{
	struct agent_say whole, first;
	size_t n = 0;
	bool any = agent_say_parse(line, &whole);

	CHECK(!whole.has_percent || whole.percent <= AGENT_PERCENT_MAX);
	CHECK(whole.unknown.n == 0 || (whole.unknown.p >= line.p && whole.unknown.p + whole.unknown.n <= line.p + line.n));
	while (n < line.n && line.p[n] != '\n' && line.p[n] != '\r' && line.p[n] != '\0')
		n++;
	CHECK(agent_say_parse((struct str){ line.p, n }, &first) == any);
	CHECK(first.has_percent == whole.has_percent && first.percent == whole.percent && first.wish == whole.wish &&
	      first.state == whole.state && first.unknown.n == whole.unknown.n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A block of its own: the sanitizer sees one byte too far. */
	char *copy = malloc(size > 0 ? size : 1);

	CHECK(copy != NULL);
	if (size > 0)
		memcpy(copy, data, size);
	read_kube_proxy((struct str){ copy, size });
	read_agent((struct str){ copy, size });
	free(copy);
	return 0;
}
