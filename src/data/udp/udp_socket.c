/* udp_socket.c - datagrams of clients, and whose they are.  Thread: owning worker. */
#include <stdlib.h>
#include <string.h>

#include "data/udp/udp_flow.h"
#include "data/udp/udp_lane.h"
#include "net/epoll_forget.h"

/* A table begins so large. */
#define TABLE_LEAST 64
/* Another process that is to hand over its flows is waited for so long, seconds: they are given
 * first of all, and what comes meanwhile waits in the socket. */
#define AWAIT 3.0
/* What the kernel is asked to hold of datagrams that were not read yet; it gives net.core.rmem_max at most. */
#define RECEIVE_BUFFER (4 << 20)

/* -- a worker's -------------------------------------------------------------- */

void
udp_worker_fit(struct udp_worker **at, const struct config *config)
{
	struct udp_worker *u;
	bool any = false;

	for (size_t i = 0; i < config->n_services; i++)
		any |= config->services[i].mode == MODE_UDP && config->services[i].engine == ENGINE_PROXY;
	if (!any || *at != NULL)
		return;
	u = must_alloc(sizeof(*u));
	u->secret = hash_secret_new();
	list_init(&u->sockets);
	list_init(&u->lanes);
	*at = u;
}

int
udp_receive(struct udp_worker *u, int fd, bool names)
{
	int n;

	for (unsigned i = 0; i < UDP_BATCH; i++) {
		struct msghdr *m = &u->in[i].msg_hdr;

		u->parts[i] = (struct iovec){ u->bytes[i], UDP_DATAGRAM_MAX };
		*m = (struct msghdr){ .msg_iov = &u->parts[i], .msg_iovlen = 1 };
		if (!names)
			continue;
		m->msg_name = &u->senders[i].u;
		m->msg_namelen = sizeof(u->senders[i].u);
		m->msg_control = &u->controls[i];
		m->msg_controllen = sizeof(u->controls[i]);
	}
	n = recvmmsg(fd, u->in, UDP_BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		u->parts[i].iov_len = u->in[i].msg_len;
		u->senders[i].len = u->in[i].msg_hdr.msg_namelen;
	}
	return n;
}

struct udp_socket *
udp_socket_find(struct worker *w, uint64_t cookie)
{
	if (w->udp == NULL)
		return NULL;
	LIST_EACH(it, &w->udp->sockets) {
		struct udp_socket *s = list_entry(it, struct udp_socket, link);

		if (s->cookie == cookie)
			return s;
	}
	return NULL;
}

/* -- the table ----------------------------------------------------------------- */

uint32_t
udp_socket_hash(const struct udp_socket *s, const struct udp_key *key)
{
	return (uint32_t)hash_keyed(key, sizeof(*key), &s->worker->udp->secret);
}

struct udp_flow *
udp_socket_flow(struct udp_socket *s, const struct udp_key *key, uint32_t hash)
{
	struct udp_flow *f = s->table[hash & s->mask];

	while (f != NULL && (f->hash != hash || memcmp(&f->key, key, sizeof(*key)) != 0))
		f = f->next;
	return f;
}

/* Without memory chains grow instead. */
static void
grow_udp_table(struct udp_socket *s)
{
	unsigned size = 2 * (s->mask + 1);
	struct udp_flow **table = calloc(size, sizeof(*table)), *f, *next;

	if (table == NULL)
		return;
	for (unsigned i = 0; i <= s->mask; i++)
		for (f = s->table[i]; f != NULL; f = next) {
			next = f->next;
			f->next = table[f->hash & (size - 1)];
			table[f->hash & (size - 1)] = f;
		}
	free(s->table);
	s->table = table;
	s->mask = size - 1;
}

void
udp_socket_add(struct udp_socket *s, struct udp_flow *f)
{
	struct udp_flow **at;

	if (s->n_flows++ > s->mask)
		grow_udp_table(s);
	at = &s->table[f->hash & s->mask];
	f->next = *at;
	*at = f;
}

void
udp_socket_remove(struct udp_socket *s, struct udp_flow *f)
{
	struct udp_flow **at = &s->table[f->hash & s->mask];

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	s->n_flows--;
}

/* -- what comes ------------------------------------------------------------------ */

/* Which of our addresses the sender asked: the answer has to come from there. */
static void
read_local(struct msghdr *m, struct endpoint *local)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			local->family = AF_INET;
			memcpy(local->ip, &info.ipi_spec_dst, sizeof(info.ipi_spec_dst));
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			/* No answer can come from a group's address. */
			if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr))
				continue;
			local->family = AF_INET6;
			memcpy(local->ip, &info.ipi6_addr, sizeof(info.ipi6_addr));
		}
	}
}

static void
read_key(const struct udp_socket *s, unsigned i, struct udp_key *key)
{
	struct udp_worker *u = s->worker->udp;
	const struct addr *sender = &u->senders[i];

	memset(key, 0, sizeof(*key));
	endpoint_set(&key->client, sender);
	if (addr_family(sender) == AF_INET6)
		key->scope = sender->u.in6.sin6_scope_id;
	if (s->any)
		read_local(&u->in[i].msg_hdr, &key->local);
}

/* The flow of the i-th datagram; fresh: none but a new one. */
static struct udp_flow *
flow_of(struct udp_socket *s, unsigned i, bool *fresh)
{
	struct udp_flow *f;
	struct udp_key key;
	uint32_t hash;

	read_key(s, i, &key);
	hash = udp_socket_hash(s, &key);
	if (!*fresh && (f = udp_socket_flow(s, &key, hash)) != NULL)
		return f;
	*fresh = true;
	return s->listener != NULL ? udp_flow_new(s, &key, hash) : NULL;
}

/* What one client sent in a row.  A backend that refuses says so of an earlier datagram: this one was not sent, and begins
 * a flow anew, once. */
static void
forward_row(struct udp_socket *s, unsigned first, unsigned end)
{
	bool fresh = false;
	struct udp_flow *f = flow_of(s, first, &fresh);

	if (f != NULL)
		first += udp_flow_forward(f, first, end - first);
	if (f != NULL && first < end && !fresh) {
		fresh = true;
		if ((f = flow_of(s, first, &fresh)) != NULL)
			first += udp_flow_forward(f, first, end - first);
	}
	if (first < end && s->listener != NULL)
		udp_flow_dropped(s->lane, s->listener->entrance, lane_color(s->lane, s->listener->entrance),
				 end - first);
}

static bool
same_sender(const struct udp_socket *s, unsigned a, unsigned b)
{
	struct udp_key x, y;

	if (!addr_equal(&s->worker->udp->senders[a], &s->worker->udp->senders[b]))
		return false;
	read_key(s, a, &x);
	read_key(s, b, &y);
	return memcmp(&x, &y, sizeof(x)) == 0;
}

static void
udp_socket_on_ready(struct ev_loop *loop, ev_io *watcher, int revents)
{
	struct udp_socket *s = container_of(watcher, struct udp_socket, watcher);
	int n = udp_receive(s->worker->udp, watcher->fd, true);

	(void)loop;
	(void)revents;
	for (int first = 0, end; first < n; first = end) {
		for (end = first + 1; end < n && same_sender(s, (unsigned)first, (unsigned)end);)
			end++;
		forward_row(s, (unsigned)first, (unsigned)end);
	}
}

/* -- a listener's -------------------------------------------------------------------- */

static void
udp_open(struct listener *li, int fd, bool awaits)
{
	struct udp_socket *s = must_alloc(sizeof(*s));
	socklen_t len = sizeof(s->cookie);

	s->worker = li->worker;
	s->listener = li;
	s->lane = li->lane;
	s->any = addr_is_any(&li->binding->addr);
	s->awaits = awaits;
	s->mask = TABLE_LEAST - 1;
	s->table = must_array(TABLE_LEAST, sizeof(*s->table));
	list_init(&s->farewell);
	(void)getsockopt(fd, SOL_SOCKET, SO_COOKIE, &s->cookie, &len);
	sock_set_int(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER);
	if (s->any && addr_family(&li->binding->addr) == AF_INET6)
		sock_set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	else if (s->any)
		sock_set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
	turn_io_init(&s->watcher, udp_socket_on_ready, fd, EV_READ);
	list_append(&s->worker->udp->sockets, &s->link);
	li->udp = s;
}

static void
udp_move(struct listener *to, struct listener *from)
{
	struct udp_socket *s = from->udp;

	from->udp = NULL;
	to->udp = s;
	s->listener = to;
	s->lane = to->lane;
}

static void
udp_resume(struct listener *li)
{
	struct udp_socket *s = li->udp;

	if (!s->awaits)
		ev_io_start(s->worker->loop, &s->watcher);
	else if (s->awaits_until <= 0)
		s->awaits_until = s->worker->now + AWAIT;
}

static void
udp_pause(struct listener *li)
{
	ev_io_stop(li->worker->loop, &li->udp->watcher);
}

void
udp_socket_waits_no_more(struct udp_socket *s)
{
	bool was_due = s->awaits && s->awaits_until > 0;

	s->awaits = false;
	if (was_due && s->listener != NULL)
		listener_resume(s->listener);
}

static void
free_socket(struct udp_socket *s)
{
	ev_io_stop(s->worker->loop, &s->watcher);
	close(s->watcher.fd);
	list_remove(&s->link);
	free(s->table);
	free(s);
}

/* Its listener has it no more. */
static struct udp_socket *
part_from_listener(struct listener *li)
{
	struct udp_socket *s = li->udp;

	li->udp = NULL;
	s->listener = NULL;
	s->worker->udp->closed++;
	return s;
}

static void
udp_close(struct listener *li)
{
	struct udp_socket *s = part_from_listener(li);

	s->ends_at = s->worker->now + li->lane->config->drain.timeout;
	if (s->n_flows == 0) {
		s->worker->udp->closed--;
		free_socket(s);
	} else {
		ev_io_start(s->worker->loop, &s->watcher);
	}
}

static void
udp_yield(struct listener *li)
{
	struct udp_socket *s = part_from_listener(li);

	s->yielded = s->parting = true;
	ev_io_stop(s->worker->loop, &s->watcher);
	epoll_forget(s->worker->epoll, s->watcher.fd);
	list_append(&s->lane->udp->farewells, &s->farewell);
}

const struct mode_datagrams udp_datagrams = {
	.open = udp_open,
	.move = udp_move,
	.resume = udp_resume,
	.pause = udp_pause,
	.close = udp_close,
	.yield = udp_yield,
};

/* -- time ------------------------------------------------------------------------- */

static void
end_flows(struct udp_socket *s)
{
	for (unsigned i = 0; i <= s->mask; i++)
		for (struct udp_flow *f = s->table[i], *next; f != NULL; f = next) {
			next = f->next;
			if (f->dial.state == DIAL_REACHED && !list_empty(&f->dial.link))
				udp_flow_end(f, END_DRAINED);
		}
}

void
udp_sockets_tick(struct worker *w)
{
	LIST_EACH(it, &w->udp->sockets) {
		struct udp_socket *s = list_entry(it, struct udp_socket, link);

		if (s->awaits && s->awaits_until > 0 && w->now >= s->awaits_until)
			udp_socket_waits_no_more(s);
		if (s->listener == NULL && !s->yielded && w->now >= s->ends_at)
			end_flows(s);
	}
}

void
udp_sockets_reap(struct worker *w)
{
	LIST_EACH(it, &w->udp->sockets) {
		struct udp_socket *s = list_entry(it, struct udp_socket, link);

		if (s->listener != NULL || s->n_flows > 0 || s->parting)
			continue;
		w->udp->closed--;
		free_socket(s);
	}
}
