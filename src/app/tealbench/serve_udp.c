/* serve_udp.c - the mode of `tealbench serve` without connections: each datagram
 * goes back to its sender, from the address that it was sent to.
 * Thread: the listener's. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "app/tealbench/serve.h"

#define DATAGRAM_BATCH 64

/* What arrived on a wildcard address must leave from the one that the client
 * knows; the kernel would choose another where the host has several. */
static void
answer_from_there(struct msghdr *m)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		/* By whatever interface leads there. */
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			((struct in_pktinfo *)CMSG_DATA(c))->ipi_ifindex = 0;
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
			((struct in6_pktinfo *)CMSG_DATA(c))->ipi6_ifindex = 0;
	}
}

static void
listener_on_datagrams(struct ev_loop *loop, ev_io *w, int revents)
{
	struct serve_listener *l = container_of(w, struct serve_listener, io);
	const struct serve_config *config = l->thread->config;
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	} control;
	struct addr from;
	struct iovec piece;
	struct msghdr m;
	ssize_t n;

	(void)loop, (void)revents;
	for (int i = 0; i < DATAGRAM_BATCH; i++) {
		piece = (struct iovec){ l->thread->scratch, SERVE_SCRATCH };
		m = (struct msghdr){ .msg_name = &from.u,
				     .msg_namelen = sizeof(from.u),
				     .msg_iov = &piece,
				     .msg_iovlen = 1,
				     .msg_control = &control,
				     .msg_controllen = sizeof(control) };
		/* Any other error is an earlier answer's, whose client is gone. */
		if ((n = recvmsg(w->fd, &m, 0)) < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0)
			continue;
		atomic_fetch_add_explicit(&config->totals->bytes_in, (uint64_t)n, memory_order_relaxed);
		serve_turn(config);
		answer_from_there(&m);
		piece.iov_len = (size_t)n;
		/* What does not fit is lost, as datagrams are. */
		(void)!sendmsg(w->fd, &m, 0);
	}
}

const struct serve_mode serve_mode_udp = { .word = "udp", .datagrams = listener_on_datagrams };
