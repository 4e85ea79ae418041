/* test_config_check.c - keys that are right one by one and wrong together;
 * warnings; the order of complaints. */
#include "config_file.h"

static const struct broken entrances[] = {
	{ TWO("shop", "\":81\""),
	  "5: service \"shop\": name: the service at teal.conf:2 has the same name" },
	{ TWO("-x", "\":81\""),
	  "5: service \"-x\": name: \"-x\" is not a name: 1 to 63 of A-Z a-z 0-9 . _ -, the first neither . nor -" },
	{ TWO("a b", "\":81\""),
	  "5: service \"a b\": name: \"a b\" is not a name: 1 to 63 of A-Z a-z 0-9 . _ -, the first neither . nor -" },
	{ TWO("", "\":81\""),
	  "5: service \"\": name: \"\" is not a name: 1 to 63 of A-Z a-z 0-9 . _ -, the first neither . nor -" },
	{ TWO("b", "\"127.0.0.1:80\""),
	  "5: service \"b\": listen: 127.0.0.1:80 clashes with 127.0.0.1:80, listen of service \"shop\" at teal.conf:2; to share it each needs sni or default = true" },
	{ TWO("b", "[\":79\", \":80\"]"),
	  "5: service \"b\": listen: 0.0.0.0:80 clashes with 127.0.0.1:80, listen of service \"shop\" at teal.conf:2" },
	{ TWO("b", "[]"),
	  "5: service \"b\": listen: the list is empty; add an address such as \"0.0.0.0:80\"" },
	{ TWO("b", "\"[::1]:79\", preview = \"[::]:79\""),
	  "5: service \"b\": preview: [::]:79 clashes with [::1]:79, listen of service \"b\" at teal.conf:5" },
	{ TWO("b", "\"unix:/run/teal/admin.sock\""),
	  "5: service \"b\": listen: unix:/run/teal/admin.sock clashes with unix:/run/teal/admin.sock, admin.socket at teal.conf:1" },
	{ SHOP("}, { listen = \":90\"; green: { backends = [\"10.0.0.1:1\"]; }; blue: { backends = [\"10.0.0.1:2\"]; };"),
	  "5: service 2: a service needs a name" },
	{ SHOP("}, { name = \"b\"; green: { backends = [\"10.0.0.1:1\"]; }; blue: { backends = [\"10.0.0.1:2\"]; };"),
	  "5: service \"b\": listen is missing; add listen = \"0.0.0.0:80\"; or the like" },
	{ TOP("observe: { listen = \"0.0.0.0:80\"; };"),
	  "4: service \"shop\": listen: 127.0.0.1:80 clashes with 0.0.0.0:80, observe.listen at teal.conf:2" },
};

static void
test_names_and_listeners(void **state)
{
	(void)state;
	assert_broken(entrances, ARRAY_LEN(entrances));
}

static const struct broken http_checks[] = {
	{ SHOP("health: { path = \"/x\"; };"),
	  "5: service \"shop\": health.path: belongs to health.type = \"http\"; set that, or remove it" },
	{ SHOP("health: { type = \"http\"; path = \"x\"; };"),
	  "5: service \"shop\": health.path: must begin with / and have neither blanks nor unprintable characters" },
	{ SHOP("health: { type = \"http\"; path = \"/a b\"; };"),
	  "5: service \"shop\": health.path: must begin with / and have neither blanks nor unprintable characters" },
	{ SHOP("health: { type = \"http\"; host = \"a\\r\\nX: y\"; };"),
	  "5: service \"shop\": health.host: must have neither blanks nor unprintable characters" },
	{ SHOP("health: { type = \"http\"; expect = \"2xx\"; };"),
	  "5: service \"shop\": health.expect: \"2xx\" is no list of status codes; write \"200-399\" or \"200,204\"" },
	{ SHOP("health: { type = \"http\"; method = \"CONNECT\"; };"),
	  "5: service \"shop\": health.method: \"CONNECT\" is no method that a check could use; write GET, HEAD, OPTIONS or the like" },
	{ SHOP("health: { type = \"http\"; headers = [\"Host: a\"]; };"),
	  "5: service \"shop\": health.headers: \"Host: a\": is the key health.host" },
	{ SHOP("health: { type = \"http\"; headers = [\"X-A\"]; };"),
	  "5: service \"shop\": health.headers: \"X-A\": write \"Name: value\", without line ends" },
	{ SHOP("health: { type = \"http\"; method = \"HEAD\"; expect_body = \"x\"; };"),
	  "5: service \"shop\": health.expect_body: an answer to HEAD has no body; choose another health.method" },
	{ SHOP("health: { type = \"http\"; service = \"x\"; };"),
	  "5: service \"shop\": health.service: belongs to health.type = \"grpc\"; set that, or remove it" },
	{ SHOP("health: { type = \"tcp\"; host = \"x\"; };"),
	  "5: service \"shop\": health.host: belongs to health.type = \"http\" or \"grpc\"; set one, or remove it" },
	{ SHOP("health: { type = \"udp\"; };"),
	  "5: service \"shop\": health.steps: type \"udp\" begins with what is sent: steps = ( { send = \"…\"; }, { expect = \"…\"; } )" },
	{ SHOP("health: { steps = ({ send = \"a\"; expect = \"b\"; }); };"),
	  "5: service \"shop\": health.steps: a step is a group of one key: { send = \"PING\\r\\n\"; }, send_hex, expect or expect_hex" },
	{ SHOP("health: { steps = ({ send_hex = \"0\"; }); };"),
	  "5: service \"shop\": health.steps: hex is two digits for each byte, such as \"00 ff\"" },
	{ SHOP("health: { type = \"http\"; steps = ({ send = \"a\"; }); };"),
	  "5: service \"shop\": health.steps: belongs to health.type = \"tcp\", \"tls\" or \"udp\"; set one, or remove it" },
	{ SHOP("health: { type = \"tls\"; tls = false; };"),
	  "5: service \"shop\": health.tls: health.type = \"tls\" is nothing without it; remove one" },
	{ SHOP("health: { tls: { key = \"/k\"; }; };"), "5: service \"shop\": health.tls.key: whose? add cert = \"FILE\"" },
	{ SHOP("health: { fast_interval = 0.001; };"),
	  "5: service \"shop\": health.fast_interval: must be at least 0.01 seconds; health.type = \"none\" switches checks off" },
};

static const struct broken checks_elsewhere[] = {
	{ SHOP("health: { address = \"10.0.0.1:80\"; };"),
	  "5: service \"shop\": health.address: expected an IP address without port, such as \"10.0.0.1\", found the text \"10.0.0.1:80\"" },
	{ SHOP("health: { port = 0; };"), "5: service \"shop\": health.port: 0 is out of range: 1 to 65535" },
	{ SHOP("}, { name = \"b\"; listen = \":90\"; blue: { backends = [\"10.0.0.1:2\"]; };"
	       "green: { backends = ({ address = \"10.0.0.1:1\"; health_address = \"name\"; }); };"),
	  "5: service \"b\": green.backends.health_address: expected an IP address without port, such as \"10.0.0.1\", found the text \"name\"" },
	{ SHOP("}, { name = \"b\"; listen = \":90\"; blue: { backends = [\"10.0.0.1:2\"]; };"
	       "green: { backends = ({ address = \"10.0.0.1:1\"; backup = true; }); };"),
	  "5: service \"b\": green: every backend is a backup; of what? leave backup out of those that serve as a rule" },
	{ SHOP("}, { name = \"b\"; listen = \":90\"; blue: { backends = [\"10.0.0.1:2\"]; }; flip: { min_healthy = 2; };"
	       "green: { backends = ({ address = \"10.0.0.1:1\"; backup = true; }, \"10.0.0.2:1\"); };"),
	  "5: service \"b\": flip.min_healthy: 2 are wanted, but green has only 1: no flip to it could ever pass" },
};

static const struct broken groups[] = {
	{ TOP("groups: { all = [\"shop\", \"pay\"]; };"), "2: groups.all: there is no service \"pay\"" },
	{ TOP("groups: { all = [\"shop\", \"shop\"]; };"), "2: groups.all: service \"shop\" is there twice" },
	{ TOP("groups: { shop = [\"shop\"]; };"), "2: groups.shop: a service has that name: a flip could mean either" },
	{ TOP("groups: { all = []; };"), "2: groups.all: expected names of services, such as [\"web\", \"api\"], found none" },
	{ TOP("groups: { all = { a = 1; }; };"),
	  "2: groups.all: expected names of services, such as [\"web\", \"api\"], found a group { }" },
	{ TOP("groups: { all = [1]; };"), "2: groups.all: expected names of services, found the number 1" },
	{ TOP("groups = 1;"), "2: groups: expected a group { }, found the number 1" },
};

static void
test_groups(void **state)
{
	(void)state;
	assert_broken(groups, ARRAY_LEN(groups));
}

static void
test_checks_elsewhere(void **state)
{
	(void)state;
	assert_broken(checks_elsewhere, ARRAY_LEN(checks_elsewhere));
}

static void
test_http_checks(void **state)
{
	(void)state;
	assert_broken(http_checks, ARRAY_LEN(http_checks));
}

/* A whole file around a service without colors: its keys are in line 3. */
#define PLAIN(top, keys) \
	"state_dir = \"/s\"; " top "\nservices = ( { name = \"shop\"; listen = \"127.0.0.1:80\"; mode = \"http\";\n" keys "\n} );\n"

static const struct broken colorless[] = {
	{ PLAIN("", "nodes = [\"10.0.0.1\"];"),
	  "2: service \"shop\": no backends; add backends = [\"10.0.0.11:80\"], or nodes and port; or, to flip between two "
	  "versions, green: { } and blue: { } with backends or a port each; only with redirect or maintenance = true a "
	  "service needs none" },
	{ PLAIN("", "backends = [];"), "3: service \"shop\": backends: the list is empty; at least one backend is needed" },
	{ PLAIN("", "backends = [\"10.0.0.1\"];"),
	  "3: service \"shop\": backends: \"10.0.0.1\": no port; write ADDRESS:PORT, [IPV6]:PORT or NAME:PORT" },
	{ PLAIN("", "backends = [\"10.0.0.1:1\", \"10.0.0.1:1\"];"), "3: service \"shop\": backend 10.0.0.1:1 is listed twice" },
	{ PLAIN("", "backends = ( { address = \"10.0.0.1:1\"; weight = 0; } );"),
	  "2: service \"shop\": every backend has weight 0; none could ever be used" },
	{ PLAIN("", "backends = [\"127.0.0.1:80\"];"),
	  "2: service \"shop\": backend 127.0.0.1:80 is the service itself, which listens on 127.0.0.1:80" },
	{ PLAIN("", "port = 81;"), "2: service \"shop\": the service has a port but has no nodes; add nodes or list backends" },
	{ PLAIN("", "port = \"x\"; nodes = [\"10.0.0.1\"];"),
	  "3: service \"shop\": port: expected a whole number, found the text \"x\"" },
	{ PLAIN("", "port = 81; backends = [\"10.0.0.1:1\"];"), "2: service \"shop\": the service has both port and backends; keep one" },
	{ PLAIN("", "backends = [\"10.0.0.1:1\"]; green: { backends = [\"10.0.0.1:1\"]; }; blue: { backends = [\"10.0.0.2:1\"]; };"),
	  "3: service \"shop\": backends: a service with the colors green and blue has this in each color; move it there, or "
	  "remove both colors" },
	{ PLAIN("", "backends = [\"10.0.0.1:1\"]; preview = \":81\";"),
	  "3: service \"shop\": preview: only a service with the colors green and blue has this; this one has its backends "
	  "without colors; remove it" },
	{ PLAIN("", "backends = [\"10.0.0.1:1\"]; flip: { min_healthy = 1; };"),
	  "3: service \"shop\": flip: only a service with the colors green and blue has this; this one has its backends "
	  "without colors; remove it" },
	{ PLAIN("", "nodes = \"mian\"; port = 81;"), "3: service \"shop\": nodes: there is no node pool \"mian\"" },
};

static void
test_without_colors(void **state)
{
	const struct service_config *s;

	(void)state;
	assert_broken(colorless, ARRAY_LEN(colorless));
	s = &good(PLAIN("", "backends = ( { address = \"10.0.0.1:1\"; weight = 3; }, \"web.example:2\" ); health_port = 9;"))->services[0];
	assert_true(s->colorless);
	assert_int_equal(s->colors[GREEN].n_backends, 2);
	assert_int_equal(s->colors[GREEN].backends[0].weight, 3);
	assert_int_equal(s->colors[GREEN].backends[1].health_port, 9);
	assert_int_equal(s->colors[BLUE].n_backends, 0);
	assert_int_equal(t.warnings.n, 0);
	/* What the service says itself counts before what the defaults say, of either kind. */
	s = &good(PLAIN("node_pools: { main = [\"10.0.0.1\", \"10.0.0.2\"]; };"
			" defaults: { nodes = \"main\"; green: { port = 1; }; blue: { port = 2; }; flip: { min_healthy = 2; };"
			" initial = \"blue\"; preview_header = \"X-Preview\"; color_header = true; health_port = 7; };",
			"port = 81;"))->services[0];
	assert_true(s->colorless);
	assert_string_equal(s->pool, "main");
	assert_int_equal(s->colors[GREEN].n_backends, 2);
	assert_int_equal(s->colors[GREEN].backends[1].port, 81);
	assert_int_equal(s->colors[GREEN].health_port, 7);
	assert_int_equal(s->initial, GREEN);
	assert_null(s->http.preview_header);
	assert_false(s->http.color_header);
	s = &good(PLAIN("defaults: { backends = [\"10.0.0.1:1\"]; };",
			"green: { backends = [\"10.0.0.1:2\"]; }; blue: { backends = [\"10.0.0.1:3\"]; };"))->services[0];
	assert_false(s->colorless);
	assert_int_equal(s->colors[GREEN].backends[0].port, 2);
	s = &good(PLAIN("defaults: { backends = [\"10.0.0.1:1\"]; nodes = [\"10.0.0.9\"]; };", "port = 5;"))->services[0];
	assert_true(s->colorless);
	assert_int_equal(s->colors[GREEN].backends[0].port, 5);
}

static const struct broken colors[] = {
	{ POOL("main = [\"10.0.0.1\"];", "nodes = \"main\"; green: { port = 1; };"),
	  "3: service \"shop\": blue is missing; add blue: { port = ...; } or blue: { backends = [...]; }" },
	{ POOL("main = [\"10.0.0.1\"];", "nodes = \"main\"; green: { port = 1; }; blue: { port = 70000; };"),
	  "4: service \"shop\": blue.port: 70000 is out of range: 1 to 65535" },
	{ POOL("main = [\"10.0.0.1\"];", "nodes = \"main\"; green: { port = 1; }; blue: { };"),
	  "4: service \"shop\": blue needs port (with nodes) or backends" },
	{ POOL("main = [\"10.0.0.1\"];", "nodes = \"main\"; green: { port = 1; };\nblue: { port = 1; backends = [\"10.0.0.1:2\"]; };"),
	  "5: service \"shop\": blue has both port and backends; keep one" },
	{ POOL("main = [\"10.0.0.1\"];", "nodes = \"mian\"; green: { port = 1; }; blue: { port = 2; };"),
	  "4: service \"shop\": nodes: there is no node pool \"mian\"; did you mean \"main\"?" },
	{ POOL("main = [\"10.0.0.1:80\"];", "nodes = \"main\"; green: { port = 1; }; blue: { port = 2; };"),
	  "2: node_pools.main: \"10.0.0.1:80\" must not carry a port; each color adds its own" },
	{ POOL("main = [\"10.0.0.1\", \"10.0.0.1\"];", "nodes = \"main\"; green: { port = 1; }; blue: { backends = [\"10.0.0.1:2\"]; };"),
	  "2: node_pools.main: \"10.0.0.1\" is listed twice" },
	{ POOL("main = [];", "nodes = \"main\"; green: { port = 1; }; blue: { port = 2; };"),
	  "2: node_pools.main: the list is empty" },
	{ POOL("main = [\"no host\"];", "nodes = \"main\"; green: { port = 1; }; blue: { port = 2; };"),
	  "2: node_pools.main: \"no host\" is neither an address nor the name of a host" },
	{ TOP("node_pools: { main = { nodes = [\"10.0.0.1\"]; health: { rise = 0; }; }; };"),
	  "2: node_pools.main: health.rise: 0 is out of range: 1 to 1000" },
	{ TOP("node_pools: { main = { nodes = [\"10.0.0.1\"]; health: { path = \"/x\"; }; }; };"),
	  "2: node_pools.main: health.path: belongs to health.type = \"http\"; set that, or remove it" },
	{ TOP("node_pools: { main = { nodes = [\"10.0.0.1\"]; health = 3; }; };"),
	  "2: node_pools.main: health: expected a group { }, found the number 3" },
	{ POOL("main = [1];", "nodes = \"main\"; green: { port = 1; }; blue: { port = 2; };"),
	  "2: node_pools.main: expected a host in double quotes, or a list of them, found the number 1" },
	{ POOL("", "green: { port = 1; }; blue: { backends = [\"10.0.0.1:2\"]; };"),
	  "4: service \"shop\": green has a port but the service has no nodes; add nodes or list backends" },
	{ POOL("", "green: { backends = [\"10.0.0.1:1\"]; };\nblue: { backends = []; };"),
	  "5: service \"shop\": blue.backends: the list is empty; at least one backend is needed" },
	{ POOL("", "green: { backends = [\"10.0.0.1:1\"]; };\nblue: { backends = [\"10.0.0.1\"]; };"),
	  "5: service \"shop\": blue.backends: \"10.0.0.1\": no port; write ADDRESS:PORT, [IPV6]:PORT or NAME:PORT" },
	{ POOL("", "green: { backends = [\"10.0.0.1:1\"]; };\nblue: { backends = [\"::1:80\"]; };"),
	  "5: service \"shop\": blue.backends: \"::1:80\": no port; write ADDRESS:PORT, [IPV6]:PORT or NAME:PORT" },
	{ POOL("", "green: { backends = [\"10.0.0.1:1\"]; };\nblue: { backends = [\"a b:80\"]; };"),
	  "5: service \"shop\": blue.backends: \"a b:80\": neither an address nor a name before the port" },
	{ POOL("", "green: { backends = [\"10.0.0.1:1\"]; };\nblue: { backends = [\"unix:/x\"]; };"),
	  "5: service \"shop\": blue.backends: \"unix:/x\": a backend is an address and a port, not a Unix socket" },
	{ POOL("", "green: { backends = [\"10.0.0.1:1\"]; };\nblue: { backends = [80]; };"),
	  "5: service \"shop\": blue.backends: expected \"ADDRESS:PORT\", found the number 80" },
	{ POOL("", "green: { backends = [\"10.0.0.1:1\"]; };\nblue: { backends = 80; };"),
	  "5: service \"shop\": blue.backends: expected a list such as [\"10.0.0.1:80\"], found the number 80" },
	{ POOL("", "green: { backends = [\"10.0.0.1:1\"]; };\nblue: { backends = ({ weight = 1; }); };"),
	  "5: service \"shop\": blue.backends: a backend needs an address" },
	{ POOL("", "green: { backends = [\"10.0.0.1:1\"]; };\nblue: { backends = ({ address = \"10.0.0.1:2\"; weight = 257; }); };"),
	  "5: service \"shop\": blue.backends.weight: 257 is out of range: 0 to 256" },
	{ POOL("", "green: { backends = [\"10.0.0.1:1\"]; };\nblue: { backends = ({ address = \"10.0.0.1:2\"; weight = 0; }); };"),
	  "5: service \"shop\": blue: every backend has weight 0; none could ever be used" },
	{ SHOP("passive: { eject = 0; };"),
	  "5: service \"shop\": passive.eject: must be above 0; passive.failures = 0 switches ejection off" },
	{ POOL("", "green: { backends = [\"10.0.0.1:1\"]; };\nblue: { backends = [\"10.0.0.1:2\",\n\"10.0.0.1:2\"]; };"),
	  "6: service \"shop\": blue: backend 10.0.0.1:2 is listed twice" },
	{ POOL("", "green: { backends = [\"10.0.0.1:1\"]; };\nblue: { backends = [\"a.b:2\",\n\"A.b:2\"]; };"),
	  "6: service \"shop\": blue: backend A.b:2 is listed twice" },
	{ POOL("", "green: { backends = [\"10.0.0.1:1\"]; };\nblue: { backends = [\"127.0.0.1:80\"]; };"),
	  "5: service \"shop\": blue: backend 127.0.0.1:80 is the service itself, which listens on 0.0.0.0:80" },
	{ POOL("", "green: 10080; blue: { backends = [\"10.0.0.1:2\"]; };"),
	  "4: service \"shop\": green: expected a group { }, found the number 10080" },
};

static void
test_colors(void **state)
{
	(void)state;
	assert_broken(colors, ARRAY_LEN(colors));
}

/* Names are looked up while it runs, and before that only for whoever asks. */
static void
test_names_are_no_errors(void **state)
{
	struct complaints w = { 0 };
	const struct config *config;

	(void)state;
	config = good(POOL("", "green: { backends = [\"no-such-host.invalid:1\", \"localhost:1\"]; };\n"
			       "blue: { backends = [\"no-such-host.invalid:2\", \"10.0.0.1:2\"]; };"));
	assert_int_equal(t.warnings.n, 0);
	config_look_up(config, &w);
	assert_int_equal(w.n, 2);
	assert_begins(w.lines[0], "teal.conf:3: service \"shop\": green: host \"no-such-host.invalid\": ");
	assert_begins(w.lines[1], "teal.conf:3: service \"shop\": blue: host \"no-such-host.invalid\": ");
	complaints_free(&w);
}

/* The rest of these is the machine's to say. */
static void
test_what_the_machine_does_not_know(void **state)
{
	(void)state;
	assert_int_equal(load(SHOP("tcp: { congestion = \"renoo\"; };")), E_USAGE);
	assert_int_equal(t.errors.n, 1);
	assert_begins(
		t.errors.lines[0],
		"teal.conf:5: service \"shop\": tcp.congestion: the kernel knows no \"renoo\"; it has: ");
}

static void
test_all_errors_come_at_once_and_in_order(void **state)
{
	static const char *const expected[] = {
		"teal.conf:1: state_dir is missing: ",
		"teal.conf:2: service \"a\": retries: ",
		"teal.conf:2: service \"a\": unknown key \"nmae\"; did you mean \"name\"?",
		"teal.conf:3: service \"b\": listen: 0.0.0.0:1 clashes with 0.0.0.0:1, listen of service \"a\"",
		"teal.conf:3: service \"b\": engine: \"kernel\" cannot do mode = \"http\": ",
		"teal.conf:5: defaults: health.rise: 0 is out of range",
		"teal.conf:6: workers: ",
	};
	bool seen[ARRAY_LEN(expected)] = { false };
	unsigned last = 0;

	(void)state;
	assert_int_equal(
		load("services = (\n"
		     "{ name = \"a\"; listen = \":1\"; retries = \"x\"; nmae = 1; },\n"
		     "{ name = \"b\"; listen = \":1\"; mode = \"http\"; engine = \"kernel\"; }\n"
		     ");\n"
		     "defaults: { green: { backends = [\"10.0.0.1:1\"]; }; blue: { backends = [\"10.0.0.1:2\"]; }; health: { rise = 0; }; };\n"
		     "workers = \"many\";\n"),
		E_USAGE);
	assert_int_equal(t.errors.n, ARRAY_LEN(expected));
	for (size_t i = 0; i < t.errors.n; i++) {
		unsigned line = (unsigned)strtoul(t.errors.lines[i] + strlen("teal.conf:"), NULL, 10);

		assert_true(line >= last);
		last = line;
		for (size_t k = 0; k < ARRAY_LEN(expected); k++)
			seen[k] |= strncmp(t.errors.lines[i], expected[k], strlen(expected[k])) == 0;
	}
	for (size_t k = 0; k < ARRAY_LEN(expected); k++)
		if (!seen[k])
			fail_msg("missing: %s", expected[k]);
}

static void
test_warnings_do_not_refuse(void **state)
{
	static const struct {
		const char *text, *warning;
	} cases[] = {
		{ POOL("",
		       "green: { backends = [\"10.0.0.1:1\", \"10.0.0.2:1\"]; };\nblue: { backends = [\"10.0.0.2:1\"]; };"),
		  "teal.conf:5: service \"shop\": green and blue share the backend 10.0.0.2:1: a flip changes nothing there" },
		{ SHOP("nodes = [\"10.0.0.1\"];"),
		  "teal.conf:5: service \"shop\": nodes changes nothing: both colors list their backends" },
		{ SHOP("drain: { idle = 0; spread = 1; };"),
		  "teal.conf:5: service \"shop\": drain.spread changes nothing while drain.idle is 0: "
		  "no idle connection is closed early" },
		{ SHOP("flip: { min_healthy = \"1\"; };"),
		  "teal.conf:5: service \"shop\": flip.min_healthy: \"1\" is a count; write \"1%\" if a share is meant, or 1 "
		  "without quotes" },
		{ SHOP("connect_timeout = 5000;"),
		  "teal.conf:5: service \"shop\": connect_timeout: 5000 seconds are 1.4 hours; times are in seconds: "
		  "if milliseconds are meant, write 5" },
		{ SHOP("idle_timeout = 600000;"),
		  "teal.conf:5: service \"shop\": idle_timeout: 600000 seconds are 166.7 hours; times are in seconds: "
		  "if milliseconds are meant, write 600" },
		{ SHOP("health: { interval = 2; timeout = 5; };"),
		  "teal.conf:5: service \"shop\": health.timeout: 5 s is longer than health.interval, 2 s: a backend "
		  "that does not answer is checked less often than that" },
		{ SHOP("health: { interval = 2; fast_interval = 5; };"),
		  "teal.conf:5: service \"shop\": health.fast_interval: 5 s is longer than health.interval, 2 s: a backend "
		  "whose last answer speaks against its state is checked less often than others" },
		{ SHOP("health: { type = \"none\"; port = 83; };"),
		  "teal.conf:5: service \"shop\": health.port changes nothing: health.type = \"none\" makes no checks; remove one of "
		  "them" },
		{ SHOP("health: { type = \"none\"; path = \"/x\"; };"),
		  "teal.conf:5: service \"shop\": health.path changes nothing: health.type = \"none\" makes no checks; remove one of "
		  "them" },
		{ SHOP("health: { type = \"kube-proxy\"; weight = \"endpoints\"; };"),
		  "teal.conf:5: service \"shop\": health.weight: \"endpoints\" changes nothing at port 10256, where kube-proxy tells of "
		  "itself and counts none; set the port, or health_port of a color, to the Service's healthCheckNodePort" },
		{ TOP("node_pools: { spare = [\"10.0.0.9\"]; };"),
		  "teal.conf:2: node_pools.spare is used by no service" },
		{ TOP("observe: { listen = \"127.0.0.1:9180\"; allow = []; };"),
		  "teal.conf:2: observe.allow: an empty list lets every client ask; name networks, or leave it out" },
		{ TOP("workers = 300;"),
		  "teal.conf:2: workers: with 300 of them an upgrade hands no connection over, for it has channels for 253: those "
		  "that are there drain until upgrade.timeout" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		good(cases[i].text);
		assert_int_equal(t.warnings.n, 1);
		assert_string_equal(t.warnings.lines[0], cases[i].warning);
	}
	/* Long on purpose. */
	good(SHOP("idle_timeout = 7200; drain: { timeout = 14400; }; health: { interval = 2; timeout = 2; };"));
	assert_int_equal(t.warnings.n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_and_listeners),
		cmocka_unit_test(test_http_checks),
		cmocka_unit_test(test_checks_elsewhere),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_colors),
		cmocka_unit_test(test_without_colors),
		cmocka_unit_test(test_names_are_no_errors),
		cmocka_unit_test(test_what_the_machine_does_not_know),
		cmocka_unit_test(test_all_errors_come_at_once_and_in_order),
		cmocka_unit_test(test_warnings_do_not_refuse),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
