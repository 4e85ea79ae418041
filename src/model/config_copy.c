/* config_copy.c - a configuration's files in one text.  Any thread. */
#include <stdlib.h>
#include <string.h>

#include "model/config_copy.h"

#define MAGIC "teal-config 1 "

void
config_files_free(struct config_file *files, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(files[i].path);
		free(files[i].bytes);
	}
	free(files);
}

static void
put_files(struct buf *out, const struct config_file *files, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct config_file *f = &files[i];

		(void)buf_printf(out, "%zu %zu ", strlen(f->path), f->n);
		(void)buf_append(out, f->path, strlen(f->path));
		(void)buf_append(out, "\n", 1);
		(void)buf_append(out, f->bytes, f->n);
		(void)buf_append(out, "\n", 1);
	}
}

void
config_copy_put(const struct config *config, struct buf *out)
{
	(void)buf_printf(out, MAGIC "%s\n", config->checksum);
	put_files(out, config->files, config->n_files);
	put_files(out, config->named, config->n_named);
}

/* The next n bytes, which `end` follows, for free(); NULL when there are not so many. */
static char *
take_copied_bytes(struct str *rest, size_t n, char end)
{
	char *bytes;

	if (rest->n <= n || rest->p[n] != end)
		return NULL;
	bytes = must_alloc(n + 1);
	memcpy(bytes, rest->p, n);
	bytes[n] = '\0';
	rest->p += n + 1;
	rest->n -= n + 1;
	return bytes;
}

static bool
take_number(struct str *rest, size_t *out)
{
	const char *space = memchr(rest->p, ' ', rest->n);
	uint64_t n;

	if (space == NULL ||
	    !str_to_u64((struct str){ rest->p, (size_t)(space - rest->p) }, CONFIG_COPY_MAX, &n))
		return false;
	*out = (size_t)n;
	rest->n -= (size_t)(space + 1 - rest->p);
	rest->p = space + 1;
	return true;
}

static bool
take_copied_file(struct str *rest, struct config_copy *copy)
{
	struct config_file f = { 0 };
	size_t path;

	if (!take_number(rest, &path) || !take_number(rest, &f.n) ||
	    (f.path = take_copied_bytes(rest, path, '\n')) == NULL)
		return false;
	if ((f.bytes = take_copied_bytes(rest, f.n, '\n')) == NULL) {
		free(f.path);
		return false;
	}
	copy->files = must_grow(copy->files, copy->n_files + 1, sizeof(*copy->files));
	copy->files[copy->n_files++] = f;
	return true;
}

enum err
config_copy_parse(struct str text, struct config_copy *copy, struct why *why)
{
	const size_t magic = sizeof(MAGIC) - 1, sum = CONFIG_CHECKSUM - 1;
	struct str rest;

	*copy = (struct config_copy){ 0 };
	if (text.n <= magic + sum || memcmp(text.p, MAGIC, magic) != 0 || text.p[magic + sum] != '\n')
		return why_set(why, E_USAGE, "it is no copy of a configuration that this version knows");
	memcpy(copy->checksum, text.p + magic, sum);
	rest = (struct str){ text.p + magic + sum + 1, text.n - magic - sum - 1 };
	while (rest.n > 0 && take_copied_file(&rest, copy))
		;
	if (rest.n == 0 && copy->n_files > 0)
		return OK;
	config_copy_free(copy);
	return why_set(why, E_USAGE, "it is damaged");
}

void
config_copy_free(struct config_copy *copy)
{
	config_files_free(copy->files, copy->n_files);
	*copy = (struct config_copy){ 0 };
}

char *
config_copy_read(const struct config_copy *copy, const char *path, size_t *n, struct why *why)
{
	for (size_t i = 0; i < copy->n_files; i++) {
		const struct config_file *f = &copy->files[i];
		char *bytes;

		if (strcmp(f->path, path) != 0)
			continue;
		*n = f->n;
		bytes = must_alloc(f->n + 1);
		memcpy(bytes, f->bytes, f->n + 1);
		return bytes;
	}
	*n = 0;
	(void)why_set(why, E_USAGE, "is not among the files of the copy");
	return NULL;
}
