/* config_keys.h - a configuration as a flat list of keys and their effective
 * values, in words: what plans are made of and `tealctl config` shows.
 * Made from the tables by which the file is read, so that no key is missing.
 * Values are for people and for comparison: 30, true, least_conn, "a text",
 * [10.0.0.1:80, 10.0.0.2:80]; of a secret there is a short hash only.
 * Owned by its holder; any thread, one at a time. */
#ifndef MODEL_CONFIG_KEYS_H
#define MODEL_CONFIG_KEYS_H

#include "model/config.h"

/* The keys of one service, or of the rest. */
struct config_section {
	char *name;	/* of the service; NULL: what is of none */
	char *rename;	/* the name it had before; NULL: none */
	char *bytes;	/* key and value, each with its NUL, in the tables' order */
	size_t n, cap;
};

struct config_keys {
	struct config_section settings;
	struct config_section *services;	/* in the file's order */
	size_t n;
};

/* Aborts when memory is out. */
struct config_keys *config_keys_new(const struct config *config);
/* Of two configurations, where only their difference is asked for: services that are the same in
 * both have empty sections, which cost little.  Aborts when memory is out. */
void config_keys_compare(const struct config *a, const struct config *b, struct config_keys **a_keys,
			 struct config_keys **b_keys);
/* An empty one, to be filled with what another teald said. */
struct config_keys *config_keys_empty(void);
/* *kp is NULL on return. */
void config_keys_free(struct config_keys **kp);

/* Adds an empty section; good until the next one is added. */
struct config_section *config_keys_add(struct config_keys *k, const char *name, const char *rename);
void config_section_add(struct config_section *s, const char *key, const char *value);

/* The next key and value, borrowed; *at is 0 for the first.  False at the end. */
bool config_section_next(const struct config_section *s, size_t *at, const char **key, const char **value);
/* NULL: the section has no such key. */
const char *config_section_value(const struct config_section *s, const char *key);

#endif
