/* test_listening.c - the sockets of an address: whose they are, what they are
 * refused for, what is adopted, and which file is removed. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/check.h"
#include "net/handed.h"
#include "net/listening.h"

static const struct listening_terms plain = {
	.backlog = 8, .mode = 0666, .uid = (uid_t)-1, .gid = (gid_t)-1
};
static const struct listening_terms datagrams = { .datagram = true };

static struct addr
address(const char *text)
{
	struct addr a;
	struct why why;

	assert_int_equal(addr_parse(text, ADDR_PORT_0, &a, &why), OK);
	return a;
}

static struct addr
bound(int fd)
{
	struct addr a = { .len = sizeof(a.u) };

	assert_int_equal(getsockname(fd, &a.u.sa, &a.len), 0);
	return a;
}

static int
dial(const struct addr *to)
{
	int fd = socket(addr_family(to), SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (connect(fd, &to->u.sa, to->len) == 0)
		return fd;
	close(fd);
	return -1;
}

static void
end(struct listening *l)
{
	for (unsigned i = 0; i < l->n; i++)
		close(l->fds[i]);
	listening_close(l);
}

static void
test_siblings_share_a_port_that_no_other_may_have(void **state)
{
	struct addr any = address("127.0.0.1:0"), at;
	struct listening l, other;
	struct why why;

	(void)state;
	assert_int_equal(listening_open(&l, &any, &plain, 3, &why), OK);
	assert_int_equal(l.n, 3);
	at = bound(l.fds[0]);
	for (unsigned i = 1; i < 3; i++) {
		struct addr sibling = bound(l.fds[i]);

		assert_true(addr_equal(&at, &sibling));
	}
	assert_int_equal(listening_open(&other, &at, &plain, 1, &why), E_USAGE);
	assert_non_null(strstr(why.text, "another process already does (see: ss -ltnp)"));
	end(&l);
	assert_int_equal(listening_open(&other, &at, &plain, 1, &why), OK);
	end(&other);
}

static void
test_an_address_of_datagrams_is_one_of_its_own(void **state)
{
	struct addr any = address("127.0.0.1:0"), at;
	struct listening tcp, udp, other;
	struct why why;

	(void)state;
	assert_int_equal(listening_open(&tcp, &any, &plain, 1, &why), OK);
	at = bound(tcp.fds[0]);
	assert_int_equal(listening_open(&udp, &at, &datagrams, 3, &why), OK);
	assert_int_equal(udp.n, 3);
	/* A second program does not get a share of what comes. */
	assert_int_equal(listening_open(&other, &at, &datagrams, 1, &why), E_USAGE);
	assert_non_null(strstr(why.text, "another process already does, or flows of UDP of what a reload took away there go on, until "
				      "its drain.timeout at most (see: ss -lunp)"));
	end(&udp);
	assert_int_equal(listening_open(&other, &at, &datagrams, 1, &why), OK);
	end(&other);
	end(&tcp);
}

static void
test_clients_are_refused_before_the_start(void **state)
{
	struct listening_terms later = plain;
	struct addr any = address("127.0.0.1:0"), at;
	struct listening l, other;
	struct why why;
	int client;

	(void)state;
	later.backlog = 0;
	assert_int_equal(listening_open(&l, &any, &later, 2, &why), OK);
	at = bound(l.fds[0]);
	assert_int_equal(dial(&at), -1);
	/* Bound sockets exclude each other only once one listens. */
	assert_int_equal(listening_open(&other, &at, &later, 1, &why), OK);
	assert_int_equal(listening_start(&l, 8, &why), OK);
	assert_int_equal(listening_start(&other, 8, &why), E_USAGE);
	client = dial(&at);
	assert_true(client >= 0);
	close(client);
	end(&other);
	end(&l);
}

static void
test_an_address_that_is_not_here_yet(void **state)
{
	static const struct {
		const char *at, *hint;
	} table[] = { { "192.0.2.1:80", "net.ipv4.ip_nonlocal_bind=1" },
		      { "[2001:db8::1]:80", "net.ipv6.ip_nonlocal_bind=1" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct listening_terms terms = { .mode = 0666, .uid = (uid_t)-1, .gid = (gid_t)-1 };
		struct addr a = address(table[i].at);
		struct listening l;
		struct why why;

		assert_int_equal(listening_open(&l, &a, &terms, 1, &why), E_USAGE);
		assert_non_null(strstr(why.text, table[i].hint));
		terms.freebind = true;
		assert_int_equal(listening_open(&l, &a, &terms, 1, &why), OK);
		end(&l);
	}
}

struct folder {
	char path[32];
	char text[64];	/* unix:PATH/s */
	struct addr at;
};

static int
make_folder(void **state)
{
	struct folder *f = must_alloc(sizeof(*f));

	snprintf(f->path, sizeof(f->path), "/tmp/teal-listening-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	snprintf(f->text, sizeof(f->text), "unix:%s/s", f->path);
	f->at = address(f->text);
	*state = f;
	return 0;
}

static int
remove_folder(void **state)
{
	struct folder *f = *state;

	assert_int_equal(rmdir(f->path), 0);
	free(f);
	return 0;
}

static void
test_a_path_has_its_mode_whatever_the_umask(void **state)
{
	static const mode_t modes[] = { 0600, 0660, 0666 };
	struct folder *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		struct listening_terms terms = plain;
		mode_t mask = umask(i == 0 ? 0 : 0077);
		struct listening l;
		struct why why;
		struct stat st;

		terms.mode = modes[i];
		assert_int_equal(listening_open(&l, &f->at, &terms, 2, &why), OK);
		umask(mask);
		assert_int_equal(stat(f->at.u.un.sun_path, &st), 0);
		assert_int_equal(st.st_mode & 0777, modes[i]);
		end(&l);
		assert_int_not_equal(stat(f->at.u.un.sun_path, &st), 0);
	}
}

static void
test_a_stale_path_makes_way_and_one_in_use_does_not(void **state)
{
	struct folder *f = *state;
	struct listening l, other;
	struct why why;
	int fd;

	assert_int_equal(listening_open(&l, &f->at, &plain, 1, &why), OK);
	assert_int_equal(listening_open(&other, &f->at, &plain, 1, &why), E_USAGE);
	assert_non_null(strstr(why.text, "already answers on"));
	close(l.fds[0]);
	/* Its process is gone, the file is not. */
	assert_int_equal(listening_open(&other, &f->at, &plain, 1, &why), OK);
	listening_close(&l);	/* and that one's file is another by now */
	fd = dial(&f->at);
	assert_true(fd >= 0);
	close(fd);
	end(&other);

	fd = open(f->at.u.un.sun_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	assert_int_equal(listening_open(&l, &f->at, &plain, 1, &why), E_USAGE);
	assert_non_null(strstr(why.text, "not a socket"));
	assert_int_equal(unlink(f->at.u.un.sun_path), 0);
}

/* In a process of its own, whose descriptors from 3 on are the handed ones. */
static void
adopt(const struct addr *at, const struct listening_terms *terms, const int *fds, unsigned n, unsigned wanted, unsigned expected)
{
	struct listening l;
	struct why why;
	char text[16];

	/* Out of the way of 3 to 3 + n first. */
	int high[8];

	for (unsigned i = 0; i < n; i++)
		high[i] = fcntl(fds[i], F_DUPFD, 100);
	for (unsigned i = 0; i < n; i++)
		dup2(high[i], 3 + (int)i);
	snprintf(text, sizeof(text), "%d", (int)getpid());
	setenv("LISTEN_PID", text, 1);
	snprintf(text, sizeof(text), "%u", n);
	setenv("LISTEN_FDS", text, 1);
	handed_take_up();
	if (getenv("LISTEN_FDS") != NULL)
		_exit(10);
	if (listening_open(&l, at, terms, wanted, &why) != OK)
		_exit(11);
	if (l.n != expected)
		_exit(12);
	for (unsigned i = 0; i < n && i < l.n; i++)
		if ((fcntl(l.fds[i], F_GETFD) & FD_CLOEXEC) == 0 ||
		    (fcntl(l.fds[i], F_GETFL) & O_NONBLOCK) == 0)
			_exit(13);
	if (handed_drop_rest() != 0)
		_exit(14);
	/* What was queued before is there. */
	for (unsigned i = 0; i < l.n; i++)
		if (terms->datagram ? recv(l.fds[i], text, sizeof(text), 0) == 1 : accept4(l.fds[i], NULL, NULL, SOCK_CLOEXEC) >= 0)
			_exit(0);
	_exit(15);
}

static int
say_by_datagram(const struct addr *to)
{
	int fd = socket(addr_family(to), SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(sendto(fd, "x", 1, 0, &to->u.sa, to->len), 1);
	return fd;
}

static void
check_adopted(const struct addr *any, const struct listening_terms *terms, unsigned n, unsigned wanted, unsigned expected)
{
	struct listening l;
	struct addr at;
	struct why why;
	int client, status;
	pid_t pid;

	assert_int_equal(listening_open(&l, any, terms, n, &why), OK);
	at = bound(l.fds[0]);
	client = terms->datagram ? say_by_datagram(&at) : dial(&at);
	assert_true(client >= 0);
	if ((pid = fork()) == 0)
		adopt(&at, terms, l.fds, n, wanted, expected);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(client);
	end(&l);
}

static void
test_what_was_handed_is_adopted_with_its_queue(void **state)
{
	struct folder *f = *state;
	struct addr any = address("127.0.0.1:0"), six = address("[::1]:0");

	check_adopted(&any, &plain, 2, 2, 2);
	/* More threads than before: the others are bound beside them. */
	check_adopted(&any, &plain, 2, 4, 4);
	/* Fewer: each queue is still somebody's. */
	check_adopted(&any, &plain, 3, 1, 3);
	check_adopted(&six, &plain, 1, 2, 2);
	check_adopted(&f->at, &plain, 1, 3, 3);
	/* Of datagrams as many as before, or who sends them would get to another one. */
	check_adopted(&any, &datagrams, 2, 2, 2);
	check_adopted(&any, &datagrams, 2, 4, 2);
	check_adopted(&six, &datagrams, 3, 1, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_siblings_share_a_port_that_no_other_may_have),
		cmocka_unit_test(test_an_address_of_datagrams_is_one_of_its_own),
		cmocka_unit_test(test_clients_are_refused_before_the_start),
		cmocka_unit_test(test_an_address_that_is_not_here_yet),
		cmocka_unit_test_setup_teardown(test_a_path_has_its_mode_whatever_the_umask, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_a_stale_path_makes_way_and_one_in_use_does_not, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(test_what_was_handed_is_adopted_with_its_queue, make_folder,
						remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
