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
	uint32_t sets;	/* anonymous ones in it */

	char answer[32768];
};

/* nft_batch.c: the parts that messages are made of. */
struct nlmsghdr *nft_operation(struct nft *n, unsigned type, unsigned flags);
void nft_finish(struct nft *n, const struct nlmsghdr *nlh);
/* An element of a set, in a message with others of it as far as there is room: attributes of it are put
 * between the two.  set_id: of an anonymous set of this transaction, or 0. */
struct nlmsghdr *
nft_element_begin(struct nft *n, const char *set, uint32_t set_id, uint16_t type, struct nlattr **element);
void nft_element_end(struct nft *n, struct nlmsghdr *nlh, struct nlattr *element);

#endif
