/* gate.h - may this color take the traffic?  The cached verdict of the health
 * checks, and one connect, now, to every backend's traffic port (of UDP: to the
 * one that is checked).
 * Thread: main. */
#ifndef CONTROL_GATE_H
#define CONTROL_GATE_H

#include "base/buf.h"
#include "control/control.h"
#include "control/probe.h"

struct gate_backend {
	struct backend *backend;	/* one reference */
	struct probe *probe;
	struct gate *gate;
	bool ok;
	char error[128];	/* "" when ok */
};

/* Connects under way at a time, over all gates. */
#define GATE_PROBES_MAX 128

struct gate {
	struct service_ctl *ctl;
	struct link waiting;	/* on control's gates, for a place */
	double short_since;	/* clock_now() since when teald lacks descriptors; 0: it does not */
	enum color color;
	struct gate_backend *backends;
	size_t n;
	size_t begun, finished;
	size_t healthy, needed;
	ev_timer start;
	void (*done)(struct gate *g, void *arg);
	void *arg;
};

/* Asks all of the color's backends, some at a time, each bounded by
 * health.timeout; what teald itself lacks for it is waited for as long. Then done is called once, never from inside.  The result stays
 * readable until gate_free(). */
struct gate *gate_new(struct service_ctl *ctl, enum color color, void (*done)(struct gate *g, void *arg), void *arg);
/* Also gives up one that is under way. */
void gate_free(struct gate **gp);

static inline bool
gate_is_open(const struct gate *g)
{
	return g->healthy >= g->needed;
}

/* "1/3 backends healthy, 2 needed; 10.0.0.12:11080 connection refused; ..." */
void gate_text(const struct gate *g, struct buf *out);

#endif
