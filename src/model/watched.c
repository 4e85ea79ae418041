/* watched.c - nodes that an API tells: the set, and what becomes of each.  Pure. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "model/watched.h"

static const char *const why_words[WATCHED_WHYS] = {
	[WATCHED_READY] = "ready",	 [WATCHED_EXCLUDED] = "excluded", [WATCHED_TAINTED] = "tainted",
	[WATCHED_DELETING] = "deleting", [WATCHED_CORDONED] = "cordoned", [WATCHED_DELETED] = "deleted",
	[WATCHED_CORDON_IGNORED] = "cordon ignored", [WATCHED_LAST] = "last",
};

const char *
watched_why_word(enum watched_why w)
{
	return why_words[w];
}

bool
watched_why_from_word(const char *word, enum watched_why *out)
{
	for (size_t i = 0; i < WATCHED_WHYS; i++)
		if (strcmp(word, why_words[i]) == 0) {
			*out = (enum watched_why)i;
			return true;
		}
	return false;
}

/* -- the set ------------------------------------------------------------------------ */

static int
compare_node_names(const void *a, const void *b)
{
	return strcmp(((const struct watched *)a)->node.name, ((const struct watched *)b)->node.name);
}

static int
compare_name(const void *name, const void *w)
{
	return strcmp(name, ((const struct watched *)w)->node.name);
}

struct watched *
watched_find(const struct watched_set *s, const char *name)
{
	return s->n == 0 ? NULL : bsearch(name, s->list, s->n, sizeof(*s->list), compare_name);
}

/* One behind the last, not yet in its place. */
static struct watched *
append_node(struct watched_set *s, const struct kube_node *node, int64_t now_us)
{
	struct watched *w;

	s->list = must_grow(s->list, s->n + 1, sizeof(*s->list));
	s->news = true;
	w = &s->list[s->n++];
	*w = (struct watched){ .node = *node, .wish = NODE_READY, .why = WATCHED_READY, .since_us = now_us };
	return w;
}

static void
renew_node(struct watched_set *s, struct watched *w, const struct kube_node *node)
{
	/* A list of a server that lags behind, or an event that overtook another one. */
	if (!w->deleted && node->version != 0 && node->version < w->node.version)
		return;
	s->news |= strcmp(w->node.host, node->host) != 0 || strcmp(w->node.taint, node->taint) != 0;
	w->node = *node;
	w->deleted = false;
}

bool
watched_put(struct watched_set *s, const struct kube_node *node, int64_t now_us)
{
	struct watched *w = watched_find(s, node->name);

	if (w != NULL) {
		renew_node(s, w, node);
		return true;
	}
	if (s->n >= WATCHED_MAX)
		return false;
	append_node(s, node, now_us);
	for (size_t i = s->n - 1; i > 0 && compare_node_names(&s->list[i - 1], &s->list[i]) > 0; i--) {
		struct watched swap = s->list[i];

		s->list[i] = s->list[i - 1];
		s->list[i - 1] = swap;
	}
	return true;
}

void
watched_delete(struct watched_set *s, const char *name)
{
	struct watched *w = watched_find(s, name);

	if (w != NULL)
		w->deleted = true;
}

static int
compare_pointers(const void *a, const void *b)
{
	return strcmp((*(const struct kube_node *const *)a)->name, (*(const struct kube_node *const *)b)->name);
}

bool
watched_replace(struct watched_set *s, const struct kube_node *list, size_t n, int64_t now_us)
{
	const struct kube_node **sorted;
	size_t known = s->n, at = 0;

	if (n > WATCHED_MAX)
		return false;
	sorted = must_array(n, sizeof(*sorted));
	for (size_t i = 0; i < n; i++)
		sorted[i] = &list[i];
	qsort(sorted, n, sizeof(*sorted), compare_pointers);
	for (size_t i = 0; i < n; i++) {
		while (at < known && strcmp(s->list[at].node.name, sorted[i]->name) < 0)
			s->list[at++].deleted = true;
		if (at < known && strcmp(s->list[at].node.name, sorted[i]->name) == 0)
			renew_node(s, &s->list[at++], sorted[i]);
		else if (i == 0 || strcmp(sorted[i - 1]->name, sorted[i]->name) != 0)
			append_node(s, sorted[i], now_us);
	}
	while (at < known)
		s->list[at++].deleted = true;
	if (s->n > known)
		qsort(s->list, s->n, sizeof(*s->list), compare_node_names);
	free(sorted);
	return true;
}

void
watched_forget_versions(struct watched_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		s->list[i].node.version = 0;
}

size_t
watched_count(const struct watched_set *s, enum watched_why why)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->list[i].why == why;
	return n;
}

void
watched_copy(struct watched_set *to, const struct watched_set *from)
{
	struct watched *list = must_array(from->n, sizeof(*list));

	if (from->n > 0)
		memcpy(list, from->list, from->n * sizeof(*list));
	free(to->list);
	*to = (struct watched_set){ .list = list, .n = from->n };
}

void
watched_free(struct watched_set *s)
{
	free(s->list);
	*s = (struct watched_set){ 0 };
}

/* -- deciding ----------------------------------------------------------------------- */

/* By what is said of it alone. */
static enum watched_why
why_of(const struct watched *w)
{
	if (w->deleted)
		return WATCHED_DELETED;
	if (w->node.signals & KUBE_TAINTED)
		return WATCHED_TAINTED;
	if (w->node.signals & KUBE_DELETING)
		return WATCHED_DELETING;
	if (w->node.signals & KUBE_EXCLUDED)
		return WATCHED_EXCLUDED;
	return w->node.signals & KUBE_CORDONED ? WATCHED_CORDONED : WATCHED_READY;
}

/* Those that drain already come first, by how long they do. */
static int
compare_cordoned(const void *a, const void *b)
{
	const struct watched *x = *(struct watched *const *)a, *y = *(struct watched *const *)b;
	bool x_drains = x->why == WATCHED_CORDONED, y_drains = y->why == WATCHED_CORDONED;

	if (x_drains != y_drains)
		return y_drains - x_drains;
	if (x_drains && x->since_us != y->since_us)
		return x->since_us < y->since_us ? -1 : 1;
	return strcmp(x->node.name, y->node.name);
}

/* Cordons count as long as min_ready of the pool's nodes stay; one that is not Ready is none that stays. */
static void
judge_cordons(const struct watched_set *s, enum watched_why *next, const struct quorum *min_ready)
{
	struct watched **cordoned = must_array(s->n, sizeof(*cordoned));
	size_t n = 0, total = 0, ready = 0, needed;

	for (size_t i = 0; i < s->n; i++) {
		bool healthy = (s->list[i].node.signals & KUBE_NOT_READY) == 0;

		total += !s->list[i].deleted;
		ready += healthy && (next[i] == WATCHED_READY || next[i] == WATCHED_CORDONED);
		if (next[i] == WATCHED_CORDONED)
			cordoned[n++] = &s->list[i];
	}
	needed = quorum_of(min_ready, total);
	qsort(cordoned, n, sizeof(struct watched *), compare_cordoned);
	for (size_t i = 0; i < n; i++) {
		bool healthy = (cordoned[i]->node.signals & KUBE_NOT_READY) == 0;

		if (ready >= needed + healthy)
			ready -= healthy;
		else
			next[cordoned[i] - s->list] = WATCHED_CORDON_IGNORED;
	}
	free(cordoned);
}

static bool
is_drain(enum watched_why w)
{
	switch (w) {
	case WATCHED_READY:
	case WATCHED_CORDON_IGNORED:
	case WATCHED_LAST:
		return false;
	case WATCHED_EXCLUDED:
	case WATCHED_TAINTED:
	case WATCHED_DELETING:
	case WATCHED_CORDONED:
	case WATCHED_DELETED:
		return true;
	}
	return false;
}

void
watched_set_why(struct watched *w, enum watched_why why)
{
	w->why = why;
	w->wish = is_drain(why) ? NODE_DRAIN : NODE_READY;
}

/* The pool never empties: where nothing would be ready, what the API has stays ready; where it has nothing, what it had. */
static void
keep_some(const struct watched_set *s, enum watched_why *next)
{
	bool any = false, listed = false;

	for (size_t i = 0; i < s->n; i++) {
		any |= !is_drain(next[i]) && s->list[i].node.host[0] != '\0';
		listed |= !s->list[i].deleted && s->list[i].node.host[0] != '\0';
	}
	for (size_t i = 0; i < s->n && !any; i++)
		if (is_drain(next[i]) && (!listed || !s->list[i].deleted))
			next[i] = WATCHED_LAST;
}

static void
forget_deleted(struct watched_set *s, int64_t before_us)
{
	size_t left = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct watched *w = &s->list[i];

		if (w->why == WATCHED_DELETED && w->since_us < before_us)
			continue;
		s->list[left++] = *w;
	}
	s->n = left;
}

bool
watched_decide(struct watched_set *s, const struct quorum *min_ready, int64_t now_us, int64_t forget_us)
{
	enum watched_why *next = must_array(s->n, sizeof(*next));
	size_t before = s->n;
	bool changed = s->news;

	for (size_t i = 0; i < s->n; i++)
		next[i] = why_of(&s->list[i]);
	judge_cordons(s, next, min_ready);
	keep_some(s, next);
	for (size_t i = 0; i < s->n; i++) {
		struct watched *w = &s->list[i];

		if (w->why == next[i])
			continue;
		watched_set_why(w, next[i]);
		w->since_us = now_us;
		changed = true;
	}
	free(next);
	s->news = false;
	forget_deleted(s, forget_us);
	return changed || s->n != before;
}

/* -- by address --------------------------------------------------------------------- */

static int
compare_node_hosts(const void *a, const void *b)
{
	const struct watched *x = a, *y = b;
	int order = strcmp(x->node.host, y->node.host);

	if (order == 0)
		order = (int)x->deleted - (int)y->deleted;
	return order != 0 ? order : compare_node_names(a, b);
}

static int
compare_host(const void *host, const void *w)
{
	return strcmp(host, ((const struct watched *)w)->node.host);
}

void
watched_by_host(struct watched_set *to, const struct watched_set *from)
{
	size_t n = 0;

	watched_copy(to, from);
	qsort(to->list, to->n, sizeof(*to->list), compare_node_hosts);
	for (size_t i = 0; i < to->n; i++)
		if (to->list[i].node.host[0] != '\0' && (n == 0 || strcmp(to->list[n - 1].node.host, to->list[i].node.host) != 0))
			to->list[n++] = to->list[i];
	to->n = n;
}

void
watched_by_name(struct watched_set *to, const struct watched_set *from)
{
	watched_copy(to, from);
	qsort(to->list, to->n, sizeof(*to->list), compare_node_names);
}

const struct watched *
watched_at_host(const struct watched_set *by_host, const char *host)
{
	char usual[KUBE_NAME];
	const struct watched *w;

	if (by_host->n == 0)
		return NULL;
	/* As a rule it is written so. */
	w = bsearch(host, by_host->list, by_host->n, sizeof(*by_host->list), compare_host);
	if (w == NULL && kube_host_form(host, usual))
		w = bsearch(usual, by_host->list, by_host->n, sizeof(*by_host->list), compare_host);
	return w;
}
