/* serve_stream.c - the modes of `tealbench serve` without a protocol: echo,
 * hello, sink, source and mute.  Thread: the peer's. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "app/tealbench/serve.h"

/* A line asking a source for bytes: 20 digits at most. */
#define ASK_MAX 32

/* Back-pressure in full: while the peer has not taken what is held, nothing
 * more is read from it. */
static int
stream_wants(const struct peer *p)
{
	if (buf_len(&p->out) > 0)
		return EV_WRITE;
	return p->eof ? 0 : EV_READ;
}

static bool
stream_start(struct peer *p)
{
	(void)p;
	return true;
}

static bool
echo_ready(struct peer *p, int revents)
{
	int64_t n;

	if ((revents & EV_WRITE) && !peer_flush(p))
		return false;
	if ((revents & EV_READ) && buf_len(&p->out) == 0 && !p->eof) {
		if ((n = peer_read(p)) == -2)
			return false;
		if (n > 0 && !peer_send(p, p->thread->scratch, (size_t)n))
			return false;
	}
	return !(p->eof && buf_len(&p->out) == 0);
}

static bool
hello_start(struct peer *p)
{
	const char *name = p->lies ? p->thread->config->lie : p->thread->config->name;
	char line[80];
	int n = snprintf(line, sizeof(line), "%s\n", name);

	return peer_send(p, line, (size_t)n);
}

static bool
mute_ready(struct peer *p, int revents)
{
	(void)revents;
	return peer_read(p) != -2 && !p->eof;
}

/* Counts what comes; once the client has ended its half, says how much it
 * was, so that the client can tell whether anything was lost on the way. */
static bool
sink_ready(struct peer *p, int revents)
{
	char line[32];
	ssize_t n;

	if (revents & EV_WRITE)
		return peer_flush(p) && buf_len(&p->out) > 0;
	/* MSG_TRUNC: the kernel throws the bytes away without copying them. */
	if (p->ssl != NULL)
		n = secure_read(p->ssl, p->thread->scratch, SERVE_SCRATCH);
	else
		n = recv(p->fd, p->thread->scratch, SERVE_SCRATCH, MSG_TRUNC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	p->taken += (uint64_t)n;
	if (n > 0)
		return true;
	p->eof = true;
	n = snprintf(line, sizeof(line), "%" PRIu64 "\n", p->taken);
	return peer_send(p, line, (size_t)n) && buf_len(&p->out) > 0;
}

static int
source_wants(const struct peer *p)
{
	return p->left > 0 ? EV_WRITE : p->eof ? 0 : EV_READ;
}

static bool
source_start(struct peer *p)
{
	p->left = p->thread->config->bytes;
	return true;
}

/* Takes the next line "N\n" when it is there; false when it is no number. */
static bool
source_next(struct peer *p)
{
	struct str in;
	const char *end;

	while (p->left == 0) {
		in = buf_str(&p->in);
		if ((end = memchr(in.p, '\n', in.n)) == NULL)
			return in.n < ASK_MAX;
		if (!str_to_u64((struct str){ in.p, (size_t)(end - in.p) }, INT64_MAX, &p->left))
			return false;
		buf_consume(&p->in, (size_t)(end - in.p) + 1);
		p->taken = 0;
	}
	return true;
}

/* A client asks with a line "N\n" and gets N bytes of the pattern, as often
 * as it likes; with --bytes every client gets that many at once, then the end. */
static bool
source_ready(struct peer *p, int revents)
{
	int64_t n;

	if (revents & EV_READ) {
		if ((n = peer_read(p)) == -2)
			return false;
		if (n > 0 && !buf_append(&p->in, p->thread->scratch, (size_t)n))
			return false;
		if (!source_next(p))
			return false;
	}
	if (p->left > 0) {
		if ((n = peer_send_pattern(p, p->taken, p->left)) < 0)
			return false;
		p->taken += (uint64_t)n;
		p->left -= (uint64_t)n;
		if (p->left == 0 && (p->thread->config->bytes > 0 || !source_next(p)))
			return false;
	}
	return p->left > 0 || !p->eof;
}

const struct serve_mode serve_mode_echo = { "echo", stream_start, echo_ready, NULL, stream_wants, NULL };
const struct serve_mode serve_mode_hello = { "hello", hello_start, echo_ready, NULL, stream_wants, NULL };
const struct serve_mode serve_mode_sink = { "sink", stream_start, sink_ready, NULL, stream_wants, NULL };
const struct serve_mode serve_mode_source = {
	"source", source_start, source_ready, NULL, source_wants, NULL
};
const struct serve_mode serve_mode_mute = { "mute", stream_start, mute_ready, NULL, stream_wants, NULL };
