/* startup.c - the process before it serves.  Thread: main, alone. */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "app/teald/admin.h"
#include "app/teald/observe.h"
#include "app/teald/observe_stream.h"
#include "app/teald/startup.h"
#include "base/log.h"
#include "control/gate.h"

/* Kept from connections: what admin.h, observe.h, health.h and gate.h allow, and
 * the store, files and spares. */
#define RESERVE \
	(ADMIN_CLIENTS_MAX + OBSERVE_WAITING_MAX + OBSERVE_REPLIES_MAX + OBSERVE_PROBES_MAX + VIEWERS_MAX + \
	 TARGETS_PROMPT + TARGETS_UNSURE + TARGETS_HANGING + GATE_PROBES_MAX + 128)
uint32_t
startup_descriptors(const struct engine_needs *needs)
{
	uint64_t reserve = RESERVE, listeners = needs->listeners, wanted = reserve + listeners + needs->descriptors;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 512;
	if (limit.rlim_cur < wanted) {
		struct rlimit more = { .rlim_cur = wanted, .rlim_max = wanted };

		/* Root may raise the ceiling, others may go up to it. */
		if (limit.rlim_max >= wanted || setrlimit(RLIMIT_NOFILE, &more) != 0) {
			more.rlim_max = limit.rlim_max;
			more.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
			(void)setrlimit(RLIMIT_NOFILE, &more);
		}
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	/* All services are never full at once; that a limit of the file is out of reach is worth a line. */
	if (limit.rlim_cur < reserve + listeners + needs->least)
		LOG_WARN("limits.descriptors", LU("have", limit.rlim_cur), LU("wanted", reserve + listeners + needs->least),
			 LS("hint", "connections will wait when they are used up; raise LimitNOFILE or lower max_connections"));
	/* A tiny limit is shared out rather than eaten by the reserve. */
	if (reserve > limit.rlim_cur / 3)
		reserve = limit.rlim_cur / 3;
	/* None left: binding will say so; and 0 would mean that there is no limit. */
	if (limit.rlim_cur < reserve + listeners + 2)
		return 2;
	if (limit.rlim_cur - reserve - listeners > UINT32_MAX / 2)
		return UINT32_MAX / 2;
	return (uint32_t)(limit.rlim_cur - reserve - listeners);
}

enum err
startup_state_dir(const struct config *config, struct why *why)
{
	struct stat st;

	if (config->state_dir == NULL)
		return OK;
	if (stat(config->state_dir, &st) != 0) {
		if (errno != ENOENT || mkdir(config->state_dir, 0750) != 0)
			return why_set(why, E_USAGE, "state_dir %s: %s", config->state_dir, strerror(errno));
		if (config->user != NULL && geteuid() == 0 &&
		    chown(config->state_dir, config->uid, config->gid) != 0)
			return why_set(why, E_USAGE, "state_dir %s: cannot give it to %s: %s", config->state_dir,
				       config->user, strerror(errno));
		return OK;
	}
	if (!S_ISDIR(st.st_mode))
		return why_set(why, E_USAGE, "state_dir %s is not a folder", config->state_dir);
	return OK;
}

/* Of this thread: `only` alone, or that taken away; bits. */
static bool
set_capabilities(uint64_t bits, bool only)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (only)
		memset(data, 0, sizeof(data));
	else if (syscall(SYS_capget, &head, data) != 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(data); i++) {
		uint32_t some = (uint32_t)(bits >> (32 * i));

		if (only) {
			data[i].permitted = data[i].effective = some;
			continue;
		}
		data[i].permitted &= ~some;
		data[i].effective &= ~some;
		data[i].inheritable &= ~some;
	}
	/* What is ambient has to be permitted and inheritable; the kernel sees to it. */
	return syscall(SYS_capset, &head, data) == 0;
}

uint64_t
startup_capabilities(uint64_t bits)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return syscall(SYS_capget, &head, data) == 0 ?
		       (data[0].permitted | (uint64_t)data[1].permitted << 32) & bits :
		       0;
}

enum err
startup_drop_capabilities(uint64_t bits, struct why *why)
{
	if (geteuid() == 0 || set_capabilities(bits, false))
		return OK;
	return why_set(why, E_INTERNAL, "cannot give up the capabilities that the start needed: %s", strerror(errno));
}

enum err
startup_drop_privileges(const struct config *config, uint64_t keep, struct why *why)
{
	if (config->user == NULL || config->uid == geteuid())
		return OK;
	if (geteuid() != 0)
		return why_set(why, E_USAGE, "user = \"%s\": only root can change its user; start as root or as %s",
			       config->user, config->user);
	/* A reload may name a port below 1024. */
	keep |= startup_capabilities(UINT64_C(1) << CAP_NET_BIND_SERVICE);
	if (keep != 0 && prctl(PR_SET_KEEPCAPS, 1) != 0)
		return why_set(why, E_INTERNAL, "cannot keep the capabilities that are needed: %s", strerror(errno));
	if (initgroups(config->user, config->gid) != 0 || setresgid(config->gid, config->gid, config->gid) != 0 ||
	    setresuid(config->uid, config->uid, config->uid) != 0)
		return why_set(why, E_INTERNAL, "cannot become %s: %s", config->user, strerror(errno));
	if (keep != 0 && !set_capabilities(keep, true))
		return why_set(why, E_INTERNAL, "cannot keep the capabilities that are needed: %s", strerror(errno));
	(void)prctl(PR_SET_KEEPCAPS, 0);
	/* After setuid() the kernel refuses core dumps and ptrace; crashes
	 * should still be debuggable by root, which this keeps possible. */
	(void)prctl(PR_SET_DUMPABLE, 1);
	return OK;
}
