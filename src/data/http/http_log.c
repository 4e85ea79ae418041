/* http_log.c - the access line of a request.  Thread: owning worker. */
#include "base/log.h"
#include "data/access.h"
#include "data/http/http_log.h"
#include "proto/grpc.h"

static struct log_field
reason_field(const char *reason)
{
	return reason != NULL ? LS("reason", reason) : LR(NULL, STR(""));
}

static struct log_field
trace_field(struct str id)
{
	return id.n > 0 ? LT("trace_id", id) : LR(NULL, STR(""));
}

static struct log_field
grpc_field(int status)
{
	return status >= 0 ? LU("grpc_status", (uint64_t)status) : LR(NULL, STR(""));
}

/* For a bake.  What Teal refused itself says nothing of the color. */
static void
mark_request(const struct http_record *r, struct tally_color *t)
{
	bool answered = r->first_byte_seconds >= 0;
	bool fault = answered && (r->status >= 500 || (r->grpc_status >= 0 && grpc_status_is_fault((unsigned)r->grpc_status)));
	unsigned how = fault ? JUDGE_ANSWER : judged_ending(r->ending, answered);
	const uint8_t *client;
	size_t n;

	if (r->entrance != ENTRANCE_MAIN || r->lane->config->colorless)
		return;
	client = endpoint_source(&r->client, &n);
	judged_mark(&r->lane->service->judged, t, client, n, how);
}

void
http_log(const struct http_record *r)
{
	struct tally_color *t = &r->lane->tally->colors[r->entrance][r->color];
	const struct service_config *sc = r->lane->config;
	bool is_error = r->status >= 500 || ending_is_error(r->ending);
	char client[ADDR_TEXT], tried[TRIED_TEXT];
	struct addr address;
	struct buf tls = { 0 };	/* log.level may leave the line out, and what fills this with it */
	struct str share;

	tally_add(&t->bytes_in, r->bytes_in);
	tally_add(&t->bytes_out, r->bytes_out);
	tally_request(t, r->status, r->seconds);
	if (r->http2)
		tally_http2_request(t, r->status);
	if (r->grpc_status >= 0)
		tally_grpc(t, (unsigned)r->grpc_status);
	if (r->first_byte_seconds >= 0)
		tally_first_byte(t, r->first_byte_seconds);
	if (r->backend != NULL) {
		backend_account_request(r->backend->account, r->lane->worker->index, r->status, r->backend_seconds);
		backend_account_bytes(r->backend->account, r->lane->worker->index, r->bytes_in, r->bytes_out);
	}
	mark_request(r, t);
	tally_add(&t->ended[r->ending], 1);
	if (!access_is_due(r->lane, r->ending, is_error, &share))
		return;
	endpoint_get(&r->client, &address);
	LOG_INFO("http.request", LS("service", sc->name), LR(NULL, str_from(sc->labels_json)),
		 LS("entrance", r->entrance == ENTRANCE_MAIN ? "main" : "preview"),
		 LS("client", addr_format(&address, client)), LR(NULL, access_tls(r->tls, "", r->tls_seconds, &tls)),
		 LT("method", r->method), LT("host", r->host), LT("path", r->path), LS("protocol", r->protocol),
		 LU("status", r->status), grpc_field(r->grpc_status), LU("bytes_in", r->bytes_in), LU("bytes_out", r->bytes_out),
		 LF("seconds", r->seconds), access_seconds("queue_seconds", r->queue_seconds > 0 ? r->queue_seconds : -1),
		 LF("connect_seconds", r->connect_seconds > 0 ? r->connect_seconds : 0),
		 access_seconds("first_byte_seconds", r->first_byte_seconds),
		 LS("backend", r->backend != NULL ? r->backend->text : ""), service_color_field(sc, r->color),
		 service_epoch_field(sc, r->epoch), LT("request_id", r->id), trace_field(r->trace), LT("user_agent", r->agent), LU("retries", r->retries),
		 LR(NULL, tried_json(r->tried, tried)), LS("end", ending_word(r->ending)), reason_field(r->reason),
		 LR(NULL, share));
	buf_free(&tls);
}
