/* shortcut_private.h - what shortcut.c and shortcut_links.c share. */
#ifndef KERNEL_SHORTCUT_PRIVATE_H
#define KERNEL_SHORTCUT_PRIVATE_H

#include <net/if.h>
#include <pthread.h>

#include "kernel/shortcut.h"

struct bpf_object;
struct ring_buffer;

/* An interface that has the program. */
struct shortcut_link {
	unsigned index;
	int fd;	/* of the link: closed, the program is gone */
	bool seen;	/* by the look that goes on */
	char name[IF_NAMESIZE];
};

struct shortcut {
	struct bpf_object *object;
	struct ring_buffer *ring;
	int program, settings, ports, links_map, counts, asks;	/* descriptors of object */
	uint32_t tag;
	struct shortcut_settings told;
	shortcut_ask_fn *on_ask;	/* while asks are read */
	void *arg;
	int route_fd;	/* rtnetlink: news of interfaces */
	struct shortcut_link *links;
	size_t n_links;
	bool everywhere;	/* also where a qdisc has filters */
	unsigned *filtered;	/* while links are looked at: indexes of interfaces that have such */
	size_t n_filtered;
	pthread_mutex_t lock;	/* over links, for who asks for their names */
};

/* Packets may leave by that interface, or may not. */
void shortcut_map_link(struct shortcut *s, unsigned index, bool on);

/* -- shortcut_links.c -------------------------------------------------------------- */

/* The socket of news, and a first look.  E_UNSUPPORTED: not one interface takes the program. */
MUST_USE enum err shortcut_links_open(struct shortcut *s, struct why *why);
void shortcut_links_close(struct shortcut *s);

#endif
