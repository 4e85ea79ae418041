/* test_log.c - lines come out whole, nobody waits for the reader, and what is
 * missing is counted.
 * The order matters: until the first log_start() lines go to stderr. */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/log_ring.h"
#include "wait.h"

/* Reading */

/* Reads on until the end of file, or until there are that many lines. */
static void
read_lines(int fd, struct buf *b, size_t want)
{
	size_t lines = 0;
	char part[65536];

	while (lines < want) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, PATIENCE * 1000) <= 0)
			fail_msg("%zu of %zu lines came", lines, want);
		if ((n = read(fd, part, sizeof(part))) <= 0)
			return;
		for (ssize_t i = 0; i < n; i++)
			lines += part[i] == '\n';
		assert_true(buf_append(b, part, (size_t)n));
	}
}

/* Takes the first line off b and parses it; NULL when none is left.  A line
 * that is torn is no JSON, and fails here. */
static json_t *
next_line(struct buf *b)
{
	struct str s = buf_str(b);
	const char *lf = s.n > 0 ? memchr(s.p, '\n', s.n) : NULL;
	json_error_t error;
	json_t *line;

	if (lf == NULL) {
		assert_int_equal(s.n, 0);	/* no half line at the end */
		return NULL;
	}
	if ((line = json_loadb(s.p, (size_t)(lf - s.p), 0, &error)) == NULL)
		fail_msg("%.*s: %s", (int)(lf - s.p), s.p, error.text);
	buf_consume(b, (size_t)(lf - s.p) + 1);
	return line;
}

static const char *
text_of(json_t *line, const char *key)
{
	const char *s = json_string_value(json_object_get(line, key));

	assert_non_null(s);
	return s;
}

/* Counts the lines of that event, and adds up their "count". */
static size_t
count_lines(struct buf *b, const char *event, uint64_t *reported)
{
	size_t n = 0;
	json_t *line;

	*reported = 0;
	while ((line = next_line(b)) != NULL) {
		if (strcmp(text_of(line, "event"), event) == 0)
			n++;
		else if (strcmp(text_of(line, "event"), "log.dropped") == 0)
			*reported += (uint64_t)json_integer_value(json_object_get(line, "count"));
		else
			fail_msg("strange event %s", text_of(line, "event"));
		json_decref(line);
	}
	return n;
}

/* As count_lines(), of what a reader gets who was blocked until the end: one
 * line may be torn, by which the log thread ran out of room and of time. */
static size_t
count_cut_off(struct buf *b, const char *event, uint64_t *reported)
{
	struct buf whole;
	size_t n, torn = 0;

	buf_init(&whole, b->max);
	while ((n = buf_len(b)) > 0) {
		const char *p = buf_str(b).p, *lf = memchr(p, '\n', n);
		size_t len = lf != NULL ? (size_t)(lf - p) + 1 : n;

		if (len >= 2 && memcmp(p + len - 2, "}\n", 2) == 0)
			assert_true(buf_append(&whole, p, len));
		else
			torn++;
		buf_consume(b, len);
	}
	assert_in_range(torn, 0, 1);
	n = count_lines(&whole, event, reported);
	buf_free(&whole);
	return n;
}

static void
open_pipe(int ends[2])
{
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
}

/* Before log_start() */

static void
test_before_start_lines_go_to_stderr(void **state)
{
	int ends[2], saved = dup(STDERR_FILENO);
	uint64_t before = log_dropped();
	struct buf b;
	json_t *line;

	(void)state;
	buf_init(&b, 1 << 20);
	open_pipe(ends);
	dup2(ends[1], STDERR_FILENO);
	LOG_INFO("early", LS("word", "hello"));
	close(ends[1]);
	read_lines(ends[0], &b, 1);
	close(ends[0]);
	LOG_INFO("nobody.reads");	/* must not end us by SIGPIPE */
	dup2(saved, STDERR_FILENO);
	close(saved);
	line = next_line(&b);
	assert_string_equal(text_of(line, "event"), "early");
	assert_string_equal(text_of(line, "word"), "hello");
	json_decref(line);
	assert_int_equal(log_dropped() - before, 1);
	buf_free(&b);
}

static void
test_levels(void **state)
{
	enum log_level level = LOG_ERROR_LEVEL;

	(void)state;
	assert_int_equal(log_level(), LOG_INFO_LEVEL);
	for (enum log_level l = LOG_DEBUG_LEVEL; l <= LOG_ERROR_LEVEL; l++) {
		assert_true(log_level_from_word(log_level_word(l), &level));
		assert_int_equal(level, l);
	}
	assert_true(log_level_from_word("warn", &level));
	assert_false(log_level_from_word("warning", &level));
	assert_false(log_level_from_word("", &level));
	assert_int_equal(level, LOG_WARN_LEVEL);
}

/* Lines.  From here on each test starts the log and stops it. */

static struct buf got;
static int ends[2];

static int
setup_pipe(void **state)
{
	(void)state;
	buf_init(&got, 256 << 20);
	open_pipe(ends);
	log_attach();
	log_attach();	/* once more changes nothing */
	log_start(ends[1]);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	log_stop(PATIENCE);
	log_set_level(LOG_INFO_LEVEL);
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	buf_free(&got);
	return 0;
}

/* Stops the log and reads what is left: nothing may be missing then. */
static void
stop_and_read(void)
{
	log_stop(PATIENCE);
	close(ends[1]);
	ends[1] = -1;
	read_lines(ends[0], &got, SIZE_MAX);
}

static void
test_fields_and_their_order(void **state)
{
	struct str line;
	char expected[600];
	int64_t before = clock_wall_us(), after;
	char from[CLOCK_TEXT], to[CLOCK_TEXT];

	(void)state;
	LOG_WARN("thing.happened", LS("s", "a\"b"), LS("null", NULL), LT("t", STR("sub")),
		 LU("u", UINT64_MAX), LI("i", -5), LF("f", 1.25), LB("yes", true), LB("no", false),
		 LR("raw", STR("{\"x\":\n1}")), LR(NULL, STR("\"a\":1,\"b\":2")), LR(NULL, STR("")),
		 LS("last", "z"));
	read_lines(ends[0], &got, 1);
	after = clock_wall_us();
	line = buf_str(&got);
	clock_format(before, 6, from);
	clock_format(after, 6, to);
	/* such times compare as text */
	assert_true(memcmp(line.p + strlen("{\"time\":\""), from, strlen(from)) >= 0);
	assert_true(memcmp(line.p + strlen("{\"time\":\""), to, strlen(to)) <= 0);
	snprintf(
		expected, sizeof(expected),
		"{\"time\":\"%.27s\",\"level\":\"warn\",\"event\":\"thing.happened\",\"s\":\"a\\\"b\",\"null\":\"\","
		"\"t\":\"sub\",\"u\":18446744073709551615,\"i\":-5,\"f\":1.25,\"yes\":true,\"no\":false,"
		"\"raw\":{\"x\": 1},\"a\":1,\"b\":2,\"last\":\"z\"}\n",
		line.p + strlen("{\"time\":\""));
	assert_int_equal(line.n, strlen(expected));
	assert_memory_equal(line.p, expected, line.n);
}

static void
test_level_decides(void **state)
{
	json_t *line;

	(void)state;
	LOG_DEBUG("unheard");
	log_set_level(LOG_ERROR_LEVEL);
	LOG_WARN("unheard");
	LOG_ERROR("first");
	log_set_level(LOG_DEBUG_LEVEL);
	LOG_DEBUG("second");
	stop_and_read();
	line = next_line(&got);
	assert_string_equal(text_of(line, "event"), "first");
	assert_string_equal(text_of(line, "level"), "error");
	json_decref(line);
	line = next_line(&got);
	assert_string_equal(text_of(line, "event"), "second");
	json_decref(line);
	assert_null(next_line(&got));
}

static void
test_long_strings_are_cut_between_characters(void **state)
{
	char text[LOG_STRING_MAX + 10];
	json_t *line;

	(void)state;
	for (size_t shift = 0; shift < 3; shift++) {	/* the euro sign is three bytes */
		const char *read;
		size_t n;

		memset(text, 'x', sizeof(text));
		for (size_t i = shift; i + 3 <= sizeof(text); i += 3)
			memcpy(text + i, "\xe2\x82\xac", 3);
		LOG_INFO("long", LT("s", ((struct str){ text, sizeof(text) })));
		read_lines(ends[0], &got, 1);
		line = next_line(&got);
		read = text_of(line, "s");
		n = strlen(read);
		assert_true(n <= LOG_STRING_MAX && n > LOG_STRING_MAX - 3);
		assert_memory_equal(read, text, n);	/* and no U+FFFD at the end */
		json_decref(line);
	}
	/* bytes that are no UTF-8 at all are cut where they are */
	memset(text, 0x80, sizeof(text));
	LOG_INFO("long", LT("s", ((struct str){ text, sizeof(text) })));
	read_lines(ends[0], &got, 1);
	line = next_line(&got);
	assert_int_equal(strlen(text_of(line, "s")), 3 * LOG_STRING_MAX);
	json_decref(line);
}

static void
test_nobody_can_keep_his_line_out(void **state)
{
	static char worst[LOG_STRING_MAX];
	uint64_t before = log_dropped();
	struct str s = { worst, sizeof(worst) };
	json_t *line;

	(void)state;
	memset(worst, 1, sizeof(worst));	/* each byte becomes six */
	LOG_INFO("attack", LT("a", s), LT("b", s), LT("c", s), LT("d", s), LT("e", s), LT("f", s), LT("g", s),
		 LT("h", s), LT("i", s), LT("j", s), LT("k", s), LT("l", s), LS("client", "192.0.2.1:1"));
	stop_and_read();
	assert_true(buf_len(&got) <= LOG_LINE_MAX);
	line = next_line(&got);
	assert_string_equal(text_of(line, "client"), "192.0.2.1:1");
	json_decref(line);
	assert_int_equal(log_dropped(), before);
}

static void
test_line_too_long_even_so_is_counted(void **state)
{
	char *raw = malloc(LOG_LINE_MAX);
	uint64_t before = log_dropped(), reported;

	(void)state;
	assert_non_null(raw);
	memset(raw, ' ', LOG_LINE_MAX);
	raw[LOG_LINE_MAX - 1] = '1';
	LOG_INFO("too.long", LR("raw", ((struct str){ raw, LOG_LINE_MAX })));
	LOG_INFO("fits");
	stop_and_read();
	assert_int_equal(log_dropped() - before, 1);
	assert_int_equal(count_lines(&got, "fits", &reported), 1);
	assert_int_equal(reported, 1);
	free(raw);
}

/* Time */

/* An idle log thread sleeps for good: it does not happen to look, it is woken. */
static void
test_a_line_wakes_the_idle_log_thread(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		POLL_UNTIL(atomic_load(&log_shared.sleep) == LOG_SLEEPING);
		LOG_INFO("tick");
		read_lines(ends[0], &got, 1);
	}
}

/* Blocked readers */

#define MANY 20000

/* Far more than the ring and the pipe hold; a producer that waited for its reader
 * would not come back. */
static void
log_many(void)
{
	for (unsigned i = 0; i < MANY; i++)
		LOG_INFO("many", LU("i", i), LS("padding", "0123456789012345678901234567890123456789"));
}

static void
test_blocked_reader_costs_lines_not_time(void **state)
{
	uint64_t before = log_dropped(), reported, dropped;
	size_t lines;

	(void)state;
	log_many();
	dropped = log_dropped() - before;
	assert_true(dropped > 0 && dropped < MANY);
	/* Now somebody reads again: what was kept comes, and the report. */
	read_lines(ends[0], &got, MANY - dropped + 1);
	LOG_INFO("many", LS("after", "all"));
	stop_and_read();
	lines = count_lines(&got, "many", &reported);
	assert_int_equal(lines, MANY + 1 - dropped);
	assert_int_equal(reported, dropped);
	assert_int_equal(log_dropped() - before, dropped);
}

static void
test_stop_waits_no_longer_than_told(void **state)
{
	uint64_t before = log_dropped(), reported;
	double then;
	size_t n;

	(void)state;
	log_many();
	then = clock_now();
	log_stop(0.1);
	assert_true(clock_now() - then >= 0.1);
	/* And not for ever, as the reader does.  All that is not in the pipe counts as dropped, the torn line too. */
	close(ends[1]);
	ends[1] = -1;
	read_lines(ends[0], &got, SIZE_MAX);
	n = count_cut_off(&got, "many", &reported);
	assert_true(n > 0);
	assert_int_equal(n + (log_dropped() - before), MANY);
	if (reported != 0)	/* the report may just have had room */
		assert_int_equal(n + reported, MANY);
	LOG_INFO("many");	/* after the end: nowhere, and counted */
	assert_int_equal(n + (log_dropped() - before), MANY + 1);
}

static void
test_closed_reader_drops_and_counts(void **state)
{
	uint64_t before = log_dropped();

	(void)state;
	close(ends[0]);
	ends[0] = -1;
	for (int i = 0; i < 100; i++)
		LOG_INFO("unread");
	POLL_UNTIL(log_dropped() - before >= 100);
	log_stop(PATIENCE);
	assert_int_equal(log_dropped() - before, 100);
}

/* So that what another process writes into the same pipe or socket comes between lines. */
static void
test_each_write_is_of_whole_lines(void **state)
{
	char text[PIPE_BUF + 1];
	size_t all = 0;
	ssize_t n;
	int pair[2];

	(void)state;
	/* A message for each write. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	log_start(pair[1]);
	for (unsigned i = 0; i < 200; i++)
		LOG_INFO("test.line", LU("n", i), LS("text", &"the quick brown fox jumps over the lazy dog"[i % 40]));
	log_stop(PATIENCE);
	close(pair[1]);
	while ((n = recv(pair[0], text, sizeof(text), 0)) > 0) {
		assert_true(n <= PIPE_BUF && text[0] == '{' && text[n - 1] == '\n');
		for (ssize_t i = 0; i < n; i++)
			all += text[i] == '\n';
	}
	assert_int_equal(all, 200);
	close(pair[0]);
}

static void
test_full_disk_drops_and_counts(void **state)
{
	uint64_t before = log_dropped();
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_true(full >= 0);
	log_start(full);
	for (int i = 0; i < 100; i++)
		LOG_INFO("unwritten");
	log_stop(PATIENCE);
	assert_int_equal(log_dropped() - before, 100);
	close(full);
}

/* A file that stops growing in the middle of a line, and then grows again:
 * the next line must not be glued to the half one. */
static void
test_line_after_a_torn_one_is_whole(void **state)
{
	char path[] = "/tmp/teal-test-log-XXXXXX", text[4096];
	int fd = mkostemp(path, O_CLOEXEC | O_APPEND);
	struct rlimit old, tight;
	uint64_t before = log_dropped();
	ssize_t n;
	char *lf;

	(void)state;
	assert_true(fd >= 0);
	unlink(path);
	getrlimit(RLIMIT_FSIZE, &old);
	tight = old;
	tight.rlim_cur = 50;	/* shorter than the line */
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	log_start(fd);
	LOG_INFO("torn", LS("long", "so long that fifty bytes are not enough"));
	POLL_UNTIL(log_dropped() > before);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	LOG_INFO("whole");
	log_stop(PATIENCE);
	assert_int_equal(log_dropped() - before, 1);
	n = pread(fd, text, sizeof(text) - 1, 0);
	assert_true(n > 50);
	text[n] = '\0';
	close(fd);
	assert_true(text[50] == '\n');
	buf_init(&got, 1 << 20);
	buf_append(&got, text + 51, (size_t)n - 51);
	for (lf = text + 51; (lf = strchr(lf, '\n')) != NULL; lf++) {
		json_t *line = next_line(&got);

		assert_non_null(line);
		json_decref(line);
	}
	assert_non_null(strstr(text + 51, "\"event\":\"whole\""));
	assert_non_null(strstr(text + 51, "\"event\":\"log.dropped\",\"count\":1"));
	buf_free(&got);
}

/* Other kinds of output */

static void
test_socket_as_output(void **state)
{
	uint64_t before = log_dropped(), reported, dropped;
	int pair[2];

	(void)state;
	buf_init(&got, 256 << 20);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	log_start(pair[1]);
	log_many();
	dropped = log_dropped() - before;
	assert_true(dropped > 0);
	read_lines(pair[0], &got, MANY - dropped + 1);
	log_stop(PATIENCE);
	close(pair[1]);
	read_lines(pair[0], &got, SIZE_MAX);
	assert_int_equal(count_lines(&got, "many", &reported), MANY - dropped);
	assert_int_equal(reported, dropped);
	/* our flags did not leak into the shared file */
	assert_int_equal(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0);
	close(pair[0]);
	buf_free(&got);
}

static void
test_pipe_of_another_user(void **state)
{
	uint64_t before = log_dropped(), reported;
	size_t n;

	(void)state;
	if (geteuid() != 0)
		skip();
	buf_init(&got, 256 << 20);
	open_pipe(ends);
	assert_int_equal(seteuid(65534), 0);	/* cannot open root's pipe anew */
	log_start(ends[1]);
	log_many();
	log_stop(0.1);
	assert_int_equal(seteuid(0), 0);
	close(ends[1]);
	read_lines(ends[0], &got, SIZE_MAX);
	n = count_cut_off(&got, "many", &reported);
	assert_true(n > 0);
	assert_int_equal(n + (log_dropped() - before), MANY);
	close(ends[0]);
	buf_free(&got);
}

/* Threads */

#define THREADS 4
#define EACH 15000

static void *
chatter(void *arg)
{
	log_attach();
	for (unsigned i = 0; i < EACH; i++)
		LOG_INFO("chat", LU("thread", (uintptr_t)arg), LU("i", i),
			 LS("text", "some words to fill it"));
	return NULL;
}

static void *
read_to_end(void *unused)
{
	(void)unused;
	read_lines(ends[0], &got, SIZE_MAX);
	return NULL;
}

static void
test_threads_write_at_once_and_no_line_is_torn(void **state)
{
	uint64_t before = log_dropped(), reported = 0, dropped;
	pthread_t threads[THREADS], reader;
	int64_t last[THREADS];
	size_t lines = 0;
	json_t *line;

	(void)state;
	memset(last, -1, sizeof(last));
	pthread_create(&reader, NULL, read_to_end, NULL);
	for (uintptr_t t = 0; t < THREADS; t++)
		pthread_create(&threads[t], NULL, chatter, (void *)t);
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	log_stop(PATIENCE);
	close(ends[1]);
	ends[1] = -1;
	pthread_join(reader, NULL);
	dropped = log_dropped() - before;
	while ((line = next_line(&got)) != NULL) {
		if (strcmp(text_of(line, "event"), "chat") == 0) {
			json_int_t t = json_integer_value(json_object_get(line, "thread"));
			json_int_t i = json_integer_value(json_object_get(line, "i"));

			assert_in_range(t, 0, THREADS - 1);
			assert_true(i > last[t]);	/* in order, none twice */
			last[t] = i;
			lines++;
		} else {
			reported += (uint64_t)json_integer_value(json_object_get(line, "count"));
		}
		json_decref(line);
	}
	assert_int_equal(lines + dropped, THREADS * EACH);
	assert_int_equal(reported, dropped);
}

#define SHORT_LIVES 300

static void *
one_line(void *arg)
{
	LOG_INFO("short.life", LU("i", (uintptr_t)arg));	/* attaches by itself */
	return NULL;
}

static void
test_lines_of_ended_threads_are_kept(void **state)
{
	uint64_t before = log_dropped(), reported;
	unsigned rings = 0;
	pthread_t reader;

	(void)state;
	pthread_create(&reader, NULL, read_to_end, NULL);
	for (uintptr_t i = 0; i < SHORT_LIVES; i++) {
		pthread_t t;

		assert_int_equal(pthread_create(&t, NULL, one_line, (void *)i), 0);
		pthread_join(t, NULL);
	}
	/* Their rings are taken over: a megabyte for each would not last. */
	for (struct log_ring *r = atomic_load(&log_shared.rings); r != NULL; r = r->next)
		rings++;
	assert_in_range(rings, 1, SHORT_LIVES / 10);
	log_stop(PATIENCE);
	close(ends[1]);
	ends[1] = -1;
	pthread_join(reader, NULL);
	assert_int_equal(log_dropped(), before);
	assert_int_equal(count_lines(&got, "short.life", &reported), SHORT_LIVES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_start_lines_go_to_stderr),
		cmocka_unit_test(test_levels),
		cmocka_unit_test_setup_teardown(test_fields_and_their_order, setup_pipe, teardown),
		cmocka_unit_test_setup_teardown(test_level_decides, setup_pipe, teardown),
		cmocka_unit_test_setup_teardown(test_long_strings_are_cut_between_characters, setup_pipe, teardown),
		cmocka_unit_test_setup_teardown(test_nobody_can_keep_his_line_out, setup_pipe, teardown),
		cmocka_unit_test_setup_teardown(test_line_too_long_even_so_is_counted, setup_pipe, teardown),
		cmocka_unit_test_setup_teardown(test_a_line_wakes_the_idle_log_thread, setup_pipe, teardown),
		cmocka_unit_test_setup_teardown(test_blocked_reader_costs_lines_not_time, setup_pipe, teardown),
		cmocka_unit_test_setup_teardown(test_stop_waits_no_longer_than_told, setup_pipe, teardown),
		cmocka_unit_test_setup_teardown(test_closed_reader_drops_and_counts, setup_pipe, teardown),
		cmocka_unit_test(test_each_write_is_of_whole_lines),
		cmocka_unit_test(test_full_disk_drops_and_counts),
		cmocka_unit_test(test_line_after_a_torn_one_is_whole),
		cmocka_unit_test(test_socket_as_output),
		cmocka_unit_test(test_pipe_of_another_user),
		cmocka_unit_test_setup_teardown(test_threads_write_at_once_and_no_line_is_torn, setup_pipe, teardown),
		cmocka_unit_test_setup_teardown(test_lines_of_ended_threads_are_kept, setup_pipe, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
