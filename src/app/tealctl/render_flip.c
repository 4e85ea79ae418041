/* render_flip.c - a flip as it happens, and the check before it.  One thread. */
#include <string.h>

#include "app/tealctl/render.h"
#include "app/tealctl/say.h"
#include "base/clock.h"

#define TEXT_LIMIT (1u << 20)

/* "  applied    epoch 43 …   +12 ms" */
static void
say_step(struct render *r, json_t *object, const char *word, const char *template, bool pending)
{
	struct buf what, when;

	buf_init(&what, TEXT_LIMIT);
	buf_init(&when, 64);
	say_into(&what, r->out, object, template);
	text_duration(&when, clock_now() - r->started);
	(pending ? output_pending : output_line)(r->out, "  %-10s %-50.*s +%.*s", word, (int)buf_len(&what),
						 buf_str(&what).p, (int)buf_len(&when), buf_str(&when).p);
	buf_free(&what);
	buf_free(&when);
}

static void
backend_row(struct table *t, json_t *b)
{
	bool fine = json_has(b, "ok");

	say_cells(t, b, "address");
	table_add(t, fine ? STYLE_GOOD : STYLE_BAD, fine ? STR("ok") : STR("failed"));
	say_cells(t, b, "state error");
}

/* Every backend of a check; of a flip only those that did not answer. */
static void
print_backends(struct render *r, json_t *backends, bool all)
{
	static const char *const heads[] = { "BACKEND", "CONNECT", "HEALTH", "ERROR", NULL };
	struct table t;
	json_t *b;
	size_t i;

	if (!r->out->terminal) {
		json_array_foreach(backends, i, b)
			say(r->out, b,
			    json_has(b, "ok") ? "backend\t{address}\tok\t{state}\t{error}" :
						"backend\t{address}\tfailed\t{state}\t{error}");
		return;
	}
	if (!all) {
		json_array_foreach(backends, i, b) if (!json_has(b, "ok"))
			say(r->out, b, "             {address} is {state}: {error}");
		return;
	}
	table_init(&t, heads);
	json_array_foreach(backends, i, b) backend_row(&t, b);
	table_print(&t, r->out);
}

/* {"event":"checked","service":…,"to":"blue","healthy":2,"total":3,"needed":2,
 *  "backends":[{"address":…,"ok":true,"state":"up","error":null}]} */
void
render_checked(struct render *r, json_t *object)
{
	print_backends(r, json_at(object, "backends"), true);
}

void
render_check(struct render *r, json_t *object)
{
	json_t *services = json_at(object, "services"), *s;
	size_t i;

	json_array_foreach(services, i, s) render_check(r, s);
	if (services != NULL)
		return;
	say(r->out, object,
	    r->out->terminal ? "{service} -> {to}: a flip would be let through; "
			       "{healthy}/{total} backends healthy, {needed} needed" :
			       "checked\t{service}\t{to}\t{healthy}\t{total}\t{needed}");
}

static void
introduce_several(struct render *r)
{
	struct buf names;

	buf_init(&names, TEXT_LIMIT);
	for (size_t i = 0; i < r->request->n_targets; i++) {
		const struct admin_target *t = &r->request->targets[i];

		buf_printf(&names, "%s%s", i > 0 ? ", " : "", t->name);
		if (t->color.n > 0)
			buf_printf(&names, " -> %s", t->color.p);
	}
	output_line(r->out, "%.*s%s", (int)buf_len(&names), buf_str(&names).p,
		    r->request->command == ADMIN_ROLLBACK ? ": rollback" : "");
	buf_free(&names);
}

static void
introduce(struct render *r)
{
	if (r->introduced || !r->out->terminal)
		return;
	r->introduced = true;
	/* Our own words, checked when the line was made: no control characters. */
	if (r->request->n_targets > 0)
		introduce_several(r);
	else if (r->request->color.n > 0)
		output_line(r->out, "%s -> %s", r->request->service.p, r->request->color.p);
	else
		output_line(r->out, "%s: rollback", r->request->service.p);
}

static void
print_draining(struct render *r)
{
	json_t *deadline = json_at(r->draining, "deadline_in");
	double left = json_number_value(deadline) - (clock_now() - r->draining_at);
	struct buf template;

	buf_init(&template, 256);
	buf_printf(&template, "{remaining:connections} left");
	if (json_is_number(deadline)) {
		buf_printf(&template, ", ");
		text_duration(&template, left > 0 ? left : 0);
		buf_printf(&template, " at most");
	}
	buf_append(&template, "", 1);
	say_step(r, r->draining, "draining", buf_str(&template).p, true);
	buf_free(&template);
}

void
render_tick(struct render *r)
{
	if (r->out->pending && r->draining != NULL)
		print_draining(r);
}

/* It names one of several services, or of a group. */
static bool
is_of_several(const struct render *r, json_t *object)
{
	const char *service = json_string_value(json_at(object, "service"));

	return service != NULL && !str_eq(r->request->service, service);
}

static void
terminal_event(struct render *r, const char *event, json_t *object)
{
	introduce(r);
	if (strcmp(event, "checked") == 0) {
		say_step(r, object, event,
			 is_of_several(r, object) ? "{service}: {healthy}/{total} backends healthy, {needed} needed" :
						     "{healthy}/{total} backends healthy, {needed} needed",
			 false);
		print_backends(r, json_at(object, "backends"), false);
	} else if (strcmp(event, "committed") == 0) {
		say_step(r, object, event,
			 json_has(object, "services") ? "revision {revision} is stored" : "epoch {epoch} is stored", false);
	} else if (strcmp(event, "applied") == 0) {
		say_step(r, object, event,
			 json_has(object, "services") ? "no old color gets anything new, after {ms:ms}" :
			 json_has(object, "ms") ? "the old color gets nothing new, after {ms:ms}" :
						  "the old color gets nothing new",
			 false);
	} else if (strcmp(event, "draining") == 0) {
		json_decref(r->draining);
		r->draining = json_incref(object);
		r->draining_at = clock_now();
		print_draining(r);
	} else if (strcmp(event, "drained") == 0) {
		say_step(r, object, event,
			 json_has(object, "cut") ? "in {seconds:duration}, {cut:connections} cut" :
						   "in {seconds:duration}; every connection ended by itself",
			 false);
	} else if (strcmp(event, "ramping") == 0) {
		say_step(r, object, event,
			 json_is_null(json_at(object, "share.ramp.held")) ?
				 "{share.percent}% of the clients, step {share.ramp.step} of {share.ramp.of}" :
				 "{share.percent}% of the clients; the next step is refused: {share.ramp.held}",
			 false);
	} else if (strcmp(event, "baking") == 0) {
		say_step(r, object, event, "{seconds} s of {of} s; {evidence.new.clients} clients, E = 10^{evidence.log10_e}", true);
	} else {
		render_streamed(r, object);
	}
}

void
render_flip_event(struct render *r, json_t *object)
{
	const char *event = json_string_value(json_at(object, "event"));

	if (r->out->terminal)
		terminal_event(r, event, object);
	else if (strcmp(event, "checked") == 0)
		say(r->out, object, "checked\t{service}\t{to}\t{healthy}\t{total}\t{needed}");
	else if (strcmp(event, "committed") == 0)
		say(r->out, object, json_has(object, "services") ? "committed\t{revision}" : "committed\t{epoch}");
	else if (strcmp(event, "applied") == 0)
		say(r->out, object,
		    json_has(object, "services") ? "applied\t{revision}\t{ms}" : "applied\t{epoch}\t{ms}");
	else if (strcmp(event, "draining") == 0)
		say(r->out, object, "draining\t{remaining}");
	else if (strcmp(event, "drained") == 0)
		say(r->out, object,
		    json_has(object, "services") ? "drained\t{revision}\t{seconds}\t{cut}" :
						   "drained\t{epoch}\t{seconds}\t{cut}");
	else if (strcmp(event, "ramping") == 0)
		say(r->out, object, "ramping\t{epoch}\t{share.percent}%\t{share.ramp.step}\t{share.ramp.of}\t{share.ramp.held}");
	else if (strcmp(event, "baking") == 0)
		say(r->out, object, "baking\t{seconds}\t{of}\t{evidence.new.clients}\t{evidence.log10_e}");
	else
		render_streamed(r, object);
}

/* {"service":"shop","active":"blue","bake":{"to":"blue","verdict":null,"evidence":{"text":…}}}; or of a flip that was
 * waited for, the same without "bake". */
void
render_bake(struct render *r, json_t *object)
{
	json_t *bake = json_at(object, "bake");
	bool over;

	if (bake == NULL) {
		render_flip(r, object);
		return;
	}
	if (json_is_null(bake)) {
		say(r->out, object, r->out->terminal ? "{service}: there was no bake" : "bake\t{service}\tnone");
		return;
	}
	over = json_is_string(json_at(bake, "verdict"));
	if (!r->out->terminal)
		say(r->out, object, over ? "bake\t{service}\t{bake.verdict}\t{bake.evidence.text}" :
					   "bake\t{service}\tunder way\t{bake.evidence.text}");
	else
		say(r->out, object, over ? "{service}: the bake of {bake.to} is over: {bake.verdict}" :
					   "{service}: {bake.to} is judged, {bake.seconds} s of {bake.of} s");
	if (r->out->terminal)
		say(r->out, object, "  {bake.evidence.text}");
}

/* … "active":"green","epoch":43,"share":{"color":"blue","percent":10},"changed":true} */
static void
render_shared(struct render *r, json_t *object, bool changed)
{
	if (!r->out->terminal)
		say(r->out, object,
		    changed ? "shifted\t{service}\t{active}\t{epoch}\t{share.color}\t{share.percent}%" :
			      "unchanged\t{service}\t{active}\t{epoch}\t{share.color}\t{share.percent}%");
	else
		say(r->out, object,
		    changed ? "{service}: {share.color} has {share.percent}% of the clients, {active} is active, epoch {epoch}" :
			      "{service}: {share.color} has {share.percent}% of the clients already, {active} is active, epoch "
			      "{epoch}; nothing changed");
}

/* {"ok":true,"service":"shop","active":"blue","epoch":43,"changed":true} */
void
render_flip(struct render *r, json_t *object)
{
	bool changed = json_has(object, "changed"), shared = json_is_object(json_at(object, "share"));
	json_t *services = json_at(object, "services"), *s;
	size_t i;

	json_array_foreach(services, i, s) render_flip(r, s);
	if (services != NULL)
		return;
	if (json_is_string(json_at(object, "verdict")))
		say(r->out, object, r->out->terminal ? "  {verdict}: {evidence.text}" : "verdict\t{verdict}\t{evidence.text}");
	if (shared)
		render_shared(r, object, changed);
	else if (!r->out->terminal)
		say(r->out, object,
		    changed ? "flipped\t{service}\t{active}\t{epoch}" :
			      "unchanged\t{service}\t{active}\t{epoch}");
	else if (changed)
		say(r->out, object,
		    json_has(object, "cut") ? "{service}: {active} is active, epoch {epoch}; {cut:connections} cut" :
					      "{service}: {active} is active, epoch {epoch}");
	else
		say(r->out, object,
		    "{service}: {active} is active already, epoch {epoch}; "
		    "nothing changed");
}
