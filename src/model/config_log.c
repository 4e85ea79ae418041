/* config_log.c - the group log.syslog: { } of a configuration.  Start-up thread only, but for
 * syslog_address_value(). */
#include <string.h>
#include <unistd.h>

#include "base/syslog_line.h"
#include "model/config_draft.h"
#include "model/config_value.h"

#define AT(member) .offset = offsetof(struct draft, c.log.member)
#define SYSLOG_PORT 514
/* Every receiver takes the first, and should take the second (RFC 5426 section 3.2). */
#define MESSAGE_MIN 480
#define MESSAGE_UDP 2048
/* What rsyslog takes unless it is told otherwise. */
/* Below the 8,096 bytes at which rsyslog, as it comes, makes two messages of one. */
#define MESSAGE_USUAL 8000
#define MESSAGE_MAX 65000
#define FACILITY_DAEMON 3

static const char *const format_words[] = { "rfc5424", "rfc3164", NULL };

static key_reader key_address, key_facility;

const struct key syslog_keys[] = {
	{ KEY("address", key_address) },
	{ KEY("format", key_word), AT(syslog.format), .words = format_words },
	{ KEY("facility", key_facility), AT(syslog.facility) },
	{ KEY("max_message", key_count), AT(syslog.max_message), .min = MESSAGE_MIN, .max = MESSAGE_MAX },
	{ 0 },
};

/* A facility is a row of syslog_facilities, as a word of key_word(). */
static void
key_facility(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct key words = *k;

	words.words = syslog_facilities;
	key_word(c, &words, s);
}

static void
take_path(const struct cursor *c, const config_setting_t *s, const char *path, struct log_syslog *to)
{
	to->transport = LOG_SYSLOG_UNIX;
	if (path[0] != '/')
		cursor_key_error(c, s, "expected an absolute path behind unix:, as in \"unix:/dev/log\"");
	else if (!str_copy(to->path, sizeof(to->path), str_from(path)))
		cursor_key_error(c, s, "the path of a socket has at most %zu bytes, this one %zu", sizeof(to->path) - 1,
				 strlen(path));
}

static void
key_address(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	const char *text = config_setting_type(s) == CONFIG_TYPE_STRING ? config_setting_get_string(s) : "";
	struct log_syslog *to = &((struct draft *)c->base)->c.log.syslog;
	struct redis_endpoint at;
	struct why why;

	(void)k;
	if (strncmp(text, "unix:", 5) == 0) {
		take_path(c, s, text + 5, to);
		return;
	}
	if (strncmp(text, "udp://", 6) != 0 && strncmp(text, "tcp://", 6) != 0) {
		cursor_key_error(c, s, "expected \"udp://HOST[:PORT]\", \"tcp://HOST[:PORT]\" or \"unix:/PATH\", found %s",
				 cursor_found(s).s);
		return;
	}
	to->transport = text[0] == 'u' ? LOG_SYSLOG_UDP : LOG_SYSLOG_TCP;
	if (redis_endpoint_parse(text + 6, SYSLOG_PORT, &at, &why) != OK) {
		cursor_key_error(c, s, "%s", why.text);
		return;
	}
	str_copy(to->host, sizeof(to->host), str_from(at.host));
	to->port = at.port;
}

void
draft_default_syslog(struct draft *d)
{
	struct log_syslog *to = &d->c.log.syslog;

	to->transport = LOG_SYSLOG_UNIX;
	str_copy(to->path, sizeof(to->path), STR("/dev/log"));
	to->facility = FACILITY_DAEMON;
}

void
draft_check_syslog(struct draft *d, const config_setting_t *at)
{
	struct cursor c = { d->r, NULL, "", NULL };
	struct log_syslog *to = &d->c.log.syslog;

	if (to->max_message == 0)
		to->max_message = to->transport == LOG_SYSLOG_UDP ? MESSAGE_UDP : MESSAGE_USUAL;
	if (at != NULL && !d->c.log.to_syslog)
		cursor_warn(&c, at, "log.syslog changes nothing: log.to is \"stdout\"; set log.to = \"syslog\"");
	if (d->c.log.to_syslog && to->transport == LOG_SYSLOG_UNIX && to->path[0] != '\0' && access(to->path, F_OK) != 0)
		cursor_warn(&c, at != NULL ? at : d->root,
			    "log.syslog.address: there is no %s now; lines wait for it, and are dropped when too many do",
			    to->path);
}

void
syslog_address_value(struct buf *out, const void *base, const struct key *k)
{
	const struct log_syslog *to = &((const struct draft *)base)->c.log.syslog;

	(void)k;
	if (to->transport == LOG_SYSLOG_UNIX)
		buf_printf(out, "unix:%s", to->path);
	else
		buf_printf(out, "%s://%s%s%s:%u", to->transport == LOG_SYSLOG_UDP ? "udp" : "tcp",
			   strchr(to->host, ':') != NULL ? "[" : "", to->host, strchr(to->host, ':') != NULL ? "]" : "",
			   to->port);
}

void
syslog_facility_value(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	buf_printf(out, "%s", syslog_facilities[((const struct draft *)base)->c.log.syslog.facility]);
}
