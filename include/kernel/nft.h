/* nft.h - the kernel's nftables, as far as the ruleset needs them: texts by
 * libnftables, names, elements and counters straight over netlink.
 *
 * libnftables reads half the table before it adds anything to it, which with a thousand
 * services takes 15 ms and more; a message of our own takes 0.1.  So what changes while services run
 * (elements, chains of backends) goes directly, and so do questions and deletions; the frame, which
 * is written at a start, goes as text.  Everything is of the inet family, in the network namespace of
 * the thread that opened it.
 *
 * Blocks for as long as the kernel does.  Thread: one at a time. */
#ifndef KERNEL_NFT_H
#define KERNEL_NFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "net/addr.h"

struct nft;

/* E_UNSUPPORTED when the kernel has no nftables; E_DENIED without CAP_NET_ADMIN. */
MUST_USE enum err nft_open(struct nft **out, struct why *why);
void nft_close(struct nft **np);
/* Whose changes are ours, in the kernel's news; those of texts have other ports. */
unsigned nft_port(const struct nft *n);

/* One transaction of commands as `nft -f` takes them.  E_INTERNAL with the first
 * complaint. */
MUST_USE enum err nft_run(struct nft *n, const char *text, struct why *why);

/* -- questions ----------------------------------------------------------------- */

/* The longest name of a table, chain, set or counter, with its NUL. */
#define NFT_NAME 256

struct nft_table {
	bool exists;
	char comment[129];	/* "": none */
};
MUST_USE enum err nft_table(struct nft *n, const char *table, struct nft_table *out, struct why *why);

/* Each table of the inet family, with its comment, "" for none. */
typedef void nft_table_fn(void *arg, const char *name, const char *comment);
MUST_USE enum err nft_tables(struct nft *n, nft_table_fn *tell, void *arg, struct why *why);
/* A number that each change of nftables, by any program, changes. */
MUST_USE enum err nft_generation(struct nft *n, uint32_t *out, struct why *why);

/* Of rules the name is that of their chain, once for each; they cannot be deleted by it. */
enum nft_kind { NFT_KIND_CHAIN, NFT_KIND_SET, NFT_KIND_COUNTER, NFT_KIND_RULE };

/* Calls tell for each that has a name of its own; packets are a counter's. */
typedef void nft_name_fn(void *arg, const char *name, uint64_t packets);
MUST_USE enum err nft_names(struct nft *n, const char *table, enum nft_kind kind, nft_name_fn *tell,
			    void *arg, struct why *why);

/* -- elements ------------------------------------------------------------------ */

/* As the kernel has it in registers: each part of a concatenation in network byte
 * order, padded to 4 bytes; a mark in the host's. */
#define NFT_KEY 24
enum nft_value { NFT_VALUE_NONE, NFT_VALUE_MARK, NFT_VALUE_JUMP, NFT_VALUE_COUNTER };

struct nft_element {
	uint8_t key[NFT_KEY];
	uint8_t key_len;
	uint8_t value;	/* enum nft_value */
	bool mortal;	/* it has a timeout */
	uint32_t mark;	/* NFT_VALUE_MARK */
	char name[NFT_NAME];	/* of the chain or counter, else "" */
};

typedef void nft_element_fn(void *arg, const struct nft_element *e);
/* Those that have not expired.  A set that does not exist has none. */
MUST_USE enum err nft_elements(struct nft *n, const char *table, const char *set, nft_element_fn *tell,
			       void *arg, struct why *why);

/* -- one transaction ----------------------------------------------------------- */

/* Begins one; what was left of another is dropped. */
void nft_begin(struct nft *n, const char *table);
/* The same; E_CONFLICT when anything of nftables was changed since it had that generation. */
void nft_begin_at(struct nft *n, const char *table, uint32_t generation);
/* The table itself, where there is none. */
void nft_add_table(struct nft *n, const char *comment);
/* timeout: seconds, where e is mortal. */
void nft_add_element(struct nft *n, const char *set, const struct nft_element *e, double timeout);
void nft_delete_element(struct nft *n, const char *set, const struct nft_element *e);

/* Where a rule sends new flows: to the addresses in turn, or by a hash of the client's. */
struct nft_turns {
	int family;	/* AF_INET or AF_INET6, of all of them */
	uint8_t protocol;	/* IPPROTO_TCP or IPPROTO_UDP */
	bool hash;
	uint32_t seed;	/* of the hash */
	const struct addr *const *list;	/* borrowed for the call */
	uint32_t n;	/* at least 1 */
};
/* One that exists is a conflict. */
void nft_add_chain(struct nft *n, const char *chain);
/* A rule at its end:
 *	meta nfproto … meta l4proto … dnat … to numgen inc mod n map { 0 : address . port, … } */
void nft_add_turns(struct nft *n, const char *chain, const struct nft_turns *t);

/* Takes its rules away. */
void nft_flush_chain(struct nft *n, const char *chain);
/* With its rules or elements. */
void nft_delete(struct nft *n, enum nft_kind kind, const char *name);
void nft_delete_table(struct nft *n);
/* All or nothing; nothing to do is OK.  E_CONFLICT when the table is not what was
 * thought (something was missing, or there already), else E_INTERNAL. */
MUST_USE enum err nft_commit(struct nft *n, struct why *why);

#endif
