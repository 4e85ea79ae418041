/* config_udp.c - what services of mode "udp" have, above all those of engine "proxy", and what datagrams cannot be:
 * there is no connect, no stream and no end.  Start-up thread only. */
#include <string.h>

#include "model/config_draft.h"

/* As conntrack keeps a flow (nf_conntrack_udp_timeout_stream). */
#define UDP_IDLE 120.0

static bool
is_proxied_udp(const struct service_config *s)
{
	return s->mode == MODE_UDP && s->engine == ENGINE_PROXY;
}

static bool
is_written(const struct service_draft *s, const char *key)
{
	return draft_at(s, key) != s->at;
}

void
draft_settle_udp(struct service_draft *d)
{
	struct service_config *s = &d->s;

	/* A sender of datagrams learns nothing of a dead backend: its flow would keep that backend for as long as
	 * it sends, through either engine. */
	if (s->mode == MODE_UDP && !is_written(d, "on_down"))
		s->on_down = ON_DOWN_RESET;
	if (!is_proxied_udp(s))
		return;
	if (!is_written(d, "idle_timeout"))
		s->idle_timeout = UDP_IDLE;
	/* What the defaults say for other modes. */
	s->retry_pause = 0;
	s->client_timeout = s->server_timeout = -1;
	s->limits.queue_timeout = 0;
	s->listen_tls = s->backend_tls.on = false;
	s->proxy_protocol.send = SEND_NONE;
	cidr_set_clear(&s->proxy_protocol.accept_from);
}

static void
check_no_paths(const struct cursor *c, const struct addr *list, size_t n, const config_setting_t *at,
	       const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (addr_family(&list[i]) == AF_UNIX)
			cursor_error(c, cursor_item(at, i),
				     "%s: mode = \"udp\" has no Unix sockets; give an address and a port",
				     key);
}

/* Of the group one key is about an address, whatever comes there. */
static void
check_tcp_options(const struct cursor *c, const struct service_draft *s)
{
	const config_setting_t *own = config_setting_get_member(s->at, "tcp");

	for (unsigned i = 0;
	     own != NULL && config_setting_is_group(own) && i < (unsigned)config_setting_length(own); i++) {
		const config_setting_t *one = config_setting_get_elem(own, i);

		if (strcmp(one->name, "freebind") != 0)
			cursor_error(
				c, one,
				"tcp.%s: belongs to mode = \"tcp\"; of this group only freebind is for mode = \"udp\"",
				show(one->name).s);
	}
}

void
draft_check_udp(const struct cursor *c, const struct service_draft *s)
{
	char text[ADDR_TEXT];

	if (!is_proxied_udp(&s->s))
		return;
	check_no_paths(c, s->s.listen, s->s.n_listen, s->listen, "listen");
	check_no_paths(c, s->s.preview, s->s.n_preview, s->preview, "preview");
	check_tcp_options(c, s);
	for (enum color color = GREEN; color <= BLUE; color++)
		for (size_t i = 0; i < s->s.colors[color].n_backends; i++)
			if (addr_family(&s->s.colors[color].backends[i].address) == AF_UNIX)
				cursor_error(
					c, s->colors[color].at != NULL ? s->colors[color].at : s->at,
					"backends: %s: mode = \"udp\" has no Unix sockets; give an address and a port",
					addr_format(&s->s.colors[color].backends[i].address, text));
}
