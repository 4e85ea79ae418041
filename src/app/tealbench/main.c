/* main.c - tealbench: the test backend and the load generator. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "app/tealbench/tealbench.h"
#include "base/version.h"

static const char usage[] =
	"usage: tealbench COMMAND [OPTIONS]\n"
	"\n"
	"  serve   a light backend that says who it is\n"
	"  load    an honest load generator\n"
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

static const char load_usage[] =
	"usage: tealbench load --target=ADDRESS:PORT [OPTIONS]\n"
	"\n"
	"  --target=ADDRESS   127.0.0.1:80, [::1]:80, host:80 or unix:/path\n"
	"  --mode=MODE        http           GET PATH over and over (default)\n"
	"                     http-close     the same, a connection for each\n"
	"                     tcp-small      SIZE bytes and their echo, over and over\n"
	"                     tcp-connect    the same, a connection for each\n"
	"                     tcp-bulk-down  SIZE bytes from a source, over and over\n"
	"                     tcp-bulk-up    SIZE bytes to a sink, over and over\n"
	"                     tcp-idle       open all, one echo each, hold them\n"
	"  --connections=N    at once (default 1)\n"
	"  --threads=N        (default 1)\n"
	"  --duration=S       end after that many seconds (default 10)\n"
	"  --requests=N       end after that many requests\n"
	"  --rate=R           open loop: R requests a second, come what may; latency\n"
	"                     counts from when a request was due.  Without: closed loop,\n"
	"                     each connection asks again once it is answered\n"
	"  --size=B           bytes a message or transfer, like 64, 16KiB, 1GiB\n"
	"  --path=PATH        (default /); the body of /bytes/N is checked\n"
	"  --timeout=S        without an answer or progress (default 10)\n"
	"  --hello            tcp: the backend names itself first (serve --mode=hello)\n"
	"  --half-close       tcp-connect: end our side with the message, wait for the end\n"
	"  --no-check         do not compare the bytes that come back\n"
	"  --sources=N        connect from 127.0.0.1 to 127.0.0.N in turn\n"
	"  --congestion=NAME  TCP congestion control, like reno\n"
	"  --json             one JSON object at the end; times in microseconds\n"
	"  --yes-i-own-this-target  allow one outside of private ranges\n"
	"\n"
	"Exit status: 0 when every request succeeded, 1 when some did not.\n";

static const struct command {
	const char *word, *usage;
	enum err (*run)(int argc, char **argv, struct why *why);
} commands[] = {
	{ "serve", serve_usage, serve_main },
	{ "load", load_usage, load_main },
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
	if (strcmp(argv[1], "--version") == 0) {
		printf("tealbench %s\n", teal_version());
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
