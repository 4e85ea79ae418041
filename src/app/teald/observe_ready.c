/* observe_ready.c - is teald ready, and are the services that are asked for?
 * Thread: main. */
#include "app/teald/observe_query.h"
#include "app/teald/observe_ready.h"


/* Appends why not, as far as there is a reason.  Returns a status. */
static unsigned
judge_service(struct control *c, struct str value, struct buf *body)
{
	char name[RECORD_NAME];
	struct service_ctl *ctl = query_decode(value, name, sizeof(name)) ? control_find(c, str_from(name)) : NULL;

	if (ctl == NULL) {
		buf_printf(body, "there is no such service\n");
		return 404;
	}
	if (control_serves(ctl))
		return 200;
	buf_printf(body, "%s: no backend%s%s is up\n", name, ctl->service->colorless ? "" : " of ",
		   ctl->service->colorless ? "" : color_word(ctl->service->record.color));
	return 503;
}

void
ready_write(struct visitor *v, struct reply_head *head, struct buf *body)
{
	struct control *c = v->observe->control;
	struct str query = v->query, p;
	const char *reason;
	bool named = false;

	while (query_service(&query, &p)) {
		unsigned status = judge_service(c, p, body);

		named = true;
		/* One that is not there is the asker's mistake, whatever the others are. */
		if (head->status != 404 && status != 200)
			head->status = status;
	}
	if (head->status == 404)
		return;
	if (!(named ? control_may_serve(c, &reason) : control_ready(c, &reason))) {
		head->status = 503;
		buf_printf(body, "%s\n", reason);
	}
	if (head->status == 200)
		buf_printf(body, "ready\n");
}
