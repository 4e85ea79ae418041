/* kube_access.c - how an API server is reached: a pool's keys, or a kubeconfig.  Any thread. */
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/check.h"
#include "model/kube_access.h"
#include "model/plain_file.h"
#include "model/secret.h"
#include "net/tls_certificate.h"
#include "net/tls_client.h"

/* Of a kubeconfig; bytes.  Those of people with many clusters have some 10 KiB for each. */
#define KUBECONFIG_MAX ((size_t)1 << 20)
/* Of lists and groups in each other; a kubeconfig has five, what its extensions hold may have more. */
#define NESTING_MAX 64
#define ANCHORS_MAX 1000
/* Of a name in a message. */
#define NAME_SHOWN 128

void
kube_access_free(struct kube_access *a)
{
	free(a->server_name);
	free(a->ca);
	free(a->ca_pem);
	secret_free(&a->token);
	free(a->token_file);
	free(a->cert);
	free(a->cert_pem);
	free(a->key);
	secret_free(&a->key_pem);
	*a = (struct kube_access){ 0 };
}

/* -- YAML ----------------------------------------------------------------------------- */

/* A file as it is read; the first thing that is wrong ends it. */
struct kubeconfig {
	yaml_document_t document;
	const char *path;
	struct why *why;
	const yaml_node_t *key;	/* that was found last */
	bool failed;
};

PRINTF_LIKE(3, 4)
static void
complain_at(struct kubeconfig *f, const yaml_node_t *at, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (f->failed)
		return;
	f->failed = true;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	why_set(f->why, E_USAGE, "%.256s:%zu: %s", f->path, at != NULL ? at->start_mark.line + 1 : (size_t)1,
		text);
}

static bool
scalar_is(const yaml_node_t *n, const char *text)
{
	return n->type == YAML_SCALAR_NODE && n->data.scalar.length == strlen(text) &&
	       memcmp(n->data.scalar.value, text, n->data.scalar.length) == 0;
}

/* `key:`, `key: null` and `key: ""` say as little as no key, as kubectl reads them. */
static bool
says_nothing(const yaml_node_t *n)
{
	return n->type == YAML_SCALAR_NODE &&
	       (n->data.scalar.length == 0 ||
		(n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && (scalar_is(n, "null") || scalar_is(n, "~"))));
}

/* NULL: the map does not have it. */
static yaml_node_t *
yaml_member(struct kubeconfig *f, const yaml_node_t *map, const char *key)
{
	yaml_node_t *found = NULL;

	if (map == NULL || map->type != YAML_MAPPING_NODE)
		return NULL;
	for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
		const yaml_node_t *name = yaml_document_get_node(&f->document, p->key);

		if (!scalar_is(name, key))
			continue;
		if (found != NULL)
			complain_at(f, name, "%s is there twice", key);
		found = yaml_document_get_node(&f->document, p->value);
		f->key = name;
	}
	return found != NULL && !says_nothing(found) ? found : NULL;
}

/* A copy of the text; NULL: there is none. */
static char *
yaml_text(struct kubeconfig *f, const yaml_node_t *map, const char *key)
{
	const yaml_node_t *n = yaml_member(f, map, key);
	const char *text;

	if (n == NULL)
		return NULL;
	if (n->type != YAML_SCALAR_NODE) {
		complain_at(f, n, "%s is no text", key);
		return NULL;
	}
	text = (const char *)n->data.scalar.value;
	if (memchr(text, '\0', n->data.scalar.length) != NULL) {
		complain_at(f, n, "%s has a byte that no text has", key);
		return NULL;
	}
	/* What kubectl config view shows instead of secrets. */
	if (strcmp(text, "REDACTED") == 0 || strcmp(text, "DATA+OMITTED") == 0) {
		complain_at(f, n,
			    "%s is \"%s\": kubectl config view leaves secrets out; make the file with --raw",
			    key, text);
		return NULL;
	}
	return must_strdup(text);
}

/* A path of the file, which begins where the file is. */
static char *
yaml_path(struct kubeconfig *f, const yaml_node_t *map, const char *key)
{
	const char *slash = strrchr(f->path, '/');
	char *text = yaml_text(f, map, key), *whole;

	if (text == NULL || text[0] == '/' || slash == NULL)
		return text;
	whole = must_printf("%.*s/%s", (int)(slash - f->path), f->path, text);
	free(text);
	return whole;
}

/* What is in base64 (RFC 4648 section 4), with line ends or without: PEM. */
static char *
yaml_pem(struct kubeconfig *f, const yaml_node_t *map, const char *key)
{
	char *text = yaml_text(f, map, key), *pem;
	EVP_ENCODE_CTX *decoder;
	int n = 0, last = 0;
	bool good;

	if (text == NULL)
		return NULL;
	pem = must_alloc(strlen(text) + 4);
	decoder = EVP_ENCODE_CTX_new();
	CHECK(decoder != NULL);
	EVP_DecodeInit(decoder);
	good = EVP_DecodeUpdate(decoder, (unsigned char *)pem, &n, (const unsigned char *)text,
				(int)strlen(text)) >= 0 &&
	       EVP_DecodeFinal(decoder, (unsigned char *)pem + n, &last) == 1;
	EVP_ENCODE_CTX_free(decoder);
	secret_free(&text);
	if (good && strlen(pem) == (size_t)(n + last) && strstr(pem, "-----BEGIN ") != NULL)
		return pem;
	/* All of it: what was decoded need not be a text. */
	explicit_bzero(pem, (size_t)(n + last));
	free(pem);
	complain_at(f, yaml_member(f, map, key), "%s is not PEM in base64", key);
	return NULL;
}

/* -- what the file says --------------------------------------------------------------------- */

/* Of clusters, contexts or users the one of that name; `kind` is what its content is called.  NULL: said. */
static yaml_node_t *
find_entry(struct kubeconfig *f, const char *list, const char *kind, const char *name)
{
	yaml_node_t *root = yaml_document_get_root_node(&f->document), *all = yaml_member(f, root, list),
		    *found = NULL;
	char known[NAME_SHOWN] = "";
	size_t used = 0;

	if (all != NULL && all->type == YAML_SEQUENCE_NODE)
		for (yaml_node_item_t *i = all->data.sequence.items.start;
		     i < all->data.sequence.items.top && found == NULL; i++) {
			yaml_node_t *entry = yaml_document_get_node(&f->document, *i),
				    *its = yaml_member(f, entry, "name");

			if (its == NULL || its->type != YAML_SCALAR_NODE)
				continue;
			if (scalar_is(its, name))
				found = entry;
			else if (used + 1 < sizeof(known))
				used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
							 used > 0 ? ", " : "",
							 (const char *)its->data.scalar.value);
		}
	if (found == NULL)
		complain_at(f, all != NULL ? all : root, "there is no %s \"%.*s\"%s%s", kind, NAME_SHOWN,
			    name, known[0] != '\0' ? "; it has: " : "", known);
	return found != NULL ? yaml_member(f, found, kind) : NULL;
}

/* What would be ignored, or is not done for good reasons, is said instead: key, and what to do. */
static const struct refused_key {
	const char *key, *instead;
} cluster_refused[] = {
	{ "insecure-skip-tls-verify", "Teal asks no server that it cannot verify; put its authority into certificate-authority-data" },
	{ "proxy-url", "Teal asks API servers without a proxy; let server be an address that it reaches" },
}, user_refused[] = {
	{ "exec", "Teal runs no program for credentials; give the file a token of a service account (tokenFile), or a client certificate" },
	{ "auth-provider", "Teal has no such plugins; give the file a token of a service account (tokenFile), or a client certificate" },
	{ "username", "API servers take no passwords any more; give the file a token (tokenFile), or a client certificate" },
	{ "as", "Teal asks in its own name; give that user's own token or certificate" },
};

static void
refuse_keys(struct kubeconfig *f, const yaml_node_t *map, const struct refused_key *keys, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const yaml_node_t *its = yaml_member(f, map, keys[i].key);

		if (its != NULL && !scalar_is(its, "false"))
			complain_at(f, f->key, "%s: %s", keys[i].key, keys[i].instead);
	}
}

static void
take_cluster(struct kubeconfig *f, const yaml_node_t *cluster, struct kube_access *out)
{
	char *url = yaml_text(f, cluster, "server");
	struct why bad;

	if (url == NULL)
		complain_at(f, cluster, "the cluster has no server");
	else if (http_url_parse(url, &out->server, &bad) != OK)
		complain_at(f, yaml_member(f, cluster, "server"), "server: %s", bad.text);
	else if (strchr(out->server.target, '?') != NULL)
		complain_at(f, yaml_member(f, cluster, "server"),
			    "server: the URL of an API server has no query");
	free(url);
	refuse_keys(f, cluster, cluster_refused, ARRAY_LEN(cluster_refused));
	out->server_name = yaml_text(f, cluster, "tls-server-name");
	out->ca = yaml_path(f, cluster, "certificate-authority");
	out->ca_pem = yaml_pem(f, cluster, "certificate-authority-data");
}

static void
take_user(struct kubeconfig *f, const yaml_node_t *user, struct kube_access *out)
{
	refuse_keys(f, user, user_refused, ARRAY_LEN(user_refused));
	out->token = yaml_text(f, user, "token");
	out->token_file = yaml_path(f, user, "tokenFile");
	out->cert = yaml_path(f, user, "client-certificate");
	out->cert_pem = yaml_pem(f, user, "client-certificate-data");
	out->key = yaml_path(f, user, "client-key");
	out->key_pem = yaml_pem(f, user, "client-key-data");
	if ((out->cert != NULL || out->cert_pem != NULL) != (out->key != NULL || out->key_pem != NULL))
		complain_at(f, user, "of client-certificate and client-key there is only one");
}

static void
take_context(struct kubeconfig *f, const char *wanted, struct kube_access *out)
{
	yaml_node_t *root = yaml_document_get_root_node(&f->document), *context, *map;
	char *current = wanted != NULL ? must_strdup(wanted) : yaml_text(f, root, "current-context");
	char *cluster = NULL, *user = NULL;

	if (root == NULL || root->type != YAML_MAPPING_NODE)
		complain_at(f, root, "this is no kubeconfig");
	else if (current == NULL)
		complain_at(f, root, "it has no current-context; name one with kubernetes.context");
	context = f->failed ? NULL : find_entry(f, "contexts", "context", current);
	if (!f->failed && (context == NULL || (cluster = yaml_text(f, context, "cluster")) == NULL))
		complain_at(f, context != NULL ? context : root, "the context \"%.*s\" names no cluster",
			    NAME_SHOWN, current);
	if (!f->failed && (map = find_entry(f, "clusters", "cluster", cluster)) != NULL)
		take_cluster(f, map, out);
	else
		complain_at(f, root, "the cluster \"%.*s\" has nothing in it", NAME_SHOWN,
			    cluster != NULL ? cluster : "");
	user = f->failed ? NULL : yaml_text(f, context, "user");
	if (user != NULL && !f->failed && (map = find_entry(f, "users", "user", user)) != NULL)
		take_user(f, map, out);
	free(current);
	free(cluster);
	free(user);
}

/* libyaml's time grows with the square of both (its scanner looks at every open bracket for each token, its loader at
 * every anchor for each new one), so the events are counted before a document is made of them.  What is no YAML passes:
 * the loader says what is wrong. */
static bool
check_effort(struct str text, const char *path, struct why *why)
{
	yaml_parser_t parser;
	yaml_event_t e;
	unsigned depth = 0, anchors = 0;
	bool over = false, fits = true;

	CHECK(yaml_parser_initialize(&parser) == 1);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text.p, text.n);
	while (fits && !over && yaml_parser_parse(&parser, &e) == 1) {
		bool map = e.type == YAML_MAPPING_START_EVENT, list = e.type == YAML_SEQUENCE_START_EVENT;

		depth += map || list;
		depth -= e.type == YAML_MAPPING_END_EVENT || e.type == YAML_SEQUENCE_END_EVENT;
		anchors += (map && e.data.mapping_start.anchor != NULL) ||
			   (list && e.data.sequence_start.anchor != NULL) ||
			   (e.type == YAML_SCALAR_EVENT && e.data.scalar.anchor != NULL);
		over = e.type == YAML_DOCUMENT_END_EVENT || e.type == YAML_STREAM_END_EVENT;
		fits = depth <= NESTING_MAX && anchors <= ANCHORS_MAX;
		if (!fits)
			why_set(why, E_USAGE, "%.256s:%zu: this is no kubeconfig: it has more than %d %s",
				path, e.start_mark.line + 1, depth > NESTING_MAX ? NESTING_MAX : ANCHORS_MAX,
				depth > NESTING_MAX ? "levels" : "anchors");
		yaml_event_delete(&e);
	}
	yaml_parser_delete(&parser);
	return fits;
}

enum err
kube_access_parse(struct str text, const char *path, const char *context, struct kube_access *out,
		  struct why *why)
{
	struct kubeconfig f = { .path = path, .why = why };
	yaml_parser_t parser;

	*out = (struct kube_access){ 0 };
	if (!check_effort(text, path, why))
		return E_USAGE;
	CHECK(yaml_parser_initialize(&parser) == 1);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text.p, text.n);
	if (yaml_parser_load(&parser, &f.document) != 1) {
		f.failed = true;
		why_set(why, E_USAGE, "%.256s:%zu: %s", path, parser.problem_mark.line + 1,
			parser.problem != NULL ? parser.problem : "this is no YAML");
	} else {
		take_context(&f, context, out);
		yaml_document_delete(&f.document);
	}
	yaml_parser_delete(&parser);
	if (f.failed)
		kube_access_free(out);
	return f.failed ? E_USAGE : OK;
}

/* -- the whole ---------------------------------------------------------------------------------- */

static char *
copy_or_none(const char *text)
{
	return text != NULL ? must_strdup(text) : NULL;
}

enum err
kube_access_read(const struct kube_config *config, struct kube_access *out, mode_t *mode, struct why *why)
{
	char *text;
	ssize_t n;
	enum err e;

	*out = (struct kube_access){ 0 };
	if (mode != NULL)
		*mode = 0;
	if (config->kubeconfig == NULL) {
		out->token_file = copy_or_none(config->token_file);
		out->ca = copy_or_none(config->ca);
		out->cert = copy_or_none(config->cert);
		out->key = copy_or_none(config->key);
		return OK;
	}
	text = must_alloc(KUBECONFIG_MAX + 1);
	if ((n = plain_file_read(config->kubeconfig, text, KUBECONFIG_MAX + 1, mode, why)) < 0)
		e = E_USAGE;
	else if ((size_t)n > KUBECONFIG_MAX)
		e = why_set(why, E_USAGE, "%.256s is longer than %zu bytes", config->kubeconfig,
			    KUBECONFIG_MAX);
	else
		e = kube_access_parse((struct str){ text, (size_t)n }, config->kubeconfig, config->context,
				      out, why);
	explicit_bzero(text, n > 0 ? (size_t)n : 0);
	free(text);
	return e;
}

static bool
is_field(const char *token)
{
	for (; *token != '\0'; token++)
		if (*token <= ' ' || *token >= 0x7f)
			return false;
	return true;
}

enum err
kube_access_token(const struct kube_access *a, char **token, mode_t *mode, struct why *why)
{
	enum err e;

	*token = NULL;
	if (mode != NULL)
		*mode = 0;
	if (a->token_file == NULL)
		*token = copy_or_none(a->token);
	else if ((e = secret_read(a->token_file, token, mode, why)) != OK)
		return e;
	if (*token == NULL || is_field(*token))
		return OK;
	secret_free(token);
	return why_set(why, E_USAGE, "%s has bytes that no header field may have",
		       a->token_file != NULL ? a->token_file : "the token");
}

enum err
kube_access_tls(const struct kube_access *a, struct ssl_ctx_st **context, struct why *why)
{
	const struct tls_client_options options = { .ca = a->ca, .ca_pem = a->ca_pem, .alpn = "http/1.1" };
	const struct tls_certificate_files files = { .cert = a->cert_pem != NULL ? "client-certificate-data" :
										   a->cert,
						     .key = a->key_pem != NULL ? "client-key-data" : a->key,
						     .cert_pem = a->cert_pem,
						     .key_pem = a->key_pem };
	struct tls_certificate *own = NULL;
	enum err e = tls_client_context(&options, context, why);

	if (e == OK && files.cert != NULL && (e = tls_certificate_load(&files, &own, why)) == OK)
		e = tls_certificate_use(own, *context, why);
	tls_certificate_unref(&own);
	if (e != OK)
		tls_context_free(context);
	return e;
}
