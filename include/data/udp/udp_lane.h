/* udp_lane.h - what a lane of a service of UDP has besides its flows; and the table of its mode, udp_mode.
 * Thread: the owning worker. */
#ifndef DATA_UDP_LANE_H
#define DATA_UDP_LANE_H

#include "data/lane.h"

struct udp_lane {
	struct link link;	/* udp_worker->lanes */
	struct link young;	/* struct udp_flow, oldest first: what gives its place to a new one */
	unsigned n_young;
	struct link
		farewells;	/* struct udp_socket that yielded, and whose flows another process has yet to get */
};

#endif
