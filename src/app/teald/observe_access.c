/* observe_access.c - who may ask the observe listener.  Thread: main. */
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "app/teald/observe_access.h"

/* Digests are equally long, whatever is sent. */
static void
digest_of(struct str text, unsigned char out[OBSERVE_DIGEST])
{
	unsigned n = 0;

	CHECK(EVP_Digest(text.p, text.n, out, &n, EVP_sha256(), NULL) == 1 && n == OBSERVE_DIGEST);
}

void
observe_access_clear(struct observe_access *a)
{
	cidr_set_clear(&a->allow);
	OPENSSL_cleanse(a, sizeof(*a));
}

/* "USER:PASSWORD" as clients send it (RFC 7617): in base64. */
static void
expect_password(struct observe_access *a, const char *secret)
{
	size_t n = strlen(secret);
	char *text = must_alloc(4 * (n / 3 + 1) + 1);
	int length = EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)secret, (int)n);

	a->password = true;
	digest_of((struct str){ text, (size_t)length }, a->digest);
	OPENSSL_cleanse(text, (size_t)length);
	free(text);
}

static bool
access_equal(const struct observe_access *a, const struct observe_access *b)
{
	return a->password == b->password && CRYPTO_memcmp(a->digest, b->digest, sizeof(a->digest)) == 0 &&
	       a->allow.n == b->allow.n &&
	       (a->allow.n == 0 || memcmp(a->allow.list, b->allow.list, a->allow.n * sizeof(*a->allow.list)) == 0);
}

bool
observe_access_set(struct observe_access *a, const struct config *config)
{
	struct observe_access now = { .password = false };
	bool changed;

	for (size_t i = 0; i < config->observe.allow.n; i++)
		cidr_set_add(&now.allow, &config->observe.allow.list[i]);
	if (config->observe.password != NULL)
		expect_password(&now, config->observe.password);
	changed = !access_equal(a, &now);
	observe_access_clear(a);
	*a = now;
	return changed;
}

static bool
is_of_this_machine(const struct addr *peer)
{
	switch (addr_family(peer)) {
	case AF_INET:
		return ntohl(peer->u.in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	case AF_INET6:
		return IN6_IS_ADDR_LOOPBACK(&peer->u.in6.sin6_addr) ||
		       (IN6_IS_ADDR_V4MAPPED(&peer->u.in6.sin6_addr) && peer->u.in6.sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
	default:
		return true;	/* a Unix socket, which has permissions of its own */
	}
}

static bool
knows_password(const struct observe_access *a, const struct http1_head *h)
{
	unsigned char said[OBSERVE_DIGEST];
	struct str value = STR("");

	if (http1_head_find(h, "authorization", &value) != 1 || value.n < 6 || strncasecmp(value.p, "Basic ", 6) != 0)
		return false;
	value.p += 6;
	value.n -= 6;
	while (value.n > 0 && value.p[0] == ' ')
		value.p++, value.n--;
	digest_of(value, said);
	return CRYPTO_memcmp(said, a->digest, sizeof(said)) == 0;
}

unsigned
observe_access_judge(const struct observe_access *a, const struct addr *peer, enum observe_asked asked,
		     const struct http1_head *h)
{
	bool known = cidr_set_is_empty(&a->allow) || cidr_set_match(&a->allow, peer) || addr_family(peer) == AF_UNIX;

	if (!known && !(asked == OBSERVE_ASKED_PROBE && is_of_this_machine(peer)))
		return 403;
	return asked == OBSERVE_ASKED_PAGE && a->password && !knows_password(a, h) ? 401 : 0;
}
