/* flows_tell.c - why a flow ended, and its access line.
 * Thread: the flows thread. */
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>
#include <stdio.h>

#include "base/log.h"
#include "kernel/flows_private.h"

/* Both sides' numbers, members of the line's object. */
#define BYTES_TEXT 80

static enum ending
tcp_ending(unsigned state, const struct flow_fact *fact)
{
	/* Time left: the entry was deleted before. */
	bool early = fact->timed && fact->timeout > 0;

	switch ((enum tcp_conntrack)state) {
	case TCP_CONNTRACK_TIME_WAIT:
	case TCP_CONNTRACK_LAST_ACK:
		return END_DONE;
	case TCP_CONNTRACK_CLOSE:
		/* The kernel notes an answer only after it looked for a reset in it. */
		if ((fact->status & IPS_SEEN_REPLY) == 0)
			return fact->counted && fact->packets_out == 0 ? END_CLIENT_GONE : END_CONNECT;
		return (fact->status & IPS_ASSURED) != 0 ? END_RESET : END_CONNECT;
	case TCP_CONNTRACK_SYN_RECV:
		return early ? END_DELETED : END_CLIENT_GONE;
	case TCP_CONNTRACK_ESTABLISHED:
	case TCP_CONNTRACK_FIN_WAIT:
	case TCP_CONNTRACK_CLOSE_WAIT:
		return early ? END_DELETED : END_IDLE;
	default:	/* SYN_SENT and what the kernel may yet invent */
		return early ? END_DELETED : END_CONNECT_TIMEOUT;
	}
}

enum ending
flow_ending(const struct flow *flow, const struct flow_fact *fact)
{
	if (flow->state != TCP_CONNTRACK_NONE || fact->tuple.protocol == IPPROTO_TCP)
		return tcp_ending(flow->state, fact);
	return fact->timed && fact->timeout > 0 ? END_DELETED : END_IDLE;
}

/* Marks carry the lowest bits of the epoch: it is the last one with them. */
static uint64_t
epoch_of(const struct watch *w, uint32_t mark)
{
	uint64_t ago = (w->epoch - mark_generation(mark)) % MARK_GENERATIONS;

	return ago <= w->epoch ? w->epoch - ago : 0;
}

enum flow_line
flows_line(struct flows *f, const struct flow *flow)
{
	struct str share;

	if (f->watched[mark_service(flow->mark)] == NULL ||
	    !access_due(&f->access, ending_is_error((enum ending)flow->ending), &share))
		return LINE_NONE;
	if (share.n == 0)
		return LINE_OF_ALL;
	return share.p == f->access.sampled ? LINE_SAMPLED : LINE_OF_ERROR;
}

void
flows_tell(struct flows *f, const struct flow *flow, const struct flow_fact *fact)
{
	const struct watch *w = f->watched[mark_service(flow->mark)];
	const struct place *p = &f->places.list[flow->place];
	enum ending ending = (enum ending)flow->ending;
	char client_text[ADDR_TEXT], backend_text[ADDR_TEXT], bytes[BYTES_TEXT] = "";
	struct addr client, backend;
	struct str share = flow->line == LINE_SAMPLED  ? str_from(f->access.sampled) :
			   flow->line == LINE_OF_ERROR ? STR("\"sample\":1") :
							 STR("");

	/* A flow whose last event was lost has no known client. */
	if (w == NULL || fact->tuple.family == 0 || flow->line == LINE_NONE)
		return;
	flow_source(&fact->tuple, &client);
	place_address(p, &backend);
	if (fact->counted)
		snprintf(bytes, sizeof(bytes), "\"bytes_in\":%llu,\"bytes_out\":%llu",
			 (unsigned long long)fact->bytes_in, (unsigned long long)fact->bytes_out);
	LOG_INFO(fact->tuple.protocol == IPPROTO_TCP ? "tcp.session" : "udp.session",
		 LS("service", w->service->config->name), LR(NULL, str_from(w->service->config->labels_json)),
		 LS("entrance", mark_entrance(flow->mark) == ENTRANCE_MAIN ? "main" : "preview"),
		 LS("client", addr_format(&client, client_text)),
		 LS("backend", addr_format(&backend, backend_text)),
		 service_color_field(w->service->config, mark_color(flow->mark)), service_epoch_field(w->service->config, epoch_of(w, flow->mark)),
		 LR(NULL, str_from(bytes)), LF("seconds", flow->closed - flow->born),
		 LS("end", ending_word(ending)), LR(NULL, share));
}
