/* options.c - tealctl's command line.  One thread.
 * Options of the program may stand anywhere; the rest becomes one line for
 * teald, which is split and checked here by the very code teald uses. */
#include <stdio.h>
#include <stdlib.h>

#include "app/tealctl/admin_link.h"
#include "app/tealctl/options.h"
#include "app/tealctl/top.h"
#include "base/version.h"

#define DEFAULT_SOCKET "/run/teal/admin.sock"
#define WORDS_MAX (ADMIN_ARGS_MAX + ADMIN_OPTS_MAX + 2)

#define TOP_USAGE "top [--interval=SEC] [--sort=KEY] [FILTER]"
#define EXPORT_USAGE "export gateway|service SERVICE"
#define INTERVAL_MIN 0.1
#define INTERVAL_MAX 86400.0

struct words {
	size_t n;
	char *word[WORDS_MAX];
	bool literal[WORDS_MAX];	/* stood behind "--" */
	bool help, version;
};

/* At -s, in any of its spellings. */
static enum err
take_socket(struct options *o, int argc, char **argv, int *i, struct why *why)
{
	const char *arg = argv[*i];

	if (strncmp(arg, "--socket=", 9) == 0)
		o->way.socket = arg + 9;
	else if (strncmp(arg, "-s", 2) == 0 && arg[2] != '\0')
		o->way.socket = arg + 2;
	else if (*i + 1 < argc)
		o->way.socket = argv[++*i];
	else
		return why_set(why, E_USAGE, "%s needs a socket's path", arg);
	if (*o->way.socket == '\0')
		return why_set(why, E_USAGE, "the socket's path is empty");
	return OK;
}

/* Those of tls://, each with a file; NULL: it is another option. */
static const char **
file_option(struct options *o, const char *arg, const char **name)
{
	const struct {
		const char *name;
		const char **to;
	} all[] = {
		{ "--cert", &o->way.cert },
		{ "--key", &o->way.key },
		{ "--ca", &o->way.ca },
		{ "--token-file", &o->way.token_file },
	};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		size_t n = strlen(all[i].name);

		if (strncmp(arg, all[i].name, n) == 0 && (arg[n] == '\0' || arg[n] == '=')) {
			*name = all[i].name;
			return all[i].to;
		}
	}
	return NULL;
}

static enum err
take_file_option(struct options *o, int argc, char **argv, int *i, struct why *why)
{
	const char *arg = argv[*i], *name, **to = file_option(o, arg, &name);

	if (arg[strlen(name)] == '=')
		*to = arg + strlen(name) + 1;
	else if (*i + 1 < argc)
		*to = argv[++*i];
	else
		*to = "";
	return **to != '\0' ? OK : why_set(why, E_USAGE, "%s needs a file", name);
}

static const char *
from_environment(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && *value != '\0' ? value : NULL;
}

/* What the command line does not say. */
static enum err
settle_way(struct options *o, struct why *why)
{
	struct admin_way *w = &o->way;

	if (!admin_link_is_tls(w->socket)) {
		if (w->cert != NULL || w->key != NULL || w->ca != NULL || w->token_file != NULL)
			return why_set(why, E_USAGE, "--cert, --key, --ca and --token-file are for -s tls://HOST[:PORT]; %.200s is none",
				       w->socket);
		return OK;
	}
	if (w->ca == NULL)
		w->ca = from_environment("TEAL_CA");
	if (w->cert == NULL && w->key == NULL && w->token_file == NULL) {
		w->cert = from_environment("TEAL_CERT");
		w->key = from_environment("TEAL_KEY");
		w->token_file = from_environment("TEAL_TOKEN_FILE");
		if (w->token_file == NULL)
			w->token = from_environment("TEAL_TOKEN");
	}
	if (w->cert != NULL && (w->token_file != NULL || w->token != NULL))
		return why_set(why, E_USAGE, "a certificate or a token, not both: --cert (TEAL_CERT), or --token-file (TEAL_TOKEN_FILE, TEAL_TOKEN)");
	if (w->cert == NULL && w->key != NULL)
		return why_set(why, E_USAGE, "--key without --cert: which certificate is it the key of?");
	return OK;
}

static bool
is_socket(const char *arg)
{
	return strncmp(arg, "-s", 2) == 0 || strcmp(arg, "--socket") == 0 ||
	       strncmp(arg, "--socket=", 9) == 0;
}

static enum err
sort_words(struct options *o, int argc, char **argv, struct words *w, struct why *why)
{
	bool literal = false;
	const char *name;
	enum err e;

	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];

		if (!literal && strcmp(arg, "--") == 0) {
			literal = true;
		} else if (!literal && strcmp(arg, "--json") == 0) {
			o->json = true;
		} else if (!literal && strcmp(arg, "--remote") == 0) {
			o->remote = o->json = true;
		} else if (!literal && strcmp(arg, "--no-color") == 0) {
			o->no_color = true;
		} else if (!literal && (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)) {
			w->help = true;
		} else if (!literal && (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0)) {
			w->version = true;
		} else if (!literal && is_socket(arg)) {
			if ((e = take_socket(o, argc, argv, &i, why)) != OK)
				return e;
		} else if (!literal && file_option(o, arg, &name) != NULL) {
			if ((e = take_file_option(o, argc, argv, &i, why)) != OK)
				return e;
		} else if (!literal && arg[0] == '-' && arg[1] != '-' && arg[1] != '\0') {
			return why_set(why, E_USAGE, "unknown option %.40s; tealctl --help lists them", arg);
		} else if (w->n == WORDS_MAX) {
			return why_set(why, E_USAGE, "too many words");
		} else {
			w->literal[w->n] = literal;
			w->word[w->n++] = argv[i];
		}
	}
	return OK;
}

/* --reason TEXT is as good as --reason=TEXT, for the table knows which
 * options have a value.  The word behind word i when it is that, or NULL. */
static const char *
value_behind(const struct words *w, size_t i, struct str key)
{
	const struct admin_command_info *info = admin_command_find(str_from(w->word[0]));

	if (info == NULL || i + 1 >= w->n || w->literal[i + 1] || strncmp(w->word[i + 1], "--", 2) == 0)
		return NULL;
	for (int k = 0; k < ADMIN_OPTIONS; k++)
		if ((info->options & (uint64_t)1 << k) && str_eq(key, admin_option_info(k)->key))
			return admin_option_info(k)->kind != ADMIN_KIND_FLAG &&
			       admin_option_info(k)->kind != ADMIN_KIND_PERHAPS_SECONDS ? w->word[i + 1] : NULL;
	return NULL;
}

static bool
put_help_option(struct buf *out, const struct words *w, size_t *i)
{
	struct str word = str_from(w->word[*i]), key = { word.p + 2, word.n - 2 };
	const char *equals = memchr(key.p, '=', key.n), *next;
	struct str value;

	if (equals != NULL) {
		value = str_from(equals + 1);
		key.n = (size_t)(equals - key.p);
	}
	if (!buf_append(out, "--", 2) || !buf_append(out, key.p, key.n))
		return false;
	if (equals == NULL) {
		if ((next = value_behind(w, *i, key)) == NULL)
			return true;
		value = str_from(next);
		++*i;
	}
	return buf_append(out, "=", 1) && admin_line_quote_value(out, value);
}

/* The shell's words can hold what would split differently on the wire. */
static bool
is_option_key(const char *p)
{
	size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n > 0 && (p[n] == '\0' || p[n] == '=');
}

static enum err
make_line(struct options *o, const struct words *w, struct why *why)
{
	bool fits = true;

	for (size_t i = 0; fits && i < w->n; i++) {
		if (i > 0)
			fits = buf_append(&o->text, " ", 1);
		if (!w->literal[i] && strncmp(w->word[i], "--", 2) == 0) {
			if (!is_option_key(w->word[i] + 2))
				return why_set(why, E_USAGE, "unknown option %.40s", w->word[i]);
			fits = fits && put_help_option(&o->text, w, &i);
		} else {
			fits = fits && admin_line_quote(&o->text, str_from(w->word[i]));
		}
	}
	if (!fits)
		return why_set(why, E_USAGE, "the command is longer than %d bytes", ADMIN_LINE_MAX);
	return OK;
}

/* -- tokens of claims ------------------------------------------------------- */

static bool
has_option_word(const struct words *w, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 1; i < w->n; i++)
		if (!w->literal[i] && strncmp(w->word[i], word, n) == 0 && (w->word[i][n] == '\0' || w->word[i][n] == '='))
			return true;
	return false;
}

/* --token=- and --token - become the token that standard input has. */
static enum err
take_token_of_input(struct options *o, struct words *w, struct why *why)
{
	for (size_t i = 1; i < w->n; i++) {
		bool behind = strcmp(w->word[i], "--token") == 0 && i + 1 < w->n && strcmp(w->word[i + 1], "-") == 0;
		enum err e;

		if (w->literal[i] || !(behind || strcmp(w->word[i], "--token=-") == 0))
			continue;
		if (o->remote)
			return why_set(why, E_USAGE, "--token=-: standard input is the other tealctl's here");
		if ((e = claim_token_word(NULL, o->claim_token, why)) != OK)
			return e;
		w->word[i] = o->claim_token;
		for (size_t k = i + 1; behind && k + 1 < w->n; k++) {
			w->word[k] = w->word[k + 1];
			w->literal[k] = w->literal[k + 1];
		}
		w->n -= behind;
		return OK;
	}
	return OK;
}

/* That of the environment, for commands that take one and are not given one. */
static enum err
take_claim_token(struct options *o, struct words *w, struct why *why)
{
	const struct admin_command_info *info = admin_command_find(str_from(w->word[0]));
	const char *token = o->remote ? NULL : claim_token_of_environment();
	enum err e;

	if (info == NULL || !(info->options & (uint64_t)1 << ADMIN_OPT_TOKEN))
		return OK;
	if (has_option_word(w, "--token"))
		return take_token_of_input(o, w, why);
	/* Whose claim is ended by force is not the token's to say. */
	if (token == NULL || (info->command == ADMIN_RELEASE && has_option_word(w, "--force")) || w->n == WORDS_MAX)
		return OK;
	if ((e = claim_token_word(token, o->claim_token, why)) != OK)
		return e;
	/* In front of words behind "--". */
	memmove(w->word + 2, w->word + 1, (w->n - 1) * sizeof(w->word[0]));
	memmove(w->literal + 2, w->literal + 1, (w->n - 1) * sizeof(w->literal[0]));
	w->word[1] = o->claim_token;
	w->literal[1] = false;
	w->n++;
	return OK;
}

/* -- what is watched -------------------------------------------------------- */

static enum err
take_interval(struct options *o, const char *option, const char *value, struct why *why)
{
	if (!str_to_seconds(str_from(value), &o->interval) || o->interval < INTERVAL_MIN ||
	    o->interval > INTERVAL_MAX)
		return why_set(why, E_USAGE, "%s=%.40s: not a number of seconds from %g to %g", option, value,
			       INTERVAL_MIN, INTERVAL_MAX);
	return OK;
}

/* --watch[=SEC] of status; teald knows nothing of it. */
static enum err
take_watch(struct options *o, struct words *w, struct why *why)
{
	size_t n = 1;
	enum err e;

	for (size_t i = 1; i < w->n; i++) {
		const char *word = w->word[i];

		if (w->literal[i] || strncmp(word, "--watch", 7) != 0 ||
		    (word[7] != '\0' && word[7] != '=')) {
			w->literal[n] = w->literal[i];
			w->word[n++] = w->word[i];
			continue;
		}
		o->view = VIEW_WATCH;
		if (word[7] == '=' && (e = take_interval(o, "--watch", word + 8, why)) != OK)
			return e;
	}
	w->n = n;
	return OK;
}

/* The value of an option that stands in this word or, behind it, in the next;
 * NULL when the word is another. */
static const char *
value_of(const struct words *w, size_t *i, const char *option)
{
	const char *word = w->word[*i];
	size_t n = strlen(option);

	if (w->literal[*i] || strncmp(word, option, n) != 0)
		return NULL;
	if (word[n] == '=')
		return word + n + 1;
	return word[n] == '\0' && *i + 1 < w->n ? w->word[++*i] : NULL;
}

/* top [--interval=SEC] [--sort=KEY] [FILTER]: on the wire it is a status. */
static enum err
take_top(struct options *o, struct words *w, struct why *why)
{
	static char status[] = "status", brief[] = "--brief";
	enum top_sort sort = TOP_BY_ORDER;
	enum err e;

	o->view = VIEW_TOP;
	for (size_t i = 1; i < w->n; i++) {
		const char *word = w->word[i], *value;

		if ((value = value_of(w, &i, "--interval")) != NULL) {
			if ((e = take_interval(o, "--interval", value, why)) != OK)
				return e;
		} else if ((value = value_of(w, &i, "--sort")) != NULL) {
			if (!top_sort_from_word(value, &sort))
				return why_set(
					why, E_USAGE,
					"--sort=%.40s: it is order, name, trouble, connections, new, out, changed, errors or latency",
					value);
			o->sort = sort;
		} else if (!w->literal[i] && strncmp(word, "--", 2) == 0) {
			return why_set(why, E_USAGE, "top: unknown option %.40s; usage: " TOP_USAGE, word);
		} else if (o->filter[0] != '\0') {
			return why_set(why, E_USAGE, "top: one filter is enough; usage: " TOP_USAGE);
		} else {
			o->filter = word;
		}
	}
	w->word[0] = status;
	w->word[1] = brief;
	w->literal[1] = false;
	w->n = 2;
	return OK;
}

/* export gateway|service SERVICE: on the wire it is `status SERVICE`, too. */
static enum err
take_export(struct options *o, struct words *w, struct why *why)
{
	static char status[] = "status";
	const char *kind = w->n > 1 ? w->word[1] : "";

	for (size_t i = 1; i < w->n; i++)
		if (!w->literal[i] && strncmp(w->word[i], "--", 2) == 0)
			return why_set(why, E_USAGE, "export: unknown option %.40s; usage: " EXPORT_USAGE, w->word[i]);
	if (w->n != 3)
		return why_set(why, E_USAGE, "export needs a kind and a service; usage: " EXPORT_USAGE);
	if (strcmp(kind, "gateway") != 0 && strcmp(kind, "service") != 0)
		return why_set(why, E_USAGE, "export %.40s: it is gateway or service; usage: " EXPORT_USAGE, kind);
	if (o->json)
		return why_set(why, E_USAGE, "export prints YAML: it has no --json");
	o->export = kind[0] == 'g' ? EXPORT_GATEWAY : EXPORT_SERVICE;
	w->word[0] = status;
	w->word[1] = w->word[2];
	w->literal[1] = w->literal[2];
	w->n = 2;
	return OK;
}

static enum err
take_view(struct options *o, struct words *w, struct why *why)
{
	if (strcmp(w->word[0], "export") == 0)
		return take_export(o, w, why);
	if (strcmp(w->word[0], "top") == 0)
		return take_top(o, w, why);
	return strcmp(w->word[0], "status") == 0 ? take_watch(o, w, why) : OK;
}

/* Lists are asked for no more than they show. */
static const char *
lean_option(const struct options *o)
{
	const struct admin_request *q = &o->request;

	if (o->json || q->brief)
		return NULL;
	if (q->command == ADMIN_STATUS && q->service.n == 0 && !q->summary)
		return " --summary";
	return q->command == ADMIN_NODE && str_eq(q->node_verb, "list") ? " --brief" : NULL;
}

/* The line again, with that option. */
static enum err
make_lean(struct options *o, struct why *why)
{
	const char *option = lean_option(o);
	enum err e;

	if (option == NULL || o->text.failed)
		return OK;
	if (!buf_append(&o->text, option, strlen(option)))
		return why_set(why, E_USAGE, "the command is longer than %d bytes", ADMIN_LINE_MAX);
	e = admin_line_parse(buf_str(&o->text), &o->line, why);
	return e == OK ? admin_command_parse(&o->line, &o->request, why) : e;
}

static void
put_top_help(struct buf *out)
{
	buf_printf(out,
		   "Usage: tealctl " TOP_USAGE "\n\n"
		   "top: the services and what moves, live.\n"
		   "Per color: backends up, connections, new ones per second, bytes to clients.  On a\n"
		   "terminal h lists the keys; in a pipe it is a line for each service, of what moved\n"
		   "in one interval.\n\n"
		   "Options:\n"
		   "  --interval=SEC\n      between two readings (default: 1)\n"
		   "  --sort=KEY\n      order (default), name, trouble, connections, new, out or changed\n\n"
		   "Needs the right: read.\n");
}

static void
put_export_help(struct buf *out)
{
	buf_printf(out,
		   "Usage: tealctl " EXPORT_USAGE "\n\n"
		   "export: a service as objects of Kubernetes, in YAML.\n"
		   "gateway: a Gateway and its route (HTTPRoute, TCPRoute, TLSRoute or UDPRoute), whose\n"
		   "backends are the Services of the two colors: the active one has weight 1, the other 0.\n"
		   "service: these Services, of type NodePort.  What Teal does not know, comments say.\n\n"
		   "Needs the right: read.\n");
}

/* Commands of tealctl alone: on the wire they are others. */
static const struct own_command {
	const char *word, *summary;
	void (*put_help)(struct buf *out);
} own_commands[] = {
	{ "export", "a service in the words of Kubernetes", put_export_help },
	{ "top", "the services and what moves, live", put_top_help },
};

static const struct own_command *
own_command(const char *word)
{
	for (size_t i = 0; i < sizeof(own_commands) / sizeof(own_commands[0]); i++)
		if (strcmp(own_commands[i].word, word) == 0)
			return &own_commands[i];
	return NULL;
}

static void
print_help(struct buf *out)
{
	buf_printf(out, "Usage: tealctl [-s SOCKET] [--json] [--no-color] COMMAND ...\n\n"
			"Commands teald, the load balancer.\n\nCommands:\n");
	admin_command_list(out);
	for (size_t i = 0; i < sizeof(own_commands) / sizeof(own_commands[0]); i++)
		buf_printf(out, "  %-12s %s\n", own_commands[i].word, own_commands[i].summary);
	buf_printf(out, "\nOptions:\n"
			"  -s, --socket=SOCKET  teald's admin socket (default: $TEAL_SOCKET, else\n"
			"                       " DEFAULT_SOCKET "), or\n"
			"                       ssh://[USER@]HOST[:PORT][/SOCKET], or tls://HOST[:PORT]\n"
			"  --cert=FILE          of tls://, a client certificate, and\n"
			"  --key=FILE           its key ($TEAL_CERT, $TEAL_KEY), or\n"
			"  --token-file=FILE    a token ($TEAL_TOKEN_FILE; $TEAL_TOKEN is one itself)\n"
			"  --ca=FILE            who vouches for teald ($TEAL_CA; default: the system's)\n"
			"  --json               teald's own JSON objects, one a line\n"
			"  --no-color           no colors on the terminal; NO_COLOR does the same\n"
			"  -h, --help           this, or with a COMMAND all about that one\n"
			"  -V, --version        tealctl's version; the command version asks teald, too\n"
			"\nExit status:\n"
			"   0  done\n"
			"   1  internal error\n"
			"   2  usage, unknown service or color, unsupported\n"
			"   3  denied\n"
			"   4  refused: unhealthy, or claimed by another\n"
			"   5  conflict: --expect or the epoch was wrong, or the claim is over\n"
			"   6  flipped, but not drained in time\n"
			"   7  rolled back by itself\n"
			"   8  flipped, but not applied everywhere, or not in time\n"
			"   9  teald not reached\n"
			"  10  store unavailable or not durable: nothing changed\n"
			"  11  unknown whether it changed\n"
			"  12  flipped, and not judged: too little traffic\n"
			"  13  the service is locked\n"
			"  14  flipped, found worse by its bake, and left so\n");
}

static enum err
make_help(struct options *o, const struct words *w, const char *topic, struct why *why)
{
	const struct admin_command_info *info;

	o->task = OPTIONS_HELP;
	if (w->version) {
		buf_printf(&o->text, "tealctl %s\n", teal_version());
		return OK;
	}
	if (topic == NULL) {
		print_help(&o->text);
		return OK;
	}
	if (own_command(topic) != NULL) {
		own_command(topic)->put_help(&o->text);
		return OK;
	}
	if ((info = admin_command_find(str_from(topic))) == NULL)
		return why_set(why, E_USAGE, "unknown command \"%.40s\"; tealctl --help lists them", topic);
	admin_command_help(&o->text, info, "tealctl");
	if (info->command == ADMIN_STATUS)
		buf_printf(&o->text,
			   "\nOf tealctl:\n  --watch[=SEC]\n      again every SEC (1) until it is ended\n");
	return OK;
}

enum err
options_parse(struct options *o, int argc, char **argv, struct why *why)
{
	struct words w = { .n = 0 };
	const char *env = getenv("TEAL_SOCKET");
	enum err e;

	*o = (struct options){ .task = OPTIONS_RUN, .interval = 1, .filter = "" };
	o->way.socket = env != NULL && *env != '\0' ? env : DEFAULT_SOCKET;
	buf_init(&o->text, 16384);
	if ((e = sort_words(o, argc, argv, &w, why)) != OK || (e = settle_way(o, why)) != OK)
		return e;
	if (w.help || w.version)
		return make_help(o, &w, w.n > 0 ? w.word[0] : NULL, why);
	if (w.n == 0)
		return why_set(why, E_USAGE, "no command; tealctl --help lists them");
	/* `help top` is no line for teald either. */
	if (w.n == 2 && strcmp(w.word[0], "help") == 0 && own_command(w.word[1]) != NULL)
		return make_help(o, &w, w.word[1], why);
	if ((e = take_view(o, &w, why)) != OK || (e = take_claim_token(o, &w, why)) != OK || (e = make_line(o, &w, why)) != OK ||
	    (e = admin_line_parse(buf_str(&o->text), &o->line, why)) != OK ||
	    (e = admin_command_parse(&o->line, &o->request, why)) != OK || (e = make_lean(o, why)) != OK)
		return e;
	/* What people ask first must not need a running teald. */
	if (o->request.command == ADMIN_HELP && !o->json) {
		buf_clear(&o->text);
		return make_help(o, &w, o->request.topic.n > 0 ? o->request.topic.p : NULL, why);
	}
	if (!buf_append(&o->text, "\n", 1))
		return why_set(why, E_INTERNAL, "out of memory");
	return OK;
}

void
options_free(struct options *o)
{
	buf_free(&o->text);
	explicit_bzero(o->claim_token, sizeof(o->claim_token));
}
