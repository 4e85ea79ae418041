/* serve_options.c - what a backend is asked to be.  Main thread, start-up. */
#include <sys/resource.h>

#include "app/tealbench/endpoint.h"
#include "app/tealbench/pattern.h"
#include "app/tealbench/serve.h"
#include "app/tealbench/tealbench.h"

#define BREAK_EVERY 1000
#define HEADERS_MAX 16384

static const struct serve_mode *const modes[] = { &serve_mode_http, &serve_mode_echo,   &serve_mode_hello,
						  &serve_mode_sink, &serve_mode_source, &serve_mode_mute,
						  &serve_mode_udp };

/* Names go into a header, a line and JSON: plain words only. */
static bool
name_is_plain(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= 64 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static enum err
mode_find(const char *word, const struct serve_mode **out, struct why *why)
{
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		if (strcmp(modes[i]->word, word) == 0) {
			*out = modes[i];
			return OK;
		}
	}
	return why_set(why, E_USAGE, "--mode=%s: http, echo, hello, sink, source, mute or udp expected",
		       word);
}

/* "lie" or "lie:100". */
static enum err
parse_break(const char *text, struct serve_config *config, struct why *why)
{
	static const char *const words[] = {
#define X(name, word) [name] = word,
		SERVE_BREAK_TABLE(X)
#undef X
	};
	size_t n;

	if (text == NULL)
		return OK;
	config->break_every = BREAK_EVERY;
	n = strcspn(text, ":");
	if (text[n] == ':' && (!str_to_u64(str_from(text + n + 1), INT64_MAX, &config->break_every) ||
			       config->break_every == 0))
		return why_set(why, E_USAGE, "--break=%s: WORD:EVERY expected, like reset:100", text);
	for (int b = BREAK_NOT + 1; b < SERVE_BREAKS; b++)
		if (str_eq((struct str){ text, n }, words[b]))
			config->broken = (enum serve_break)b;
	if (config->broken == BREAK_NOT)
		return why_set(why, E_USAGE,
			       "--break=%s: reset, close, short, body, 5xx, late or lie expected", text);
	if (config->mode == &serve_mode_udp)
		return why_set(why, E_USAGE, "--break has no meaning with --mode=udp");
	if (config->mode != &serve_mode_http && config->broken != BREAK_RESET &&
	    config->broken != BREAK_CLOSE && config->broken != BREAK_LIE)
		return why_set(why, E_USAGE, "--break=%s belongs to --mode=http", text);
	return OK;
}

static enum err
parse_headers(const struct option_list *list, struct serve_config *config, struct why *why)
{
	const char *line, *colon;

	buf_init(&config->headers, HEADERS_MAX);
	for (unsigned i = 0; i < list->n; i++) {
		line = list->item[i];
		colon = strchr(line, ':');
		if (colon == NULL || colon == line || strpbrk(line, "\r\n") != NULL)
			return why_set(why, E_USAGE, "--header=%s: \"Name: value\" expected", line);
		if (!buf_printf(&config->headers, "%s\r\n", line))
			return why_set(why, E_USAGE, "--header: more than %d bytes of them", HEADERS_MAX);
	}
	if (list->n > 0 && config->mode != &serve_mode_http)
		return why_set(why, E_USAGE, "--header belongs to --mode=http");
	return OK;
}

static enum err
check_serve_options(struct serve_config *config, bool tls, const char *cert, const char *key, struct why *why)
{
	if (!name_is_plain(config->name))
		return why_set(why, E_USAGE, "--name=%s: up to 64 letters, digits, '.', '_' or '-' expected",
			       config->name);
	if (config->bytes > 0 && config->mode != &serve_mode_source)
		return why_set(why, E_USAGE, "--bytes belongs to --mode=source");
	if (config->mode == &serve_mode_udp && (tls || config->congestion != NULL))
		return why_set(why, E_USAGE, "--tls and --congestion have no meaning with --mode=udp");
	if ((cert != NULL) != (key != NULL))
		return why_set(why, E_USAGE, "--cert and --key go together");
	if (cert != NULL && !tls)
		return why_set(why, E_USAGE, "--cert and --key belong to --tls");
	return tls ? secure_server_context(cert, key, config->name, &config->context, why) : OK;
}

enum err
serve_main(int argc, char **argv, struct why *why)
{
	static struct serve_totals totals = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct serve_config config = { .name = "backend", .totals = &totals };
	struct option_list list = { 0 }, headers = { 0 };
	struct rlimit files;
	const char *mode = "http", *cert = NULL, *key = NULL, *broken = NULL;
	bool tls = false;
	uint64_t threads = 1;
	const struct option_spec options[] = {
		{ "name", OPTION_TEXT, &config.name, 0, 0 },
		{ "listen", OPTION_LIST, &list, 0, 0 },
		{ "mode", OPTION_TEXT, &mode, 0, 0 },
		{ "threads", OPTION_COUNT, &threads, 1, SERVE_THREADS_MAX },
		{ "bytes", OPTION_SIZE, &config.bytes, 1, INT64_MAX },
		{ "congestion", OPTION_TEXT, &config.congestion, 0, 0 },
		{ "tls", OPTION_FLAG, &tls, 0, 0 },
		{ "cert", OPTION_TEXT, &cert, 0, 0 },
		{ "key", OPTION_TEXT, &key, 0, 0 },
		{ "header", OPTION_LIST, &headers, 0, 0 },
		{ "break", OPTION_TEXT, &broken, 0, 0 },
		{ "die-after", OPTION_COUNT, &config.die_after, 1, INT64_MAX },
	};
	enum err e;

	if ((e = options_parse(options, ARRAY_LEN(options), argc, argv, why)) != OK ||
	    (e = mode_find(mode, &config.mode, why)) != OK ||
	    (e = endpoint_check_congestion(config.congestion, why)) != OK ||
	    (e = parse_break(broken, &config, why)) != OK)
		return e;
	if (list.n == 0)
		return why_set(why, E_USAGE, "--listen=ADDRESS:PORT is needed (port 0: any free one)");
	if ((e = parse_headers(&headers, &config, why)) != OK ||
	    (e = check_serve_options(&config, tls, cert, key, why)) != OK) {
		buf_free(&config.headers);
		return e;
	}
	config.lie = strncmp(config.name, "green", 5) == 0 ? "blue" : "green";
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	pattern_init();
	e = serve_run(&config, &list, (unsigned)threads, why);
	buf_free(&config.headers);
	if (config.context != NULL)
		secure_context_free(&config.context);
	return e;
}
