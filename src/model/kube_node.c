/* kube_node.c - nodes, lists of them and events, out of JSON.  Pure. */
#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "model/kube_node.h"
#include "model/node.h"

#define EXCLUDE_LABEL "node.kubernetes.io/exclude-from-external-load-balancers"
#define AUTOSCALER_TAINT "ToBeDeletedByClusterAutoscaler"
#define CORDON_TAINT "node.kubernetes.io/unschedulable"

/* The text of a member; "" where it is none. */
static const char *
text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

/* What came from outside goes into messages and logs: in part, and printable. */
static void
copy_words(char *to, size_t size, const char *from)
{
	size_t n = 0;

	for (; *from != '\0' && n + 1 < size; from++)
		to[n++] = (unsigned char)*from < ' ' || *from == 0x7f ? ' ' : *from;
	to[n] = '\0';
}

uint64_t
kube_version_number(const char *version)
{
	uint64_t v;

	return str_to_u64(str_from(version), UINT64_MAX - 1, &v) ? v : 0;
}

bool
kube_host_form(const char *text, char host[KUBE_NAME])
{
	unsigned char ip[sizeof(struct in6_addr)];
	size_t n = strlen(text);

	if (inet_pton(AF_INET, text, ip) == 1)
		return inet_ntop(AF_INET, ip, host, KUBE_NAME) != NULL;
	if (inet_pton(AF_INET6, text, ip) == 1)
		return inet_ntop(AF_INET6, ip, host, KUBE_NAME) != NULL;
	if (!node_is_host(text))
		return false;
	for (size_t i = 0; i <= n; i++)
		host[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] - 'A' + 'a' : text[i]);
	return true;
}

static void
read_node_addresses(struct kube_node *n, const json_t *status, const struct kube_terms *terms)
{
	const json_t *list = json_object_get(status, "addresses"), *one;
	size_t i;

	json_array_foreach(list, i, one)
		if (strcmp(text_at(one, "type"), terms->address) == 0 && kube_host_form(text_at(one, "address"), n->host))
			return;
	n->host[0] = '\0';
}

static void
read_conditions(struct kube_node *n, const json_t *status)
{
	const json_t *list = json_object_get(status, "conditions"), *one;
	bool ready = false;
	size_t i;

	json_array_foreach(list, i, one)
		if (strcmp(text_at(one, "type"), "Ready") == 0)
			ready = strcmp(text_at(one, "status"), "True") == 0;
	n->signals |= ready ? 0 : KUBE_NOT_READY;
}

/* "KEY" is of any effect. */
static bool
is_taint(const char *wanted, const char *key, const char *effect)
{
	size_t n = strcspn(wanted, ":");

	return strlen(key) == n && strncmp(wanted, key, n) == 0 && (wanted[n] == '\0' || strcmp(wanted + n + 1, effect) == 0);
}

static void
read_taints(struct kube_node *n, const json_t *spec, const struct kube_terms *terms)
{
	const json_t *list = json_object_get(spec, "taints"), *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		const char *key = text_at(one, "key"), *effect = text_at(one, "effect");
		bool drains = strcmp(key, AUTOSCALER_TAINT) == 0;
		char text[KUBE_TAINT];

		if (strcmp(key, CORDON_TAINT) == 0)
			n->signals |= KUBE_CORDONED;
		for (size_t k = 0; k < terms->n_taints && !drains; k++)
			drains = is_taint(terms->taints[k], key, effect);
		if (!drains)
			continue;
		n->signals |= KUBE_TAINTED;
		if (n->taint[0] != '\0')
			continue;
		snprintf(text, sizeof(text), "%s:%s", key, effect);
		copy_words(n->taint, sizeof(n->taint), text);
	}
}

static bool
is_node_name(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n < KUBE_NAME && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") == n;
}

static enum err
read_node(const json_t *object, const struct kube_terms *terms, struct kube_node *n, struct why *why)
{
	const json_t *meta = json_object_get(object, "metadata"), *spec = json_object_get(object, "spec"),
		     *status = json_object_get(object, "status");
	const char *name = text_at(meta, "name");

	memset(n, 0, sizeof(*n));
	if (!is_node_name(name))
		return why_set(why, E_STORE, "a node without a name that is one");
	CHECK(str_copy(n->name, sizeof(n->name), str_from(name)));
	n->version = kube_version_number(text_at(meta, "resourceVersion"));
	if (json_object_get(json_object_get(meta, "labels"), EXCLUDE_LABEL) != NULL)
		n->signals |= KUBE_EXCLUDED;
	if (text_at(meta, "deletionTimestamp")[0] != '\0')
		n->signals |= KUBE_DELETING;
	if (json_is_true(json_object_get(spec, "unschedulable")))
		n->signals |= KUBE_CORDONED;
	read_taints(n, spec, terms);
	read_node_addresses(n, status, terms);
	read_conditions(n, status);
	return OK;
}

static json_t *
parse(struct str json, struct why *why)
{
	json_error_t error;
	json_t *root = json_loadb(json.p, json.n, 0, &error);

	if (root == NULL)
		(void)why_set(why, E_STORE, "no JSON, or not whole: %.120s, at byte %d", error.text, error.position);
	return root;
}

/* -- lists ------------------------------------------------------------------------- */

void
kube_page_free(struct kube_page *p)
{
	free(p->list);
	free(p->next);
	*p = (struct kube_page){ 0 };
}

static enum err
take_page(const json_t *root, const struct kube_terms *terms, struct kube_page *out, struct why *why)
{
	const json_t *items = json_object_get(root, "items"), *meta = json_object_get(root, "metadata"), *one;
	const char *version = text_at(meta, "resourceVersion"), *next = text_at(meta, "continue");
	enum err e;
	size_t i;

	if (strcmp(text_at(root, "kind"), "NodeList") != 0)
		return why_set(why, E_STORE, "kind is \"%.40s\", not NodeList", text_at(root, "kind"));
	/* An empty list may be null: Go writes it so. */
	if (!json_is_array(items) && !json_is_null(items))
		return why_set(why, E_STORE, "the list has no items");
	if (version[0] == '\0' || strlen(version) >= KUBE_VERSION)
		return why_set(why, E_STORE, "the list has no resourceVersion");
	CHECK(str_copy(out->version, sizeof(out->version), str_from(version)));
	out->list = must_array(json_array_size(items), sizeof(*out->list));
	json_array_foreach(items, i, one)
		if ((e = read_node(one, terms, &out->list[out->n++], why)) != OK)
			return e;
	if (next[0] != '\0')
		out->next = must_strdup(next);
	return OK;
}

enum err
kube_page_read(struct str json, const struct kube_terms *terms, struct kube_page *out, struct why *why)
{
	json_t *root = parse(json, why);
	enum err e = E_STORE;

	*out = (struct kube_page){ 0 };
	if (root != NULL && (e = take_page(root, terms, out, why)) != OK)
		kube_page_free(out);
	json_decref(root);
	return e;
}

/* -- events ------------------------------------------------------------------------ */

static enum err
read_event(const json_t *root, const struct kube_terms *terms, struct kube_event *out, struct why *why)
{
	const char *type = text_at(root, "type"), *version;
	const json_t *object = json_object_get(root, "object");

	if (strcmp(type, "ERROR") == 0) {
		out->kind = KUBE_EVENT_ERROR;
		out->code = (unsigned)json_integer_value(json_object_get(object, "code"));
		copy_words(out->message, sizeof(out->message), text_at(object, "message"));
		return OK;
	}
	version = text_at(json_object_get(object, "metadata"), "resourceVersion");
	if (version[0] == '\0' || !str_copy(out->version, sizeof(out->version), str_from(version)))
		return why_set(why, E_STORE, "an event without a resourceVersion");
	if (strcmp(type, "BOOKMARK") == 0) {
		out->kind = KUBE_EVENT_BOOKMARK;
		return OK;
	}
	if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0)
		out->kind = KUBE_EVENT_NODE;
	else if (strcmp(type, "DELETED") == 0)
		out->kind = KUBE_EVENT_GONE;
	else
		return why_set(why, E_STORE, "an event of the unknown type \"%.40s\"", type);
	if (strcmp(text_at(object, "kind"), "Node") != 0)
		return why_set(why, E_STORE, "an event of kind \"%.40s\", not Node", text_at(object, "kind"));
	return read_node(object, terms, &out->node, why);
}

enum err
kube_event_read(struct str json, const struct kube_terms *terms, struct kube_event *out, struct why *why)
{
	json_t *root = parse(json, why);
	enum err e = E_STORE;

	*out = (struct kube_event){ 0 };
	if (root != NULL)
		e = read_event(root, terms, out, why);
	json_decref(root);
	return e;
}

void
kube_status_read(struct str json, char message[KUBE_MESSAGE])
{
	struct why why;
	json_t *root = parse(json, &why);

	message[0] = '\0';
	if (root != NULL && strcmp(text_at(root, "kind"), "Status") == 0)
		copy_words(message, KUBE_MESSAGE, text_at(root, "message"));
	json_decref(root);
}
