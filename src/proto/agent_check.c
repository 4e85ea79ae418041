/* agent_check.c - reads the line of an agent.  Any thread. */
#include "proto/agent_check.h"

static bool
parts_words(char c)
{
	return c == ' ' || c == '\t' || c == ',';
}

static bool
ends_line(char c)
{
	return c == '\n' || c == '\r' || c == '\0';
}

static void
take_agent_word(struct str word, struct agent_say *out)
{
	const char *hash = memchr(word.p, '#', word.n);
	struct str plain = { word.p, hash != NULL ? (size_t)(hash - word.p) : word.n };
	uint64_t n;

	if (word.p[word.n - 1] == '%' && str_to_u64((struct str){ word.p, word.n - 1 }, AGENT_PERCENT_MAX, &n)) {
		out->has_percent = true;
		out->percent = (unsigned)n;
	} else if (str_case_eq(word, "ready")) {
		out->wish = AGENT_WISH_READY;
	} else if (str_case_eq(word, "drain") || str_case_eq(word, "maint")) {
		out->wish = AGENT_WISH_DRAIN;
	} else if (str_case_eq(word, "up")) {
		out->state = AGENT_STATE_UP;
	} else if (str_case_eq(plain, "down") || str_case_eq(plain, "fail") || str_case_eq(plain, "failed") ||
		   str_case_eq(plain, "stopped")) {
		out->state = AGENT_STATE_DOWN;
	} else if (out->unknown.n == 0) {
		out->unknown = word;
	}
}

/* The reason behind "#" goes on to the end of the line. */
static size_t
agent_word_end(struct str line, size_t at)
{
	bool reason = false;

	for (; at < line.n && !ends_line(line.p[at]) && (reason || !parts_words(line.p[at])); at++)
		reason |= line.p[at] == '#';
	return at;
}

bool
agent_say_parse(struct str line, struct agent_say *out)
{
	bool any = false;
	size_t at = 0, end;

	*out = (struct agent_say){ .has_percent = false };
	while (at < line.n && !ends_line(line.p[at])) {
		if (parts_words(line.p[at])) {
			at++;
			continue;
		}
		end = agent_word_end(line, at);
		take_agent_word((struct str){ line.p + at, end - at }, out);
		any = true;
		at = end;
	}
	return any;
}
