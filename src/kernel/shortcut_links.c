/* shortcut_links.c - which interfaces have the shortcut: looked up by rtnetlink, again
 * whenever one comes, goes or changes.  Thread: main at first, then the flows thread. */
#include <errno.h>
#include <linux/bpf.h>

#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "base/check.h"
#include "base/log.h"
#include "kernel/shortcut_private.h"

/* linux/bpf.h of Linux 6.6, where tcx begins. */
#define TCX_INGRESS 46
#define MESSAGES 32768

/* A tcx link: the program comes after those that are there already, which so see every packet,
 * and goes when the descriptor is closed. */
static int
attach_program(int program, unsigned index)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = (unsigned)program;
	attr.link_create.target_ifindex = index;
	attr.link_create.attach_type = TCX_INGRESS;
	return (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
}

static struct shortcut_link *
find_link(struct shortcut *s, unsigned index)
{
	for (size_t i = 0; i < s->n_links; i++)
		if (s->links[i].index == index)
			return &s->links[i];
	return NULL;
}

static void
drop_link(struct shortcut *s, struct shortcut_link *l)
{
	shortcut_map_link(s, l->index, false);
	close(l->fd);
	pthread_mutex_lock(&s->lock);
	*l = s->links[--s->n_links];
	pthread_mutex_unlock(&s->lock);
}

static const struct nlattr *
find_attribute(const struct nlmsghdr *m, unsigned header, unsigned type)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, m, header)
		if (mnl_attr_get_type(a) == type)
			return a;
	return NULL;
}

/* Filters of a qdisc come after our program: they would not see what it takes. */
static int
on_qdisc(const struct nlmsghdr *m, void *arg)
{
	const struct tcmsg *t = mnl_nlmsg_get_payload(m);
	const struct nlattr *kind = find_attribute(m, sizeof(*t), TCA_KIND);
	struct shortcut *s = arg;

	if (m->nlmsg_type != RTM_NEWQDISC || kind == NULL ||
	    (strcmp(mnl_attr_get_str(kind), "ingress") != 0 && strcmp(mnl_attr_get_str(kind), "clsact") != 0))
		return MNL_CB_OK;
	s->filtered = must_grow(s->filtered, s->n_filtered + 1, sizeof(*s->filtered));
	s->filtered[s->n_filtered++] = (unsigned)t->tcm_ifindex;
	return MNL_CB_OK;
}

/* Ethernet, and nothing's part: of a bridge, a bond or a VRF the master decides, and others look there first. */
static bool
is_suitable(const struct shortcut *s, const struct nlmsghdr *m, const struct ifinfomsg *i)
{
	for (size_t k = 0; k < s->n_filtered; k++)
		if (s->filtered[k] == (unsigned)i->ifi_index)
			return false;
	return i->ifi_type == ARPHRD_ETHER && (i->ifi_flags & IFF_LOOPBACK) == 0 &&
	       find_attribute(m, sizeof(*i), IFLA_MASTER) == NULL;
}

static int
on_link(const struct nlmsghdr *m, void *arg)
{
	const struct ifinfomsg *i = mnl_nlmsg_get_payload(m);
	const struct nlattr *name = find_attribute(m, sizeof(*i), IFLA_IFNAME);
	struct shortcut *s = arg;
	struct shortcut_link *l, new = { .index = (unsigned)i->ifi_index, .seen = true };

	if (m->nlmsg_type != RTM_NEWLINK || name == NULL || !is_suitable(s, m, i))
		return MNL_CB_OK;
	if ((l = find_link(s, new.index)) != NULL) {
		l->seen = true;
		pthread_mutex_lock(&s->lock);
		str_copy(l->name, sizeof(l->name), str_from(mnl_attr_get_str(name)));
		pthread_mutex_unlock(&s->lock);
		return MNL_CB_OK;
	}
	if ((new.fd = attach_program(s->program, new.index)) < 0)
		return MNL_CB_OK;
	str_copy(new.name, sizeof(new.name), str_from(mnl_attr_get_str(name)));
	pthread_mutex_lock(&s->lock);
	s->links = must_grow(s->links, s->n_links + 1, sizeof(*s->links));
	s->links[s->n_links++] = new;
	pthread_mutex_unlock(&s->lock);
	shortcut_map_link(s, new.index, true);
	return MNL_CB_OK;
}

/* All that there are of a kind, by a socket of its own; false: perhaps not all. */
static bool
list_all_of(struct shortcut *s, unsigned type, size_t header, mnl_cb_t on_one)
{
	static _Thread_local char room[MESSAGES] __attribute__((aligned(8)));
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct nlmsghdr *m = mnl_nlmsg_put_header(room);
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), more = MNL_CB_OK;
	bool whole;
	ssize_t n;

	m->nlmsg_type = (uint16_t)type;
	m->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	/* Zeros: of any interface and family. */
	(void)mnl_nlmsg_put_extra_header(m, header);
	if (fd >= 0 && sendto(fd, m, m->nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) >= 0)
		while (more > MNL_CB_STOP && (n = recv(fd, room, sizeof(room), 0)) > 0)
			more = mnl_cb_run(room, (size_t)n, 0, 0, on_one, s);
	/* A kernel may have no qdiscs at all. */
	whole = more == MNL_CB_STOP || (more == MNL_CB_ERROR && errno == EOPNOTSUPP);
	if (fd >= 0)
		close(fd);
	return whole;
}

void
shortcut_look_at_links(struct shortcut *s)
{
	char news[MESSAGES];

	while (recv(s->route_fd, news, sizeof(news), MSG_DONTWAIT) > 0 || errno == ENOBUFS || errno == EINTR)
		errno = 0;
	for (size_t i = 0; i < s->n_links; i++)
		s->links[i].seen = false;
	s->n_filtered = 0;
	/* Without a whole list it stays as it is: one that was made while something changed is followed by news of that. */
	if ((!s->everywhere && !list_all_of(s, RTM_GETQDISC, sizeof(struct tcmsg), on_qdisc)) ||
	    !list_all_of(s, RTM_GETLINK, sizeof(struct ifinfomsg), on_link))
		return;
	for (size_t i = s->n_links; i-- > 0;)
		if (!s->links[i].seen)
			drop_link(s, &s->links[i]);
}

enum err
shortcut_links_open(struct shortcut *s, struct why *why)
{
	struct sockaddr_nl self = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK | RTMGRP_TC };
	int probe = attach_program(s->program, 1);	/* lo, which every namespace has */

	if (probe < 0)
		return why_set(why, E_UNSUPPORTED, "no program can be attached: %s",
			       errno == EINVAL ? "that takes Linux 6.6 (tcx)" : strerror(errno));
	close(probe);
	s->route_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (s->route_fd < 0 || bind(s->route_fd, (struct sockaddr *)&self, sizeof(self)) != 0)
		return why_set(why, E_UNSUPPORTED, "no news of interfaces: %s", strerror(errno));
	shortcut_look_at_links(s);
	return OK;
}

void
shortcut_links_close(struct shortcut *s)
{
	while (s->n_links > 0)
		drop_link(s, &s->links[s->n_links - 1]);
	free(s->links);
	free(s->filtered);
	if (s->route_fd >= 0)
		close(s->route_fd);
}

int
shortcut_links_fd(const struct shortcut *s)
{
	return s->route_fd;
}

void
shortcut_names(const struct shortcut *s, char *text, size_t size)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&s->lock;
	size_t at = 0;

	text[0] = '\0';
	pthread_mutex_lock(lock);
	for (size_t i = 0; i < s->n_links && at < size; i++)
		at += (size_t)snprintf(text + at, size - at, "%s%s", i > 0 ? "," : "", s->links[i].name);
	pthread_mutex_unlock(lock);
}
