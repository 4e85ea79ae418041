/* tls_site.h - what a service shows TLS clients: its certificates, one chosen by
 * the name that a client asks for, and the terms it speaks on; and the keys of
 * tickets, by which clients come back.
 * A site is immutable and refcounted, shared by all threads.  Tickets are a
 * value: each worker has its own copy of the same keys. */
#ifndef NET_TLS_SITE_H
#define NET_TLS_SITE_H

#include "base/str.h"
#include "net/tls.h"
#include "net/tls_certificate.h"

/* INTERMEDIATE, MODERN: of Mozilla's "Server Side TLS" 5.7, but for DHE, which
 * lets clients make us work for nothing. */
enum tls_profile { TLS_INTERMEDIATE, TLS_MODERN };
enum tls_version { TLS_1_2, TLS_1_3 };
enum tls_verify { TLS_VERIFY_NONE, TLS_VERIFY_OPTIONAL, TLS_VERIFY_REQUIRE };

struct tls_terms {
	const char *service;	/* sessions are bound to it */
	enum tls_profile profile;
	enum tls_version min_version;
	const char *ciphers, *ciphersuites, *curves;	/* as OpenSSL writes them; NULL: the profile's */
	char *const *alpn;	/* protocols we speak, the best first */
	size_t n_alpn;	/* 0: ALPN is not answered */
	enum tls_verify verify;
	const char *client_ca;	/* PEM file of those who may vouch for clients; not NULL with verify */
	/* PEM file of revocation lists (RFC 5280 section 5), one of each authority in a client's chain; of an
	 * authority without a list that is in date no client is accepted.  NULL: none is asked about. */
	const char *crl;
};

struct tls_site;

/* The first certificate is for clients whose name none carries; takes references
 * of its own.  E_USAGE: why says what is wrong.  Blocks as file systems do. */
MUST_USE enum err tls_site_new(const struct tls_terms *terms, struct tls_certificate *const *certificates,
			       size_t n, struct tls_site **out, struct why *why);
struct tls_site *tls_site_ref(struct tls_site *s);
void tls_site_unref(struct tls_site **sp);
/* A sentence when clients of TLS 1.2 are let in by its terms, but no cipher of
 * theirs fits the key of some certificate; else NULL.  The site's. */
const char *tls_site_warning(const struct tls_site *s);
/* An authority of client_ca has no revocation list that is good at this moment, so that its clients are refused: why says
 * whose.  False: all have one, or none is needed. */
bool tls_site_crl_lacks(const struct tls_site *s, struct why *why);
/* When the first of those authorities has no list that is good any more, seconds since 1970; 0: one has none.  False: no list
 * ends, or there is none. */
bool tls_site_crl_until(const struct tls_site *s, int64_t *until);
/* One of its certificates carries that name (lower case). */
bool tls_site_has(const struct tls_site *s, const char *name);

struct tls_ticket_key {
	unsigned char name[16], secret[32], mac[32];
};

/* What is issued is sealed with `now`; what was sealed with `before` is still
 * taken.  All zero is empty: no tickets. */
struct tls_tickets {
	struct tls_ticket_key now, before;
	unsigned n;	/* keys that are set: 0 to 2 */
};

/* A new key; the one before the last is forgotten. */
void tls_tickets_rotate(struct tls_tickets *t);
/* Those in the memory of another teald of this machine; false, and t as it was: it is none. */
bool tls_tickets_take(struct tls_tickets *t, struct str bytes);
/* Leaves no trace of them in memory. */
void tls_tickets_wipe(struct tls_tickets *t);

#endif
