/* nft.c - questions to nftables and their answers; texts by libnftables.
 * Thread: its owner's, one at a time. */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <nftables/libnftables.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kernel/nft_private.h"

/* A dump that others' changes interrupted is asked again, so often. */
#define ASK_AGAIN 20

enum err
nft_open(struct nft **out, struct why *why)
{
	struct nft *n = must_alloc(sizeof(*n));
	struct nft_table none;
	enum err e;

	*out = NULL;
	n->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (n->socket == NULL || mnl_socket_bind(n->socket, 0, MNL_SOCKET_AUTOPID) != 0) {
		e = why_set(why, E_UNSUPPORTED, "the kernel offers no netfilter netlink: %s",
			    strerror(errno));
		nft_close(&n);
		return e;
	}
	if ((e = nft_table(n, "teal", &none, why)) != OK) {
		nft_close(&n);
		return e;
	}
	*out = n;
	return OK;
}

void
nft_close(struct nft **np)
{
	struct nft *n = *np;

	*np = NULL;
	if (n == NULL)
		return;
	if (n->socket != NULL)
		mnl_socket_close(n->socket);
	free(n->batch);
	free(n);
}

unsigned
nft_port(const struct nft *n)
{
	return mnl_socket_get_portid(n->socket);
}

enum err
nft_run(struct nft *n, const char *text, struct why *why)
{
	/* A new context each time: one that is kept keeps a copy of the table. */
	struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	enum err e = OK;

	(void)n;
	if (ctx == NULL)
		return why_set(why, E_INTERNAL, "nftables: out of memory");
	nft_ctx_buffer_error(ctx);
	nft_ctx_buffer_output(ctx);
	if (nft_run_cmd_from_buffer(ctx, text) != 0) {
		const char *said = nft_ctx_get_error_buffer(ctx);

		e = why_set(why, E_INTERNAL, "nftables: %.*s", (int)strcspn(said, "\n"), said);
	}
	nft_ctx_free(ctx);
	return e;
}

/* -- questions --------------------------------------------------------------------- */

/* How messages of the answer are read; false: it cannot be. */
typedef bool read_fn(const struct nlmsghdr *nlh, void *arg);

struct question {
	struct nft *n;
	struct nlmsghdr *nlh;
	char space[1024];
};

static void
ask_kernel(struct question *q, struct nft *n, unsigned type, unsigned flags)
{
	struct nfgenmsg *head;

	q->n = n;
	q->nlh = mnl_nlmsg_put_header(q->space);
	q->nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	q->nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	q->nlh->nlmsg_seq = ++n->seq;
	head = mnl_nlmsg_put_extra_header(q->nlh, sizeof(*head));
	*head = (struct nfgenmsg){ .nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0 };
}

struct reading {
	read_fn *read;
	void *arg;
	bool interrupted;
};

static int
on_message(const struct nlmsghdr *nlh, void *arg)
{
	struct reading *r = arg;

	if ((nlh->nlmsg_flags & NLM_F_DUMP_INTR) != 0)
		r->interrupted = true;
	if (nlh->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES)
		return MNL_CB_OK;
	r->read(nlh, r->arg);
	return (nlh->nlmsg_flags & NLM_F_MULTI) != 0 ? MNL_CB_OK : MNL_CB_STOP;
}

/* 0, or the errno of the answer; EINTR: others changed things meanwhile. */
static int
take_answers(const struct question *q, read_fn *read, void *arg)
{
	struct nft *n = q->n;
	struct reading r = { .read = read, .arg = arg };
	unsigned port = mnl_socket_get_portid(n->socket);
	int result;

	if (mnl_socket_sendto(n->socket, q->nlh, q->nlh->nlmsg_len) < 0)
		return errno;
	do {
		ssize_t got = mnl_socket_recvfrom(n->socket, n->answer, sizeof(n->answer));

		if (got < 0)
			return errno;
		errno = 0;
		result = mnl_cb_run(n->answer, (size_t)got, q->nlh->nlmsg_seq, port, on_message, &r);
		/* What is left of an answer that was given up. */
		if (result < 0 && (errno == ESRCH || errno == EPROTO))
			result = 1;
	} while (result > 0);
	if (result < 0)
		return errno;
	return r.interrupted ? EINTR : 0;
}

static enum err
asking_failed(const char *what, int error, struct why *why)
{
	if (error == EPERM || error == EACCES)
		return why_set(why, E_DENIED, "nftables may not be used: CAP_NET_ADMIN is missing");
	if (error == EOPNOTSUPP || error == EPROTONOSUPPORT || error == EINVAL)
		return why_set(why, E_UNSUPPORTED, "the kernel has no nftables (%s)", strerror(error));
	return why_set(why, E_INTERNAL, "nftables: reading %s: %s", what, strerror(error));
}

/* -- tables ------------------------------------------------------------------------ */

/* Comments are among the user's data: type, length, text with its NUL. */
static void
read_comment(const uint8_t *p, size_t n, char *out, size_t size)
{
	while (n >= 2 && n - 2 >= p[1]) {
		if (p[0] == 0 && p[1] > 0 &&
		    str_copy(out, size, (struct str){ (const char *)p + 2, p[1] - 1u }))
			return;
		n -= 2u + p[1];
		p += 2u + p[1];
	}
	out[0] = '\0';
}

static bool
read_table(const struct nlmsghdr *nlh, void *arg)
{
	struct nft_table *out = arg;
	const struct nlattr *a;

	out->exists = true;
	mnl_attr_for_each(a, nlh, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) == NFTA_TABLE_USERDATA)
			read_comment(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a), out->comment,
				     sizeof(out->comment));
	}
	return true;
}

enum err
nft_table(struct nft *n, const char *table, struct nft_table *out, struct why *why)
{
	struct question q;
	int error;

	*out = (struct nft_table){ .exists = false };
	ask_kernel(&q, n, NFT_MSG_GETTABLE, 0);
	mnl_attr_put_strz(q.nlh, NFTA_TABLE_NAME, table);
	error = take_answers(&q, read_table, out);
	return error == 0 || error == ENOENT ? OK : asking_failed("tables", error, why);
}

static bool
read_generation(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, nlh, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) == NFTA_GEN_ID)
			*(uint32_t *)arg = ntohl(mnl_attr_get_u32(a));
	}
	return true;
}

enum err
nft_generation(struct nft *n, uint32_t *out, struct why *why)
{
	struct question q;
	int error;

	*out = 0;
	ask_kernel(&q, n, NFT_MSG_GETGEN, 0);
	error = take_answers(&q, read_generation, out);
	return error == 0 ? OK : asking_failed("the generation", error, why);
}

struct tables {
	struct nft_named {
		char name[NFT_NAME];
		struct nft_table table;
	} * list;
	size_t n, room;
};

static bool
read_named(const struct nlmsghdr *nlh, void *arg)
{
	struct tables *t = arg;
	const struct nlattr *a;

	if (t->n == t->room) {
		t->room = t->room == 0 ? 16 : t->room * 2;
		t->list = must_grow(t->list, t->room, sizeof(*t->list));
	}
	t->list[t->n] = (struct nft_named){ .name = "" };
	mnl_attr_for_each(a, nlh, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) == NFTA_TABLE_NAME)
			str_copy(t->list[t->n].name, NFT_NAME, str_from(mnl_attr_get_str(a)));
	}
	return read_table(nlh, &t->list[t->n++].table);
}

enum err
nft_tables(struct nft *n, nft_table_fn *tell, void *arg, struct why *why)
{
	struct tables found = { .n = 0 };
	enum err e = OK;
	int error;

	for (int i = 0; i < ASK_AGAIN; i++) {
		struct question q;

		found.n = 0;
		ask_kernel(&q, n, NFT_MSG_GETTABLE, NLM_F_DUMP);
		if ((error = take_answers(&q, read_named, &found)) != EINTR)
			break;
	}
	if (error != 0 && error != ENOENT)
		e = asking_failed("tables", error, why);
	for (size_t i = 0; i < found.n && e == OK; i++)
		tell(arg, found.list[i].name, found.list[i].table.comment);
	free(found.list);
	return e;
}

/* -- chains, sets, counters -------------------------------------------------------- */

struct names {
	const char *table;
	uint16_t table_attr, name_attr, flags_attr, data_attr;
	uint8_t message;
	struct nft_list *found;
};

static const struct names kinds[] = {
	[NFT_KIND_CHAIN] = { .message = NFT_MSG_GETCHAIN, .table_attr = NFTA_CHAIN_TABLE, .name_attr = NFTA_CHAIN_NAME },
	[NFT_KIND_SET] = { .message = NFT_MSG_GETSET,
		      .table_attr = NFTA_SET_TABLE,
		      .name_attr = NFTA_SET_NAME,
		      .flags_attr = NFTA_SET_FLAGS },
	[NFT_KIND_COUNTER] = { .message = NFT_MSG_GETOBJ,
			  .table_attr = NFTA_OBJ_TABLE,
			  .name_attr = NFTA_OBJ_NAME,
			  .data_attr = NFTA_OBJ_DATA },
	[NFT_KIND_RULE] = { .message = NFT_MSG_GETRULE,
		       .table_attr = NFTA_RULE_TABLE,
		       .name_attr = NFTA_RULE_CHAIN },
};

struct nft_list {
	struct nft_found {
		char *name;
		uint64_t packets;
	} * list;
	size_t n, room;
};

static void
list_clear(struct nft_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->list[i].name);
	l->n = 0;
}

static uint64_t
read_packets(const struct nlattr *data)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, data)
	{
		if (mnl_attr_get_type(a) == NFTA_COUNTER_PACKETS &&
		    mnl_attr_get_payload_len(a) == sizeof(uint64_t))
			return be64toh(mnl_attr_get_u64(a));
	}
	return 0;
}

static bool
read_object_name(const struct nlmsghdr *nlh, void *arg)
{
	const struct names *k = arg;
	const char *table = "", *name = "";
	uint64_t packets = 0;
	uint32_t flags = 0;
	const struct nlattr *a;
	struct nft_list *l = k->found;

	mnl_attr_for_each(a, nlh, sizeof(struct nfgenmsg))
	{
		uint16_t type = mnl_attr_get_type(a);

		if (type == k->table_attr)
			table = mnl_attr_get_str(a);
		else if (type == k->name_attr)
			name = mnl_attr_get_str(a);
		else if (type == k->flags_attr && k->flags_attr != 0)
			flags = ntohl(mnl_attr_get_u32(a));
		else if (type == k->data_attr && k->data_attr != 0)
			packets = read_packets(a);
	}
	if (strcmp(table, k->table) != 0 || (flags & NFT_SET_ANONYMOUS) != 0)
		return true;
	if (l->n == l->room) {
		l->room = l->room == 0 ? 64 : l->room * 2;
		l->list = must_grow(l->list, l->room, sizeof(*l->list));
	}
	l->list[l->n++] = (struct nft_found){ must_strdup(name), packets };
	return true;
}

enum err
nft_names(struct nft *n, const char *table, enum nft_kind kind, nft_name_fn *tell, void *arg, struct why *why)
{
	struct nft_list found = { .n = 0 };
	struct names k = kinds[kind];
	enum err e = OK;
	int error;

	k.table = table;
	k.found = &found;
	for (int i = 0; i < ASK_AGAIN; i++) {
		struct question q;

		list_clear(&found);
		ask_kernel(&q, n, k.message, NLM_F_DUMP);
		mnl_attr_put_strz(q.nlh, k.table_attr, table);
		if (kind == NFT_KIND_COUNTER)
			mnl_attr_put_u32(q.nlh, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
		if ((error = take_answers(&q, read_object_name, &k)) != EINTR)
			break;
	}
	if (error != 0 && error != ENOENT)
		e = asking_failed("names", error, why);
	for (size_t i = 0; i < found.n && e == OK; i++)
		tell(arg, found.list[i].name, found.list[i].packets);
	list_clear(&found);
	free(found.list);
	return e;
}

/* -- elements ---------------------------------------------------------------------- */

static void
read_verdict(const struct nlattr *verdict, struct nft_element *e)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, verdict)
	{
		if (mnl_attr_get_type(a) == NFTA_VERDICT_CHAIN)
			str_copy(e->name, sizeof(e->name), str_from(mnl_attr_get_str(a)));
	}
	e->value = NFT_VALUE_JUMP;
}

static void
read_data(const struct nlattr *data, struct nft_element *e)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, data)
	{
		if (mnl_attr_get_type(a) == NFTA_DATA_VERDICT)
			read_verdict(a, e);
		if (mnl_attr_get_type(a) != NFTA_DATA_VALUE || mnl_attr_get_payload_len(a) != sizeof(e->mark))
			continue;
		memcpy(&e->mark, mnl_attr_get_payload(a), sizeof(e->mark));
		e->value = NFT_VALUE_MARK;
	}
}

static bool
read_element(const struct nlattr *element, struct nft_element *e)
{
	const struct nlattr *a, *b;

	*e = (struct nft_element){ .value = NFT_VALUE_NONE };
	mnl_attr_for_each_nested(a, element)
	{
		switch (mnl_attr_get_type(a)) {
		case NFTA_SET_ELEM_KEY:
			mnl_attr_for_each_nested(b, a)
			{
				if (mnl_attr_get_payload_len(b) > NFT_KEY)
					return false;
				e->key_len = (uint8_t)mnl_attr_get_payload_len(b);
				memcpy(e->key, mnl_attr_get_payload(b), e->key_len);
			}
			break;
		case NFTA_SET_ELEM_DATA:
			read_data(a, e);
			break;
		case NFTA_SET_ELEM_OBJREF:
			str_copy(e->name, sizeof(e->name), str_from(mnl_attr_get_str(a)));
			e->value = NFT_VALUE_COUNTER;
			break;
		case NFTA_SET_ELEM_TIMEOUT:
			e->mortal = true;
			break;
		}
	}
	return true;
}

struct elements {
	struct nft_element *list;
	size_t n, room;
};

static bool
read_elements(const struct nlmsghdr *nlh, void *arg)
{
	struct elements *found = arg;
	const struct nlattr *a, *b;

	mnl_attr_for_each(a, nlh, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(b, a)
		{
			if (found->n == found->room) {
				found->room = found->room == 0 ? 64 : found->room * 2;
				found->list = must_grow(found->list, found->room, sizeof(*found->list));
			}
			if (read_element(b, &found->list[found->n]))
				found->n++;
		}
	}
	return true;
}

enum err
nft_elements(struct nft *n, const char *table, const char *set, nft_element_fn *tell, void *arg,
	     struct why *why)
{
	struct elements found = { .n = 0 };
	enum err e = OK;
	int error;

	for (int i = 0; i < ASK_AGAIN; i++) {
		struct question q;

		found.n = 0;
		ask_kernel(&q, n, NFT_MSG_GETSETELEM, NLM_F_DUMP);
		mnl_attr_put_strz(q.nlh, NFTA_SET_ELEM_LIST_TABLE, table);
		mnl_attr_put_strz(q.nlh, NFTA_SET_ELEM_LIST_SET, set);
		if ((error = take_answers(&q, read_elements, &found)) != EINTR)
			break;
	}
	if (error != 0 && error != ENOENT)
		e = asking_failed(set, error, why);
	for (size_t i = 0; i < found.n && e == OK; i++)
		tell(arg, &found.list[i]);
	free(found.list);
	return e;
}
