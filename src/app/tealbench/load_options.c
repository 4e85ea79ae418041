/* load_options.c - what a load is asked to do: the options, whether they make
 * sense together, and what all its threads share.  Main thread, start-up. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "app/tealbench/endpoint.h"
#include "app/tealbench/load.h"
#include "app/tealbench/load_http2.h"
#include "app/tealbench/pattern.h"

#define DEFAULT_DURATION 10.
/* With --requests alone the time is bounded too. */
#define MAX_DURATION 3600.
/* Idle connections for each loopback address: ports 32768-60999, less some
 * for other programs. */
#define PORTS_PER_SOURCE 25000
#define HEAD_MAX 65536
/* RFC 6455 section 4.1.  The same key each time: it protects from caches, and
 * there is none here. */
#define UPGRADE_FIELDS                                                                        \
	"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define DATAGRAM_MAX 65507	/* of UDP over IPv4 */

size_t
load_options(struct load_config *c, const char **mode, bool *unchecked,
	     struct option_spec table[LOAD_OPTIONS_MAX])
{
	const struct option_spec options[] = {
		{ "target", OPTION_TEXT, &c->target_text, 0, 0 },
		{ "mode", OPTION_TEXT, mode, 0, 0 },
		{ "connections", OPTION_COUNT, &c->connections, 1, 1000000 },
		{ "threads", OPTION_COUNT, &c->threads, 1, LOAD_THREADS_MAX },
		{ "duration", OPTION_SECONDS, &c->duration, 0, 0 },
		{ "requests", OPTION_COUNT, &c->requests, 1, INT64_MAX },
		{ "rate", OPTION_COUNT, &c->rate, 1, 10000000 },
		{ "size", OPTION_SIZE, &c->size, 1, INT64_MAX },
		{ "path", OPTION_TEXT, &c->path, 0, 0 },
		{ "host", OPTION_TEXT, &c->host, 0, 0 },
		{ "header", OPTION_LIST, &c->headers, 0, 0 },
		{ "name-header", OPTION_TEXT, &c->name_header, 0, 0 },
		{ "body", OPTION_SIZE, &c->body, 1, INT64_MAX },
		{ "per-connection", OPTION_COUNT, &c->per_connection, 1, INT64_MAX },
		{ "tls", OPTION_FLAG, &c->tls, 0, 0 },
		{ "sni", OPTION_TEXT, &c->sni, 0, 0 },
		{ "ca", OPTION_TEXT, &c->ca, 0, 0 },
		{ "insecure", OPTION_FLAG, &c->insecure, 0, 0 },
		{ "resume", OPTION_FLAG, &c->resume, 0, 0 },
		{ "timeout", OPTION_SECONDS, &c->timeout, 0, 0 },
		{ "sources", OPTION_COUNT, &c->sources, 1, 250 },
		{ "ports", OPTION_COUNT, &c->ports, 1, 60000 },
		{ "congestion", OPTION_TEXT, &c->congestion, 0, 0 },
		{ "hello", OPTION_FLAG, &c->hello, 0, 0 },
		{ "half-close", OPTION_FLAG, &c->half_close, 0, 0 },
		{ "lasting", OPTION_FLAG, &c->lasting, 0, 0 },
		{ "no-check", OPTION_FLAG, unchecked, 0, 0 },
		{ "json", OPTION_FLAG, &c->json, 0, 0 },
		{ "yes-i-own-this-target", OPTION_FLAG, &c->own, 0, 0 },
	};

	_Static_assert(ARRAY_LEN(options) <= LOAD_OPTIONS_MAX, "no room for all options");
	*c = (struct load_config){ .connections = 1,
				   .threads = 1,
				   .duration = -1,
				   .timeout = 10,
				   .name_header = "x-backend" };
	buf_init(&c->request, HEAD_MAX);
	memcpy(table, options, sizeof(options));
	return ARRAY_LEN(options);
}

static enum err
parse_target(struct load_config *c, struct why *why)
{
	const char *text = c->target_text, *colon = strrchr(text, ':');
	char host[256], shown[ADDR_TEXT];
	uint64_t port;
	enum err e = addr_parse(text, 0, &c->target, why);

	/* Not an address: a name, then. */
	if (e != OK && colon != NULL && memchr(text, ':', (size_t)(colon - text)) == NULL &&
	    str_copy(host, sizeof(host), (struct str){ text, (size_t)(colon - text) }) && host[0] != '\0' &&
	    str_to_u64(str_from(colon + 1), 65535, &port) && port > 0)
		e = addr_resolve(host, (unsigned)port, &c->target, why);
	if (e != OK)
		return e;
	if (!c->own && !endpoint_is_private(&c->target))
		return why_set(why, E_DENIED,
			       "%s is neither on this machine nor in a private range; load only what is "
			       "yours, and say so with --yes-i-own-this-target",
			       addr_format(&c->target, shown));
	return OK;
}

static bool
is_plain_field(const char *text)
{
	for (; *text != '\0'; text++)
		if (iscntrl((unsigned char)*text))
			return false;
	return true;
}

static enum err
build_head(struct load_config *c, const char *host, struct why *why)
{
	struct buf *b = &c->request;
	bool good;

	if (c->mode->alpn != NULL)
		return load_http2_request(b, c->path, host, c->tls, &c->headers) ?
			       OK :
			       why_set(why, E_USAGE, "the request's head is longer than a frame of HTTP/2");
	good = buf_printf(b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: tealbench\r\n",
			  c->body > 0 ? "POST" : "GET", c->path, host);
	for (unsigned i = 0; i < c->headers.n; i++)
		good = good && buf_printf(b, "%s\r\n", c->headers.item[i]);
	if (c->body > 0)
		good = good && buf_printf(b, "Content-Length: %" PRIu64 "\r\n", c->body);
	good = good && buf_printf(b, "%s\r\n",
				  c->mode->fresh     ? "Connection: close\r\n"
				  : c->mode->upgrade ? UPGRADE_FIELDS
						     : "");
	return good ? OK : why_set(why, E_USAGE, "the request's head is longer than %d bytes", HEAD_MAX);
}

static enum err
build_request(struct load_config *c, struct why *why)
{
	static const struct str prefix = { "/bytes/", 7 };
	const char *colon, *host = c->host;
	enum err e;
	uint64_t n;

	if (host == NULL)
		host = addr_family(&c->target) == AF_UNIX ? "localhost" : c->target_text;
	if (!is_plain_field(host))
		return why_set(why, E_USAGE, "--host: control characters have no place there");
	for (unsigned i = 0; i < c->headers.n; i++) {
		colon = strchr(c->headers.item[i], ':');
		if (colon == NULL || colon == c->headers.item[i] || !is_plain_field(c->headers.item[i]))
			return why_set(why, E_USAGE, "--header=%s: \"Name: value\" expected",
				       c->headers.item[i]);
	}
	if ((e = build_head(c, host, why)) != OK)
		return e;
	if (strncmp(c->path, prefix.p, prefix.n) == 0 &&
	    str_to_u64(str_from(c->path + prefix.n), INT64_MAX, &n)) {
		c->pattern_body = true;
		c->size = n;
	} else if (c->body > 0 && strcmp(c->path, "/echo") == 0) {
		c->pattern_body = true;
		c->size = c->body;
	}
	return OK;
}

static enum err
check_http(const struct load_config *c, struct why *why)
{
	if (!c->mode->http && (c->body > 0 || c->headers.n > 0 || c->per_connection > 0))
		return why_set(why, E_USAGE, "--body, --header and --per-connection belong to http");
	if (c->mode->alpn != NULL && c->body > 0)
		return why_set(why, E_USAGE, "--body has no meaning with --mode=%s", c->mode->word);
	if (c->mode->upgrade && (c->body > 0 || c->per_connection > 0))
		return why_set(why, E_USAGE, "--body and --per-connection have no meaning with --mode=ws");
	if (c->mode->http &&
	    (c->path[0] != '/' || strlen(c->path) > 8000 || strpbrk(c->path, " \t\r\n") != NULL))
		return why_set(why, E_USAGE, "--path=%s: it begins with / and has no white space", c->path);
	if (c->mode->http && c->name_header[0] == '\0')
		return why_set(why, E_USAGE, "--name-header needs a name");
	return OK;
}

static enum err
check_datagrams(const struct load_config *c, struct why *why)
{
	if (!c->mode->datagram)
		return OK;
	if (addr_family(&c->target) == AF_UNIX)
		return why_set(why, E_USAGE, "--mode=%s: the target is an address and a port", c->mode->word);
	if (c->size > DATAGRAM_MAX)
		return why_set(why, E_USAGE, "--size=%" PRIu64 ": a datagram has at most %d bytes", c->size,
			       DATAGRAM_MAX);
	if (c->tls || c->hello || c->half_close || c->congestion != NULL)
		return why_set(why, E_USAGE,
			       "--tls, --hello, --half-close and --congestion have no meaning with --mode=%s",
			       c->mode->word);
	return OK;
}

static enum err
check_load_options(struct load_config *c, struct why *why)
{
	if (c->hello && (c->mode->http || c->mode->bulk))
		return why_set(why, E_USAGE, "--hello belongs to tcp-small, tcp-connect and tcp-idle");
	if (c->lasting && (c->mode->fresh || c->mode->hold || c->mode->bulk))
		return why_set(why, E_USAGE, "--lasting belongs to http, ws and tcp-small");
	if (c->half_close && (c->mode->http || c->mode->bulk || !c->mode->fresh))
		return why_set(why, E_USAGE, "--half-close belongs to tcp-connect");
	if (!c->tls && (c->sni != NULL || c->ca != NULL || c->insecure || c->resume))
		return why_set(why, E_USAGE, "--sni, --ca, --insecure and --resume belong to --tls");
	if (c->ca != NULL && c->insecure)
		return why_set(why, E_USAGE, "--ca and --insecure contradict each other");
	if (c->rate > 0 && (c->mode->hold || c->mode->bulk))
		return why_set(why, E_USAGE, "--rate has no meaning with --mode=%s", c->mode->word);
	if (c->mode->hold && c->requests > 0)
		return why_set(why, E_USAGE, "--requests has no meaning with --mode=%s", c->mode->word);
	if (!(c->timeout > 0) || !(c->duration > 0))
		return why_set(why, E_USAGE, "--timeout and --duration must be above 0");
	if (c->ports > 1 &&
	    (addr_family(&c->target) == AF_UNIX || addr_port(&c->target) + c->ports - 1 > 65535))
		return why_set(why, E_USAGE, "--ports=%" PRIu64 ": there are not so many after the target's",
			       c->ports);
	if (c->sources > 0 && (addr_family(&c->target) != AF_INET || !endpoint_is_loopback(&c->target)))
		return why_set(why, E_USAGE, "--sources is for targets on 127.0.0.0/8");
	return OK;
}

/* The name in the certificate: what was said, or the target without its port. */
static enum err
settle_tls(struct load_config *c, struct why *why)
{
	static char host[256];
	const char *text = c->target_text;
	enum err e;
	size_t n;

	if (!c->tls)
		return OK;
	if (c->sni == NULL && c->host != NULL)
		c->sni = c->host;
	if (c->sni == NULL && addr_family(&c->target) != AF_UNIX) {
		n = (size_t)(strrchr(text, ':') - text);
		if (text[0] == '[') {
			text++;
			n -= 2;
		}
		str_copy(host, sizeof(host), (struct str){ text, n });
		c->sni = host;
	}
	if ((e = secure_client_context(c->ca, c->insecure, c->resume, &c->context, why)) != OK)
		return e;
	return c->mode->alpn == NULL || secure_offer(c->context, c->mode->alpn) ? OK : why_set(why, E_INTERNAL, "out of memory");
}

enum err
load_config_settle(struct load_config *c, const char *mode, struct why *why)
{
	enum err e;

	if (c->target_text == NULL)
		return why_set(why, E_USAGE, "--target=ADDRESS:PORT is needed");
	if ((c->mode = load_mode_find(mode != NULL ? mode : "http")) == NULL)
		return why_set(why, E_USAGE,
			       "--mode=%s: tcp-small, tcp-connect, tcp-bulk-down, tcp-bulk-up, tcp-idle, "
			       "udp, udp-flow, http, http-close, http2 or ws expected",
			       mode);
	if (c->path == NULL)
		c->path = c->mode->upgrade ? "/ws" : "/";
	c->lasting = c->lasting || c->mode->upgrade;
	if ((e = parse_target(c, why)) != OK || (e = endpoint_check_congestion(c->congestion, why)) != OK)
		return e;
	if (c->duration < 0)
		c->duration = c->requests > 0 ? MAX_DURATION : DEFAULT_DURATION;
	if (c->size == 0)
		c->size = c->mode->size;
	if ((e = check_http(c, why)) != OK || (e = check_datagrams(c, why)) != OK ||
	    (e = check_load_options(c, why)) != OK)
		return e;
	if (c->threads > c->connections)
		c->threads = c->connections;
	if (c->sources == 0 && c->connections > PORTS_PER_SOURCE && addr_family(&c->target) == AF_INET &&
	    endpoint_is_loopback(&c->target))
		c->sources = (c->connections + PORTS_PER_SOURCE - 1) / PORTS_PER_SOURCE;
	pattern_init();
	if ((e = settle_tls(c, why)) != OK || (c->mode->http && (e = build_request(c, why)) != OK))
		return e;
	return endpoint_need_files(c->connections + 8 * c->threads + 32, why);
}

void
load_config_free(struct load_config *c)
{
	buf_free(&c->request);
	if (c->context != NULL)
		secure_context_free(&c->context);
}
