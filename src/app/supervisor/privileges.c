/* privileges.c - the supervisor's own rights: to signal its child, and to raise
 * one as it was started itself. */
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "app/supervisor/supervisor.h"

static struct rlimit descriptors;

static bool
capabilities(int call, struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3])
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(call, &head, data) == 0;
}

void
privileges_drop(void)
{
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	struct rlimit all;

	/* It holds every socket that its child opens. */
	CHECK(getrlimit(RLIMIT_NOFILE, &descriptors) == 0);
	all = descriptors;
	all.rlim_cur = all.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &all);
	if (!capabilities(SYS_capget, data))
		return;
	if (geteuid() == 0) {
		/* What root execs has all of the bounding set again (capabilities(7)). */
		uint32_t kill = CAP_TO_MASK(CAP_KILL) & data[0].permitted;

		memset(data, 0, sizeof(data));
		data[0].permitted = data[0].effective = kill;
	} else {
		/* What the program file or the service manager gave is for the child:
		 * permitted, but not in effect here. */
		for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
			data[i].effective = 0;
			data[i].inheritable = data[i].permitted;
		}
		(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	}
	(void)capabilities(SYS_capset, data);
}

void
privileges_restore(void)
{
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	(void)setrlimit(RLIMIT_NOFILE, &descriptors);
	if (geteuid() == 0 || !capabilities(SYS_capget, data))
		return;
	for (int c = 0; c < 32 * _LINUX_CAPABILITY_U32S_3; c++)
		if ((data[CAP_TO_INDEX(c)].permitted & CAP_TO_MASK(c)) != 0)
			(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0);
}
