/* observe_inherit.c - the status page's memory on its way to the teald that comes after an upgrade: a row of the
 * last flips, and one for each service of which something is drawn.  Thread: main. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/teald/observe_history.h"
#include "app/teald/succession.h"
#include "base/tlv.h"

/* All rows together; services that come behind that begin anew. */
#define GIVEN_MAX ((size_t)16 << 20)

static const char *const line_words[] = { "connections", "rate", "bad", "p50", "p99" };
_Static_assert(ARRAY_LEN(line_words) == HISTORY_P99 + 1, "a word for each line");

/* -- the old process ------------------------------------------------------------------ */

static void
put_history_line(struct buf *b, const struct history *p, size_t service, enum history_line line, enum color c)
{
	uint32_t values[HISTORY_POINTS];
	bool any = false;
	size_t row;

	for (size_t i = 0; i < p->n_points; i++) {
		values[i] = history_value(p, service, p->n_points - 1 - i, line, c);
		any |= values[i] != 0;
	}
	if (!any)
		return;
	row = tlv_open(b, SUCCESSION_T_LINE);
	tlv_str(b, SUCCESSION_T_WORD, str_from(line_words[line]));
	tlv_str(b, SUCCESSION_T_COLOR, str_from(color_word(c)));
	tlv_bytes(b, SUCCESSION_T_VALUES, values, p->n_points * sizeof(values[0]));
	tlv_close(b, row);
}

static void
put_flip(struct buf *b, const struct history_flip *f)
{
	size_t row = tlv_open(b, SUCCESSION_T_FLIP);

	tlv_str(b, SUCCESSION_T_SERVICE, str_from(f->service));
	tlv_u64(b, SUCCESSION_T_AT_US, (uint64_t)f->at_us);
	tlv_str(b, SUCCESSION_T_KIND, str_from(change_word(f->kind)));
	tlv_str(b, SUCCESSION_T_COLOR, str_from(color_word(f->to)));
	tlv_u64(b, SUCCESSION_T_EPOCH, f->epoch);
	tlv_str(b, SUCCESSION_T_BY, str_from(f->by));
	tlv_str(b, SUCCESSION_T_REASON, str_from(f->reason));
	tlv_str(b, SUCCESSION_T_RESULT, str_from(f->result));
	tlv_u64(b, SUCCESSION_T_REFUSED, f->refused ? f->times : 0);
	tlv_str(b, SUCCESSION_T_MESSAGE, str_from(f->message));
	tlv_double(b, SUCCESSION_T_SECONDS, f->drain_seconds);
	tlv_u64(b, SUCCESSION_T_CUT, f->cut);
	tlv_close(b, row);
}

/* Returns what it took. */
static size_t
give_flips(const struct history *p, history_give_fn *give, void *arg)
{
	struct buf b;
	size_t n;

	buf_init(&b, LINE_ROW_MAX);
	for (uint64_t id = history_oldest_flip(p); id <= p->n_flips; id++)
		put_flip(&b, history_flip(p, id));
	n = buf_len(&b);
	if (n > 0)
		give(arg, &b);
	buf_free(&b);
	return n;
}

static size_t
give_service(const struct history *p, size_t service, history_give_fn *give, void *arg)
{
	size_t head, n = 0;
	struct buf b;

	buf_init(&b, LINE_ROW_MAX);
	tlv_str(&b, SUCCESSION_T_SERVICE, str_from(p->control->services[service]->service->config->name));
	tlv_double(&b, SUCCESSION_T_SAMPLED, p->sampled);
	tlv_double(&b, SUCCESSION_T_STEP, HISTORY_STEP);
	head = buf_len(&b);
	for (enum history_line line = HISTORY_CONNECTIONS; line <= HISTORY_P99; line++)
		for (enum color c = GREEN; c < COLORS; c++)
			put_history_line(&b, p, service, line, c);
	if (buf_len(&b) > head) {
		n = buf_len(&b);
		give(arg, &b);
	}
	buf_free(&b);
	return n;
}

void
history_give(struct history *p, history_give_fn *give, void *arg)
{
	size_t given;

	history_follow(p);
	given = give_flips(p, give, arg);
	for (size_t i = 0; i < p->n && given < GIVEN_MAX; i++)
		given += give_service(p, i, give, arg);
}

/* -- the new one: lines ----------------------------------------------------------------- */

static double
double_of(struct str row, enum succession_tag tag)
{
	struct tlv t = { .value = STR("") };
	double v = 0;

	(void)succession_str(row, (uint16_t)tag, &t.value);
	(void)tlv_as_double(&t, &v);
	return v;
}

/* By its name, or the one that it had there. */
static bool
find_service_of(const struct history *p, struct str name, size_t *place)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct service *s = p->control->services[i]->service;

		if (str_eq(name, s->config->name) || (s->renamed && str_eq(name, s->config->rename))) {
			*place = i;
			return true;
		}
	}
	return false;
}

/* Puts the predecessor's points behind our own.  Its newest was taken `shift` steps before ours; steps in between that
 * neither process sampled get its newest value. */
static void
take_values(struct history *p, size_t service, enum history_line line, enum color c, const struct str *bytes,
	    size_t shift, size_t own)
{
	size_t n = bytes->n / sizeof(uint32_t);
	uint32_t v;

	for (size_t ago = own; ago < HISTORY_POINTS && ago < n + shift; ago++) {
		memcpy(&v, bytes->p + (n - 1 - (ago > shift ? ago - shift : 0)) * sizeof(v), sizeof(v));
		*history_place(p, service, ago, line, c) = v;
	}
	if (n + shift > p->n_points)
		p->n_points = n + shift < HISTORY_POINTS ? n + shift : HISTORY_POINTS;
}

static void
take_line(struct history *p, size_t service, struct str row, size_t shift, size_t own)
{
	struct str word = STR(""), color = STR(""), values = STR("");
	enum color c;

	(void)succession_str(row, SUCCESSION_T_WORD, &word);
	(void)succession_str(row, SUCCESSION_T_COLOR, &color);
	(void)succession_str(row, SUCCESSION_T_VALUES, &values);
	if (!color_from_word(color, &c) || values.n < sizeof(uint32_t))
		return;
	for (enum history_line line = HISTORY_CONNECTIONS; line <= HISTORY_P99; line++)
		if (str_eq(word, line_words[line]))
			take_values(p, service, line, c, &values, shift, own);
}

static void
take_history_of(struct history *p, struct str row, struct str name)
{
	double ago = p->sampled - double_of(row, SUCCESSION_T_SAMPLED);
	size_t service, shift;
	struct tlv t;

	if (double_of(row, SUCCESSION_T_STEP) != HISTORY_STEP || !(ago < HISTORY_POINTS * HISTORY_STEP) ||
	    !find_service_of(p, name, &service))
		return;
	shift = ago > 0 ? (size_t)round(ago / HISTORY_STEP) : 0;
	while (tlv_next(&row, &t))
		if (t.tag == SUCCESSION_T_LINE)
			take_line(p, service, t.value, shift, p->own_points);
}

/* -- the new one: flips ------------------------------------------------------------------- */

static void
copy_text(char *out, size_t size, struct str row, enum succession_tag tag)
{
	struct str text = STR("");

	(void)succession_str(row, (uint16_t)tag, &text);
	if (!str_copy(out, size, text))
		out[0] = '\0';
}

/* False: it makes no sense. */
static bool
read_flip(struct str row, struct history_flip *f)
{
	uint64_t at_us = 0, times = 0;
	struct str color = STR("");
	char word[32];

	*f = (struct history_flip){ .drain_seconds = double_of(row, SUCCESSION_T_SECONDS) };
	copy_text(word, sizeof(word), row, SUCCESSION_T_KIND);
	if (!succession_u64(row, SUCCESSION_T_AT_US, &at_us) || !change_from_word(word, &f->kind) ||
	    !succession_str(row, SUCCESSION_T_COLOR, &color) || !color_from_word(color, &f->to))
		return false;
	f->at_us = (int64_t)at_us;
	(void)succession_u64(row, SUCCESSION_T_EPOCH, &f->epoch);
	(void)succession_u64(row, SUCCESSION_T_CUT, &f->cut);
	(void)succession_u64(row, SUCCESSION_T_REFUSED, &times);
	f->refused = times > 0;
	f->times = times > 0 ? times : 1;
	copy_text(f->service, sizeof(f->service), row, SUCCESSION_T_SERVICE);
	copy_text(f->by, sizeof(f->by), row, SUCCESSION_T_BY);
	copy_text(f->reason, sizeof(f->reason), row, SUCCESSION_T_REASON);
	copy_text(f->message, sizeof(f->message), row, SUCCESSION_T_MESSAGE);
	copy_text(word, sizeof(word), row, SUCCESSION_T_RESULT);
	f->result = f->refused ? err_word(err_from_word(word)) : history_result(word);
	return f->service[0] != '\0' && f->result != NULL;
}

/* What is told by the row. */
static void
take_flips(struct history *p, struct str row)
{
	struct history_flip *all = must_array(HISTORY_FLIPS, sizeof(*all));
	struct tlv t;
	size_t n = 0;

	while (tlv_next(&row, &t))
		if (t.tag == SUCCESSION_T_FLIP && n < HISTORY_FLIPS && read_flip(t.value, &all[n]))
			n++;
	if (n > 0)
		history_put_before(p, all, n);
	free(all);
}

void
history_take(struct history *p, struct str row)
{
	struct str name;

	history_follow(p);
	if (succession_str(row, SUCCESSION_T_SERVICE, &name))
		take_history_of(p, row, name);
	else
		take_flips(p, row);
}
