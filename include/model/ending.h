/* ending.h - why a connection ended: the one table that gives the enum, the
 * word in the access log and the label of teal_connections_total{end}. */
#ifndef MODEL_ENDING_H
#define MODEL_ENDING_H

/*	enum               word               is an error for access = "errors"; meaning */
#define ENDING_TABLE(X) \
	X(END_DONE,          "done",            0, "both sides finished") \
	X(END_CLIENT_RESET,  "client_reset",    0, "the client reset the connection") \
	X(END_BACKEND_RESET, "backend_reset",   1, "the backend reset the connection") \
	X(END_RESET,         "reset",           0, "one side reset the connection; the kernel engine cannot tell which") \
	X(END_CONNECT,       "connect",         1, "no backend could be reached") \
	X(END_CONNECT_TIMEOUT, "connect_timeout", 1, "no backend answered within connect_timeout") \
	X(END_NO_PORT,       "no_port",         1, "refused: no port of ours is free to reach a backend from") \
	X(END_CLIENT_GONE,   "client_gone",     0, "the client left before a backend was reached") \
	X(END_IDLE,          "idle_timeout",    0, "nothing moved for idle_timeout") \
	X(END_CLIENT_TIMEOUT, "client_timeout", 0, "the client's turn, but nothing moved for client_timeout") \
	X(END_SERVER_TIMEOUT, "server_timeout", 1, "the backend's turn, but nothing moved for server_timeout") \
	X(END_DRAIN_IDLE,    "drain_idle",      0, "idle while its color was draining") \
	X(END_DRAINED,       "drained",         1, "cut at the drain's deadline") \
	X(END_BACKEND_DOWN,  "backend_down",    1, "cut because its backend failed its checks (on_down)") \
	X(END_EVICTED,       "evicted",         1, "a UDP flow without lasting traffic, the oldest, gave its place to a new one") \
	X(END_DELETED,       "deleted",         1, "not by Teal: its entry was removed from the kernel's table") \
	X(END_PREVIEW,       "preview_flipped", 0, "a preview connection closed by a flip") \
	X(END_LIMIT,         "max_connections", 1, "refused: the service is at max_connections") \
	X(END_DENIED,        "denied",          1, "refused: allow and deny keep the client out") \
	X(END_SOURCE_LIMIT,  "source_limit",    1, "refused: the source is at max_connections_per_source") \
	X(END_SOURCE_RATE,   "source_rate",     1, "refused: the source came faster than source_rate") \
	X(END_QUEUE_TIMEOUT, "queue_timeout",   1, "refused: no place came free within queue_timeout") \
	X(END_PROXY_DENIED,  "proxy_denied",    1, "refused: the peer is not in proxy_protocol.accept_from") \
	X(END_PROXY_HEADER,  "proxy_header",    1, "what came first was no PROXY header") \
	X(END_PROXY_TIMEOUT, "proxy_timeout",   1, "no whole PROXY header within header_timeout") \
	X(END_TLS_HELLO,     "tls_hello",       1, "what came first was no ClientHello of TLS") \
	X(END_TLS_HTTP,      "tls_plain_http",  1, "what came first was plain HTTP where TLS is spoken") \
	X(END_TLS_NAME,      "tls_name",        1, "refused: no service is for the name in the ClientHello") \
	X(END_TLS_CERTIFICATE, "tls_certificate", 1, "refused: the client's certificate is missing or not accepted") \
	X(END_TLS_HANDSHAKE, "tls_handshake",   1, "the client and we could not agree on TLS") \
	X(END_TLS_TIMEOUT,   "tls_timeout",     1, "no whole TLS handshake within handshake_timeout") \
	X(END_BACKEND_TLS,   "backend_tls",     1, "no backend could be reached by TLS") \
	X(END_BACKEND_HTTP2, "backend_http2",   1, "no backend could be reached by HTTP/2") \
	X(END_BACKEND_LIMIT, "backend_limit",   1, "refused: every usable backend is at backend_max_connections") \
	X(END_NO_BACKEND,    "no_backend",      1, "refused: no usable backend") \
	X(END_BAD_REQUEST,   "bad_request",     1, "refused: the request is malformed, ambiguous or not supported") \
	X(END_TOO_LARGE,     "too_large",       1, "refused: the request's body is larger than max_body") \
	X(END_MISDIRECTED,   "misdirected",     1, "refused: no service here is for the request's host") \
	X(END_NO_PATH,       "no_path",         1, "refused: no service here is for the request's path on that host") \
	X(END_REDIRECTED,    "redirected",      0, "the request was sent on: to where TLS is spoken, or by redirect") \
	X(END_MAINTENANCE,   "maintenance",     0, "refused: the service is in maintenance") \
	X(END_HEADER_TIMEOUT, "header_timeout", 1, "no whole request head within header_timeout") \
	X(END_BODY_TIMEOUT,  "body_timeout",    1, "the request's body came slower than body_min_rate") \
	X(END_CLIENT_SLOW,   "client_slow",     0, "the client took the answer slower than body_min_rate") \
	X(END_RESPONSE_TIMEOUT, "response_timeout", 1, "the backend gave no answer within response_timeout") \
	X(END_BAD_RESPONSE,  "bad_response",    1, "the backend's answer is malformed or ambiguous") \
	X(END_STALE,         "stale",           1, "refused: the store has not been heard of for max_age") \
	X(END_STOP,          "stopped",         1, "cut because teald stopped") \
	X(END_MEMORY,        "memory",          1, "refused: out of memory or descriptors") \
	X(END_INTERNAL,      "internal",        1, "a fault of the kernel or of Teal")

enum ending {
#define X(name, word, is_error, meaning) name,
	ENDING_TABLE(X)
#undef X
};
#define X(name, word, is_error, meaning) + 1
enum { ENDINGS = 0 ENDING_TABLE(X) };
#undef X

const char *ending_word(enum ending e);
int ending_is_error(enum ending e);
/* It says something about the color that was chosen: a client that is refused for what it is does not. */
int ending_is_of_color(enum ending e);
/* The client was turned away; what teal_rejected_total counts. */
int ending_is_refusal(enum ending e);

#endif
