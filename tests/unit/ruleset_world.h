/* ruleset_world.h - services, colors and snapshots for the ruleset's tests, and
 * three network namespaces: clients, the balancer, backends. */
#ifndef TESTS_UNIT_RULESET_WORLD_H
#define TESTS_UNIT_RULESET_WORLD_H

#include <fcntl.h>
#include <stdarg.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/ruleset.h"
#include "model/balance.h"

#define DESIGN_SERVICES 4

/* What a test configures. */
struct design {
	struct ruleset_config config;
	struct ruleset_service services[DESIGN_SERVICES];
	struct addr listen[DESIGN_SERVICES][4], preview[DESIGN_SERVICES][2];
	struct limits_config limits[DESIGN_SERVICES];
};

static inline struct addr
address_of(const char *text)
{
	struct addr a;
	struct why why;

	if (addr_parse(text, ADDR_ANY_HOST, &a, &why) != OK) {
		fprintf(stderr, "%s: %s\n", text, why.text);
		abort();
	}
	return a;
}

static inline void
design_init(struct design *d)
{
	memset(d, 0, sizeof(*d));
	d->config = (struct ruleset_config){
		.table = "test", .owner = "one", .tag = 0xa5, .services = d->services
	};
}

static inline void
design_listen(struct design *d, size_t service, const char *text)
{
	d->listen[service][d->services[service].n_listen++] = address_of(text);
}

static inline void
design_preview(struct design *d, size_t service, const char *text)
{
	d->preview[service][d->services[service].n_preview++] = address_of(text);
}

/* Adds a service of TCP at that address; its index. */
static inline size_t
design_service(struct design *d, const char *name, const char *listen)
{
	size_t i = d->config.n_services++;

	d->services[i] = (struct ruleset_service){ .name = name,
						   .mode = MODE_TCP,
						   .listen = d->listen[i],
						   .preview = d->preview[i],
						   .limits = &d->limits[i] };
	d->limits[i].source_prefix6 = 64;
	design_listen(d, i, listen);
	return i;
}

/* "10.0.0.1:80 10.0.0.2:80*3": backends and their weights.  A '-' before one: it is not
 * usable. */
static inline unsigned
parse_backends(const char *text, enum color color, struct backend *out[], bool usable[], unsigned max)
{
	char copy[4096], *save = NULL, *word;
	unsigned n = 0;

	CHECK(strlen(text) < sizeof(copy));
	strcpy(copy, text);
	for (word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
		char *star = strchr(word, '*');
		struct addr a;

		CHECK(n < max);
		usable[n] = word[0] != '-';
		if (star != NULL)
			*star = '\0';
		a = address_of(word + !usable[n]);
		out[n] = backend_new(color, &a, &a);
		out[n++]->weight = star != NULL ? (unsigned)atoi(star + 1) : 1;
	}
	return n;
}

/* The caller's. */
static inline struct snapshot *
snapshot_of(uint64_t generation, uint64_t epoch, enum color active, const char *green, const char *blue)
{
	enum { MOST = 300 };
	struct backend *backends[COLORS][MOST];
	bool usable[COLORS][MOST];
	unsigned n[COLORS], use[COLORS];
	struct snapshot *s;

	for (int c = 0; c < COLORS; c++) {
		n[c] = parse_backends(c == GREEN ? green : blue, (enum color)c, backends[c], usable[c], MOST);
		use[c] = 0;
		for (unsigned i = 0; i < n[c]; i++)
			use[c] += usable[c][i];
	}
	s = snapshot_new(generation, epoch, active, use);
	for (int c = 0; c < COLORS; c++) {
		struct maglev *m = maglev_new(backends[c], n[c]);
		unsigned at = 0;

		for (unsigned i = 0; i < n[c]; i++) {
			if (usable[c][i]) {
				s->colors[c].usable[at] = backend_ref(backends[c][i]);
				s->colors[c].weights[at++] = backends[c][i]->weight * 100;
			}
		}
		balance_prepare(&s->colors[c], m);
		maglev_unref(&m);
		for (unsigned i = 0; i < n[c]; i++)
			backend_unref(&backends[c][i]);
	}
	return s;
}

/* -- namespaces ------------------------------------------------------------------- */

/* Clients 10.1.0.0/24 - the balancer (.1, and 10.9.0.0/24 of services) - backends
 * 10.2.0.0/24; the same in fd01::, fd09::, fd02::. */
enum side { CLIENTS, BALANCER, BACKENDS, SIDES };

struct net {
	int fds[SIDES], home;
};

static inline void
shell(const char *fmt, ...)
{
	char command[4096];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	if (system(command) != 0) {
		fprintf(stderr, "failed: %s\n", command);
		abort();
	}
}

/* Sockets and commands are of that side from now on. */
static inline void
net_go(const struct net *n, enum side side)
{
	CHECK(setns(n->fds[side], CLONE_NEWNET) == 0);
}

static inline void
net_make(struct net *n)
{
	n->home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < SIDES; i++) {
		CHECK(unshare(CLONE_NEWNET) == 0);
		n->fds[i] = open("/proc/thread-self/ns/net", O_RDONLY);
		CHECK(n->fds[i] >= 0);
		shell("ip link set lo up");
	}
	net_go(n, BALANCER);
	/* Children inherit the descriptors: iproute2 takes a path. */
	shell("ip link add name front type veth peer name eth netns /proc/%d/fd/%d && "
	      "ip link add name back type veth peer name eth netns /proc/%d/fd/%d",
	      (int)getpid(), n->fds[CLIENTS], (int)getpid(), n->fds[BACKENDS]);
	shell("ip addr add 10.1.0.1/24 dev front && ip addr add 10.2.0.1/24 dev back && "
	      "ip -6 addr add fd01::1/64 dev front nodad && ip -6 addr add fd02::1/64 dev back nodad && "
	      "ip addr add 10.9.0.1/24 dev lo && ip -6 addr add fd09::1/64 dev lo nodad && "
	      "ip link set front up && ip link set back up && "
	      "echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
	net_go(n, CLIENTS);
	shell("ip addr add 10.1.0.2/24 dev eth && ip addr add 10.1.0.3/24 dev eth && "
	      "ip -6 addr add fd01::2/64 dev eth nodad && ip link set eth up && "
	      "ip route add default via 10.1.0.1 && ip -6 route add default via fd01::1");
	net_go(n, BACKENDS);
	for (int i = 11; i < 15; i++)
		shell("ip addr add 10.2.0.%d/24 dev eth", i);
	shell("ip -6 addr add fd02::11/64 dev eth nodad && ip -6 addr add fd02::12/64 dev eth nodad && "
	      "ip link set eth up && ip route add default via 10.2.0.1 && ip -6 route add default via fd02::1");
	net_go(n, BALANCER);
}

static inline void
net_free(struct net *n)
{
	CHECK(setns(n->home, CLONE_NEWNET) == 0);
	close(n->home);
	for (int i = 0; i < SIDES; i++)
		close(n->fds[i]);
}

#endif
