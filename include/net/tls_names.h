/* tls_names.h - the names in a peer's certificate, for who decides what a peer may do.
 * Any thread, after the handshake. */
#ifndef NET_TLS_NAMES_H
#define NET_TLS_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/tls.h"

#define TLS_NAMES_MAX 32
#define TLS_NAME_TEXT 256

struct tls_names {
	/* The subject's only common name; "" when it has none, or several: which of them is meant
	 * nothing says (RFC 6125 section 2.3.1). */
	char cn[TLS_NAME_TEXT];
	/* DNS names (lower case), e-mail addresses, URIs and IP addresses of the subjectAltName
	 * extension (RFC 5280 section 4.2.1.6), in its order; those that are longer, hold a control
	 * character or NUL, or come behind TLS_NAMES_MAX others are left out. */
	char san[TLS_NAMES_MAX][TLS_NAME_TEXT];
	unsigned n;
	int64_t not_after;	/* seconds since 1970; the end of the certificate's time */
};

/* False: the peer has shown no certificate, or one that was not accepted. */
bool tls_names(struct tls *t, struct tls_names *out);

/* Would a handshake on the site's terms accept the certificate that this client has shown?  Asked again
 * once the terms have changed; true for one that has shown none.  The server's end. */
bool tls_names_still_pass(struct tls *t, const struct tls_site *site);

#endif
