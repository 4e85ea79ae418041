/* http2_limits.c - how often a client may do what costs us more than it.  Thread: owning worker. */
#include "data/http2/http2_stream.h"
#include "data/proxy.h"

static const struct {
	enum http2_reason reason;
	bool resets;	/* counts against max_resets, else max_control */
} rates[HTTP2_RATES] = {
	[HTTP2_RATE_RESETS] = { HTTP2_RESETS_MANY, true },
	[HTTP2_RATE_FAULTS] = { HTTP2_FAULTS_MANY, true },
	[HTTP2_RATE_PING] = { HTTP2_PINGS_MANY, false },
	[HTTP2_RATE_SETTINGS] = { HTTP2_SETTINGS_MANY, false },
	[HTTP2_RATE_WINDOW] = { HTTP2_WINDOWS_MANY, false },
	[HTTP2_RATE_PRIORITY] = { HTTP2_PRIORITIES_MANY, false },
	[HTTP2_RATE_EMPTY] = { HTTP2_EMPTY_MANY, false },
};

static unsigned
most_of(const struct http2_conn *h, enum http2_rate rate)
{
	const struct http2_config *hc = http2_config_of(h);

	return rates[rate].resets ? hc->max_resets : hc->max_control;
}

/* Each second gives back a part: of control frames all, of resets a quarter. */
static void
give_back(struct http2_conn *h, double now)
{
	double seconds = now - h->rates.since;

	if (seconds < 1)
		return;
	for (int i = 0; i < HTTP2_RATES; i++) {
		double back = seconds * most_of(h, (enum http2_rate)i) / (rates[i].resets ? 4 : 1);

		h->rates.used[i] = back < h->rates.used[i] ? (uint16_t)(h->rates.used[i] - (uint16_t)back) : 0;
	}
	h->rates.since = now;
}

bool
http2_rate(struct http2_conn *h, enum http2_rate rate)
{
	unsigned most = most_of(h, rate), used;

	if (most == 0)
		return true;
	give_back(h, http2_worker(h)->now);
	used = ++h->rates.used[rate];
	if (used > most) {
		http2_conn_fault(h, rates[rate].reason);
		return false;
	}
	/* What it has under way is served; then it may come anew. */
	if (used > most / 4 * 3 && !h->leaving)
		http2_version.leave(h->c);
	return true;
}

void
http2_count(struct http2_conn *h, enum http2_reason reason)
{
	const struct lane *l = h->c->lane;
	enum entrance e = (enum entrance)h->c->stream.entrance;

	tally_add(&l->tally->colors[e][lane_color(l, e)].http->http2_refused[reason], 1);
}
