/* observe_page.c - the status page: its pieces put together, the policy that
 * lets nothing else in, and who may see it.  Thread: main. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/teald/observe_page.h"

/* The pieces, one behind the other, make one document.  What is between two
 * marks is what the browser hashes: the policy names those hashes, so that no
 * other style and no other script can run, whatever gets into the page. */
#define PIECE(file) ".incbin \"src/app/teald/page/" file "\"\n"
#define MARK(name) ".globl observe_page_" name "\nobserve_page_" name ":\n"

__asm__(".pushsection .rodata\n" MARK("begin") PIECE("head.html") ".ascii \"<style>\"\n" MARK("style")
		PIECE("page.css") MARK("style_end") ".ascii \"</style>\"\n" PIECE(
			"body.html") ".ascii \"<script>\"\n" MARK("script") PIECE("state.js") PIECE("view.js")
			PIECE("parts.js") PIECE("chart.js") PIECE("panels.js") PIECE("detail.js")
			PIECE("services.js") PIECE("page.js")
				MARK("script_end") ".ascii \"</script>\\n\"\n" MARK(
					"end") ".byte 0\n.popsection\n");

extern const char observe_page_begin[], observe_page_style[], observe_page_style_end[], observe_page_script[],
	observe_page_script_end[], observe_page_end[];

#define HASH_TEXT 64	/* base64 of SHA-256, with NUL */

struct page {
	const struct config *config;
	char host[256];	/* this machine's name */
	char policy[512];
};

static struct str
between(const char *from, const char *to)
{
	return (struct str){ from, (size_t)((uintptr_t)to - (uintptr_t)from) };
}

static void
hash_of(struct str text, char out[HASH_TEXT])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	CHECK(EVP_Digest(text.p, text.n, md, &n, EVP_sha256(), NULL) == 1 && n == 32);
	EVP_EncodeBlock((unsigned char *)out, md, (int)n);
}

struct page *
page_new(const struct config *config)
{
	struct page *p = must_alloc(sizeof(*p));
	char style[HASH_TEXT], script[HASH_TEXT];

	p->config = config_ref(config);
	if (gethostname(p->host, sizeof(p->host) - 1) != 0)
		p->host[0] = '\0';
	hash_of(between(observe_page_style, observe_page_style_end), style);
	hash_of(between(observe_page_script, observe_page_script_end), script);
	snprintf(p->policy, sizeof(p->policy),
		 "default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; connect-src 'self'; "
		 "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		 style, script);
	return p;
}

void
page_free(struct page **pp)
{
	if (*pp != NULL)
		config_unref(&(*pp)->config);
	free(*pp);
	*pp = NULL;
}

void
page_reconfigure(struct page *p, const struct config *config)
{
	config_unref(&p->config);
	p->config = config_ref(config);
}

/* -- who may see it --------------------------------------------------------- */

/* Without the port; "[::1]:80" is ::1. */
static struct str
host_name_of(struct str host)
{
	const char *end;

	if (host.n > 0 && host.p[0] == '[') {
		end = memchr(host.p, ']', host.n);
		return end != NULL ? (struct str){ host.p + 1, (size_t)(end - host.p) - 1 } : STR("");
	}
	end = memchr(host.p, ':', host.n);
	host.n = end != NULL ? (size_t)(end - host.p) : host.n;
	if (host.n > 0 && host.p[host.n - 1] == '.')
		host.n--;
	return host;
}

static bool
may_name_us(const struct page *p, struct str host)
{
	struct str name = host_name_of(host);
	struct addr a;
	char text[256];

	if (!str_copy(text, sizeof(text), name) || name.n == 0)
		return false;
	for (char *c = text; *c != '\0'; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
	if (addr_parse_ip(text, 1, &a) || strchr(text, '.') == NULL || str_glob("*.localhost", text) ||
	    str_case_eq(str_from(p->host), text))
		return true;
	for (size_t i = 0; i < p->config->observe.n_hosts; i++)
		if (str_glob(p->config->observe.hosts[i], text))
			return true;
	return false;
}

const char *
page_refusal(const struct page *p, struct str host, struct str origin, struct str site, unsigned *status)
{
	const char *scheme;

	/* Who speaks HTTP/1.0 without a Host is no browser. */
	*status = 421;
	if (host.n > 0 && !may_name_us(p, host))
		return "this page is not shown under that name; observe.hosts can allow it";
	*status = 403;
	if (str_eq(site, "cross-site"))
		return "not for pages of other sites";
	if (origin.n == 0)
		return NULL;
	scheme = memmem(origin.p, origin.n, "://", 3);
	if (scheme == NULL || host.n == 0)
		return "not for pages of other sites";
	origin.n -= (size_t)(scheme + 3 - origin.p);
	origin.p = scheme + 3;
	if (origin.n != host.n || strncasecmp(origin.p, host.p, host.n) != 0)
		return "not for pages of other sites";
	return NULL;
}

static struct str
header(const struct visitor *v, const char *name)
{
	struct str value = STR("");

	(void)http1_head_find(&v->head, name, &value);
	return value;
}

bool
page_may_be_seen(const struct page *p, struct visitor *v, struct reply_head *head, struct buf *body)
{
	const char *refusal = page_refusal(p, header(v, "host"), header(v, "origin"),
					   header(v, "sec-fetch-site"), &head->status);

	if (refusal == NULL) {
		head->status = 200;
		return true;
	}
	buf_printf(body, "%s\n", refusal);
	return false;
}

void
page_write(const struct page *p, struct visitor *v, struct reply_head *head, struct buf *body)
{
	struct str all = between(observe_page_begin, observe_page_end);
	const char *refusal;
	unsigned status;

	/* A link from elsewhere may lead here; only its name must be ours. */
	if ((refusal = page_refusal(p, header(v, "host"), STR(""), STR(""), &status)) != NULL) {
		head->status = status;
		buf_printf(body, "%s\n", refusal);
		return;
	}
	head->type = "text/html; charset=utf-8";
	snprintf(head->extra, sizeof(head->extra),
		 "Content-Security-Policy: %s\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"
		 "Referrer-Policy: no-referrer\r\n"
		 "Cross-Origin-Resource-Policy: same-origin\r\n",
		 p->policy);
	buf_append(body, all.p, all.n);
}
