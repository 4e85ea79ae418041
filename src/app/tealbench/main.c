/* main.c - tealbench: the test backend, the load generator, the drill. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "app/tealbench/tealbench.h"
#include "base/version.h"

static const char usage[] = "usage: tealbench COMMAND [OPTIONS]\n"
			    "\n"
			    "  serve   a light backend that says who it is\n"
			    "  load    an honest load generator\n"
			    "  drill   flips, reloads, upgrades or crashes under load, and a verdict\n"
			    "\n"
			    "tealbench COMMAND --help lists a command's options.\n";

static const char serve_usage[] =
	"usage: tealbench serve --listen=ADDRESS:PORT [OPTIONS]\n"
	"\n"
	"  --listen=ADDRESS   127.0.0.1:10080, [::1]:80 or unix:/path; may be repeated;\n"
	"                     port 0: a free one, which is printed\n"
	"  --name=NAME        who it says it is (default: backend)\n"
	"  --mode=MODE        http     GET / /bytes/N /delay/MS /status/CODE /stream/N/MS\n"
	"                              /die/N /headers /stats /ws, POST /echo /slow/RATE (default)\n"
	"                     echo     sends back what it gets\n"
	"                     hello    sends \"NAME\\n\" upon connect, then echoes\n"
	"                     sink     counts bytes; at the client's end answers \"COUNT\\n\"\n"
	"                     source   answers each line \"N\\n\" with N bytes\n"
	"                     mute     accepts and says nothing\n"
	"                     udp      sends each datagram back\n"
	"  --threads=N        worker threads (default 1)\n"
	"  --bytes=N          source: send N bytes to every client, unasked\n"
	"  --congestion=NAME  TCP congestion control of its connections, like reno\n"
	"  --tls              speak TLS, with a certificate made up on the spot\n"
	"  --cert=PEM --key=PEM  or with this one\n"
	"  --header=LINE      http: \"Name: value\" in every answer; may be repeated\n"
	"  --break=WORD[:N]   be bad at every Nth request (1000): reset close short body\n"
	"                     5xx late lie; shows that who should notice does\n"
	"  --die-after=N      crash at the request after the Nth\n"
	"\n"
	"Prints a line {\"event\":\"listening\",\"address\":...} for each address once all are\n"
	"ready; ends on SIGTERM or SIGINT, with a line {\"event\":\"served\",...} of what it counted.\n";

static const char load_usage[] =
	"usage: tealbench load --target=ADDRESS:PORT [OPTIONS]\n"
	"\n"
	"  --target=ADDRESS   127.0.0.1:80, [::1]:80, host:80 or unix:/path\n"
	"  --mode=MODE        http           GET PATH over and over (default)\n"
	"                     http-close     the same, a connection for each\n"
	"                     http2          GET PATH by HTTP/2, a stream after the other on\n"
	"                                    each connection; with --tls by ALPN\n"
	"                     ws             WebSockets of PATH (default /ws): SIZE bytes\n"
	"                                    and their echo, over and over\n"
	"                     tcp-small      SIZE bytes and their echo, over and over\n"
	"                     tcp-connect    the same, a connection for each\n"
	"                     tcp-bulk-down  SIZE bytes from a source, over and over\n"
	"                     tcp-bulk-up    SIZE bytes to a sink, over and over\n"
	"                     tcp-idle       open all, one echo each, hold them\n"
	"                     udp            a datagram of SIZE and its echo, over and over\n"
	"                     udp-flow       the same, from another port each time\n"
	"  --connections=N    at once (default 1)\n"
	"  --threads=N        (default 1)\n"
	"  --duration=S       end after that many seconds (default 10)\n"
	"  --requests=N       end after that many requests\n"
	"  --rate=R           open loop: R requests a second, come what may; latency\n"
	"                     counts from when a request was due.  Without: closed loop,\n"
	"                     each connection asks again once it is answered\n"
	"  --size=B           bytes a message or transfer, like 64, 16KiB, 1GiB\n"
	"  --path=PATH        (default /); the body of /bytes/N is checked\n"
	"  --body=B           POST so many bytes instead; the answer of /echo is checked\n"
	"  --host=NAME        the Host header\n"
	"  --header=LINE      \"Name: value\"; may be repeated\n"
	"  --name-header=NAME the header in which an answer says who made it (X-Backend)\n"
	"  --per-connection=N http: a new connection after N requests\n"
	"  --tls              speak TLS; the certificate must be good for the target's name\n"
	"  --sni=NAME         or for this one\n"
	"  --ca=PEM           trust these instead of whom the system trusts\n"
	"  --insecure         trust any server\n"
	"  --resume           resume the last session of each connection\n"
	"  --timeout=S        without an answer or progress (default 10)\n"
	"  --hello            tcp: the backend names itself first (serve --mode=hello)\n"
	"  --half-close       tcp-connect: end our side with the message, wait for the end\n"
	"  --lasting          http, tcp-small: a connection that ends between two requests\n"
	"                     is a failure, too, as it always is with ws\n"
	"  --no-check         do not compare the bytes that come back\n"
	"  --sources=N        connect from 127.0.0.1 to 127.0.0.N in turn\n"
	"  --ports=N          connect to N ports in turn, the target's and those after it\n"
	"  --congestion=NAME  TCP congestion control, like reno\n"
	"  --json             one JSON object at the end; times in microseconds\n"
	"  --yes-i-own-this-target  allow one outside of private ranges\n"
	"\n"
	"Exit status: 0 when every request succeeded, 1 when some did not.\n";

static const char drill_usage[] =
	"usage: tealbench drill --target=ADDRESS:PORT --admin=SOCKET --service=NAME [OPTIONS]\n"
	"       tealbench drill --target=ADDRESS:PORT --flip-cmd=COMMAND [OPTIONS]\n"
	"       tealbench drill --target=ADDRESS:PORT --during=reload|upgrade|crash\n"
	"                       --admin=SOCKET [OPTIONS]\n"
	"\n"
	"  --admin=SOCKET     teald's admin socket: /run/teal/admin.sock\n"
	"  --service=NAME     whose color to flip\n"
	"  --flip-cmd=COMMAND flip anything else: run by sh, with the color to make active\n"
	"                     in $COLOR; when it returns 0 the flip counts as applied\n"
	"  --during=WHAT      flip (default); reload or upgrade: of that teald; crash: the\n"
	"                     process that serves is killed by SIGKILL\n"
	"  --cmd=COMMAND      reload or upgrade anything else\n"
	"  --pid-cmd=COMMAND  crash anything else: prints the process to kill\n"
	"  --streams=N        beside the load, N connections that must last: WebSockets of\n"
	"                     /ws, with tcp-connect echoes (--mode=echo of serve)\n"
	"  --stream-target=ADDRESS   of others than --target; --stream-rate=R messages a\n"
	"                     second over all, --stream-size=B bytes each\n"
	"  --flips=N, --count=N   how many (default 10), spread evenly over the load\n"
	"  --every=S          or so many seconds apart\n"
	"  --wait=WHAT        drained (default): the next flip comes when the old color is\n"
	"                     drained; applied: it does not wait for that\n"
	"  --flip-timeout=S   a flip without an answer has failed (default 60)\n"
	"  --late=S           an answer that took longer is late (default 1; 0: none is)\n"
	"  --colors=A,B       how the backends' names begin (default green,blue)\n"
	"  --active=A         with --flip-cmd: the one active at first (default the first)\n"
	"  --mode=MODE        http (default), http-close, http2 or tcp-connect, which expects\n"
	"                     backends that name themselves (serve --mode=hello)\n"
	"\n"
	"and all options of tealbench load. With --requests=N the load lasts until so many\n"
	"were made and all flips were, with --duration=S so long.\n"
	"\n"
	"Exit status: 0 when nothing was lost, reset, late or on the wrong color, no stream\n"
	"broke and all flips (reloads, upgrades, crashes) were made; 1 otherwise. What was\n"
	"connected to a process that is killed may end with it.\n";

static const struct command {
	const char *word, *usage;
	enum err (*run)(int argc, char **argv, struct why *why);
} commands[] = {
	{ "serve", serve_usage, serve_main },
	{ "load", load_usage, load_main },
	{ "drill", drill_usage, drill_main },
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
