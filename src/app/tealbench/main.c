/* main.c - tealbench: the test backend. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "app/tealbench/tealbench.h"

static const char usage[] =
	"usage: tealbench COMMAND [OPTIONS]\n"
	"\n"
	"  serve   a light backend that says who it is\n"
	"\n"
	"tealbench COMMAND --help lists a command's options.\n";

static const char serve_usage[] =
	"usage: tealbench serve --listen=ADDRESS:PORT [OPTIONS]\n"
	"\n"
	"  --listen=ADDRESS   127.0.0.1:10080, [::1]:80 or unix:/path; may be repeated;\n"
	"                     port 0: a free one, which is printed\n"
	"  --name=NAME        who it says it is (default: backend)\n"
	"  --mode=MODE        http     GET / /bytes/N /delay/MS /status/CODE /stream/N/MS\n"
	"                              /headers, POST /echo (default)\n"
	"                     echo     sends back what it gets\n"
	"                     hello    sends \"NAME\\n\" upon connect, then echoes\n"
	"                     sink     counts bytes; at the client's end answers \"COUNT\\n\"\n"
	"                     source   answers each line \"N\\n\" with N bytes\n"
	"                     mute     accepts and says nothing\n"
	"  --threads=N        worker threads (default 1)\n"
	"  --bytes=N          source: send N bytes to everybody, unasked\n"
	"  --congestion=NAME  TCP congestion control of its connections, like reno\n"
	"\n"
	"Prints a line {\"event\":\"listening\",\"address\":...} for each address once all are\n"
	"ready; ends on SIGTERM or SIGINT.\n";

static const struct command {
	const char *word, *usage;
	enum err (*run)(int argc, char **argv, struct why *why);
} commands[] = {
	{ "serve", serve_usage, serve_main },
};

int
main(int argc, char **argv)
{
	struct why why = { "" };
	enum err e;

	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		fputs(usage, stderr);
		return err_exit_status(E_USAGE);
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].word, argv[1]) != 0)
			continue;
		if (argc > 2 && strcmp(argv[2], "--help") == 0) {
			fputs(commands[i].usage, stdout);
			return 0;
		}
		if ((e = commands[i].run(argc - 2, argv + 2, &why)) != OK)
			fprintf(stderr, "tealbench %s: %s\n", argv[1], why.text);
		return err_exit_status(e);
	}
	fprintf(stderr, "tealbench: %s: no such command\n%s", argv[1], usage);
	return err_exit_status(E_USAGE);
}
