/* udp_flow.c - one client's datagrams, and the backend that they go to.
 * Thread: owning worker. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "data/access.h"
#include "data/proxy.h"
#include "data/udp/udp_flow.h"
#include "data/udp/udp_lane.h"

/* Until the same trouble is told again. */
#define COMPLAIN_SECONDS 10.0

/* -- the end ------------------------------------------------------------------- */

static struct udp_flow *
flow_of_dial(const struct dial *d)
{
	struct udp_flow *f = container_of(d, struct udp_flow, dial);

	CHECK(f->magic == UDP_FLOW_MAGIC);
	return f;
}

static void
log_flow(struct udp_flow *f, enum ending ending, struct str share, double now)
{
	const struct service_config *sc = f->dial.lane->config;
	char client[ADDR_TEXT], tried[TRIED_TEXT];
	struct addr peer;

	endpoint_get(&f->dial.peer, &peer);
	LOG_INFO("udp.session", LS("service", sc->name), LR(NULL, str_from(sc->labels_json)),
		 LS("entrance", f->dial.entrance == ENTRANCE_MAIN ? "main" : "preview"),
		 LS("client", addr_format(&peer, client)),
		 LS("backend", f->dial.backend != NULL ? f->dial.backend->text : ""),
		 service_color_field(sc, (enum color)f->dial.color), service_epoch_field(sc, f->dial.epoch),
		 LU("bytes_in", f->bytes_in), LU("bytes_out", f->bytes_out),
		 LU("datagrams_in", f->datagrams_in), LU("datagrams_out", f->datagrams_out),
		 LF("seconds", now - f->dial.born),
		 access_seconds("first_byte_seconds", (double)f->first_byte), LU("retries", f->dial.retries),
		 LR(NULL, tried_json(f->dial.tried, tried)), LS("end", ending_word(ending)), LR(NULL, share));
}

/* It gives its place to no new one. */
static void
leave_young(struct udp_flow *f)
{
	if (list_empty(&f->young))
		return;
	list_remove(&f->young);
	f->dial.lane->udp->n_young--;
}

void
udp_flow_leave(struct udp_flow *f)
{
	leave_young(f);
	udp_socket_remove(f->socket, f);
	dial_end(&f->dial);
	admission_leave(&f->dial.lane->worker->proxy->flows, 1);
}

void
udp_flow_end(struct udp_flow *f, enum ending ending)
{
	struct lane *l = f->dial.lane;
	struct worker *w = l->worker;
	struct tally_color *t = dial_tally(&f->dial);
	struct str share;

	ON_WORKER(w);
	CHECK(f->magic == UDP_FLOW_MAGIC && f->dial.state != DIAL_ENDED);
	/* As in session_end(): tally.h.  Datagrams and bytes are counted already. */
	if (f->dial.backend != NULL)
		backend_account_bytes(f->dial.backend->account, w->index, f->bytes_in, f->bytes_out);
	tally_add(&t->ended[ending], 1);
	/* A flood ends as many as it begins. */
	if (access_is_due(l, ending, ending_is_error(ending), &share) &&
	    (ending != END_EVICTED || access_may_tell(l)))
		log_flow(f, ending, share, w->now);
	io_close(w->loop, &f->server);
	udp_flow_leave(f);
	permit_release(&f->dial.permit);
}

void
udp_flow_idled(struct deadline *d)
{
	udp_flow_end(flow_of_dial(container_of(d, struct dial, deadline)), END_IDLE);
}

void
udp_flow_dropped(const struct lane *l, enum entrance entrance, enum color color, unsigned n)
{
	tally_add(&l->tally->colors[entrance][color].datagrams_dropped, n);
}

/* -- datagrams --------------------------------------------------------------------- */

/* Traffic, in one direction or the other. */
static void
touch_flow(struct udp_flow *f)
{
	struct lane *l = f->dial.lane;
	double now = l->worker->now;

	if (!f->lasting && now - f->dial.born >= UDP_LASTS_AFTER) {
		leave_young(f);
		f->lasting = true;
		deadline_arm(l->idle_clock[0], &f->dial.deadline, now);
		return;
	}
	deadline_touch(l->idle_clock[!f->lasting], &f->dial.deadline, now);
}

/* The backend's host says that no such port is there, or that it cannot be reached. */
static bool
is_refusal_of_backend(int error)
{
	return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH;
}

static void
backend_refused(struct udp_flow *f)
{
	backend_failed(f->dial.backend);
	f->dial.lane->refused = true;
	udp_flow_end(f, END_BACKEND_RESET);
}

static void
count_drops(struct udp_flow *f, unsigned n)
{
	udp_flow_dropped(f->dial.lane, (enum entrance)f->dial.entrance, (enum color)f->dial.color, n);
}

/* At once, for a flow may last. */
static void
count_forwarded(struct udp_flow *f, unsigned n, uint64_t bytes)
{
	f->datagrams_in += n;
	f->bytes_in += bytes;
	tally_add(&dial_tally(&f->dial)->datagrams_in, n);
	tally_add(&dial_tally(&f->dial)->bytes_in, bytes);
}

unsigned
udp_flow_forward(struct udp_flow *f, unsigned first, unsigned n)
{
	struct udp_worker *u = f->dial.lane->worker->udp;
	uint64_t bytes = 0;
	unsigned done = 0, sent = 0;

	/* One that waits for a descriptor holds nothing. */
	if (f->dial.state != DIAL_REACHED) {
		count_drops(f, n);
		return n;
	}
	for (unsigned i = 0; i < n; i++)
		u->out[i].msg_hdr = (struct msghdr){ .msg_iov = &u->parts[first + i], .msg_iovlen = 1 };
	while (done < n) {
		int rc = sendmmsg(io_fd(&f->server), u->out + done, n - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (rc < 0 && is_refusal_of_backend(errno)) {
			count_forwarded(f, sent, bytes);
			backend_refused(f);
			return done;
		}
		/* Too large for the way, no room: that one is lost, as on any other hop. */
		if (rc <= 0) {
			count_drops(f, 1);
			done++;
			continue;
		}
		for (int i = 0; i < rc; i++)
			bytes += u->parts[first + done + (unsigned)i].iov_len;
		done += (unsigned)rc;
		sent += (unsigned)rc;
	}
	count_forwarded(f, sent, bytes);
	touch_flow(f);
	return done;
}

/* From the address that was asked. */
static void
fill_control(const struct udp_flow *f, struct udp_control *control, struct msghdr *m)
{
	const struct endpoint *local = &f->key.local;
	struct cmsghdr *c = (struct cmsghdr *)(void *)control->room;

	if (local->family == 0)
		return;
	memset(control, 0, sizeof(*control));
	m->msg_control = control->room;
	if (local->family == AF_INET) {
		struct in_pktinfo info = { 0 };

		memcpy(&info.ipi_spec_dst, local->ip, sizeof(info.ipi_spec_dst));
		m->msg_controllen = CMSG_SPACE(sizeof(info));
		*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(info)),
				       .cmsg_level = IPPROTO_IP,
				       .cmsg_type = IP_PKTINFO };
		memcpy(CMSG_DATA(c), &info, sizeof(info));
	} else {
		struct in6_pktinfo info = { 0 };

		memcpy(&info.ipi6_addr, local->ip, sizeof(info.ipi6_addr));
		m->msg_controllen = CMSG_SPACE(sizeof(info));
		*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(info)),
				       .cmsg_level = IPPROTO_IPV6,
				       .cmsg_type = IPV6_PKTINFO };
		memcpy(CMSG_DATA(c), &info, sizeof(info));
	}
}

/* n received ones go to the client. */
static void
answer_sender(struct udp_flow *f, unsigned n)
{
	struct udp_worker *u = f->dial.lane->worker->udp;
	uint64_t bytes = 0;
	unsigned done = 0, sent = 0;
	struct addr client;

	endpoint_get(&f->key.client, &client);
	if (addr_family(&client) == AF_INET6)
		client.u.in6.sin6_scope_id = f->key.scope;
	for (unsigned i = 0; i < n; i++) {
		u->out[i].msg_hdr = (struct msghdr){ .msg_name = &client.u,
						     .msg_namelen = client.len,
						     .msg_iov = &u->parts[i],
						     .msg_iovlen = 1 };
		fill_control(f, &u->answer, &u->out[i].msg_hdr);
	}
	while (done < n) {
		int rc =
			sendmmsg(f->socket->watcher.fd, u->out + done, n - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (rc <= 0) {
			count_drops(f, 1);
			done++;
			continue;
		}
		for (int i = 0; i < rc; i++)
			bytes += u->parts[done + (unsigned)i].iov_len;
		done += (unsigned)rc;
		sent += (unsigned)rc;
	}
	f->datagrams_out += sent;
	f->bytes_out += bytes;
	tally_add(&dial_tally(&f->dial)->datagrams_out, sent);
	tally_add(&dial_tally(&f->dial)->bytes_out, bytes);
}

void
udp_flow_on_server(struct ev_loop *loop, ev_io *w, int revents)
{
	struct udp_flow *f = container_of(w, struct udp_flow, server.watcher);
	int n;

	(void)loop;
	(void)revents;
	CHECK(f->magic == UDP_FLOW_MAGIC && f->dial.state == DIAL_REACHED);
	n = udp_receive(f->dial.lane->worker->udp, w->fd, false);
	if (n < 0 && is_refusal_of_backend(errno))
		backend_refused(f);
	if (n <= 0)
		return;
	if (f->first_byte < 0) {
		backend_connected(f->dial.backend);
		f->first_byte = (float)(f->dial.lane->worker->now - f->dial.born);
	}
	answer_sender(f, (unsigned)n);
	touch_flow(f);
}

/* -- on its way to a backend ----------------------------------------------------------- */

/* Of datagrams it is not known. */
static bool
flow_client_is_gone(struct dial *d)
{
	(void)d;
	return false;
}

static struct io *
open_flow(struct dial *d, struct backend *b, enum dial_how *how)
{
	const struct addr *source = &d->lane->config->source_address;
	struct udp_flow *f = flow_of_dial(d);
	int family = addr_family(&b->address),
	    fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return NULL;
	if ((addr_family(source) == family && bind(fd, &source->u.sa, source->len) != 0) ||
	    connect(fd, &b->address.u.sa, b->address.len) != 0) {
		/* Every port of ours is taken: the kernel says it in two ways. */
		int e = errno == EAGAIN || errno == EADDRINUSE ? EADDRNOTAVAIL : errno;

		close(fd);
		errno = e;
		return NULL;
	}
	/* What came from others between the two is no answer. */
	for (char c; addr_family(source) == family && recv(fd, &c, 1, MSG_TRUNC) >= 0;)
		;
	io_init(&f->server, fd, udp_flow_on_server);
	/* Nothing comes before the first datagram, and there is no connect to be timed. */
	*how = DIAL_REUSED;
	return &f->server;
}

static struct io *
flow_server_of(struct dial *d)
{
	struct io *io = &flow_of_dial(d)->server;

	return io_is_open(io) ? io : NULL;
}

static void
close_flow_server(struct dial *d)
{
	io_close(d->lane->worker->loop, &flow_of_dial(d)->server);
}

void
udp_flow_watch(struct udp_flow *f)
{
	struct lane *l = f->dial.lane;

	if (!f->lasting) {
		list_append(&l->udp->young, &f->young);
		l->udp->n_young++;
	}
	io_want(l->worker->loop, &f->server, EV_READ);
}

void
udp_flow_unwatch(struct udp_flow *f)
{
	leave_young(f);
	io_want(f->dial.lane->worker->loop, &f->server, 0);
}

static void
flow_reached(struct dial *d, bool reused)
{
	(void)reused;
	deadline_arm(d->lane->idle_clock[1], &d->deadline, d->lane->worker->now);
	udp_flow_watch(flow_of_dial(d));
}

static void
end_dialed_flow(struct dial *d, enum ending ending)
{
	udp_flow_end(flow_of_dial(d), ending);
}

static void
flow_bytes(const struct dial *d, uint64_t *in, uint64_t *out)
{
	const struct udp_flow *f = flow_of_dial(d);

	*in = f->bytes_in;
	*out = f->bytes_out;
}

const struct dial_ops udp_flow_dial_ops = {
	.gone = flow_client_is_gone,
	.open = open_flow,
	.io = flow_server_of,
	.close = close_flow_server,
	.reached = flow_reached,
	.end = end_dialed_flow,
	.bytes = flow_bytes,
};

/* -- birth ------------------------------------------------------------------------------ */

/* Of those that may go the oldest one of that lane; or, NULL, of the lane that has the most, so that a flood at one
 * service takes no place of another.  False: none may. */
static bool
make_room(struct worker *w, struct lane *own)
{
	struct udp_lane *most = own != NULL ? own->udp : NULL;

	if (own == NULL)
		LIST_EACH(it, &w->udp->lanes) {
			struct udp_lane *one = list_entry(it, struct udp_lane, link);

			if (most == NULL || one->n_young > most->n_young)
				most = one;
		}
	if (most == NULL || list_empty(&most->young))
		return false;
	udp_flow_end(list_entry(list_first(&most->young), struct udp_flow, young), END_EVICTED);
	return true;
}

/* The process has no more; for which service that is. */
static void
tell_no_more_flows(const struct lane *l)
{
	struct worker *w = l->worker;

	if (w->udp->complained > 0 && w->now - w->udp->complained < COMPLAIN_SECONDS)
		return;
	w->udp->complained = w->now;
	LOG_WARN("flows.full", LU("worker", w->index), LS("service", l->config->name),
		 LR(NULL, str_from(l->config->labels_json)),
		 LU("connections", atomic_load_explicit(&w->proxy->flows.held, memory_order_relaxed)),
		 LS("hint", "new flows of UDP take the places of those without lasting traffic; if this is no flood, "
			    "raise LimitNOFILE, max_connections outside of services and net.ipv4.ip_local_port_range"));
}

/* What the process has, then what the service says. */
static bool
let_in(struct worker *w, struct permit *p, enum ending *why)
{
	*why = END_MEMORY;
	if (!worker_take_flow(w)) {
		tell_no_more_flows(p->lane);
		if (!make_room(w, NULL) || !worker_take_flow(w))
			return false;
	}
	p->descriptors = 1;
	if (permit_ask(p, why) != ADMIT_NO)
		return true;
	if (*why == END_LIMIT && make_room(w, p->lane) && permit_ask(p, why) != ADMIT_NO)
		return true;
	admission_leave(&w->proxy->flows, 1);
	return false;
}

struct udp_flow *
udp_flow_alloc(struct udp_socket *s, const struct udp_key *key, uint32_t hash)
{
	struct udp_flow *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->magic = UDP_FLOW_MAGIC;
	f->hash = hash;
	f->socket = s;
	f->key = *key;
	f->first_byte = -1;
	list_init(&f->young);
	io_init(&f->server, -1, udp_flow_on_server);
	return f;
}

struct udp_flow *
udp_flow_new(struct udp_socket *s, const struct udp_key *key, uint32_t hash)
{
	struct listener *li = s->listener;
	struct worker *w = s->worker;
	struct permit permit;
	struct udp_flow *f;
	struct addr client;
	enum ending why;

	endpoint_get(&key->client, &client);
	permit_init(&permit, li, &client);
	permit.descriptors = 0;
	f = let_in(w, &permit, &why) ? udp_flow_alloc(s, key, hash) : NULL;
	if (f == NULL) {
		if (permit.admitted) {
			why = END_MEMORY;
			admission_leave(&w->proxy->flows, 1);
		}
		permit_refuse(&permit, why, w->now, STR(""));
		permit_release(&permit);
		return NULL;
	}
	permit_move(&f->dial.permit, &permit);
	dial_init(&f->dial, li->entrance, WAITER_FLOW);
	f->dial.born = w->now;
	udp_socket_add(s, f);
	dial_begin(&f->dial);
	dial_next(&f->dial);
	return f->dial.state == DIAL_ENDED ? NULL : f;
}
