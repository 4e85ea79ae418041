/* say.c - the supervisor's lines in teald's log. */
#include <poll.h>
#include <unistd.h>

#include "app/supervisor/supervisor.h"
#include "base/clock.h"

/* A pipe takes that many bytes whole or not at all (pipe(7), PIPE_BUF). */
#define LINE_MAX_BYTES 4096
#define PATIENCE_MS 1000

void
say_begin(struct json *j, struct buf *b, const char *level, const char *event)
{
	char now[CLOCK_TEXT];

	buf_init(b, LINE_MAX_BYTES);
	json_init(j, b);
	json_object(j, NULL);
	clock_format(clock_wall_us(), 6, now);
	json_cstr(j, "time", now);
	json_cstr(j, "level", level);
	json_cstr(j, "event", event);
}

/* A reader that has stopped reading holds up no restart: the line is lost then. */
void
say_end(struct json *j)
{
	struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };

	json_object_end(j);
	json_line_end(j);
	if (!j->out->failed && poll(&out, 1, PATIENCE_MS) == 1)
		(void)!write(STDOUT_FILENO, buf_str(j->out).p, buf_len(j->out));
	buf_free(j->out);
}
