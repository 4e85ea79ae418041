/* claim_token.h - the token of a claim from where no list of processes shows it: standard input, or
 * the environment (TEAL_CLAIM_TOKEN).  One thread. */
#ifndef APP_TEALCTL_CLAIM_TOKEN_H
#define APP_TEALCTL_CLAIM_TOKEN_H

#include "base/err.h"
#include "base/str.h"

/* Bytes of the word --token=…, with its end. */
#define CLAIM_TOKEN_WORD 160

/* That word; value NULL: the token is the first line of standard input.  E_USAGE: it is none. */
MUST_USE enum err claim_token_word(const char *value, char out[CLAIM_TOKEN_WORD], struct why *why);
/* NULL: none. */
const char *claim_token_of_environment(void);

#endif
