/* render_certs.c - certificates, as people and scripts read them.  One thread. */
#include "app/tealctl/render.h"
#include "app/tealctl/say.h"

#define SOON (14LL * 86400)

static void
certificate_row(struct table *t, const struct output *o, json_t *c)
{
	long long left = json_integer_value(json_at(c, "expires_in"));
	enum style style = !json_has(c, "valid") ? STYLE_BAD : left < SOON ? STYLE_NOTE : STYLE_PLAIN;
	json_t *names = json_at(c, "names"), *name;
	struct buf b;
	size_t i;

	if (!o->terminal)
		table_add(t, STYLE_PLAIN, STR("certificate"));
	say_cells(t, c, "service");
	buf_init(&b, 1 << 20);
	json_array_foreach(names, i, name)
	{
		buf_printf(&b, "%s", i == 0 ? "" : o->terminal ? ", " : ",");
		text_json(&b, name);
	}
	table_add(t, STYLE_PLAIN, buf_str(&b));
	buf_free(&b);
	say_cells(t, c, "type");
	table_add(t, style, str_from(json_string_value(json_at(c, "until")) != NULL ? json_string_value(json_at(c, "until")) : ""));
	say_cells(t, c, "fingerprint issuer problem");
}

/* {"certificates":[{"service":"shop","names":["shop.example"],"type":"EC","until":"…","expires_in":…,
 *  "valid":true,"fingerprint":"…","issuer":"…","problem":null}]}, or after a reload {"changed":true,…} */
void
render_certs(struct render *r, json_t *object)
{
	static const char *const heads[] = { "SERVICE", "NAMES", "TYPE", "UNTIL", "SHA-256", "ISSUER", "PROBLEM", NULL };
	static const char *const columns[] = { "", "", "", "", "", "", "", "", NULL };
	json_t *list = json_at(object, "certificates"), *c;
	struct table t;
	size_t i;

	if (list == NULL) {
		if (!r->out->terminal)
			output_line(r->out, json_has(object, "changed") ? "reloaded\tchanged" : "reloaded\tunchanged");
		else
			output_line(r->out, json_has(object, "changed") ? "certificates are reloaded" :
									  "nothing has changed");
		return;
	}
	if (json_array_size(list) == 0) {
		if (r->out->terminal)
			output_line(r->out, "no service shows certificates");
		return;
	}
	table_init(&t, r->out->terminal ? heads : columns);
	json_array_foreach(list, i, c) certificate_row(&t, r->out, c);
	table_print(&t, r->out);
}
