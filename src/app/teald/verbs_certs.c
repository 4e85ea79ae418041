/* verbs_certs.c - the admin command certs: what clients are shown, and reading
 * it again.
 * Thread: main. */
#include <stdlib.h>
#include <time.h>

#include "app/teald/command.h"
#include "base/clock.h"
#include "control/certs.h"

struct certs_list {
	const struct command *cmd;
	struct json *j;
};

static void
put_certificate(void *arg, const struct certs_shown *shown)
{
	const struct certs_list *list = arg;
	const struct tls_certificate_facts *f = tls_certificate_facts(shown->certificate);
	int64_t now = (int64_t)time(NULL);
	struct json *j = list->j;
	char text[CLOCK_TEXT];
	struct why why;

	if (!command_may_read(list->cmd, shown->service))
		return;
	json_object(j, NULL);
	json_cstr(j, "service", shown->service->config->name);
	json_array(j, "names");
	for (unsigned i = 0; i < f->n_names; i++)
		json_cstr(j, NULL, f->names[i]);
	json_array_end(j);
	json_cstr(j, "type", f->type);
	json_i64(j, "bits", f->bits);
	clock_format(f->not_before * 1000000, 0, text);
	json_cstr(j, "from", text);
	clock_format(f->not_after * 1000000, 0, text);
	json_cstr(j, "until", text);
	json_i64(j, "expires_in", f->not_after - now);
	json_bool(j, "valid", tls_certificate_is_valid(shown->certificate, now, &why) == OK);
	json_cstr(j, "subject", f->subject);
	json_cstr(j, "issuer", f->issuer);
	json_cstr(j, "fingerprint", f->fingerprint);
	json_bool(j, "stapled", f->staple_until > now);
	json_cstr(j, "problem", shown->problem[0] != '\0' ? shown->problem : f->staple_problem);
	json_object_end(j);
}

static void
run_certs_list(struct command *cmd)
{
	const struct service *of = cmd->ctl != NULL ? cmd->ctl->service : NULL;
	struct buf text;
	struct json j;

	command_ok(&j, &text);
	json_array(&j, "certificates");
	certs_each(cmd->admin->control->certs, of, put_certificate, &(struct certs_list){ .cmd = cmd, .j = &j });
	json_array_end(&j);
	command_done(cmd, &j);
}

struct waiter_for_certs {
	struct certs_wait wait;
	struct command *cmd;
};

static void
certs_on_reloaded(struct certs_wait *w, const struct certs_result *told)
{
	struct waiter_for_certs *waiter = container_of(w, struct waiter_for_certs, wait);
	const struct certs_result result = *told, *r = &result;	/* told is the waiter's */
	enum err e = r->refused == 0 ? OK : E_USAGE;
	struct outcome o = { .result = err_word(e) };
	struct command *cmd = waiter->cmd;
	struct buf text;
	struct json j;

	free(waiter);
	if (command_came_too_late(cmd))
		return;
	o.message = r->refused == 0 ? NULL : r->problem;
	o.changed = r->changed > 0 ? CHANGED_YES : CHANGED_NO;
	command_result(&j, &text, e, r->problem);
	json_bool(&j, "changed", r->changed > 0);
	json_u64(&j, "services_changed", r->changed);
	json_u64(&j, "services_refused", r->refused);
	command_result_done(cmd, &j, &o);
}

void
verb_certs(struct command *cmd)
{
	struct waiter_for_certs *w;

	if (!cmd->request.reload) {
		run_certs_list(cmd);
		return;
	}
	w = must_alloc(sizeof(*w));
	w->wait.done = certs_on_reloaded;
	w->cmd = cmd;
	cmd->held = true;
	certs_reload(cmd->admin->control->certs, &w->wait);
}
