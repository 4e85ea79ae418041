/* config.h - the configuration as one immutable tree.
 * Read from a libconfig file and checked as a whole; a changed file makes another
 * tree.  Shared by counted references with every thread.  Times are seconds
 * and 0 switches a limit or timeout off; sizes are bytes. */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/log.h"
#include "model/color.h"
#include "model/config_reply.h"
#include "model/judge.h"
#include "model/kube_config.h"
#include "model/notify_config.h"
#include "model/quorum.h"
#include "model/source.h"
#include "model/status_set.h"
#include "net/addr.h"
#include "net/cidr.h"
#include "net/sock.h"
#include "net/tls_site.h"
#include "proto/redis_url.h"

enum service_mode { MODE_TCP, MODE_HTTP, MODE_UDP };
enum engine_kind { ENGINE_PROXY, ENGINE_KERNEL };
#define ENGINES 2
#define KERNEL_SOURCES_MAX 64	/* kernel.source_addresses */
#define KERNEL_SERVICES_MAX 4095	/* of engine "kernel" in one configuration: they are numbered in marks */
enum balance { BALANCE_ROUND_ROBIN, BALANCE_LEAST_CONN, BALANCE_P2C, BALANCE_SOURCE_HASH };
enum health_tls { HEALTH_TLS_AUTO, HEALTH_TLS_OFF, HEALTH_TLS_ON, HEALTH_TLS_OWN };
enum client_verify { VERIFY_REQUIRE, VERIFY_OPTIONAL };
/* HANDSHAKE: of TLS; in words "tls". */
enum health_type { HEALTH_TCP, HEALTH_HTTP, HEALTH_NONE, HEALTH_HANDSHAKE, HEALTH_UDP, HEALTH_KUBE_PROXY, HEALTH_GRPC };
/* Whether what a check counts behind a backend multiplies its weight. */
enum health_weight { HEALTH_WEIGHT_CONFIGURED, HEALTH_WEIGHT_ENDPOINTS };
/* ALL_DOWN_REFUSE is another word for ALL_DOWN_REJECT. */
enum when_all_down { ALL_DOWN_TRY, ALL_DOWN_REJECT, ALL_DOWN_REFUSE };
enum proxy_send { SEND_NONE, SEND_V1, SEND_V2 };
/* Of checks.  AUTO: as traffic, where they go to the same port.  The others as in proxy_send. */
enum check_proxy { CHECK_PROXY_AUTO, CHECK_PROXY_NONE, CHECK_PROXY_V1, CHECK_PROXY_V2 };
enum access_log { ACCESS_OFF, ACCESS_ON, ACCESS_ERRORS };
enum store_type { STORE_FILE, STORE_REDIS };
enum store_stale { STALE_SERVE, STALE_REFUSE };
enum plain_kind { PLAIN_REDIRECT, PLAIN_SERVE };
enum target_utf8 { TARGET_UTF8_REFUSE, TARGET_UTF8_PASS };
/* Of engine "kernel": whom backends see, and what becomes of the flows of a
 * backend that is down, and of the ruleset when teald stops. */
enum flow_source { SOURCE_MASQUERADE, SOURCE_TRANSPARENT };
enum on_down { ON_DOWN_KEEP, ON_DOWN_RESET };
enum on_stop { ON_STOP_KEEP, ON_STOP_REMOVE };
/* Packets of established connections past netfilter's hooks. */
enum shortcut_mode { SHORTCUT_OFF, SHORTCUT_AUTO, SHORTCUT_ON };

struct backend_config {
	char *host;	/* as written: "10.0.0.11", or a name to be looked up */
	struct addr address;	/* with the traffic port; len 0: host is a name */
	struct addr health_address;	/* where checks go: health_at, or health_port, else the same */
	struct addr health_at;	/* len 0: checks go to the backend's own address */
	unsigned port, health_port;	/* of these; health_port 0: the same */
	unsigned weight;	/* 1; 0: gets nothing new */
	bool backup;	/* used while no other one is up */
};

struct color_config {
	struct backend_config *backends;
	size_t n_backends;	/* at least 1, but for blue of a service without colors, and nodes of a pool that is watched */
	unsigned port;	/* of nodes x port; 0: backends are listed */
	/* What a backend has that says nothing else; 0 and len 0: its own. */
	unsigned health_port;
	struct addr health_at;
};

/* To backends, or to where they are checked. */
struct backend_tls_config {
	bool on;	/* false: plain */
	bool verify;	/* true */
	char *ca;	/* NULL: the system's */
	char *server_name;	/* asked for, and expected; NULL: the backend's as written */
	char *cert, *key;	/* the client certificate; NULL: none is sent */
};

/* One of a conversation: bytes that are sent, or that have to come. */
struct check_step {
	bool expect;
	char *bytes;	/* may hold NUL; another one is behind them */
	size_t n;	/* at least 1 */
};

struct health_config {
	enum health_type type;	/* default tcp */
	double interval, timeout;	/* 2.0, 1.0 */
	double fast_interval;	/* while a verdict is changing; 0: a quarter of interval */
	enum check_proxy send_proxy;
	unsigned rise, fall;	/* 2, 3 */
	bool of_pool;	/* what the service does not say itself is from its node pool */
	enum health_weight weight;	/* of type kube-proxy; configured */
	/* Of each backend an agent that says how much it wants. */
	struct {
		unsigned port;	/* 0: there is none */
		double interval;	/* 0: that of checks */
		char *send;	/* said first; NULL: nothing */
	} agent;
	unsigned port;	/* of colors and backends that have no health_port; 0: the traffic's */
	struct addr address;	/* where all are checked, without port; len 0: each at its own */
	char *service;	/* grpc: of which is asked; NULL: of the server as a whole */
	/* http: what is asked, with which Host (NULL: the backend's address; of grpc the :authority), and
	 * which answers are good.  "/" and 200-399. */
	char *path, *host;
	struct status_set expect;
	char *expect_text;	/* as written; NULL: the default */
	char *method;	/* NULL: GET */
	char **headers;	/* "Name: value" */
	size_t n_headers;
	char *body;	/* of the request; NULL: none */
	char *expect_body;	/* somewhere in that of the answer; NULL: it is not looked at */
	/* tcp, tls and udp: what is said, in this order. */
	struct check_step *steps;
	size_t n_steps;	/* 0: to be connected is enough */
	/* AUTO: as traffic does, where they go to the same port.  OWN: by terms of their
	 * own, own_tls, wherever they go. */
	enum health_tls tls;
	struct backend_tls_config own_tls;	/* on: they are given */
};

static inline bool
health_has_own_tls(const struct health_config *h)
{
	return h->tls == HEALTH_TLS_OWN && h->type != HEALTH_NONE;
}

/* Backends that workers cannot connect to get nothing for a while. */
struct passive_config {
	unsigned failures;	/* connects failed in a row; 0: no ejection for them */
	unsigned answers;	/* answers of 5xx or that are none, in a row; 0: no ejection for them */
	double eject;	/* 10.0 */
	struct quorum max_ejected;	/* 50% of a color's backends */
};

struct drain_config {
	double timeout;	/* 30.0; 0: close at once */
	double idle;	/* 5.0; 0: idle ones are not closed early */
	double spread;	/* 0.0 */
};

/* Hosts with a name, which services share and operators change at runtime. */
struct pool_config {
	char *name;
	char **hosts;	/* as written */
	size_t n_hosts;	/* 0 of one that is watched, at least 1 of others */
	struct kube_config *kube;	/* whence its nodes come; NULL: from hosts alone */
};

/* Services that are flipped as one, by one name. */
struct group_config {
	char *name;
	char **services;	/* names of services with colors */
	size_t n;	/* at least 1 */
};

struct label {
	char *key, *value;
};

struct tcp_options {
	struct sock_keepalive keepalive;	/* of both legs; default on */
	char *congestion;	/* of the backend legs; NULL: the system's */
	int backlog;	/* 4096 */
	double user_timeout;	/* TCP_USER_TIMEOUT of both legs; 0: the system's; < 0: not given */
	bool freebind;	/* listeners may be of an address that is not here yet */
	bool fastopen;	/* clients may send data with the SYN */
};

/* Who may come in, besides max_connections. */
struct limits_config {
	struct cidr_set allow, deny;	/* allow empty: every client; deny empty: none */
	unsigned per_source;	/* connections at one time; 0: no limit */
	unsigned source_prefix6;	/* 64: bits of an IPv6 address that make a source */
	struct source_rate source_rate;	/* burst 0: no limit */
	double queue_timeout;	/* seconds; 0: no client waits for a place */
	unsigned queue;	/* clients that may wait; 0: no limit */
};

/* Of mode "http"; nothing in it matters to other modes. */
/* May a client's first request get a kept connection that served another one just
 * now?  POOL_SAFE: one that has rested, or a new one, unless many are needed. */
enum pool_reuse { POOL_SAFE, POOL_ALWAYS };

/* What backends are spoken to: HTTP/2 by prior knowledge, or where there is TLS by ALPN; AUTO: what ALPN agrees on, and
 * HTTP/1.1 without TLS. */
enum backend_protocol { BACKEND_HTTP1, BACKEND_HTTP2, BACKEND_AUTO };

/* What of a backend's answer that is odd but has one meaning (http1_odd) is taken:
 * all of it, or nothing. */
enum http_answers { ANSWERS_LENIENT, ANSWERS_STRICT };

/* What a request for server-sent events gets that cannot be served now. */
enum sse_unavailable { SSE_CLOSE, SSE_ANSWER };

/* traceparent of requests (W3C Trace Context).  OFF: not looked at.  PASS: logged and passed on.  BEGIN: and where
 * there is none, one is made. */
enum http_trace { TRACE_OFF, TRACE_PASS, TRACE_BEGIN };

/* Of clients that speak HTTP/2; each of max_… is of one connection of theirs. */
struct http2_config {
	unsigned max_streams;	/* 100: at once */
	unsigned max_fields;	/* 128: of a head, cookie crumbs one by one */
	uint64_t max_header_size;	/* 64 KiB: of names and values, and 32 for each field; 256 KiB at most */
	unsigned max_continuations;	/* 8: CONTINUATION frames of a head */
	unsigned max_resets;	/* 200: streams reset, by the client, and for faults of it; a quarter comes back each second; 0: no limit */
	unsigned max_control;	/* 200: PING, SETTINGS … of each kind in a second; 0: no limit */
	uint64_t max_memory;	/* 256 KiB: what Teal holds for it besides tables */
	double stall_timeout;	/* 30.0 seconds that something waits for a window of the client's; 0: no limit */
};

struct http_config {
	/* Seconds.  header_timeout: 10.0, from the first wait for a request's head
	 * to its last byte, however it trickles.  response_timeout: 60.0, from the
	 * request's last byte to the response's head.  keepalive_timeout: 60.0,
	 * between two requests of a client. */
	double header_timeout, response_timeout, keepalive_timeout;
	bool forwarded;	/* X-Forwarded-For, -Proto and -Host; true */
	bool forwarded_header;	/* and Forwarded (RFC 7239); false */
	struct cidr_set forwarded_trust;	/* whose headers of that kind are added to, not replaced */
	enum http_trace trace;	/* pass */
	struct cidr_set trace_trust;	/* whose traceparent counts; every client's */
	double trace_sample;	/* share of those that are begun with the sampled flag: 1 */
	bool via;	/* false */
	bool request_id;	/* X-Request-Id is kept or made; true */
	bool color_header;	/* X-Teal-Color in responses; false */
	char *preview_header;	/* a request that has it goes to the idle color; NULL: none does */
	struct cidr_set preview_allow;	/* whose requests; empty: no client's */
	uint64_t max_header_size;	/* bytes of a head, request line included; 32 KiB, at most 256 KiB */
	/* The Host that an HTTP/1.0 request without one gets; NULL: the service's
	 * name, "": none, it is refused. */
	char *default_host;
	enum target_utf8 target_utf8;	/* refuse */
	uint64_t max_uri;	/* bytes of the request target; 8 KiB */
	unsigned max_headers;	/* 100, at most 256 */
	uint64_t max_body;	/* of a request; 0: no limit */
	unsigned max_requests;	/* of one client connection; 0: no limit */
	uint64_t body_min_rate;	/* bytes a second that a request's body must come at; 500, 0: no limit */
	double body_grace;	/* 20.0 seconds before that counts */
	unsigned pool_size;	/* idle connections kept to a backend by a worker; 1024, 0: none */
	double pool_idle;	/* seconds they are kept; 4.0, 0: until the backend closes */
	enum pool_reuse pool_reuse;	/* safe */
	enum backend_protocol backend_protocol;	/* http/1.1 */
	enum http_answers answers;	/* lenient */
	unsigned retry_after;	/* seconds in Retry-After of our own answers; 1, 0: not said */
	enum sse_unavailable sse_unavailable;	/* close */
	struct reply_config reply;
	bool h2c;	/* HTTP/2 where no TLS is spoken, by prior knowledge; false */
	struct http2_config http2;
};

/* Who may tell us who the client is, and whom we tell. */
struct proxy_protocol_config {
	struct cidr_set accept_from;	/* empty: headers are not looked for */
	double header_timeout;	/* 5.0 */
	enum proxy_send send;	/* none */
};

/* Where something stands in the configuration. */
struct config_line {
	const char *file;	/* as the user wrote it, also in @include; the path of one of the config's files */
	unsigned line;
};

struct tls_certificate_config {
	struct config_line at;
	char *cert;	/* path, never NULL */
	char *key;	/* NULL: in cert */
	char *ocsp;	/* NULL: nothing is stapled */
};

/* Of clients; nothing in it matters unless listen_tls. */
struct tls_config {
	struct tls_certificate_config *certificates;
	size_t n_certificates;	/* at least 1 */
	char *client_ca;	/* NULL: clients are asked for no certificate */
	char *crl;	/* PEM file of certificates that were revoked; NULL: none is asked about */
	enum client_verify client_verify;	/* require */
	enum tls_profile profile;	/* intermediate */
	enum tls_version min_version;	/* 1.2 */
	char **alpn;	/* mode "http": "h2", "http/1.1" */
	size_t n_alpn;	/* 0: not answered */
	bool alpn_given;
	char *ciphers, *ciphersuites, *curves;	/* NULL: the profile's */
	double handshake_timeout;	/* 10.0 */
};

struct service_config {
	struct config_line at;	/* where it begins */
	char *name;
	char *rename;	/* the name it had before: a reload keeps what is that one's; NULL: none */
	enum service_mode mode;
	enum engine_kind engine;
	struct addr *listen;
	size_t n_listen;	/* at least 1 */
	struct addr *preview;
	size_t n_preview;	/* may be 0 */
	/* Beside listeners that speak TLS: entrances that do not. */
	struct addr *plain_listen;
	size_t n_plain_listen;	/* 0 unless listen_tls */
	enum plain_kind plain;	/* what becomes of requests there; redirect */
	bool listen_tls;	/* listen and preview speak TLS */
	/* Which of those who share its listeners the service is for, in the form
	 * route_pattern() gives them: Host of requests (http), SNI (tcp). */
	char **names;
	size_t n_names;	/* 0: not by name */
	char *sni_map;	/* the file that the last n_mapped of them are from; NULL: none */
	size_t n_mapped;
	char sni_map_hash[9];	/* of that file: config_value_digest() */
	bool is_default;	/* takes what matches no other service's name */
	/* Nothing is flipped: its backends are those of green, which no user sees; blue has none. */
	bool colorless;
	bool backendless;	/* every request is redirected, or answered with maintenance: colorless, and without backends */
	char **paths;	/* mode "http": which of those names' paths, in the form of route_prefix() */
	size_t n_paths;	/* 0: all */
	enum color initial;	/* default green */
	struct color_config colors[COLORS];
	char *pool;	/* where nodes come from; NULL: listed in the service */
	enum balance balance;
	enum when_all_down when_all_down;
	enum on_down on_down;	/* keep; reset with MODE_UDP */
	struct health_config health;
	struct quorum min_healthy;	/* 50% */
	double bake;	/* seconds that a flip is judged, unless it says otherwise; 0: it is not */
	enum on_regression on_regression;
	struct passive_config passive;
	double slow_start;	/* 0: a backend that comes back has its full share at once */
	unsigned backend_max_connections;	/* 0: no limit */
	double resolve_interval;	/* 10.0; 0: a name is looked up until it is found */
	struct drain_config drain;
	double connect_timeout, idle_timeout;	/* 2.0, 600.0 */
	double client_timeout, server_timeout;	/* < 0: idle_timeout */
	unsigned retries;	/* 2: further backends tried after the first */
	double retry_pause;	/* 1.0: until those that refused are tried again; 0: never */
	unsigned max_connections;	/* 100000; 0: no limit, and always so with engine "kernel" */
	bool own_max;	/* max_connections is in the file */
	struct limits_config limits;
	struct addr source_address;	/* len 0: the kernel chooses */
	struct tcp_options tcp;
	struct proxy_protocol_config proxy_protocol;
	/* Of engine "kernel"; nothing in it matters to the proxy. */
	enum flow_source flow_source;	/* masquerade */
	bool local_clients;	/* clients on this very host too; false */
	struct http_config http;
	struct tls_config tls;
	struct backend_tls_config backend_tls;
	struct label *labels;
	size_t n_labels;
	/* The labels as JSON members, "\"project\":\"shop\",…", "" when there are
	 * none: made once, copied into every log line. */
	char *labels_json;
};

struct store_config {
	enum store_type type;
	char *prefix;	/* "teal" by default */
	double max_age;	/* 30.0; 0: knowledge does not grow old */
	enum store_stale stale;	/* past max_age: new connections are served, or not */
	/* What follows matters to STORE_REDIS only.  Where it is: host and port,
	 * or the path of a socket, or what the sentinels say. */
	struct redis_endpoint at;
	char path[sizeof(((struct redis_url *)NULL)->path)];
	struct redis_endpoint *sentinels;
	size_t n_sentinels;	/* 0: none, at or path says it */
	char *master;	/* the name sentinels know it by; not NULL with them */
	bool tls;	/* to Redis, and to the sentinels */
	char *ca;	/* file of those who may vouch for the server; NULL: the system's */
	char *user;	/* NULL: the default user */
	unsigned database;
	/* Secrets: never in a log, a message or a status.  NULL: none. */
	char *password, *sentinel_password;
	char *password_file, *sentinel_password_file;	/* where they came from */
	double connect_timeout, command_timeout;	/* 1.0, above 0 */
};

/* One of admin.roles: what some may do on the services that match.  It is for a user of this
 * machine, for a group, or for whom admin.listen lets in by any of the three lists. */
struct role_config {
	char *user, *group;	/* one at most; the other is NULL */
	char **cn, **san;	/* globs of names in a client's certificate (RFC 5280) */
	char **tokens;	/* names of admin.token_file */
	size_t n_cn, n_san, n_tokens;
	uid_t uid;	/* of user */
	gid_t gid;	/* of group */
	char **services;	/* names, or globs with '*' */
	size_t n_services;	/* at least 1 */
	unsigned allow;	/* not 0; bits 1u << enum admin_right */
};

/* The admin listener: the admin socket's protocol by TLS. */
struct admin_net_config {
	struct addr *listen;
	size_t n_listen;	/* 0: there is none */
	struct cidr_set allow;	/* who may connect; empty: every client */
	char *cert, *key;	/* files; cert is not NULL with listen, key is where both are in one */
	char *client_ca, *crl;	/* as in struct tls_config */
	enum tls_version min_version;	/* 1.2 */
	double handshake_timeout;	/* 5.0: for the handshake and the token */
	char *token_file;	/* NULL: none */
	struct admin_token *tokens;	/* what is in it */
	size_t n_tokens;
	/* The same files and terms in the form in which control/certs keeps those of services; its
	 * name, ADMIN_NET_NAME, can be no service's.  NULL without listen. */
	struct service_config *site;
};
#define ADMIN_NET_NAME "(admin)"

#define CONFIG_CHECKSUM (sizeof("sha256:") + 64)

struct config_copy;

/* One that was read, as it was. */
struct config_file {
	char *path;	/* as it was asked for */
	char *bytes;	/* NUL-terminated */
	size_t n;
};

struct config {
	_Atomic unsigned refs;
	char *path;
	/* "sha256:…" of the bytes that were read: those of the file, and then of
	 * those it includes, in the order they are met. */
	char checksum[CONFIG_CHECKSUM];
	struct config_file *files;	/* those, in that order */
	size_t n_files;
	struct config_file *named;	/* what they name and what is kept in their copy: pages, maps */
	size_t n_named;
	unsigned workers; /* at least 1: 0 in the file is resolved already, to
				 * the CPUs that are online and not forbidden */
	unsigned max_connections;	/* of all services of the proxy together; 0: as many as there are descriptors for */
	char *state_dir;	/* never NULL; need not exist yet */
	char *user;	/* NULL: no change of user */
	uid_t uid;
	gid_t gid;	/* of user; resolved while checking */
	struct store_config store;
	struct {
		char *socket;	/* "/run/teal/admin.sock" by default */
		mode_t mode;	/* 0660 */
		char *group;	/* NULL: not changed */
		gid_t gid;
		struct role_config *roles;	/* in the file's order */
		size_t n_roles;	/* may be 0 */
		struct admin_net_config net;
	} admin;
	struct {
		bool on;	/* false: no observe section */
		bool freebind;	/* listen may be an address that is not here yet */
		bool backend_metrics;	/* /metrics has series of single backends; true */
		struct addr listen;
		char **hosts;	/* lower case, globs with '*': names of the status page */
		size_t n_hosts;	/* may be 0 */
		struct cidr_set allow;	/* who may ask; empty: every client */
		char *password_file;	/* NULL: the status page needs none */
		char *password;	/* "USER:PASSWORD"; a secret */
	} observe;
	struct {
		struct quorum min_services;	/* 1; 0: backends have no say */
	} ready;
	struct {
		enum log_level level;
		enum access_log access;
		double sample;	/* share of access lines that are written: 1 */
		unsigned to_syslog;	/* 0: to standard output, and syslog has no meaning */
		struct log_syslog syslog;	/* /dev/log */
	} log;
	struct {
		double notice, timeout;	/* 0.0, 30.0 */
	} stop;
	struct {
		double ready_timeout, timeout;	/* 30.0, 600.0 */
	} upgrade;
	struct {
		bool on;	/* a service is of engine "kernel" */
		char *table;	/* of the table inet teal_NAME; "main" */
		enum on_stop on_stop;	/* keep */
		unsigned tag;	/* in the marks of flows, 1 to 255; 0: made of the table's name */
		enum shortcut_mode shortcut;	/* off */
		/* Of this host, port 0: backends see masqueraded flows come from them in turn; none: the kernel's choice. */
		struct addr *source_addresses;
		size_t n_source_addresses;
	} kernel;
	struct notify_config *notify;	/* receivers of events, in the file's order */
	size_t n_notify;	/* may be 0 */
	struct pool_config *pools;
	size_t n_pools;	/* may be 0 */
	struct group_config *groups;
	size_t n_groups;	/* may be 0 */
	struct service_config *services;
	size_t n_services;	/* at least 1 */
};

/* All complaints about one file; each is a whole line,
 * "teal.conf:12: service \"shop\": …", without newline. */
struct complaints {
	char **lines;
	size_t n;
};
void complaints_free(struct complaints *c);

/* Reads and checks the file.  OK: *out is the caller's reference, for
 * config_unref(), errors is empty, warnings may have entries.  E_USAGE: *out is
 * NULL and errors has at least one line: every error of the file at once, of
 * syntax errors the first.  Blocks (file, user, group and host look-ups).  Any
 * thread; several at a time. */
MUST_USE enum err
config_load(const char *path, const struct config **out, struct complaints *errors, struct complaints *warnings);
/* The same, but the files are those of a copy (model/config_copy.h); what they name,
 * such as passwords and certificates, is read where it is. */
MUST_USE enum err config_load_copy(const struct config_copy *copy, const struct config **out,
				   struct complaints *errors, struct complaints *warnings);
/* Another reference to the same tree.  Any thread. */
const struct config *config_ref(const struct config *config);
/* Consumes the caller's reference, or NULL: *config is NULL on return.  The last
 * one frees the tree.  Any thread. */
void config_unref(const struct config **config);

/* NULL: there is no such group. */
const struct group_config *config_find_group(const struct config *config, const char *name);

/* Looks up every name of a backend and adds a warning for each that is not
 * found; may take long. */
void config_look_up(const struct config *config, struct complaints *warnings);

/* "10.0.0.1:80", or "name:80" before it is known what that means; shortened to
 * fit.  Returns text. */
char *backend_config_text(const struct backend_config *b, char text[ADDR_TEXT]);
/* The same address, or the same name, and port. */
bool backend_config_same(const struct backend_config *a, const struct backend_config *b);

const char *balance_word(enum balance b);
const char *health_word(enum health_type t);
const char *mode_word(enum service_mode m);
const char *engine_word(enum engine_kind e);

#endif
