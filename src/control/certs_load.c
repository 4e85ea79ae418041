/* certs_load.c - reads and checks what the TLS of a service is made of.
 * Any thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/hash.h"
#include "control/certs_load.h"

static void
each_client_file(const struct backend_tls_config *b, void (*tell)(void *arg, const char *path), void *arg)
{
	if (b->verify && b->ca != NULL)
		tell(arg, b->ca);
	if (b->cert != NULL)
		tell(arg, b->cert);
	if (b->key != NULL)
		tell(arg, b->key);
}

void
certs_each_file(const struct service_config *sc, void (*tell)(void *arg, const char *path), void *arg)
{
	const struct tls_config *t = &sc->tls;

	for (size_t i = 0; sc->listen_tls && i < t->n_certificates; i++) {
		tell(arg, t->certificates[i].cert);
		if (t->certificates[i].key != NULL)
			tell(arg, t->certificates[i].key);
		if (t->certificates[i].ocsp != NULL)
			tell(arg, t->certificates[i].ocsp);
	}
	if (sc->listen_tls && t->client_ca != NULL)
		tell(arg, t->client_ca);
	if (sc->listen_tls && t->crl != NULL)
		tell(arg, t->crl);
	if (sc->backend_tls.on)
		each_client_file(&sc->backend_tls, tell, arg);
	if (health_has_own_tls(&sc->health))
		each_client_file(&sc->health.own_tls, tell, arg);
}

static void
mark_file(void *arg, const char *path)
{
	uint64_t *mark = arg, parts[6] = { *mark };
	struct stat st;

	if (stat(path, &st) == 0) {
		parts[1] = (uint64_t)st.st_ino;
		parts[2] = (uint64_t)st.st_size;
		parts[3] = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
		parts[4] = (uint64_t)st.st_ctim.tv_sec * 1000000000u + (uint64_t)st.st_ctim.tv_nsec;
		parts[5] = 1;
	}
	*mark = hash_bytes(parts, sizeof(parts), 0);
}

uint64_t
certs_mark(const struct service_config *sc)
{
	uint64_t mark = 0;

	certs_each_file(sc, mark_file, &mark);
	return mark;
}

void
certs_loaded_free(struct certs_loaded *l)
{
	for (size_t i = 0; i < l->n; i++)
		tls_certificate_unref(&l->certificates[i]);
	free(l->certificates);
	tls_site_unref(&l->site);
	tls_context_free(&l->backend);
	tls_certificate_unref(&l->own);
	tls_context_free(&l->check);
	tls_certificate_unref(&l->check_own);
	*l = (struct certs_loaded){ 0 };
}

static enum err
load_one(const struct tls_certificate_files *files, enum certs_care care, struct tls_certificate **out,
	 struct why *why)
{
	enum err e = tls_certificate_load(files, out, why);

	if (e == OK && care == CERTS_STRICT && (e = tls_certificate_is_valid(*out, (int64_t)time(NULL), why)) != OK)
		tls_certificate_unref(out);
	return e;
}

static enum err
load_site(const struct service_config *sc, enum certs_care care, struct certs_loaded *out, struct config_line *at,
	  struct why *why)
{
	const struct tls_config *t = &sc->tls;
	const struct tls_terms terms = {
		.service = sc->name,
		.profile = t->profile,
		.min_version = t->min_version,
		.ciphers = t->ciphers,
		.ciphersuites = t->ciphersuites,
		.curves = t->curves,
		.alpn = t->alpn,
		.n_alpn = t->n_alpn,
		.verify = t->client_ca == NULL                    ? TLS_VERIFY_NONE :
			  t->client_verify == VERIFY_OPTIONAL ? TLS_VERIFY_OPTIONAL :
								  TLS_VERIFY_REQUIRE,
		.client_ca = t->client_ca,
		.crl = t->crl,
	};
	enum err e;

	out->certificates = must_array(t->n_certificates, sizeof(*out->certificates));
	for (size_t i = 0; i < t->n_certificates; i++) {
		const struct tls_certificate_config *c = &t->certificates[i];
		const struct tls_certificate_files files = { .cert = c->cert, .key = c->key, .ocsp = c->ocsp };

		*at = c->at;
		if ((e = load_one(&files, care, &out->certificates[i], why)) != OK)
			return e;
		out->n++;
	}
	*at = sc->at;
	return tls_site_new(&terms, out->certificates, out->n, &out->site, why);
}

/* http: that is what is spoken. */
static enum err
load_client(const struct backend_tls_config *b, bool http, enum certs_care care, struct ssl_ctx_st **context,
	    struct tls_certificate **own, struct why *why)
{
	const struct tls_certificate_files files = { .cert = b->cert, .key = b->key };
	const struct tls_client_options options = {
		.ca = b->ca,
		.blind = !b->verify,
		.alpn = http ? "http/1.1" : NULL,
	};
	enum err e = OK;

	if (b->cert != NULL)
		e = load_one(&files, care, own, why);
	if (e == OK)
		e = tls_client_context(&options, context, why);
	if (e == OK && *own != NULL)
		e = tls_certificate_use(*own, *context, why);
	return e;
}

enum err
certs_load(const struct service_config *sc, enum certs_care care, struct certs_loaded *out, struct config_line *at,
	   struct why *why)
{
	enum err e = OK;

	*out = (struct certs_loaded){ .mark = certs_mark(sc) };
	*at = sc->at;
	if (sc->listen_tls)
		e = load_site(sc, care, out, at, why);
	if (e == OK && sc->backend_tls.on)
		e = load_client(&sc->backend_tls, sc->mode == MODE_HTTP, care, &out->backend, &out->own, why);
	if (e == OK && health_has_own_tls(&sc->health))
		e = load_client(&sc->health.own_tls, sc->health.type == HEALTH_HTTP, care, &out->check, &out->check_own, why);
	if (e != OK)
		certs_loaded_free(out);
	return e;
}

static bool
same_certificates(const struct tls_config *a, const struct tls_config *b)
{
	bool same = a->n_certificates == b->n_certificates;

	for (size_t i = 0; same && i < a->n_certificates; i++)
		same = cstr_eq(a->certificates[i].cert, b->certificates[i].cert) &&
		       cstr_eq(a->certificates[i].key, b->certificates[i].key) &&
		       cstr_eq(a->certificates[i].ocsp, b->certificates[i].ocsp);
	return same;
}

static bool
same_site(const struct tls_config *a, const struct tls_config *b)
{
	bool same = same_certificates(a, b) && cstr_eq(a->client_ca, b->client_ca) &&
		    cstr_eq(a->crl, b->crl) &&
		    a->client_verify == b->client_verify && a->profile == b->profile &&
		    a->min_version == b->min_version && cstr_eq(a->ciphers, b->ciphers) &&
		    cstr_eq(a->ciphersuites, b->ciphersuites) && cstr_eq(a->curves, b->curves) &&
		    a->n_alpn == b->n_alpn;

	for (size_t i = 0; same && i < a->n_alpn; i++)
		same = cstr_eq(a->alpn[i], b->alpn[i]);
	return same;
}

static bool
same_client_terms(const struct backend_tls_config *a, const struct backend_tls_config *b)
{
	return a->verify == b->verify && cstr_eq(a->ca, b->ca) && cstr_eq(a->cert, b->cert) &&
	       cstr_eq(a->key, b->key);
}

static bool
same_check_terms(const struct health_config *a, const struct health_config *b)
{
	if (health_has_own_tls(a) != health_has_own_tls(b))
		return false;
	return !health_has_own_tls(a) ||
	       ((a->type == HEALTH_HTTP) == (b->type == HEALTH_HTTP) && same_client_terms(&a->own_tls, &b->own_tls));
}

bool
certs_same_terms(const struct service_config *a, const struct service_config *b)
{
	if (a->listen_tls != b->listen_tls || a->backend_tls.on != b->backend_tls.on || a->mode != b->mode ||
	    strcmp(a->name, b->name) != 0 || !same_check_terms(&a->health, &b->health))
		return false;
	if (a->listen_tls && !same_site(&a->tls, &b->tls))
		return false;
	return !a->backend_tls.on || same_client_terms(&a->backend_tls, &b->backend_tls);
}

static int
compare_service_names(const void *a, const void *b)
{
	return strcmp((*(const struct service_config *const *)a)->name, (*(const struct service_config *const *)b)->name);
}

static int
compare_to_service_name(const void *name, const void *b)
{
	return strcmp(name, (*(const struct service_config *const *)b)->name);
}

/* For free(). */
static const struct service_config **
services_by_name(const struct config *config)
{
	const struct service_config **list = must_array(config->n_services + 1, sizeof(*list));

	for (size_t i = 0; i < config->n_services; i++)
		list[i] = &config->services[i];
	qsort(list, config->n_services, sizeof(*list), compare_service_names);
	return list;
}

static const struct service_config *
service_of(const struct service_config **by_name, size_t n, const char *name)
{
	const struct service_config **at = NULL;

	if (name != NULL)
		at = bsearch(name, by_name, n, sizeof(*by_name), compare_to_service_name);
	return at != NULL ? *at : NULL;
}

char *
certs_owner(const struct service_config *sc, char text[CERTS_OWNER])
{
	if (strcmp(sc->name, ADMIN_NET_NAME) == 0)
		snprintf(text, CERTS_OWNER, "admin.tls");
	else
		snprintf(text, CERTS_OWNER, "service \"%.80s\"", sc->name);
	return text;
}

/* False: its files do not do, and errors has a line more. */
static bool
prepare_one(const struct service_config *sc, struct certs_loaded *out, struct complaints *errors)
{
	char owner[CERTS_OWNER];
	struct config_line at;
	struct why why;

	if (certs_load(sc, CERTS_STRICT, out, &at, &why) == OK)
		return true;
	errors->lines = must_grow(errors->lines, errors->n + 1, sizeof(*errors->lines));
	errors->lines[errors->n++] = must_printf("%s:%u: %s: %s", at.file, at.line, certs_owner(sc, owner), why.text);
	return false;
}

static bool
prepare_admin(const struct config *from, const struct config *to, struct certs_prepared *out, struct complaints *errors)
{
	const struct service_config *was = from->admin.net.site, *sc = to->admin.net.site;

	if (sc == NULL || (was != NULL && certs_same_terms(was, sc)))
		return true;
	out->has_admin = prepare_one(sc, &out->admin, errors);
	return out->has_admin;
}

enum err
certs_prepare(const struct config *from, const struct config *to, struct certs_prepared *out, struct complaints *errors)
{
	const struct service_config **by_name = services_by_name(from);
	enum err all = OK;

	*out = (struct certs_prepared){ .list = must_array(to->n_services, sizeof(*out->list)) };
	for (size_t i = 0; i < to->n_services; i++) {
		const struct service_config *sc = &to->services[i], *was = service_of(by_name, from->n_services, sc->name);
		struct certs_loaded loaded;

		if (was == NULL)
			was = service_of(by_name, from->n_services, sc->rename);
		if (was != NULL ? certs_same_terms(was, sc) : !certs_are_used(sc))
			continue;
		if (prepare_one(sc, &loaded, errors)) {
			out->list[out->n].config = sc;
			out->list[out->n++].loaded = loaded;
		} else {
			all = E_USAGE;
		}
	}
	if (!prepare_admin(from, to, out, errors))
		all = E_USAGE;
	free(by_name);
	if (all != OK)
		certs_prepared_free(out);
	return all;
}

static int
compare_to_prepared(const void *sc, const void *b)
{
	const struct service_config *its = ((const struct certs_of *)b)->config;

	return (const struct service_config *)sc < its ? -1 : (const struct service_config *)sc > its;
}

struct certs_loaded *
certs_prepared_for(struct certs_prepared *p, const struct service_config *sc)
{
	/* All are in one array. */
	struct certs_of *at = p->n > 0 ? bsearch(sc, p->list, p->n, sizeof(*p->list), compare_to_prepared) : NULL;

	return at != NULL ? &at->loaded : NULL;
}

void
certs_prepared_free(struct certs_prepared *p)
{
	for (size_t i = 0; i < p->n; i++)
		certs_loaded_free(&p->list[i].loaded);
	certs_loaded_free(&p->admin);
	free(p->list);
	*p = (struct certs_prepared){ 0 };
}

static enum err
check_one(const struct service_config *sc)
{
	struct certs_loaded loaded;
	char owner[CERTS_OWNER];
	struct config_line at;
	struct why why;
	enum err e;

	if ((e = certs_load(sc, CERTS_LENIENT, &loaded, &at, &why)) != OK) {
		fprintf(stderr, "%s:%u: %s: %s\n", at.file, at.line, certs_owner(sc, owner), why.text);
		return e;
	}
	if (loaded.site != NULL && tls_site_warning(loaded.site) != NULL)
		fprintf(stderr, "%s:%u: %s: %s (warning)\n", at.file, at.line, certs_owner(sc, owner),
			tls_site_warning(loaded.site));
	if (loaded.site != NULL && tls_site_crl_lacks(loaded.site, &why))
		fprintf(stderr, "%s:%u: %s: %s (warning)\n", at.file, at.line, certs_owner(sc, owner), why.text);
	certs_loaded_free(&loaded);
	return OK;
}

enum err
certs_check_all(const struct config *config)
{
	enum err all = OK, e;

	for (size_t i = 0; i <= config->n_services; i++) {
		const struct service_config *sc = i < config->n_services ? &config->services[i] : config->admin.net.site;

		if (sc == NULL || (e = check_one(sc)) == OK)
			continue;
		all = all == OK ? e : all == e ? all : E_USAGE;
	}
	return all;
}
