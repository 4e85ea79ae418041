/* rights.c - who may do what on the admin socket.  Thread: main. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "app/teald/rights.h"

/* A peer of more groups than this costs a second look. */
#define GROUPS_FIRST 64
/* The kernel's own limit. */
#define GROUPS_MAX 65536

static bool
is_member(const struct rights *r, gid_t gid)
{
	if (r->gid == gid)
		return true;
	for (size_t i = 0; i < r->n_groups; i++)
		if (r->groups[i] == gid)
			return true;
	return false;
}

static bool
is_of(const struct rights *r, const struct role_config *role)
{
	if (r->caller != NULL)
		return admin_caller_has_role(r->caller, r->config, role);
	if (role->user != NULL)
		return role->uid == r->uid;
	return role->group != NULL && is_member(r, role->gid);
}

/* Without roles yet. */
static struct rights *
rights_alloc(const struct config *config, uid_t uid, gid_t gid)
{
	struct rights *r = calloc(1, sizeof(*r) + config->admin.n_roles * sizeof(r->roles[0]));

	if (r == NULL)
		return NULL;
	r->refs = 1;
	r->config = config_ref(config);
	r->uid = uid;
	r->gid = gid;
	return r;
}

static void
take_roles(struct rights *r)
{
	for (size_t i = 0; i < r->config->admin.n_roles; i++)
		if (is_of(r, &r->config->admin.roles[i]))
			r->roles[r->n_roles++] = &r->config->admin.roles[i];
}

struct rights *
rights_new(const struct config *config, uid_t uid, gid_t gid, const gid_t *groups, size_t n, uid_t own)
{
	struct rights *r = rights_alloc(config, uid, gid);

	if (r == NULL)
		return NULL;
	r->because = uid == 0 ? "is root" : uid == own ? "is the user teald runs as" : NULL;
	if (n > 0 && (r->groups = malloc(n * sizeof(*groups))) == NULL) {
		config_unref(&r->config);
		free(r);
		return NULL;
	}
	if (n > 0)
		memcpy(r->groups, groups, n * sizeof(*groups));
	r->n_groups = n;
	take_roles(r);
	return r;
}

struct rights *
rights_of_caller(const struct config *config, struct admin_caller *caller)
{
	struct rights *r = rights_alloc(config, (uid_t)-1, (gid_t)-1);

	if (r == NULL)
		return NULL;
	r->caller = admin_caller_ref(caller);
	take_roles(r);
	return r;
}

struct log_field
rights_log_who(const struct rights *r)
{
	return r->caller != NULL ? LS("user", r->caller->name) : LU("uid", r->uid);
}

struct rights *
rights_of_peer(const struct config *config, int fd, uid_t own, pid_t *pid)
{
	struct ucred peer = { 0, (uid_t)-1, (gid_t)-1 };
	gid_t first[GROUPS_FIRST], *groups = first;
	socklen_t len = sizeof(peer), size = sizeof(first);
	struct rights *r;
	int rc;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return NULL;
	rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size);
	if (rc != 0 && errno == ERANGE && size <= GROUPS_MAX * sizeof(*groups)) {
		if ((groups = malloc(size)) == NULL)
			return NULL;
		rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size);
	}
	/* Fewer groups are fewer rights, and never more. */
	if (rc != 0)
		size = 0;
	*pid = peer.pid;
	r = rights_new(config, peer.uid, peer.gid, groups, size / sizeof(*groups), own);
	if (groups != first)
		free(groups);
	if (r == NULL)
		errno = ENOMEM;
	return r;
}

struct rights *
rights_renew(const struct rights *old, const struct config *config)
{
	struct rights *r;

	if (old->caller != NULL)
		return rights_of_caller(config, old->caller);
	if ((r = rights_new(config, old->uid, old->gid, old->groups, old->n_groups, old->uid)) != NULL)
		r->because = old->because;
	return r;
}

struct rights *
rights_ref(struct rights *r)
{
	r->refs++;
	return r;
}

void
rights_unref(struct rights **rp)
{
	struct rights *r = *rp;

	*rp = NULL;
	if (r == NULL || --r->refs > 0)
		return;
	free(r->groups);
	admin_caller_unref(&r->caller);
	config_unref(&r->config);
	free(r);
}

/* "*" is a name no service can have: only a pattern of nothing but stars
 * matches it. */
static bool
role_covers(const struct role_config *role, const char *service)
{
	for (size_t i = 0; i < role->n_services; i++)
		if (str_glob(role->services[i], service))
			return true;
	return false;
}

bool
rights_have(const struct rights *r, enum admin_right right, const char *service)
{
	if (r->because != NULL || right == ADMIN_RIGHT_NONE)
		return true;
	for (size_t i = 0; i < r->n_roles; i++)
		if ((r->roles[i]->allow & 1u << right) && role_covers(r->roles[i], service))
			return true;
	return false;
}

bool
rights_have_any(const struct rights *r, enum admin_right right)
{
	for (size_t i = 0; i < r->config->n_services; i++)
		if (rights_have(r, right, r->config->services[i].name))
			return true;
	return rights_have(r, right, RIGHTS_EVERYWHERE);
}

/* What a person is not allowed to, as a verb.  Commands that read are one. */
static const char *
verb_of(const struct admin_request *q)
{
	switch (q->command) {
	case ADMIN_FLIP:
	case ADMIN_SHIFT:
	case ADMIN_ROLLBACK:
	case ADMIN_LOCK:
	case ADMIN_UNLOCK:
	case ADMIN_CLAIM:
	case ADMIN_WAIT:
		return admin_command_info(q->command)->word;
	case ADMIN_BAKE:
		return q->right == ADMIN_RIGHT_READ ? "read" : "end the bake of";
	case ADMIN_SIGNAL:
		return "signal the bake of";
	case ADMIN_RELEASE:
		return q->force ? "release another's claim of" : "release";
	case ADMIN_NODE:
		return q->right == ADMIN_RIGHT_READ ? "read" : "change the nodes of";
	case ADMIN_CERTS:
		return q->reload ? "reload the certificates of" : "read";
	case ADMIN_LOG:
		return "set the log level of";
	case ADMIN_MAINTENANCE:
		return "switch the maintenance of";
	case ADMIN_RELOAD:
		return "reload";
	case ADMIN_UPGRADE:
		return "upgrade";
	case ADMIN_CONFIG:
		return "read the configuration of";
	case ADMIN_STOP:
		return "stop";
	case ADMIN_STATUS:
	case ADMIN_ACTIVE:
	case ADMIN_IDLE:
	case ADMIN_CHECK:
	case ADMIN_DRAIN:
	case ADMIN_HISTORY:
	case ADMIN_FLEET:
	case ADMIN_EVENTS:
	case ADMIN_WHOAMI:
	case ADMIN_HELP:
	case ADMIN_VERSION:
		break;
	}
	return "read";
}

/* The first configured service without the right; NULL: none. */
static const char *
first_without(const struct rights *r, enum admin_right right)
{
	for (size_t i = 0; i < r->config->n_services; i++)
		if (!rights_have(r, right, r->config->services[i].name))
			return r->config->services[i].name;
	return NULL;
}

static const char *
first_target_without(const struct rights *r, const struct admin_request *q)
{
	for (size_t i = 0; i < q->n_targets; i++)
		if (!rights_have(r, q->right, q->targets[i].name))
			return q->targets[i].name;
	return NULL;
}

static enum err
deny_right(const struct rights *r, const struct admin_request *q, const char *user, const char *missing,
     struct why *why)
{
	const char *right = admin_right_word(q->right), *verb = verb_of(q);
	const char *no_roles = r->config->admin.n_roles == 0 ? " (admin.roles is empty)" : "";
	char who[RECORD_NAME + 32];

	if (r->caller != NULL)
		snprintf(who, sizeof(who), "%s", user);
	else
		snprintf(who, sizeof(who), "%s (uid %u)", user, (unsigned)r->uid);
	if (*missing == '\0')
		return why_set(why, E_DENIED, "%s may not %s any service: no role grants \"%s\"%s", who, verb, right, no_roles);
	if (q->service.n == 0 && q->n_targets == 0)
		return why_set(why, E_DENIED, "%s may not %s teald: no role grants \"%s\" on \"%s\"%s", who, verb, right, missing,
			       no_roles);
	if (q->all_services)
		return why_set(why, E_DENIED, "%s may not %s \"*\": no role grants \"%s\" on \"%s\"%s", who, verb, right, missing,
			       no_roles);
	return why_set(why, E_DENIED, "%s may not %s \"%.64s\": no role grants \"%s\" on it%s", who, verb, missing, right,
		       no_roles);
}

enum err
rights_check(const struct rights *r, const struct admin_request *q, const char *user, const char **missing,
	     struct why *why)
{
	const char *lacks = NULL;

	if (q->right == ADMIN_RIGHT_NONE || r->because != NULL)
		return OK;
	if (q->n_targets > 0)
		lacks = first_target_without(r, q);
	else if (q->all_services)
		lacks = first_without(r, q->right);
	else if (q->service.n > 0)
		lacks = rights_have(r, q->right, q->service.p) ? NULL : q->service.p;
	else if (q->right == ADMIN_RIGHT_READ)
		lacks = rights_have_any(r, q->right) ? NULL : "";
	else
		lacks = rights_have(r, q->right, RIGHTS_EVERYWHERE) ? NULL : RIGHTS_EVERYWHERE;
	if (missing != NULL)
		*missing = lacks;
	return lacks == NULL ? OK : deny_right(r, q, user, lacks, why);
}

static void
words_json(struct json *j, const char *key, unsigned bits)
{
	json_array(j, key);
	for (int right = ADMIN_RIGHT_READ; right <= ADMIN_RIGHT_ADMIN; right++)
		if (bits & 1u << right)
			json_cstr(j, NULL, admin_right_word((enum admin_right)right));
	json_array_end(j);
}

static unsigned
bits_on(const struct rights *r, const char *service)
{
	unsigned bits = 0;

	for (int right = ADMIN_RIGHT_READ; right <= ADMIN_RIGHT_ADMIN; right++)
		if (rights_have(r, (enum admin_right)right, service))
			bits |= 1u << right;
	return bits;
}

static void
texts_json(struct json *j, const char *key, char *const *list, size_t n)
{
	if (n == 0)
		return;
	json_array(j, key);
	for (size_t i = 0; i < n; i++)
		json_cstr(j, NULL, list[i]);
	json_array_end(j);
}

/* Whose a role is. */
static void
holders_json(struct json *j, const struct role_config *role)
{
	if (role->user != NULL)
		json_cstr(j, "user", role->user);
	if (role->group != NULL)
		json_cstr(j, "group", role->group);
	texts_json(j, "cn", role->cn, role->n_cn);
	texts_json(j, "san", role->san, role->n_san);
	texts_json(j, "token", role->tokens, role->n_tokens);
}

static void
put_san(struct json *j, const struct tls_names *names)
{
	json_array(j, "san");
	for (unsigned i = 0; i < names->n; i++)
		json_cstr(j, NULL, names->san[i]);
	json_array_end(j);
}

void
rights_json(struct json *j, const struct rights *r)
{
	unsigned everywhere = bits_on(r, RIGHTS_EVERYWHERE), bits = everywhere;

	if (r->caller == NULL) {
		json_u64(j, "gid", r->gid);
		json_array(j, "groups");
		for (size_t i = 0; i < r->n_groups; i++)
			json_u64(j, NULL, r->groups[i]);
		json_array_end(j);
	} else {
		json_cstr(j, "peer", r->caller->peer);
		json_cstr(j, "subject", r->caller->subject[0] != '\0' ? r->caller->subject : NULL);
		put_san(j, &r->caller->names);
	}
	json_cstr(j, "because", r->because);
	json_array(j, "roles");
	for (size_t i = 0; i < r->n_roles; i++) {
		const struct role_config *role = r->roles[i];

		json_object(j, NULL);
		holders_json(j, role);
		json_array(j, "services");
		for (size_t k = 0; k < role->n_services; k++)
			json_cstr(j, NULL, role->services[k]);
		json_array_end(j);
		words_json(j, "allow", role->allow);
		json_object_end(j);
	}
	json_array_end(j);
	for (size_t i = 0; i < r->config->n_services; i++)
		bits |= bits_on(r, r->config->services[i].name);
	words_json(j, "rights", bits);
	words_json(j, "everywhere", everywhere);
	json_object(j, "services");
	for (size_t i = 0; i < r->config->n_services; i++) {
		const char *name = r->config->services[i].name;

		/* Not even that it exists, unless one may do something there. */
		if ((bits = bits_on(r, name)) != 0)
			words_json(j, name, bits);
	}
	json_object_end(j);
}
