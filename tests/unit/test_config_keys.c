/* test_config_keys.c - the flat list of a configuration has every key of the tables
 * it is read by, and says when one of them has another value. */
#include <grp.h>
#include <pwd.h>

#include "config_file.h"
#include "certificates.h"
#include "model/config_draft.h"
#include "model/config_keys.h"

/* A value that is not the default of each key. */
struct sample {
	const char *path, *text;
	const char *kind;	/* of the service; NULL: http */
};

#define TLS "tls: { certificates = ( { cert = \"a.pem\"; } ); "
#define REDIS "store: { type = \"redis\"; url = \"redis://10.0.0.5\"; "
#define HASH "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define NET "admin: { listen = \"10.0.0.1:9443\"; tls: { cert = \"c.pem\"; client_ca = \"a.pem\"; }; "
#define OBSERVE "observe: { listen = \"127.0.0.1:9180\"; "
#define KERNEL "mode = \"tcp\"; engine = \"kernel\";"
#define TCP "mode = \"tcp\";"

static const struct sample top_samples[] = {
	{ "workers", "workers = 3;", NULL },
	{ "max_connections", "max_connections = 3;", NULL },
	{ "state_dir", "state_dir = \"/other\";", NULL },
	{ "user", "user = \"root\";", NULL },
	{ "store.type", "store: { type = \"redis\"; url = \"redis://10.0.0.5\"; };", NULL },
	{ "store.prefix", "store: { prefix = \"other\"; };", NULL },
	{ "store.max_age", "store: { max_age = 31.0; };", NULL },
	{ "store.stale", "store: { stale = \"refuse\"; };", NULL },
	{ "store.url", REDIS "};", NULL },
	{ "store.password_file", REDIS "password_file = \"secret\"; };", NULL },
	{ "store.sentinels", "store: { type = \"redis\"; master = \"m\"; sentinels = [\"10.0.0.5\"]; };", NULL },
	{ "store.sentinel_password_file",
	  "store: { type = \"redis\"; master = \"m\"; sentinels = [\"10.0.0.5\"]; sentinel_password_file = \"secret\"; };", NULL },
	{ "store.master", "store: { type = \"redis\"; master = \"m\"; sentinels = [\"10.0.0.5\"]; };", NULL },
	{ "store.user", "store: { type = \"redis\"; url = \"redis://me@10.0.0.5\"; };", NULL },
	{ "store.database", "store: { type = \"redis\"; url = \"redis://10.0.0.5/3\"; };", NULL },
	{ "store.tls", "store: { type = \"redis\"; url = \"rediss://10.0.0.5\"; };", NULL },
	{ "store.ca", REDIS "ca = \"ca.pem\"; };", NULL },
	{ "store.connect_timeout", REDIS "connect_timeout = 3.0; };", NULL },
	{ "store.command_timeout", REDIS "command_timeout = 3.0; };", NULL },
	{ "admin.socket", "admin: { socket = \"/other.sock\"; };", NULL },
	{ "admin.mode", "admin: { mode = \"0600\"; };", NULL },
	{ "admin.group", "admin: { group = \"root\"; };", NULL },
	{ "admin.listen", NET "};", NULL },
	{ "admin.allow", NET "allow = \"10.0.0.0/8\"; };", NULL },
	{ "admin.tls.cert", NET "};", NULL },
	{ "admin.tls.key", "admin: { listen = \"10.0.0.1:9443\"; tls: { cert = \"c.pem\"; key = \"k.pem\"; client_ca = \"a.pem\"; }; };", NULL },
	{ "admin.tls.client_ca", NET "};", NULL },
	{ "admin.tls.crl", "admin: { listen = \"10.0.0.1:9443\"; tls: { cert = \"c.pem\"; client_ca = \"a.pem\"; crl = \"r.pem\"; }; };", NULL },
	{ "admin.tls.min_version", "admin: { listen = \"10.0.0.1:9443\"; tls: { cert = \"c.pem\"; client_ca = \"a.pem\"; min_version = \"1.3\"; }; };", NULL },
	{ "admin.tls.handshake_timeout", "admin: { listen = \"10.0.0.1:9443\"; tls: { cert = \"c.pem\"; client_ca = \"a.pem\"; handshake_timeout = 7; }; };", NULL },
	{ "admin.token_file", NET "token_file = \"tokens\"; };", NULL },
	{ "admin.roles", "admin: { roles = ( { user = \"root\"; services = [\"shop\"]; allow = [\"read\"]; } ); };", NULL },
	{ "notify", "notify = ( { url = \"https://h/x\"; events = [\"flip.*\"]; } );", NULL },
	{ "observe.listen", OBSERVE "};", NULL },
	{ "observe.freebind", OBSERVE "freebind = true; };", NULL },
	{ "observe.backend_metrics", OBSERVE "backend_metrics = false; };", NULL },
	{ "observe.hosts", OBSERVE "hosts = [\"status.example\"]; };", NULL },
	{ "observe.allow", OBSERVE "allow = [\"10.0.0.0/8\"]; };", NULL },
	{ "observe.password_file", OBSERVE "password_file = \"page.pass\"; };", NULL },
	{ "ready.min_services", "ready: { min_services = \"100%\"; };", NULL },
	{ "log.level", "log: { level = \"debug\"; };", NULL },
	{ "log.access", "log: { access = \"errors\"; };", NULL },
	{ "log.sample", "log: { sample = 0.5; };", NULL },
	{ "log.to", "log: { to = \"syslog\"; };", NULL },
	{ "log.syslog.address", "log: { syslog: { address = \"tcp://[fd00::1]:601\"; }; };", NULL },
	{ "log.syslog.format", "log: { syslog: { format = \"rfc3164\"; }; };", NULL },
	{ "log.syslog.facility", "log: { syslog: { facility = \"local0\"; }; };", NULL },
	{ "log.syslog.max_message", "log: { syslog: { max_message = 1024; }; };", NULL },
	{ "upgrade.ready_timeout", "upgrade: { ready_timeout = 7.0; };", NULL },
	{ "upgrade.timeout", "upgrade: { timeout = 60.0; };", NULL },
	{ "stop.notice", "stop: { notice = 1.0; };", NULL },
	{ "stop.timeout", "stop: { timeout = 31.0; };", NULL },
	{ "kernel.table", "kernel: { table = \"other\"; };", NULL },
	{ "kernel.on_stop", "kernel: { on_stop = \"remove\"; };", NULL },
	{ "kernel.tag", "kernel: { tag = 7; };", NULL },
	{ "kernel.source_addresses", "kernel: { source_addresses = [\"10.0.0.5\", \"fd00::5\"]; };", NULL },
	{ "kernel.shortcut", "kernel: { shortcut = \"auto\"; };", NULL },
	{ "node_pools.main", "node_pools: { main = [\"10.0.0.1\"]; };", NULL },
	{ "groups.all", "groups: { all = [\"shop\"]; };", NULL },
#define WATCHED(keys) "node_pools: { main = { kubernetes: { " keys " }; }; };"
#define WATCHED_AT(keys) WATCHED("server = \"https://10.0.0.1:6443\"; " keys)
	{ "node_pools.main.kubernetes.server", WATCHED("server = [\"https://10.0.0.1:6443\", \"https://10.0.0.2/k8s/c-1\"];"), NULL },
	{ "node_pools.main.kubernetes.kubeconfig", WATCHED("kubeconfig = \"/nowhere\";"), NULL },
	{ "node_pools.main.kubernetes.context", WATCHED("kubeconfig = \"/nowhere\"; context = \"me@one\";"), NULL },
	{ "node_pools.main.kubernetes.cert", WATCHED_AT("cert = \"/nowhere\";"), NULL },
	{ "node_pools.main.kubernetes.key", WATCHED_AT("cert = \"/nowhere\"; key = \"/neither\";"), NULL },
	{ "node_pools.main.kubernetes.token_file", WATCHED_AT("token_file = \"/nowhere\";"), NULL },
	{ "node_pools.main.kubernetes.ca", WATCHED_AT("ca = \"/nowhere\";"), NULL },
	{ "node_pools.main.kubernetes.selector", WATCHED_AT("selector = \"worker\";"), NULL },
	{ "node_pools.main.kubernetes.address", WATCHED_AT("address = \"ExternalIP\";"), NULL },
	{ "node_pools.main.kubernetes.taints", WATCHED_AT("taints = [\"going:NoExecute\"];"), NULL },
	{ "node_pools.main.kubernetes.drain_timeout", WATCHED_AT("drain_timeout = 7.0;"), NULL },
	{ "node_pools.main.kubernetes.min_ready", WATCHED_AT("min_ready = \"75%\";"), NULL },
};

static const struct sample service_samples[] = {
	{ "listen", "listen = \"127.0.0.1:79\";", NULL },
	{ "preview", "preview = \"127.0.0.1:8080\";", NULL },
	{ "mode", "mode = \"tcp\";", NULL },
	{ "engine", "engine = \"kernel\";", TCP },
	{ "initial", "initial = \"blue\";", NULL },
	{ "nodes", "nodes = [\"10.0.0.1\"]; green: { port = 81; }; blue: { port = 82; };", NULL },
	{ "green.port", "nodes = [\"10.0.0.1\"]; green: { port = 81; }; blue: { port = 82; };", NULL },
	{ "green.health_port", "green: { backends = [\"127.0.0.1:81\"]; health_port = 83; };", NULL },
	{ "green.backends", "green: { backends = ( { address = \"127.0.0.1:81\"; weight = 2; } ); };", NULL },
	{ "blue.port", "nodes = [\"10.0.0.1\"]; green: { port = 81; }; blue: { port = 82; };", NULL },
	{ "blue.health_port", "blue: { backends = [\"127.0.0.1:82\"]; health_port = 83; };", NULL },
	{ "blue.backends", "blue: { backends = [\"127.0.0.1:84\"]; };", NULL },
	{ "port", "nodes = [\"10.0.0.1\"]; port = 81;", NULL },
	{ "health_port", "backends = [\"127.0.0.1:81\"]; health_port = 83;", NULL },
	{ "backends", "backends = [\"127.0.0.1:85\"];", NULL },
	{ "balance", "balance = \"p2c\";", NULL },
	{ "slow_start", "slow_start = 5;", NULL },
	{ "passive.failures", "passive: { failures = 7; };", NULL },
	{ "passive.answers", "passive: { answers = 7; };", NULL },
	{ "passive.eject", "passive: { eject = 7; };", NULL },
	{ "passive.max_ejected", "passive: { max_ejected = 7; };", NULL },
	{ "on_down", "on_down = \"reset\";", KERNEL },
	{ "when_all_down", "when_all_down = \"reject\";", NULL },
	{ "health.type", "health: { type = \"none\"; };", NULL },
	{ "health.interval", "health: { interval = 7; };", NULL },
	{ "health.timeout", "health: { timeout = 7; interval = 9; };", NULL },
	{ "health.rise", "health: { rise = 7; };", NULL },
	{ "health.fall", "health: { fall = 7; };", NULL },
	{ "health.agent.port", "health: { agent: { port = 84; }; };", NULL },
	{ "health.agent.interval", "health: { agent: { port = 84; interval = 7; }; };", NULL },
	{ "health.agent.send", "health: { agent: { port = 84; send = \"x\"; }; };", NULL },
	{ "health.weight", "health: { type = \"kube-proxy\"; port = 83; weight = \"endpoints\"; };", NULL },
	{ "health.path", "health: { type = \"http\"; path = \"/x\"; };", NULL },
	{ "health.host", "health: { type = \"http\"; host = \"x\"; };", NULL },
	{ "health.service", "health: { type = \"grpc\"; service = \"x\"; };", NULL },
	{ "health.expect", "health: { type = \"http\"; expect = \"200,204\"; };", NULL },
	{ "health.fast_interval", "health: { fast_interval = 7; };", NULL },
	{ "health.method", "health: { type = \"http\"; method = \"OPTIONS\"; };", NULL },
	{ "health.headers", "health: { type = \"http\"; headers = [\"X-A: b\"]; };", NULL },
	{ "health.body", "health: { type = \"http\"; body = \"x\"; };", NULL },
	{ "health.expect_body", "health: { type = \"http\"; expect_body = \"x\"; };", NULL },
	{ "health.steps", "health: { steps = ({ send = \"x\"; }, { expect_hex = \"00ff\"; }); };", NULL },
	{ "health.send_proxy", "health: { send_proxy = \"v2\"; };", NULL },
	{ "health.port", "health: { port = 83; };", NULL },
	{ "health.address", "health: { address = \"10.0.0.9\"; };", NULL },
	{ "health.tls", "health: { tls = false; };", NULL },
	{ "flip.min_healthy", "flip: { min_healthy = 1; };", NULL },
	{ "flip.bake", "flip: { bake = 60; };", NULL },
	{ "flip.on_regression", "flip: { on_regression = \"tell\"; };", NULL },
	{ "drain.timeout", "drain: { timeout = 60; };", NULL },
	{ "drain.idle", "drain: { idle = 6; };", NULL },
	{ "drain.spread", "drain: { spread = 6; };", NULL },
	{ "connect_timeout", "connect_timeout = 7;", NULL },
	{ "idle_timeout", "idle_timeout = 7;", NULL },
	{ "retries", "retries = 7;", NULL },
	{ "retry_pause", "retry_pause = 7;", NULL },
	{ "client_timeout", "client_timeout = 7;", NULL },
	{ "server_timeout", "server_timeout = 7;", NULL },
	{ "max_connections", "max_connections = 7;", NULL },
	{ "allow", "allow = [\"10.0.0.0/8\"];", NULL },
	{ "deny", "deny = [\"10.0.0.0/8\"];", NULL },
	{ "max_connections_per_source", "max_connections_per_source = 7;", NULL },
	{ "source_prefix6", "source_prefix6 = 56;", NULL },
	{ "source_rate", "source_rate = \"30/m\";", NULL },
	{ "queue_timeout", "queue_timeout = 7;", NULL },
	{ "queue_limit", "queue_limit = 7;", NULL },
	{ "backend_max_connections", "backend_max_connections = 7;", NULL },
	{ "source_address", "source_address = \"127.0.0.9\";", NULL },
	{ "tcp.keepalive", "tcp: { keepalive = false; };", NULL },
	{ "tcp.congestion", "tcp: { congestion = \"reno\"; };", NULL },
	{ "tcp.backlog", "tcp: { backlog = 7; };", NULL },
	{ "tcp.user_timeout", "tcp: { user_timeout = 7; };", NULL },
	{ "tcp.fastopen", "tcp: { fastopen = true; };", NULL },
	{ "tcp.freebind", "tcp: { freebind = true; };", NULL },
	{ "tcp.keepalive_idle", "tcp: { keepalive_idle = 7; };", NULL },
	{ "tcp.keepalive_interval", "tcp: { keepalive_interval = 7; };", NULL },
	{ "tcp.keepalive_count", "tcp: { keepalive_count = 7; };", NULL },
	{ "labels", "labels: { project = \"shop\"; };", NULL },
	{ "hosts", "hosts = [\"shop.example\"];", NULL },
	{ "paths", "hosts = [\"shop.example\"]; paths = [\"/api\"];", NULL },
	{ "header_timeout", "header_timeout = 7;", NULL },
	{ "response_timeout", "response_timeout = 7;", NULL },
	{ "keepalive_timeout", "keepalive_timeout = 7;", NULL },
	{ "forwarded", "forwarded = false;", NULL },
	{ "forwarded_header", "forwarded_header = true;", NULL },
	{ "forwarded_trust", "forwarded_trust = [\"10.0.0.0/8\"];", NULL },
	{ "trace", "trace = \"begin\";", NULL },
	{ "trace_trust", "trace_trust = [\"10.0.0.0/8\"];", NULL },
	{ "trace_sample", "trace = \"begin\"; trace_sample = 0.5;", NULL },
	{ "via", "via = true;", NULL },
	{ "request_id", "request_id = false;", NULL },
	{ "color_header", "color_header = true;", NULL },
	{ "preview_header", "preview_header = \"X-Teal-Preview\"; preview_allow = [\"10.0.0.0/8\"];", NULL },
	{ "preview_allow", "preview_header = \"X-Teal-Preview\"; preview_allow = [\"10.0.0.0/8\"];", NULL },
	{ "max_header_size", "max_header_size = 2048;", NULL },
	{ "default_host", "default_host = \"x\";", NULL },
	{ "target_utf8", "target_utf8 = \"pass\";", NULL },
	{ "max_uri", "max_uri = 777;", NULL },
	{ "max_headers", "max_headers = 77;", NULL },
	{ "max_body", "max_body = 7;", NULL },
	{ "max_requests", "max_requests = 7;", NULL },
	{ "body_min_rate", "body_min_rate = 7;", NULL },
	{ "body_grace", "body_grace = 7;", NULL },
	{ "pool_size", "pool_size = 7;", NULL },
	{ "pool_idle", "pool_idle = 7;", NULL },
	{ "pool_reuse", "pool_reuse = \"always\";", NULL },
	{ "backend_protocol", "backend_protocol = \"h2\";", NULL },
	{ "answers", "answers = \"strict\";", NULL },
	{ "retry_after", "retry_after = 7;", NULL },
	{ "sse_unavailable", "sse_unavailable = \"503\";", NULL },
	{ "error_page", "error_page = ( { status = 503; file = \"page.html\"; } );", NULL },
	{ "h2c", "h2c = true;", NULL },
	{ "http2.max_streams", "http2: { max_streams = 7; };", NULL },
	{ "http2.max_fields", "http2: { max_fields = 77; };", NULL },
	{ "http2.max_header_size", "http2: { max_header_size = 2048; };", NULL },
	{ "http2.max_continuations", "http2: { max_continuations = 7; };", NULL },
	{ "http2.max_resets", "http2: { max_resets = 7; };", NULL },
	{ "http2.max_control", "http2: { max_control = 7; };", NULL },
	{ "http2.max_memory", "http2: { max_memory = 200000; };", NULL },
	{ "http2.stall_timeout", "http2: { stall_timeout = 7; };", NULL },
	{ "maintenance", "maintenance = true;", NULL },
	{ "redirect", "redirect = \"https://new.example\";", NULL },
	{ "redirect_status", "redirect_status = 308;", NULL },
	{ "request_headers.set", "request_headers: { set = { X-A = \"1\"; }; };", NULL },
	{ "request_headers.remove", "request_headers: { remove = [\"X-A\"]; };", NULL },
	{ "response_headers.set", "response_headers: { set = { X-A = \"1\"; }; };", NULL },
	{ "response_headers.remove", "response_headers: { remove = [\"X-A\"]; };", NULL },
	{ "default", "default = true;", NULL },
	{ "sni", "sni = [\"shop.example\"];", TCP },
	{ "sni_map", "sni_map = \"names.map\";", TCP },
	{ "tls.certificates", TLS "};", NULL },
	{ "tls.client_ca", TLS "client_ca = \"ca.pem\"; };", NULL },
	{ "tls.crl", TLS "client_ca = \"ca.pem\"; crl = \"crl.pem\"; };", NULL },
	{ "tls.client_verify", TLS "client_ca = \"ca.pem\"; client_verify = \"optional\"; };", NULL },
	{ "tls.min_version", TLS "min_version = \"1.3\"; };", NULL },
	{ "tls.profile", TLS "profile = \"modern\"; };", NULL },
	{ "tls.alpn", TLS "alpn = [\"http/1.0\"]; };", NULL },
	{ "tls.ciphers", TLS "ciphers = \"X\"; };", NULL },
	{ "tls.ciphersuites", TLS "ciphersuites = \"X\"; };", NULL },
	{ "tls.curves", TLS "curves = \"X\"; };", NULL },
	{ "tls.handshake_timeout", TLS "handshake_timeout = 7; };", NULL },
	{ "backend_tls.verify", "backend_tls: { verify = false; };", NULL },
	{ "backend_tls.ca", "backend_tls: { ca = \"ca.pem\"; };", NULL },
	{ "backend_tls.server_name", "backend_tls: { server_name = \"x\"; };", NULL },
	{ "backend_tls.cert", "backend_tls: { cert = \"c.pem\"; };", NULL },
	{ "backend_tls.key", "backend_tls: { cert = \"c.pem\"; key = \"k.pem\"; };", NULL },
	{ "plain_listen", TLS "}; plain_listen = \"127.0.0.1:78\";", NULL },
	{ "plain", TLS "}; plain_listen = \"127.0.0.1:78\"; plain = \"serve\";", NULL },
	{ "proxy_protocol.accept_from", "proxy_protocol: { accept_from = [\"10.0.0.0/8\"]; };", NULL },
	{ "proxy_protocol.header_timeout", "proxy_protocol: { header_timeout = 7; };", NULL },
	{ "proxy_protocol.send", "proxy_protocol: { send = \"v2\"; };", NULL },
	{ "resolve_interval", "resolve_interval = 7;", NULL },
	{ "source", "source = \"transparent\";", KERNEL },
	{ "local_clients", "local_clients = true;", KERNEL },
};

/* One reference. */
static const struct config *
tree_of(const char *top, const char *keys, const char *kind)
{
	bool has_state = strstr(top, "state_dir") != NULL;
	char *text = must_printf("%s%s\ndefaults: { %s listen = \"10.0.0.9:80\"; green: { backends = [\"127.0.0.1:81\"]; };"
				 " blue: { backends = [\"127.0.0.1:82\"]; }; };\nservices = ( { name = \"shop\"; %s } );\n",
				 has_state ? "" : "state_dir = \"/s\";\n", top, kind != NULL ? kind : "mode = \"http\";",
				 keys);
	const struct config *c = config_ref(good(text));

	free(text);
	return c;
}

static struct config_keys *
keys_of(const char *top, const char *keys, const char *kind)
{
	const struct config *c = tree_of(top, keys, kind);
	struct config_keys *k = config_keys_new(c);

	config_unref(&c);
	return k;
}

static void
write_authority(void)
{
	struct certificate ca = certificate_new(NULL, NULL, 10);
	FILE *f = fopen("ca.pem", "w");

	assert_non_null(f);
	assert_int_equal(PEM_write_X509(f, ca.x), 1);
	assert_int_equal(fclose(f), 0);
	certificate_free(&ca);
}

static bool
differs(const struct config_section *a, const struct config_section *b, const char *key)
{
	const char *x = config_section_value(a, key), *y = config_section_value(b, key);

	return (x == NULL) != (y == NULL) || (x != NULL && strcmp(x, y) != 0);
}

/* The label's key is the file's own. */
static const char *
key_of(const char *path)
{
	return strcmp(path, "labels") == 0 ? "labels.project" : path;
}

static void
write_what_samples_name(void)
{
	write_file("secret", "open sesame\n");
	write_file("tokens", "ci sha256:" HASH "\n");
	write_file("page.pass", "ops:open sesame\n");
	write_file("page.html", "<p>Back soon\n");
	write_file("names.map", "tenant.example\n");
	write_authority();
}

static void
test_every_sample_shows(void **state)
{
	(void)state;
	write_what_samples_name();
	for (size_t i = 0; i < ARRAY_LEN(top_samples); i++) {
		struct config_keys *without = keys_of("", "", NULL), *with = keys_of(top_samples[i].text, "", NULL);

		if (!differs(&without->settings, &with->settings, top_samples[i].path))
			fail_msg("%s: no difference shows that it was set", top_samples[i].path);
		config_keys_free(&without);
		config_keys_free(&with);
	}
	for (size_t i = 0; i < ARRAY_LEN(service_samples); i++) {
		const struct sample *s = &service_samples[i];
		struct config_keys *without = keys_of("", "", s->kind), *with = keys_of("", s->text, s->kind);

		if (!differs(&without->services[0], &with->services[0], key_of(s->path)))
			fail_msg("%s: no difference shows that it was set", s->path);
		config_keys_free(&without);
		config_keys_free(&with);
	}
}

/* Compared, the section of a service that is the same is empty; with one key of another value it is
 * what it would be alone. */
static void
test_a_comparison_leaves_out_what_is_the_same(void **state)
{
	(void)state;
	write_what_samples_name();
	for (size_t i = 0; i < ARRAY_LEN(service_samples); i++) {
		const struct sample *s = &service_samples[i];
		const struct config *without = tree_of("", "", s->kind), *with = tree_of("", s->text, s->kind),
				    *again = tree_of("", s->text, s->kind);
		struct config_keys *alone = config_keys_new(with), *a, *b;

		config_keys_compare(with, again, &a, &b);
		assert_int_equal(a->n, 1);
		assert_int_equal(b->n, 1);
		assert_string_equal(b->services[0].name, "shop");
		assert_int_equal(a->services[0].n + b->services[0].n, 0);
		assert_int_equal(a->settings.n, alone->settings.n);
		config_keys_free(&a);
		config_keys_free(&b);
		config_keys_compare(without, with, &a, &b);
		if (!differs(&a->services[0], &b->services[0], key_of(s->path)))
			fail_msg("%s: a comparison does not show that it was set", s->path);
		assert_int_equal(b->services[0].n, alone->services[0].n);
		assert_memory_equal(b->services[0].bytes, alone->services[0].bytes, alone->services[0].n);
		config_keys_free(&a);
		config_keys_free(&b);
		config_keys_free(&alone);
		config_unref(&without);
		config_unref(&with);
		config_unref(&again);
	}
}

static bool
has_sample(const struct sample *samples, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(samples[i].path, path) == 0)
			return true;
	return false;
}

/* Every key of the table has a sample above, so that the test before speaks of all. */
static void
check_table(const struct key *keys, const char *prefix, const struct sample *samples, size_t n)
{
	for (const struct key *k = keys; k->name != NULL; k++) {
		char *path = must_printf("%s%s", prefix, k->name), *inside = must_printf("%s.", path);
		bool is_list = strcmp(path, "admin.roles") == 0 || strcmp(path, "notify") == 0 || strcmp(path, "tls.certificates") == 0 ||
			       strcmp(path, "backends") == 0 || strcmp(path, "health.tls") == 0 || strstr(path, ".backends") != NULL;

		if (keys == root_keys && (k->keys == service_keys || strcmp(path, "services") == 0))
			;	/* what each service has of them is in its own list */
		else if (strcmp(path, "groups") == 0)
			assert_true(has_sample(samples, n, "groups.all"));
		else if (strcmp(path, "node_pools") == 0)
			check_table(kube_keys, "node_pools.main.kubernetes.", samples, n);
		else if (keys == service_keys && k < service_keys + SERVICE_OWN_KEYS)
			;	/* the section's own */
		else if (k->keys != NULL && !is_list)
			check_table(k->keys, inside, samples, n);
		else if (keys == service_keys && (strcmp(path, "green") == 0 || strcmp(path, "blue") == 0))
			for (const char *const *c = (const char *const[]){ "port", "health_port", "backends", NULL }; *c != NULL; c++) {
				char *color = must_printf("%s%s", inside, *c);

				assert_true(has_sample(samples, n, color));
				free(color);
			}
		else if (!has_sample(samples, n, path))
			fail_msg("the key %s has no sample in this test", path);
		free(path);
		free(inside);
	}
}

static void
test_every_key_has_a_sample(void **state)
{
	(void)state;
	check_table(root_keys, "", top_samples, ARRAY_LEN(top_samples));
	check_table(service_keys, "", service_samples, ARRAY_LEN(service_samples));
}

static void
assert_value(const struct config_section *s, const char *key, const char *expected)
{
	const char *value = config_section_value(s, key);

	assert_non_null(value);
	assert_string_equal(value, expected);
}

static void
test_values_are_the_effective_ones(void **state)
{
	struct config_keys *k = keys_of("node_pools: { main = [\"10.0.0.1\", \"10.0.0.2\"]; };",
					"nodes = \"main\"; green: { port = 81; health_port = 90; }; blue: { port = 82; };"
					"idle_timeout = 70; labels: { project = \"a \\\"b\\\"\"; };"
					"health: { type = \"http\"; }; allow = [\"10.1.0.0/16\", \"10.2.0.0/16\"];",
					NULL);
	const struct config_section *s = &k->services[0];

	(void)state;
	assert_string_equal(s->name, "shop");
	assert_value(s, "nodes", "\"main\"");
	assert_value(s, "green.port", "81");
	assert_value(s, "green.health_port", "90");
	assert_value(s, "green.backends", "[10.0.0.1:81, 10.0.0.2:81]");
	assert_value(s, "client_timeout", "70");
	assert_value(s, "labels.project", "\"a \\\"b\\\"\"");
	assert_value(s, "health.path", "\"/\"");
	assert_value(s, "health.expect", "200-399");
	assert_value(s, "allow", "[10.1.0.0/16, 10.2.0.0/16]");
	assert_value(s, "flip.min_healthy", "50%");
	assert_value(s, "default_host", "\"shop\"");
	assert_value(s, "tls", "false");
	assert_null(config_section_value(s, "tls.alpn"));
	assert_null(config_section_value(s, "local_clients"));
	assert_value(&k->settings, "node_pools.main", "[\"10.0.0.1\", \"10.0.0.2\"]");
	assert_value(&k->settings, "observe.listen", "none");
	config_keys_free(&k);
}

/* A password is told from another, and not told. */
static void
test_secrets_are_hashes(void **state)
{
	static const char redis[] = REDIS "password_file = \"secret\"; };";
	struct config_keys *one, *other;
	const char *value;

	(void)state;
	write_file("secret", "open sesame\n");
	one = keys_of(redis, "", NULL);
	write_file("secret", "open barley\n");
	other = keys_of(redis, "", NULL);
	value = config_section_value(&one->settings, "store.password_file");
	assert_true(differs(&one->settings, &other->settings, "store.password_file"));
	assert_null(strstr(value, "sesame"));
	assert_int_equal(strlen(value), strlen("\"secret\" hash 01234567"));
	config_keys_free(&one);
	config_keys_free(&other);
}

static void
test_checksum_is_of_what_was_read(void **state)
{
	static const char sum[] = "sha256:2fe5d46198e9cb2b612756bf435677c383afcd74e58a758d357ca8418ab80d33";
	const struct config *c;

	(void)state;
	/* What sha256sum(1) says of the same bytes. */
	c = good(SHOP(""));
	assert_string_equal(c->checksum, sum);
	write_file("part.conf", "workers = 2;\n");
	good("@include \"part.conf\"\n" SHOP(""));
	assert_string_not_equal(t.config->checksum, sum);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_sample_shows),
		cmocka_unit_test(test_a_comparison_leaves_out_what_is_the_same),
		cmocka_unit_test(test_every_key_has_a_sample),
		cmocka_unit_test(test_values_are_the_effective_ones),
		cmocka_unit_test(test_secrets_are_hashes),
		cmocka_unit_test(test_checksum_is_of_what_was_read),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
