/* ruleset_layout.c - the table's frame: its sets, the chains that packets come
 * through first, and the whole as text.  Pure, any thread. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "kernel/ruleset_private.h"

#define KEY_WORDS4 "ipv4_addr . inet_proto . inet_service"
#define KEY_WORDS6 "ipv6_addr . inet_proto . inet_service"
#define KEY_WORDS_WILD "inet_proto . inet_service"

const char *const ruleset_set_names[RULESET_SETS] = {
	[SET_MAIN4] = "main4",		     [SET_MAIN6] = "main6",
	[SET_WILD4] = "wild4",		     [SET_WILD6] = "wild6",
	[SET_STALE4] = "stale4",	     [SET_STALE6] = "stale6",
	[SET_WILD_STALE4] = "wild_stale4",   [SET_WILD_STALE6] = "wild_stale6",
	[SET_PORTS4] = "wild_ports4",	     [SET_PORTS6] = "wild_ports6",
	[SET_LOCAL4] = "local4",	     [SET_LOCAL6] = "local6",
	[SET_WILD_LOCAL4] = "wild_local4",   [SET_WILD_LOCAL6] = "wild_local6",
	[SET_DOORS] = "doors",		     [SET_COLORS] = "colors",
	[SET_NO_BACKEND] = "no_backend",     [SET_STRAYS] = "strays",
	[SET_MASQUERADE] = "masqueraded",
	[SET_HERE4] = "here4",
	[SET_HERE6] = "here6",
	[SET_LIVE] = "live",
};

/* What conntrack tells of a connection: flows wants its birth and its removal. */
#define EVENTS "new,destroy"
/* The same and a change of the mark: 1 << IPCT_NEW | 1 << IPCT_DESTROY | 1 << IPCT_MARK.  nft lists such a number as
 * words, of which "mark" is one that its grammar has for something else: the list could not be loaded again. */
#define EVENTS_AND_MARK "numgen random mod 1 offset 133"
/* Seconds without a packet after which an established connection may have lost its client. */
#define SILENT 10

static const char *
key_words(enum ruleset_set set)
{
	switch (set) {
	case SET_MAIN4:
	case SET_STALE4:
	case SET_LOCAL4:
	case SET_HERE4:
		return "ipv4_addr . inet_proto . inet_service";
	case SET_MAIN6:
	case SET_STALE6:
	case SET_LOCAL6:
	case SET_HERE6:
		return "ipv6_addr . inet_proto . inet_service";
	case SET_WILD4:
	case SET_WILD6:
	case SET_WILD_STALE4:
	case SET_WILD_STALE6:
	case SET_PORTS4:
	case SET_PORTS6:
	case SET_WILD_LOCAL4:
	case SET_WILD_LOCAL6:
		return "inet_proto . inet_service";
	case SET_DOORS:
	case SET_COLORS:
	case SET_NO_BACKEND:
	case SET_STRAYS:
	case SET_MASQUERADE:
	case SET_LIVE:
		return "mark";
	}
	return "";
}

/* "": it is a set, no map. */
static const char *
value_word(enum ruleset_set set)
{
	switch (set) {
	case SET_MAIN4:
	case SET_MAIN6:
	case SET_WILD4:
	case SET_WILD6:
		return "mark";
	case SET_STALE4:
	case SET_STALE6:
	case SET_WILD_STALE4:
	case SET_WILD_STALE6:
	case SET_NO_BACKEND:
	case SET_STRAYS:
		return "counter";
	case SET_DOORS:
	case SET_COLORS:
		return "verdict";
	case SET_PORTS4:
	case SET_PORTS6:
	case SET_LOCAL4:
	case SET_LOCAL6:
	case SET_WILD_LOCAL4:
	case SET_WILD_LOCAL6:
	case SET_HERE4:
	case SET_HERE6:
	case SET_MASQUERADE:
	case SET_LIVE:
		break;
	}
	return "";
}

void
ruleset_set_text(enum ruleset_set set, FILE *out)
{
	const char *value = value_word(set);

	fprintf(out, "\t%s %s {\n\t\ttype %s%s%s;%s\n\t}\n", value[0] != '\0' ? "map" : "set",
		ruleset_set_names[set], key_words(set), value[0] != '\0' ? " : " : "", value,
		ruleset_set_is_mortal(set) ? " flags timeout;" : "");
}

void
ruleset_from_text(bool v6, FILE *out)
{
	fprintf(out, "\tset from%c {\n\t\ttype %s; size 65536; flags dynamic,timeout; timeout 1d;\n\t}\n",
		v6 ? '6' : '4', key_words(v6 ? SET_HERE6 : SET_HERE4));
}

/* -- the chains that packets come through ---------------------------------------------- */

/* What there is among all services: rules for what there is not would cost, too. */
struct features {
	bool v4, v6, wild4, wild6, local, doors, masquerade, tcp;
};

static void
look_at(struct features *f, const struct addr *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool wild = addr_is_any(&list[i]);

		if (addr_family(&list[i]) == AF_INET)
			*(wild ? &f->wild4 : &f->v4) = true;
		else if (addr_family(&list[i]) == AF_INET6)
			*(wild ? &f->wild6 : &f->v6) = true;
	}
}

static struct features
features_of(const struct ruleset_plan *p)
{
	struct features f = { .v4 = false };

	for (size_t i = 0; i < p->n; i++) {
		const struct ruleset_service *s = &p->services[i];
		char door[RULESET_NAME];

		look_at(&f, s->listen, s->n_listen);
		look_at(&f, s->preview, s->n_preview);
		ruleset_door_chain(p, i, door, NULL);
		f.doors |= door[0] != '\0';
		f.local |= s->local_clients;
		f.masquerade |= !s->transparent;
		f.tcp |= s->mode != MODE_UDP;
	}
	return f;
}

struct layout {
	FILE *f;
	ruleset_name_fn *tell;
	void *arg;
};

static void
chain(struct layout *l, const char *name)
{
	fprintf(l->f, "\tchain %s {\n", name);
	if (l->tell != NULL)
		l->tell(l->arg, name);
}

static void
end_chain(struct layout *l)
{
	fputs("\t}\n", l->f);
}

/* Packets that conntrack takes for no connection's, because they are old or too far ahead.  They are not
 * translated, so this host's own stack would get them, find no socket, and reset the client's connection,
 * or the backend's.  The sender sends them again if they matter. */
static void
write_odd(struct layout *l, const struct features *f)
{
	chain(l, "odd");
	if (f->v4)
		fputs("\t\tip daddr . meta l4proto . th dport @here4 drop\n", l->f);
	if (f->v6)
		fputs("\t\tip6 daddr . meta l4proto . th dport @here6 drop\n", l->f);
	if (f->wild4)
		fputs("\t\tmeta nfproto ipv4 meta l4proto . th dport @wild_ports4 fib daddr type local drop\n",
		      l->f);
	if (f->wild6)
		fputs("\t\tmeta nfproto ipv6 meta l4proto . th dport @wild_ports6 fib daddr type local drop\n",
		      l->f);
	if (f->masquerade) {
		fputs("\t\tip saddr . meta l4proto . th sport @from4 fib daddr type local drop\n", l->f);
		fputs("\t\tip6 saddr . meta l4proto . th sport @from6 fib daddr type local drop\n", l->f);
	}
	end_chain(l);
}

/* A SYN of a connection that is known already and is not where new ones go any more.
 *
 * A client may come from a port that it had a moment ago, while conntrack still knows the last connection
 * of that port: one without an answer, one whose client vanished without FIN or RST, or one that has
 * ended with the backend's packet the last.  The new one would go where that one went, so its SYN is lost;
 * and the mark asks flows to take the old entry out, so that the next SYN begins anew.
 *
 * Not so where the SYN may be a late copy of the one that began a living connection: while the handshake
 * is under way, and while packets have come of late.  Such a SYN gives an entry no new time. */
static void
write_again(struct layout *l, const struct ruleset_plan *p)
{
	chain(l, "reused");
	fprintf(l->f, "\t\tct mark set ct mark & 0x%08x | 0x%08x drop\n", ~(MARK_LEFT | MARK_OVER), MARK_OVER);
	end_chain(l);
	chain(l, "again");
	fprintf(l->f, "\t\tct mark & 0x%08x == @live return\n", ~(MARK_GENERATION | MARK_LEFT | MARK_OVER));
	fputs("\t\tct state new goto reused\n", l->f);
	fprintf(l->f, "\t\tct status assured ct expiration < %us goto reused\n",
		p->established > 2 * SILENT ? p->established - SILENT : SILENT);
	fputs("\t\tdrop\n", l->f);
	end_chain(l);
}

/* The first packet of a connection and its last ones.
 *
 * Conntrack is to tell of the end, once, for each telling costs as much as a lookup:
 * where the client ended its side first, as most do, by a bit of the mark that the
 * backend's FIN sets; else by the state, from the backend's FIN on, for one of the steps that
 * follow is the last.  Those before are of no interest. */
static void
write_edge(struct layout *l, const struct ruleset_plan *p)
{
	const unsigned tag = (unsigned)p->tag << 24, left = MARK_TAG | MARK_LEFT;

	chain(l, "edge");
	fprintf(l->f,
		"\t\ttcp flags & (fin|syn|rst|ack) == syn ct mark & 0x%08x == 0x%08x ct direction original goto "
		"again\n",
		MARK_TAG, tag);
	fprintf(l->f,
		"\t\ttcp flags & rst == rst ct mark & 0x%08x == 0x%08x ct event set " EVENTS ",protoinfo\n",
		MARK_TAG, tag);
	fprintf(l->f,
		"\t\ttcp flags & fin == fin ct direction original ct mark & 0x%08x == 0x%08x "
		"ct mark set ct mark | 0x%08x return\n",
		MARK_TAG, tag, MARK_LEFT);
	fprintf(l->f,
		"\t\ttcp flags & fin == fin ct direction reply ct mark & 0x%08x == 0x%08x "
		"ct event set " EVENTS_AND_MARK " ct mark set ct mark | 0x%08x return\n",
		left, tag | MARK_LEFT, MARK_OVER);
	fprintf(l->f,
		"\t\ttcp flags & fin == fin ct direction reply ct mark & 0x%08x == 0x%08x ct event set " EVENTS
		",protoinfo\n",
		MARK_TAG, tag);
	end_chain(l);
}

/* The kernel tries few of an address' ports before it gives up, so each flow has the next address. */
static void
write_sources(struct layout *l, const struct ruleset_plan *p, int family)
{
	char text[INET6_ADDRSTRLEN];
	size_t n = 0;

	for (size_t i = 0; i < p->n_sources; i++)
		n += addr_family(&p->sources[i]) == family;
	if (n == 0)
		return;
	fprintf(l->f, "\t\tmeta nfproto %s snat %s to numgen inc mod %zu map { ", family == AF_INET ? "ipv4" : "ipv6",
		family == AF_INET ? "ip" : "ip6", n);
	n = 0;
	for (size_t i = 0; i < p->n_sources; i++) {
		const struct addr *a = &p->sources[i];

		if (addr_family(a) != family)
			continue;
		inet_ntop(family, family == AF_INET ? (const void *)&a->u.in.sin_addr : &a->u.in6.sin6_addr, text, sizeof(text));
		fprintf(l->f, "%s%zu : %s", n > 0 ? ", " : "", n, text);
		n++;
	}
	fputs(" }\n", l->f);
}

static void
write_inner(struct layout *l, const struct ruleset_plan *p, const struct features *f)
{
	if (f->tcp) {
		write_again(l, p);
		write_edge(l, p);
		write_odd(l, f);
	}
	if (f->masquerade) {
		chain(l, "hide");
		fputs("\t\tupdate @from4 { ip daddr . meta l4proto . th dport }\n", l->f);
		fputs("\t\tupdate @from6 { ip6 daddr . meta l4proto . th dport }\n", l->f);
		write_sources(l, p, AF_INET);
		write_sources(l, p, AF_INET6);
		fputs("\t\tmasquerade\n", l->f);
		end_chain(l);
	}
	chain(l, "refuse");
	fputs("\t\tmeta l4proto tcp reject with tcp reset\n", l->f);
	fputs("\t\treject with icmpx port-unreachable\n", l->f);
	end_chain(l);
	chain(l, "stray");
	fprintf(l->f, "\t\tcounter name ct mark & 0x%08x map @strays\n", MARK_SERVICE);
	fputs("\t\treject with tcp reset\n", l->f);
	end_chain(l);
	chain(l, "door");
	/* A connection that another program of this host had at the address before there were rules, and that
	 * conntrack did not know: it has a socket here. */
	if (p->sockets)
		fputs("\t\tmeta l4proto tcp tcp flags & (fin|syn|rst|ack) != syn socket wildcard 0 ct mark set 0x00000000 accept\n",
		      l->f);
	fputs("\t\tmeta l4proto tcp tcp flags & (fin|syn|rst|ack) != syn goto stray\n", l->f);
	if (f->doors)
		fprintf(l->f, "\t\tct mark & 0x%08x vmap @doors\n", MARK_SERVICE | MARK_ENTRANCE);
	/* Twice: while the kernel finishes a transaction a look may find nothing where
	 * something was and something is.  The second one begins after that. */
	fputs("\t\tct event set " EVENTS "\n", l->f);
	for (int i = 0; i < 2; i++)
		fprintf(l->f, "\t\tct mark & 0x%08x vmap @colors\n", MARK_SERVICE | MARK_COLOR);
	fprintf(l->f, "\t\tcounter name ct mark & 0x%08x map @no_backend\n", MARK_SERVICE);
	fputs("\t\tgoto refuse\n", l->f);
	end_chain(l);
}

static void
write_wild(struct layout *l, bool is_on, const char *family)
{
	char name[16];

	if (!is_on)
		return;
	snprintf(name, sizeof(name), "wild%s", family);
	chain(l, name);
	for (int i = 0; i < 2; i++)
		fprintf(l->f, "\t\tct mark set meta l4proto . th dport map @wild%s goto door\n", family);
	fprintf(l->f, "\t\tcounter name meta l4proto . th dport map @wild_stale%s goto refuse\n", family);
	end_chain(l);
}

static void
write_arrive(struct layout *l, const struct features *f)
{
	static const struct {
		const char *family, *address, *nfproto;
	} families[] = { { "4", "ip daddr", "ipv4" }, { "6", "ip6 daddr", "ipv6" } };
	const bool here[] = { f->v4, f->v6 }, wild[] = { f->wild4, f->wild6 };

	chain(l, "arrive");
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		const char *family = families[i].family, *address = families[i].address;

		for (int k = 0; k < 2 && here[i]; k++)
			fprintf(l->f, "\t\tct mark set %s . meta l4proto . th dport map @main%s goto door\n",
				address, family);
		if (here[i])
			fprintf(l->f,
				"\t\tcounter name %s . meta l4proto . th dport map @stale%s goto refuse\n",
				address, family);
		if (wild[i])
			fprintf(l->f,
				"\t\tmeta nfproto %s meta l4proto . th dport @wild_ports%s fib daddr type local "
				"goto wild%s\n",
				families[i].nfproto, family, family);
	}
	end_chain(l);
}

#define EDGE "\t\ttcp flags & (fin|syn|rst) != 0 jump edge\n"

/* The only rules that every packet sees. */
static void
write_watch(struct layout *l)
{
	chain(l, "watch_prerouting");
	fputs("\t\ttype filter hook prerouting priority -150; policy accept;\n" EDGE, l->f);
	fputs("\t\tct state invalid meta l4proto tcp goto odd\n", l->f);
	end_chain(l);
	/* Clients of this host, and what ends at backends of this host. */
	chain(l, "watch_output");
	fputs("\t\ttype filter hook output priority -150; policy accept;\n" EDGE, l->f);
	end_chain(l);
}

/* A little before others' at the same place (Docker's, kube-proxy's): who has the address of a
 * service in his table is to have it. */
static void
write_hooks(struct layout *l, const struct features *f)
{
	if (f->tcp)
		write_watch(l);
	chain(l, "prerouting");
	fputs("\t\ttype nat hook prerouting priority dstnat - 10; policy accept;\n\t\tgoto arrive\n", l->f);
	end_chain(l);
	if (f->local) {
		chain(l, "output");
		fputs("\t\ttype nat hook output priority -110; policy accept;\n", l->f);
		fputs("\t\tip daddr . meta l4proto . th dport @local4 goto arrive\n", l->f);
		fputs("\t\tip6 daddr . meta l4proto . th dport @local6 goto arrive\n", l->f);
		/* Not those of the loopback: the kernel does not route what is from there. */
		fputs("\t\tip daddr != 127.0.0.0/8 meta l4proto . th dport @wild_local4 fib daddr type local "
		      "goto arrive\n",
		      l->f);
		fputs("\t\tip6 daddr != ::1 meta l4proto . th dport @wild_local6 fib daddr type local goto arrive\n",
		      l->f);
		end_chain(l);
	}
	if (f->masquerade) {
		chain(l, "postrouting");
		fputs("\t\ttype nat hook postrouting priority srcnat - 10; policy accept;\n", l->f);
		fprintf(l->f, "\t\tct status dnat ct mark & 0x%08x @masqueraded goto hide\n",
			MARK_TAG | MARK_SERVICE);
		end_chain(l);
	}
}

void
ruleset_layout(const struct ruleset_plan *p, ruleset_name_fn *tell, void *arg, char mark[RULESET_NAME],
	       FILE *out)
{
	struct features f = features_of(p);
	char *text = NULL;
	size_t n = 0;
	struct layout l = { .tell = tell, .arg = arg, .f = open_memstream(&text, &n) };

	CHECK(l.f != NULL);
	write_inner(&l, p, &f);
	write_wild(&l, f.wild4, "4");
	write_wild(&l, f.wild6, "6");
	write_arrive(&l, &f);
	write_hooks(&l, &f);
	CHECK(fclose(l.f) == 0);
	snprintf(mark, RULESET_NAME, RULESET_LAYOUT_MARK "%016llx",
		 (unsigned long long)hash_bytes(text, n, 0));
	if (tell != NULL)
		tell(arg, mark);
	if (out != NULL)
		fprintf(out, "%s\tchain %s {\n\t}\n", text, mark);
	free(text);
}

/* -- elements as text ------------------------------------------------------------------ */

static void
write_key(enum ruleset_set set, const struct nft_element *e, FILE *out)
{
	const uint8_t *p = e->key;
	char text[INET6_ADDRSTRLEN];
	uint32_t mark;

	if (set >= SET_DOORS) {
		memcpy(&mark, e->key, sizeof(mark));
		fprintf(out, "0x%08x", mark);
		return;
	}
	if (e->key_len > 8) {
		inet_ntop(e->key_len > 12 ? AF_INET6 : AF_INET, p, text, sizeof(text));
		fprintf(out, "%s . ", text);
		p += e->key_len > 12 ? 16 : 4;
	}
	fprintf(out, "%s . %u", p[0] == IPPROTO_UDP ? "udp" : "tcp", p[4] << 8 | p[5]);
}

void
ruleset_element_text(const struct ruleset_plan *p, enum ruleset_set set, const struct nft_element *e,
		     FILE *out)
{
	write_key(set, e, out);
	if (e->mortal)
		fprintf(out, " timeout %.0fms", p->max_age * 1000);
	switch ((enum nft_value)e->value) {
	case NFT_VALUE_NONE:
		break;
	case NFT_VALUE_MARK:
		fprintf(out, " : 0x%08x", e->mark);
		break;
	case NFT_VALUE_JUMP:
		fprintf(out, " : jump %s", e->name);
		break;
	case NFT_VALUE_COUNTER:
		fprintf(out, " : \"%s\"", e->name);
		break;
	}
}

/* -- the whole ------------------------------------------------------------------------- */

static const struct snapshot_color no_backends;

static void
print_elements(const struct ruleset_plan *p, const struct ruleset_wants *w, FILE *out)
{
	for (size_t i = 0; i < w->n; i++) {
		bool first = i == 0 || w->list[i - 1].set != w->list[i].set;
		bool last = i + 1 == w->n || w->list[i + 1].set != w->list[i].set;

		if (first)
			fprintf(out, "add element inet %s %s {\n", p->table,
				ruleset_set_names[w->list[i].set]);
		fputc('\t', out);
		ruleset_element_text(p, (enum ruleset_set)w->list[i].set, &w->list[i].e, out);
		fputs(last ? "\n}\n" : ",\n", out);
	}
}

static void
print_service(const struct ruleset_plan *p, size_t i, const struct snapshot *snapshot,
	      struct ruleset_wants *wants, FILE *out)
{
	char name[RULESET_NAME];

	ruleset_service_things(p, i, NULL, NULL, out);
	ruleset_door_chain(p, i, name, out);
	ruleset_want_fixed(p, i, name, wants);
	for (int c = 0; c < COLORS; c++) {
		ruleset_color_chain(p, i, (enum color)c,
				    snapshot != NULL ? &snapshot->colors[c] : &no_backends, 0, name, out);
		ruleset_want_color(p, i, (enum color)c, name, wants);
	}
	ruleset_want_marks(p, i, snapshot, wants);
}

void
ruleset_print(const struct ruleset_config *config, struct snapshot *const *snapshots, FILE *out)
{
	struct ruleset_wants wants = { .n = 0 };
	struct ruleset_plan p;
	char mark[RULESET_NAME];

	ruleset_plan_init(&p, config);
	ruleset_plan_number(&p, NULL);
	fprintf(out, "table inet %s {\n\tcomment \"%s\"\n", p.table, p.comment);
	for (int i = 0; i < RULESET_SETS; i++)
		ruleset_set_text((enum ruleset_set)i, out);
	ruleset_from_text(false, out);
	ruleset_from_text(true, out);
	for (size_t i = 0; i < p.n; i++)
		print_service(&p, i, snapshots != NULL ? snapshots[i] : NULL, &wants, out);
	ruleset_layout(&p, NULL, NULL, mark, out);
	fputs("}\n", out);
	ruleset_wants_sort(&wants);
	print_elements(&p, &wants, out);
	ruleset_wants_free(&wants);
	ruleset_plan_free(&p);
}
