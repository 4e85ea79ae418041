/* shortcut.c - the program that takes packets of established connections of ours past
 * netfilter's hooks.  Built by clang for the kernel (not part of the kernel floor's
 * library, which holds its object as bytes); attached by kernel/shortcut.c at tc ingress.
 *
 * conntrack and the rules stay in charge: a packet is taken only when conntrack has an
 * assured entry with our mark for it, is told of it by a new timeout, and is counted.
 * Everything that begins, ends or is odd (SYN, FIN, RST, fragments, options, what is longer
 * than the way is wide, what has no neighbour yet) is left to the hooks. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "kernel/shortcut_shared.h"

#define FAMILY_V4 2	/* AF_INET */
#define FAMILY_V6 10	/* AF_INET6 */
/* The next program decides; of tc and tcx alike. */
#define PASS (-1)
#define TTL_LEAST 2
#define RENEW_EVERY 100000000ull	/* nanoseconds */
/* Of the packets of a connection that is not taken yet one in so many asks for it: what ends soon does not. */
#define ASK_ONE_IN 32
#define ASK_AGAIN 1000000000ull	/* nanoseconds: nothing has come of it */

/* The parts of the kernel's structures that are read: where they lie is known when the program is loaded. */
#define KERNELS __attribute__((preserve_access_index))

union nf_inet_addr {
	__u32 all[4];
} KERNELS;

union nf_conntrack_man_proto {
	__be16 all;
} KERNELS;

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union nf_conntrack_man_proto u;
} KERNELS;

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__be16 all;
		} u;
	} dst;
} KERNELS;

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
} KERNELS;

struct ip_ct_tcp_state {
	__u8 flags;
} KERNELS;

struct ip_ct_tcp {
	struct ip_ct_tcp_state seen[2];
	__u8 state;
} KERNELS;

union nf_conntrack_proto {
	struct ip_ct_tcp tcp;
} KERNELS;

struct nf_conn {
	struct nf_conntrack_tuple_hash tuplehash[2];
	unsigned long status;
	__u32 mark;
	union nf_conntrack_proto proto;
} KERNELS;

struct bpf_ct_opts {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};

extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 tuple_len,
					 struct bpf_ct_opts *opts, __u32 opts_len) __ksym;
extern int bpf_ct_change_timeout(struct nf_conn *ct, __u32 milliseconds) __ksym;
extern void bpf_ct_release(struct nf_conn *ct) __ksym;

/* linux/netfilter/nf_conntrack_common.h, nf_conntrack_tcp.h */
#define ASSURED (1u << 2)
#define NOT_FOR_US (1u << 6 | 1u << 9 | 1u << 10 | 1u << 13 | 1u << 14) /* adjusted, dying, fixed, helped, offloaded */
#define ESTABLISHED 3
#define BE_LIBERAL 0x08

/* kernel/mark.h */
#define MARK_TAG 0xff000000u
#define MARK_SERVICE 0x00fff000u

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct shortcut_settings);
	__uint(max_entries, 1);
} settings SEC(".maps");

/* By protocol (0: TCP, 1: UDP) << 16 | port: where a look into conntrack is worth it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u8);
	__uint(max_entries, 1 << 17);
} ports SEC(".maps");

/* Interfaces that packets may leave by. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u8);
	__uint(max_entries, 4096);
} links SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct shortcut_key);
	__type(value, struct shortcut_count);
	__uint(max_entries, 1 << 20);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} asks SEC(".maps");

/* One packet: where its parts are, and what it is to become. */
struct packet {
	struct bpf_sock_tuple tuple;	/* as it came */
	__u32 src[4], dst[4];	/* as it goes */
	__u16 src_port, dst_port;
	__u32 l4;	/* offset */
	__u32 length;	/* from the IP header on */
	__u32 seq, end, ack;
	__u8 protocol, tcp_header;
	bool v6, reset;
};

static __always_inline void
ask_teald(const struct shortcut_key *key, __u32 what)
{
	struct shortcut_ask *a = bpf_ringbuf_reserve(&asks, sizeof(*a), 0);

	if (a == NULL)
		return;
	a->key = *key;
	a->what = what;
	bpf_ringbuf_submit(a, 0);
}

static __always_inline __u64
words_sum(const __u32 *words, int n)
{
	__u64 sum = 0;

#pragma unroll
	for (int i = 0; i < n; i++)
		sum += words[i];
	return sum;
}

/* What is to be added to a checksum's sum when `from` becomes `to`, folded to 32 bits (RFC 1624, eqn. 3). */
static __always_inline __u32
sum_change(__u64 from, __u64 to, int n)
{
	__u64 sum = to + (__u64)n * 0xffffffffull - from;

	sum = (sum & 0xffffffff) + (sum >> 32);
	return (__u32)((sum & 0xffffffff) + (sum >> 32));
}

static __always_inline __u16
fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)((sum & 0xffff) + (sum >> 16));
}

/* Rewrites addresses, ports, hops left and checksums.  False: the packet is as it was, or is to be dropped. */
static __always_inline bool
rewrite(struct __sk_buff *skb, const struct packet *p)
{
	const __u32 check = p->l4 + (p->protocol == IPPROTO_TCP ? 16 : 6);
	const __u64 mangled = p->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 addresses, ports_change;
	struct {
		__u32 addresses[8];
		__u16 ports[2];
	} v6;
	struct {
		__u8 ttl, protocol;
		__u16 check;
		__u32 addresses[2];
		__u16 ports[2];
	} v4;
	__u16 old_ports[2];
	__u32 before, after;

	if (p->v6) {
		addresses = sum_change(words_sum(p->tuple.ipv6.saddr, 4) + words_sum(p->tuple.ipv6.daddr, 4),
				       words_sum(p->src, 4) + words_sum(p->dst, 4), 8);
		old_ports[0] = p->tuple.ipv6.sport;
		old_ports[1] = p->tuple.ipv6.dport;
	} else {
		addresses = sum_change((__u64)p->tuple.ipv4.saddr + p->tuple.ipv4.daddr,
				       (__u64)p->src[0] + p->dst[0], 2);
		old_ports[0] = p->tuple.ipv4.sport;
		old_ports[1] = p->tuple.ipv4.dport;
	}
	before = (__u32)old_ports[0] + old_ports[1];
	after = (__u32)p->src_port + p->dst_port;
	ports_change = sum_change(before, after, 1);
	if (bpf_l4_csum_replace(skb, check, 0, addresses, BPF_F_PSEUDO_HDR | mangled) != 0)
		return false;
	/* Of an IPv6 packet the sum that a card has made of all of it is not changed by an address, for the
	 * checksum makes up for it; the helper takes it for IPv4's, whose own header does that. */
	if (p->v6)
		(void)bpf_csum_update(skb, addresses);
	if (before != after && bpf_l4_csum_replace(skb, check, 0, ports_change, mangled) != 0)
		return false;
	if (p->v6) {
		__u8 hops;

		if (bpf_skb_load_bytes(skb, ETH_HLEN + 7, &hops, 1) != 0)
			return false;
		hops--;
		__builtin_memcpy(v6.addresses, p->src, 16);
		__builtin_memcpy(v6.addresses + 4, p->dst, 16);
		v6.ports[0] = p->src_port;
		v6.ports[1] = p->dst_port;
		(void)bpf_skb_store_bytes(skb, ETH_HLEN + 7, &hops, 1, BPF_F_RECOMPUTE_CSUM);
		return bpf_skb_store_bytes(skb, ETH_HLEN + 8, &v6, sizeof(v6), 0) == 0;
	}
	if (bpf_skb_load_bytes(skb, ETH_HLEN + 8, &v4, 4) != 0)
		return false;
	/* The sum over the IP header stays what it is, all ones. */
	{
		__u16 old_word, new_word;
		__u32 sum;

		__builtin_memcpy(&old_word, &v4, 2);
		v4.ttl--;
		__builtin_memcpy(&new_word, &v4, 2);
		sum = sum_change((__u64)p->tuple.ipv4.saddr + p->tuple.ipv4.daddr + old_word,
				 (__u64)p->src[0] + p->dst[0] + new_word, 3);
		v4.check = ~fold((__u32)(__u16)~v4.check + fold(sum));
	}
	v4.addresses[0] = p->src[0];
	v4.addresses[1] = p->dst[0];
	v4.ports[0] = p->src_port;
	v4.ports[1] = p->dst_port;
	return bpf_skb_store_bytes(skb, ETH_HLEN + 8, &v4, sizeof(v4), 0) == 0;
}

/* Is it a whole packet that is like most?  Fills all that it says. */
static __always_inline bool
read_packet(struct __sk_buff *skb, struct packet *p)
{
	const __u32 need4 = ETH_HLEN + sizeof(struct iphdr) + 8, need6 = ETH_HLEN + sizeof(struct ipv6hdr) + 8;
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const __u8 *hops;

	if (skb->pkt_type != 0 || skb->vlan_present)
		return false;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		if (data + need4 > end || ip->version != 4 || ip->ihl != 5 ||
		    (ip->frag_off & bpf_htons(0x3fff)) != 0)
			return false;
		p->protocol = ip->protocol;
		p->length = bpf_ntohs(ip->tot_len);
		hops = &ip->ttl;
		__builtin_memcpy(&p->tuple.ipv4, &ip->saddr, sizeof(p->tuple.ipv4));
		p->l4 = ETH_HLEN + sizeof(*ip);
		p->v6 = false;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if (data + need6 > end || ip->version != 6)
			return false;
		p->protocol = ip->nexthdr;
		p->length = bpf_ntohs(ip->payload_len) + sizeof(*ip);
		hops = &ip->hop_limit;
		__builtin_memcpy(&p->tuple.ipv6, &ip->saddr, sizeof(p->tuple.ipv6));
		p->l4 = ETH_HLEN + sizeof(*ip);
		p->v6 = true;
	} else {
		return false;
	}
	if (*hops < TTL_LEAST)
		return false;
	/* Behind a short packet there may be padding. */
	if (skb->len - ETH_HLEN != p->length && (skb->len - ETH_HLEN < p->length || skb->len > 64))
		return false;
	/* Ports in the padding are none. */
	if (p->length < p->l4 - ETH_HLEN + 8)
		return false;
	return p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP;
}

static __always_inline bool
read_tcp_header(struct __sk_buff *skb, struct packet *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct tcphdr *tcp = data + (p->v6 ? ETH_HLEN + sizeof(struct ipv6hdr) : ETH_HLEN + sizeof(struct iphdr));
	__u32 headers;

	if ((void *)(tcp + 1) > end || tcp->doff < 5 || tcp->syn || tcp->fin)
		return false;
	p->tcp_header = tcp->doff * 4;
	headers = p->l4 - ETH_HLEN + p->tcp_header;
	if (p->length < headers)
		return false;
	p->reset = tcp->rst;
	p->seq = bpf_ntohl(tcp->seq);
	p->end = p->seq + p->length - headers;
	p->ack = bpf_ntohl(tcp->ack_seq);
	return tcp->rst || tcp->ack;
}

static __always_inline bool
may_be_ours(const struct packet *p)
{
	const __u32 base = p->protocol == IPPROTO_UDP ? 1u << 16 : 0;
	__u32 to = base | bpf_ntohs(p->v6 ? p->tuple.ipv6.dport : p->tuple.ipv4.dport);
	__u32 from = base | bpf_ntohs(p->v6 ? p->tuple.ipv6.sport : p->tuple.ipv4.sport);
	const __u8 *t = bpf_map_lookup_elem(&ports, &to), *f = bpf_map_lookup_elem(&ports, &from);

	return (t != NULL && (*t & SHORTCUT_PORT_SERVICE) != 0) || (f != NULL && (*f & SHORTCUT_PORT_BACKEND) != 0);
}

/* The other direction's tuple, turned around, is what the packet becomes. */
static __always_inline void
read_translation(const struct nf_conntrack_tuple *t, struct packet *p)
{
	p->src_port = t->dst.u.all;
	p->dst_port = t->src.u.all;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		p->src[i] = t->dst.u3.all[i];
		p->dst[i] = t->src.u3.all[i];
	}
}

static __always_inline void
key_of_entry(const struct nf_conn *ct, const struct packet *p, struct shortcut_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
#pragma unroll
	for (int i = 0; i < 4; i++) {
		key->src[i] = i == 0 || p->v6 ? ct->tuplehash[0].tuple.src.u3.all[i] : 0;
		key->dst[i] = i == 0 || p->v6 ? ct->tuplehash[0].tuple.dst.u3.all[i] : 0;
	}
	key->src_port = ct->tuplehash[0].tuple.src.u.all;
	key->dst_port = ct->tuplehash[0].tuple.dst.u.all;
	key->protocol = p->protocol;
	key->family = p->v6 ? 6 : 4;
}

/* Where to, or 0: not from here. */
static __always_inline __u32
find_way(struct __sk_buff *skb, const struct packet *p, struct bpf_redir_neigh *next)
{
	struct bpf_fib_lookup way = { .family = p->v6 ? FAMILY_V6 : FAMILY_V4 };
	__u32 longest = p->length;

	/* Of a packet that a card has joined, the ones that it came as. */
	if (skb->gso_size != 0)
		longest = p->l4 - ETH_HLEN + (p->protocol == IPPROTO_TCP ? p->tcp_header : 8) + skb->gso_size;
	way.l4_protocol = p->protocol;
	way.tot_len = longest;
	way.ifindex = skb->ifindex;
	way.sport = p->v6 ? p->tuple.ipv6.sport : p->tuple.ipv4.sport;
	way.dport = p->dst_port;
	if (p->v6) {
		__builtin_memcpy(way.ipv6_src, p->tuple.ipv6.saddr, 16);
		__builtin_memcpy(way.ipv6_dst, p->dst, 16);
	} else {
		way.ipv4_src = p->tuple.ipv4.saddr;
		way.ipv4_dst = p->dst[0];
	}
	if (bpf_fib_lookup(skb, &way, sizeof(way), 0) != BPF_FIB_LKUP_RET_SUCCESS ||
	    bpf_map_lookup_elem(&links, &way.ifindex) == NULL)
		return 0;
	__builtin_memset(next, 0, sizeof(*next));
	next->nh_family = way.family;
	if (way.family == FAMILY_V6)
		__builtin_memcpy(next->ipv6_nh, way.ipv6_dst, 16);
	else
		next->ipv4_nh = way.ipv4_dst;
	return way.ifindex;
}

/* Counts it, and lets conntrack know that the connection lives: as conntrack itself would, a shorter time
 * where bytes are under way that nobody has acknowledged.  False: there is no room to count. */
static __always_inline bool
count_packet(struct nf_conn *ct, const struct shortcut_settings *s, const struct packet *p,
	     const struct shortcut_key *key, __u32 dir)
{
	struct shortcut_count *c = bpf_map_lookup_elem(&counts, key);
	__u64 now = bpf_ktime_get_coarse_ns();
	__u32 timeout = s->udp_stream;

	if (c == NULL) {
		struct shortcut_count first = { .last = now };

		if (bpf_map_update_elem(&counts, key, &first, BPF_NOEXIST) != 0 &&
		    bpf_map_lookup_elem(&counts, key) == NULL)
			return false;
		c = bpf_map_lookup_elem(&counts, key);
		if (c == NULL)
			return false;
	}
	if (p->protocol == IPPROTO_TCP) {
		timeout = s->established;
		if (p->end != p->seq && s->unacknowledged < timeout)
			timeout = s->unacknowledged;
		c->end[dir & 1] = p->end;
		c->ack[dir & 1] = p->ack;
	}
	if (c->timeout != timeout || now - c->renewed >= RENEW_EVERY) {
		if (bpf_ct_change_timeout(ct, timeout) != 0)
			return false;
		c->timeout = timeout;
		c->renewed = now;
	}
	c->last = now;
	__sync_fetch_and_add(&c->packets[dir & 1], 1);
	__sync_fetch_and_add(&c->bytes[dir & 1], p->length);
	return true;
}

/* What is to be asked: each connection asks once, and again where nothing has come of it.  Without room to count
 * it there is nothing to ask for: 0. */
static __always_inline __u32
choose_ask(const struct shortcut_key *key)
{
	struct shortcut_count *c = bpf_map_lookup_elem(&counts, key);
	__u64 now = bpf_ktime_get_coarse_ns();

	if (c == NULL) {
		struct shortcut_count first = { .last = now, .renewed = now };

		return bpf_map_update_elem(&counts, key, &first, BPF_NOEXIST) == 0 ? SHORTCUT_ASK_TAKE : 0;
	}
	if (now - c->renewed < ASK_AGAIN)
		return 0;
	c->renewed = now;
	return SHORTCUT_ASK_AGAIN;
}

/* The receiver of a reset takes it when it is at what it expects next; what went by here conntrack does not know,
 * and of a direction of which nothing did it knows all. */
static __always_inline void
look_at_reset(const struct packet *p, const struct shortcut_key *key, __u32 dir)
{
	const struct shortcut_count *c = bpf_map_lookup_elem(&counts, key);

	if (c != NULL && ((c->packets[(dir ^ 1) & 1] > 0 && p->seq == c->ack[(dir ^ 1) & 1]) ||
			  (c->packets[dir & 1] > 0 && p->seq == c->end[dir & 1])))
		ask_teald(key, SHORTCUT_ASK_RESET);
}

static __always_inline int
take(struct __sk_buff *skb, struct nf_conn *ct, const struct shortcut_settings *s, struct packet *p, __u32 dir,
     struct bpf_redir_neigh *next)
{
	struct shortcut_key key;
	__u32 link;

	if ((ct->mark & MARK_TAG) != s->tag || (ct->mark & MARK_SERVICE) == 0 || (ct->status & ASSURED) == 0 ||
	    (ct->status & NOT_FOR_US) != 0)
		return 0;
	if (p->protocol == IPPROTO_TCP && ct->proto.tcp.state != ESTABLISHED)
		return 0;
	key_of_entry(ct, p, &key);
	if (p->reset) {
		look_at_reset(p, &key, dir);
		return 0;
	}
	if (p->protocol == IPPROTO_TCP &&
	    (ct->proto.tcp.seen[0].flags & ct->proto.tcp.seen[1].flags & BE_LIBERAL) == 0) {
		__u32 what = bpf_get_prandom_u32() % ASK_ONE_IN == 0 ? choose_ask(&key) : 0;

		if (what != 0)
			ask_teald(&key, what);
		return 0;
	}
	if (dir == 0)
		read_translation(&ct->tuplehash[1].tuple, p);
	else
		read_translation(&ct->tuplehash[0].tuple, p);
	link = find_way(skb, p, next);
	if (link == 0 || !count_packet(ct, s, p, &key, dir))
		return 0;
	return link;
}

SEC("tc")
int
shortcut(struct __sk_buff *skb)
{
	struct bpf_ct_opts opts = { .netns_id = -1 };
	struct bpf_redir_neigh next;
	struct packet p = { .protocol = 0 };
	const struct shortcut_settings *s;
	struct nf_conn *ct;
	__u32 zero = 0;
	int link;

	if (!read_packet(skb, &p) || !may_be_ours(&p) || (p.protocol == IPPROTO_TCP && !read_tcp_header(skb, &p)))
		return PASS;
	if ((s = bpf_map_lookup_elem(&settings, &zero)) == NULL)
		return PASS;
	opts.l4proto = p.protocol;
	ct = bpf_skb_ct_lookup(skb, &p.tuple, p.v6 ? sizeof(p.tuple.ipv6) : sizeof(p.tuple.ipv4), &opts, sizeof(opts));
	if (ct == NULL)
		return PASS;
	link = take(skb, ct, s, &p, opts.dir, &next);
	bpf_ct_release(ct);
	if (link == 0)
		return PASS;
	if (!rewrite(skb, &p))
		return TC_ACT_SHOT;
	return bpf_redirect_neigh(link, &next, sizeof(next), 0);
}

char licenses[] SEC("license") = "GPL";
