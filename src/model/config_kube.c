/* config_kube.c - the group kubernetes of a node pool: who tells of its nodes, and
 * what of that counts.
 * Start-up thread only, but for the writers of values. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/config_draft.h"
#include "model/config_value.h"
#include "model/kube_access.h"
#include "model/secret.h"
#include "net/tls_client.h"

#define KUBE(member) .offset = offsetof(struct kube_config, member)
#define SERVERS_MAX 16

static const char *const address_words[] = { "InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS", NULL };

const struct key kube_keys[] = {
	{ KEY("server", key_kube_server), KUBE(servers) },
	{ KEY("kubeconfig", key_text), KUBE(kubeconfig) },
	{ KEY("context", key_text), KUBE(context) },
	{ KEY("token_file", key_text), KUBE(token_file) },
	{ KEY("ca", key_text), KUBE(ca) },
	{ KEY("cert", key_text), KUBE(cert) },
	{ KEY("key", key_text), KUBE(key) },
	{ KEY("selector", key_text), KUBE(selector) },
	{ KEY("address", key_word), KUBE(address), .words = address_words },
	{ KEY("taints", key_kube_taints), KUBE(taints) },
	{ KEY("min_ready", key_percent_or_count), KUBE(min_ready), .min = 1 },
	{ KEY("drain_timeout", key_seconds), KUBE(drain_timeout), .max = 604800 },
	{ 0 },
};

const char *
kube_address_word(enum kube_address a)
{
	return address_words[a];
}

void
kube_config_default(struct kube_config *k)
{
	*k = (struct kube_config){ .min_ready = { .value = 50, .percent = true }, .drain_timeout = 60.0 };
}

void
kube_config_free(struct kube_config **kp)
{
	struct kube_config *k = *kp;

	*kp = NULL;
	if (k == NULL)
		return;
	free(k->servers);
	free(k->kubeconfig);
	free(k->context);
	free(k->named);
	free(k->token_file);
	free(k->ca);
	free(k->cert);
	free(k->key);
	free(k->selector);
	for (size_t i = 0; i < k->n_taints; i++)
		free(k->taints[i]);
	free(k->taints);
	free(k);
}

bool
kube_config_same(const struct kube_config *a, const struct kube_config *b)
{
	bool same = a->n_servers == b->n_servers && a->n_taints == b->n_taints && cstr_eq(a->kubeconfig, b->kubeconfig) &&
		    cstr_eq(a->context, b->context) && cstr_eq(a->named, b->named) && cstr_eq(a->token_file, b->token_file) && cstr_eq(a->ca, b->ca) &&
		    cstr_eq(a->cert, b->cert) && cstr_eq(a->key, b->key) && cstr_eq(a->selector, b->selector) && a->address == b->address &&
		    a->min_ready.value == b->min_ready.value && a->min_ready.percent == b->min_ready.percent && a->drain_timeout == b->drain_timeout;

	for (size_t i = 0; same && i < a->n_servers; i++) {
		char x[HTTP_URL_ORIGIN], y[HTTP_URL_ORIGIN];

		same = strcmp(http_url_origin(&a->servers[i], x), http_url_origin(&b->servers[i], y)) == 0 &&
		       strcmp(a->servers[i].target, b->servers[i].target) == 0;
	}
	for (size_t i = 0; same && i < a->n_taints; i++)
		same = strcmp(a->taints[i], b->taints[i]) == 0;
	return same;
}

void
key_kube_server(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct kube_config *kube = c->base;
	size_t n = cursor_items(s);

	(void)k;
	if (!cursor_texts(c, s, "a URL"))
		return;
	if (n == 0 || n > SERVERS_MAX) {
		cursor_key_error(c, s, "expected 1 to %d URLs, found %zu", SERVERS_MAX, n);
		return;
	}
	kube->servers = must_array(n, sizeof(*kube->servers));
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *item = cursor_item(s, i);
		struct http_url *url = &kube->servers[kube->n_servers];
		struct why why;

		if (http_url_parse(config_setting_get_string(item), url, &why) != OK)
			cursor_key_error(c, item, "%s", why.text);
		else if (strchr(url->target, '?') != NULL)
			cursor_key_error(c, item, "the URL of an API server has no query");
		else
			kube->n_servers++;
	}
}

void
key_kube_taints(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	static const char *const effects[] = { "NoSchedule", "PreferNoSchedule", "NoExecute" };
	struct kube_config *kube = c->base;
	size_t before = kube->n_taints;

	cursor_take_texts(c, k, s, "the key of a taint, or KEY:EFFECT",
			  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/:");
	for (size_t i = before; i < kube->n_taints; i++) {
		const char *effect = strchr(kube->taints[i], ':');

		if (effect != NULL && strcmp(effect + 1, effects[0]) != 0 && strcmp(effect + 1, effects[1]) != 0 &&
		    strcmp(effect + 1, effects[2]) != 0)
			cursor_key_error(c, cursor_item(s, i), "\"%s\": the effect of a taint is one of NoSchedule, PreferNoSchedule, NoExecute%s",
					 show(kube->taints[i]).s, cursor_guess(effect + 1, effects, ARRAY_LEN(effects)).s);
	}
}

/* -- the whole ---------------------------------------------------------------------- */

/* At the key, or at the group. */
static const config_setting_t *
place(const config_setting_t *s, const char *key)
{
	const config_setting_t *its = config_setting_get_member(s, key);

	return its != NULL ? its : s;
}

/* Every key of the group that would say what the kubeconfig says. */
static void
check_kubeconfig_alone(const struct cursor *c, const config_setting_t *s, const struct kube_config *k)
{
	const struct {
		const char *key, *value;
	} others[] = { { "token_file", k->token_file }, { "ca", k->ca }, { "cert", k->cert }, { "key", k->key } };

	if (k->kubeconfig == NULL && k->context != NULL)
		cursor_error(c, place(s, "context"), "kubernetes.context is that of a kubeconfig, and there is none");
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (k->kubeconfig != NULL && others[i].value != NULL)
			cursor_error(c, place(s, others[i].key), "kubernetes.%s: kubeconfig says that already; keep one of the two", others[i].key);
	if (k->key != NULL && k->cert == NULL)
		cursor_error(c, place(s, "key"), "kubernetes.key: cert is missing; add cert = \"/etc/teal/kube.crt\";");
}

/* Files may come later, and are read again and again: no reason not to start. */
#define UNTIL "until it can be read the last known nodes count"

static void
check_kube_token(const struct cursor *c, const config_setting_t *s, const struct kube_access *a)
{
	const char *key = config_setting_get_member(s, "kubeconfig") != NULL ? "kubeconfig" : "token_file";
	char *token = NULL;
	struct why why;
	mode_t mode;

	if (kube_access_token(a, &token, &mode, &why) != OK)
		cursor_warn(c, place(s, key), "kubernetes.%s: %s; " UNTIL, key, why.text);
	else if (mode & 0004)
		cursor_warn(c, place(s, key), "kubernetes.%s: every user can read %s (mode %04o); chmod 0640 it", key, a->token_file,
			    (unsigned)mode & 07777);
	secret_free(&token);
}

static void
check_trust(const struct cursor *c, const config_setting_t *s, const struct kube_config *k, const struct kube_access *a)
{
	const char *key = k->kubeconfig != NULL ? "kubeconfig" : k->ca != NULL ? "ca" : "cert";
	bool tls = k->n_servers == 0 && a->server.tls, plain = k->n_servers == 0 && !tls;
	bool given = a->ca != NULL || a->ca_pem != NULL || a->cert != NULL || a->cert_pem != NULL;
	struct ssl_ctx_st *context;
	struct why why;

	for (size_t i = 0; i < k->n_servers; i++) {
		tls |= k->servers[i].tls;
		plain |= !k->servers[i].tls;
	}
	if (given && !tls)
		cursor_warn(c, place(s, key), "kubernetes.%s%s changes nothing: the server is http://", key,
			    k->kubeconfig != NULL ? ": what it says of TLS" : "");
	else if (given && kube_access_tls(a, &context, &why) != OK)
		cursor_warn(c, place(s, key), "kubernetes.%s: %s; " UNTIL, key, why.text);
	else if (given)
		tls_context_free(&context);
	key = k->kubeconfig != NULL ? "kubeconfig" : "token_file";
	if (plain && (a->token_file != NULL || a->token != NULL))
		cursor_warn(c, place(s, key), "kubernetes.%s: the token goes over the network unencrypted; use https://", key);
}

static void
check_access(const struct cursor *c, const config_setting_t *s, struct kube_config *k)
{
	char origin[HTTP_URL_ORIGIN];
	struct kube_access a;
	struct why why;
	mode_t mode;

	if (kube_access_read(k, &a, &mode, &why) != OK) {
		cursor_warn(c, place(s, "kubeconfig"), "kubernetes.kubeconfig: %s; " UNTIL, why.text);
		return;
	}
	if (mode & 0004)
		cursor_warn(c, place(s, "kubeconfig"), "kubernetes.kubeconfig: every user can read %s (mode %04o); chmod 0640 it",
			    k->kubeconfig, (unsigned)mode & 07777);
	if (k->kubeconfig != NULL)
		k->named = must_printf("%s%s", http_url_origin(&a.server, origin), a.server.target);
	check_kube_token(c, s, &a);
	check_trust(c, s, k, &a);
	kube_access_free(&a);
}

/* It goes into a URL; what the API thinks of it, it says itself. */
static void
check_selector(const struct cursor *c, const config_setting_t *s, const struct kube_config *k)
{
	for (const char *p = k->selector; p != NULL && *p != '\0'; p++)
		if (*p < ' ' || *p > '~') {
			cursor_error(c, place(s, "selector"),
				     "kubernetes.selector: expected a label selector such as \"node-role.kubernetes.io/worker\" or "
				     "\"pool=web,!edge\", found \"%s\"",
				     show(k->selector).s);
			return;
		}
}

void
draft_check_kube(const struct cursor *c, const config_setting_t *s, struct kube_config *k)
{
	if (config_setting_get_member(s, "server") == NULL && k->kubeconfig == NULL)
		cursor_error(c, s, "kubernetes: server is missing; add server = \"https://HOST:6443\"; or kubeconfig = \"/etc/teal/kube.config\";");
	check_kubeconfig_alone(c, s, k);
	check_selector(c, s, k);
	check_access(c, s, k);
}

const char *
kube_config_digest(const struct kube_config *k, char out[KUBE_DIGEST])
{
	char origin[HTTP_URL_ORIGIN];
	struct buf text;

	_Static_assert(KUBE_DIGEST == CONFIG_VALUE_DIGEST, "it is one of those");
	buf_init(&text, 1 << 20);
	for (size_t i = 0; i < k->n_servers; i++)
		buf_printf(&text, "%s%s\n", http_url_origin(&k->servers[i], origin), k->servers[i].target);
	if (k->n_servers == 0)
		buf_printf(&text, "%s\n", k->named != NULL ? k->named : "");
	buf_printf(&text, "%s\n%s\n%u%s\n", k->selector != NULL ? k->selector : "", kube_address_word(k->address), k->min_ready.value,
		   k->min_ready.percent ? "%" : "");
	for (size_t i = 0; i < k->n_taints; i++)
		buf_printf(&text, "%s\n", k->taints[i]);
	config_value_digest(buf_str(&text).p, buf_len(&text), out);
	buf_free(&text);
	return out;
}

/* -- in words ------------------------------------------------------------------------- */

void
kube_server_value(struct buf *out, const void *base, const struct key *key)
{
	const struct kube_config *k = base;
	char origin[HTTP_URL_ORIGIN];

	(void)key;
	buf_printf(out, "[");
	for (size_t i = 0; i < k->n_servers; i++)
		buf_printf(out, "%s%s%s", i > 0 ? ", " : "", http_url_origin(&k->servers[i], origin),
			   strcmp(k->servers[i].target, "/") != 0 ? k->servers[i].target : "");
	buf_printf(out, "]");
}

void
kube_taints_value(struct buf *out, const void *base, const struct key *key)
{
	const struct kube_config *k = base;

	(void)key;
	config_value_texts(out, k->taints, k->n_taints);
}
