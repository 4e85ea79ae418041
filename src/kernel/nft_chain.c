/* nft_chain.c - a chain whose rule chooses among addresses, as messages to the kernel:
 * what `nft --debug=netlink` shows for the text in the header.
 * Thread: its owner's, one at a time. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

#include "base/check.h"
#include "kernel/nft_private.h"

/* What the kernel makes a name of. */
#define ANONYMOUS "__map%d"
/* nft's numbers for types, of which the kernel knows nothing: they are for those who
 * list the table.  Those of a concatenation have 6 bits each. */
#define TYPE_INTEGER 4
#define TYPE_ADDRESS4_PORT (7 << 6 | 13)
#define TYPE_ADDRESS6_PORT (8 << 6 | 13)

void
nft_add_chain(struct nft *n, const char *chain)
{
	struct nlmsghdr *nlh = nft_operation(n, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL);

	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, n->table);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, chain);
	nft_finish(n, nlh);
}

/* -- the map ---------------------------------------------------------------------- */

static uint32_t
address_size(const struct nft_turns *t)
{
	return t->family == AF_INET6 ? 16 : 4;
}

static void
add_map(struct nft *n, const struct nft_turns *t, uint32_t id)
{
	/* Byte orders of key (the host's) and value, for who lists it: type, length, value. */
	static const uint8_t shown[] = { 0, 4, 1, 0, 0, 0, 1, 4, 0, 0, 0, 0 };
	struct nlmsghdr *nlh = nft_operation(n, NFT_MSG_NEWSET, NLM_F_CREATE);
	struct nlattr *desc;

	mnl_attr_put_strz(nlh, NFTA_SET_TABLE, n->table);
	mnl_attr_put_strz(nlh, NFTA_SET_NAME, ANONYMOUS);
	mnl_attr_put_u32(nlh, NFTA_SET_FLAGS, htonl(NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | NFT_SET_MAP));
	mnl_attr_put_u32(nlh, NFTA_SET_KEY_TYPE, htonl(TYPE_INTEGER));
	mnl_attr_put_u32(nlh, NFTA_SET_KEY_LEN, htonl(4));
	mnl_attr_put_u32(nlh, NFTA_SET_DATA_TYPE,
			 htonl(t->family == AF_INET6 ? TYPE_ADDRESS6_PORT : TYPE_ADDRESS4_PORT));
	mnl_attr_put_u32(nlh, NFTA_SET_DATA_LEN, htonl(address_size(t) + 4));
	mnl_attr_put_u32(nlh, NFTA_SET_ID, htonl(id));
	desc = mnl_attr_nest_start(nlh, NFTA_SET_DESC);
	mnl_attr_put_u32(nlh, NFTA_SET_DESC_SIZE, htonl(t->n));
	mnl_attr_nest_end(nlh, desc);
	mnl_attr_put(nlh, NFTA_SET_USERDATA, sizeof(shown), shown);
	nft_finish(n, nlh);
}

static void
add_slot(struct nft *n, const struct nft_turns *t, uint32_t id, uint32_t slot)
{
	const struct addr *a = t->list[slot];
	uint32_t size = address_size(t);
	uint16_t port = htons((uint16_t)addr_port(a));
	uint8_t value[20] = { 0 };
	struct nlattr *element, *part;
	struct nlmsghdr *nlh = nft_element_begin(n, ANONYMOUS, id, NFT_MSG_NEWSETELEM, &element);

	DCHECK(addr_family(a) == t->family);
	if (t->family == AF_INET6)
		memcpy(value, &a->u.in6.sin6_addr, size);
	else
		memcpy(value, &a->u.in.sin_addr, size);
	memcpy(value + size, &port, sizeof(port));
	part = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_KEY);
	mnl_attr_put(nlh, NFTA_DATA_VALUE, sizeof(slot), &slot);
	mnl_attr_nest_end(nlh, part);
	part = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_DATA);
	mnl_attr_put(nlh, NFTA_DATA_VALUE, size + 4, value);
	mnl_attr_nest_end(nlh, part);
	nft_element_end(n, nlh, element);
}

/* -- the rule's expressions --------------------------------------------------------- */

struct expression {
	struct nlmsghdr *nlh;
	struct nlattr *whole, *data;
};

static struct expression
begin_expression(struct nlmsghdr *nlh, const char *name)
{
	struct expression e = { .nlh = nlh, .whole = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM) };

	mnl_attr_put_strz(nlh, NFTA_EXPR_NAME, name);
	e.data = mnl_attr_nest_start(nlh, NFTA_EXPR_DATA);
	return e;
}

static void
put_attribute(const struct expression *e, uint16_t attr, uint32_t value)
{
	mnl_attr_put_u32(e->nlh, attr, htonl(value));
}

static void
end_expression(const struct expression *e)
{
	mnl_attr_nest_end(e->nlh, e->data);
	mnl_attr_nest_end(e->nlh, e->whole);
}

/* What a byte of the packet's description has to be. */
static void
add_test(struct nlmsghdr *nlh, uint32_t key, uint8_t value)
{
	struct expression e = begin_expression(nlh, "meta");
	struct nlattr *data;

	put_attribute(&e, NFTA_META_KEY, key);
	put_attribute(&e, NFTA_META_DREG, NFT_REG_1);
	end_expression(&e);
	e = begin_expression(nlh, "cmp");
	put_attribute(&e, NFTA_CMP_SREG, NFT_REG_1);
	put_attribute(&e, NFTA_CMP_OP, NFT_CMP_EQ);
	data = mnl_attr_nest_start(nlh, NFTA_CMP_DATA);
	mnl_attr_put(nlh, NFTA_DATA_VALUE, sizeof(value), &value);
	mnl_attr_nest_end(nlh, data);
	end_expression(&e);
}

static void
add_counter(struct nlmsghdr *nlh, const struct nft_turns *t)
{
	struct expression e = begin_expression(nlh, "numgen");

	put_attribute(&e, NFTA_NG_DREG, NFT_REG_1);
	put_attribute(&e, NFTA_NG_MODULUS, t->n);
	put_attribute(&e, NFTA_NG_TYPE, NFT_NG_INCREMENTAL);
	put_attribute(&e, NFTA_NG_OFFSET, 0);
	end_expression(&e);
}

static void
add_hash(struct nlmsghdr *nlh, const struct nft_turns *t)
{
	struct expression e = begin_expression(nlh, "payload");

	put_attribute(&e, NFTA_PAYLOAD_DREG, NFT_REG_2);
	put_attribute(&e, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
	/* The source address in headers of IPv4 and IPv6. */
	put_attribute(&e, NFTA_PAYLOAD_OFFSET, t->family == AF_INET6 ? 8 : 12);
	put_attribute(&e, NFTA_PAYLOAD_LEN, address_size(t));
	end_expression(&e);
	e = begin_expression(nlh, "hash");
	put_attribute(&e, NFTA_HASH_SREG, NFT_REG_2);
	put_attribute(&e, NFTA_HASH_DREG, NFT_REG_1);
	put_attribute(&e, NFTA_HASH_LEN, address_size(t));
	put_attribute(&e, NFTA_HASH_MODULUS, t->n);
	put_attribute(&e, NFTA_HASH_SEED, t->seed);
	put_attribute(&e, NFTA_HASH_OFFSET, 0);
	put_attribute(&e, NFTA_HASH_TYPE, NFT_HASH_JENKINS);
	end_expression(&e);
}

static void
add_nat(struct nlmsghdr *nlh, const struct nft_turns *t, uint32_t id)
{
	struct expression e = begin_expression(nlh, "lookup");

	mnl_attr_put_strz(nlh, NFTA_LOOKUP_SET, ANONYMOUS);
	put_attribute(&e, NFTA_LOOKUP_SET_ID, id);
	put_attribute(&e, NFTA_LOOKUP_SREG, NFT_REG_1);
	put_attribute(&e, NFTA_LOOKUP_DREG, NFT_REG_1);
	end_expression(&e);
	e = begin_expression(nlh, "nat");
	put_attribute(&e, NFTA_NAT_TYPE, NFT_NAT_DNAT);
	put_attribute(&e, NFTA_NAT_FAMILY, t->family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
	put_attribute(&e, NFTA_NAT_REG_ADDR_MIN, NFT_REG_1);
	/* The port is behind the address. */
	put_attribute(&e, NFTA_NAT_REG_PROTO_MIN, t->family == AF_INET6 ? NFT_REG_2 : NFT_REG32_01);
	end_expression(&e);
}

void
nft_add_turns(struct nft *n, const char *chain, const struct nft_turns *t)
{
	uint32_t id = ++n->sets;
	struct nlmsghdr *nlh;
	struct nlattr *list;

	CHECK(t->n >= 1);
	add_map(n, t, id);
	for (uint32_t i = 0; i < t->n; i++)
		add_slot(n, t, id, i);
	nlh = nft_operation(n, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, n->table);
	mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, chain);
	list = mnl_attr_nest_start(nlh, NFTA_RULE_EXPRESSIONS);
	add_test(nlh, NFT_META_NFPROTO, t->family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
	add_test(nlh, NFT_META_L4PROTO, t->protocol);
	if (t->hash)
		add_hash(nlh, t);
	else
		add_counter(nlh, t);
	add_nat(nlh, t, id);
	mnl_attr_nest_end(nlh, list);
	nft_finish(n, nlh);
}
