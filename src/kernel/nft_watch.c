/* nft_watch.c - listens to the kernel's news of nftables for one table.
 * Thread: main. */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "kernel/nft_watch.h"

#define WATCH_MAGIC 0x6e667477u
/* Messages read in one turn of the loop. */
#define TURN 64

struct nft_watch {
	uint32_t magic;
	ev_io io;
	struct ev_loop *loop;
	struct mnl_socket *socket;
	char *table;
	unsigned self;
	void (*gone)(void *arg);
	void *arg;
};

/* All of them have the name of the table first. */
_Static_assert((int)NFTA_RULE_TABLE == (int)NFTA_TABLE_NAME &&
		       (int)NFTA_CHAIN_TABLE == (int)NFTA_TABLE_NAME &&
		       (int)NFTA_SET_TABLE == (int)NFTA_TABLE_NAME &&
		       (int)NFTA_OBJ_TABLE == (int)NFTA_TABLE_NAME &&
		       (int)NFTA_SET_ELEM_LIST_TABLE == (int)NFTA_TABLE_NAME,
	       "one number");

static bool
is_loss(const struct nft_watch *w, const struct nlmsghdr *message)
{
	if (message->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES)
		return false;
	switch (message->nlmsg_type & 0xff) {
	case NFT_MSG_DELTABLE:
		return true;
	case NFT_MSG_DELCHAIN:
	case NFT_MSG_DELRULE:
	case NFT_MSG_DELSET:
	case NFT_MSG_DELSETELEM:
	case NFT_MSG_DELOBJ:
		return message->nlmsg_pid != w->self;
	}
	return false;
}

static bool
is_own_table(const struct nft_watch *w, const struct nlmsghdr *message)
{
	const struct nfgenmsg *family = mnl_nlmsg_get_payload(message);
	const struct nlattr *a;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*family) || family->nfgen_family != NFPROTO_INET)
		return false;
	mnl_attr_for_each(a, message, sizeof(*family))
	{
		if (mnl_attr_get_type(a) == NFTA_TABLE_NAME && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
			return strcmp(mnl_attr_get_str(a), w->table) == 0;
	}
	return false;
}

static void
watch_on_news(struct ev_loop *loop, ev_io *io, int revents)
{
	struct nft_watch *w = container_of(io, struct nft_watch, io);
	char buffer[32768] __attribute__((aligned(MNL_ALIGNTO)));
	bool gone = false;

	(void)loop;
	(void)revents;
	CHECK(w->magic == WATCH_MAGIC);
	for (int i = 0; i < TURN; i++) {
		ssize_t n = recv(io->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		int left = (int)n;

		if (n < 0 && errno == ENOBUFS)
			gone = true;	/* who knows */
		if (n <= 0 && errno != ENOBUFS)
			break;
		for (; n > 0 && mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
			gone |= is_loss(w, message) && is_own_table(w, message);
	}
	if (gone)
		w->gone(w->arg);
}

enum err
nft_watch_open(struct nft_watch **out, struct ev_loop *loop, const char *table, unsigned self,
	       void (*gone)(void *arg), void *arg, struct why *why)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	struct nft_watch *w;

	*out = NULL;
	if (s == NULL || mnl_socket_bind(s, 1u << (NFNLGRP_NFTABLES - 1), MNL_SOCKET_AUTOPID) != 0) {
		why_set(why, E_INTERNAL, "cannot listen to the kernel's news of nftables: %s",
			strerror(errno));
		if (s != NULL)
			mnl_socket_close(s);
		return E_INTERNAL;
	}
	w = must_alloc(sizeof(*w));
	*w = (struct nft_watch){
		.magic = WATCH_MAGIC,
		.loop = loop,
		.socket = s,
		.table = must_strdup(table),
		.self = self,
		.gone = gone,
		.arg = arg,
	};
	ev_io_init(&w->io, watch_on_news, mnl_socket_get_fd(s), EV_READ);
	ev_io_start(loop, &w->io);
	*out = w;
	return OK;
}

void
nft_watch_close(struct nft_watch **wp)
{
	struct nft_watch *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	ev_io_stop(w->loop, &w->io);
	mnl_socket_close(w->socket);
	free(w->table);
	w->magic = 0;
	free(w);
}
