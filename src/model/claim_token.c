/* claim_token.c - tokens of claims.  Any thread. */
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

bool
claim_token_new(char token[CLAIM_TOKEN])
{
	unsigned char bytes[(CLAIM_TOKEN - 1) / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return false;
	put_hex(bytes, sizeof(bytes), token);
	return true;
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
