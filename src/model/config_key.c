/* config_key.c - the readers of single keys: seconds, counts, sizes, words.
 * Start-up thread only. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/config_cursor.h"

/* A year: beyond it a time is a slip, such as milliseconds for seconds. */
#define SECONDS_MAX 31536000.0

static void *
target(const struct cursor *c, const struct key *k)
{
	return (char *)c->base + k->offset;
}

/* Without a base only types are checked. */
static bool
stores(const struct cursor *c)
{
	return c->base != NULL;
}

static bool
get_number(const config_setting_t *s, double *out)
{
	switch (config_setting_type(s)) {
	case CONFIG_TYPE_INT:
		*out = config_setting_get_int(s);
		return true;
	case CONFIG_TYPE_INT64:
		*out = (double)config_setting_get_int64(s);
		return true;
	case CONFIG_TYPE_FLOAT:
		*out = config_setting_get_float(s);
		return isfinite(*out);
	}
	return false;
}

/* Times that are meant to be long. */
static bool
may_be_long(const struct cursor *c, const struct key *k)
{
	static const char *const names[] = { "idle_timeout", "client_timeout", "server_timeout", "max_age", "spread",
					     "slow_start",   "resolve_interval", "user_timeout",  "interval" };
	static const char *const groups[] = { "drain.", "upgrade.", "stop." };
	bool found = false;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		found |= strcmp(k->name, names[i]) == 0;
	for (size_t i = 0; i < ARRAY_LEN(groups); i++)
		found |= strcmp(c->prefix, groups[i]) == 0;
	return found;
}

/* 5000 is more often five seconds than 83 minutes. */
static void
warn_of_milliseconds(const struct cursor *c, const struct key *k, const config_setting_t *s, double v)
{
	if (v > (may_be_long(c, k) ? 86400 : 3600))
		cursor_warn(c, s, "%s: %.9g seconds are %.1f hours; times are in seconds: if milliseconds are meant, write %.9g",
			    cursor_key(c, s).s, v, v / 3600, v / 1000);
}

void
key_seconds(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	double v, max = k->max > 0 ? k->max : SECONDS_MAX;

	if (!get_number(s, &v)) {
		cursor_key_error(c, s, "expected a number of seconds such as 2 or 0.5, found %s",
				 cursor_found(s).s);
		return;
	}
	if (v < k->min || v > max) {
		cursor_key_error(c, s, "%.9g s is out of range: %.9g to %.9g", v, k->min, max);
		return;
	}
	warn_of_milliseconds(c, k, s, v);
	if (stores(c))
		memcpy(target(c, k), &v, sizeof(v));
}

void
key_fraction(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	double v;

	if (!get_number(s, &v) || v < k->min || v > k->max) {
		cursor_key_error(c, s, "expected a number from %g to %g, found %s", k->min, k->max,
				 cursor_found(s).s);
		return;
	}
	if (stores(c))
		memcpy(target(c, k), &v, sizeof(v));
}

/* A whole number; a text of digits too, for those beyond 2^31-1. */
static bool
get_whole(const config_setting_t *s, long long *out)
{
	uint64_t u;

	switch (config_setting_type(s)) {
	case CONFIG_TYPE_INT:
		*out = config_setting_get_int(s);
		return true;
	case CONFIG_TYPE_INT64:
		*out = config_setting_get_int64(s);
		return true;
	case CONFIG_TYPE_STRING:
		if (!str_to_u64(str_from(config_setting_get_string(s)), LLONG_MAX, &u))
			return false;
		*out = (long long)u;
		return true;
	}
	return false;
}

void
key_count(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	double max = k->max > 0 ? k->max : INT_MAX;
	unsigned count;
	long long v;

	if (!get_whole(s, &v)) {
		cursor_key_error(c, s, "expected a whole number, found %s", cursor_found(s).s);
		return;
	}
	if ((double)v < k->min || (double)v > max) {
		cursor_key_error(c, s, "%lld is out of range: %.0f to %.0f", v, k->min, max);
		return;
	}
	count = (unsigned)v;
	if (stores(c))
		memcpy(target(c, k), &count, sizeof(count));
}

static bool
parse_size(const char *text, uint64_t *out)
{
	static const struct {
		const char *unit;
		uint64_t bytes;
	} units[] = {
		{ "", 1 },
		{ "B", 1 },
		{ "KiB", 1ull << 10 },
		{ "MiB", 1ull << 20 },
		{ "GiB", 1ull << 30 },
		{ "TiB", 1ull << 40 },
		{ "kB", 1000 },
		{ "MB", 1000000 },
		{ "GB", 1000000000 },
	};
	size_t n = strspn(text, "0123456789");
	const char *unit = text + n + strspn(text + n, " ");
	uint64_t v;

	if (!str_to_u64((struct str){ text, n }, INT64_MAX, &v))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(unit, units[i].unit) != 0)
			continue;
		if (v > INT64_MAX / units[i].bytes)
			return false;
		*out = v * units[i].bytes;
		return true;
	}
	return false;
}

void
key_size(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	bool is_text = config_setting_type(s) == CONFIG_TYPE_STRING;
	uint64_t bytes = 0;
	long long v;

	if (is_text ? !parse_size(config_setting_get_string(s), &bytes) : !get_whole(s, &v)) {
		cursor_key_error(
			c, s,
			"expected a size in bytes, or with one of KiB MiB GiB TiB kB MB GB such as \"5GiB\", "
			"found %s",
			cursor_found(s).s);
		return;
	}
	if (!is_text && v < 0) {
		cursor_key_error(c, s, "a size cannot be negative: %lld", v);
		return;
	}
	if (!is_text)
		bytes = (uint64_t)v;
	if ((double)bytes < k->min || (k->max > 0 && (double)bytes > k->max)) {
		cursor_key_error(c, s, "%" PRIu64 " bytes are out of range: %.0f to %.0f", bytes, k->min,
				 k->max > 0 ? k->max : (double)INT64_MAX);
		return;
	}
	if (stores(c))
		memcpy(target(c, k), &bytes, sizeof(bytes));
}

void
key_bool(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	bool v;

	if (config_setting_type(s) != CONFIG_TYPE_BOOL) {
		cursor_key_error(c, s, "expected true or false, found %s", cursor_found(s).s);
		return;
	}
	v = config_setting_get_bool(s);
	if (stores(c))
		memcpy(target(c, k), &v, sizeof(v));
}

void
key_text(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	char **to;

	if (config_setting_type(s) != CONFIG_TYPE_STRING) {
		cursor_key_error(c, s, "expected a text in double quotes, found %s", cursor_found(s).s);
		return;
	}
	if (config_setting_get_string(s)[0] == '\0') {
		cursor_key_error(c, s, "the text is empty; remove the key or fill it in");
		return;
	}
	if (!stores(c))
		return;
	to = target(c, k);
	free(*to);
	*to = must_strdup(config_setting_get_string(s));
}

void
cursor_take_texts(const struct cursor *c, const struct key *k, const config_setting_t *s, const char *what, const char *bytes)
{
	char ***list = (char ***)(void *)((char *)c->base + k->offset);
	size_t *n = (size_t *)(void *)((char *)c->base + k->offset + sizeof(char **)), all = cursor_items(s);

	if (!cursor_texts(c, s, what))
		return;
	if (all == 0) {
		cursor_key_error(c, s, "the list is empty; remove the key or fill it in");
		return;
	}
	*list = must_array(all, sizeof(**list));
	for (*n = 0; *n < all; (*n)++) {
		const char *text = config_setting_get_string(cursor_item(s, *n));
		size_t fits = strspn(text, bytes);

		if (text[0] == '\0' || text[fits] != '\0')
			cursor_key_error(c, cursor_item(s, *n), "\"%s\" is not %s", show(text).s, what);
		(*list)[*n] = must_strdup(text);
	}
}

void
key_word(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	const char *word = config_setting_type(s) == CONFIG_TYPE_STRING ? config_setting_get_string(s) : NULL;
	char choice[512] = "";
	size_t used = 0;
	unsigned n = 0;

	for (; k->words[n] != NULL; n++) {
		if (word != NULL && strcmp(word, k->words[n]) == 0) {
			if (stores(c))
				memcpy(target(c, k), &n, sizeof(n));
			return;
		}
		if (used < sizeof(choice))
			used += (size_t)snprintf(choice + used, sizeof(choice) - used, "%s\"%s\"",
						 n == 0			 ? "" :
						 k->words[n + 1] == NULL ? " or " :
									   ", ",
						 k->words[n]);
	}
	cursor_key_error(c, s, "expected %s, found %s%s", choice, cursor_found(s).s,
			 word != NULL ? cursor_guess(word, k->words, n).s : "");
}

void
key_networks(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct cidr_set read = { 0 }, *to;
	char text[CIDR_TEXT];
	bool good = true;

	if (!cursor_texts(c, s, "a network"))
		return;
	for (size_t i = 0; i < cursor_items(s); i++) {
		const config_setting_t *item = cursor_item(s, i);
		const char *written = config_setting_get_string(item);
		struct cidr network;
		struct why why;
		bool inexact;

		if (cidr_parse(show(written).s, &network, &inexact, &why) != OK) {
			cursor_key_error(c, item, "%s", why.text);
			good = false;
			continue;
		}
		if (inexact && c->base != NULL)
			cursor_warn(c, item, "%s: \"%s\" means %s", cursor_key(c, item).s, show(written).s,
				    cidr_format(&network, text));
		cidr_set_add(&read, &network);
	}
	if (good && stores(c)) {
		to = target(c, k);
		cidr_set_clear(to);
		*to = read;
		return;
	}
	cidr_set_clear(&read);
}

void
key_percent_or_count(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	bool is_text = config_setting_type(s) == CONFIG_TYPE_STRING;
	struct str text = is_text ? str_from(config_setting_get_string(s)) : STR("");
	struct quorum q = { .percent = text.n > 0 && text.p[text.n - 1] == '%' };
	long long v = 0;
	uint64_t u;

	if (q.percent) {
		text.n--;
		v = str_to_u64(text, INT_MAX, &u) ? (long long)u : 0;
	} else if (!get_whole(s, &v)) {
		v = -1;
	}
	if (v < (q.percent ? 1 : (long long)k->min) || v > (q.percent ? 100 : INT_MAX)) {
		cursor_key_error(c, s, "expected \"1%%\" to \"100%%\", or a count of at least %.0f, found %s",
				 k->min, cursor_found(s).s);
		return;
	}
	if (is_text && !q.percent)
		cursor_warn(c, s, "%s: \"%.*s\" is a count; write \"%.*s%%\" if a share is meant, or %.*s without quotes",
			    cursor_key(c, s).s, (int)text.n, text.p, (int)text.n, text.p, (int)text.n, text.p);
	q.value = (unsigned)v;
	if (stores(c))
		memcpy(target(c, k), &q, sizeof(q));
}

void
key_group(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct shown prefix;
	struct cursor in = *c;

	if (config_setting_type(s) != CONFIG_TYPE_GROUP) {
		cursor_key_error(c, s, "expected a group { }, found %s", cursor_found(s).s);
		return;
	}
	snprintf(prefix.s, sizeof(prefix.s), "%.80s%.60s.", c->prefix, k->name);
	in.prefix = prefix.s;
	cursor_read(&in, s, k->keys);
}
