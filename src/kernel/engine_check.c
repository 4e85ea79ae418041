/* engine_check.c - what the machine lacks to forward for us, and the command that
 * mends it.  Start-up thread only. */
#include <dirent.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel/engine.h"
#include "kernel/flows.h"

static bool
may_administer(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return syscall(SYS_capget, &head, data) == 0 &&
	       (data[CAP_TO_INDEX(CAP_NET_ADMIN)].effective & CAP_TO_MASK(CAP_NET_ADMIN)) != 0;
}

/* It is one of this host's own: nothing has to be passed on. */
static bool
is_here(const struct addr *a)
{
	struct addr at = *a;
	int fd = socket(addr_family(a), SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool here;

	if (addr_family(a) == AF_INET)
		at.u.in.sin_port = 0;
	else
		at.u.in6.sin6_port = 0;
	here = fd >= 0 && bind(fd, &at.u.sa, at.len) == 0;
	if (fd >= 0)
		close(fd);
	return here;
}

/* "1" in a file of /proc/sys. */
static bool
is_on(const char *path)
{
	FILE *f = fopen(path, "re");
	int c = f != NULL ? getc(f) : EOF;

	if (f != NULL)
		fclose(f);
	return c != EOF && c != '0' && c != '\n';
}

/* Forwarding on one interface is enough: it was configured on purpose then. */
static bool
forwards(int family)
{
	const char *base = family == AF_INET ? "/proc/sys/net/ipv4/conf" : "/proc/sys/net/ipv6/conf";
	DIR *dir = opendir(base);
	struct dirent *entry;
	bool found = false;
	char path[512];

	while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "default") == 0 ||
		    strcmp(entry->d_name, "lo") == 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s/forwarding", base, entry->d_name);
		found = is_on(path);
	}
	if (dir != NULL)
		closedir(dir);
	return found;
}

/* The first service that needs packets of the family to be passed on. */
static const struct service_config *
who_forwards(const struct config *config, int family)
{
	for (size_t i = 0; i < config->n_services; i++) {
		const struct service_config *s = &config->services[i];

		for (int c = 0; s->engine == ENGINE_KERNEL && c < COLORS; c++)
			for (size_t b = 0; b < s->colors[c].n_backends; b++) {
				const struct addr *a = &s->colors[c].backends[b].address;

				if (a->len > 0 && addr_family(a) == family && !is_here(a))
					return s;
			}
	}
	return NULL;
}

/* The first service with clients of the family whose backends are not known yet: names are
 * looked up later, nodes of a pool come and go. */
static const struct service_config *
who_might_forward(const struct config *config, int family)
{
	for (size_t i = 0; i < config->n_services; i++) {
		const struct service_config *s = &config->services[i];
		bool listens = false, open = s->pool != NULL;

		for (size_t k = 0; k < s->n_listen; k++)
			listens |= addr_family(&s->listen[k]) == family;
		for (int c = 0; c < COLORS; c++)
			for (size_t b = 0; b < s->colors[c].n_backends; b++)
				open |= s->colors[c].backends[b].address.len == 0;
		if (s->engine == ENGINE_KERNEL && listens && open)
			return s;
	}
	return NULL;
}

/* Fewer are no table for a balancer. */
#define TABLE_SMALL (UINT64_C(1) << 17)
#define TABLE_GOOD (UINT64_C(1) << 18)
/* Entries in a list, on average, that are too many to look through for each packet. */
#define LIST_LONG 8

const char *
kernel_check_table(uint64_t entries, uint64_t max, uint64_t buckets, char text[KERNEL_SENTENCE])
{
	uint64_t good = TABLE_GOOD;

	while (good < 2 * entries || good < max)
		good *= 2;
	if (max != 0 && (max < TABLE_SMALL || entries > max / 5 * 4))
		snprintf(
			text, KERNEL_SENTENCE,
			"net.netfilter.nf_conntrack_max: the host's table of connections takes %llu entries, and %llu are in use; "
			"beyond that new ones are dropped; sysctl -w net.netfilter.nf_conntrack_max=%llu "
			"net.netfilter.nf_conntrack_buckets=%llu",
			(unsigned long long)max, (unsigned long long)entries, (unsigned long long)good,
			(unsigned long long)good);
	else if (buckets != 0 && max / buckets > LIST_LONG)
		snprintf(
			text, KERNEL_SENTENCE,
			"net.netfilter.nf_conntrack_buckets: so few that %llu connections would be searched for each packet; "
			"sysctl -w net.netfilter.nf_conntrack_buckets=%llu",
			(unsigned long long)(max / buckets), (unsigned long long)max);
	else
		return NULL;
	return text;
}

static uint64_t
read_limit(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned long long v = 0;

	if (f != NULL && fscanf(f, "%llu", &v) != 1)
		v = 0;
	if (f != NULL)
		fclose(f);
	return v;
}

enum err
kernel_check(const struct config *config, void (*warn)(const char *text), struct why *why)
{
	static const struct {
		int family;
		const char *setting, *kind;
	} families[] = {
		{ AF_INET, "net.ipv4.ip_forward", "IPv4" },
		{ AF_INET6, "net.ipv6.conf.all.forwarding", "IPv6" },
	};
	struct flows_lack lacks[FLOWS_LACKS];
	char text[512], self[256];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	size_t n;

	self[length > 0 ? length : 0] = '\0';
	if (!may_administer())
		return why_set(
			why, E_USAGE,
			"engine = \"kernel\" needs CAP_NET_ADMIN, which teald does not have; start it as root, or give it "
			"the capability: setcap cap_net_admin+ep %s, or AmbientCapabilities=CAP_NET_ADMIN in its "
			"systemd unit",
			self[0] != '\0' ? self : "teald");
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		const struct service_config *s = who_forwards(config, families[i].family);

		if (s != NULL && !forwards(families[i].family))
			return why_set(
				why, E_USAGE,
				"%s is 0: this host passes no %s packets on, and service \"%s\" has backends on other hosts; "
				"sysctl -w %s=1",
				families[i].setting, families[i].kind, s->name, families[i].setting);
		s = who_might_forward(config, families[i].family);
		if (s == NULL || forwards(families[i].family))
			continue;
		snprintf(
			text, sizeof(text),
			"%s is 0: this host passes no %s packets on; clients of service \"%s\" are served only by those of "
			"its backends that are on this host; sysctl -w %s=1",
			families[i].setting, families[i].kind, s->name, families[i].setting);
		warn(text);
	}
	if (kernel_check_table(read_limit("/proc/sys/net/netfilter/nf_conntrack_count"),
			       read_limit("/proc/sys/net/netfilter/nf_conntrack_max"),
			       read_limit("/proc/sys/net/netfilter/nf_conntrack_buckets"), text) != NULL)
		warn(text);
	for (size_t i = 0; i < config->kernel.n_source_addresses; i++) {
		char address[ADDR_TEXT];

		if (is_here(&config->kernel.source_addresses[i]))
			continue;
		snprintf(text, sizeof(text),
			 "kernel.source_addresses: %s is no address of this host: connections that get it do not reach their backends; "
			 "ip address add, or take it out",
			 addr_format(&config->kernel.source_addresses[i], address));
		warn(text);
	}
	n = flows_lacks(lacks);
	for (size_t i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%s: %s; %s", lacks[i].setting, lacks[i].what, lacks[i].mend);
		warn(text);
	}
	return OK;
}
