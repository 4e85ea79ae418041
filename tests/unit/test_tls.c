/* test_tls.c - TLS under io: who is trusted, what travels, how it ends, and
 * which event a wish turns into. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdlib.h>

#include "certificates.h"
#include "net/io.h"
#include "net/tls_client.h"

static struct {
	char dir[64], ca[128];
	struct certificate authority, server;
	struct ev_loop *loop;
	SSL_CTX *client_context, *server_context;
	struct io io;	/* our end */
	int fd;	/* theirs */
	bool by_tcp;
	SSL *ssl;
} t;

static void
never(struct ev_loop *loop, ev_io *w, int revents)
{
	(void)loop, (void)w, (void)revents;
}

static SSL_CTX *
server_context(const struct certificate *c)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	assert_int_equal(SSL_CTX_use_certificate(context, c->x), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(context, c->key), 1);
	return context;
}

static int
begin(void **state)
{
	struct why why;

	(void)state;
	memset(&t, 0, sizeof(t));
	signal(SIGPIPE, SIG_IGN);
	strcpy(t.dir, "/tmp/test_tls.XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	snprintf(t.ca, sizeof(t.ca), "%s/ca.pem", t.dir);
	t.loop = ev_loop_new(0);
	t.authority = certificate_new(NULL, NULL, 10);
	t.server = certificate_new(&t.authority, "DNS:redis.test,DNS:*.wild.test,IP:127.0.0.1,IP:::1", 10);
	certificate_write(&t.authority, t.ca, NULL);
	if (tls_client_context(&(struct tls_client_options){ .ca = t.ca }, &t.client_context, &why) != OK)
		fail_msg("%s", why.text);
	t.server_context = server_context(&t.server);
	return 0;
}

static void
part(void)
{
	io_close(t.loop, &t.io);
	SSL_free(t.ssl);
	t.ssl = NULL;
	if (t.fd > 0)
		close(t.fd);
	t.fd = 0;
}

static int
end(void **state)
{
	(void)state;
	part();
	tls_context_free(&t.client_context);
	SSL_CTX_free(t.server_context);
	certificate_free(&t.authority);
	certificate_free(&t.server);
	ev_loop_destroy(t.loop);
	unlink(t.ca);
	return rmdir(t.dir);
}

/* As socketpair(), but by TCP, which holds far more in small pieces. */
static void
tcp_pair(int fds[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	assert_return_code(bind(listener, (struct sockaddr *)&a, n), errno);
	assert_return_code(listen(listener, 1), errno);
	assert_return_code(getsockname(listener, (struct sockaddr *)&a, &n), errno);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_return_code(connect(fds[0], (struct sockaddr *)&a, n), errno);
	fds[1] = accept(listener, NULL, NULL);
	assert_return_code(fds[1], errno);
	for (int i = 0; i < 2; i++)
		assert_return_code(fcntl(fds[i], F_SETFL, O_NONBLOCK), errno);
	close(listener);
}

/* Both ends of a new connection, nothing said yet. */
static void
meet(const char *host)
{
	struct tls *tls;
	int fds[2];

	part();
	if (t.by_tcp)
		tcp_pair(fds);
	else
		assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), errno);
	io_init(&t.io, fds[0], never);
	t.fd = fds[1];
	t.ssl = SSL_new(t.server_context);
	SSL_set_fd(t.ssl, t.fd);
	SSL_set_accept_state(t.ssl);
	tls = tls_connect(t.client_context, fds[0], host, NULL);
	assert_non_null(tls);
	io_start_tls(&t.io, &tls);
	assert_null(tls);
	assert_true(io_is_tls(&t.io));
}

/* 1 or -1: how the handshake ended for us. */
static int
shake(const char *host)
{
	int rc;

	meet(host);
	while ((rc = io_handshake(&t.io)) == 0) {
		(void)SSL_do_handshake(t.ssl);
		ERR_clear_error();
	}
	if (rc == 1)
		assert_int_equal(SSL_do_handshake(t.ssl), 1);
	return rc;
}

static void
assert_distrusted(const char *host, const char *reason)
{
	char c;

	assert_int_equal(shake(host), -1);
	if (strstr(io_error(&t.io), reason) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", io_error(&t.io), reason);
	/* Nothing goes through any more. */
	assert_int_equal(io_read(&t.io, &c, 1), -1);
	assert_int_equal(io_write(&t.io, "x", 1, false), -1);
	assert_false(io_would_block());
}

static void
test_names_are_checked(void **state)
{
	const char *good[] = { "redis.test", "REDIS.test", "a.wild.test", "127.0.0.1", "::1" };
	const char *bad[] = { "redis.tes", "b.a.wild.test", "wild.test", "localhost", "server" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_int_equal(shake(good[i]), 1);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_distrusted(bad[i], "its certificate is not accepted: hostname mismatch");
	assert_distrusted("127.0.0.2", "its certificate is not accepted: IP address mismatch");
}

static void
present(const struct certificate *c)
{
	SSL_CTX_free(t.server_context);
	t.server_context = server_context(c);
}

static void
test_strangers_are_not_trusted(void **state)
{
	struct certificate alone = certificate_new(NULL, "DNS:redis.test", 10);
	struct certificate expired = certificate_new(&t.authority, "DNS:redis.test", -1);
	struct certificate foreign = certificate_new(&alone, "DNS:redis.test", 10);

	(void)state;
	present(&alone);
	assert_distrusted("redis.test", "its certificate is not accepted: self-signed certificate");
	present(&expired);
	assert_distrusted("redis.test", "its certificate is not accepted: certificate has expired");
	present(&foreign);
	assert_distrusted("redis.test", "its certificate is not accepted: ");
	certificate_free(&alone);
	certificate_free(&expired);
	certificate_free(&foreign);

	/* The system trusts none of ours. */
	tls_context_free(&t.client_context);
	assert_int_equal(tls_client_context(&(struct tls_client_options){ .ca = NULL }, &t.client_context, NULL), OK);
	present(&t.server);
	assert_distrusted("redis.test", "its certificate is not accepted: ");
}

static void
test_what_is_no_file_of_certificates(void **state)
{
	struct ssl_ctx_st *context = NULL;
	struct why why;

	(void)state;
	assert_int_equal(tls_client_context(&(struct tls_client_options){ .ca = "/nowhere/ca.pem" }, &context, &why), E_USAGE);
	assert_string_equal(why.text,
			    "cannot read certificates from /nowhere/ca.pem: No such file or directory");
	assert_null(context);
	assert_int_equal(tls_client_context(&(struct tls_client_options){ .ca = "/tmp" }, &context, &why), E_USAGE);
	assert_string_equal(why.text, "cannot read certificates from /tmp: it is not a plain file");
	assert_int_equal(tls_client_context(&(struct tls_client_options){ .ca = "/etc/passwd" }, &context, &why), E_USAGE);
	assert_non_null(strstr(why.text, "cannot read certificates from /etc/passwd: "));
}

static void
test_old_versions_are_refused(void **state)
{
	(void)state;
	SSL_CTX_set_security_level(t.server_context, 0);
	SSL_CTX_set_min_proto_version(t.server_context, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(t.server_context, TLS1_1_VERSION);
	assert_int_equal(shake("redis.test"), -1);
	assert_non_null(strstr(io_error(&t.io), "TLS: "));
	SSL_CTX_set_max_proto_version(t.server_context, TLS1_2_VERSION);
	assert_int_equal(shake("redis.test"), 1);
}

static void
test_a_peer_that_speaks_no_tls(void **state)
{
	char hello[4096];

	(void)state;
	meet("redis.test");
	assert_int_equal(io_handshake(&t.io), 0);
	assert_int_equal(send(t.fd, "-ERR what?\r\n", 12, 0), 12);
	assert_int_equal(io_handshake(&t.io), -1);
	assert_non_null(strstr(io_error(&t.io), "TLS: wrong version number"));

	meet("redis.test");
	assert_int_equal(io_handshake(&t.io), 0);
	assert_true(recv(t.fd, hello, sizeof(hello), 0) > 0);
	close(t.fd);
	t.fd = 0;
	assert_int_equal(io_handshake(&t.io), -1);
	assert_string_equal(io_error(&t.io), "connection closed during the TLS handshake");
}

static void
test_bytes_and_what_is_pending(void **state)
{
	char bytes[64] = "";

	(void)state;
	assert_int_equal(shake("redis.test"), 1);
	assert_int_equal(io_read(&t.io, bytes, sizeof(bytes)), -1);
	assert_true(io_would_block());
	assert_false(io_pending(&t.io));
	assert_int_equal(SSL_write(t.ssl, "hello, world", 12), 12);
	assert_int_equal(io_read(&t.io, bytes, 5), 5);
	assert_memory_equal(bytes, "hello", 5);
	/* The socket is empty: only this tells of the rest. */
	assert_true(io_pending(&t.io));
	assert_int_equal(io_read(&t.io, bytes, sizeof(bytes)), 7);
	assert_false(io_pending(&t.io));
	assert_int_equal(io_write(&t.io, "answer", 6, false), 6);
	assert_int_equal(SSL_read(t.ssl, bytes, sizeof(bytes)), 6);
	assert_memory_equal(bytes, "answer", 6);
}

/* A full socket takes a part and then nothing; what is retried may lie elsewhere
 * and be longer; no byte is lost or doubled. */
static void
test_back_pressure(void **state)
{
	enum { N = 4 << 20 };
	unsigned char *sent = malloc(N), *got = malloc(N), *copy;
	size_t in = 0, out = 0, stuck = 0;

	(void)state;
	for (size_t i = 0; i < N; i++)
		sent[i] = (unsigned char)(i * 31 >> 3);
	assert_int_equal(shake("redis.test"), 1);
	while (out < N) {
		size_t n = in < N / 2 ? N / 2 - in : N - in;
		ssize_t w = 0;
		int r;

		if (n > 0) {
			copy = malloc(n);
			memcpy(copy, sent + in, n);
			w = io_write(&t.io, copy, n, false);
			free(copy);
		}
		if (w > 0) {
			in += (size_t)w;
			continue;
		}
		if (w < 0) {
			assert_true(io_would_block());
			assert_int_equal(tls_interest(t.io.tls, EV_WRITE), EV_WRITE);
			stuck++;
		}
		if ((r = SSL_read(t.ssl, got + out, (int)(N - out))) > 0)
			out += (size_t)r;
	}
	assert_true(stuck > 3);
	assert_memory_equal(sent, got, N);
	free(sent);
	free(got);
}

/* The next byte, or how it ends: what is nothing to read is passed over. */
static ssize_t
read_through(char *c)
{
	ssize_t n;

	do
		n = io_read(&t.io, c, 1);
	while (n < 0 && io_would_block());
	return n;
}

static void
test_ends(void **state)
{
	char c;

	(void)state;
	/* Said goodbye to: the end of the stream. */
	assert_int_equal(shake("redis.test"), 1);
	assert_int_equal(SSL_shutdown(t.ssl), 0);
	assert_int_equal(read_through(&c), 0);
	assert_int_equal(read_through(&c), 0);
	/* Cut off: an error, for there may have been more. */
	assert_int_equal(shake("redis.test"), 1);
	close(t.fd);
	t.fd = 0;
	assert_int_equal(read_through(&c), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_string_equal(io_error(&t.io), "connection closed");
	/* We say goodbye as well. */
	assert_int_equal(shake("redis.test"), 1);
	assert_int_equal(io_write(&t.io, "x", 1, false), 1);
	io_close(t.loop, &t.io);
	assert_int_equal(SSL_read(t.ssl, &c, 1), 1);
	assert_int_equal(SSL_read(t.ssl, &c, 1), 0);
	assert_int_equal(SSL_get_error(t.ssl, 0), SSL_ERROR_ZERO_RETURN);
	/* Bytes that no honest peer sends. */
	assert_int_equal(shake("redis.test"), 1);
	assert_int_equal(send(t.fd,
			      "\x17\x03\x03\x00\x20"
			      "0123456789abcdef0123456789abcdef",
			      37, 0),
			 37);
	assert_int_equal(read_through(&c), -1);
	assert_int_equal(errno, EPROTO);
	assert_non_null(strstr(io_error(&t.io), "TLS: "));
}

/* What the caller was told is not sent does not arrive later, by way of a
 * goodbye that pushes it out. */
static void
test_half_a_record_stays_half(void **state)
{
	static char bytes[16384], in[16384];
	size_t written = 0, got = 0;
	ssize_t w;
	int r;

	(void)state;
	assert_int_equal(shake("redis.test"), 1);
	while ((w = io_write(&t.io, bytes, sizeof(bytes), false)) > 0)
		written += (size_t)w;
	assert_true(io_would_block());
	/* There is room again, now that it ends. */
	r = SSL_read(t.ssl, in, sizeof(in));
	assert_true(r > 0);
	got += (size_t)r;
	io_close(t.loop, &t.io);
	while ((r = SSL_read(t.ssl, in, sizeof(in))) > 0)
		got += (size_t)r;
	assert_int_equal(got, written);
}

/* The wish is the caller's, the event is TLS's. */
static void
test_wishes_that_cross(void **state)
{
	static char bytes[65536];

	(void)state;
	/* To write, it must first hear the other's part of the handshake. */
	meet("redis.test");
	assert_int_equal(io_write(&t.io, "x", 1, false), -1);
	assert_true(io_would_block());
	io_want(t.loop, &t.io, EV_WRITE);
	assert_int_equal(t.io.watcher.events & (EV_READ | EV_WRITE), EV_READ);
	io_want(t.loop, &t.io, 0);
	assert_false(ev_is_active(&t.io.watcher));

	/* To read, it must first say its own, and there is no room. */
	meet("redis.test");
	while (send(io_fd(&t.io), bytes, sizeof(bytes), MSG_NOSIGNAL) > 0)
		;
	assert_int_equal(io_read(&t.io, bytes, 1), -1);
	assert_true(io_would_block());
	io_want(t.loop, &t.io, EV_READ);
	assert_int_equal(t.io.watcher.events & (EV_READ | EV_WRITE), EV_WRITE);
	io_want(t.loop, &t.io, EV_READ | EV_WRITE);
	assert_int_equal(t.io.watcher.events & (EV_READ | EV_WRITE), EV_WRITE);

	/* Otherwise they are the same. */
	assert_int_equal(shake("redis.test"), 1);
	io_want(t.loop, &t.io, EV_READ);
	assert_int_equal(t.io.watcher.events & (EV_READ | EV_WRITE), EV_READ);
	io_want(t.loop, &t.io, EV_READ | EV_WRITE);
	assert_int_equal(t.io.watcher.events & (EV_READ | EV_WRITE), EV_READ | EV_WRITE);
}

/* A peer that goes on sending what is nothing to read does not keep us, and what
 * it says in the end is heard. */
static void
test_a_flood_of_key_updates(void **state)
{
	unsigned reads = 0;
	ssize_t n;
	char c = 0;

	(void)state;
	t.by_tcp = true;
	assert_int_equal(shake("redis.test"), 1);
	assert_int_equal(SSL_write(t.ssl, "a", 1), 1);
	assert_int_equal(read_through(&c), 1);
	for (int i = 0; i < 5000; i++) {
		assert_int_equal(SSL_key_update(t.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		assert_int_equal(SSL_do_handshake(t.ssl), 1);
	}
	assert_int_equal(SSL_write(t.ssl, "b", 1), 1);
	while ((n = io_read(&t.io, &c, 1)) < 0) {
		assert_true(io_would_block());
		/* What has left the socket no event tells of. */
		assert_true(io_pending(&t.io) || recv(io_fd(&t.io), &c, 1, MSG_PEEK) == 1);
		reads++;
	}
	assert_int_equal(n, 1);
	assert_int_equal(c, 'b');
	assert_true(reads >= 2);
	assert_int_equal(io_read(&t.io, &c, 1), -1);
	assert_false(io_pending(&t.io));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names_are_checked, begin, end),
		cmocka_unit_test_setup_teardown(test_strangers_are_not_trusted, begin, end),
		cmocka_unit_test_setup_teardown(test_what_is_no_file_of_certificates, begin, end),
		cmocka_unit_test_setup_teardown(test_old_versions_are_refused, begin, end),
		cmocka_unit_test_setup_teardown(test_a_peer_that_speaks_no_tls, begin, end),
		cmocka_unit_test_setup_teardown(test_bytes_and_what_is_pending, begin, end),
		cmocka_unit_test_setup_teardown(test_back_pressure, begin, end),
		cmocka_unit_test_setup_teardown(test_ends, begin, end),
		cmocka_unit_test_setup_teardown(test_half_a_record_stays_half, begin, end),
		cmocka_unit_test_setup_teardown(test_wishes_that_cross, begin, end),
		cmocka_unit_test_setup_teardown(test_a_flood_of_key_updates, begin, end),
	};

	return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
