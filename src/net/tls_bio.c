/* tls_bio.c - between OpenSSL and the socket: fewer system calls and packets
 * than by OpenSSL's own way.  Where the kernel does TLS, that one is taken, for
 * it knows how to tell the kernel.  Any thread. */
#include <errno.h>
#include <sys/socket.h>

#include "net/tls_private.h"

/* A call that reads comes back after so many: OpenSSL goes on as long as there
 * is no data in what it is sent, KeyUpdates say, and others want their turn. */
#define RECEIVES 3

static BIO_METHOD *method;

static struct tls *
tls_behind(BIO *b)
{
	return BIO_get_data(b);
}

static bool
is_transient(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static int
on_read(BIO *b, char *p, size_t n, size_t *moved)
{
	struct tls *t = tls_behind(b);
	ssize_t got;

	BIO_clear_retry_flags(b);
	/* What we have only just said is not answered yet. */
	if (t->just_spoke || t->receives == RECEIVES) {
		t->just_spoke = false;
		BIO_set_retry_read(b);
		errno = EAGAIN;
		return 0;
	}
	t->receives++;
	got = recv(t->fd, p, n, 0);
	t->dry = got < 0 && is_transient();
	if (t->dry)
		BIO_set_retry_read(b);
	else if (got == 0)
		BIO_set_flags(b, BIO_FLAGS_IN_EOF);
	*moved = got > 0 ? (size_t)got : 0;
	return got > 0;
}

/* More follows at once: the caller said so; or this is the ticket that ends a
 * handshake of TLS 1.3: no client waits for it, so it may travel with the first
 * answer. */
static bool
may_wait(const struct tls *t)
{
	return t->more || (!t->up && t->serves && SSL_get_state(t->ssl) == TLS_ST_SW_SESSION_TICKET &&
			   SSL_version(t->ssl) == TLS1_3_VERSION);
}

static int
on_write(BIO *b, const char *p, size_t n, size_t *moved)
{
	struct tls *t = tls_behind(b);
	ssize_t sent = send(t->fd, p, n, MSG_NOSIGNAL | (may_wait(t) ? MSG_MORE : 0));

	BIO_clear_retry_flags(b);
	if (sent < 0 && is_transient())
		BIO_set_retry_write(b);
	t->just_spoke = !t->up;
	*moved = sent > 0 ? (size_t)sent : 0;
	/* Nor 0: SSL_shutdown() would take a goodbye that waits for one that is said. */
	return sent > 0 ? 1 : -1;
}

static long
on_control(BIO *b, int what, long number, void *pointer)
{
	(void)number, (void)pointer;
	switch (what) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF:
		return BIO_test_flags(b, BIO_FLAGS_IN_EOF) != 0;
	}
	return 0;
}

void
tls_bio_make(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "teal");

	if (m != NULL && BIO_meth_set_read_ex(m, on_read) == 1 && BIO_meth_set_write_ex(m, on_write) == 1 &&
	    BIO_meth_set_ctrl(m, on_control) == 1)
		method = m;
}

bool
tls_bio_attach(struct tls *t)
{
	BIO *b;

#ifdef SSL_OP_ENABLE_KTLS
	if (SSL_get_options(t->ssl) & SSL_OP_ENABLE_KTLS) {
		t->by_kernel = true;
		/* What is nothing to read, one record at a time: see above. */
		SSL_clear_mode(t->ssl, SSL_MODE_AUTO_RETRY);
		return SSL_set_fd(t->ssl, t->fd) == 1;
	}
#endif
	if (method == NULL || (b = BIO_new(method)) == NULL)
		return false;
	BIO_set_data(b, t);
	BIO_set_init(b, 1);
	/* A record's head and body by one read. */
	SSL_set_read_ahead(t->ssl, 1);
	SSL_set_bio(t->ssl, b, b);
	return true;
}
