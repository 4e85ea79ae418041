/* test_config.c - what a configuration says once it is read: every key, the
 * values of those that are absent, and what we hand out as samples. */
#include <glob.h>
#include <sys/stat.h>

#include "config_file.h"

static const struct service_config *
shop(const char *keys)
{
	char *text =
		must_printf("state_dir = \"/s\";%s%s%s",
			    "services = ( { name = \"shop\"; listen = \"127.0.0.1:80\";\n", keys, "\n} );");
	const struct config *c = good(text);

	free(text);
	return &c->services[0];
}

static void
test_defaults(void **state)
{
	const struct config *c = good(SHOP(""));
	const struct service_config *s = &c->services[0];

	(void)state;
	assert_string_equal(c->path, "teal.conf");
	assert_true(c->workers >= 1 && c->workers <= sysconf(_SC_NPROCESSORS_ONLN));
	assert_string_equal(c->state_dir, "/s");
	assert_null(c->user);
	assert_int_equal(c->store.type, STORE_FILE);
	assert_string_equal(c->store.prefix, "teal");
	assert_true(c->store.max_age == 30.0);
	assert_int_equal(c->store.stale, STALE_SERVE);
	assert_true(c->store.connect_timeout == 1.0 && c->store.command_timeout == 1.0);
	assert_string_equal(c->admin.socket, "/run/teal/admin.sock");
	assert_int_equal(c->admin.mode, 0660);
	assert_null(c->admin.group);
	assert_false(c->observe.on);
	assert_int_equal(c->log.level, LOG_INFO_LEVEL);
	assert_int_equal(c->log.access, ACCESS_ON);
	assert_true(c->log.sample == 1);
	assert_true(c->stop.notice == 0.0 && c->stop.timeout == 30.0);
	assert_int_equal(c->n_services, 1);

	assert_int_equal(s->at.line, 2);
	assert_string_equal(s->name, "shop");
	assert_int_equal(s->mode, MODE_TCP);
	assert_int_equal(s->engine, ENGINE_PROXY);
	assert_int_equal(s->n_listen, 1);
	assert_addr(&s->listen[0], "127.0.0.1:80");
	assert_int_equal(s->n_preview, 0);
	assert_int_equal(s->initial, GREEN);
	assert_int_equal(s->colors[GREEN].n_backends, 1);
	assert_string_equal(s->colors[GREEN].backends[0].host, "127.0.0.1");
	assert_addr(&s->colors[GREEN].backends[0].address, "127.0.0.1:81");
	assert_addr(&s->colors[GREEN].backends[0].health_address, "127.0.0.1:81");
	assert_addr(&s->colors[BLUE].backends[0].address, "127.0.0.1:82");
	assert_int_equal(s->balance, BALANCE_ROUND_ROBIN);
	assert_int_equal(s->when_all_down, ALL_DOWN_TRY);
	assert_int_equal(s->health.type, HEALTH_TCP);
	assert_true(s->health.interval == 2.0 && s->health.timeout == 1.0);
	assert_int_equal(s->health.rise, 2);
	assert_int_equal(s->health.fall, 3);
	assert_int_equal(s->min_healthy.value, 50);
	assert_true(s->min_healthy.percent);
	assert_true(s->drain.timeout == 30.0 && s->drain.idle == 5.0 && s->drain.spread == 0.0);
	assert_true(s->connect_timeout == 2.0 && s->idle_timeout == 600.0);
	assert_int_equal(s->retries, 2);
	assert_int_equal(s->max_connections, 100000);
	assert_int_equal(s->source_address.len, 0);
	assert_true(s->tcp.keepalive.on);
	assert_null(s->tcp.congestion);
	assert_int_equal(s->tcp.backlog, 4096);
	assert_int_equal(s->n_labels, 0);
	assert_string_equal(s->labels_json, "");
	assert_int_equal(t.warnings.n, 0);
}

static void
test_every_key_of_the_top(void **state)
{
	const struct config *c = good(
		TOP("workers = 3; user = \"root\"; store: { type = \"file\"; stale = \"serve\"; };\n"
		    "admin: { socket = \"run/a.sock\"; mode = \"600\"; group = \"root\"; roles = (); };\n"
		    "observe: { listen = \"[::1]:9180\"; hosts = [\"Status.Example\", \"*.lb\"]; };\n"
		    "ready: { min_services = \"50%\"; };\n"
		    "log: { level = \"debug\"; access = \"errors\"; sample = 1.0; };\n"
		    "stop: { notice = 1; timeout = 0; };"));

	(void)state;
	assert_int_equal(c->workers, 3);
	assert_string_equal(c->user, "root");
	assert_int_equal(c->uid, 0);
	assert_int_equal(c->gid, 0);
	assert_string_equal(c->admin.socket, "run/a.sock");
	assert_int_equal(c->admin.mode, 0600);
	assert_string_equal(c->admin.group, "root");
	assert_int_equal(c->admin.gid, 0);
	assert_true(c->observe.on);
	assert_addr(&c->observe.listen, "[::1]:9180");
	assert_int_equal(c->observe.n_hosts, 2);
	assert_string_equal(c->observe.hosts[0], "status.example");
	assert_string_equal(c->observe.hosts[1], "*.lb");
	assert_int_equal(c->ready.min_services.value, 50);
	assert_true(c->ready.min_services.percent);
	assert_int_equal(c->log.level, LOG_DEBUG_LEVEL);
	assert_int_equal(c->log.access, ACCESS_ERRORS);
	assert_true(c->stop.notice == 1.0 && c->stop.timeout == 0.0);
	assert_int_equal(t.warnings.n, 0);

	c = good(TOP("log: { access = false; }; store: { prefix = \"teal:prod\"; max_age = 5; };"));
	assert_int_equal(c->log.access, ACCESS_OFF);
	assert_string_equal(c->store.prefix, "teal:prod");
	assert_true(c->store.max_age == 5.0);
	assert_int_equal(t.warnings.n, 2);
	assert_string_equal(
		t.warnings.lines[0],
		"teal.conf:2: store.prefix changes nothing with store.type = \"file\": no fleet shares it");
}

#define REDIS(keys) TOP("store: { type = \"redis\"; " keys " };")

static void
write_secret(const char *name, const char *text, mode_t mode)
{
	write_file(name, text);
	assert_int_equal(chmod(name, mode), 0);
}

static void
test_redis_by_url(void **state)
{
	const struct config *c;

	(void)state;
	write_secret("pass", "s3 cr3t\n", 0640);
	c = good(REDIS("url = \"redis://teal@10.0.0.5:6380/3\"; password_file = \"pass\"; prefix = \"teal:prod\";"
		       "max_age = 5; stale = \"refuse\"; command_timeout = 0.5; connect_timeout = 2;"));
	assert_int_equal(c->store.type, STORE_REDIS);
	assert_string_equal(c->store.at.host, "10.0.0.5");
	assert_int_equal(c->store.at.port, 6380);
	assert_string_equal(c->store.path, "");
	assert_string_equal(c->store.user, "teal");
	assert_int_equal(c->store.database, 3);
	assert_string_equal(c->store.password, "s3 cr3t");
	assert_string_equal(c->store.password_file, "pass");
	assert_string_equal(c->store.prefix, "teal:prod");
	assert_true(c->store.max_age == 5.0 && c->store.command_timeout == 0.5 && c->store.connect_timeout == 2.0);
	assert_int_equal(c->store.stale, STALE_REFUSE);
	assert_false(c->store.tls);
	assert_int_equal(c->store.n_sentinels, 0);
	assert_int_equal(t.warnings.n, 0);

	c = good(REDIS("url = \"unix:///run/redis.sock\";"));
	assert_string_equal(c->store.path, "/run/redis.sock");
	assert_null(c->store.user);
	assert_null(c->store.password);
	assert_true(c->store.max_age == 30.0 && c->store.command_timeout == 1.0 && c->store.connect_timeout == 1.0);
	assert_int_equal(t.warnings.n, 0);

	c = good(REDIS("url = \"rediss://redis.internal\";"));
	assert_true(c->store.tls);
	assert_string_equal(c->store.at.host, "redis.internal");
	assert_int_equal(c->store.at.port, 6379);
}

static void
test_redis_by_sentinels(void **state)
{
	const struct config *c;

	(void)state;
	write_secret("pass", "one", 0600);
	write_secret("sentinel-pass", "two\r\n", 0600);
	c = good(REDIS("sentinels = [\"10.0.0.5:26380\", \"[fd00::1]\", \"s3.internal\"]; master = \"mymaster\"; tls = true;"
		       "user = \"teal\"; database = 2; password_file = \"pass\"; sentinel_password_file = \"sentinel-pass\";"));
	assert_int_equal(c->store.n_sentinels, 3);
	assert_string_equal(c->store.sentinels[0].host, "10.0.0.5");
	assert_int_equal(c->store.sentinels[0].port, 26380);
	assert_string_equal(c->store.sentinels[1].host, "fd00::1");
	assert_int_equal(c->store.sentinels[1].port, 26379);
	assert_string_equal(c->store.sentinels[2].host, "s3.internal");
	assert_string_equal(c->store.master, "mymaster");
	assert_string_equal(c->store.at.host, "");
	assert_string_equal(c->store.user, "teal");
	assert_int_equal(c->store.database, 2);
	assert_true(c->store.tls);
	assert_string_equal(c->store.password, "one");
	assert_string_equal(c->store.sentinel_password, "two");
	assert_int_equal(t.warnings.n, 0);
}

static const struct broken store_keys[] = {
	{ REDIS(""), "2: store.type = \"redis\" needs url, or sentinels and master" },
	{ REDIS("url = \"redis://a\"; sentinels = \"b\"; master = \"m\";"),
	  "2: store has both url and sentinels; keep one" },
	{ REDIS("sentinels = \"b\";"), "2: store.sentinels needs master: the name they know the master by" },
	{ REDIS("url = \"redis://a\"; master = \"m\";"),
	  "2: store.master belongs to store.sentinels, which is not there" },
	{ REDIS("url = \"redis://a\"; user = \"u\";"), "2: store.user goes with store.sentinels only; the url says it" },
	{ REDIS("url = \"redis://a\"; tls = true;"), "2: store.tls goes with store.sentinels only; the url says it" },
	{ REDIS("url = \"http://a\";"),
	  "2: store.url: expected redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH" },
	{ REDIS("url = \"redis://u:s3cr3t@a\";"),
	  "2: store.url: a password does not belong here, where others read it; put it into a file and name that "
	  "as password_file" },
	{ REDIS("url = 6379;"), "2: store.url: expected a URL in double quotes, found the number 6379" },
	{ REDIS("sentinels = []; master = \"m\";"), "2: store.sentinels: expected 1 to 32 sentinels, found 0" },
	{ REDIS("sentinels = [\"a:x\"]; master = \"m\";"),
	  "2: store.sentinels: \"a:x\": the port must be a number from 1 to 65535" },
	{ REDIS("sentinels = [\"a\", \"a:26379\"]; master = \"m\";"),
	  "2: store.sentinels: \"a:26379\" is listed twice" },
	{ REDIS("url = \"redis://a\"; password_file = \"nowhere\";"),
	  "2: store.password_file: cannot read nowhere: No such file or directory" },
	{ REDIS("url = \"redis://a\"; password_file = \"empty\";"), "2: store.password_file: empty is empty" },
	{ REDIS("url = \"redis://a\"; password_file = \"lines\";"),
	  "2: store.password_file: lines is not one line of text" },
	{ REDIS("url = \"redis://a\"; password_file = \"long\";"),
	  "2: store.password_file: long is longer than 4096 bytes" },
	{ REDIS("url = \"redis://a\"; password_file = \".\";"), "2: store.password_file: . is not a plain file" },
	{ REDIS("url = \"redis://a\"; password = \"s3cr3t\";"), "2: unknown key \"store.password\"" },
	{ REDIS("url = \"redis://a\"; command_timeout = 0;"),
	  "2: store.command_timeout: 0 s is out of range: 0.05 to 60" },
	{ REDIS("url = \"redis://a\"; connect_timeout = 100;"),
	  "2: store.connect_timeout: 100 s is out of range: 0.05 to 60" },
	{ REDIS("url = \"redis://a\"; stale = \"drop\";"),
	  "2: store.stale: expected \"serve\" or \"refuse\", found the text \"drop\"" },
	{ REDIS("url = \"rediss://a\"; ca = \"empty\";"),
	  "2: store.ca: cannot read certificates from empty: no certificate or crl found" },
	{ REDIS("url = \"rediss://a\"; ca = \"nowhere\";"),
	  "2: store.ca: cannot read certificates from nowhere: No such file or directory" },
	{ TOP("store: { url = \"redis://a\"; };"),
	  "2: store.url belongs to store.type = \"redis\"; set that, or remove this" },
	{ TOP("store: { type = \"file\"; ca = \"x\"; };"),
	  "2: store.ca belongs to store.type = \"redis\"; set that, or remove this" },
};

static void
test_a_store_that_makes_no_sense(void **state)
{
	char longer[4098];

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	write_secret("empty", "\n", 0600);
	write_secret("lines", "a\nb\n", 0600);
	write_secret("long", longer, 0600);
	assert_broken(store_keys, ARRAY_LEN(store_keys));
}

static void
test_warnings_about_the_store(void **state)
{
	(void)state;
	write_secret("pass", "open\n", 0644);
	good(REDIS("url = \"redis://a\"; password_file = \"pass\"; ca = \"/etc/ca.pem\"; max_age = 1.5;"));
	assert_int_equal(t.warnings.n, 3);
	assert_string_equal(t.warnings.lines[0],
			    "teal.conf:2: store.password_file: every user can read pass (mode 0644); chmod 0640 it");
	assert_string_equal(t.warnings.lines[1],
			    "teal.conf:2: store.ca changes nothing: Redis is reached without TLS");
	assert_string_equal(t.warnings.lines[2],
			    "teal.conf:2: store.max_age: below 2 s a single slow answer makes teald not ready");
	good(TOP("store: { stale = \"refuse\"; };"));
	assert_int_equal(t.warnings.n, 1);
	assert_string_equal(t.warnings.lines[0],
			    "teal.conf:2: store.stale changes nothing with store.type = \"file\": no fleet shares it");
}

static void
test_every_key_of_a_service(void **state)
{
	const struct service_config *s = shop(
		"preview = [\"127.0.0.1:8080\", \"unix:/run/p.sock\"]; mode = \"tcp\"; engine = \"proxy\";\n"
		"initial = \"blue\"; nodes = [\"10.0.0.1\", \"fd00::2\", \"localhost\"];\n"
		"green: { port = 10080; }; blue: { port = 11080; health_port = 11254; };\n"
		"balance = \"least_conn\"; when_all_down = \"reject\"; slow_start = 7.5; backend_max_connections = 44;\n"
		"passive: { failures = 3; eject = 4; max_ejected = 2; };\n"
		"health: { type = \"none\"; interval = 0.5; timeout = 3; rise = 1; fall = 7; };\n"
		"flip: { min_healthy = 3; bake = 90; on_regression = \"tell\"; }; drain: { timeout = 0; idle = 1.5; spread = 2; };\n"
		"connect_timeout = 0.25; idle_timeout = 0; retries = 0; max_connections = 0; resolve_interval = 2.5;\n"
		"tcp: { keepalive = false; backlog = 16; congestion = \"reno\"; };\n"
		"labels: { project = \"a\\\"b\"; team = \"x\"; };\n");

	(void)state;
	assert_int_equal(s->n_preview, 2);
	assert_addr(&s->preview[0], "127.0.0.1:8080");
	assert_addr(&s->preview[1], "unix:/run/p.sock");
	assert_int_equal(s->initial, BLUE);
	assert_int_equal(s->colors[GREEN].n_backends, 3);
	assert_addr(&s->colors[GREEN].backends[0].address, "10.0.0.1:10080");
	assert_addr(&s->colors[GREEN].backends[1].address, "[fd00::2]:10080");
	assert_string_equal(s->colors[GREEN].backends[2].host, "localhost");
	assert_int_equal(s->colors[GREEN].backends[2].address.len, 0);
	assert_int_equal(s->colors[GREEN].backends[2].port, 10080);
	assert_int_equal(s->colors[BLUE].backends[2].health_port, 11254);
	assert_true(s->resolve_interval == 2.5);
	assert_true(s->bake == 90);
	assert_int_equal(s->on_regression, ON_REGRESSION_TELL);
	assert_addr(&s->colors[BLUE].backends[1].address, "[fd00::2]:11080");
	assert_addr(&s->colors[BLUE].backends[1].health_address, "[fd00::2]:11254");
	assert_addr(&s->colors[GREEN].backends[1].health_address, "[fd00::2]:10080");
	assert_int_equal(s->colors[GREEN].backends[1].weight, 1);
	assert_int_equal(s->balance, BALANCE_LEAST_CONN);
	assert_true(s->slow_start == 7.5);
	assert_int_equal(s->backend_max_connections, 44);
	assert_int_equal(s->passive.failures, 3);
	assert_true(s->passive.eject == 4.0);
	assert_int_equal(s->passive.max_ejected.value, 2);
	assert_false(s->passive.max_ejected.percent);
	assert_int_equal(s->when_all_down, ALL_DOWN_REJECT);
	assert_int_equal(s->health.type, HEALTH_NONE);
	assert_true(s->health.interval == 0.5 && s->health.timeout == 3.0);
	assert_int_equal(s->health.rise, 1);
	assert_int_equal(s->health.fall, 7);
	assert_int_equal(s->min_healthy.value, 3);
	assert_false(s->min_healthy.percent);
	assert_true(s->drain.timeout == 0.0 && s->drain.idle == 1.5 && s->drain.spread == 2.0);
	assert_true(s->connect_timeout == 0.25 && s->idle_timeout == 0.0);
	assert_int_equal(s->retries, 0);
	assert_int_equal(s->max_connections, 0);
	assert_false(s->tcp.keepalive.on);
	assert_string_equal(s->tcp.congestion, "reno");
	assert_int_equal(s->tcp.backlog, 16);
	assert_int_equal(s->n_labels, 2);
	assert_string_equal(s->labels_json, "\"project\":\"a\\\"b\",\"team\":\"x\"");
	/* Of checks that are not made. */
	assert_int_equal(t.warnings.n, 3);
}

#define BACKENDS "green: { backends = \"10.0.0.1:1\"; }; blue: { backends = \"10.0.0.1:2\"; };\n"

static void
test_proxy_protocol(void **state)
{
	const struct proxy_protocol_config *p;
	struct addr inside, outside;

	(void)state;
	p = &shop(BACKENDS)->proxy_protocol;
	assert_true(cidr_set_is_empty(&p->accept_from));
	assert_true(p->header_timeout == 5.0);
	assert_int_equal(p->send, SEND_NONE);

	p = &shop(BACKENDS "proxy_protocol: { accept_from = [\"10.9.0.0/16\", \"::1\"]; header_timeout = 0.5; send = \"v2\"; };")
		     ->proxy_protocol;
	assert_true(addr_parse_ip("10.9.255.1", 0, &inside) && addr_parse_ip("10.8.255.1", 0, &outside));
	assert_true(cidr_set_match(&p->accept_from, &inside));
	assert_false(cidr_set_match(&p->accept_from, &outside));
	assert_int_equal(p->accept_from.n, 2);
	assert_true(p->header_timeout == 0.5);
	assert_int_equal(p->send, SEND_V2);
	assert_int_equal(t.warnings.n, 0);

	/* One network needs no list; and what is written inexactly is said. */
	p = &shop(BACKENDS "proxy_protocol: { accept_from = \"10.9.1.1/16\"; };")->proxy_protocol;
	assert_true(cidr_set_match(&p->accept_from, &inside));
	assert_int_equal(t.warnings.n, 1);
	assert_non_null(strstr(t.warnings.lines[0], "accept_from: \"10.9.1.1/16\" means 10.9.0.0/16"));

	shop(BACKENDS "preview = \"unix:/run/s\"; proxy_protocol: { accept_from = [\"10.9.0.0/16\"]; };");
	assert_int_equal(t.warnings.n, 1);
	assert_non_null(strstr(t.warnings.lines[0], "add \"unix:\""));
	shop(BACKENDS "preview = \"unix:/run/s\"; proxy_protocol: { accept_from = [\"unix:\", \"10.9.0.0/16\"]; };");
	assert_int_equal(t.warnings.n, 0);
}

static void
test_backends_have_weights(void **state)
{
	const struct service_config *s = shop(
		"green: { backends = ({ address = \"10.0.0.1:1\"; weight = 256; }, \"10.0.0.2:1\", { address = \"10.0.0.3:1\"; weight = 0; }); };\n"
		"blue: { backends = ({ address = \"10.0.0.4:1\"; }); }; passive: { }; balance = \"source_hash\";");

	(void)state;
	assert_int_equal(s->colors[GREEN].n_backends, 3);
	assert_int_equal(s->colors[GREEN].backends[0].weight, 256);
	assert_int_equal(s->colors[GREEN].backends[1].weight, 1);
	assert_int_equal(s->colors[GREEN].backends[2].weight, 0);
	assert_int_equal(s->colors[BLUE].backends[0].weight, 1);
	assert_int_equal(s->balance, BALANCE_SOURCE_HASH);
	assert_int_equal(s->passive.failures, 5);
	assert_true(s->passive.eject == 10.0);
	assert_true(s->passive.max_ejected.value == 50 && s->passive.max_ejected.percent);
	/* Without the group nobody is ejected. */
	s = shop("green: { port = 1; }; blue: { port = 2; }; nodes = [\"10.0.0.1\"]; balance = \"p2c\";");
	assert_int_equal(s->passive.failures, 0);
	assert_true(s->slow_start == 0.0);
	assert_int_equal(s->backend_max_connections, 0);
	s = shop("green: { port = 1; }; blue: { port = 2; }; nodes = [\"10.0.0.1\"]; passive: { failures = 0; };");
	assert_int_equal(s->passive.failures, 0);
}

static void
test_backends_are_checked_where_they_say(void **state)
{
	const struct service_config *s = shop(
		"health: { port = 7000; address = \"10.9.9.9\"; };\n"
		"green: { backends = ({ address = \"10.0.0.1:80\"; health_address = \"10.0.0.1\"; health_port = 8008; },\n"
		"                     { address = \"10.0.0.2:80\"; health_port = 8009; backup = true; }); };\n"
		"blue: { health_port = 7001; backends = (\"10.0.0.3:80\", { address = \"localhost:80\"; health_address = \"::1\"; }); };");

	(void)state;
	assert_addr(&s->colors[GREEN].backends[0].health_address, "10.0.0.1:8008");
	assert_addr(&s->colors[GREEN].backends[1].health_address, "10.9.9.9:8009");
	assert_true(s->colors[GREEN].backends[1].backup && !s->colors[GREEN].backends[0].backup);
	assert_addr(&s->colors[BLUE].backends[0].health_address, "10.9.9.9:7001");
	assert_int_equal(s->colors[BLUE].backends[1].address.len, 0);
	assert_addr(&s->colors[BLUE].backends[1].health_at, "[::1]:7001");
	s = shop("nodes = [\"10.0.0.1\"]; health: { port = 10256; }; green: { port = 1; health_port = 2; }; blue: { port = 3; };");
	assert_addr(&s->colors[GREEN].backends[0].health_address, "10.0.0.1:2");
	assert_addr(&s->colors[BLUE].backends[0].health_address, "10.0.0.1:10256");
}

/* Everything that is not built is accepted while it changes nothing. */
static void
test_off_values_change_nothing(void **state)
{
	(void)state;
	shop("green: { backends = ({ address = \"10.0.0.1:1\"; weight = 1; }); }; blue: { backends = (\"10.0.0.1:2\"); };\n"
	     "allow = []; deny = (); max_connections_per_source = 0; queue_timeout = 0.0; preview = [];\n"
	     "proxy_protocol: { send = \"none\"; accept_from = []; }; default = false; sni = [];\n"
	     "plain_listen = []; backend_max_connections = 0; slow_start = 0; tcp: { user_timeout = 0; fastopen = false; };");
	assert_int_equal(t.warnings.n, 0);
}

static void
test_limits_are_read(void **state)
{
	const struct service_config *s = shop(
		"green: { backends = [\"10.0.0.1:1\"]; }; blue: { backends = [\"10.0.0.1:2\"]; };\n"
		"allow = [\"10.0.0.0/8\", \"2001:db8::/32\"]; deny = \"10.6.6.6\"; max_connections_per_source = 20;\n"
		"source_prefix6 = 56; source_rate = \"30/m\"; queue_timeout = 1.5; max_connections = 1000;\n"
		"client_timeout = 7; tcp: { user_timeout = 2.5; keepalive_idle = 30; keepalive_interval = 5; "
		"keepalive_count = 3; };");
	struct addr a;

	(void)state;
	assert_int_equal(s->limits.allow.n, 2);
	assert_true(addr_parse_ip("10.6.6.6", 0, &a) && cidr_set_match(&s->limits.deny, &a));
	assert_int_equal(s->limits.per_source, 20);
	assert_int_equal(s->limits.source_prefix6, 56);
	assert_true(s->limits.source_rate.burst == 30 && s->limits.source_rate.per_second == 0.5);
	assert_true(s->limits.queue_timeout == 1.5);
	assert_int_equal(s->limits.queue, 100);
	assert_true(s->client_timeout == 7 && s->server_timeout < 0);
	assert_true(s->tcp.user_timeout == 2.5);
	assert_int_equal(s->tcp.keepalive.idle, 30);
	assert_int_equal(s->tcp.keepalive.interval, 5);
	assert_int_equal(s->tcp.keepalive.count, 3);
	assert_int_equal(t.warnings.n, 0);
}

#define PAIR "green: { backends = [\"10.0.0.1:1\"]; }; blue: { backends = [\"10.0.0.1:2\"]; };\n"

static void
test_the_queue_is_bounded_without_being_asked(void **state)
{
	(void)state;
	assert_int_equal(shop(PAIR "queue_timeout = 1; max_connections = 20;")->limits.queue, 16);
	assert_int_equal(shop(PAIR "queue_timeout = 1; queue_limit = 3;")->limits.queue, 3);
	assert_int_equal(shop(PAIR "queue_timeout = 1;")->limits.queue, 10000);
	assert_int_equal(shop(PAIR "queue_timeout = 1; max_connections = 0; backend_max_connections = 9;")->limits.queue,
			 10000);
	assert_int_equal(t.warnings.n, 0);
}

static void
test_limits_that_change_nothing_are_warned_about(void **state)
{
	(void)state;
	shop(PAIR "queue_timeout = 1; max_connections = 0;");
	assert_int_equal(t.warnings.n, 1);
	assert_non_null(strstr(t.warnings.lines[0], "queue_timeout changes nothing while max_connections and backend_max_"));
	shop(PAIR "queue_timeout = 1; max_connections = 0; backend_max_connections = 5;");
	assert_int_equal(t.warnings.n, 0);
	shop(PAIR "queue_limit = 5;");
	assert_int_equal(t.warnings.n, 1);
	assert_non_null(strstr(t.warnings.lines[0], "queue_limit changes nothing while queue_timeout is 0"));
	shop(PAIR "max_connections_per_source = 10; max_connections = 10;");
	assert_int_equal(t.warnings.n, 1);
	assert_non_null(strstr(t.warnings.lines[0], "max_connections_per_source changes nothing"));
}

static void
test_defaults_group_gives_way_to_the_service(void **state)
{
	const struct config *c = good(
		"services = (\n"
		"{ name = \"a\"; listen = \":1\"; },\n"
		"{ name = \"b\"; listen = \"*:2\"; nodes = \"other\"; health: { rise = 9; }; labels: { team = \"b\"; };\n"
		"  green: { port = 7; health_port = 8; }; blue: { backends = [\"10.0.0.9:9\"]; }; retries = 0; } );\n"
		"defaults: { nodes = \"main\"; green: { port = 1000; }; blue: { port = 2000; health_port = 2001; };\n"
		"  health: { interval = 5; rise = 4; }; retries = 5; labels: { team = \"ops\"; site = \"x\"; }; };\n"
		"node_pools: { main = [\"10.0.0.1\", \"10.0.0.2\"]; other = [\"10.0.1.1\"]; };\n"
		"state_dir = \"/s\";");
	const struct service_config *a = &c->services[0], *b = &c->services[1];

	(void)state;
	assert_addr(&a->listen[0], "0.0.0.0:1");
	assert_addr(&a->colors[GREEN].backends[1].address, "10.0.0.2:1000");
	assert_addr(&a->colors[BLUE].backends[0].health_address, "10.0.0.1:2001");
	assert_true(a->health.interval == 5.0 && a->health.rise == 4 && a->retries == 5);
	assert_string_equal(a->labels_json, "\"team\":\"ops\",\"site\":\"x\"");

	assert_addr(&b->listen[0], "0.0.0.0:2");
	assert_int_equal(b->colors[GREEN].n_backends, 1);
	assert_addr(&b->colors[GREEN].backends[0].address, "10.0.1.1:7");
	assert_addr(&b->colors[GREEN].backends[0].health_address, "10.0.1.1:8");
	/* Its own backends take the place of the port; health_port stays. */
	assert_addr(&b->colors[BLUE].backends[0].address, "10.0.0.9:9");
	assert_addr(&b->colors[BLUE].backends[0].health_address, "10.0.0.9:2001");
	assert_true(b->health.interval == 5.0 && b->health.rise == 9 && b->retries == 0);
	assert_string_equal(b->labels_json, "\"team\":\"b\",\"site\":\"x\"");
}

static void
test_numbers_in_quotes(void **state)
{
	const struct service_config *s =
		shop("green: { backends = [\"10.0.0.1:1\"]; }; blue: { backends = [\"10.0.0.1:2\"]; };\n"
		     "max_connections = \"2000000\"; retries = 0x3; mode = \"http\"; max_body = \"3 GiB\";");

	(void)state;
	assert_int_equal(s->max_connections, 2000000);
	assert_int_equal(s->retries, 3);
}

/* 500 services, 20 backends each, by names: no look-up is repeated, and
 * nothing in the checks takes forever. */
static void
test_many_services(void **state)
{
	FILE *f = fopen("many.conf", "w");

	(void)state;
	assert_non_null(f);
	fprintf(f,
		"state_dir = \"/s\"; defaults: { nodes = \"main\"; };\nnode_pools: { main = [\"localhost\"");
	for (int i = 1; i < 20; i++)
		fprintf(f, ", \"10.0.0.%d\"", i);
	fprintf(f, "]; };\nservices = (\n");
	for (int i = 0; i < 500; i++)
		fprintf(f,
			"%s{ name = \"s%d\"; listen = \":%d\"; green: { port = %d; }; blue: { port = %d; }; }\n",
			i == 0 ? "" : ",", i, 1000 + i, 10000 + i, 20000 + i);
	fprintf(f, ");\n");
	assert_int_equal(fclose(f), 0);
	if (load_file("many.conf") != OK)
		fail_msg("%s", t.errors.lines[0]);
	assert_int_equal(t.config->n_services, 500);
	assert_int_equal(t.config->services[499].colors[BLUE].n_backends, 20);
	assert_addr(&t.config->services[499].colors[BLUE].backends[19].address, "10.0.0.19:20499");
	assert_int_equal(t.config->services[499].at.line, 503);
}

static void
test_words(void **state)
{
	(void)state;
	assert_string_equal(mode_word(MODE_TCP), "tcp");
	assert_string_equal(mode_word(MODE_UDP), "udp");
	assert_string_equal(balance_word(BALANCE_ROUND_ROBIN), "round_robin");
	assert_string_equal(balance_word(BALANCE_SOURCE_HASH), "source_hash");
}

static bool
mentions(const char *path, const char *words)
{
	FILE *f = fopen(path, "r");
	static char text[65536];
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return strstr(text, words) != NULL;
}

/* What we hand out must be accepted, without a single warning. */
static void
test_samples(void **state)
{
	char *pattern = must_printf("%s/conf/*.conf", t.top);
	bool seen_production = false;
	glob_t found;

	(void)state;
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *path = found.gl_pathv[i];

		/* Samples for other programs lie there too; those that name users, which this
		 * machine need not have, have tests of their own. */
		if (!mentions(path, "\nservices = (") || mentions(path, "\nuser = "))
			continue;
		if (load_file(path) != OK)
			fail_msg("%s", t.errors.lines[0]);
		if (t.warnings.n > 0)
			fail_msg("%s", t.warnings.lines[0]);
		seen_production |= strcmp(strrchr(path, '/'), "/teal.conf") == 0;
	}
	assert_true(seen_production);
	globfree(&found);
	free(pattern);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_key_of_the_top),
		cmocka_unit_test(test_redis_by_url),
		cmocka_unit_test(test_redis_by_sentinels),
		cmocka_unit_test(test_a_store_that_makes_no_sense),
		cmocka_unit_test(test_warnings_about_the_store),
		cmocka_unit_test(test_every_key_of_a_service),
		cmocka_unit_test(test_proxy_protocol),
		cmocka_unit_test(test_backends_have_weights),
		cmocka_unit_test(test_backends_are_checked_where_they_say),
		cmocka_unit_test(test_off_values_change_nothing),
		cmocka_unit_test(test_limits_are_read),
		cmocka_unit_test(test_the_queue_is_bounded_without_being_asked),
		cmocka_unit_test(test_limits_that_change_nothing_are_warned_about),
		cmocka_unit_test(test_defaults_group_gives_way_to_the_service),
		cmocka_unit_test(test_numbers_in_quotes),
		cmocka_unit_test(test_many_services),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_samples),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
