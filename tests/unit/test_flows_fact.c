/* test_flows_fact.c - reading what conntrack says: every field, and messages that
 * are cut short or broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <libmnl/libmnl.h>

#include "guarded.h"
#include "kernel/flows_wire.h"

#define ROOM 1024

static void
put_tuple(struct nlmsghdr *m, unsigned type, int family, const char *from, const char *to, unsigned from_port,
	  unsigned to_port, unsigned protocol)
{
	struct nlattr *tuple = mnl_attr_nest_start(m, (uint16_t)type), *nest;
	uint8_t a[16], b[16];
	size_t n = family == AF_INET ? 4 : 16;

	assert_int_equal(inet_pton(family, from, a), 1);
	assert_int_equal(inet_pton(family, to, b), 1);
	nest = mnl_attr_nest_start(m, CTA_TUPLE_IP);
	mnl_attr_put(m, family == AF_INET ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, n, a);
	mnl_attr_put(m, family == AF_INET ? CTA_IP_V4_DST : CTA_IP_V6_DST, n, b);
	mnl_attr_nest_end(m, nest);
	nest = mnl_attr_nest_start(m, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(m, CTA_PROTO_NUM, (uint8_t)protocol);
	mnl_attr_put_u16(m, CTA_PROTO_SRC_PORT, htons((uint16_t)from_port));
	mnl_attr_put_u16(m, CTA_PROTO_DST_PORT, htons((uint16_t)to_port));
	mnl_attr_nest_end(m, nest);
	mnl_attr_nest_end(m, tuple);
}

static void
put_pair(struct nlmsghdr *m, unsigned nest_type, unsigned first, uint64_t one, uint64_t two)
{
	struct nlattr *nest = mnl_attr_nest_start(m, (uint16_t)nest_type);

	mnl_attr_put_u64(m, (uint16_t)first, htobe64(one));
	mnl_attr_put_u64(m, (uint16_t)(first + 1), htobe64(two));
	mnl_attr_nest_end(m, nest);
}

static struct nlmsghdr *
message(char room[ROOM], unsigned type, unsigned flags)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(room);
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(m, sizeof(*g));

	m->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	m->nlmsg_flags = (uint16_t)flags;
	return m;
}

/* A TCP connection with everything that can be said. */
static struct nlmsghdr *
whole(char room[ROOM])
{
	const struct nf_ct_tcp_flags flags = { .flags = IP_CT_TCP_FLAG_DATA_UNACKNOWLEDGED, .mask = 0xff };
	struct nlmsghdr *m = message(room, IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL);
	struct nlattr *info, *tcp;

	put_tuple(m, CTA_TUPLE_ORIG, AF_INET, "10.0.0.1", "10.9.9.9", 40000, 80, IPPROTO_TCP);
	put_tuple(m, CTA_TUPLE_REPLY, AF_INET, "10.1.0.7", "10.0.0.1", 8080, 40000, IPPROTO_TCP);
	mnl_attr_put_u32(m, CTA_STATUS, htonl(0x1e));
	mnl_attr_put_u32(m, CTA_TIMEOUT, htonl(431999));
	mnl_attr_put_u32(m, CTA_MARK, htonl(0x5a007805));
	mnl_attr_put_u32(m, CTA_ID, 0x12345678);
	mnl_attr_put_u16(m, CTA_ZONE, htons(3));
	put_pair(m, CTA_COUNTERS_ORIG, CTA_COUNTERS_PACKETS, 5, 500);
	put_pair(m, CTA_COUNTERS_REPLY, CTA_COUNTERS_PACKETS, 7, UINT64_C(7000000000));
	put_pair(m, CTA_TIMESTAMP, CTA_TIMESTAMP_START, UINT64_C(1700000000000000001),
		 UINT64_C(1700000001000000002));
	info = mnl_attr_nest_start(m, CTA_PROTOINFO);
	tcp = mnl_attr_nest_start(m, CTA_PROTOINFO_TCP);
	mnl_attr_put_u8(m, CTA_PROTOINFO_TCP_STATE, TCP_CONNTRACK_ESTABLISHED);
	mnl_attr_put(m, CTA_PROTOINFO_TCP_FLAGS_REPLY, sizeof(flags), &flags);
	mnl_attr_nest_end(m, tcp);
	mnl_attr_nest_end(m, info);
	return m;
}

static void
every_field_is_read(void **state)
{
	char room[ROOM] __attribute__((aligned(8)));
	struct flow_fact f;
	char text[ADDR_TEXT];
	struct addr a;

	(void)state;
	assert_true(flow_fact_read(whole(room), false, &f));
	assert_int_equal(f.news, FLOW_BORN);
	assert_string_equal((flow_source(&f.tuple, &a), addr_format(&a, text)), "10.0.0.1:40000");
	assert_string_equal((flow_source(&f.reply, &a), addr_format(&a, text)), "10.1.0.7:8080");
	assert_int_equal(f.tuple.protocol, IPPROTO_TCP);
	assert_int_equal(f.tuple.dst_port, htons(80));
	assert_int_equal(f.tuple.zone, htons(3));
	assert_int_equal(f.status, 0x1e);
	assert_true(f.timed && f.timeout == 431999);
	assert_int_equal(f.mark, 0x5a007805);
	assert_int_equal(f.id, 0x12345678);
	assert_true(f.counted && f.packets_in == 5 && f.bytes_in == 500);
	assert_true(f.packets_out == 7 && f.bytes_out == UINT64_C(7000000000));
	assert_true(f.began_ns == UINT64_C(1700000000000000001) &&
		    f.ended_ns == UINT64_C(1700000001000000002));
	assert_int_equal(f.state, TCP_CONNTRACK_ESTABLISHED);
	assert_true(f.unacknowledged);
}

static void
news_are_told_apart(void **state)
{
	char room[ROOM] __attribute__((aligned(8)));
	struct nlmsghdr *m = whole(room);
	struct flow_fact f;

	(void)state;
	assert_true(flow_fact_read(m, true, &f) && f.news == FLOW_LISTED);
	m->nlmsg_flags = 0;
	assert_true(flow_fact_read(m, false, &f) && f.news == FLOW_CHANGED);
	m->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
	assert_true(flow_fact_read(m, false, &f) && f.news == FLOW_GONE);
	/* Not about a flow. */
	m->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS;
	assert_false(flow_fact_read(m, false, &f));
	m->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | IPCTNL_MSG_CT_NEW;
	assert_false(flow_fact_read(m, false, &f));
	m->nlmsg_type = NLMSG_ERROR;
	assert_false(flow_fact_read(m, false, &f));
}

static void
what_is_not_said_is_not_known(void **state)
{
	char room[ROOM] __attribute__((aligned(8)));
	struct nlmsghdr *m = message(room, IPCTNL_MSG_CT_DELETE, 0);
	struct flow_fact f;
	char text[ADDR_TEXT];
	struct addr a;

	(void)state;
	assert_false(flow_fact_read(m, false, &f));	/* no flow without a tuple */
	put_tuple(m, CTA_TUPLE_ORIG, AF_INET6, "fd00::1", "fd00::9", 40000, 53, IPPROTO_UDP);
	assert_true(flow_fact_read(m, false, &f));
	assert_string_equal((flow_source(&f.tuple, &a), addr_format(&a, text)), "[fd00::1]:40000");
	assert_false(f.timed || f.counted || f.unacknowledged);
	assert_true(f.state == 0 && f.began_ns == 0 && f.mark == 0);
	flow_source(&f.reply, &a);
	assert_int_equal(a.len, 0);
}

static void
broken_messages_are_survived(void **state)
{
	char room[ROOM] __attribute__((aligned(8)));
	struct nlmsghdr *m = whole(room);
	size_t n = m->nlmsg_len;
	struct flow_fact f;

	(void)state;
	assert_int_equal(n % 4, 0);
	/* Cut anywhere: what is left is read, and nothing behind it. */
	for (size_t cut = sizeof(struct nlmsghdr); cut <= n; cut += 4) {
		m->nlmsg_len = (uint32_t)cut;
		(void)flow_fact_read((const void *)guarded(room, cut), false, &f);
	}
	m->nlmsg_len = (uint32_t)n;
	/* Every byte of it wrong: lengths, types, nests. */
	for (size_t i = sizeof(*m); i < n; i++)
		for (unsigned bad = 0; bad < 256; bad += 5) {
			char was = room[i];

			room[i] = (char)bad;
			(void)flow_fact_read((const void *)guarded(room, n), false, &f);
			room[i] = was;
		}
	assert_true(flow_fact_read(m, false, &f));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_is_read),
		cmocka_unit_test(news_are_told_apart),
		cmocka_unit_test(what_is_not_said_is_not_known),
		cmocka_unit_test(broken_messages_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
