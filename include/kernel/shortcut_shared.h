/* shortcut_shared.h - what the shortcut's program in the kernel and its owner here
 * tell each other by maps.  Included by both, so of fixed sizes and without padding. */
#ifndef KERNEL_SHORTCUT_SHARED_H
#define KERNEL_SHORTCUT_SHARED_H

/* A connection as its client sends; ports and addresses as on the wire. */
struct shortcut_key {
	__u32 src[4], dst[4];	/* of IPv4 the first word, the rest is 0 */
	__u16 src_port, dst_port;
	__u8 protocol, family;	/* IPPROTO_…, 4 or 6 */
	__u16 zero;
};

/* What went by the shortcut, and so past conntrack's counters; [0]: from the client. */
struct shortcut_count {
	__u64 packets[2], bytes[2];
	__u64 last;	/* of the last packet: nanoseconds of CLOCK_MONOTONIC, by its coarse clock */
	__u64 renewed;	/* when the entry's timeout was last set */
	__u32 timeout;	/* to which, milliseconds */
	__u32 end[2], ack[2];	/* TCP: after the last byte seen, and the last one acknowledged */
	__u32 zero;
};

enum shortcut_asks {
	SHORTCUT_ASK_TAKE = 1,	/* it lasts: conntrack is to let packets pass whose predecessors it has not seen */
	SHORTCUT_ASK_AGAIN = 3,	/* the same: nothing has come of it for a second */
	SHORTCUT_ASK_RESET = 2	/* a valid RST, of which conntrack cannot know that it is one */
};

struct shortcut_ask {
	struct shortcut_key key;
	__u32 what;	/* enum shortcut_asks */
};

struct shortcut_settings {
	__u32 tag;	/* MARK_TAG of our connections */
	__u32 established, unacknowledged, udp_stream;	/* conntrack's timeouts, milliseconds */
};

/* Bits of a port in the map of ports. */
#define SHORTCUT_PORT_SERVICE 1	/* a service is reached by it */
#define SHORTCUT_PORT_BACKEND 2	/* a backend answers from it */

#endif
