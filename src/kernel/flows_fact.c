/* flows_fact.c - what a message of conntrack says of a flow.  Pure. */
#include <endian.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <string.h>

#include "kernel/attr.h"
#include "kernel/flows_wire.h"

static void
read_fact_address(const struct nlattr *nest, struct flow_tuple *t)
{
	const struct nlattr *a;

	attr_for_each_nested(a, nest)
	{
		unsigned n = attr_len(a), type = attr_type(a);
		bool v4 = type == CTA_IP_V4_SRC || type == CTA_IP_V4_DST;

		if (type == CTA_IP_UNSPEC || type > CTA_IP_V6_DST || n != (v4 ? 4 : 16))
			continue;
		t->family = v4 ? AF_INET : AF_INET6;
		memcpy(type == CTA_IP_V4_SRC || type == CTA_IP_V6_SRC ? t->src : t->dst, attr_data(a), n);
	}
}

static void
read_protocol(const struct nlattr *nest, struct flow_tuple *t)
{
	const struct nlattr *a;

	attr_for_each_nested(a, nest)
	{
		unsigned n = attr_len(a);

		switch (attr_type(a)) {
		case CTA_PROTO_NUM:
			if (n == 1)
				t->protocol = *(const uint8_t *)attr_data(a);
			break;
		case CTA_PROTO_SRC_PORT:
			if (n == 2)
				t->src_port = attr_u16(a);
			break;
		case CTA_PROTO_DST_PORT:
			if (n == 2)
				t->dst_port = attr_u16(a);
			break;
		}
	}
}

static void
read_tuple(const struct nlattr *nest, struct flow_tuple *t)
{
	const struct nlattr *a;

	attr_for_each_nested(a, nest)
	{
		if (attr_type(a) == CTA_TUPLE_IP)
			read_fact_address(a, t);
		else if (attr_type(a) == CTA_TUPLE_PROTO)
			read_protocol(a, t);
		else if (attr_type(a) == CTA_TUPLE_ZONE && attr_len(a) == 2)
			t->zone = attr_u16(a);
	}
}

static void
read_tcp(const struct nlattr *protoinfo, struct flow_fact *f)
{
	const struct nlattr *nest, *a;

	attr_for_each_nested(nest, protoinfo)
	{
		if (attr_type(nest) != CTA_PROTOINFO_TCP)
			continue;
		attr_for_each_nested(a, nest)
		{
			const struct nf_ct_tcp_flags *flags = attr_data(a);
			unsigned type = attr_type(a), n = attr_len(a);

			if (type == CTA_PROTOINFO_TCP_STATE && n == 1)
				f->state = *(const uint8_t *)attr_data(a);
			else if ((type == CTA_PROTOINFO_TCP_FLAGS_ORIGINAL ||
				  type == CTA_PROTOINFO_TCP_FLAGS_REPLY) &&
				 n == sizeof(*flags))
				f->unacknowledged |= (flags->flags & IP_CT_TCP_FLAG_DATA_UNACKNOWLEDGED) != 0;
		}
	}
}

static uint64_t
read_u64(const struct nlattr *a)
{
	return attr_len(a) == 8 ? be64toh(attr_u64(a)) : 0;
}

/* Numbers of the pair of attributes first and first + 1. */
static void
read_pair(const struct nlattr *nest, unsigned first, uint64_t *one, uint64_t *two)
{
	const struct nlattr *a;

	attr_for_each_nested(a, nest)
	{
		if (attr_type(a) == first)
			*one = read_u64(a);
		else if (attr_type(a) == first + 1)
			*two = read_u64(a);
	}
}

static void
read_attribute(const struct nlattr *a, struct flow_fact *f)
{
	unsigned n = attr_len(a);

	switch (attr_type(a)) {
	case CTA_TUPLE_ORIG:
		read_tuple(a, &f->tuple);
		break;
	case CTA_TUPLE_REPLY:
		read_tuple(a, &f->reply);
		break;
	case CTA_STATUS:
		f->status = n == 4 ? ntohl(attr_u32(a)) : 0;
		break;
	case CTA_PROTOINFO:
		read_tcp(a, f);
		break;
	case CTA_TIMEOUT:
		f->timed = n == 4;
		f->timeout = n == 4 ? ntohl(attr_u32(a)) : 0;
		break;
	case CTA_MARK:
		f->mark = n == 4 ? ntohl(attr_u32(a)) : 0;
		break;
	case CTA_COUNTERS_ORIG:
		f->counted = true;
		read_pair(a, CTA_COUNTERS_PACKETS, &f->packets_in, &f->bytes_in);
		break;
	case CTA_COUNTERS_REPLY:
		f->counted = true;
		read_pair(a, CTA_COUNTERS_PACKETS, &f->packets_out, &f->bytes_out);
		break;
	case CTA_TIMESTAMP:
		read_pair(a, CTA_TIMESTAMP_START, &f->began_ns, &f->ended_ns);
		break;
	case CTA_ID:
		f->id = n == 4 ? attr_u32(a) : 0;	/* opaque: given back as it came */
		break;
	case CTA_ZONE:
		f->tuple.zone = n == 2 ? attr_u16(a) : 0;
		break;
	}
}

bool
flow_fact_read(const struct nlmsghdr *m, bool listed, struct flow_fact *f)
{
	const struct nlattr *a;
	unsigned type = m->nlmsg_type & 0xff;

	if (m->nlmsg_type >> 8 != NFNL_SUBSYS_CTNETLINK || type > IPCTNL_MSG_CT_DELETE ||
	    type == IPCTNL_MSG_CT_GET)
		return false;
	memset(f, 0, sizeof(*f));
	attr_for_each(a, (const char *)m + NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg)),
		      (const char *)m + m->nlmsg_len) read_attribute(a, f);
	if (listed)
		f->news = FLOW_LISTED;
	else if (type == IPCTNL_MSG_CT_DELETE)
		f->news = FLOW_GONE;
	else
		f->news = (m->nlmsg_flags & NLM_F_CREATE) != 0 ? FLOW_BORN : FLOW_CHANGED;
	return f->tuple.family != 0;
}

void
flow_source(const struct flow_tuple *t, struct addr *out)
{
	addr_set_ip(out, t->family, t->src, t->src_port);
}
