/* flows_wire.c - messages of conntrack: what is sent to it and what it says.
 * Thread: the socket's owner. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "base/check.h"
#include "kernel/flows_wire.h"
#include "kernel/mark.h"

/* One message of news; they have a few hundred bytes. */
#define NEWS_BYTES 2048
#define NEWS_AT_ONCE 32
/* The kernel fills as much as the reader offers, up to 32 KB. */
#define DUMP_BYTES 32768
/* No dump takes longer between two messages; against waiting for ever. */
#define DUMP_SECONDS 10

_Static_assert(MNL_ALIGN(sizeof(struct nlmsghdr)) + MNL_ALIGN(sizeof(struct nfgenmsg)) + 108 <= 128,
	       "a question fits its place: two nests of an IPv6 tuple, zone and id, or flags");

/* -- sockets ------------------------------------------------------------- */

static enum err
open_socket(int flags, int *fd, struct why *why)
{
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };

	*fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, NETLINK_NETFILTER);
	if (*fd < 0 || bind(*fd, (struct sockaddr *)&self, sizeof(self)) != 0) {
		enum err e = why_set(why, E_INTERNAL, "no netlink socket for conntrack: %s", strerror(errno));

		if (*fd >= 0)
			close(*fd);
		*fd = -1;
		return e;
	}
	return OK;
}

/* Lets pass what flows_wire_listen() promises.  Runs in the kernel for every
 * change of every flow of the machine, so that others' cost us nothing more. */
static bool
set_filter(int fd, unsigned tag)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	const uint32_t type_byte = offsetof(struct nlmsghdr, nlmsg_type);
	const uint32_t flags_high = offsetof(struct nlmsghdr, nlmsg_flags) + 1;
#else
	const uint32_t type_byte = offsetof(struct nlmsghdr, nlmsg_type) + 1;
	const uint32_t flags_high = offsetof(struct nlmsghdr, nlmsg_flags);
#endif
	const uint32_t attributes = sizeof(struct nlmsghdr) + sizeof(struct nfgenmsg);
	const uint32_t find = (uint32_t)(SKF_AD_OFF + SKF_AD_NLATTR),
		       inside = (uint32_t)(SKF_AD_OFF + SKF_AD_NLATTR_NEST);
	struct sock_filter program[] = {
		/* Of our tag: the mark is of network order, as the filter reads. */
		BPF_STMT(BPF_LD | BPF_IMM, attributes),
		BPF_STMT(BPF_LDX | BPF_IMM, CTA_MARK),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, find),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 22, 0),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_IND, sizeof(struct nlattr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, tag, 0, 19),
		/* A removal, or a birth. */
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, type_byte),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPCTNL_MSG_CT_DELETE, 16, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, flags_high),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NLM_F_CREATE >> 8, 14, 0),
		/* A change: does the mark say that it is over? */
		BPF_STMT(BPF_LD | BPF_B | BPF_IND, sizeof(struct nlattr) + 2),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MARK_OVER >> 8, 12, 0),
		/* Is TCP at its end? */
		BPF_STMT(BPF_LD | BPF_IMM, attributes),
		BPF_STMT(BPF_LDX | BPF_IMM, CTA_PROTOINFO),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, find),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 9, 0),
		BPF_STMT(BPF_LDX | BPF_IMM, CTA_PROTOINFO_TCP),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, inside),
		BPF_STMT(BPF_LDX | BPF_IMM, CTA_PROTOINFO_TCP_STATE),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, inside),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_IND, sizeof(struct nlattr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TCP_CONNTRACK_TIME_WAIT, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TCP_CONNTRACK_CLOSE, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog all = { .len = ARRAY_LEN(program), .filter = program };

	_Static_assert((NLM_F_CREATE & 0xff) == 0, "the bit is in the upper byte");
	_Static_assert(MARK_OVER >> 16 == 0 && (MARK_OVER & 0xff) == 0,
		       "the bit is in the third byte of four");
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &all, sizeof(all)) == 0;
}

enum err
flows_wire_listen(unsigned tag, unsigned buffer, int *fd, struct why *why)
{
	static const int groups[] = { NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_UPDATE,
				      NFNLGRP_CONNTRACK_DESTROY };
	int bytes = (int)buffer;
	enum err e = open_socket(SOCK_NONBLOCK, fd, why);

	if (e != OK)
		return e;
	/* Beyond the system's limit; without the right to, what the limit gives. */
	if (setsockopt(*fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
		(void)!setsockopt(*fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	/* First the filter, so that nothing of others comes in. */
	if (!set_filter(*fd, tag)) {
		e = why_set(why, E_INTERNAL, "no filter for conntrack's events: %s", strerror(errno));
	} else {
		for (size_t i = 0; i < ARRAY_LEN(groups) && e == OK; i++)
			if (setsockopt(*fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(int)) !=
			    0)
				e = why_set(why, E_INTERNAL, "cannot listen to conntrack's events: %s%s",
					    strerror(errno),
					    errno == EPERM ? " (CAP_NET_ADMIN is missing)" : "");
	}
	if (e != OK) {
		close(*fd);
		*fd = -1;
	}
	return e;
}

enum err
flows_wire_ask(int *fd, struct why *why)
{
	const struct timeval patience = { .tv_sec = DUMP_SECONDS };
	enum err e = open_socket(0, fd, why);

	if (e == OK)
		(void)!setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return e;
}

/* -- news ----------------------------------------------------------------- */

unsigned
flows_wire_read(int fd, unsigned most, flow_fact_fn *fn, void *arg, bool *lost)
{
	static _Thread_local char room[NEWS_AT_ONCE][NEWS_BYTES] __attribute__((aligned(8)));
	struct iovec parts[NEWS_AT_ONCE];
	struct mmsghdr all[NEWS_AT_ONCE];
	struct flow_fact fact;
	unsigned total = 0;
	int n;

	memset(all, 0, sizeof(all));
	for (int i = 0; i < NEWS_AT_ONCE; i++) {
		parts[i] = (struct iovec){ room[i], NEWS_BYTES };
		all[i].msg_hdr.msg_iov = &parts[i];
		all[i].msg_hdr.msg_iovlen = 1;
	}
	while (total < most) {
		n = recvmmsg(fd, all, NEWS_AT_ONCE, MSG_DONTWAIT, NULL);
		if (n < 0 && errno == ENOBUFS) {
			*lost = true;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		for (int i = 0; i < n; i++) {
			int left = (int)all[i].msg_len;

			for (const struct nlmsghdr *m = (const void *)room[i]; mnl_nlmsg_ok(m, left);
			     m = mnl_nlmsg_next(m, &left))
				if (flow_fact_read(m, false, &fact))
					(void)fn(arg, &fact);
		}
		total += (unsigned)n;
		/* Fewer than there was room for: that was all of them. */
		if (n < NEWS_AT_ONCE)
			break;
	}
	return total;
}

/* -- what is asked ------------------------------------------------------- */

static struct nlmsghdr *
put_header(void *room, unsigned type, unsigned flags, unsigned family)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(room);
	struct nfgenmsg *g;

	m->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	m->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	m->nlmsg_seq = 1;
	g = mnl_nlmsg_put_extra_header(m, sizeof(*g));
	g->nfgen_family = (uint8_t)family;
	g->version = NFNETLINK_V0;
	g->res_id = 0;
	return m;
}

static bool
send_all(int fd, const void *p, size_t n)
{
	const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t sent;

	do
		sent = sendto(fd, p, n, 0, (const struct sockaddr *)&kernel, sizeof(kernel));
	while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)n;
}

static ssize_t
receive_messages(int fd, void *room, size_t size, int flags)
{
	ssize_t n;

	do
		n = recv(fd, room, size, flags);
	while (n < 0 && errno == EINTR);
	return n;
}

enum err
flows_wire_usage(int fd, uint64_t *entries, uint64_t *max, struct why *why)
{
	char room[4096] __attribute__((aligned(8)));
	struct nlmsghdr *m = put_header(room, IPCTNL_MSG_CT_GET_STATS, 0, AF_UNSPEC);
	const struct nlattr *a;
	ssize_t n;

	*entries = *max = 0;
	if (!send_all(fd, m, m->nlmsg_len) || (n = receive_messages(fd, room, sizeof(room), 0)) < 0)
		return why_set(why, E_INTERNAL, "conntrack does not answer: %s", strerror(errno));
	m = (void *)room;
	if (!mnl_nlmsg_ok(m, (int)n))
		return why_set(why, E_INTERNAL, "conntrack's answer is cut short");
	if (m->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *error = mnl_nlmsg_get_payload(m);

		return why_set(why, E_INTERNAL, "conntrack does not answer: %s%s", strerror(-error->error),
			       error->error == -EPERM ? " (CAP_NET_ADMIN is missing)" : "");
	}
	mnl_attr_for_each(a, m, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_payload_len(a) != 4)
			continue;
		if (mnl_attr_get_type(a) == CTA_STATS_GLOBAL_ENTRIES)
			*entries = ntohl(mnl_attr_get_u32(a));
		else if (mnl_attr_get_type(a) == CTA_STATS_GLOBAL_MAX_ENTRIES)
			*max = ntohl(mnl_attr_get_u32(a));
	}
	return OK;
}

/* One CPU's, added to the sums. */
static void
add_losses(const struct nlmsghdr *m, struct flow_losses *sum)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, m, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_payload_len(a) != 4)
			continue;
		if (mnl_attr_get_type(a) == CTA_STATS_INSERT_FAILED)
			sum->clashed += ntohl(mnl_attr_get_u32(a));
		else if (mnl_attr_get_type(a) == CTA_STATS_DROP)
			sum->dropped += ntohl(mnl_attr_get_u32(a));
	}
}

bool
flows_wire_losses(int *fd, struct flow_losses *out)
{
	char room[8192] __attribute__((aligned(8)));
	struct nlmsghdr *m;
	ssize_t n = 0;
	bool more = true, failed = false;

	*out = (struct flow_losses){ 0 };
	if (*fd < 0 && flows_wire_ask(fd, NULL) != OK)
		return false;
	m = put_header(room, IPCTNL_MSG_CT_GET_STATS_CPU, NLM_F_DUMP, AF_UNSPEC);
	if (!send_all(*fd, m, m->nlmsg_len))
		failed = true;
	while (more && !failed) {
		int left;

		n = receive_messages(*fd, room, sizeof(room), 0);
		failed = n <= 0;
		left = (int)n;
		for (m = (void *)room; !failed && more && mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
			failed = m->nlmsg_type == NLMSG_ERROR;
			more = m->nlmsg_type != NLMSG_DONE;
			if (more && !failed)
				add_losses(m, out);
		}
	}
	/* The rest of it must not be the answer to the next question. */
	if (failed) {
		close(*fd);
		*fd = -1;
	}
	return !failed;
}

enum dump { DUMP_MORE, DUMP_DONE, DUMP_STOPPED };

/* The messages of one reading.  *error: what the kernel reports at the end. */
static enum dump
take_dump(const void *room, ssize_t n, flow_fact_fn *fn, void *arg, int *error)
{
	int left = (int)n;

	for (const struct nlmsghdr *m = room; mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
		struct flow_fact fact;

		if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR) {
			const int *code = mnl_nlmsg_get_payload(m);

			if (mnl_nlmsg_get_payload_len(m) >= sizeof(int) && *code < 0)
				*error = -*code;
			return DUMP_DONE;
		}
		if (flow_fact_read(m, true, &fact) && !fn(arg, &fact))
			return DUMP_STOPPED;
	}
	return DUMP_MORE;
}

bool
flows_wire_dump(int *fd, uint32_t mark, uint32_t mask, flow_fact_fn *fn, void *arg)
{
	static _Thread_local char room[DUMP_BYTES] __attribute__((aligned(8)));
	struct nlmsghdr *m;
	enum dump at = DUMP_MORE;
	int error = 0;

	if (*fd < 0 && flows_wire_ask(fd, NULL) != OK)
		return false;
	m = put_header(room, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC);
	mnl_attr_put_u32(m, CTA_MARK, htonl(mark));
	mnl_attr_put_u32(m, CTA_MARK_MASK, htonl(mask));
	if (!send_all(*fd, m, m->nlmsg_len))
		error = errno;
	while (at == DUMP_MORE && error == 0) {
		ssize_t n = receive_messages(*fd, room, sizeof(room), 0);

		if (n < 0)
			error = errno;
		else
			at = take_dump(room, n, fn, arg, &error);
	}
	/* The rest of it must not be the answer to the next question. */
	if (at != DUMP_DONE) {
		close(*fd);
		*fd = -1;
	}
	errno = error;
	return at == DUMP_DONE && error == 0;
}

static struct nlmsghdr *
put_question(struct flow_batch *b, unsigned type, const struct flow_tuple *t)
{
	struct nlmsghdr *m;
	struct nlattr *tuple, *nest;

	CHECK(b->n < FLOWS_WIRE_BATCH);
	m = put_header(b->room + b->used, type, 0, t->family);
	tuple = mnl_attr_nest_start(m, CTA_TUPLE_ORIG);
	nest = mnl_attr_nest_start(m, CTA_TUPLE_IP);
	if (t->family == AF_INET) {
		mnl_attr_put(m, CTA_IP_V4_SRC, 4, t->src);
		mnl_attr_put(m, CTA_IP_V4_DST, 4, t->dst);
	} else {
		mnl_attr_put(m, CTA_IP_V6_SRC, 16, t->src);
		mnl_attr_put(m, CTA_IP_V6_DST, 16, t->dst);
	}
	mnl_attr_nest_end(m, nest);
	nest = mnl_attr_nest_start(m, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(m, CTA_PROTO_NUM, t->protocol);
	mnl_attr_put_u16(m, CTA_PROTO_SRC_PORT, t->src_port);
	mnl_attr_put_u16(m, CTA_PROTO_DST_PORT, t->dst_port);
	mnl_attr_nest_end(m, nest);
	mnl_attr_nest_end(m, tuple);
	if (t->zone != 0)
		mnl_attr_put_u16(m, CTA_ZONE, t->zone);
	return m;
}

static void
batch_grew(struct flow_batch *b, const struct nlmsghdr *m)
{
	b->used += MNL_ALIGN(m->nlmsg_len);
	b->n++;
}

void
flows_wire_add_delete(struct flow_batch *b, const struct flow_tuple *tuple, uint32_t id)
{
	struct nlmsghdr *m = put_question(b, IPCTNL_MSG_CT_DELETE, tuple);

	mnl_attr_put_u32(m, CTA_ID, id);
	batch_grew(b, m);
}

/* The nest of what TCP knows of it, to be ended by the caller together with the outer one, *all. */
static struct nlattr *
begin_tcp(struct nlmsghdr *m, struct nlattr **all)
{
	*all = mnl_attr_nest_start(m, CTA_PROTOINFO);
	return mnl_attr_nest_start(m, CTA_PROTOINFO_TCP);
}

void
flows_wire_add_tolerance(struct flow_batch *b, const struct flow_tuple *tuple)
{
	const struct nf_ct_tcp_flags flags = { IP_CT_TCP_FLAG_BE_LIBERAL, IP_CT_TCP_FLAG_BE_LIBERAL };
	struct nlmsghdr *m = put_question(b, IPCTNL_MSG_CT_NEW, tuple);
	struct nlattr *all, *nest = begin_tcp(m, &all);

	mnl_attr_put(m, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, sizeof(flags), &flags);
	mnl_attr_put(m, CTA_PROTOINFO_TCP_FLAGS_REPLY, sizeof(flags), &flags);
	mnl_attr_nest_end(m, nest);
	mnl_attr_nest_end(m, all);
	batch_grew(b, m);
}

void
flows_wire_add_reset(struct flow_batch *b, const struct flow_tuple *tuple, uint32_t seconds)
{
	struct nlmsghdr *m = put_question(b, IPCTNL_MSG_CT_NEW, tuple);
	struct nlattr *all, *nest = begin_tcp(m, &all);

	mnl_attr_put_u8(m, CTA_PROTOINFO_TCP_STATE, TCP_CONNTRACK_CLOSE);
	mnl_attr_nest_end(m, nest);
	mnl_attr_nest_end(m, all);
	mnl_attr_put_u32(m, CTA_TIMEOUT, htonl(seconds));
	batch_grew(b, m);
}

void
flows_wire_add_get(struct flow_batch *b, const struct flow_tuple *tuple)
{
	batch_grew(b, put_question(b, IPCTNL_MSG_CT_GET, tuple));
}

/* The kernel has worked a batch off when it is sent, and its answers wait. */
static bool
send_batch(int fd, struct flow_batch *b)
{
	bool done = b->n == 0 || send_all(fd, b->room, b->used);

	b->n = 0;
	b->used = 0;
	return done;
}

bool
flows_wire_order(int fd, struct flow_batch *b)
{
	char answer[1024];
	bool done = send_batch(fd, b);
	int error = errno;

	/* It answers only to what it did not find. */
	while (receive_messages(fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
		continue;
	errno = error;
	return done;
}

void
flows_wire_get(int fd, struct flow_batch *b, flow_fact_fn *fn, void *arg)
{
	char answer[NEWS_BYTES] __attribute__((aligned(8)));
	struct flow_fact fact;
	ssize_t n;

	(void)send_batch(fd, b);
	while ((n = receive_messages(fd, answer, sizeof(answer), MSG_DONTWAIT)) > 0) {
		const struct nlmsghdr *m = (const void *)answer;

		if (mnl_nlmsg_ok(m, (int)n) && flow_fact_read(m, true, &fact))
			(void)fn(arg, &fact);
	}
}
