/* test_config_key.c - keys that are unknown, of a wrong type, out of range or
 * of another engine: line and reason. */
#include "config_file.h"

static const struct broken top_keys[] = {
	{ TOP("worker = 2;"),
	  "2: unknown key \"worker\"; did you mean \"workers\"?" },
	{ TOP("retries = 2;"),
	  "2: unknown key \"retries\"; it belongs in defaults: { }" },
	{ TOP("zzz = 2;"),
	  "2: unknown key \"zzz\"" },
	{ TOP("workers = -1;"),
	  "2: workers: -1 is out of range: 0 to 1024" },
	{ TOP("workers = 2.5;"),
	  "2: workers: expected a whole number, found the number 2.5" },
	{ TOP("workers = \"two\";"),
	  "2: workers: expected a whole number, found the text \"two\"" },
	{ TOP("user = \"no-such-user-here\";"),
	  "2: user: there is no user \"no-such-user-here\"" },
	{ TOP("user = 0;"),
	  "2: user: expected a text in double quotes, found the number 0" },
	{ TOP("user = \"\";"),
	  "2: user: the text is empty; remove the key or fill it in" },
	{ TOP("store = \"file\";"),
	  "2: store: expected a group { }, found the text \"file\"" },
	{ TOP("store: { typ = \"file\"; };"),
	  "2: unknown key \"store.typ\"; did you mean \"type\"?" },
	{ TOP("store: { type = \"fille\"; };"),
	  "2: store.type: expected \"file\" or \"redis\", found the text \"fille\"; did you mean \"file\"?" },
	{ TOP("store: { prefix = \"a b\"; };"),
	  "2: store.prefix: expected at most 128 of A-Z a-z 0-9 . : _ -, found \"a b\"" },
	{ TOP("store: { max_age = -1; };"),
	  "2: store.max_age: -1 s is out of range: 0 to 31536000" },
	{ TOP("admin: { group = \"no-such-group-here\"; };"),
	  "2: admin.group: there is no group \"no-such-group-here\"" },
	{ TOP("admin: { mode = 660; };"),
	  "2: admin.mode: expected an octal mode in double quotes such as \"0660\", found the number 660" },
	{ TOP("admin: { mode = \"999\"; };"),
	  "2: admin.mode: expected an octal mode in double quotes such as \"0660\", found the text \"999\"" },
	{ TOP("admin: { socket = \"unix:/run/x\"; };"),
	  "2: admin.socket: the path alone, without unix:" },
	{ TOP("admin: { socket = \"/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"; };"),
	  "2: admin.socket: the path of a socket has at most 107 bytes, this one 121" },
	{ TOP("observe: { };"),
	  "2: observe: listen is missing" },
	{ TOP("observe: { listen = \"localhost:80\"; };"),
	  "2: observe.listen: \"localhost:80\": \"localhost\" is not an IP address" },
	{ TOP("observe: { listen = \"127.0.0.1\"; };"),
	  "2: observe.listen: \"127.0.0.1\": no port; write ADDRESS:PORT, [IPV6]:PORT or unix:/path" },
	{ TOP("observe: { listen = \"127.0.0.1:1\"; hosts = [\"ok.example\", \"not a name\"]; };"),
	  "2: observe.hosts: \"not a name\" is not a host name such as \"status.example\" or \"*.example\"" },
	{ TOP("observe: { listen = \"127.0.0.1:1\"; hosts = 5; };"),
	  "2: observe.hosts: expected a host name in double quotes, or a list of them, found the number 5" },
	{ TOP("observe: { listen = [\"127.0.0.1:1\"]; };"),
	  "2: observe.listen: expected an address in double quotes, found a list [ ]" },
	{ TOP("ready: { min_services = -1; };"),
	  "2: ready.min_services: expected \"1%\" to \"100%\", or a count of at least 0, found the number -1" },
	{ TOP("ready: { min_services = 2; };"),
	  "2: ready.min_services: 2 are wanted, but there are only 1 services: teald would never be ready" },
	{ TOP("log: { level = \"warning\"; };"),
	  "2: log.level: expected \"debug\", \"info\", \"warn\" or \"error\", found the text \"warning\"" },
	{ TOP("log: { access = \"all\"; };"),
	  "2: log.access: expected true, false or \"errors\", found the text \"all\"" },
	{ TOP("log: { sample = 2; };"),
	  "2: log.sample: expected a number from 1e-06 to 1, found the number 2" },
	{ TOP("log: { sample = 0; };"),
	  "2: log.sample: expected a number from 1e-06 to 1, found the number 0" },
	{ TOP("stop: { timeout = \"30s\"; };"),
	  "2: stop.timeout: expected a number of seconds such as 2 or 0.5, found the text \"30s\"" },
	{ TOP("stop: { timeout = 99999999; };"),
	  "2: stop.timeout: 99999999 s is out of range: 0 to 31536000" },
	{ TOP("node_pools = 3;"),
	  "2: node_pools: expected a group { }, found the number 3" },
	{ TOP("defaults = [];"),
	  "2: defaults: expected a group { }, found a list [ ]" },
	{ TOP("defaults: { name = \"x\"; };"),
	  "2: defaults: name: each service has its own; remove it here" },
	{ TOP("defaults: { retires = 3; };"),
	  "2: defaults: unknown key \"retires\"; did you mean \"retries\"?" },
	{ TOP("defaults: { retries = \"three\"; };"),
	  "2: defaults: retries: expected a whole number, found the text \"three\"" },
	{ "state_dir = \"/s\";\nservices = ();\n",
	  "2: services: none; teald has nothing to do without services = ( { } )" },
	{ "state_dir = \"/s\";\n",
	  "1: services: none; teald has nothing to do without services = ( { } )" },
	{ "state_dir = \"/s\";\nservices: { };\n",
	  "2: services: expected a list of groups ( { } ), found a group { }" },
	{ "state_dir = \"/s\";\nservices = (\n1 );\n",
	  "3: services: expected a group { }, found the number 1" },
	{ "services = (\n  { name = \"shop\"; listen = \"127.0.0.1:80\";\n    green: { backends = [\"127.0.0.1:81\"]; };\n    blue: { backends = [\"127.0.0.1:82\"]; };\n\n  } );\n",
	  "1: state_dir is missing: teald keeps the active colors there, so that a restart serves the right one; add state_dir = \"/var/lib/teal\";" },
	{ "state_dir = 1;\nservices = (\n  { name = \"shop\"; listen = \"127.0.0.1:80\";\n    green: { backends = [\"127.0.0.1:81\"]; };\n    blue: { backends = [\"127.0.0.1:82\"]; };\n\n  } );\n",
	  "1: state_dir: expected a text in double quotes, found the number 1" },
};

static void
test_keys_of_the_top(void **state)
{
	(void)state;
	assert_broken(top_keys, ARRAY_LEN(top_keys));
}

static const struct broken shop_keys[] = {
	{ SHOP("conect_timeout = 2;"),
	  "5: service \"shop\": unknown key \"conect_timeout\"; did you mean \"connect_timeout\"?" },
	{ SHOP("congestion = \"reno\";"),
	  "5: service \"shop\": unknown key \"congestion\"; it belongs in tcp: { }" },
	{ SHOP("health: { intervall = 2; };"),
	  "5: service \"shop\": unknown key \"health.intervall\"; did you mean \"interval\"?" },
	{ SHOP("connect_timeout = \"2s\";"),
	  "5: service \"shop\": connect_timeout: expected a number of seconds such as 2 or 0.5, found the text \"2s\"" },
	{ SHOP("connect_timeout = -0.5;"),
	  "5: service \"shop\": connect_timeout: -0.5 s is out of range: 0 to 31536000" },
	{ SHOP("connect_timeout = 1e999;"),
	  "5: service \"shop\": connect_timeout: expected a number of seconds such as 2 or 0.5, found the number inf" },
	{ SHOP("retries = true;"),
	  "5: service \"shop\": retries: expected a whole number, found true" },
	{ SHOP("retries = 101;"),
	  "5: service \"shop\": retries: 101 is out of range: 0 to 100" },
	{ SHOP("retries = 2.0;"),
	  "5: service \"shop\": retries: expected a whole number, found the number 2.0" },
	{ SHOP("max_connections = \"3000000000\";"),
	  "5: service \"shop\": max_connections: 3000000000 is out of range: 0 to 100000000" },
	{ SHOP("initial = \"red\";"),
	  "5: service \"shop\": initial: expected \"green\" or \"blue\", found the text \"red\"" },
	{ SHOP("when_all_down = \"rejct\";"),
	  "5: service \"shop\": when_all_down: expected \"try\", \"reject\" or \"refuse\", found the text \"rejct\"; did you mean \"reject\"?" },
	{ SHOP("health = \"tcp\";"),
	  "5: service \"shop\": health: expected a group { }, found the text \"tcp\"" },
	{ SHOP("health: { interval = 0; };"),
	  "5: service \"shop\": health.interval: must be at least 0.01 seconds; health.type = \"none\" switches checks off" },
	{ SHOP("health: { timeout = 0.0; };"),
	  "5: service \"shop\": health.timeout: must be above 0; health.type = \"none\" switches checks off" },
	{ SHOP("health: { timeout = 301; };"),
	  "5: service \"shop\": health.timeout: 301 s is out of range: 0 to 300" },
	{ SHOP("health: { rise = 0; };"),
	  "5: service \"shop\": health.rise: 0 is out of range: 1 to 1000" },
	{ SHOP("health: { fall = 0; };"),
	  "5: service \"shop\": health.fall: 0 is out of range: 1 to 1000" },
	{ SHOP("flip: { min_healthy = \"0%\"; };"),
	  "5: service \"shop\": flip.min_healthy: expected \"1%\" to \"100%\", or a count of at least 1, found the text \"0%\"" },
	{ SHOP("flip: { min_healthy = \"101%\"; };"),
	  "5: service \"shop\": flip.min_healthy: expected \"1%\" to \"100%\", or a count of at least 1, found the text \"101%\"" },
	{ SHOP("flip: { min_healthy = 0; };"),
	  "5: service \"shop\": flip.min_healthy: expected \"1%\" to \"100%\", or a count of at least 1, found the number 0" },
	{ SHOP("flip: { min_healthy = \"half\"; };"),
	  "5: service \"shop\": flip.min_healthy: expected \"1%\" to \"100%\", or a count of at least 1, found the text \"half\"" },
	{ SHOP("flip: { min_healthy = 2; };"),
	  "5: service \"shop\": flip.min_healthy: 2 are wanted, but green has only 1: no flip to it could ever pass" },
	{ SHOP("preview = \"127.0.0.1\";"),
	  "5: service \"shop\": preview: \"127.0.0.1\": no port; write ADDRESS:PORT, [IPV6]:PORT or unix:/path" },
	{ SHOP("preview = \"127.0.0.1:0\";"),
	  "5: service \"shop\": preview: \"127.0.0.1:0\": the port must be a number from 1 to 65535" },
	{ SHOP("preview = \"::1:80\";"),
	  "5: service \"shop\": preview: \"::1:80\": write an IPv6 address in brackets: [::1]:80" },
	{ SHOP("preview = [\"127.0.0.1:1\",\n\"127.0.0.1:99999\"];"),
	  "6: service \"shop\": preview: \"127.0.0.1:99999\": the port must be a number from 1 to 65535" },
	{ SHOP("preview = \"[::ffff:1.2.3.4]:80\";"),
	  "5: service \"shop\": preview: \"[::ffff:1.2.3.4]:80\" is an IPv4 address written as IPv6; write it as IPv4" },
	{ SHOP("preview = 80;"),
	  "5: service \"shop\": preview: expected an address in double quotes, or a list of them, found the number 80" },
	{ SHOP("preview = \"unix:relative\";"),
	  "5: service \"shop\": preview: unix:relative: the path must begin with /" },
	{ SHOP("source_address = \"10.0.0.1:80\";"),
	  "5: service \"shop\": source_address: \"10.0.0.1:80\" is not an IP address (without port)" },
	{ SHOP("source_address = \"::1\";"),
	  "5: service \"shop\": source_address: ::1 cannot reach backend 127.0.0.1:81 of green: one is IPv4, the other IPv6" },
	{ SHOP("tcp: { keepalive = 1; };"),
	  "5: service \"shop\": tcp.keepalive: expected true or false, found the number 1" },
	{ SHOP("tcp: { backlog = 0; };"),
	  "5: service \"shop\": tcp.backlog: 0 is out of range: 1 to 1048576" },
	{ SHOP("tcp: { congestion = \"\"; };"),
	  "5: service \"shop\": tcp.congestion: the text is empty; remove the key or fill it in" },
	{ SHOP("labels: { a = 1; };"),
	  "5: service \"shop\": labels.a: expected a text in double quotes, found the number 1" },
	{ SHOP("labels: { event = \"x\"; };"),
	  "5: service \"shop\": labels.event: every log line has a \"event\" already; choose another name" },
	{ SHOP("nodes = 5;"),
	  "5: service \"shop\": nodes: expected the name of a node pool or a list of hosts, found the number 5" },
	{ SHOP("nodes = \"main\";"),
	  "5: service \"shop\": nodes: there is no node pool \"main\"" },
};

static void
test_keys_of_a_service(void **state)
{
	(void)state;
	assert_broken(shop_keys, ARRAY_LEN(shop_keys));
}

static const struct broken more_keys[] = {
	{ TOP("admin: { roles = (); group = \"root\"; rolls = (); };"),
	  "2: unknown key \"admin.rolls\"; did you mean \"roles\"?" },
	{ SHOP("proxy_protocol: { send = \"v3\"; };"),
	  "5: service \"shop\": proxy_protocol.send: expected \"none\", \"v1\" or \"v2\", found the text \"v3\"" },
	{ SHOP("proxy_protocol: { header_timeout = -1; };"),
	  "5: service \"shop\": proxy_protocol.header_timeout: -1 s is out of range: 0 to 31536000" },
	{ SHOP("proxy_protocol: { accept_from = [\"10.0.0.0/33\"]; };"),
	  "5: service \"shop\": proxy_protocol.accept_from: \"10.0.0.0/33\" is not a network such as \"10.0.0.0/8\": "
	  "a number from 0 to 32 belongs after the /" },
	{ SHOP("allow = [\"10.0.0.0/33\"];"),
	  "5: service \"shop\": allow: \"10.0.0.0/33\" is not a network such as \"10.0.0.0/8\": "
	  "a number from 0 to 32 belongs after the /" },
	{ SHOP("deny = \"everyone\";"),
	  "5: service \"shop\": deny: \"everyone\" is not a network such as \"10.0.0.0/8\"" },
	{ SHOP("source_prefix6 = 0;"),
	  "5: service \"shop\": source_prefix6: 0 is out of range: 1 to 128" },
	{ SHOP("queue_limit = -1;"),
	  "5: service \"shop\": queue_limit: -1 is out of range: 0 to 100000000" },
	{ SHOP("tcp: { keepalive_count = 128; };"),
	  "5: service \"shop\": tcp.keepalive_count: 128 is out of range: 0 to 127" },
	{ SHOP("balance = \"leastconn\";"),
	  "5: service \"shop\": balance: expected \"round_robin\", \"least_conn\", \"p2c\" or \"source_hash\", found the text \"leastconn\"; did you mean \"least_conn\"?" },
	{ SHOP("health: { type = \"http\"; expect = 200; };"),
	  "5: service \"shop\": health.expect: expected a text in double quotes, found the number 200" },
	{ SHOP("max_connections_per_source = -10;"),
	  "5: service \"shop\": max_connections_per_source: -10 is out of range: 0 to 100000000" },
	{ SHOP("queue_timeout = 3601;"),
	  "5: service \"shop\": queue_timeout: 3601 s is out of range: 0 to 3600" },
	{ SHOP("source_rate = 100;"),
	  "5: service \"shop\": source_rate: expected a rate such as \"100/s\" or \"30/m\", found the number 100" },
	{ SHOP("source_rate = \"1000001/s\";"),
	  "5: service \"shop\": source_rate: 1000001/s is out of range: 0 to 1000000" },
	{ SHOP("tcp: { user_timeout = 86401; };"),
	  "5: service \"shop\": tcp.user_timeout: 86401 s is out of range: 0 to 86400" },
};

static void
test_more_keys_of_a_service(void **state)
{
	(void)state;
	assert_broken(more_keys, ARRAY_LEN(more_keys));
}

#define KERNEL(more) SHOP("mode = \"tcp\"; engine = \"kernel\"; " more)
#define CANNOT                                                                                          \
	": engine = \"kernel\" cannot do this: it passes packets on and terminates no connection; remove " \
	"it, or set engine = \"proxy\""

static const struct broken kernel_keys[] = {
	{ SHOP("mode = \"http\"; engine = \"kernel\";"),
	  "5: service \"shop\": engine: \"kernel\" cannot do mode = \"http\": it passes packets on and reads no "
	  "requests; set mode = \"tcp\", or engine = \"proxy\"" },
	{ SHOP("on_down = \"drop\";"),
	  "5: service \"shop\": on_down: expected \"keep\" or \"reset\", found the text \"drop\"" },
	{ SHOP("source = \"transparent\";"),
	  "5: service \"shop\": source: belongs to engine = \"kernel\"; set that, or remove it" },
	{ SHOP("local_clients = true;"),
	  "5: service \"shop\": local_clients: belongs to engine = \"kernel\"; set that, or remove it" },
	{ SHOP("on_stop = \"keep\";"),
	  "5: service \"shop\": unknown key \"on_stop\"" },
	{ KERNEL("retries = 1;"), "5: service \"shop\": retries" CANNOT },
	{ KERNEL("connect_timeout = 2;"), "5: service \"shop\": connect_timeout" CANNOT },
	{ KERNEL("idle_timeout = 60;"), "5: service \"shop\": idle_timeout" CANNOT },
	{ KERNEL("queue_timeout = 0.5;"), "5: service \"shop\": queue_timeout" CANNOT },
	{ KERNEL("max_connections = 10;"), "5: service \"shop\": max_connections" CANNOT },
	{ KERNEL("backend_max_connections = 10;"), "5: service \"shop\": backend_max_connections" CANNOT },
	{ KERNEL("proxy_protocol: { send = \"v2\"; };"), "5: service \"shop\": proxy_protocol" CANNOT },
	{ KERNEL("passive: { };"), "5: service \"shop\": passive" CANNOT },
	{ KERNEL("tcp: { keepalive = true; };"), "5: service \"shop\": tcp" CANNOT },
	{ KERNEL("sni = [\"a.example\"];"), "5: service \"shop\": sni" CANNOT },
	{ KERNEL("backend_tls: { verify = false; };"), "5: service \"shop\": backend_tls" CANNOT },
	{ KERNEL("source_address = \"10.0.0.9\";"), "5: service \"shop\": source_address" CANNOT },
	{ KERNEL("balance = \"p2c\";"),
	  "5: service \"shop\": balance: engine = \"kernel\" cannot do \"p2c\": the kernel has no count of each "
	  "backend's connections when it chooses; set \"round_robin\" or \"source_hash\"" },
	{ KERNEL("source = \"transparent\"; local_clients = true;"),
	  "5: service \"shop\": local_clients: cannot be with source = \"transparent\": answers to this host's own "
	  "address would not come back through it" },
	{ KERNEL("preview = \"unix:/run/x.sock\";"),
	  "5: service \"shop\": preview: engine = \"kernel\" has no Unix sockets: it passes packets on; give an "
	  "address and a port, or set engine = \"proxy\"" },
	{ "defaults: { max_connections = 9; retries = 1; tcp: { keepalive = false; }; };\n"
	  KERNEL(""),
	  "1: service \"shop\": max_connections: engine = \"kernel\" of service \"shop\" cannot do this, and leaving it "
	  "out there would change what it means; set it in the services that are proxied, or switch it off in this one" },
	{ TOP("kernel: { table = \"-b\"; };"),
	  "2: kernel.table: expected a letter and then up to 31 of A-Z a-z 0-9 _ - such as \"main\", found the text \"-b\"" },
	{ TOP("kernel: { on_stop = \"leave\"; };"),
	  "2: kernel.on_stop: expected \"keep\" or \"remove\", found the text \"leave\"" },
	{ TOP("kernel: { source_addresses = [\"10.0.0.5:80\"]; };"),
	  "2: kernel.source_addresses: \"10.0.0.5:80\" is not an IP address (without port)" },
	{ TOP("kernel: { source_addresses = [\"10.0.0.5\", \"::ffff:10.0.0.5\"]; };"),
	  "2: kernel.source_addresses: ::ffff:10.0.0.5 is there twice" },
	{ TOP("kernel: { source_addresses = [\"::\"]; };"),
	  "2: kernel.source_addresses: :: stands for all addresses; name one of this host's" },
	{ TOP("kernel: { tag = 256; };"), "2: kernel.tag: 256 is out of range: 0 to 255" },
};

static void
test_keys_of_the_kernel_engine(void **state)
{
	(void)state;
	assert_broken(kernel_keys, ARRAY_LEN(kernel_keys));
	good("defaults: { max_connections = 9; retries = 1; connect_timeout = 1; };\n" KERNEL("max_connections = 0;"));
	assert_int_equal(t.warnings.n, 0);
	assert_int_equal(t.config->services[0].retries, 0);
	good(KERNEL("retries = 0; max_connections = 0; tls = false; source = \"transparent\"; on_down = \"reset\";"));
	assert_int_equal(t.config->services[0].flow_source, SOURCE_TRANSPARENT);
	assert_int_equal(t.config->services[0].on_down, ON_DOWN_RESET);
	assert_string_equal(t.config->kernel.table, "main");
}

#define UDP(more) SHOP("mode = \"udp\"; " more)
#define OF_TCP ": belongs to mode = \"tcp\"; set that, or remove it"
#define NO_PATH ": mode = \"udp\" has no Unix sockets; give an address and a port"

static const struct broken udp_keys[] = {
	{ UDP("tls: { certificates = ( { cert = \"a\"; key = \"b\"; } ); };"), "5: service \"shop\": tls" OF_TCP },
	{ UDP("backend_tls: { verify = false; };"), "5: service \"shop\": backend_tls" OF_TCP },
	{ UDP("proxy_protocol: { send = \"v2\"; };"), "5: service \"shop\": proxy_protocol" OF_TCP },
	{ UDP("sni = [\"a.example\"];"), "5: service \"shop\": sni" OF_TCP },
	{ UDP("default = true;"), "5: service \"shop\": default" OF_TCP },
	{ UDP("hosts = [\"a.example\"];"), "5: service \"shop\": hosts: belongs to mode = \"http\"; set that, or remove it" },
	{ UDP("queue_timeout = 1;"), "5: service \"shop\": queue_timeout" OF_TCP },
	{ UDP("connect_timeout = 1;"), "5: service \"shop\": connect_timeout" OF_TCP },
	{ UDP("client_timeout = 1;"), "5: service \"shop\": client_timeout" OF_TCP },
	{ UDP("retry_pause = 1;"), "5: service \"shop\": retry_pause" OF_TCP },
	{ UDP("tcp: { freebind = true; backlog = 10; };"),
	  "5: service \"shop\": tcp.backlog: belongs to mode = \"tcp\"; of this group only freebind is for mode = \"udp\"" },
	{ UDP("preview = \"unix:/tmp/x\";"), "5: service \"shop\": preview" NO_PATH },
	{ UDP("source = \"transparent\";"),
	  "5: service \"shop\": source: belongs to engine = \"kernel\"; set that, or remove it" },
};

static void
test_keys_of_udp_without_the_kernel_engine(void **state)
{
	(void)state;
	assert_broken(udp_keys, ARRAY_LEN(udp_keys));
	good(UDP("tcp: { freebind = true; }; allow = [\"10.0.0.0/8\"]; retries = 1; max_connections = 5;"));
	assert_int_equal(t.config->services[0].engine, ENGINE_PROXY);
	assert_int_equal(t.config->services[0].on_down, ON_DOWN_RESET);
	assert_true(t.config->services[0].idle_timeout == 120.0);
	/* What defaults say for connections does no harm; what they say for all counts. */
	good("defaults: { on_down = \"keep\"; idle_timeout = 9; queue_timeout = 3; proxy_protocol: { send = \"v2\"; }; };\n" UDP(""));
	assert_int_equal(t.warnings.n, 0);
	assert_int_equal(t.config->services[0].on_down, ON_DOWN_KEEP);
	assert_true(t.config->services[0].idle_timeout == 9.0);
	assert_true(t.config->services[0].limits.queue_timeout == 0);
	assert_int_equal(t.config->services[0].proxy_protocol.send, SEND_NONE);
	/* No engine keeps a dead backend for as long as the sender sends, unless it is told to. */
	good(UDP("engine = \"kernel\";"));
	assert_int_equal(t.config->services[0].on_down, ON_DOWN_RESET);
	good(UDP("engine = \"kernel\"; on_down = \"keep\";"));
	assert_int_equal(t.config->services[0].on_down, ON_DOWN_KEEP);
	good("defaults: { on_down = \"keep\"; };\n" UDP("engine = \"kernel\";"));
	assert_int_equal(t.config->services[0].on_down, ON_DOWN_KEEP);
}

static void
test_messages_carry_no_control_bytes(void **state)
{
	(void)state;
	assert_int_equal(load(SHOP("initial = \"\x1b[31mred\\n\";")), E_USAGE);
	assert_string_equal(t.errors.lines[0],
			    "teal.conf:5: service \"shop\": initial: expected \"green\" or \"blue\", "
			    "found the text \"\\x1b[31mred\\x0a\"");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_of_the_top),
		cmocka_unit_test(test_keys_of_a_service),
		cmocka_unit_test(test_more_keys_of_a_service),
		cmocka_unit_test(test_keys_of_the_kernel_engine),
		cmocka_unit_test(test_keys_of_udp_without_the_kernel_engine),
		cmocka_unit_test(test_messages_carry_no_control_bytes),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
