/* fuzz_admin_line.c - any bytes: a line is split or refused with a sentence,
 * what was split is clean, and quoting it again gives the same words. */
#include <stdint.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "proto/admin_command.h"
#include "proto/admin_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_slice(const struct admin_line *line, struct str s)
{
	uint32_t point;

	CHECK(s.p[s.n] == '\0');
	CHECK(s.n == 0 || (s.p >= line->storage && s.p + s.n < line->storage + sizeof(line->storage)));
	for (size_t i = 0, len; i < s.n; i += len) {
		len = utf8_next(s.p + i, s.n - i, &point);
		CHECK(len > 0 && !utf8_is_control(point));
	}
}

static bool
same(struct str a, struct str b)
{
	return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

static void
check_round_trip(const struct admin_line *line)
{
	static struct admin_line again;
	struct buf b;

	buf_init(&b, 4 * ADMIN_LINE_MAX);
	for (size_t i = 0; i < line->n_args; i++)
		CHECK(buf_append(&b, " ", 1) && admin_line_quote(&b, line->args[i]));
	for (size_t i = 0; i < line->n_opts; i++) {
		CHECK(buf_printf(&b, " --%s", line->opts[i].key.p));
		if (line->opts[i].has_value)
			CHECK(buf_append(&b, "=", 1) && admin_line_quote_value(&b, line->opts[i].value));
	}
	if (buf_len(&b) <= ADMIN_LINE_MAX) {	/* quotes may make it longer */
		CHECK(admin_line_parse(buf_str(&b), &again, NULL) == OK);
		CHECK(again.n_args == line->n_args && again.n_opts == line->n_opts);
		for (size_t i = 0; i < line->n_args; i++)
			CHECK(same(again.args[i], line->args[i]));
		for (size_t i = 0; i < line->n_opts; i++)
			CHECK(same(again.opts[i].key, line->opts[i].key) &&
			      same(again.opts[i].value, line->opts[i].value) &&
			      again.opts[i].has_value == line->opts[i].has_value);
	}
	buf_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct admin_line line;
	struct admin_request request;
	struct why why = { "" };
	enum err e;

	e = admin_line_parse((struct str){ (const char *)data, size }, &line, &why);
	CHECK((e == OK) == (why.text[0] == '\0'));
	if (e != OK) {
		CHECK(e == E_USAGE && line.n_args == 0 && line.n_opts == 0);
		return 0;
	}
	for (size_t i = 0; i < line.n_args; i++)
		check_slice(&line, line.args[i]);
	for (size_t i = 0; i < line.n_opts; i++) {
		check_slice(&line, line.opts[i].key);
		check_slice(&line, line.opts[i].value);
	}
	check_round_trip(&line);
	e = admin_command_parse(&line, &request, &why);
	CHECK((e == OK) == (why.text[0] == '\0'));
	CHECK(e == OK || e == E_USAGE || e == E_UNKNOWN_COLOR);
	return 0;
}
