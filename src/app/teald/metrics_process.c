/* metrics_process.c - what every Prometheus client says of its own process.
 * Thread: main. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/teald/metrics.h"

/* A file of /proc, which fits; false when it cannot be read. */
static bool
read_proc(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, text, size - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* Linux 6.2 and later say it at once; before that they have to be counted. */
static bool
open_descriptors(uint64_t *n)
{
	struct stat st;
	DIR *d;

	*n = 0;
	if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) {
		*n = (uint64_t)st.st_size;
		return true;
	}
	if ((d = opendir("/proc/self/fd")) == NULL)
		return false;
	for (struct dirent *entry; (entry = readdir(d)) != NULL;)
		*n += entry->d_name[0] != '.';
	closedir(d);
	*n -= *n > 0;	/* the folder's own */
	return true;
}

/* Ticks since boot at which this process began: field 22 of its stat, counted
 * behind the name, which may hold anything. */
static bool
start_ticks(unsigned long long *ticks)
{
	char text[2048], *p;

	if (!read_proc("/proc/self/stat", text, sizeof(text)) || (p = strrchr(text, ')')) == NULL)
		return false;
	p++;
	for (int field = 3; field < 22; field++)
		if ((p = strchr(p + 1, ' ')) == NULL)
			return false;
	*ticks = strtoull(p, NULL, 10);
	return *ticks > 0;
}

/* Seconds since 1970; 0 when it cannot be told. */
static double
start_time(void)
{
	static double known = -1;	/* never changes */
	unsigned long long ticks, boot;
	char *line = NULL;
	size_t size = 0;
	FILE *f;

	if (known >= 0)
		return known;
	known = 0;
	if (!start_ticks(&ticks) || (f = fopen("/proc/stat", "re")) == NULL)
		return known;
	/* Its line of interrupts may be very long. */
	while (getline(&line, &size, f) > 0)
		if (strncmp(line, "btime ", 6) == 0) {
			boot = strtoull(line + 6, NULL, 10);
			known = (double)boot + (double)ticks / (double)sysconf(_SC_CLK_TCK);
			break;
		}
	free(line);
	fclose(f);
	return known;
}

static double
seconds(struct timeval tv)
{
	return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

static void
gauge(struct prom *p, const char *name, uint64_t value, const char *help)
{
	prom_family(p, name, PROM_GAUGE, help);
	prom_u64(p, NULL, NULL, 0, value);
}

void
metrics_process(struct prom *p, double before)
{
	unsigned long long virtual_pages, resident_pages;
	char *rest;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), n;
	struct rusage usage;
	struct rlimit limit;
	char text[256];

	if (getrusage(RUSAGE_SELF, &usage) == 0) {
		prom_family(p, "process_cpu_seconds_total", PROM_COUNTER, "User and system CPU time spent in seconds.");
		prom_double(p, NULL, NULL, 0, seconds(usage.ru_utime) + seconds(usage.ru_stime) + before);
	}
	if (read_proc("/proc/self/statm", text, sizeof(text))) {
		virtual_pages = strtoull(text, &rest, 10);
		resident_pages = strtoull(rest, NULL, 10);
		gauge(p, "process_resident_memory_bytes", resident_pages * page, "Resident memory size in bytes.");
		gauge(p, "process_virtual_memory_bytes", virtual_pages * page, "Virtual memory size in bytes.");
	}
	if (open_descriptors(&n))
		gauge(p, "process_open_fds", n, "Number of open file descriptors.");
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		gauge(p, "process_max_fds", (uint64_t)limit.rlim_cur, "Maximum number of open file descriptors.");
	if (start_time() > 0) {
		prom_family(p, "process_start_time_seconds", PROM_GAUGE,
			    "Start time of the process since unix epoch in seconds.");
		prom_double(p, NULL, NULL, 0, start_time());
	}
}
