/* claim_token.h - the token that a claim is known by: the job has it, the store only its
 * hash; and the name of a change of several services.  Any thread. */
#ifndef MODEL_CLAIM_TOKEN_H
#define MODEL_CLAIM_TOKEN_H

#include <stdbool.h>

#include "base/str.h"

#define CLAIM_TOKEN 33	/* with NUL: 128 random bits, in hex */
#define CLAIM_HASH 65	/* with NUL: SHA-256, in hex */

/* False when the kernel gives no random numbers. */
bool claim_token_new(char token[CLAIM_TOKEN]);
/* Of any text. */
void claim_hash(struct str token, char hash[CLAIM_HASH]);
/* Has it the shape of a hash?  What the store says may be anything. */
bool claim_is_hash(const char *text);

#define REVISION_WORD 9	/* with NUL: 32 random bits, in hex */

/* A new one.  False when the kernel gives no random numbers. */
bool revision_new(char revision[REVISION_WORD]);
/* Has it the shape of one? */
bool revision_is_word(struct str text);

#endif
