/* load_tcp.c - the TCP kinds of load: echoes, connections, bulk both ways,
 * idle connections; and echoes by UDP.  Thread: the flow's. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>

#include "app/tealbench/load.h"
#include "app/tealbench/pattern.h"

/* Each request's bytes begin elsewhere in the pattern, so that an answer to
 * another request is a wrong one. */
static uint64_t
echo_offset(const struct flow *f)
{
	return f->serial * 7919;
}

static void
echo_begin(struct flow *f)
{
	f->to_send = f->to_take = f->thread->config->size;
}

static const char *
echo_next(const struct flow *f, uint64_t *n)
{
	*n = f->to_send - f->sent < PATTERN_PIECE ? f->to_send - f->sent : PATTERN_PIECE;
	return pattern_at(echo_offset(f) + f->sent);
}

/* Judges n bytes of a pattern that began at offset. */
static enum flow_verdict
take_pattern(struct flow *f, uint64_t offset, const char *p, size_t n)
{
	f->error = n == 0 ? LOAD_SHORT : LOAD_WRONG_BODY;
	if (n == 0 || n > f->to_take - f->taken)
		return FLOW_FAILED;
	if (f->thread->config->check && !pattern_matches(offset + f->taken, p, n))
		return FLOW_FAILED;
	f->taken += n;
	return f->taken == f->to_take ? FLOW_DONE : FLOW_MORE;
}

static enum flow_verdict
echo_take(struct flow *f, const char *p, size_t n)
{
	return take_pattern(f, echo_offset(f), p, n);
}

/* Our direction is over; the other goes on. */
static bool
end_sending(struct flow *f)
{
	return f->ssl != NULL ? secure_end(f->ssl) : shutdown(f->fd, SHUT_WR) == 0;
}

static bool
connect_sent(struct flow *f)
{
	f->error = LOAD_RESET;
	return !f->thread->config->half_close || end_sending(f);
}

static enum flow_verdict
connect_take(struct flow *f, const char *p, size_t n)
{
	enum flow_verdict verdict;

	if (!f->thread->config->half_close)
		return echo_take(f, p, n);
	if (n == 0 && f->taken == f->to_take)
		return FLOW_DONE_LAST;
	verdict = echo_take(f, p, n);
	return verdict == FLOW_DONE ? FLOW_MORE : verdict;
}

static bool
unchecked(const struct flow *f)
{
	return !f->thread->config->check;
}

/* --- down: ask a source for SIZE bytes --- */

static int
down_line(const struct flow *f, char line[32])
{
	return snprintf(line, 32, "%" PRIu64 "\n", f->thread->config->size);
}

static void
down_begin(struct flow *f)
{
	char line[32];

	f->to_send = (uint64_t)down_line(f, line);
	f->to_take = f->thread->config->size;
}

static const char *
down_next(const struct flow *f, uint64_t *n)
{
	static _Thread_local char line[32];

	down_line(f, line);
	*n = f->to_send - f->sent;
	return line + f->sent;
}

static enum flow_verdict
down_take(struct flow *f, const char *p, size_t n)
{
	return take_pattern(f, 0, p, n);
}

/* --- up: send SIZE bytes, end, and hear how many arrived --- */

static void
up_begin(struct flow *f)
{
	f->to_send = f->thread->config->size;
}

static const char *
up_next(const struct flow *f, uint64_t *n)
{
	*n = f->to_send - f->sent < PATTERN_PIECE ? f->to_send - f->sent : PATTERN_PIECE;
	return pattern_at(f->sent);
}

static bool
up_sent(struct flow *f)
{
	f->error = LOAD_RESET;
	return end_sending(f);
}

static enum flow_verdict
up_take(struct flow *f, const char *p, size_t n)
{
	struct str line;
	uint64_t arrived;

	if (n > 0) {
		f->error = LOAD_WRONG_BODY;
		return buf_append(&f->in, p, n) ? FLOW_MORE : FLOW_FAILED;
	}
	line = buf_str(&f->in);
	f->error = LOAD_SHORT;
	if (line.n == 0 || line.p[line.n - 1] != '\n')
		return FLOW_FAILED;
	line.n--;
	if (!str_to_u64(line, UINT64_MAX, &arrived))
		f->error = LOAD_WRONG_BODY;
	else if (arrived == f->to_send)
		return FLOW_DONE_LAST;
	return FLOW_FAILED;
}

static const struct load_mode modes[] = {
	{ .word = "tcp-small", .size = 64, .begin = echo_begin, .next = echo_next, .take = echo_take },
	{ .word = "tcp-connect", .fresh = true, .size = 64, .begin = echo_begin, .next = echo_next,
	  .sent = connect_sent, .take = connect_take },
	{ .word = "tcp-idle", .hold = true, .size = 64, .begin = echo_begin, .next = echo_next,
	  .take = echo_take },
	{ .word = "tcp-bulk-down", .bulk = true, .size = 64 << 20, .begin = down_begin,
	  .next = down_next, .take = down_take, .blind = unchecked },
	{ .word = "tcp-bulk-up", .bulk = true, .fresh = true, .size = 64 << 20, .begin = up_begin,
	  .next = up_next, .sent = up_sent, .take = up_take },
	{ .word = "udp", .datagram = true, .size = 64, .begin = echo_begin, .next = echo_next, .take = echo_take },
	{ .word = "udp-flow", .datagram = true, .fresh = true, .size = 64, .begin = echo_begin,
	  .next = echo_next, .take = echo_take },
};

const struct load_mode *
load_mode_find(const char *word)
{
	if (strcmp(word, load_mode_http.word) == 0)
		return &load_mode_http;
	if (strcmp(word, load_mode_http2.word) == 0)
		return &load_mode_http2;
	if (strcmp(word, load_mode_http_close.word) == 0)
		return &load_mode_http_close;
	if (strcmp(word, load_mode_ws.word) == 0)
		return &load_mode_ws;
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		if (strcmp(word, modes[i].word) == 0)
			return &modes[i];
	return NULL;
}
