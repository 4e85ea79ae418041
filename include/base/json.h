/* json.h - writes JSON (RFC 8259) into a buf, one object a line.
 * Commas are kept by the writer; bytes that are not valid UTF-8 come out as
 * U+FFFD, so that whatever a client sent the line stays valid.  Reading JSON
 * is jansson's work, not ours.  Failure is sticky in the buf (buf->failed). */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* jansson exports these three names too; ours would take their place inside
 * the library itself.  A file that needs both includes <jansson.h> first. */
#define json_object jsonw_object
#define json_array jsonw_array
#define json_null jsonw_null

struct json {
	struct buf *out;
	bool comma;	/* the next value needs one before it */
};

void json_init(struct json *j, struct buf *out);

/* key is NULL for array elements and the outermost value; keys are ours and
 * are written as they are. */
void json_object(struct json *j, const char *key);
void json_object_end(struct json *j);
void json_array(struct json *j, const char *key);
void json_array_end(struct json *j);
void json_str(struct json *j, const char *key, struct str value);
void json_cstr(struct json *j, const char *key, const char *value);	/* NULL: null */
void json_u64(struct json *j, const char *key, uint64_t value);
void json_i64(struct json *j, const char *key, int64_t value);
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);
/* Shortest of %.9g; not finite: null. */
void json_double(struct json *j, const char *key, double value);
/* value is JSON already. */
void json_raw(struct json *j, const char *key, struct str value);
/* '\n' after the outermost value; ready for the next. */
void json_line_end(struct json *j);

#endif
