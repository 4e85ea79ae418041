/* tls_tickets.c - seals what a client needs to come back, and opens it again.
 * Any thread, with keys of its own (RFC 5077, RFC 8446 section 4.6.1). */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "net/tls_private.h"
#include "net/tls_tickets.h"

static EVP_CIPHER *sealing;	/* fetched once: looking it up costs more than using it */
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

static void
fetch(void)
{
	sealing = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
}

void
tls_tickets_rotate(struct tls_tickets *t)
{
	if (t->n > 0)
		t->before = t->now;
	t->n = t->n > 0 ? 2 : 1;
	CHECK(RAND_bytes((unsigned char *)&t->now, sizeof(t->now)) == 1);
}

bool
tls_tickets_take(struct tls_tickets *t, struct str bytes)
{
	struct tls_tickets taken;

	if (bytes.n != sizeof(taken))
		return false;
	memcpy(&taken, bytes.p, sizeof(taken));
	if (taken.n < 1 || taken.n > 2)
		return false;
	*t = taken;
	tls_tickets_wipe(&taken);
	return true;
}

void
tls_tickets_wipe(struct tls_tickets *t)
{
	OPENSSL_cleanse(t, sizeof(*t));
}

static const struct tls_ticket_key *
find_key(const struct tls_tickets *t, const unsigned char *name)
{
	if (t->n > 0 && memcmp(name, t->now.name, sizeof(t->now.name)) == 0)
		return &t->now;
	if (t->n > 1 && memcmp(name, t->before.name, sizeof(t->before.name)) == 0)
		return &t->before;
	return NULL;
}

/* 1: go on.  2: go on, and issue a new one.  0: no ticket, or one we cannot
 * open.  -1: failed. */
static int
on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
	  int seal)
{
	const struct tls_tickets *t = tls_of(ssl)->tickets;
	const struct tls_ticket_key *key;
	OSSL_PARAM params[3];
	int rc;

	if (t == NULL || t->n == 0)
		return 0;
	if (seal) {
		key = &t->now;
		memcpy(name, key->name, sizeof(key->name));
		if (RAND_bytes(iv, 16) != 1)
			return -1;
	} else if ((key = find_key(t, name)) == NULL) {
		return 0;
	}
	params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac,
						      sizeof(key->mac));
	params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0);
	params[2] = OSSL_PARAM_construct_end();
	rc = seal ? EVP_EncryptInit_ex(cipher, sealing, NULL, key->secret, iv) :
		    EVP_DecryptInit_ex(cipher, sealing, NULL, key->secret, iv);
	if (rc != 1 || EVP_MAC_CTX_set_params(mac, params) != 1)
		return -1;
	if (seal)
		return 1;
	/* By TLS 1.3 each return gets another: a ticket that is shown twice tells
	 * who looks on that it is the same client (RFC 8446 appendix C.4). */
	return key == &t->now && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2;
}

/* A ticket may outlive the client's certificate; a client whose certificate has
 * expired since then has to show one again. */
static SSL_TICKET_RETURN
on_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t n, SSL_TICKET_STATUS status,
	  void *arg)
{
	X509 *peer = session != NULL ? SSL_SESSION_get0_peer(session) : NULL;

	(void)ssl, (void)name, (void)n, (void)arg;
	switch (status) {
	case SSL_TICKET_EMPTY:
	case SSL_TICKET_NO_DECRYPT:
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	case SSL_TICKET_SUCCESS:
	case SSL_TICKET_SUCCESS_RENEW:
		if (peer != NULL && X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0)
			return SSL_TICKET_RETURN_IGNORE_RENEW;
		return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
	}
	return SSL_TICKET_RETURN_ABORT;
}

bool
tls_tickets_attach(SSL_CTX *context)
{
	pthread_once(&fetched, fetch);
	return sealing != NULL && SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket) == 1 &&
	       SSL_CTX_set_session_ticket_cb(context, NULL, on_opened, NULL) == 1;
}
