/* syslog_line.c - RFC 5424 and RFC 3164 around a line of the log.  Pure; any thread. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/syslog_line.h"

#define APP "teald"
/* RFC 5424 section 6: the longest MSGID. */
#define MSGID_MAX 32

const char *const syslog_facilities[] = {
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"ntp", "security", "console", "solaris-cron", "local0", "local1", "local2", "local3", "local4", "local5",
	"local6", "local7", NULL,
};

/* A line begins with these three, in this order (log_line.c); "" where one is missing. */
struct beginning {
	struct str time, level, event;
};

static struct str
string_member(struct str *rest, const char *before)
{
	size_t n = strlen(before);
	const char *end;
	struct str value;

	if (rest->n < n || memcmp(rest->p, before, n) != 0 ||
	    (end = memchr(rest->p + n, '"', rest->n - n)) == NULL)
		return STR("");
	value = (struct str){ rest->p + n, (size_t)(end - rest->p) - n };
	*rest = (struct str){ end, rest->n - (size_t)(end - rest->p) };
	return value;
}

static struct beginning
beginning_of(struct str line)
{
	struct beginning b;

	b.time = string_member(&line, "{\"time\":\"");
	b.level = string_member(&line, "\",\"level\":\"");
	b.event = string_member(&line, "\",\"event\":\"");
	return b;
}

static unsigned
severity_of(struct str level)
{
	enum log_level its = LOG_INFO_LEVEL;
	char word[8];

	if (str_copy(word, sizeof(word), level))
		(void)log_level_from_word(word, &its);
	switch (its) {
	case LOG_DEBUG_LEVEL:
		return 7;
	case LOG_INFO_LEVEL:
		return 6;
	case LOG_WARN_LEVEL:
		return 4;
	case LOG_ERROR_LEVEL:
		return 3;
	}
	return 6;
}

/* "Nov  7 14:02:11", of this machine's time zone. */
static void
local_time(char text[32])
{
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
	snprintf(text, 32, "%s %2d %02d:%02d:%02d", months[tm.tm_mon], tm.tm_mday % 100, tm.tm_hour % 100,
		 tm.tm_min % 100, tm.tm_sec % 100);
}

static int
put_syslog_head(const struct log_syslog *s, const struct syslog_self *self, const struct beginning *b, char *out, size_t size)
{
	unsigned priority = s->facility * 8 + severity_of(b->level);
	const char *host = self->host[0] != '\0' ? self->host : "-";
	size_t id = b->event.n < MSGID_MAX ? b->event.n : MSGID_MAX;
	char when[32];

	if (s->format == LOG_RFC5424)
		return snprintf(out, size, "<%u>1 %.*s %s " APP " %d %.*s - ", priority,
				b->time.n > 0 ? (int)b->time.n : 1, b->time.n > 0 ? b->time.p : "-", host, self->pid,
				id > 0 ? (int)id : 1, id > 0 ? b->event.p : "-");
	local_time(when);
	if (s->transport == LOG_SYSLOG_UNIX)
		return snprintf(out, size, "<%u>%s " APP "[%d]: ", priority, when, self->pid);
	return snprintf(out, size, "<%u>%s %s " APP "[%d]: ", priority, when, host, self->pid);
}

/* The first n bytes at most, without half a character. */
static size_t
whole_characters(struct str s, size_t n)
{
	size_t at = n;

	while (at > 0 && n - at < 3 && ((unsigned char)s.p[at] & 0xc0) == 0x80)
		at--;
	return ((unsigned char)s.p[at] & 0xc0) == 0x80 ? n : at;
}

size_t
syslog_message(const struct log_syslog *s, const struct syslog_self *self, struct str line, char *out, size_t *cut)
{
	const struct beginning b = beginning_of(line);
	int head = put_syslog_head(s, self, &b, out, SYSLOG_MESSAGE_MAX);
	char mark[48];
	size_t n, room;

	CHECK(head > 0 && head < SYSLOG_MESSAGE_MAX - LOG_LINE_MAX);
	n = (size_t)head;
	if (line.n > 0 && line.p[line.n - 1] == '\n')
		line.n--;
	if (line.n > LOG_LINE_MAX)
		line.n = LOG_LINE_MAX;
	*cut = 0;
	if (n + line.n <= s->max_message) {
		memcpy(out + n, line.p, line.n);
		return n + line.n;
	}
	room = s->max_message > n + sizeof(mark) ? s->max_message - n - sizeof(mark) : 0;
	room = whole_characters(line, room < line.n ? room : line.n - 1);
	*cut = line.n - room;
	memcpy(out + n, line.p, room);
	n += room;
	return n + (size_t)snprintf(out + n, sizeof(mark), "...[%zu bytes cut]", *cut);
}
