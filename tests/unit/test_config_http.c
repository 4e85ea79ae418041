/* test_config_http.c - the keys of mode "http", and listeners that services
 * share: what is read, what is refused and why. */
#include "config_file.h"

#define HTTP(keys) SHOP("mode = \"http\"; " keys)
/* The second service begins in line 6. */
#define PAIR_OF(first, second) \
	SHOP(first "},\n{ name = \"b\"; green: { backends = [\"127.0.0.1:91\"]; };" \
		   "blue: { backends = [\"127.0.0.1:92\"]; };\n" second)
#define WEB(keys) "mode = \"http\"; " keys
#define WITH "listen = \"127.0.0.1:80\"; mode = \"http\"; "

static void
test_defaults(void **state)
{
	const struct http_config *h = &good(HTTP(""))->services[0].http;

	(void)state;
	assert_int_equal(t.config->services[0].mode, MODE_HTTP);
	assert_true(h->header_timeout == 10 && h->response_timeout == 60 && h->keepalive_timeout == 60);
	assert_true(h->forwarded && h->request_id);
	assert_false(h->forwarded_header || h->via || h->color_header);
	assert_true(cidr_set_is_empty(&h->forwarded_trust) && cidr_set_is_empty(&h->preview_allow));
	assert_int_equal(h->trace, TRACE_PASS);
	assert_true(h->trace_trust.n == 3 && h->trace_sample == 1.0);
	assert_null(h->preview_header);
	assert_int_equal(h->max_header_size, 32768);
	assert_int_equal(h->max_uri, 8192);
	assert_null(h->default_host);
	assert_int_equal(h->target_utf8, TARGET_UTF8_REFUSE);
	assert_int_equal(h->max_headers, 100);
	assert_int_equal(h->max_body, 0);
	assert_int_equal(h->max_requests, 0);
	assert_int_equal(h->body_min_rate, 500);
	assert_true(h->body_grace == 20);
	assert_int_equal(h->pool_size, 1024);
	assert_true(h->pool_idle == 4);
	assert_int_equal(h->pool_reuse, POOL_SAFE);
	assert_int_equal(h->answers, ANSWERS_LENIENT);
	assert_int_equal(h->backend_protocol, BACKEND_HTTP1);
	assert_int_equal(t.warnings.n, 0);
}

static void
test_keys_are_read(void **state)
{
	const struct service_config *s =
		&good(HTTP("header_timeout = 5; response_timeout = 7.5; keepalive_timeout = 0; forwarded = true;\n"
			   "forwarded_header = true; forwarded_trust = [\"10.0.0.0/8\", \"unix:\"]; via = true;\n"
			   "request_id = false; color_header = true; preview_header = \"X-Try\";\n"
			   "preview_allow = \"192.0.2.1\"; max_header_size = \"16KiB\"; max_uri = 2000;\n"
			   "default_host = \"[::1]:81\"; target_utf8 = \"pass\";"
			   "max_headers = 256; max_body = \"5GiB\"; max_requests = 1000; body_min_rate = 0;\n"
			   "pool_size = 1; pool_idle = 0.5; pool_reuse = \"always\"; answers = \"strict\";\n"
			   "backend_protocol = \"h2\";\n"
			   "passive: { answers = 7; }; hosts = [\"Shop.example.\", \"*.shop.example\", \"[0::1]\"];"))
			 ->services[0];
	const struct http_config *h = &s->http;
	struct addr a;

	(void)state;
	assert_true(h->header_timeout == 5 && h->response_timeout == 7.5 && h->keepalive_timeout == 0);
	assert_true(h->forwarded && h->forwarded_header && h->via && !h->request_id && h->color_header);
	assert_true(addr_parse_ip("10.1.1.1", 0, &a) && cidr_set_match(&h->forwarded_trust, &a));
	assert_true(addr_parse_ip("192.0.2.1", 0, &a) && cidr_set_match(&h->preview_allow, &a));
	assert_string_equal(h->preview_header, "X-Try");
	assert_int_equal(h->max_header_size, 16384);
	assert_int_equal(h->max_uri, 2000);
	assert_string_equal(h->default_host, "[::1]:81");
	assert_int_equal(h->target_utf8, TARGET_UTF8_PASS);
	assert_int_equal(h->max_headers, 256);
	assert_int_equal(h->max_body, 5ull << 30);
	assert_int_equal(h->max_requests, 1000);
	assert_int_equal(h->body_min_rate, 0);
	assert_int_equal(h->pool_size, 1);
	assert_true(h->pool_idle == 0.5);
	assert_int_equal(h->pool_reuse, POOL_ALWAYS);
	assert_int_equal(h->answers, ANSWERS_STRICT);
	assert_int_equal(h->backend_protocol, BACKEND_HTTP2);
	assert_int_equal(s->passive.answers, 7);
	assert_int_equal(s->n_names, 3);
	assert_string_equal(s->names[0], "shop.example");
	assert_string_equal(s->names[1], "*.shop.example");
	assert_string_equal(s->names[2], "[::1]");
	assert_false(s->is_default);
	assert_int_equal(t.warnings.n, 0);
}

/* What the defaults say for http services does not disturb others. */
static void
test_defaults_are_for_whom_they_concern(void **state)
{
	const struct config *c = good(
		"state_dir = \"/s\"; defaults: { max_body = 5; sni = \"tcp.example\"; hosts = \"a\"; };\n" SERVICE(
			"} , { name = \"b\"; mode = \"http\"; listen = \":90\";\n"
			"green: { backends = [\"127.0.0.1:91\"]; }; blue: { backends = [\"127.0.0.1:92\"]; };"));

	(void)state;
	assert_string_equal(c->services[0].names[0], "tcp.example");
	assert_string_equal(c->services[1].names[0], "a");
	assert_int_equal(c->services[1].http.max_body, 5);
	assert_int_equal(t.warnings.n, 0);
}

static const struct broken keys[] = {
	{ SHOP("max_body = 5;"),
	  "5: service \"shop\": max_body: belongs to mode = \"http\"; set that, or remove it" },
	{ SHOP("hosts = [\"shop.example\"];"),
	  "5: service \"shop\": hosts: belongs to mode = \"http\"; set that, or remove it" },
	{ SHOP("forwarded = false;"),
	  "5: service \"shop\": forwarded: belongs to mode = \"http\"; set that, or remove it" },
	{ HTTP("sni = \"shop.example\";"),
	  "5: service \"shop\": sni: belongs to mode = \"tcp\"; set that, or remove it" },
	{ SHOP("sni = \"10.0.0.1\";"),
	  "5: service \"shop\": sni: \"10.0.0.1\": clients name no address in SNI, only names" },
	{ HTTP("hosts = [\"a.example\",\n\"A.example.\"];"),
	  "6: service \"shop\": hosts: \"A.example.\" is listed twice" },
	{ HTTP("hosts = \"shop.example:80\";"),
	  "5: service \"shop\": hosts: \"shop.example:80\": a name without port; an IPv6 address stands in brackets" },
	{ HTTP("hosts = 80;"),
	  "5: service \"shop\": hosts: expected a name in double quotes, or a list of them, found the number 80" },
	{ HTTP("hosts: { };"),
	  "5: service \"shop\": hosts: expected a name in double quotes, or a list of them, found a group { }" },
	{ HTTP("default = 1;"),
	  "5: service \"shop\": default: expected true or false, found the number 1" },
	{ HTTP("forwarded = \"yes\";"),
	  "5: service \"shop\": forwarded: expected true or false, found the text \"yes\"" },
	{ HTTP("max_body = \"5 gigs\";"),
	  "5: service \"shop\": max_body: expected a size in bytes, or with one of KiB MiB GiB TiB kB MB GB such as \"5GiB\", found the text \"5 gigs\"" },
	{ HTTP("max_body = -1;"),
	  "5: service \"shop\": max_body: a size cannot be negative: -1" },
	{ HTTP("max_header_size = 1000;"),
	  "5: service \"shop\": max_header_size: 1000 bytes are out of range: 1024 to 262144" },
	{ HTTP("max_header_size = \"1MiB\";"),
	  "5: service \"shop\": max_header_size: 1048576 bytes are out of range: 1024 to 262144" },
	{ HTTP("default_host = \"a b\";"),
	  "5: service \"shop\": default_host: \"a b\" is no Host; write NAME or NAME:PORT, or \"\" to refuse what has none" },
	{ HTTP("max_uri = 10;"),
	  "5: service \"shop\": max_uri: 10 bytes are out of range: 64 to 262144" },
	{ HTTP("max_headers = 257;"),
	  "5: service \"shop\": max_headers: 257 is out of range: 8 to 256" },
	{ HTTP("max_requests = -1;"),
	  "5: service \"shop\": max_requests: -1 is out of range: 0 to 1000000000" },
	{ HTTP("body_min_rate = \"2GiB\";"),
	  "5: service \"shop\": body_min_rate: 2147483648 bytes are out of range: 0 to 1073741824" },
	{ HTTP("pool_size = 65537;"),
	  "5: service \"shop\": pool_size: 65537 is out of range: 0 to 65536" },
	{ HTTP("body_grace = 0.5;"),
	  "5: service \"shop\": body_grace: 0.5 s is out of range: 1 to 3600" },
	{ HTTP("header_timeout = 3601;"),
	  "5: service \"shop\": header_timeout: 3601 s is out of range: 0 to 3600" },
	{ HTTP("preview_header = \"X Teal\"; preview_allow = \"::/0\";"),
	  "5: service \"shop\": preview_header: \"X Teal\" is not the name of a header of at most 64 bytes" },
	{ HTTP("preview_header = \"host\"; preview_allow = \"::/0\";"),
	  "5: service \"shop\": preview_header: \"Host\" has a meaning of its own; choose a name such as \"X-Teal-Preview\"" },
	{ HTTP("preview_header = 5;"),
	  "5: service \"shop\": preview_header: expected a text in double quotes, found the number 5" },
	{ HTTP("preview_allow = [\"10.0.0.0/33\"];"),
	  "5: service \"shop\": preview_allow: \"10.0.0.0/33\" is not a network such as \"10.0.0.0/8\": a number from 0 to 32 belongs after the /" },
	{ HTTP("plain_listen = \":8081\";"),
	  "5: service \"shop\": plain_listen: belongs to tls; without it listen is plain" },
	{ HTTP("plain_listen = \"8081\";"),
	  "5: service \"shop\": plain_listen: \"8081\": no port; write ADDRESS:PORT, [IPV6]:PORT or unix:/path" },
	{ HTTP("plain = \"refuse\";"),
	  "5: service \"shop\": plain: expected \"redirect\" or \"serve\", found the text \"refuse\"" },
};

static void
test_keys_that_are_wrong(void **state)
{
	(void)state;
	assert_broken(keys, ARRAY_LEN(keys));
}

#define SHARES "of service \"shop\" at teal.conf:5, with which it shares a listener: "

static const struct broken shared[] = {
	{ PAIR_OF(WEB(""), WITH),
	  "7: service \"b\": listen: 127.0.0.1:80 clashes with 127.0.0.1:80, listen of service \"shop\" at teal.conf:2; to share it each needs hosts or default = true" },
	{ PAIR_OF(WEB("hosts = \"a\";"), WITH),
	  "7: service \"b\": listen: 127.0.0.1:80 clashes with 127.0.0.1:80, listen of service \"shop\" at teal.conf:2; to share it each needs hosts or default = true" },
	{ PAIR_OF("sni = \"a\";", "listen = \"127.0.0.1:80\";"),
	  "7: service \"b\": listen: 127.0.0.1:80 clashes with 127.0.0.1:80, listen of service \"shop\" at teal.conf:2; to share it each needs sni or default = true" },
	{ PAIR_OF("sni = \"a\";", WITH "hosts = \"b\";"),
	  "7: service \"b\": listen: 127.0.0.1:80 clashes with 127.0.0.1:80, listen of service \"shop\" at teal.conf:2; to share it both must be of one mode" },
	{ PAIR_OF(WEB("hosts = \"a\";"), "listen = \":90\"; preview = \"127.0.0.1:80\"; mode = \"http\"; hosts = \"b\";"),
	  "7: service \"b\": preview: 127.0.0.1:80 clashes with 127.0.0.1:80, listen of service \"shop\" at teal.conf:2" },
	{ PAIR_OF(WEB("hosts = \"a\";"), "listen = \":80\"; mode = \"http\"; hosts = \"b\";"),
	  "7: service \"b\": listen: 0.0.0.0:80 clashes with 127.0.0.1:80, listen of service \"shop\" at teal.conf:2" },
	{ PAIR_OF(WEB("hosts = \"a\";"), "listen = [\"127.0.0.1:80\",\n\"127.0.0.1:80\"]; mode = \"http\"; hosts = \"b\";"),
	  "8: service \"b\": listen: 127.0.0.1:80 clashes with 127.0.0.1:80, listen of service \"b\" at teal.conf:7" },
	{ PAIR_OF(WEB("hosts = [\"x\", \"a.example\"];"), WITH "hosts = [\"b\",\n\"A.example\"];"),
	  "8: service \"b\": hosts: \"a.example\" is also that of service \"shop\" at teal.conf:5, with which it shares a listener" },
	{ PAIR_OF("sni = \"*.a\";", "listen = \"127.0.0.1:80\"; sni = \"*.a\";"),
	  "7: service \"b\": sni: \"*.a\" is also that of service \"shop\" at teal.conf:5, with which it shares a listener" },
	{ PAIR_OF(WEB("default = true;"), WITH "hosts = \"b\";\ndefault = true;"),
	  "8: service \"b\": default: so is service \"shop\" at teal.conf:5, with which it shares a listener" },
	{ PAIR_OF(WEB("hosts = \"a\"; tcp: { backlog = 10; };"), WITH "hosts = \"b\";\ntcp: { backlog = 11; };"),
	  "8: service \"b\": tcp.backlog: differs from that " SHARES "it belongs to the listener" },
	{ PAIR_OF(WEB("hosts = \"a\"; tcp: { keepalive = true; };"), WITH "hosts = \"b\";\ntcp: { keepalive = false; };"),
	  "8: service \"b\": tcp.keepalive: differs from that " SHARES "it belongs to the listener" },
	{ PAIR_OF(WEB("hosts = \"a\"; tcp: { keepalive_idle = 5; };"), WITH "hosts = \"b\";\ntcp: { keepalive_idle = 6; };"),
	  "8: service \"b\": tcp.keepalive_idle: differs from that " SHARES "it belongs to the listener" },
	{ PAIR_OF(WEB("hosts = \"a\"; tcp: { user_timeout = 1; };"), WITH "hosts = \"b\";\ntcp: { user_timeout = 2; };"),
	  "8: service \"b\": tcp.user_timeout: differs from that " SHARES "it belongs to the listener" },
	{ PAIR_OF(WEB("hosts = \"a\"; proxy_protocol: { accept_from = \"10.0.0.0/8\"; };"), WITH "hosts = \"b\";"),
	  "6: service \"b\": proxy_protocol.accept_from: differs from that " SHARES "it counts before the name is known" },
	{ PAIR_OF(WEB("hosts = \"a\"; target_utf8 = \"pass\";"), WITH "hosts = \"b\";"),
	  "6: service \"b\": target_utf8: differs from that " SHARES "it counts before the name is known" },
	{ PAIR_OF(WEB("hosts = \"a\"; max_headers = 50;"), WITH "hosts = \"b\";"),
	  "6: service \"b\": max_headers: differs from that " SHARES "it counts before the name is known" },
	{ PAIR_OF(WEB("hosts = \"a\"; max_uri = 500;"), WITH "hosts = \"b\";\nmax_uri = 400;"),
	  "8: service \"b\": max_uri: differs from that " SHARES "it counts before the name is known" },
	{ PAIR_OF(WEB("hosts = \"a\"; max_header_size = 5000; max_uri = 500;"), WITH "hosts = \"b\"; max_uri = 500;"),
	  "6: service \"b\": max_header_size: differs from that " SHARES "it counts before the name is known" },
	{ PAIR_OF(WEB("hosts = \"a\"; header_timeout = 5;"), WITH "hosts = \"b\";"),
	  "6: service \"b\": header_timeout: differs from that " SHARES "it counts before the name is known" },
};

static void
test_sharers_that_do_not_fit(void **state)
{
	(void)state;
	assert_broken(shared, ARRAY_LEN(shared));
}

/* However many listeners they share. */
static void
test_what_does_not_fit_is_said_once(void **state)
{
	(void)state;
	assert_int_equal(load(PAIR_OF(WEB("hosts = \"a\"; max_headers = 50; preview = [\":70\", \":71\"];"),
				      WITH "hosts = \"a\"; preview = [\":70\", \":71\"];")),
			 E_USAGE);
	assert_int_equal(t.errors.n, 2);
}

static void
test_sharers_that_fit(void **state)
{
	(void)state;
	good(PAIR_OF(WEB("hosts = \"a\"; max_body = 5; connect_timeout = 1; preview = \":90\";"),
		     WITH "hosts = \"b\"; balance = \"p2c\"; preview = \":90\";"));
	good(PAIR_OF(WEB("hosts = [\"a\", \"*.a\"];"), WITH "default = true;"));
	good(PAIR_OF("sni = [\"a\", \"*.a\"];", "listen = \"127.0.0.1:80\"; default = true;"));
	assert_int_equal(t.warnings.n, 0);
	good(PAIR_OF(WEB("hosts = \"a\"; queue_timeout = 1; preview = \":90\";"),
		     WITH "hosts = \"b\"; preview = \":90\";"));
	assert_int_equal(t.warnings.n, 1);
	assert_string_equal(
		t.warnings.lines[0],
		"teal.conf:5: service \"shop\": queue_timeout changes nothing on listeners that are shared: "
		"no client waits for a place there");
}

static void
test_warnings(void **state)
{
	static const struct {
		const char *text, *warning;
	} cases[] = {
		{ HTTP("preview_header = \"X-Try\";"),
		  "preview_header changes nothing: preview_allow is empty, so no client may use it" },
		{ HTTP("preview_allow = \"10.0.0.0/8\";"),
		  "preview_allow changes nothing without preview_header" },
		{ HTTP("trace = \"off\"; trace_trust = \"10.0.0.0/8\";"), 
		  "trace_trust changes nothing while trace is \"off\": what clients say passes as it is" },
		{ HTTP("trace_sample = 0.5;"), 
		  "trace_sample changes nothing unless trace is \"begin\": no trace begins here" },
		{ HTTP("forwarded_trust = \"10.0.0.0/8\"; forwarded = false;"),
		  "forwarded_trust changes nothing while forwarded is false" },
		{ HTTP("forwarded_header = true; forwarded = false;"),
		  "forwarded_header changes nothing while forwarded is false" },
		{ HTTP("max_uri = \"32KiB\";"),
		  "max_uri changes nothing: max_header_size ends a head before" },
		{ HTTP("body_grace = 3; body_min_rate = 0;"),
		  "body_grace changes nothing while body_min_rate is 0" },
		{ HTTP("pool_idle = 3; pool_size = 0;"),
		  "pool_idle changes nothing while pool_size is 0: no connection is kept" },
		{ HTTP("pool_size = 3; proxy_protocol: { send = \"v2\"; };"),
		  "pool_size changes nothing with proxy_protocol.send: a connection speaks for one client" },
		{ HTTP("plain = \"serve\";"), "plain changes nothing without plain_listen" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *expected = must_printf("teal.conf:5: service \"shop\": %s", cases[i].warning);

		good(cases[i].text);
		assert_int_equal(t.warnings.n, 1);
		assert_string_equal(t.warnings.lines[0], expected);
		free(expected);
	}
	/* Nobody asked for a limit that another one covers. */
	good(HTTP("max_header_size = \"4KiB\";"));
	assert_int_equal(t.warnings.n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_keys_are_read),
		cmocka_unit_test(test_defaults_are_for_whom_they_concern),
		cmocka_unit_test(test_keys_that_are_wrong),
		cmocka_unit_test(test_sharers_that_do_not_fit),
		cmocka_unit_test(test_what_does_not_fit_is_said_once),
		cmocka_unit_test(test_sharers_that_fit),
		cmocka_unit_test(test_warnings),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
