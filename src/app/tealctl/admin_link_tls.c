/* admin_link_tls.c - to a teald over the network: its certificate is verified, and it is shown ours, or a
 * token.  One thread. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ev.h>

#include "app/tealctl/admin_link_tls.h"
#include "base/clock.h"
#include "net/addr.h"
#include "net/sock.h"
#include "net/tls_certificate.h"
#include "net/tls_client.h"
#include "net/tls_file.h"

#define SCHEME "tls://"
#define PORT 9443
#define TOKEN_MAX 256

struct tls_address {
	char host[256];
	unsigned port;
};

bool
admin_link_is_tls(const char *socket)
{
	return strncmp(socket, SCHEME, strlen(SCHEME)) == 0;
}

static enum err
parse_tls_url(const char *url, struct tls_address *out, struct why *why)
{
	struct str host = str_from(url + strlen(SCHEME));
	const char *colon;
	uint64_t port = PORT;
	bool good = true;

	if (host.n > 0 && host.p[host.n - 1] == '/')
		host.n--;
	colon = memrchr(host.p, ':', host.n);
	if (colon != NULL && (host.p[0] != '[' || (colon > host.p && colon[-1] == ']'))) {
		good = str_to_u64((struct str){ colon + 1, host.n - (size_t)(colon + 1 - host.p) }, 65535, &port) && port > 0;
		host.n = (size_t)(colon - host.p);
	}
	if (host.n > 1 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = (struct str){ host.p + 1, host.n - 2 };
	if (!good || host.n == 0 || memchr(host.p, '/', host.n) != NULL || memchr(host.p, '@', host.n) != NULL ||
	    memchr(host.p, '[', host.n) != NULL || !str_copy(out->host, sizeof(out->host), host))
		return why_set(why, E_USAGE, "%.200s: it is tls://HOST[:PORT]; the port is %d where none is given", url, PORT);
	out->port = (unsigned)port;
	return OK;
}

/* -- files ------------------------------------------------------------------------------------- */

static enum err
load_token(const struct admin_way *way, char token[TOKEN_MAX], struct why *why)
{
	struct tls_file f;
	struct str line;
	enum err e;

	if (way->token_file == NULL) {
		if (str_copy(token, TOKEN_MAX, str_from(way->token)) && strpbrk(token, "\r\n") == NULL)
			return OK;
		return why_set(why, E_USAGE, "TEAL_TOKEN is no token");
	}
	if ((e = tls_file_read(way->token_file, true, &f, why)) != OK)
		return e;
	line = (struct str){ f.data, f.n };
	while (line.n > 0 && strchr(" \t\r\n", line.p[line.n - 1]) != NULL)
		line.n--;
	if (line.n == 0 || !str_copy(token, TOKEN_MAX, line) || strpbrk(token, "\r\n") != NULL)
		e = why_set(why, E_USAGE, "%.256s: there has to be one token in it, and nothing else", way->token_file);
	tls_file_free(&f);
	return e;
}

static enum err
make_client(struct admin_link *c, const struct admin_way *way, struct why *why)
{
	const struct tls_certificate_files files = { .cert = way->cert, .key = way->key };
	struct tls_certificate *own;
	enum err e = tls_client_context(&(struct tls_client_options){ .ca = way->ca }, &c->context, why);

	if (e != OK || way->cert == NULL || (e = tls_certificate_load(&files, &own, why)) != OK)
		return e;
	e = tls_certificate_use(own, c->context, why);
	/* The context has what it needs of it. */
	tls_certificate_unref(&own);
	return e;
}

/* -- the connection ---------------------------------------------------------------------------- */

static bool
wait_connected(int fd, double deadline)
{
	struct pollfd p = { fd, POLLOUT, 0 };
	double left;
	int n;

	do {
		left = deadline - clock_now();
		n = poll(&p, 1, left <= 0 ? 0 : (int)(left * 1000) + 1);
	} while (n < 0 && errno == EINTR);
	errno = n > 0 ? sock_error(fd) : ETIMEDOUT;
	return errno == 0;
}

/* Each of the name's addresses until one answers. */
static enum err
connect_some(struct admin_link *c, const struct tls_address *to, double deadline, struct why *why)
{
	struct addr *list;
	size_t n;
	enum err e;
	int error = 0;

	if ((e = addr_resolve_all(to->host, &list, &n, why)) != OK)
		return E_INTERNAL;
	for (size_t i = 0; i < n && c->fd < 0; i++) {
		double now = clock_now(), mine = now + (deadline - now) / (double)(n - i);
		bool pending;

		addr_set_port(&list[i], to->port);
		c->fd = sock_connect(&list[i], &(struct sock_connect){ .source = NULL }, &pending);
		if (c->fd >= 0 && (!pending || wait_connected(c->fd, mine)))
			break;
		error = errno;
		if (c->fd >= 0)
			close(c->fd);
		c->fd = -1;
	}
	free(list);
	if (c->fd >= 0)
		return OK;
	return why_set(why, E_INTERNAL, "cannot connect to %s port %u: %s%s", to->host, to->port, strerror(error),
		       error == ECONNREFUSED ? "; is teald running there, and is this its admin.listen?" : "");
}

/* An alert (RFC 8446 section 6.2) is the other side's verdict; OpenSSL names the version of SSL before it. */
static const char *
alert_of(const char *text)
{
	const char *alert = strstr(text, " alert ");

	return alert != NULL ? alert + strlen(" alert ") : NULL;
}

static enum err
explain_tls(const struct admin_link *c, const struct tls_address *to, const char *text, struct why *why)
{
	const char *alert = alert_of(text);

	if (alert != NULL)
		return why_set(why, E_DENIED, "%s refuses this client: %s (--cert and --key name its certificate; teald's log has the reason, "
			       "admin.refused)", to->host, alert);
	if (c->tls != NULL && tls_failure(c->tls) == TLS_CERTIFICATE)
		return why_set(why, E_INTERNAL, "%s: %s; --ca=FILE names the authority that vouches for teald", to->host, text);
	return why_set(why, E_INTERNAL, "%s port %u: %s; teald closes at once where there are too many connections, or where admin.allow does "
		       "not let the address in", to->host, to->port, text);
}

static enum err
shake_tls(struct admin_link *c, const struct tls_address *to, double deadline, struct why *why)
{
	int rc;

	if ((c->tls = tls_connect(c->context, c->fd, to->host, NULL)) == NULL)
		return why_set(why, E_INTERNAL, "out of memory");
	while ((rc = tls_handshake(c->tls)) == 0)
		if (!admin_link_wait(c, EV_READ, deadline))
			return why_set(why, E_INTERNAL, "%s port %u: the TLS handshake took too long", to->host, to->port);
	return rc == 1 ? OK : explain_tls(c, to, tls_why(c->tls), why);
}

/* A refusal may come only now: in TLS 1.3 a client is done before its certificate is looked at. */
static enum err
introduce_us(struct admin_link *c, const struct tls_address *to, const char *token, double seconds, struct why *why)
{
	char text[TOKEN_MAX + 16];
	int n = token[0] != '\0' ? snprintf(text, sizeof(text), "auth %s\n", token) : snprintf(text, sizeof(text), "version\n");
	bool sent = admin_link_send(c, (struct str){ text, (size_t)n }, seconds);
	enum err e = OK;
	struct str line;
	json_t *object;

	explicit_bzero(text, sizeof(text));
	/* One that hangs up at once may have said why: read in any case. */
	switch (admin_link_read_line(c, sent ? seconds : 0, &line)) {
	case ADMIN_LINK_LINE:
		break;
	case ADMIN_LINK_QUIET:
		return why_set(why, E_INTERNAL, "%s port %u: teald does not answer: it hangs or is overrun", to->host, to->port);
	case ADMIN_LINK_GONE:
	case ADMIN_LINK_TOO_LONG:
	case ADMIN_LINK_UNWANTED:
		return explain_tls(c, to, c->tls != NULL && tls_why(c->tls)[0] != '\0' ? tls_why(c->tls) : "the connection was closed", why);
	}
	object = json_loadb(line.p, line.n, JSON_ALLOW_NUL, NULL);
	if (!json_is_boolean(json_object_get(object, "ok"))) {
		e = why_set(why, E_INTERNAL, "%s port %u: what answers there does not talk like teald", to->host, to->port);
	} else if (!json_is_true(json_object_get(object, "ok"))) {
		const char *word = json_string_value(json_object_get(object, "error"));
		const char *message = json_string_value(json_object_get(object, "message"));

		e = word != NULL && strcmp(word, err_word(E_DENIED)) == 0 ? E_DENIED : E_INTERNAL;
		(void)why_set(why, e, "%s: %.600s", word != NULL ? word : "refused", message != NULL ? message : "");
	}
	json_decref(object);
	return e;
}

enum err
admin_link_open_tls(struct admin_link *c, const struct admin_way *way, double seconds, struct why *why)
{
	double deadline = clock_now() + seconds;
	char token[TOKEN_MAX] = "";
	struct tls_address to;
	enum err e;

	if ((e = parse_tls_url(way->socket, &to, why)) != OK)
		return e;
	if (way->token_file != NULL || way->token != NULL)
		e = load_token(way, token, why);
	if (e == OK)
		e = make_client(c, way, why);
	if (e == OK)
		e = connect_some(c, &to, deadline, why);
	if (e == OK)
		e = shake_tls(c, &to, deadline, why);
	if (e == OK)
		e = introduce_us(c, &to, token, seconds, why);
	explicit_bzero(token, sizeof(token));
	return e;
}
