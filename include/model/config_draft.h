/* config_draft.h - private to config*.c: a configuration half read, with the
 * places in the file that later checks must name. */
#ifndef MODEL_CONFIG_DRAFT_H
#define MODEL_CONFIG_DRAFT_H

#include <limits.h>

#include "model/config_cursor.h"
#include "net/local_addrs.h"

struct color_draft {
	const config_setting_t *at;	/* NULL: the color is missing */
	const config_setting_t *backends;	/* NULL: nodes x port */
	unsigned port, health_port;	/* 0: not given */
};

/* queue_limit where no number is given: a share of max_connections. */
#define QUEUE_AUTO UINT_MAX

struct service_draft {
	struct service_config s;	/* owned until moved into the config */
	const config_setting_t *at;	/* the service's group */
	const config_setting_t *defaults;	/* or NULL */
	const config_setting_t *pool;	/* the group of its node pool; NULL: that is none that says how it is checked */
	char *where;	/* "service \"shop\"", owned */
	const config_setting_t *listen, *preview, *plain_listen, *nodes;	/* or NULL */
	const config_setting_t *hosts, *sni, *paths;	/* or NULL */
	struct color_draft colors[COLORS];
	struct color_draft own;	/* of a service without colors */
};

struct draft {
	struct config c;	/* without services; owned until moved */
	struct reader *r;
	const config_setting_t *root, *pools, *defaults, *list, *groups;	/* or NULL */
	struct service_draft *services;
	size_t n_services;
	struct local_addrs locals;	/* once they were asked for */
};

/* The keys of a configuration; base is a draft. */
extern const struct key root_keys[];
/* The keys of a service, as the table they are read by; base is a
 * service_draft.  Those that defaults may not have come first. */
extern const struct key service_keys[];
#define SERVICE_OWN_KEYS 2

/* The built-in values. */
void draft_service_defaults(struct service_draft *d);
/* Addresses to listen on, one or a list: *list, for free(), is replaced; what the defaults gave goes. */
void draft_read_addresses(const struct cursor *c, const config_setting_t *s, struct addr **list, size_t *n);
/* Reads d->list into d->services. */
void draft_read_services(struct draft *d);
/* The setting behind a path such as "health.interval": the service's own,
 * else that of the defaults, else the service itself. */
const config_setting_t *draft_at(const struct service_draft *s, const char *path);

/* Colors: the groups green and blue, the keys nodes and node_pools, and the backends
 * of a service without colors; base of key_backends is a color_draft or has one. */
key_reader key_color, key_nodes, key_backends, key_health_address;
extern const struct key backend_keys[];
/* Reads the pools into d->c, and complains. */
void draft_read_pools(struct draft *d);
/* The hosts of them, once there is nothing to complain about. */
void draft_take_pools(struct draft *d);
void pools_free(struct config *c);

/* The groups of services, once those are read. */
void draft_read_groups(struct draft *d);
void groups_free(struct config *c);

/* The group kubernetes of a pool; base is a kube_config. */
extern const struct key kube_keys[];
key_reader key_kube_server, key_kube_taints;
/* What is wrong of one that was read from s; also looks at its files. */
void draft_check_kube(const struct cursor *c, const config_setting_t *s, struct kube_config *k);
void kube_config_default(struct kube_config *k);
void kube_config_free(struct kube_config **kp);
/* Whether it has colors; once its keys are read. */
void draft_settle_colors(struct service_draft *s);
/* Of a service without colors: keys that only colors give a meaning. */
void draft_check_colors(const struct cursor *c, const struct service_draft *s);
/* The pool of a service whose group this is, if that says how its nodes are checked; NULL: it does not. */
const config_setting_t *draft_checking_pool(const struct draft *d, const config_setting_t *service);
/* Turns what was read into backends. */
void draft_resolve_colors(struct draft *d, struct service_draft *s);

/* The group store, whose base is a draft. */
extern const struct key store_keys[];
void draft_default_store(struct draft *d);
/* Also reads the passwords. */
void draft_check_store(struct draft *d);
void store_config_clear(struct store_config *s);
/* The password of the status page. */
void draft_check_observe(struct draft *d);

/* admin.roles; base is a draft. */
key_reader key_roles;
extern const struct key role_keys[];
/* Warns of what no role can mean, once the services are known. */
void draft_check_roles(const struct draft *d);

/* admin.listen and what belongs to it; base is a draft. */
key_reader key_admin_listen;
extern const struct key admin_tls_keys[];
void draft_default_admin(struct draft *d);
/* Also reads the tokens; before draft_check_roles(). */
void draft_check_admin(struct draft *d);
void admin_net_clear(struct admin_net_config *a);

/* The group log.syslog; base is a draft.  at: where it stands, or NULL. */
extern const struct key syslog_keys[];
void draft_default_syslog(struct draft *d);
void draft_check_syslog(struct draft *d, const config_setting_t *at);

/* The list notify; base is a draft. */
key_reader key_notify;
extern const struct key notify_keys[];
void notify_config_free(struct config *c);

/* Names of hosts, and of a header; base is a service_draft. */
key_reader key_hosts, key_paths, key_sni, key_header, key_default_host;
/* Once the mode is known: the names that count in it. */
void draft_take_names(struct service_draft *d);
/* And those of sni_map. */
void draft_take_map(const struct cursor *c, struct service_draft *d);
void draft_check_http(const struct cursor *c, const struct service_draft *s);
/* What a service says itself (model/config_reply.h); base is a service_draft. */
key_reader key_error_page, key_redirect, key_redirect_status, key_headers;
extern const struct key request_headers_keys[], response_headers_keys[];
void draft_check_reply(const struct cursor *c, const struct service_draft *s);
void reply_config_clear(struct reply_config *r);
/* The groups tls and backend_tls, and health.tls; base is a service_draft. */
/* The group health; base is a service_draft. */
extern const struct key health_keys[];
/* The port of a kind of check that has one, before colors take it. */
void draft_settle_health(struct service_config *s);
/* Keys of the group health in s->at that its type does not know. */
void draft_check_health_keys(const struct cursor *c, const struct service_draft *s);
void draft_check_health(const struct cursor *c, struct service_draft *s);
void health_config_clear(struct health_config *h);
extern const struct key tls_keys[], backend_tls_keys[], health_tls_keys[];
key_reader key_tls, key_backend_tls, key_health_tls;
/* char *, owned: a file's name, those without a slash before them from the folder of the file that says it. */
key_reader key_file;
void draft_default_tls(struct service_config *s);
void draft_settle_tls(struct service_config *s);
void draft_check_tls(const struct cursor *c, const struct service_draft *s);
void tls_config_clear(struct service_config *s);
/* Engines: the group kernel, and what each of them can do. */
extern const struct key kernel_keys[];
void draft_check_engine(const struct cursor *c, const struct service_draft *s);
void draft_settle_engine(struct service_config *s);
/* Services of UDP that are proxied: what datagrams cannot be, and what their defaults are. */
void draft_settle_udp(struct service_draft *s);
void draft_check_udp(const struct cursor *c, const struct service_draft *s);
void draft_check_kernel(struct draft *d);
/* Listeners that clash, or are shared by services that do not fit. */
void draft_check_listeners(const struct draft *d);
/* Services that lead to each other. */
void draft_check_rings(struct draft *d);
/* Where a color's backends are written. */
const config_setting_t *draft_color_setting(const struct service_draft *s, enum color color);
/* "green: "; "" where there are no colors. */
const char *draft_color_prefix(const struct service_draft *s, enum color color);

/* Patterns of notify that nothing fits. */
void draft_check_notify(const struct draft *d);

/* Checks over more than one key. */
void draft_check_service(struct draft *d, struct service_draft *s);
void draft_check_all(struct draft *d);

void service_config_clear(struct service_config *s);
void roles_free(struct config *c);

#endif
