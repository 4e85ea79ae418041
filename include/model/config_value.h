/* config_value.h - private to config*.c: the value of a key in words, as the list of
 * keys has it (model/config_keys.h). */
#ifndef MODEL_CONFIG_VALUE_H
#define MODEL_CONFIG_VALUE_H

#include "base/buf.h"
#include "model/config_draft.h"

/* base is what the key's table says. */
typedef void key_writer(struct buf *out, const void *base, const struct key *k);

struct config_value_form {
	key_writer *write;	/* NULL: a group, or one of many values */
	size_t n;	/* the bytes at the key's offset that are all of the value; 0: only its words tell */
};
/* Of the key with that path. */
struct config_value_form config_value_form(const char *path, const struct key *k);
/* Of config_value_service.c: the writer of a service's key whose reader is its own; NULL: it has none there. */
key_writer *config_value_of_service(const char *path);
/* Where the key's value is. */
static inline const void *
config_value_at(const void *base, const struct key *k)
{
	return (const char *)base + k->offset;
}
/* Before the i-th item of a list. */
void config_value_comma(struct buf *out, size_t i);
void config_value_addresses(struct buf *out, const struct addr *list, size_t n);
/* Negative: the default. */
void config_value_seconds(struct buf *out, double v);
/* A text in quotes, or none; a list of them. */
void config_value_text(struct buf *out, const char *text);
void config_value_texts(struct buf *out, char *const *texts, size_t n);
/* " hash 0123abcd": changes with what is secret, and does not tell it.  NULL: nothing. */
void config_value_hash(struct buf *out, const char *secret);
key_writer notify_value;	/* config_notify.c's */
key_writer kube_server_value, kube_taints_value;	/* config_kube.c's */
key_writer syslog_address_value, syslog_facility_value;	/* config_log.c's */

/* A few digits that change with the bytes, and say nothing of them.  Returns out. */
#define CONFIG_VALUE_DIGEST 9
const char *config_value_digest(const void *bytes, size_t n, char out[CONFIG_VALUE_DIGEST]);

/* Of model/config_map.c. */
key_writer write_sni_map;
/* Of model/config_reply.c. */
key_writer write_error_page, write_request_set, write_request_remove, write_response_set, write_response_remove;

#endif
