/* config_service.c - the keys of a service.  Start-up thread only.
 * A new key of a service begins here, in a table. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/config_draft.h"

#define AT(member) .offset = offsetof(struct service_draft, member)
#define LABELS_MAX 32
#define PASSIVE_FAILURES 5
#define LABEL_KEY_MAX 63
#define LABEL_VALUE_MAX 256
#define RATE_MAX 1000000

/* Of keys that no other mode has, and of those about connections. */
#define HTTP .modes = 1u << MODE_HTTP
#define STREAMS .modes = 1u << MODE_TCP | 1u << MODE_HTTP
/* Of keys that no other engine has: what the kernel leaves out when the
 * defaults say it, and what it must not. */
#define PROXY .engines = 1u << ENGINE_PROXY
#define PROXY_FIRM PROXY, .firm = true
#define KERNEL .engines = 1u << ENGINE_KERNEL
/* Of keys that are about colors, and of those that stand for them. */
#define COLORED .colored = true
#define COLORLESS .colorless = true
#define PORT_MAX 65535

static const char *const mode_words[] = { "tcp", "http", "udp", NULL };
static const char *const engine_words[] = { "proxy", "kernel", NULL };
static const char *const color_words[] = { "green", "blue", NULL };
static const char *const balance_words[] = { "round_robin", "least_conn", "p2c", "source_hash", NULL };
static const char *const all_down_words[] = { "try", "reject", "refuse", NULL };
static const char *const send_words[] = { "none", "v1", "v2", NULL };
static const char *const reuse_words[] = { "safe", "always", NULL };
static const char *const backend_protocol_words[] = { "http/1.1", "h2", "auto", NULL };
static const char *const answers_words[] = { "lenient", "strict", NULL };
static const char *const sse_words[] = { "close", "503", NULL };
static const char *const utf8_words[] = { "refuse", "pass", NULL };
static const char *const trace_words[] = { "off", "pass", "begin", NULL };
static const char *const plain_words[] = { "redirect", "serve", NULL };
static const char *const on_down_words[] = { "keep", "reset", NULL };
static const char *const source_words[] = { "masquerade", "transparent", NULL };

const char *
balance_word(enum balance b)
{
	return balance_words[b];
}

const char *
mode_word(enum service_mode m)
{
	return mode_words[m];
}

const char *
engine_word(enum engine_kind e)
{
	return engine_words[e];
}

/* Names come into metrics, logs, files and keys of the store. */
static bool
is_name(const char *name)
{
	size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	return n >= 1 && n <= 63 && name[n] == '\0' && name[0] != '-' && name[0] != '.';
}

static void
key_name(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	char **name = (char **)(void *)((char *)c->base + k->offset);

	if (config_setting_type(s) != CONFIG_TYPE_STRING)
		cursor_key_error(c, s, "expected a text in double quotes, found %s", cursor_found(s).s);
	else if (!is_name(config_setting_get_string(s)))
		cursor_key_error(
			c, s, "\"%s\" is not a name: 1 to 63 of A-Z a-z 0-9 . _ -, the first neither . nor -",
			show(config_setting_get_string(s)).s);
	else if (*name == NULL)
		*name = must_strdup(config_setting_get_string(s));
}

static bool
read_listen_address(const struct cursor *c, const config_setting_t *item, struct addr *out)
{
	const char *text = config_setting_get_string(item);
	struct why why;

	if (addr_parse(text[0] == '*' ? text + 1 : text, ADDR_ANY_HOST, out, &why) != OK) {
		cursor_key_error(c, item, "%s", why.text);
		return false;
	}
	/* Such a socket is IPv6 only here, where no IPv4 packet arrives. */
	if (addr_family(out) == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&out->u.in6.sin6_addr)) {
		cursor_key_error(c, item, "\"%s\" is an IPv4 address written as IPv6; write it as IPv4",
				 show(text).s);
		return false;
	}
	return true;
}

void
draft_read_addresses(const struct cursor *c, const config_setting_t *s, struct addr **list, size_t *n)
{
	free(*list);
	*list = NULL;
	*n = 0;
	if (!cursor_texts(c, s, "an address"))
		return;
	*list = must_array(cursor_items(s) + 1, sizeof(**list));
	/* All or none: the i-th address stays the i-th item. */
	for (size_t i = 0, good = 0; i < cursor_items(s); i++) {
		good += read_listen_address(c, cursor_item(s, i), &(*list)[i]);
		*n = good == cursor_items(s) ? good : 0;
	}
}

static void
key_listen(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct service_draft *d = c->base;

	(void)k;
	d->listen = s;
	draft_read_addresses(c, s, &d->s.listen, &d->s.n_listen);
	if (cursor_items(s) == 0)
		cursor_key_error(c, s, "the list is empty; add an address such as \"0.0.0.0:80\"");
}

static void
key_preview(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct service_draft *d = c->base;

	(void)k;
	d->preview = s;
	draft_read_addresses(c, s, &d->s.preview, &d->s.n_preview);
}

static void
key_plain_listen(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct service_draft *d = c->base;

	(void)k;
	d->plain_listen = s;
	draft_read_addresses(c, s, &d->s.plain_listen, &d->s.n_plain_listen);
}

static void
key_source_address(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct service_draft *d = c->base;

	(void)k;
	if (config_setting_type(s) != CONFIG_TYPE_STRING)
		cursor_key_error(c, s, "expected an IP address in double quotes, found %s",
				 cursor_found(s).s);
	else if (!addr_parse_ip(config_setting_get_string(s), 0, &d->s.source_address))
		cursor_key_error(c, s, "\"%s\" is not an IP address (without port)",
				 show(config_setting_get_string(s)).s);
}

/* "100/s" or "100/m": so many at once, and so fast they come back. */
static void
key_rate(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	const char *text = config_setting_type(s) == CONFIG_TYPE_STRING ? config_setting_get_string(s) : "";
	size_t n = strspn(text, "0123456789");
	bool minute = strcmp(text + n, "/m") == 0;
	struct service_draft *d = c->base;
	uint64_t v;

	(void)k;
	if (n == 0 || (strcmp(text + n, "/s") != 0 && !minute))
		cursor_key_error(c, s, "expected a rate such as \"100/s\" or \"30/m\", found %s",
				 cursor_found(s).s);
	else if (!str_to_u64((struct str){ text, n }, RATE_MAX, &v))
		cursor_key_error(c, s, "%s is out of range: 0 to %d", show(text).s, RATE_MAX);
	else
		d->s.limits.source_rate = (struct source_rate){ (double)v, (double)v / (minute ? 60 : 1) };
}

/* What our own log lines say already; a second member of that name would
 * make the line ambiguous, and one that another line has as a number would not
 * fit its column (conf/bigquery-schema.json), whose names have no case. */
static const char *const log_words[] = {
	"age", "backend", "backtrace", "binary", "by", "bytes_in", "bytes_out", "changed", "cipher", "client", "clients", "close_code",
	"color", "command", "config", "connect_seconds", "connections", "count", "cut", "datagrams_in", "datagrams_out", "dataset", "doing", "drained",
	"end", "endpoints", "entrance", "epoch", "error", "event", "expect", "failures", "fingerprint",
	"first_byte_seconds", "force", "from", "generation", "got", "grpc_status", "have", "hint", "host", "instance", "interfaces", "key", "kind", "ktls", "labels", "late",
	"level", "lines", "listen", "max_age", "message", "method", "name", "node", "notice", "on", "orphans",
	"path", "paused", "peer", "percent", "percent_before", "pid", "pool", "protocol", "queue_seconds", "ready", "reason", "refused", "refusing", "remaining",
	"renewed", "request_id", "result", "resumed", "retries", "revision", "sample", "seconds", "service", "services",
	"signal", "sni", "socket", "status", "store_color", "store_epoch", "subject", "targets", "time",
	"timeout", "tls", "tls_seconds", "to", "total", "trace_id", "tried", "ttl", "type", "uid", "until", "user", "user_agent", "verb",
	"version", "wanted", "was", "weight", "where", "why", "worker", "workers",
};

static void
set_label(struct service_config *s, const char *key, const char *value)
{
	for (size_t i = 0; i < s->n_labels; i++) {
		if (strcmp(s->labels[i].key, key) != 0)
			continue;
		free(s->labels[i].value);
		s->labels[i].value = must_strdup(value);
		return;
	}
	s->labels = must_grow(s->labels, s->n_labels + 1, sizeof(*s->labels));
	s->labels[s->n_labels++] = (struct label){ must_strdup(key), must_strdup(value) };
}

static void
key_labels(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct service_draft *d = c->base;

	(void)k;
	if (config_setting_type(s) != CONFIG_TYPE_GROUP) {
		cursor_key_error(c, s, "expected a group { } of texts, found %s", cursor_found(s).s);
		return;
	}
	for (unsigned i = 0; i < (unsigned)config_setting_length(s); i++) {
		const config_setting_t *l = config_setting_get_elem(s, i);
		bool ours = false;

		for (size_t w = 0; w < ARRAY_LEN(log_words); w++)
			ours |= strcasecmp(l->name, log_words[w]) == 0;
		if (config_setting_type(l) != CONFIG_TYPE_STRING)
			cursor_error(c, l, "%slabels.%s: expected a text in double quotes, found %s",
				     c->prefix, show(l->name).s, cursor_found(l).s);
		else if (ours)
			cursor_error(c, l,
				     "%slabels.%s: every log line has a \"%s\" already; choose another name",
				     c->prefix, l->name, l->name);
		else if (strlen(l->name) > LABEL_KEY_MAX ||
			 strlen(config_setting_get_string(l)) > LABEL_VALUE_MAX)
			cursor_error(c, l, "%slabels.%s: too long: at most %d bytes, its value %d", c->prefix,
				     show(l->name).s, LABEL_KEY_MAX, LABEL_VALUE_MAX);
		else if (d->s.n_labels == LABELS_MAX)
			cursor_error(c, l, "%slabels.%s: more than %d labels", c->prefix, l->name,
				     LABELS_MAX);
		else
			set_label(&d->s, l->name, config_setting_get_string(l));
	}
}

static const struct key flip_keys[] = {
	{ KEY("min_healthy", key_percent_or_count), AT(s.min_healthy), .min = 1 },
	{ KEY("bake", key_seconds), AT(s.bake), .max = 86400 },
	{ KEY("on_regression", key_word), AT(s.on_regression), .words = on_regression_words },
	{ 0 },
};

static const struct key drain_keys[] = {
	{ KEY("timeout", key_seconds), AT(s.drain.timeout) },
	{ KEY("idle", key_seconds), AT(s.drain.idle) },
	{ KEY("spread", key_seconds), AT(s.drain.spread) },
	{ 0 },
};

static const struct key tcp_keys[] = {
	{ KEY("keepalive", key_bool), AT(s.tcp.keepalive.on) },
	{ KEY("congestion", key_text), AT(s.tcp.congestion) },
	{ KEY("backlog", key_count), AT(s.tcp.backlog), .min = 1, .max = 1 << 20 },
	{ KEY("user_timeout", key_seconds), AT(s.tcp.user_timeout), .max = 86400 },
	{ KEY("fastopen", key_bool), AT(s.tcp.fastopen) },
	{ KEY("freebind", key_bool), AT(s.tcp.freebind) },
	{ KEY("keepalive_idle", key_count), AT(s.tcp.keepalive.idle), .max = 32767 },
	{ KEY("keepalive_interval", key_count), AT(s.tcp.keepalive.interval), .max = 32767 },
	{ KEY("keepalive_count", key_count), AT(s.tcp.keepalive.count), .max = 127 },
	{ 0 },
};

static const struct key passive_keys[] = {
	{ KEY("failures", key_count), AT(s.passive.failures), .max = 1e6 },
	{ KEY("answers", key_count), AT(s.passive.answers), .max = 1e6 },
	{ KEY("eject", key_seconds), AT(s.passive.eject), .max = 86400 },
	{ KEY("max_ejected", key_percent_or_count), AT(s.passive.max_ejected), .min = 1 },
	{ 0 },
};

/* The group switches it on, whatever stands in it. */
static void
key_passive(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct service_draft *d = c->base;

	if (d->s.passive.failures == 0)
		d->s.passive.failures = PASSIVE_FAILURES;
	key_group(c, k, s);
}

static const struct key proxy_protocol_keys[] = {
	{ KEY("accept_from", key_networks), AT(s.proxy_protocol.accept_from) },
	{ KEY("header_timeout", key_seconds), AT(s.proxy_protocol.header_timeout) },
	{ KEY("send", key_word), AT(s.proxy_protocol.send), .words = send_words },
	{ 0 },
};

static const struct key http2_keys[] = {
	{ KEY("max_streams", key_count), AT(s.http.http2.max_streams), .min = 1, .max = 10000 },
	{ KEY("max_fields", key_count), AT(s.http.http2.max_fields), .min = 8, .max = 256 },
	{ KEY("max_header_size", key_size), AT(s.http.http2.max_header_size), .min = 1 << 10, .max = 256 << 10 },
	{ KEY("max_continuations", key_count), AT(s.http.http2.max_continuations), .max = 255 },
	{ KEY("max_resets", key_count), AT(s.http.http2.max_resets), .max = 60000 },
	{ KEY("max_control", key_count), AT(s.http.http2.max_control), .max = 60000 },
	{ KEY("max_memory", key_size), AT(s.http.http2.max_memory), .min = 128 << 10, .max = 64 << 20 },
	{ KEY("stall_timeout", key_seconds), AT(s.http.http2.stall_timeout), .max = 3600 },
	{ 0 },
};

const struct key service_keys[] = {
	{ KEY("name", key_name), AT(s.name) },
	{ KEY("rename", key_name), AT(s.rename) },
	{ KEY("listen", key_listen) },
	{ KEY("preview", key_preview), COLORED },
	{ KEY("mode", key_word), AT(s.mode), .words = mode_words },
	{ KEY("engine", key_word), AT(s.engine), .words = engine_words },
	{ KEY("initial", key_word), AT(s.initial), .words = color_words, COLORED },
	{ KEY("nodes", key_nodes), AT(nodes) },
	{ KEY("green", key_color), AT(colors[GREEN]), COLORED },
	{ KEY("blue", key_color), AT(colors[BLUE]), COLORED },
	{ KEY("port", key_count), AT(own.port), .min = 1, .max = PORT_MAX, COLORLESS },
	{ KEY("health_port", key_count), AT(own.health_port), .min = 1, .max = PORT_MAX, COLORLESS },
	{ KEY("backends", key_backends), AT(own.backends), .keys = backend_keys, COLORLESS },
	{ KEY("balance", key_word), AT(s.balance), .words = balance_words },
	{ KEY("slow_start", key_seconds), AT(s.slow_start), .max = 86400 },
	{ KEY("passive", key_passive), .keys = passive_keys, PROXY },
	{ KEY("on_down", key_word), AT(s.on_down), .words = on_down_words },
	{ KEY("when_all_down", key_word), AT(s.when_all_down), .words = all_down_words },
	{ KEY("health", key_group), .keys = health_keys },
	{ KEY("flip", key_group), .keys = flip_keys, COLORED },
	{ KEY("drain", key_group), .keys = drain_keys },
	{ KEY("connect_timeout", key_seconds), AT(s.connect_timeout), STREAMS, PROXY },
	{ KEY("idle_timeout", key_seconds), AT(s.idle_timeout), PROXY },
	{ KEY("retries", key_count), AT(s.retries), .max = 100, PROXY },
	{ KEY("retry_pause", key_seconds), AT(s.retry_pause), .max = 60, STREAMS, PROXY },
	{ KEY("client_timeout", key_seconds), AT(s.client_timeout), STREAMS, PROXY },
	{ KEY("server_timeout", key_seconds), AT(s.server_timeout), STREAMS, PROXY },
	{ KEY("max_connections", key_count), AT(s.max_connections), .max = 100e6, PROXY_FIRM },
	{ KEY("allow", key_networks), AT(s.limits.allow) },
	{ KEY("deny", key_networks), AT(s.limits.deny) },
	{ KEY("max_connections_per_source", key_count), AT(s.limits.per_source), .max = 100e6 },
	{ KEY("source_prefix6", key_count), AT(s.limits.source_prefix6), .min = 1, .max = 128 },
	{ KEY("source_rate", key_rate) },
	{ KEY("queue_timeout", key_seconds), AT(s.limits.queue_timeout), .max = 3600, STREAMS, PROXY },
	{ KEY("queue_limit", key_count), AT(s.limits.queue), .max = 100e6, STREAMS, PROXY },
	{ KEY("backend_max_connections", key_count), AT(s.backend_max_connections), .max = 100e6, PROXY_FIRM },
	{ KEY("source_address", key_source_address), PROXY_FIRM },
	{ KEY("tcp", key_group), .keys = tcp_keys, PROXY },
	{ KEY("labels", key_labels) },

	{ KEY("hosts", key_hosts), HTTP },
	{ KEY("paths", key_paths), HTTP },
	{ KEY("header_timeout", key_seconds), AT(s.http.header_timeout), .max = 3600, HTTP },
	{ KEY("response_timeout", key_seconds), AT(s.http.response_timeout), HTTP },
	{ KEY("keepalive_timeout", key_seconds), AT(s.http.keepalive_timeout), HTTP },
	{ KEY("forwarded", key_bool), AT(s.http.forwarded), HTTP },
	{ KEY("forwarded_header", key_bool), AT(s.http.forwarded_header), HTTP },
	{ KEY("forwarded_trust", key_networks), AT(s.http.forwarded_trust), HTTP },
	{ KEY("trace", key_word), AT(s.http.trace), .words = trace_words, HTTP },
	{ KEY("trace_trust", key_networks), AT(s.http.trace_trust), HTTP },
	{ KEY("trace_sample", key_fraction), AT(s.http.trace_sample), .max = 1, HTTP },
	{ KEY("via", key_bool), AT(s.http.via), HTTP },
	{ KEY("request_id", key_bool), AT(s.http.request_id), HTTP },
	{ KEY("color_header", key_bool), AT(s.http.color_header), HTTP, COLORED },
	{ KEY("preview_header", key_header), AT(s.http.preview_header), HTTP, COLORED },
	{ KEY("preview_allow", key_networks), AT(s.http.preview_allow), HTTP, COLORED },
	{ KEY("max_header_size", key_size), AT(s.http.max_header_size), .min = 1 << 10, .max = 256 << 10, HTTP },
	{ KEY("default_host", key_default_host), HTTP },
	{ KEY("target_utf8", key_word), AT(s.http.target_utf8), .words = utf8_words, HTTP },
	{ KEY("max_uri", key_size), AT(s.http.max_uri), .min = 64, .max = 256 << 10, HTTP },
	{ KEY("max_headers", key_count), AT(s.http.max_headers), .min = 8, .max = 256, HTTP },
	{ KEY("max_body", key_size), AT(s.http.max_body), HTTP },
	{ KEY("max_requests", key_count), AT(s.http.max_requests), .max = 1e9, HTTP },
	{ KEY("body_min_rate", key_size), AT(s.http.body_min_rate), .max = 1 << 30, HTTP },
	{ KEY("body_grace", key_seconds), AT(s.http.body_grace), .min = 1, .max = 3600, HTTP },
	{ KEY("pool_size", key_count), AT(s.http.pool_size), .max = 65536, HTTP },
	{ KEY("pool_idle", key_seconds), AT(s.http.pool_idle), .max = 3600, HTTP },
	{ KEY("pool_reuse", key_word), AT(s.http.pool_reuse), .words = reuse_words, HTTP },
	{ KEY("backend_protocol", key_word), AT(s.http.backend_protocol), .words = backend_protocol_words, HTTP },
	{ KEY("answers", key_word), AT(s.http.answers), .words = answers_words, HTTP },
	{ KEY("retry_after", key_count), AT(s.http.retry_after), .max = 86400, HTTP },
	{ KEY("sse_unavailable", key_word), AT(s.http.sse_unavailable), .words = sse_words, HTTP },
	{ KEY("error_page", key_error_page), HTTP },
	{ KEY("h2c", key_bool), AT(s.http.h2c), HTTP },
	{ KEY("http2", key_group), .keys = http2_keys, HTTP },
	{ KEY("maintenance", key_bool), AT(s.http.reply.maintenance), HTTP },
	{ KEY("redirect", key_redirect), AT(s.http.reply.redirect), HTTP },
	{ KEY("redirect_status", key_redirect_status), AT(s.http.reply.redirect_status), HTTP },
	{ KEY("request_headers", key_headers), .keys = request_headers_keys, HTTP },
	{ KEY("response_headers", key_headers), .keys = response_headers_keys, HTTP },
	{ KEY("default", key_bool), AT(s.is_default), STREAMS, PROXY_FIRM },
	{ KEY("sni", key_sni), .modes = 1u << MODE_TCP, PROXY_FIRM },
	{ KEY("sni_map", key_text), AT(s.sni_map), .modes = 1u << MODE_TCP, PROXY_FIRM },
	{ KEY("tls", key_tls), .keys = tls_keys, STREAMS, PROXY_FIRM },
	{ KEY("backend_tls", key_backend_tls), .keys = backend_tls_keys, STREAMS, PROXY_FIRM },
	{ KEY("plain_listen", key_plain_listen), STREAMS, PROXY_FIRM },
	{ KEY("plain", key_word), AT(s.plain), .words = plain_words, STREAMS, PROXY_FIRM },
	{ KEY("proxy_protocol", key_group), .keys = proxy_protocol_keys, STREAMS, PROXY_FIRM },
	{ KEY("resolve_interval", key_seconds), AT(s.resolve_interval), .max = 86400 },

	{ KEY("source", key_word), AT(s.flow_source), .words = source_words, KERNEL },
	{ KEY("local_clients", key_bool), AT(s.local_clients), KERNEL },
	{ 0 },
};
