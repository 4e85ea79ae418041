/* nft_private.h - what nft.c and nft_batch.c share. */
#ifndef KERNEL_NFT_PRIVATE_H
#define KERNEL_NFT_PRIVATE_H

#include <libmnl/libmnl.h>

#include "kernel/nft.h"

struct nft {
	struct mnl_socket *socket;
	uint32_t seq;

	/* The transaction that is being written: messages one after the other. */
	char table[NFT_NAME];
	char *batch;
	size_t n, room;
	/* Where the last message of elements is, to which more may be added. */
	size_t open;	/* offset of its header; 0: there is none */
	size_t elements;	/* offset of its list */
	uint16_t open_type;
	char open_set[NFT_NAME];
	size_t last;	/* offset of the last message; 0: nothing to do */

	char answer[32768];
};

#endif
