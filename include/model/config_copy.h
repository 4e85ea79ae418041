/* config_copy.h - the files of a configuration in one text, from which it can be read
 * again when those on the disk are no longer good:
 *
 *	teal-config 1 sha256:...		config->checksum
 *	21 4711 /etc/teal/teal.conf		bytes of the path, of the file; the path
 *	...				the file, and a line end
 *	...				and so on, in the order of config->files
 *	...				and of config->named: error pages, sni_map
 *
 * Certificates and passwords that the files name are not in it.  Pure: no I/O. */
#ifndef MODEL_CONFIG_COPY_H
#define MODEL_CONFIG_COPY_H

#include "base/buf.h"
#include "model/config.h"

/* Above what config_load() reads. */
#define CONFIG_COPY_MAX ((size_t)64 << 20)

struct config_copy {
	char checksum[CONFIG_CHECKSUM];
	struct config_file *files;	/* the first is the one that was asked for */
	size_t n_files;	/* at least 1 */
};

/* Appends it; out->failed when there is no room for it. */
void config_copy_put(const struct config *config, struct buf *out);
/* E_USAGE: it is none, or damaged; *copy needs no config_copy_free() then. */
MUST_USE enum err config_copy_parse(struct str text, struct config_copy *copy, struct why *why);
void config_copy_free(struct config_copy *copy);

/* The file of that path, for free(), NUL-terminated; NULL with the reason. */
char *config_copy_read(const struct config_copy *copy, const char *path, size_t *n, struct why *why);

/* The list with all it points to. */
void config_files_free(struct config_file *files, size_t n);

#endif
