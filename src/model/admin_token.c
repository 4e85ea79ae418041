/* admin_token.c - tokens of the admin listener.  Any thread. */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "model/admin_token.h"

static const char blanks[] = " \t\r";

bool
admin_token_is_name(const char *name)
{
	size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	return n > 0 && n < ADMIN_TOKEN_NAME && name[n] == '\0';
}

/* The next word of a line; empty at its end. */
static struct str
token_word(struct str *line)
{
	struct str word;

	while (line->n > 0 && strchr(blanks, line->p[0]) != NULL && line->p[0] != '\0')
		line->p++, line->n--;
	word = *line;
	for (word.n = 0; word.n < line->n && (line->p[word.n] == '\0' || strchr(blanks, line->p[word.n]) == NULL);)
		word.n++;
	line->p += word.n;
	line->n -= word.n;
	return word;
}

/* The moment after the last one of a day, "2027-01-31", UTC. */
static bool
read_until(struct str text, int64_t *out)
{
	char day[16], again[16];
	struct tm tm = { 0 };
	const char *end;
	time_t begin;

	if (text.n != 10 || !str_copy(day, sizeof(day), text) || (end = strptime(day, "%Y-%m-%d", &tm)) == NULL || *end != '\0')
		return false;
	begin = timegm(&tm);
	if (gmtime_r(&begin, &tm) == NULL || strftime(again, sizeof(again), "%Y-%m-%d", &tm) != 10 ||
	    strcmp(day, again) != 0)
		return false;
	*out = (int64_t)begin + 86400;
	return *out > 0;
}

static const char *
read_token_line(struct str line, struct admin_token *t)
{
	struct str name = token_word(&line), hash = token_word(&line), until = token_word(&line);

	*t = (struct admin_token){ .until = 0 };
	if (memchr(name.p, '\0', name.n) != NULL || !str_copy(t->name, sizeof(t->name), name) || !admin_token_is_name(t->name))
		return "a token begins with its name: up to 56 of A-Z a-z 0-9 . _ -";
	if (hash.n != 7 + CLAIM_HASH - 1 || memcmp(hash.p, "sha256:", 7) != 0 ||
	    !str_copy(t->hash, sizeof(t->hash), (struct str){ hash.p + 7, hash.n - 7 }) || !claim_is_hash(t->hash))
		return "behind the name belongs sha256: and 64 hexadecimal digits in lower case; teald --new-token=NAME makes both";
	if (until.n > 0 && (until.n < 6 || memcmp(until.p, "until=", 6) != 0 ||
			    !read_until((struct str){ until.p + 6, until.n - 6 }, &t->until)))
		return "behind the hash belongs nothing, or until=YYYY-MM-DD, the last day it is good for";
	return token_word(&line).n > 0 ? "something stands behind the date" : NULL;
}

enum err
admin_tokens_parse(struct str text, struct admin_token **out, size_t *n, struct why *why)
{
	unsigned number = 0;

	*n = 0;
	*out = must_array(ADMIN_TOKENS_MAX, sizeof(**out));
	while (text.n > 0) {
		const char *newline = memchr(text.p, '\n', text.n), *wrong = NULL;
		struct str line = { text.p, newline != NULL ? (size_t)(newline - text.p) : text.n }, look = line;
		size_t used = line.n + (newline != NULL);
		struct str first = token_word(&look);

		text.p += used;
		text.n -= used;
		number++;
		if (first.n == 0 || first.p[0] == '#')
			continue;
		if (*n == ADMIN_TOKENS_MAX)
			wrong = "there are more than 500 tokens";
		else if ((wrong = read_token_line(line, &(*out)[*n])) == NULL &&
			 admin_token_by_hash(*out, *n, (*out)[*n].hash) != NULL)
			wrong = "another line has the same hash: a token has one name";
		if (wrong == NULL) {
			(*n)++;
			continue;
		}
		free(*out);
		*out = NULL;
		*n = 0;
		return why_set(why, E_USAGE, "line %u: %s", number, wrong);
	}
	return OK;
}

const struct admin_token *
admin_token_by_hash(const struct admin_token *list, size_t n, const char hash[CLAIM_HASH])
{
	const struct admin_token *found = NULL;

	for (size_t i = 0; i < n; i++)
		if (CRYPTO_memcmp(list[i].hash, hash, CLAIM_HASH) == 0)
			found = &list[i];
	return found;
}

bool
admin_token_make(const char *name, char token[ADMIN_TOKEN_TEXT], struct buf *line)
{
	char half[2][CLAIM_TOKEN], hash[CLAIM_HASH];
	bool good = claim_token_new(half[0]) && claim_token_new(half[1]);

	_Static_assert(ADMIN_TOKEN_TEXT == sizeof("teal_") + 2 * (CLAIM_TOKEN - 1), "two halves of 16 bytes");
	if (good) {
		memcpy(token, "teal_", 5);
		memcpy(token + 5, half[0], CLAIM_TOKEN - 1);
		memcpy(token + 5 + CLAIM_TOKEN - 1, half[1], CLAIM_TOKEN);
		claim_hash((struct str){ token, ADMIN_TOKEN_TEXT - 1 }, hash);
		good = buf_printf(line, "%s sha256:%s\n", name, hash);
	}
	OPENSSL_cleanse(half, sizeof(half));
	return good;
}
