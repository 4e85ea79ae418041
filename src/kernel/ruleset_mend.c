/* ruleset_mend.c - turns a table of unknown state into what is wanted: the first load,
 * the adoption of what a predecessor left, what another program has changed.
 *
 * What is missing is added, where nothing leads to it yet; then the elements change, all in one
 * transaction; then, if they are not those of this version, the chains that packets come through
 * first; and what nothing leads to is waste.  Where all is as it should be nothing is written but
 * the elements that have a timeout.
 * Thread: the ruleset's own. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kernel/ruleset_table.h"

struct names {
	char **list;
	size_t n, room;
};

/* libnftables takes some hundred times the memory of a text while it is at it. */
#define TEXT_MAX ((size_t)256 << 10)

struct mend {
	struct ruleset_table *t;
	bool exists;
	struct names found[NFT_KIND_RULE + 1];	/* sorted, by kind */
	struct names wanted[NFT_KIND_COUNTER + 1];	/* sorted once all are known */
	struct ruleset_wants have, want;
	/* Chains of backends that have to be made. */
	struct missing {
		size_t service;
		enum color color;
		bool is_there;	/* but not whole */
	} * chains;
	size_t n_chains;
	const char *layout;	/* the chains that packets come through, as they are to be */
	bool hurt;	/* those have not all their rules */
	bool any;	/* is in text */
	FILE *text;
	char *words;	/* of text, once it is flushed */
	size_t n_words;
};

/* -- names ------------------------------------------------------------------------ */

static void
names_add(struct names *names, const char *name)
{
	if (names->n == names->room) {
		names->room = names->room == 0 ? 64 : names->room * 2;
		names->list = must_grow(names->list, names->room, sizeof(*names->list));
	}
	names->list[names->n++] = must_strdup(name);
}

static int
by_object_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
names_sort(struct names *names)
{
	if (names->n > 0)
		qsort(names->list, names->n, sizeof(*names->list), by_object_name);
}

static bool
names_has(const struct names *names, const char *name)
{
	return names->n > 0 &&
	       bsearch(&name, names->list, names->n, sizeof(*names->list), by_object_name) != NULL;
}

static size_t
names_count(const struct names *names, const char *name)
{
	size_t low = 0, high = names->n, first;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(names->list[middle], name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (first = low; low < names->n && strcmp(names->list[low], name) == 0;)
		low++;
	return low - first;
}

static void
names_free(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->list[i]);
	free(names->list);
}

/* -- what there is ------------------------------------------------------------------ */

static void
on_name(void *arg, const char *name, uint64_t packets)
{
	(void)packets;
	names_add(arg, name);
}

struct found_in {
	struct ruleset_wants *list;
	enum ruleset_set set;
};

static void
on_element(void *arg, const struct nft_element *e)
{
	struct found_in *f = arg;
	struct ruleset_wants *w = f->list;

	if (w->n == w->room) {
		w->room = w->room == 0 ? 256 : w->room * 2;
		w->list = must_grow(w->list, w->room, sizeof(*w->list));
	}
	w->list[w->n++] = (struct ruleset_want){ .set = (uint8_t)f->set, .e = *e };
}

static enum err
look_at_table(struct mend *m, struct why *why)
{
	const struct ruleset_plan *p = m->t->plan;
	enum err e = ruleset_table_look(m->t->nft, p, &m->exists, why);

	/* A foreign one does not become ours by looking again. */
	if (e != OK || !m->exists)
		return e == E_CONFLICT ? E_DENIED : e;
	for (int kind = 0; kind <= NFT_KIND_RULE; kind++) {
		e = nft_names(m->t->nft, p->table, (enum nft_kind)kind, on_name, &m->found[kind], why);
		if (e != OK)
			return e;
		names_sort(&m->found[kind]);
	}
	for (int i = 0; i < RULESET_SETS && e == OK; i++) {
		struct found_in f = { &m->have, (enum ruleset_set)i };

		if (names_has(&m->found[NFT_KIND_SET], ruleset_set_names[i]))
			e = nft_elements(m->t->nft, p->table, ruleset_set_names[i], on_element, &f, why);
	}
	ruleset_wants_sort(&m->have);
	return e;
}

/* -- what is missing ------------------------------------------------------------------ */

/* Notes that the name is wanted; true: it has to be made. */
static bool
want_name(void *arg, enum nft_kind kind, const char *name)
{
	struct mend *m = arg;

	names_add(&m->wanted[kind], name);
	if (names_has(&m->found[kind], name))
		return false;
	m->any = true;
	return true;
}

/* The rules of the chain, as a text of the ruleset has it: a line each, but for that of its hook. */
static size_t
rules_of(const char *text, const char *chain)
{
	char head[RULESET_NAME + 16];
	const char *line;
	size_t n = 0;

	snprintf(head, sizeof(head), "\tchain %s {\n", chain);
	if ((line = strstr(text, head)) == NULL)
		return 0;
	for (line += strlen(head); strncmp(line, "\t\t", 2) == 0; line = strchr(line, '\n') + 1)
		n += strncmp(line, "\t\ttype ", 7) != 0;
	return n;
}

/* It is there, but rules of it were taken away. */
static bool
is_hurt(struct mend *m, const char *chain, size_t rules)
{
	bool hurt = names_has(&m->found[NFT_KIND_CHAIN], chain) &&
		    names_count(&m->found[NFT_KIND_RULE], chain) != rules;

	m->t->was_hurt |= hurt;
	return hurt;
}

static void
add_chain(struct mend *m, size_t service, enum color color, bool is_there)
{
	m->chains = must_grow(m->chains, m->n_chains + 1, sizeof(*m->chains));
	m->chains[m->n_chains++] = (struct missing){ service, color, is_there };
}

static void
add_door(struct mend *m, size_t service, char door[RULESET_NAME])
{
	const struct ruleset_plan *p = m->t->plan;
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	bool missing;

	CHECK(f != NULL);
	ruleset_door_chain(p, service, door, f);
	CHECK(fclose(f) == 0);
	missing = door[0] != '\0' && want_name(m, NFT_KIND_CHAIN, door);
	if (door[0] != '\0' && (missing || is_hurt(m, door, rules_of(text, door)))) {
		/* What is left of it goes in the same transaction. */
		if (!missing)
			fprintf(m->text, "}\nflush chain inet %s %s\ntable inet %s {\n", p->table, door,
				p->table);
		fputs(text, m->text);
		m->any = true;
	}
	free(text);
}

static void
add_missing_service(struct mend *m, size_t service)
{
	const struct ruleset_plan *p = m->t->plan;
	struct ruleset_state *s = &m->t->services[service];
	char door[RULESET_NAME];

	ruleset_service_things(p, service, want_name, m, m->text);
	add_door(m, service, door);
	ruleset_want_fixed(p, service, door, &m->want);
	for (int c = 0; c < COLORS; c++) {
		const struct snapshot_color *sc = ruleset_table_color(s->want, (enum color)c);

		ruleset_color_chain(p, service, (enum color)c, sc, 0, s->next[c], NULL);
		if (!names_has(&m->found[NFT_KIND_CHAIN], s->next[c]))
			add_chain(m, service, (enum color)c, false);
		else if (is_hurt(m, s->next[c], ruleset_color_rules(p, service, sc)))
			add_chain(m, service, (enum color)c, true);
		names_add(&m->wanted[NFT_KIND_CHAIN], s->next[c]);
		ruleset_want_color(p, service, (enum color)c, s->next[c], &m->want);
	}
	ruleset_want_marks(p, service, s->want, &m->want);
}

static void
text_begin(struct mend *m)
{
	m->any = false;
	m->text = open_memstream(&m->words, &m->n_words);
	CHECK(m->text != NULL);
}

static enum err
text_run(struct mend *m, struct why *why)
{
	enum err e = OK;

	CHECK(fclose(m->text) == 0);
	if (m->any)
		e = nft_run(m->t->nft, m->words, why);
	free(m->words);
	return e;
}

/* Lost with a table that was taken away. */
static void
add_claim(struct mend *m)
{
	char chain[RULESET_NAME];

	ruleset_tag_chain(m->t->plan->tag, chain);
	if (m->t->plan->claims && want_name(m, NFT_KIND_CHAIN, chain))
		fprintf(m->text, "\tchain %s {\n\t}\n", chain);
}

static void
add_frame(struct mend *m)
{
	fprintf(m->text, "table inet %s {\n", m->t->plan->table);
	if (!m->exists)
		fprintf(m->text, "\tcomment \"%s\"\n", m->t->plan->comment);
	for (int i = 0; i < RULESET_SETS; i++)
		if (want_name(m, NFT_KIND_SET, ruleset_set_names[i]))
			ruleset_set_text((enum ruleset_set)i, m->text);
	if (want_name(m, NFT_KIND_SET, "from4"))
		ruleset_from_text(false, m->text);
	if (want_name(m, NFT_KIND_SET, "from6"))
		ruleset_from_text(true, m->text);
	/* Doors lead to it; its rules come with the layout, before a packet gets there. */
	if (!names_has(&m->found[NFT_KIND_CHAIN], "refuse"))
		fputs("\tchain refuse {\n\t}\n", m->text);
	add_claim(m);
}

/* Nothing leads to any of it yet, so it may come in pieces. */
static enum err
add_missing(struct mend *m, struct why *why)
{
	enum err e = OK;

	text_begin(m);
	add_frame(m);
	for (size_t i = 0; i < m->t->plan->n && e == OK; i++) {
		add_missing_service(m, i);
		CHECK(fflush(m->text) == 0);
		if (m->n_words < TEXT_MAX)
			continue;
		fputs("}\n", m->text);
		e = text_run(m, why);
		text_begin(m);
		fprintf(m->text, "table inet %s {\n", m->t->plan->table);
	}
	fputs("}\n", m->text);
	if (e != OK)
		m->any = false;
	return text_run(m, why) != OK ? E_INTERNAL : e;
}

/* -- elements ------------------------------------------------------------------------ */

static bool
is_right(const struct nft_element *have, const struct nft_element *want)
{
	/* A timeout begins anew. */
	return have->value == want->value && have->mark == want->mark &&
	       strcmp(have->name, want->name) == 0 && !have->mortal && !want->mortal;
}

static void
make_chains(struct mend *m)
{
	for (size_t i = 0; i < m->n_chains; i++) {
		size_t service = m->chains[i].service;
		const struct ruleset_state *s = &m->t->services[service];

		if (m->chains[i].is_there && names_has(&m->found[NFT_KIND_RULE], s->next[m->chains[i].color]))
			nft_flush_chain(m->t->nft, s->next[m->chains[i].color]);
		(m->chains[i].is_there ? ruleset_color_chain_fill : ruleset_color_chain_add)(
			m->t->plan, service, ruleset_table_color(s->want, m->chains[i].color),
			s->want != NULL ? s->want->generation : 0, s->next[m->chains[i].color], m->t->nft);
	}
}

static enum err
change_elements(struct mend *m, struct why *why)
{
	struct ruleset_want *h = m->have.list, *h_end = h + m->have.n, *w, *w_end;
	struct ruleset_wants new = { .n = 0 };

	ruleset_wants_sort(&m->want);
	w = m->want.list;
	w_end = w + m->want.n;
	new.list = must_array(m->want.n + 1, sizeof(*new.list));
	nft_begin(m->t->nft, m->t->plan->table);
	make_chains(m);
	while (h < h_end || w < w_end) {
		int order = h == h_end ? 1 : w == w_end ? -1 : ruleset_want_compare(h, w);

		if (order == 0 && is_right(&h->e, &w->e)) {
			h++, w++;
			continue;
		}
		if (order <= 0) {
			nft_delete_element(m->t->nft, ruleset_set_names[h->set], &h->e);
			h++;
		}
		if (order >= 0)
			new.list[new.n++] = *w++;
	}
	for (size_t i = 0; i < new.n; i++)
		nft_add_element(m->t->nft, ruleset_set_names[new.list[i].set], &new.list[i].e,
				m->t->plan->max_age);
	ruleset_wants_free(&new);
	return nft_commit(m->t->nft, why);
}

/* -- the layout ----------------------------------------------------------------------- */

static void
on_layout_chain(void *arg, const char *name)
{
	struct mend *m = arg;

	names_add(&m->wanted[NFT_KIND_CHAIN], name);
	if (strncmp(name, RULESET_LAYOUT_MARK, strlen(RULESET_LAYOUT_MARK)) != 0)
		m->hurt |= names_count(&m->found[NFT_KIND_RULE], name) != rules_of(m->layout, name);
	if (names_has(&m->found[NFT_KIND_CHAIN], name))
		fprintf(m->text, "flush chain inet %s %s\n", m->t->plan->table, name);
}

static enum err
lay_out_table(struct mend *m, struct why *why)
{
	const struct ruleset_plan *p = m->t->plan;
	char mark[RULESET_NAME], *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	CHECK(f != NULL);
	ruleset_layout(p, NULL, NULL, mark, f);
	CHECK(fclose(f) == 0);
	m->layout = text;
	text_begin(m);
	ruleset_layout(p, on_layout_chain, m, mark, NULL);
	fprintf(m->text, "table inet %s {\n%s}\n", p->table, text);
	m->layout = NULL;
	free(text);
	m->any = !names_has(&m->found[NFT_KIND_CHAIN], mark);
	m->t->was_hurt |= m->hurt && !m->any;
	m->any |= m->hurt;
	return text_run(m, why);
}

/* -- the whole ------------------------------------------------------------------------- */

static void
note_waste(struct mend *m)
{
	m->t->n_waste = 0;
	for (int kind = 0; kind <= NFT_KIND_COUNTER; kind++) {
		names_sort(&m->wanted[kind]);
		for (size_t i = 0; i < m->found[kind].n; i++) {
			const char *name = m->found[kind].list[i];

			if (!names_has(&m->wanted[kind], name))
				ruleset_table_waste(m->t, (enum nft_kind)kind, name,
						    !names_has(&m->found[NFT_KIND_RULE], name));
		}
	}
}

static enum err
mend(struct mend *m, struct why *why)
{
	enum err e = look_at_table(m, why);

	if (e != OK || (e = add_missing(m, why)) != OK || (e = change_elements(m, why)) != OK)
		return e;
	return lay_out_table(m, why);
}

enum err
ruleset_table_mend(struct ruleset_table *t, struct why *why)
{
	struct mend m = { .t = t };
	enum err e = mend(&m, why);

	if (e == OK) {
		note_waste(&m);
		for (size_t i = 0; i < t->plan->n; i++)
			memcpy(t->services[i].chains, t->services[i].next, sizeof(t->services[i].chains));
		ruleset_table_done(t);
		t->is_known = true;
	}
	for (int kind = 0; kind <= NFT_KIND_COUNTER; kind++)
		names_free(&m.wanted[kind]);
	for (int kind = 0; kind <= NFT_KIND_RULE; kind++)
		names_free(&m.found[kind]);
	free(m.chains);
	ruleset_wants_free(&m.have);
	ruleset_wants_free(&m.want);
	return e;
}
