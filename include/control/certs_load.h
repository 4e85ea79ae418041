/* certs_load.h - the TLS of one service, from its files.
 * Any thread; blocks as file systems do. */
#ifndef CONTROL_CERTS_LOAD_H
#define CONTROL_CERTS_LOAD_H

#include "model/config.h"
#include "net/tls_certificate.h"
#include "net/tls_client.h"
#include "net/tls_site.h"

/* All zero: a service without TLS. */
struct certs_loaded {
	struct tls_certificate **certificates;	/* one reference each, in the configuration's order */
	size_t n;
	struct tls_site *site;	/* what clients are shown; NULL: it is plain to them */
	struct ssl_ctx_st *backend;	/* what backends are spoken to with; NULL: they are plain */
	struct tls_certificate *own;	/* what they are shown; NULL: nothing */
	/* The same of checks that have terms of their own. */
	struct ssl_ctx_st *check;
	struct tls_certificate *check_own;
	uint64_t mark;	/* of the files as they were: see certs_mark() */
};

/* STRICT: a certificate whose time has come and gone (or not come) is refused as
 * well. */
enum certs_care { CERTS_LENIENT, CERTS_STRICT };

/* E_USAGE: *out is empty; why is a sentence, *at where in the configuration
 * the cause stands. */
MUST_USE enum err certs_load(const struct service_config *sc, enum certs_care care, struct certs_loaded *out,
			     struct config_line *at, struct why *why);
void certs_loaded_free(struct certs_loaded *l);

/* Changes when a file the service is made of does, or comes, or goes. */
uint64_t certs_mark(const struct service_config *sc);

/* Calls with every file the service's TLS is made of. */
void certs_each_file(const struct service_config *sc, void (*tell)(void *arg, const char *path), void *arg);

/* Are clients or backends spoken to by TLS? */
static inline bool
certs_are_used(const struct service_config *sc)
{
	return sc->listen_tls || sc->backend_tls.on || health_has_own_tls(&sc->health);
}
/* The TLS of both is made of the same files by the same terms. */
bool certs_same_terms(const struct service_config *a, const struct service_config *b);

/* What services of another configuration are to show: of those alone whose terms are
 * not what they were, or that are new. */
struct certs_prepared {
	struct certs_of {
		const struct service_config *config;	/* of the new configuration */
		struct certs_loaded loaded;
	} *list;	/* in its order */
	size_t n;
	struct certs_loaded admin;	/* the admin listener's */
	bool has_admin;
};
/* Reads them, strictly.  E_USAGE: *out is empty, and errors has a line for each service whose files do not do. */
MUST_USE enum err certs_prepare(const struct config *from, const struct config *to, struct certs_prepared *out,
				struct complaints *errors);
/* NULL: none of that service. */
struct certs_loaded *certs_prepared_for(struct certs_prepared *p, const struct service_config *sc);
void certs_prepared_free(struct certs_prepared *p);

/* Whose they are, for a message: service "shop", or admin.tls. */
#define CERTS_OWNER 96
char *certs_owner(const struct service_config *sc, char text[CERTS_OWNER]);

/* Loads all services as the process is now, and complains on stderr,
 * "teal.conf:12: service \"shop\": …", once for each that does not; and warns of
 * one that some clients cannot reach. */
MUST_USE enum err certs_check_all(const struct config *config);

#endif
