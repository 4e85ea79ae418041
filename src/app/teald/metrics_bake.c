/* metrics_bake.c - the series of a bake, of services that have one, or would.  Thread: main. */
#include <math.h>

#include "app/teald/metrics_parts.h"
#include "control/bake.h"

static bool
bakes(const struct service_ctl *ctl)
{
	return !ctl->service->colorless && (ctl->bake != NULL || ctl->service->config->bake > 0);
}

void
metrics_put_bake_clients(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	struct judge_counts c;

	(void)entrance;
	if (!bakes(ctl))
		return;
	bake_totals(ctl->service, color, &c);
	metrics_sample(p, metrics_of_color(ctl->service, ENTRANCE_MAIN, color), c.exposures);
}

void
metrics_put_bake_troubles(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	struct labels l = metrics_of_color(ctl->service, ENTRANCE_MAIN, color);
	struct judge_counts c;

	(void)entrance;
	if (!bakes(ctl))
		return;
	bake_totals(ctl->service, color, &c);
	for (int s = 0; s < JUDGE_SEEN_SIGNALS; s++)
		metrics_sample(p, labels_with(l, "signal", judge_signal_word((enum judge_signal)s)), c.errors[s]);
}

void
metrics_put_bake_active(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	(void)entrance;
	if (bakes(ctl))
		metrics_sample(p, metrics_of_color(ctl->service, ENTRANCE_MAIN, color), bake_is_on(ctl) && ctl->bake->to == color);
}

void
metrics_put_bake_verdicts(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color to)
{
	struct labels l = labels_with(metrics_of_service(ctl->service), "to", color_word(to));

	(void)entrance;
	if (!bakes(ctl))
		return;
	for (int v = BAKE_BAKED; v < BAKE_VERDICTS; v++)
		if (v == BAKE_BAKED || v == BAKE_ROLLED_BACK || ctl->bakes_total[to][v] > 0)
			metrics_sample(p, labels_with(l, "verdict", bake_verdict_word((enum bake_verdict)v)), ctl->bakes_total[to][v]);
}

void
metrics_put_bake_failures(struct prom *p, const struct service_ctl *ctl)
{
	if (bakes(ctl))
		metrics_sample(p, metrics_of_service(ctl->service), ctl->bake_rollbacks_failed);
}
