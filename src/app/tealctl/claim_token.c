/* claim_token.c - the token of a claim from where no list of processes shows it.  One thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/tealctl/claim_token.h"

/* The first line of standard input. */
static enum err
read_token(char out[CLAIM_TOKEN_WORD], struct why *why)
{
	size_t n;

	if (fgets(out, CLAIM_TOKEN_WORD, stdin) == NULL)
		return why_set(why, E_USAGE, "--token=-: standard input ends before a token");
	n = strcspn(out, " \t\r\n");
	if (n == 0 || n + 1 == CLAIM_TOKEN_WORD)
		return why_set(why, E_USAGE, "--token=-: the first line of standard input is no token");
	out[n] = '\0';
	return OK;
}

enum err
claim_token_word(const char *value, char out[CLAIM_TOKEN_WORD], struct why *why)
{
	static const char option[] = "--token=";
	char token[CLAIM_TOKEN_WORD];
	enum err e;

	if (value == NULL && (e = read_token(token, why)) != OK)
		return e;
	if (value != NULL && !str_copy(token, sizeof(token), str_from(value)))
		return why_set(why, E_USAGE, "TEAL_CLAIM_TOKEN is no token");
	if (!str_copy(out, CLAIM_TOKEN_WORD, str_from(option)) ||
	    strlen(token) + sizeof(option) > CLAIM_TOKEN_WORD)
		return why_set(why, E_USAGE, "%s is no token that claim gave: it is too long",
			       value == NULL ? "--token=-" : "TEAL_CLAIM_TOKEN");
	memcpy(out + sizeof(option) - 1, token, strlen(token) + 1);
	explicit_bzero(token, sizeof(token));
	return OK;
}

const char *
claim_token_of_environment(void)
{
	const char *token = getenv("TEAL_CLAIM_TOKEN");

	return token != NULL && token[0] != '\0' ? token : NULL;
}
