/* nft_batch.c - one transaction of elements and deletions, as messages to the kernel
 * (linux/netfilter/nf_tables.h).
 * Thread: its owner's, one at a time. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "kernel/nft_private.h"

/* No message gets longer: what is nested has 16 bits for its length. */
#define MESSAGE_MAX 32768
/* No element or header does. */
#define PIECE_MAX 2048

/* -- messages -------------------------------------------------------------------- */

static struct nlmsghdr *
message_at(struct nft *n, size_t offset)
{
	return (struct nlmsghdr *)(void *)(n->batch + offset);
}

static struct nlmsghdr *
message(struct nft *n, unsigned type, unsigned flags, unsigned subsystem)
{
	struct nlmsghdr *nlh;
	struct nfgenmsg *head;

	if (n->n + PIECE_MAX > n->room) {
		n->room = n->room == 0 ? 4 * PIECE_MAX : n->room * 2;
		n->batch = must_grow(n->batch, n->room, 1);
	}
	nlh = mnl_nlmsg_put_header(n->batch + n->n);
	nlh->nlmsg_type = (uint16_t)type;
	nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	nlh->nlmsg_seq = ++n->seq;
	head = mnl_nlmsg_put_extra_header(nlh, sizeof(*head));
	*head = (struct nfgenmsg){ .version = NFNETLINK_V0,
				   .nfgen_family = subsystem == 0 ? NFPROTO_INET : AF_UNSPEC,
				   .res_id = htons((uint16_t)subsystem) };
	return nlh;
}

struct nlmsghdr *
nft_operation(struct nft *n, unsigned type, unsigned flags)
{
	n->last = n->n;
	n->open = 0;
	return message(n, NFNL_SUBSYS_NFTABLES << 8 | type, flags, 0);
}

void
nft_finish(struct nft *n, const struct nlmsghdr *nlh)
{
	n->n += MNL_ALIGN(nlh->nlmsg_len);
}

void
nft_begin(struct nft *n, const char *table)
{
	CHECK(str_copy(n->table, sizeof(n->table), str_from(table)));
	n->n = n->last = n->open = n->sets = 0;
	nft_finish(n, message(n, NFNL_MSG_BATCH_BEGIN, 0, NFNL_SUBSYS_NFTABLES));
}

void
nft_begin_at(struct nft *n, const char *table, uint32_t generation)
{
	struct nlmsghdr *nlh;

	nft_begin(n, table);
	n->n = 0;
	nlh = message(n, NFNL_MSG_BATCH_BEGIN, 0, NFNL_SUBSYS_NFTABLES);
	mnl_attr_put_u32(nlh, NFNL_BATCH_GENID, htonl(generation));
	nft_finish(n, nlh);
}

void
nft_add_table(struct nft *n, const char *comment)
{
	struct nlmsghdr *nlh = nft_operation(n, NFT_MSG_NEWTABLE, NLM_F_CREATE);
	uint8_t data[2 + 129];
	size_t length = strlen(comment) + 1;

	CHECK(length <= sizeof(data) - 2);
	/* Type, length, text with its NUL. */
	data[0] = 0;
	data[1] = (uint8_t)length;
	memcpy(data + 2, comment, length);
	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, n->table);
	mnl_attr_put_u32(nlh, NFTA_TABLE_FLAGS, htonl(0));
	mnl_attr_put(nlh, NFTA_TABLE_USERDATA, 2 + length, data);
	nft_finish(n, nlh);
}

/* -- elements -------------------------------------------------------------------- */

/* The message that elements are written to: that of the one before, if it does the
 * same to the same set and has room. */
static struct nlmsghdr *
elements(struct nft *n, const char *set, uint32_t set_id, uint16_t type)
{
	struct nlmsghdr *nlh;

	if (n->open != 0 && n->open_type == type && strcmp(n->open_set, set) == 0 &&
	    message_at(n, n->open)->nlmsg_len + PIECE_MAX < MESSAGE_MAX) {
		if (n->n + PIECE_MAX > n->room) {
			n->room *= 2;
			n->batch = must_grow(n->batch, n->room, 1);
		}
		return message_at(n, n->open);
	}
	nlh = nft_operation(n, type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_TABLE, n->table);
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, set);
	if (set_id != 0)
		mnl_attr_put_u32(nlh, NFTA_SET_ELEM_LIST_SET_ID, htonl(set_id));
	n->elements = n->last + MNL_ALIGN(nlh->nlmsg_len);
	mnl_attr_nest_start(nlh, NFTA_SET_ELEM_LIST_ELEMENTS);
	n->open = n->last;
	n->open_type = type;
	CHECK(str_copy(n->open_set, sizeof(n->open_set), str_from(set)));
	return nlh;
}

static void
put_element_value(struct nlmsghdr *nlh, const struct nft_element *e)
{
	struct nlattr *data, *verdict;

	switch ((enum nft_value)e->value) {
	case NFT_VALUE_NONE:
		break;
	case NFT_VALUE_MARK:
		data = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_DATA);
		mnl_attr_put(nlh, NFTA_DATA_VALUE, sizeof(e->mark), &e->mark);
		mnl_attr_nest_end(nlh, data);
		break;
	case NFT_VALUE_JUMP:
		data = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_DATA);
		verdict = mnl_attr_nest_start(nlh, NFTA_DATA_VERDICT);
		mnl_attr_put_u32(nlh, NFTA_VERDICT_CODE, htonl((uint32_t)NFT_JUMP));
		mnl_attr_put_strz(nlh, NFTA_VERDICT_CHAIN, e->name);
		mnl_attr_nest_end(nlh, verdict);
		mnl_attr_nest_end(nlh, data);
		break;
	case NFT_VALUE_COUNTER:
		mnl_attr_put_strz(nlh, NFTA_SET_ELEM_OBJREF, e->name);
		break;
	}
}

struct nlmsghdr *
nft_element_begin(struct nft *n, const char *set, uint32_t set_id, uint16_t type, struct nlattr **element)
{
	struct nlmsghdr *nlh = elements(n, set, set_id, type);

	*element = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);
	return nlh;
}

void
nft_element_end(struct nft *n, struct nlmsghdr *nlh, struct nlattr *element)
{
	mnl_attr_nest_end(nlh, element);
	mnl_attr_nest_end(nlh, (struct nlattr *)(void *)(n->batch + n->elements));
	n->n = n->open + MNL_ALIGN(nlh->nlmsg_len);
}

static void
put_element(struct nft *n, const char *set, uint16_t type, const struct nft_element *e, double timeout)
{
	struct nlattr *element, *key;
	struct nlmsghdr *nlh = nft_element_begin(n, set, 0, type, &element);

	key = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_KEY);
	mnl_attr_put(nlh, NFTA_DATA_VALUE, e->key_len, e->key);
	mnl_attr_nest_end(nlh, key);
	if (type == NFT_MSG_NEWSETELEM) {
		put_element_value(nlh, e);
		if (e->mortal)
			mnl_attr_put_u64(nlh, NFTA_SET_ELEM_TIMEOUT, htobe64((uint64_t)(timeout * 1000)));
	}
	nft_element_end(n, nlh, element);
}

void
nft_add_element(struct nft *n, const char *set, const struct nft_element *e, double timeout)
{
	put_element(n, set, NFT_MSG_NEWSETELEM, e, timeout);
}

void
nft_delete_element(struct nft *n, const char *set, const struct nft_element *e)
{
	put_element(n, set, NFT_MSG_DELSETELEM, e, 0);
}

/* -- deletions ------------------------------------------------------------------- */

void
nft_delete(struct nft *n, enum nft_kind kind, const char *name)
{
	struct nlmsghdr *nlh;

	switch (kind) {
	case NFT_KIND_CHAIN:
		nlh = nft_operation(n, NFT_MSG_DELCHAIN, 0);
		mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, n->table);
		mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, name);
		nft_finish(n, nlh);
		break;
	case NFT_KIND_SET:
		nlh = nft_operation(n, NFT_MSG_DELSET, 0);
		mnl_attr_put_strz(nlh, NFTA_SET_TABLE, n->table);
		mnl_attr_put_strz(nlh, NFTA_SET_NAME, name);
		nft_finish(n, nlh);
		break;
	case NFT_KIND_COUNTER:
		nlh = nft_operation(n, NFT_MSG_DELOBJ, 0);
		mnl_attr_put_strz(nlh, NFTA_OBJ_TABLE, n->table);
		mnl_attr_put_strz(nlh, NFTA_OBJ_NAME, name);
		mnl_attr_put_u32(nlh, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
		nft_finish(n, nlh);
		break;
	case NFT_KIND_RULE:
		CHECK(!"rules have no names, and go with their chains");
	}
}

void
nft_flush_chain(struct nft *n, const char *chain)
{
	struct nlmsghdr *nlh = nft_operation(n, NFT_MSG_DELRULE, 0);

	mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, n->table);
	mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, chain);
	nft_finish(n, nlh);
}

void
nft_delete_table(struct nft *n)
{
	struct nlmsghdr *nlh = nft_operation(n, NFT_MSG_DELTABLE, 0);

	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, n->table);
	nft_finish(n, nlh);
}

/* -- the whole ------------------------------------------------------------------- */

/* The kernel does it all while we send, so what it says is there when that returns.
 * 0, or the errno of the first message that it refused. */
static int
read_acks(struct nft *n)
{
	int first = ENODATA;

	for (;;) {
		ssize_t got = recv(mnl_socket_get_fd(n->socket), n->answer, sizeof(n->answer), MSG_DONTWAIT);
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)(const void *)n->answer;
		int left = (int)got;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? first : errno;
		for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
			const struct nlmsgerr *said = mnl_nlmsg_get_payload(nlh);

			if (nlh->nlmsg_type != NLMSG_ERROR || nlh->nlmsg_len < mnl_nlmsg_size(sizeof(*said)))
				continue;
			if (first == ENODATA || first == 0)
				first = -said->error;
		}
	}
}

enum err
nft_commit(struct nft *n, struct why *why)
{
	int fd = mnl_socket_get_fd(n->socket), room, error;

	if (n->last == 0)
		return OK;
	message_at(n, n->last)->nlmsg_flags |= NLM_F_ACK;
	n->open = 0;
	nft_finish(n, message(n, NFNL_MSG_BATCH_END, 0, NFNL_SUBSYS_NFTABLES));
	/* A transaction is one datagram. */
	room = (int)n->n * 2 + 65536;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) != 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	error = mnl_socket_sendto(n->socket, n->batch, n->n) < 0 ? errno : read_acks(n);
	n->n = n->last = 0;
	if (error == 0)
		return OK;
	if (error == EPERM)
		return why_set(why, E_DENIED, "nftables may not be changed: CAP_NET_ADMIN is missing");
	return why_set(why,
		       error == ENOENT || error == EEXIST || error == EBUSY || error == ERESTART ?
			       E_CONFLICT :
			       E_INTERNAL,
		       "nftables: a change was refused: %s", strerror(error));
}
