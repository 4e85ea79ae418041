/* options.c - teald's command line.  One thread. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "app/teald/check.h"
#include "app/teald/options.h"
#include "app/teald/succession.h"
#include "base/version.h"
#include "model/admin_token.h"

static const char usage[] =
	"usage: teald -c FILE [-t [--user=NAME] [--print-ruleset] [--against=SOCKET]]\n"
	"             [--assume-initial]\n"
	"             [--no-supervisor | --max-restarts=N --watchdog=SEC]\n"
	"       teald --new-token=NAME | --help | --version\n"
	"\n"
	"The load balancer of two colors.  Stays in the foreground, logs JSON lines\n"
	"on stdout; SIGTERM drains and exits, a second one half a second later exits at\n"
	"once.\n"
	"\n"
	"  -c, --config FILE   the configuration, see teal.conf(5)\n"
	"  -t, --test          check the configuration, start nothing\n"
	"  --user=NAME         with -t: check as that user, whose teald will read the files\n"
	"  --print-ruleset     with -t: print the nftables rules for the services of\n"
	"                      engine \"kernel\"\n"
	"  --against=SOCKET    with -t: print what the file would change of the teald with\n"
	"                      that admin socket\n"
	"  --assume-initial    with Redis: services that neither Redis nor state_dir\n"
	"                      knows begin with their `initial` color, before Redis\n"
	"                      has answered\n"
	"  --no-supervisor     serve in this process, which nothing starts again\n"
	"  --max-restarts=N    end when the serving process died more often than that\n"
	"                      within a minute (5)\n"
	"  --watchdog=SEC      end a serving process whose main thread hangs for so\n"
	"                      long (30), and start another; 0: never\n"
	"  --new-token=NAME    make a token for the admin listener: its line for\n"
	"                      admin.token_file on stdout, itself on stderr, once\n"
	"  -V, --version       print the version\n"
	"  -h, --help          print this\n"
	"\n"
	"Exit status: 0 stopped as asked, 1 could not start or was hurried,\n"
	"2 wrong use or configuration.\n";

/* The one moment at which there is the token itself. */
static int
print_new_token(const char *name)
{
	char token[ADMIN_TOKEN_TEXT];
	struct buf line;

	if (!admin_token_is_name(name)) {
		fputs("teald: --new-token: a name is up to 56 of A-Z a-z 0-9 . _ -\n", stderr);
		return EXIT_USAGE;
	}
	buf_init(&line, 1024);
	if (!admin_token_make(name, token, &line)) {
		fputs("teald: --new-token: the kernel gives no random numbers\n", stderr);
		buf_free(&line);
		return EXIT_FAILED;
	}
	fprintf(stderr, "%s\n", token);
	explicit_bzero(token, sizeof(token));
	printf("%.*s", (int)buf_len(&line), buf_str(&line).p);
	buf_free(&line);
	return fflush(stdout) == 0 ? 0 : EXIT_FAILED;
}

int
options_parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "test", no_argument, NULL, 't' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ "assume-initial", no_argument, NULL, 'a' },
		{ "print-ruleset", no_argument, NULL, 'p' },
		{ "against", required_argument, NULL, 'g' },
		{ "user", required_argument, NULL, 'u' },
		{ "new-token", required_argument, NULL, 'n' },
		{ "successor", no_argument, NULL, 's' },
		/* The supervisor has read these, and leaves them to be seen. */
		{ "no-supervisor", no_argument, NULL, 'r' },
		{ "max-restarts", required_argument, NULL, 'r' },
		{ "watchdog", required_argument, NULL, 'r' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:tVh", longs, NULL)) != -1)
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case 't':
			o->test = true;
			break;
		case 'p':
			o->print = true;
			break;
		case 'g':
			o->against = optarg;
			break;
		case 'u':
			o->user = optarg;
			break;
		case 'a':
			o->assume_initial = true;
			break;
		case 's':	/* the supervisor's alone */
			o->successor = true;
			break;
		case 'r':
			break;
		case 'n':
			return print_new_token(optarg);
		case 'V':
			printf("teald %s\n", teal_version());
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs("try: teald --help\n", stderr);
			return EXIT_USAGE;
		}
	if (optind < argc) {
		fprintf(stderr, "teald: unexpected argument \"%s\"; try: teald --help\n", argv[optind]);
		return EXIT_USAGE;
	}
	if (o->print && !o->test) {
		fputs("teald: --print-ruleset goes with -t: nothing is started\n", stderr);
		return EXIT_USAGE;
	}
	if (o->user != NULL && !o->test) {
		fputs("teald: --user goes with -t; who serves is the user that starts teald, or user in the configuration\n", stderr);
		return EXIT_USAGE;
	}
	if (o->against != NULL && !o->test) {
		fputs("teald: --against goes with -t: nothing is started\n", stderr);
		return EXIT_USAGE;
	}
	if (o->successor != succession_is_on()) {
		fputs("teald: --successor is for the supervisor, which starts one when an upgrade is asked for\n", stderr);
		return EXIT_USAGE;
	}
	if (o->config == NULL) {
		fputs("teald: no configuration given; use: teald -c FILE\n", stderr);
		return EXIT_USAGE;
	}
	return -1;
}
