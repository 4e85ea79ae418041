/* claim_token.c - tokens of claims, and names of revisions.  Any thread. */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "model/claim_token.h"

static void
put_hex(const unsigned char *bytes, size_t n, char *text)
{
	for (size_t i = 0; i < n; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static bool
is_hex_of(const char *text, size_t n, size_t wanted)
{
	if (n != wanted)
		return false;
	for (size_t i = 0; i < n; i++)
		if (strchr("0123456789abcdef", text[i]) == NULL || text[i] == '\0')
			return false;
	return true;
}

static bool
put_random(size_t digits, char *text)
{
	unsigned char bytes[(CLAIM_TOKEN - 1) / 2];
	size_t n = digits / 2;

	CHECK(n <= sizeof(bytes));
	if (getrandom(bytes, n, 0) != (ssize_t)n)
		return false;
	put_hex(bytes, n, text);
	return true;
}

bool
claim_token_new(char token[CLAIM_TOKEN])
{
	return put_random(CLAIM_TOKEN - 1, token);
}

bool
revision_new(char revision[REVISION_WORD])
{
	return put_random(REVISION_WORD - 1, revision);
}

bool
revision_is_word(struct str text)
{
	return is_hex_of(text.p, text.n, REVISION_WORD - 1);
}

void
claim_hash(struct str token, char hash[CLAIM_HASH])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	CHECK(EVP_Digest(token.p, token.n, digest, &n, EVP_sha256(), NULL) == 1 && n == (CLAIM_HASH - 1) / 2);
	put_hex(digest, n, hash);
}

bool
claim_is_hash(const char *text)
{
	return is_hex_of(text, strlen(text), CLAIM_HASH - 1);
}
