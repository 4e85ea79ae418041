/* test_relay.c - one direction of bytes over real sockets: nothing lost,
 * nothing held while idle, bounded when the reader is slow, half-close kept. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "net/relay.h"

struct rig {
	int writer, reader;	/* the far ends */
	struct io source, destination;
	struct relay_buffers buffers;
	struct relay relay;
};

static void
never(struct ev_loop *loop, ev_io *w, int revents)
{
	(void)loop;
	(void)w;
	(void)revents;
	fail();
}

/* splice(2) wants TCP: a connected pair over loopback, near end non-blocking. */
static void
tcp_pair(int *far, int *near)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0), room = 4 << 20;

	/* Enough for full reads however slowly this process runs. */
	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
	*far = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(*far, (struct sockaddr *)&a, sizeof(a)), 0);
	*near = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	assert_true(*near >= 0);
	close(listener);
}

static int
setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	int near;

	tcp_pair(&r->writer, &near);
	io_init(&r->source, near, never);
	tcp_pair(&r->reader, &near);
	io_init(&r->destination, near, never);
	r->buffers.size = 64 * 1024;
	r->buffers.buffer = malloc(r->buffers.size);
	pipes_init(&r->buffers.pipes, 8);
	*state = r;
	return 0;
}

static int
teardown(void **state)
{
	struct rig *r = *state;

	relay_end(&r->relay, &r->buffers);
	pipes_free(&r->buffers.pipes);
	assert_int_equal(r->buffers.pipes.n_used, 0);
	free(r->buffers.buffer);
	close(r->writer);
	close(r->reader);
	close(io_fd(&r->source));
	close(io_fd(&r->destination));
	free(r);
	return 0;
}

/* What one end sends is at the other a moment later, no sooner: POLLIN bytes,
 * POLLRDHUP the end behind them, POLLHUP a reset. */
static void
await(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (poll(&p, 1, 10000) != 1 || (p.revents & events) == 0)
		fail_msg("waited ten seconds for 0x%x, got 0x%x", events, p.revents);
}

static enum relay_result
step(struct rig *r)
{
	return relay_move(&r->relay, &r->source, &r->destination, &r->buffers, false);
}

static void
test_small_message_passes_and_nothing_is_kept(void **state)
{
	struct rig *r = *state;
	char text[16];

	assert_int_equal(write(r->writer, "hello", 5), 5);
	await(io_fd(&r->source), POLLIN);
	assert_int_equal(step(r), RELAY_OK);
	assert_int_equal(recv(r->reader, text, sizeof(text), 0), 5);
	assert_memory_equal(text, "hello", 5);
	assert_false(relay_is_blocked(&r->relay));
	assert_int_equal(r->relay.bytes, 5);
	assert_int_equal(relay_wants(&r->relay, &r->relay), EV_READ);
}

static unsigned char
pattern(uint64_t at)
{
	return (unsigned char)((at * 2654435761u) >> 13);
}

/* Sends total bytes through a reader that takes them in bursts; checks every
 * byte, and that the relay never holds more than its bound. */
static void
pump(struct rig *r, uint64_t total, bool *spliced)
{
	unsigned char *chunk = malloc(1 << 20);
	uint64_t sent = 0, got = 0;

	fcntl(r->writer, F_SETFL, O_NONBLOCK);
	fcntl(r->reader, F_SETFL, O_NONBLOCK);
	while (got < total) {
		size_t want = total - sent < (1 << 20) ? (size_t)(total - sent) : 1 << 20;
		ssize_t n;

		for (size_t i = 0; i < want; i++)
			chunk[i] = pattern(sent + i);
		if (want > 0 && (n = send(r->writer, chunk, want, 0)) > 0)
			sent += (uint64_t)n;
		if (sent == total)
			shutdown(r->writer, SHUT_WR);
		assert_int_equal(step(r), RELAY_OK);
		*spliced |= r->relay.splicing;
		if (r->relay.pipe != NULL)
			assert_true(r->relay.pipe->held <= r->relay.pipe->capacity);
		if (relay_is_blocked(&r->relay))
			assert_false(relay_wants(&r->relay, &r->relay) & EV_READ);
		while ((n = recv(r->reader, chunk, 1 << 20, 0)) > 0) {
			for (ssize_t i = 0; i < n; i++)
				if (chunk[i] != pattern(got + (uint64_t)i))
					fail_msg("byte %llu differs",
						 (unsigned long long)got + (unsigned long long)i);
			got += (uint64_t)n;
		}
	}
	await(io_fd(&r->source), POLLRDHUP);
	for (int i = 0; i < 1000 && !r->relay.done; i++)
		assert_int_equal(step(r), RELAY_OK);
	assert_true(r->relay.done);
	await(r->reader, POLLRDHUP);
	assert_int_equal(recv(r->reader, chunk, 1, 0), 0);
	assert_int_equal(r->relay.bytes, total);
	free(chunk);
}

static void
test_bulk_is_exact_and_turns_to_splice(void **state)
{
	bool spliced = false;

	pump(*state, 64 << 20, &spliced);
	assert_true(spliced);
}

static void
test_splice_turns_back_when_quiet(void **state)
{
	struct rig *r = *state;
	char text[8];

	r->relay.splicing = true;
	for (int i = 0; i < 64 && r->relay.splicing; i++) {
		assert_int_equal(write(r->writer, "x", 1), 1);
		await(io_fd(&r->source), POLLIN);
		assert_int_equal(step(r), RELAY_OK);
		assert_int_equal(recv(r->reader, text, sizeof(text), 0), 1);
		/* A quiet stream holds no pipe, splicing or not. */
		assert_null(r->relay.pipe);
	}
	assert_false(r->relay.splicing);
}

static void
test_slow_reader_blocks_the_source_within_bounds(void **state)
{
	struct rig *r = *state;
	char *big = calloc(1, 1 << 20);
	uint64_t before = 0;

	fcntl(r->writer, F_SETFL, O_NONBLOCK);
	/* Nobody reads: sooner or later nothing more is taken in. */
	for (int quiet = 0; quiet < 50; quiet++) {
		while (send(r->writer, big, 1 << 20, 0) > 0)
			;
		assert_int_equal(step(r), RELAY_OK);
		if (r->relay.bytes != before)
			quiet = 0;
		before = r->relay.bytes;
		assert_true(before < 256 << 20);
		usleep(500);
	}
	assert_true(relay_is_blocked(&r->relay));
	assert_int_equal(relay_wants(&r->relay, &r->relay), EV_WRITE);
	free(big);
}

static void
test_end_of_source_is_passed_on_after_the_last_byte(void **state)
{
	struct rig *r = *state;
	char text[8];

	assert_int_equal(write(r->writer, "bye", 3), 3);
	shutdown(r->writer, SHUT_WR);
	await(io_fd(&r->source), POLLRDHUP);
	assert_int_equal(step(r), RELAY_OK);
	for (int i = 0; i < 100 && !r->relay.done; i++)
		assert_int_equal(step(r), RELAY_OK);
	assert_true(r->relay.eof);
	assert_true(r->relay.done);
	assert_int_equal(recv(r->reader, text, sizeof(text), 0), 3);
	assert_int_equal(recv(r->reader, text, sizeof(text), 0), 0);
	/* The other direction is still open. */
	assert_int_equal(write(r->reader, "ok", 2), 2);
}

static void
test_last_direction_sees_the_end_together_with_the_data(void **state)
{
	struct rig *r = *state;
	char text[8];

	assert_int_equal(write(r->writer, "bye", 3), 3);
	close(r->writer);
	r->writer = dup(0);
	await(io_fd(&r->source), POLLRDHUP);
	assert_int_equal(relay_move(&r->relay, &r->source, &r->destination, &r->buffers, true), RELAY_OK);
	/* One step: data and end; no FIN of its own, the close will say it. */
	assert_true(r->relay.done);
	shutdown(io_fd(&r->destination), SHUT_WR);
	assert_int_equal(recv(r->reader, text, sizeof(text), 0), 3);
	assert_int_equal(recv(r->reader, text, sizeof(text), 0), 0);
}

static void
test_reset_source_and_reset_destination_are_told_apart(void **state)
{
	struct rig *r = *state;
	struct linger linger = { 1, 0 };

	setsockopt(r->writer, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(r->writer);
	r->writer = dup(0);
	await(io_fd(&r->source), POLLHUP);
	assert_int_equal(step(r), RELAY_SOURCE_FAILED);
	assert_int_equal(errno, ECONNRESET);
}

/* What was said before a reset is delivered, and the reset is told as well. */
static void
test_bytes_before_a_reset_are_not_lost(void **state)
{
	struct rig *r = *state;
	struct linger linger = { 1, 0 };
	char text[16];

	assert_int_equal(write(r->writer, "too many", 8), 8);
	setsockopt(r->writer, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(r->writer);
	r->writer = dup(0);
	await(io_fd(&r->source), POLLHUP);
	assert_int_equal(step(r), RELAY_SOURCE_FAILED);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(recv(r->reader, text, sizeof(text), 0), 8);
	assert_memory_equal(text, "too many", 8);
	assert_int_equal(r->relay.bytes, 8);
}

/* A write that fails takes the error from the socket, which reads as ended then. */
static void
test_a_reset_that_a_write_was_told_is_no_end(void **state)
{
	struct rig *r = *state;
	struct linger linger = { 1, 0 };
	char text[16];

	assert_int_equal(write(r->writer, "half", 4), 4);
	setsockopt(r->writer, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(r->writer);
	r->writer = dup(0);
	await(io_fd(&r->source), POLLHUP);
	assert_int_equal(io_write(&r->source, "x", 1, false), -1);
	assert_int_equal(errno, ECONNRESET);
	relay_source_failed(&r->relay);
	/* By a copy; the splice below finds the end alone. */
	assert_int_equal(step(r), RELAY_SOURCE_FAILED);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(recv(r->reader, text, sizeof(text), 0), 4);
	r->relay.splicing = true;
	errno = 0;
	assert_int_equal(step(r), RELAY_SOURCE_FAILED);
	assert_int_equal(errno, ECONNRESET);
	assert_false(r->relay.eof);
}

static void
test_an_end_before_a_reset_that_a_write_was_told_stands(void **state)
{
	struct rig *r = *state;
	char text[16];

	assert_int_equal(write(r->writer, "whole", 5), 5);
	close(r->writer);
	r->writer = dup(0);
	await(io_fd(&r->source), POLLRDHUP);
	/* The first is answered by a reset, the second is told of it. */
	assert_int_equal(io_write(&r->source, "x", 1, false), 1);
	await(io_fd(&r->source), POLLHUP);
	assert_int_equal(io_write(&r->source, "x", 1, false), -1);
	assert_int_equal(errno, EPIPE);
	relay_source_failed(&r->relay);
	for (int i = 0; i < 100 && !r->relay.done; i++)
		assert_int_equal(step(r), RELAY_OK);
	assert_true(r->relay.done);
	assert_int_equal(recv(r->reader, text, sizeof(text), 0), 5);
}

static void
test_rescue_passes_on_the_last_words_but_no_end(void **state)
{
	struct rig *r = *state;
	char text[16];

	assert_int_equal(write(r->writer, "too large", 9), 9);
	close(r->writer);
	r->writer = dup(0);
	await(io_fd(&r->source), POLLRDHUP);
	relay_rescue(&r->relay, &r->source, &r->destination, &r->buffers);
	assert_int_equal(recv(r->reader, text, sizeof(text), 0), 9);
	assert_int_equal(recv(r->reader, text, sizeof(text), MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	assert_false(r->relay.done);
}

static void
test_reset_destination_fails_the_destination(void **state)
{
	struct rig *r = *state;
	struct linger linger = { 1, 0 };

	setsockopt(r->reader, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(r->reader);
	r->reader = dup(0);
	assert_int_equal(write(r->writer, "x", 1), 1);
	await(io_fd(&r->destination), POLLHUP);
	await(io_fd(&r->source), POLLIN);
	assert_int_equal(step(r), RELAY_DESTINATION_FAILED);
}

/* Each of many small pieces is copied a bounded number of times. */
static void
test_many_small_pieces_are_held_without_moving_each_time(void **state)
{
	struct rig *r = *state;
	struct relay_held *before = NULL;
	unsigned moves = 0;
	size_t got = 0;
	char all[4096];

	for (unsigned i = 0; i < 20000; i++) {
		char piece[5];

		snprintf(piece, sizeof(piece), "%04u", i % 10000);
		assert_true(relay_hold(&r->relay, piece, 4));
		moves += r->relay.held != before;
		before = r->relay.held;
	}
	assert_in_range(moves, 1, 20);
	assert_int_equal(relay_waiting(&r->relay), 80000);
	while (got < 80000) {
		ssize_t n;

		assert_int_equal(relay_flush(&r->relay, &r->destination, &r->buffers), RELAY_OK);
		n = read(r->reader, all, sizeof(all));
		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++, got++) {
			char piece[5];

			snprintf(piece, sizeof(piece), "%04u", (unsigned)(got / 4) % 10000);
			assert_int_equal(all[i], piece[got % 4]);
		}
	}
	assert_false(relay_is_blocked(&r->relay));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_small_message_passes_and_nothing_is_kept),
		T(test_bulk_is_exact_and_turns_to_splice),
		T(test_splice_turns_back_when_quiet),
		T(test_slow_reader_blocks_the_source_within_bounds),
		T(test_end_of_source_is_passed_on_after_the_last_byte),
		T(test_last_direction_sees_the_end_together_with_the_data),
		T(test_reset_source_and_reset_destination_are_told_apart),
		T(test_bytes_before_a_reset_are_not_lost),
		T(test_a_reset_that_a_write_was_told_is_no_end),
		T(test_an_end_before_a_reset_that_a_write_was_told_stands),
		T(test_rescue_passes_on_the_last_words_but_no_end),
		T(test_reset_destination_fails_the_destination),
		T(test_many_small_pieces_are_held_without_moving_each_time),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
