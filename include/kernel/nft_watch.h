/* nft_watch.h - hears when an nftables table is deleted, or something in it: loading a
 * firewall's rules anew (nft flush ruleset) deletes all tables.
 * Thread: main. */
#ifndef KERNEL_NFT_WATCH_H
#define KERNEL_NFT_WATCH_H

#include <ev.h>

#include "base/err.h"

struct nft_watch;

/* gone() is called when the inet table of that name was deleted, by whomever, or
 * something in it by another than self (nft_port()), and when such news were lost; maybe it
 * is there again by then.  Needs CAP_NET_ADMIN while it opens. */
MUST_USE enum err nft_watch_open(struct nft_watch **out, struct ev_loop *loop, const char *table,
				 unsigned self, void (*gone)(void *arg), void *arg, struct why *why);
void nft_watch_close(struct nft_watch **wp);

#endif
