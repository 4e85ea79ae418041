/* nft_watch.h - hears when somebody takes an nftables table away, or something in it: a
 * firewall whose rules are loaded anew (nft flush ruleset) takes everybody's.
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
