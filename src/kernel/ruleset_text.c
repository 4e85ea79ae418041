/* ruleset_text.c - the chains and sets of services, as nft takes them.  Pure, any
 * thread.  The layout that they hang in is ruleset_layout.c's. */
#include <arpa/inet.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "kernel/ruleset_private.h"

/* Of the hash of clients; any, but the same at every Teal. */
#define SOURCE_SEED 0x7465616c
/* Sources that a set remembers; the kernel forgets none early, so that those who come
 * when it is full are not limited. */
#define SOURCES 65536

/* A text that becomes part of a name before it is written. */
struct draft {
	char *text;
	size_t n;
	FILE *f;
};

static void
draft_begin(struct draft *d)
{
	d->f = open_memstream(&d->text, &d->n);
	CHECK(d->f != NULL);
}

/* Ends the text; its hash. */
static uint64_t
draft_end(struct draft *d)
{
	CHECK(fclose(d->f) == 0);
	return hash_bytes(d->text, d->n, 0);
}

/* -- a color's backends ----------------------------------------------------------- */

static const char *
protocol(const struct ruleset_service *s)
{
	return s->mode == MODE_UDP ? "udp" : "tcp";
}

/* "10.0.0.1 . 80", as maps have it. */
static void
write_backend(const struct addr *a, FILE *out)
{
	char text[INET6_ADDRSTRLEN];

	if (addr_family(a) == AF_INET)
		inet_ntop(AF_INET, &a->u.in.sin_addr, text, sizeof(text));
	else
		inet_ntop(AF_INET6, &a->u.in6.sin6_addr, text, sizeof(text));
	fprintf(out, "%s . %u", text, addr_port(a));
}

static void
write_family(const struct ruleset_service *s, const struct snapshot_color *sc, int family, uint64_t turn,
	     FILE *out)
{
	const char *ip = family == AF_INET ? "ip" : "ip6";
	struct ruleset_slots slots;

	ruleset_slots_make(&slots, sc, family, s->source_hash);
	if (slots.n == 0)
		return;
	fprintf(out, "\t\tmeta nfproto %s meta l4proto %s dnat %s to ", family == AF_INET ? "ipv4" : "ipv6",
		protocol(s), ip);
	if (slots.hash)
		fprintf(out, "jhash %s saddr mod %u seed 0x%08x", ip, slots.n, SOURCE_SEED);
	else
		fprintf(out, "numgen inc mod %u", slots.n);
	fputs(" map { ", out);
	for (unsigned i = 0; i < slots.n; i++) {
		fprintf(out, "%s%u : ", i > 0 ? ", " : "", i);
		write_backend(&sc->usable[ruleset_slots_at(&slots, i, turn)]->address, out);
	}
	fputs(" }\n", out);
	ruleset_slots_free(&slots);
}

static void
write_color(const struct ruleset_service *s, const struct snapshot_color *sc, uint64_t turn, FILE *out)
{
	write_family(s, sc, AF_INET, turn, out);
	write_family(s, sc, AF_INET6, turn, out);
}

void
ruleset_color_chain(const struct ruleset_plan *p, size_t service, enum color color,
		    const struct snapshot_color *sc, uint64_t turn, char name[RULESET_NAME], FILE *out)
{
	const struct ruleset_service *s = &p->services[service];
	struct draft d;

	draft_begin(&d);
	write_color(s, sc, 0, d.f);
	snprintf(name, RULESET_NAME, "c%u_%s_%016llx", p->numbers[service], color_word(color),
		 (unsigned long long)draft_end(&d));
	free(d.text);
	if (out == NULL)
		return;
	fprintf(out, "\tchain %s {\n", name);
	write_color(s, sc, turn, out);
	fputs("\t}\n", out);
}

static void
add_family(const struct ruleset_service *s, const struct snapshot_color *sc, int family, uint64_t turn,
	   const char *name, struct nft *nft)
{
	struct nft_turns t = { .family = family,
			       .protocol = s->mode == MODE_UDP ? IPPROTO_UDP : IPPROTO_TCP,
			       .seed = SOURCE_SEED };
	struct ruleset_slots slots;
	const struct addr **list;

	ruleset_slots_make(&slots, sc, family, s->source_hash);
	if (slots.n == 0)
		return;
	list = must_array(slots.n, sizeof(*list));
	for (unsigned i = 0; i < slots.n; i++)
		list[i] = &sc->usable[ruleset_slots_at(&slots, i, turn)]->address;
	t.hash = slots.hash;
	t.list = list;
	t.n = slots.n;
	nft_add_turns(nft, name, &t);
	free(list);
	ruleset_slots_free(&slots);
}

void
ruleset_color_chain_add(const struct ruleset_plan *p, size_t service, const struct snapshot_color *sc,
			uint64_t turn, const char *name, struct nft *nft)
{
	nft_add_chain(nft, name);
	ruleset_color_chain_fill(p, service, sc, turn, name, nft);
}

void
ruleset_color_chain_fill(const struct ruleset_plan *p, size_t service, const struct snapshot_color *sc,
			 uint64_t turn, const char *name, struct nft *nft)
{
	add_family(&p->services[service], sc, AF_INET, turn, name, nft);
	add_family(&p->services[service], sc, AF_INET6, turn, name, nft);
}

/* One for each family that has a place in the round. */
size_t
ruleset_color_rules(const struct ruleset_plan *p, size_t service, const struct snapshot_color *sc)
{
	static const int families[] = { AF_INET, AF_INET6 };
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct ruleset_slots slots;

		ruleset_slots_make(&slots, sc, families[i], p->services[service].source_hash);
		if (slots.n == 0)
			continue;
		n++;
		ruleset_slots_free(&slots);
	}
	return n;
}

/* -- doors -------------------------------------------------------------------------- */

static const char *
refusal_word(enum ruleset_refusal r)
{
	return ending_word(ruleset_refusal_ending(r));
}

static void
write_refusal(const struct ruleset_plan *p, size_t service, enum ruleset_refusal r, FILE *out)
{
	fprintf(out, "counter name \"n%u/%s/%s\" goto refuse\n", p->numbers[service],
		p->services[service].name, refusal_word(r));
}

/* How many of the family there are, and whether one of them is all of it. */
static size_t
count_family(const struct cidr_set *set, int family, bool *all)
{
	size_t n = 0;

	*all = false;
	for (size_t i = 0; i < set->n; i++) {
		if (set->list[i].family != family)
			continue;
		*all |= set->list[i].bits == 0;
		n++;
	}
	return n;
}

static void
write_networks(const struct cidr_set *set, int family, FILE *out)
{
	char text[CIDR_TEXT];
	size_t n = 0;

	fputs("{ ", out);
	for (size_t i = 0; i < set->n; i++)
		if (set->list[i].family == family)
			fprintf(out, "%s%s", n++ > 0 ? ", " : "", cidr_format(&set->list[i], text));
	fputs(" } ", out);
}

static void
write_lists(const struct ruleset_plan *p, size_t service, int family, FILE *out)
{
	const struct limits_config *l = p->services[service].limits;
	const char *nfproto = family == AF_INET ? "ipv4" : "ipv6", *ip = family == AF_INET ? "ip" : "ip6";
	bool all;
	size_t n = count_family(&l->deny, family, &all);

	if (n > 0) {
		fprintf(out, "\t\tmeta nfproto %s ", nfproto);
		if (!all) {
			fprintf(out, "%s saddr ", ip);
			write_networks(&l->deny, family, out);
		}
		write_refusal(p, service, REFUSED_DENIED, out);
	}
	if (cidr_set_is_empty(&l->allow))
		return;
	n = count_family(&l->allow, family, &all);
	if (all)
		return;
	fprintf(out, "\t\tmeta nfproto %s ", nfproto);
	if (n > 0) {
		fprintf(out, "%s saddr != ", ip);
		write_networks(&l->allow, family, out);
	}
	write_refusal(p, service, REFUSED_DENIED, out);
}

/* What makes a source of a packet: "ip saddr", or a part of "ip6 saddr". */
static void
write_source(const struct limits_config *l, int family, FILE *out)
{
	uint8_t mask[16] = { 0 };
	char text[INET6_ADDRSTRLEN];

	fputs(family == AF_INET ? "ip saddr" : "ip6 saddr", out);
	if (family == AF_INET || l->source_prefix6 == 0 || l->source_prefix6 >= 128)
		return;
	for (unsigned bit = 0; bit < l->source_prefix6; bit++)
		mask[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	fprintf(out, " & %s", inet_ntop(AF_INET6, mask, text, sizeof(text)));
}

/* nft counts whole packets in whole units of time: the shortest in which the rate is
 * right within a percent. */
static void
write_rate(const struct source_rate *r, FILE *out)
{
	static const struct {
		const char *word;
		double seconds;
	} units[] = { { "second", 1 }, { "minute", 60 }, { "hour", 3600 }, { "day", 86400 } };
	double rate = 1;
	size_t i;

	for (i = 0; i + 1 < ARRAY_LEN(units); i++) {
		rate = r->per_second * units[i].seconds;
		if (rate >= 1 && fabs(round(rate) - rate) <= rate / 100)
			break;
	}
	rate = round(r->per_second * units[i].seconds);
	fprintf(out, "limit rate over %.0f/%s burst %.0f packets", rate >= 1 ? rate : 1.0, units[i].word,
		r->burst >= 1 ? floor(r->burst) : 1.0);
}

static bool
has_rate(const struct ruleset_service *s)
{
	return s->limits != NULL && s->limits->source_rate.burst > 0;
}

static bool
has_count(const struct ruleset_service *s)
{
	return s->limits != NULL && s->limits->per_source > 0;
}

/* Dynamic sets are named after what they hold to, because elements carry the limit they
 * were made with. */
static void
rate_name(const struct ruleset_plan *p, size_t service, int family, char name[RULESET_NAME])
{
	const struct limits_config *l = p->services[service].limits;
	struct {
		double burst, per_second;
		uint64_t prefix;
	} key = { l->source_rate.burst, l->source_rate.per_second, l->source_prefix6 };

	snprintf(name, RULESET_NAME, "r%u_rate%c_%08x", p->numbers[service], family == AF_INET ? '4' : '6',
		 (unsigned)hash_bytes(&key, sizeof(key), 0));
}

static void
count_name(const struct ruleset_plan *p, size_t service, int family, char name[RULESET_NAME])
{
	const struct limits_config *l = p->services[service].limits;

	snprintf(name, RULESET_NAME, "r%u_count%c_%u_%u", p->numbers[service], family == AF_INET ? '4' : '6',
		 l->per_source, l->source_prefix6);
}

static void
write_source_limits(const struct ruleset_plan *p, size_t service, int family, FILE *out)
{
	const struct ruleset_service *s = &p->services[service];
	const char *nfproto = family == AF_INET ? "ipv4" : "ipv6";
	char name[RULESET_NAME];

	if (has_rate(s)) {
		rate_name(p, service, family, name);
		fprintf(out, "\t\tmeta nfproto %s update @%s { ", nfproto, name);
		write_source(s->limits, family, out);
		fputc(' ', out);
		write_rate(&s->limits->source_rate, out);
		fputs(" } ", out);
		write_refusal(p, service, REFUSED_SOURCE_RATE, out);
	}
	if (has_count(s)) {
		count_name(p, service, family, name);
		fprintf(out, "\t\tmeta nfproto %s add @%s { ", nfproto, name);
		write_source(s->limits, family, out);
		fprintf(out, " ct count over %u } ", s->limits->per_source);
		write_refusal(p, service, REFUSED_SOURCE_LIMIT, out);
	}
}

static void
write_door(const struct ruleset_plan *p, size_t service, FILE *out)
{
	const struct ruleset_service *s = &p->services[service];

	if (s->limits == NULL)
		return;
	write_lists(p, service, AF_INET, out);
	write_lists(p, service, AF_INET6, out);
	if (!has_rate(s) && !has_count(s))
		return;
	/* To previews only the networks matter. */
	fprintf(out, "\t\tct mark & 0x%08x == 0x%08x return\n", MARK_ENTRANCE, MARK_ENTRANCE);
	write_source_limits(p, service, AF_INET, out);
	write_source_limits(p, service, AF_INET6, out);
}

void
ruleset_door_chain(const struct ruleset_plan *p, size_t service, char name[RULESET_NAME], FILE *out)
{
	struct draft d;
	uint64_t hash;

	draft_begin(&d);
	write_door(p, service, d.f);
	hash = draft_end(&d);
	name[0] = '\0';
	if (d.n > 0) {
		snprintf(name, RULESET_NAME, "d%u_%016llx", p->numbers[service], (unsigned long long)hash);
		if (out != NULL)
			fprintf(out, "\tchain %s {\n%s\t}\n", name, d.text);
	}
	free(d.text);
}

/* -- sets and counters -------------------------------------------------------------- */

static void
write_dynamic(const struct ruleset_plan *p, size_t service, int family, ruleset_thing_fn *is_wanted,
	      void *arg, FILE *out)
{
	const struct ruleset_service *s = &p->services[service];
	const char *type = family == AF_INET ? "ipv4_addr" : "ipv6_addr";
	char name[RULESET_NAME];

	if (has_rate(s)) {
		const struct source_rate *r = &s->limits->source_rate;
		/* When all tokens are back nothing is lost by forgetting. */
		double whole = ceil(r->burst / r->per_second) + 1;

		rate_name(p, service, family, name);
		if (is_wanted(arg, NFT_KIND_SET, name))
			fprintf(out,
				"\tset %s {\n\t\ttype %s; size %u; flags dynamic,timeout; timeout %.0fs;\n\t}\n",
				name, type, SOURCES, whole < 86400 ? whole : 86400);
	}
	if (has_count(s)) {
		count_name(p, service, family, name);
		if (is_wanted(arg, NFT_KIND_SET, name))
			fprintf(out, "\tset %s {\n\t\ttype %s; size %u; flags dynamic;\n\t}\n", name, type,
				SOURCES);
	}
}

static bool
refusal_is_counted(const struct ruleset_service *s, enum ruleset_refusal r)
{
	switch (r) {
	case REFUSED_DENIED:
		return s->limits != NULL &&
		       (!cidr_set_is_empty(&s->limits->allow) || !cidr_set_is_empty(&s->limits->deny));
	case REFUSED_SOURCE_LIMIT:
		return has_count(s);
	case REFUSED_SOURCE_RATE:
		return has_rate(s);
	case REFUSED_NO_BACKEND:
	case REFUSED_STALE:
		return true;
	}
	return false;
}

static void
write_counter(const struct ruleset_plan *p, size_t service, const char *word, ruleset_thing_fn *is_wanted,
	      void *arg, FILE *out)
{
	char name[NFT_NAME];

	snprintf(name, sizeof(name), "n%u/%s/%s", p->numbers[service], p->services[service].name, word);
	if (is_wanted(arg, NFT_KIND_COUNTER, name))
		fprintf(out, "\tcounter %s {\n\t}\n", name);
}

static bool
everything(void *arg, enum nft_kind kind, const char *name)
{
	(void)arg, (void)kind, (void)name;
	return true;
}

void
ruleset_service_things(const struct ruleset_plan *p, size_t service, ruleset_thing_fn *is_wanted, void *arg,
		       FILE *out)
{
	if (is_wanted == NULL)
		is_wanted = everything;
	for (unsigned r = 0; r < RULESET_REFUSALS; r++)
		if (refusal_is_counted(&p->services[service], (enum ruleset_refusal)r))
			write_counter(p, service, refusal_word((enum ruleset_refusal)r), is_wanted, arg, out);
	write_counter(p, service, "stray", is_wanted, arg, out);
	write_dynamic(p, service, AF_INET, is_wanted, arg, out);
	write_dynamic(p, service, AF_INET6, is_wanted, arg, out);
}
