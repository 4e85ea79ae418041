/* say.c - the supervisor's lines in teald's log. */
#include <poll.h>
#include <unistd.h>

#include "app/supervisor/supervisor.h"
#include "base/log_ring.h"

#define PATIENCE_MS 1000

/* A pipe takes what is no longer than PIPE_BUF whole or not at all (pipe(7)).  A reader
 * that has stopped reading holds up no restart: the line is lost then. */
void
say(enum log_level level, const char *event, const struct log_field *fields)
{
	struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
	char line[LOG_LINE_MAX];
	size_t n = log_line(line, level, event, fields);

	if (n > 0 && poll(&out, 1, PATIENCE_MS) == 1)
		(void)!write(STDOUT_FILENO, line, n);
}
