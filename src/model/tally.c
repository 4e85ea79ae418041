/* tally.c - single-writer counters.  Written by their worker, read by main. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "model/tally.h"

const double tally_bounds[TALLY_BUCKETS] = {
	0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
};

const double tally_request_bounds[TALLY_BUCKETS] = {
	0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
};

/* IANA's registry of status codes, and 499: the client left. */
#define NAMED(X) \
	X(100) X(101) X(102) X(103) X(104) \
	X(200) X(201) X(202) X(203) X(204) X(205) X(206) X(207) X(208) X(226) \
	X(300) X(301) X(302) X(303) X(304) X(305) X(307) X(308) \
	X(400) X(401) X(402) X(403) X(404) X(405) X(406) X(407) X(408) X(409) X(410) X(411) X(412) \
	X(413) X(414) X(415) X(416) X(417) X(421) X(422) X(423) X(424) X(425) X(426) X(428) X(429) \
	X(431) X(451) X(499) \
	X(500) X(501) X(502) X(503) X(504) X(505) X(506) X(507) X(508) X(510) X(511)

enum slot {
#define X(code) SLOT_##code,
	NAMED(X)
#undef X
		SLOT_1XX,
	SLOT_OTHER = SLOT_1XX + 5,
	SLOTS
};
_Static_assert(SLOTS == TALLY_CODES, "TALLY_CODES is the length of the table");

#define FIRST_CODE 100
#define LAST_CODE 599

static const uint8_t slots[LAST_CODE - FIRST_CODE + 1] = {
#define X(code) [(code) - FIRST_CODE] = SLOT_##code + 1,	/* 0: not named */
	NAMED(X)
#undef X
};

static const char *const words[TALLY_CODES] = {
#define X(code) #code,
	NAMED(X)
#undef X
	"1xx", "2xx", "3xx", "4xx", "5xx", "other",
};

static void
observe(struct tally_histogram *h, const double *bounds, double seconds)
{
	unsigned i = 0;

	while (i < TALLY_BUCKETS && seconds > bounds[i])
		i++;
	tally_add(&h->count[i], 1);
	tally_add(&h->sum_us, (uint64_t)(seconds * 1e6));
}

void
tally_observe(struct tally_histogram *h, double seconds)
{
	observe(h, tally_bounds, seconds);
}

void
tally_handshake(struct tally *t, bool tls_1_3, bool resumed, double seconds)
{
	tally_add(&t->handshakes[tls_1_3][resumed], 1);
	observe(&t->handshake_seconds, tally_request_bounds, seconds);
}

void
tally_queued(struct tally *t, double seconds)
{
	observe(&t->queue_seconds, tally_request_bounds, seconds);
}

void
tally_lag(struct tally_histogram *h, double since, double every)
{
	observe(h, tally_request_bounds, since > every ? since - every : 0.0);
}

static unsigned
tally_slot(unsigned status)
{
	if (status < FIRST_CODE || status > LAST_CODE)
		return SLOT_OTHER;
	if (slots[status - FIRST_CODE] > 0)
		return slots[status - FIRST_CODE] - 1u;
	return SLOT_1XX + status / 100 - 1;
}

void
tally_request(struct tally_color *t, unsigned status, double seconds)
{
	CHECK(t->http != NULL);
	tally_add(&t->http->requests[tally_slot(status)], 1);
	observe(&t->http->request_seconds, tally_request_bounds, seconds);
}

void
tally_http2_request(struct tally_color *t, unsigned status)
{
	CHECK(t->http != NULL);
	tally_add(&t->http->http2_requests[tally_slot(status)], 1);
}

void
tally_grpc(struct tally_color *t, unsigned status)
{
	CHECK(t->http != NULL);
	tally_add(&t->http->grpc[status < GRPC_STATUSES ? status : GRPC_STATUSES], 1);
}

void
tally_first_byte(struct tally_color *t, double seconds)
{
	CHECK(t->http != NULL);
	observe(&t->http->first_byte_seconds, tally_request_bounds, seconds);
}

const char *
tally_code_word(unsigned i)
{
	CHECK(i < TALLY_CODES);
	return words[i];
}

struct tally *
tally_array(unsigned n, bool http)
{
	size_t per = ENTRANCES * COLORS, size = n * sizeof(struct tally);
	struct tally *t;
	struct tally_http *h;

	if (http)
		size += n * per * sizeof(*h);
	t = aligned_alloc(64, (size + 63) / 64 * 64);
	CHECK(t != NULL);
	memset(t, 0, size);
	h = (struct tally_http *)(t + n);
	for (size_t i = 0; http && i < n * per; i++)
		t[i / per].colors[i % per / COLORS][i % COLORS].http = &h[i];
	return t;
}
