/* config_health.c - the group health: how backends are checked, and what of it fits
 * together.  Start-up thread only. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/config_draft.h"
#include "model/kube_health.h"
#include "proto/grpc.h"

#define AT(member) .offset = offsetof(struct service_draft, member)
/* A shorter interval would only be load. */
#define INTERVAL_MIN 0.01
#define STEPS_MAX 32
#define STEP_BYTES_MAX 4096
#define HEADERS_MAX 32
#define TEXT_MAX 8192
#define TOKEN "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static const char *const health_words[] = { "tcp", "http", "none", "tls", "udp", "kube-proxy", "grpc", NULL };

const char *
health_word(enum health_type t)
{
	return health_words[t];
}

static const char *const weight_words[] = { "configured", "endpoints", NULL };
static const char *const proxy_words[] = { "auto", "none", "v1", "v2", NULL };

static key_reader key_steps, key_check_headers;

static const struct key health_agent_keys[] = {
	{ KEY("port", key_count), AT(s.health.agent.port), .min = 1, .max = 65535 },
	{ KEY("interval", key_seconds), AT(s.health.agent.interval), .max = 86400 },
	{ KEY("send", key_text), AT(s.health.agent.send) },
	{ 0 },
};

const struct key health_keys[] = {
	{ KEY("type", key_word), AT(s.health.type), .words = health_words },
	{ KEY("interval", key_seconds), AT(s.health.interval), .max = 86400 },
	{ KEY("fast_interval", key_seconds), AT(s.health.fast_interval), .max = 86400 },
	{ KEY("timeout", key_seconds), AT(s.health.timeout), .max = 300 },
	{ KEY("rise", key_count), AT(s.health.rise), .min = 1, .max = 1000 },
	{ KEY("fall", key_count), AT(s.health.fall), .min = 1, .max = 1000 },
	{ KEY("agent", key_group), .keys = health_agent_keys },
	{ KEY("weight", key_word), AT(s.health.weight), .words = weight_words },
	{ KEY("path", key_text), AT(s.health.path) },
	{ KEY("host", key_text), AT(s.health.host) },
	{ KEY("service", key_text), AT(s.health.service) },
	{ KEY("method", key_text), AT(s.health.method) },
	{ KEY("headers", key_check_headers) },
	{ KEY("body", key_text), AT(s.health.body) },
	{ KEY("expect", key_text), AT(s.health.expect_text) },
	{ KEY("expect_body", key_text), AT(s.health.expect_body) },
	{ KEY("steps", key_steps) },
	{ KEY("send_proxy", key_word), AT(s.health.send_proxy), .words = proxy_words },
	{ KEY("tls", key_health_tls), .keys = health_tls_keys },
	{ KEY("port", key_count), AT(s.health.port), .min = 1, .max = 65535 },
	{ KEY("address", key_health_address), AT(s.health.address) },
	{ 0 },
};

/* -- lists ------------------------------------------------------------------- */

static void
clear_steps(struct health_config *h)
{
	for (size_t i = 0; i < h->n_steps; i++)
		free(h->steps[i].bytes);
	free(h->steps);
	h->steps = NULL;
	h->n_steps = 0;
}

static void
clear_headers(struct health_config *h)
{
	for (size_t i = 0; i < h->n_headers; i++)
		free(h->headers[i]);
	free(h->headers);
	h->headers = NULL;
	h->n_headers = 0;
}

void
health_config_clear(struct health_config *h)
{
	clear_steps(h);
	clear_headers(h);
	free(h->path);
	free(h->host);
	free(h->service);
	free(h->method);
	free(h->body);
	free(h->expect_text);
	free(h->expect_body);
	free(h->agent.send);
}

/* "00 ff10": blanks between bytes do no harm.  False: that is none. */
static bool
read_hex(const char *text, struct check_step *step)
{
	step->bytes = must_alloc(strlen(text) / 2 + 1);
	for (; *text != '\0'; text++) {
		if (*text == ' ')
			continue;
		if (hex_digit(text[0]) < 0 || hex_digit(text[1]) < 0)
			return false;
		step->bytes[step->n++] = (char)(hex_digit(text[0]) * 16 + hex_digit(text[1]));
		text++;
	}
	return true;
}

/* NULL, or what is wrong with it. */
static const char *
read_step(const config_setting_t *item, struct check_step *step)
{
	static const struct {
		const char *name;
		bool expect, hex;
	} kinds[] = { { "send", false, false }, { "send_hex", false, true }, { "expect", true, false }, { "expect_hex", true, true } };
	const config_setting_t *value;

	if (config_setting_type(item) != CONFIG_TYPE_GROUP || config_setting_length(item) != 1)
		return "a step is a group of one key: { send = \"PING\\r\\n\"; }, send_hex, expect or expect_hex";
	value = config_setting_get_elem(item, 0);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (strcmp(config_setting_name(value), kinds[i].name) != 0)
			continue;
		if (config_setting_type(value) != CONFIG_TYPE_STRING)
			return "what is sent and expected is a text in double quotes";
		step->expect = kinds[i].expect;
		if (!kinds[i].hex) {
			step->bytes = must_strdup(config_setting_get_string(value));
			step->n = strlen(step->bytes);
		} else if (!read_hex(config_setting_get_string(value), step)) {
			return "hex is two digits for each byte, such as \"00 ff\"";
		}
		return step->n == 0		    ? "nothing at all can neither be sent nor expected" :
		       step->n > STEP_BYTES_MAX ? "more than 4096 bytes in one step" :
						  NULL;
	}
	return "a step is one of send, send_hex, expect and expect_hex";
}

static void
key_steps(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct health_config *h = &((struct service_draft *)c->base)->s.health;
	size_t n;

	(void)k;
	clear_steps(h);
	if (config_setting_type(s) != CONFIG_TYPE_LIST) {
		cursor_key_error(c, s, "expected a list of groups ( { send = \"…\"; }, { expect = \"…\"; } ), found %s",
				 cursor_found(s).s);
		return;
	}
	n = (size_t)config_setting_length(s);
	if (n > STEPS_MAX) {
		cursor_key_error(c, s, "more than %d steps", STEPS_MAX);
		return;
	}
	h->steps = must_array(n + 1, sizeof(*h->steps));
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *item = config_setting_get_elem(s, (unsigned)i);
		const char *wrong = read_step(item, &h->steps[h->n_steps++]);

		if (wrong != NULL)
			cursor_key_error(c, item, "%s", wrong);
	}
}

/* Of a header what is before the colon; 0: it is none. */
static size_t
header_name(const char *text)
{
	size_t n = strspn(text, TOKEN);

	return text[n] == ':' ? n : 0;
}

static bool
is_field_text(const char *text)
{
	for (; *text != '\0'; text++)
		if (((unsigned char)*text < ' ' && *text != '\t') || *text == 0x7f)
			return false;
	return true;
}

static const char *
header_problem(const char *text)
{
	/* Their values follow from other keys, or end the message elsewhere. */
	static const char *const own[] = { "Host", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Expect", "TE" };
	size_t n = header_name(text);

	if (n == 0 || strlen(text) > TEXT_MAX || !is_field_text(text))
		return "write \"Name: value\", without line ends";
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		if (strncasecmp(text, own[i], n) == 0 && own[i][n] == '\0')
			return i == 0 ? "is the key health.host" : "is said by the check itself";
	return NULL;
}

static void
key_check_headers(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct health_config *h = &((struct service_draft *)c->base)->s.health;

	(void)k;
	clear_headers(h);
	if (!cursor_texts(c, s, "a header"))
		return;
	if (cursor_items(s) > HEADERS_MAX) {
		cursor_key_error(c, s, "more than %d headers", HEADERS_MAX);
		return;
	}
	h->headers = must_array(cursor_items(s) + 1, sizeof(*h->headers));
	for (size_t i = 0; i < cursor_items(s); i++) {
		const char *text = config_setting_get_string(cursor_item(s, i)), *wrong = header_problem(text);

		if (wrong != NULL)
			cursor_key_error(c, cursor_item(s, i), "\"%s\": %s", show(text).s, wrong);
		else
			h->headers[h->n_headers++] = must_strdup(text);
	}
}

/* -- what fits together ---------------------------------------------------------- */

/* Fit for a request line or a header: no blanks, nothing unprintable. */
static bool
is_header_text(const char *text)
{
	for (; *text != '\0'; text++)
		if (*text <= ' ' || *text == 0x7f || (unsigned char)*text >= 0x80)
			return false;
	return true;
}

static bool
is_one_of_types(enum health_type type, unsigned types)
{
	return (types & 1u << type) != 0;
}

/* Keys that other types do not know, or that the type none leaves without a meaning.  Inherited from the
 * defaults they do no harm. */
void
draft_check_health_keys(const struct cursor *c, const struct service_draft *s)
{
	static const unsigned http = 1u << HEALTH_HTTP, talks = 1u << HEALTH_TCP | 1u << HEALTH_HANDSHAKE | 1u << HEALTH_UDP,
			      kube = 1u << HEALTH_KUBE_PROXY, grpc = 1u << HEALTH_GRPC, any = http | talks | kube | grpc;
	const struct {
		const char *key;
		unsigned types;
		const char *are;
	} only[] = {
		{ "path", http, "\"http\"" },
		{ "host", http | grpc, "\"http\" or \"grpc\"" },
		{ "service", grpc, "\"grpc\"" },
		{ "expect", http, "\"http\"" },
		{ "method", http, "\"http\"" },
		{ "headers", http, "\"http\"" },
		{ "body", http, "\"http\"" },
		{ "expect_body", http, "\"http\"" },
		{ "steps", talks, "\"tcp\", \"tls\" or \"udp\"" },
		{ "weight", kube, "\"kube-proxy\"" },
		{ "interval", s->s.health.agent.port != 0 ? ~0u : any, "" },
		{ "fast_interval", any, "" },
		{ "rise", any, "" },
		{ "fall", any, "" },
		{ "port", any, "" },
		{ "address", any, "" },
		{ "send_proxy", any, "" },
		{ "tls", any, "" },
	};
	const config_setting_t *group = config_setting_get_member(s->at, "health"), *own;

	for (size_t i = 0; i < ARRAY_LEN(only); i++) {
		if (group == NULL || (own = config_setting_get_member(group, only[i].key)) == NULL ||
		    is_one_of_types(s->s.health.type, only[i].types))
			continue;
		if (s->s.health.type == HEALTH_NONE)
			cursor_warn(c, own, "health.%s changes nothing: health.type = \"none\" makes no checks; remove one of them",
				    only[i].key);
		else
			cursor_error(c, own, "health.%s: belongs to health.type = %s; set %s, or remove it", only[i].key,
				     only[i].are, only[i].types == http || only[i].types == kube || only[i].types == grpc ? "that" : "one");
	}
}

void
draft_settle_health(struct service_config *s)
{
	if (s->health.type == HEALTH_KUBE_PROXY && s->health.port == 0)
		s->health.port = KUBE_PROXY_PORT;
}

static void
check_kube_proxy(const struct cursor *c, const struct service_draft *s)
{
	const struct health_config *h = &s->s.health;

	if (h->type != HEALTH_KUBE_PROXY || h->weight != HEALTH_WEIGHT_ENDPOINTS)
		return;
	for (int color = GREEN; color < COLORS; color++)
		for (size_t i = 0; i < s->s.colors[color].n_backends; i++) {
			if (s->s.colors[color].backends[i].health_port != KUBE_PROXY_PORT)
				continue;
			cursor_warn(c, draft_at(s, "health.weight"),
				    "health.weight: \"endpoints\" changes nothing at port %d, where kube-proxy tells of itself and counts "
				    "none; set the port, or health_port of a color, to the Service's healthCheckNodePort",
				    KUBE_PROXY_PORT);
			return;
		}
}

static void
check_http_check(const struct cursor *c, struct service_draft *s)
{
	struct health_config *h = &s->s.health;

	if (h->path != NULL && (h->path[0] != '/' || !is_header_text(h->path)))
		cursor_error(
			c, draft_at(s, "health.path"),
			"health.path: must begin with / and have neither blanks nor unprintable characters");
	if (h->host != NULL && !is_header_text(h->host))
		cursor_error(c, draft_at(s, "health.host"),
			     "health.host: must have neither blanks nor unprintable characters");
	if (h->service != NULL && strlen(h->service) > GRPC_SERVICE_MAX)
		cursor_error(c, draft_at(s, "health.service"), "health.service: has more than %d bytes", GRPC_SERVICE_MAX);
	if (h->method != NULL && (h->method[strspn(h->method, TOKEN)] != '\0' || strcmp(h->method, "CONNECT") == 0))
		cursor_error(c, draft_at(s, "health.method"),
			     "health.method: \"%.40s\" is no method that a check could use; write GET, HEAD, OPTIONS or the like",
			     h->method);
	if (h->method != NULL && strcmp(h->method, "HEAD") == 0 && h->expect_body != NULL)
		cursor_error(c, draft_at(s, "health.expect_body"),
			     "health.expect_body: an answer to HEAD has no body; choose another health.method");
	if (!status_set_parse(h->expect_text != NULL ? h->expect_text : "200-399", &h->expect))
		cursor_error(
			c, draft_at(s, "health.expect"),
			"health.expect: \"%.40s\" is no list of status codes; write \"200-399\" or \"200,204\"",
			h->expect_text);
	if (h->path == NULL)
		h->path = must_strdup("/");
}

static void
check_agent(const struct cursor *c, const struct service_draft *s)
{
	const struct health_config *h = &s->s.health;

	if (h->agent.port == 0 && (h->agent.interval > 0 || h->agent.send != NULL))
		cursor_error(c, draft_at(s, "health.agent"), "health.agent: needs the port where agents answer: agent: { port = 9707; }");
	if (h->agent.interval > 0 && h->agent.interval < INTERVAL_MIN)
		cursor_error(c, draft_at(s, "health.agent.interval"), "health.agent.interval: must be at least %g seconds", INTERVAL_MIN);
}

static void
check_udp(const struct cursor *c, const struct service_draft *s)
{
	const struct health_config *h = &s->s.health;

	if (h->type != HEALTH_UDP)
		return;
	if (h->n_steps == 0 || h->steps[0].expect)
		cursor_error(c, draft_at(s, h->n_steps == 0 ? "health.type" : "health.steps"),
			     "health.steps: type \"udp\" begins with what is sent: steps = ( { send = \"…\"; }, { expect = \"…\"; } )");
	if (h->tls == HEALTH_TLS_ON || h->tls == HEALTH_TLS_OWN)
		cursor_error(c, draft_at(s, "health.tls"), "health.tls: there is none over UDP; remove it");
	if (h->send_proxy > CHECK_PROXY_NONE)
		cursor_error(c, draft_at(s, "health.send_proxy"), "health.send_proxy: there is none over UDP; remove it");
}

void
draft_check_health(const struct cursor *c, struct service_draft *s)
{
	const struct health_config *h = &s->s.health;

	draft_check_health_keys(c, s);
	check_http_check(c, s);
	check_udp(c, s);
	check_kube_proxy(c, s);
	check_agent(c, s);
	if (h->type == HEALTH_NONE)
		return;
	if (h->interval < INTERVAL_MIN || (h->fast_interval > 0 && h->fast_interval < INTERVAL_MIN))
		cursor_error(
			c, draft_at(s, h->interval < INTERVAL_MIN ? "health.interval" : "health.fast_interval"),
			"health.%s: must be at least %g seconds; health.type = \"none\" switches checks off",
			h->interval < INTERVAL_MIN ? "interval" : "fast_interval", INTERVAL_MIN);
	if (h->timeout <= 0)
		cursor_error(c, draft_at(s, "health.timeout"),
			     "health.timeout: must be above 0; health.type = \"none\" switches checks off");
	else if (h->timeout > h->interval && h->interval >= INTERVAL_MIN)
		cursor_warn(c, draft_at(s, "health.timeout"),
			    "health.timeout: %.9g s is longer than health.interval, %.9g s: a backend that does not answer "
			    "is checked less often than that",
			    h->timeout, h->interval);
	if (h->fast_interval > h->interval && h->interval >= INTERVAL_MIN)
		cursor_warn(c, draft_at(s, "health.fast_interval"),
			    "health.fast_interval: %.9g s is longer than health.interval, %.9g s: a backend whose last answer "
			    "speaks against its state is checked less often than others",
			    h->fast_interval, h->interval);
}
