/* observe_ready.c - is teald ready, and are the services that are asked for?
 * Thread: main. */
#include "app/teald/observe_ready.h"

#define KEY "service="

static int
hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* Of application/x-www-form-urlencoded text; false when it is malformed or does
 * not fit. */
static bool
decode(struct str text, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++) {
		int c = text.p[i] == '+' ? ' ' : (unsigned char)text.p[i];

		if (c == '%') {
			if (i + 2 >= text.n || hex(text.p[i + 1]) < 0 || hex(text.p[i + 2]) < 0)
				return false;
			c = hex(text.p[i + 1]) * 16 + hex(text.p[i + 2]);
			i += 2;
		}
		if (c == '\0' || n + 1 >= size)
			return false;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return true;
}

/* The next parameter of the query; false at its end. */
static bool
next_parameter(struct str *query, struct str *parameter)
{
	const char *end;

	if (query->n == 0)
		return false;
	end = memchr(query->p, '&', query->n);
	*parameter = (struct str){ query->p, end != NULL ? (size_t)(end - query->p) : query->n };
	query->p += parameter->n;
	query->n -= parameter->n;
	if (end != NULL) {
		query->p++;
		query->n--;
	}
	return true;
}

/* Appends why not, as far as there is a reason.  Returns a status. */
static unsigned
judge_service(struct control *c, struct str value, struct buf *body)
{
	char name[RECORD_NAME];
	struct service_ctl *ctl = decode(value, name, sizeof(name)) ? control_find(c, str_from(name)) : NULL;

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

	while (next_parameter(&query, &p)) {
		unsigned status;

		if (p.n < sizeof(KEY) - 1 || memcmp(p.p, KEY, sizeof(KEY) - 1) != 0)
			continue;
		named = true;
		status = judge_service(c, (struct str){ p.p + sizeof(KEY) - 1, p.n - (sizeof(KEY) - 1) }, body);
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
