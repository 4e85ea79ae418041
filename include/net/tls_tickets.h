/* tls_tickets.h - private to tls*.c: contexts that issue tickets.
 * Any thread. */
#ifndef NET_TLS_TICKETS_H
#define NET_TLS_TICKETS_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "net/tls_site.h"

/* Its connections issue and take tickets by the keys in their struct tls. */
bool tls_tickets_attach(SSL_CTX *context);

#endif
