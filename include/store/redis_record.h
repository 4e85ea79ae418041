/* redis_record.h - a service's record as Redis keeps it: fields of a hash.
 * Pure: replies and records, no connection.
 *
 *	color epoch previous change by at reason locked forced claimed revision share held
 *
 * previous: the color a rollback leads to, "" when there is nothing to undo.
 * change:   initial, flip or rollback; a foreign writer may leave it out.
 * at:       RFC 3339 in UTC.      locked: "" or {"by","reason","at"} as JSON.
 * forced:   "1" when the flip skipped the gate, so that others obey as well.
 * claimed:  "" or {"by","reason","at","epoch","until_us","token"} as JSON; token: its hash.
 * revision: "" or REVISION@EPOCH, of the flip of several services that brought it to that epoch.
 * share:    "" or what the idle color has of the traffic, as model/share.h writes it.
 * held:     "" or {"by","reason","at","epoch","until_us"} as JSON. */
#ifndef STORE_REDIS_RECORD_H
#define STORE_REDIS_RECORD_H

#include <hiredis/hiredis.h>

#include "base/buf.h"
#include "base/err.h"
#include "model/record.h"

#define REDIS_RECORD_FIELDS 13
/* Their names in that order, for the arguments of a command. */
#define REDIS_RECORD_NAMES \
	STR("color"), STR("epoch"), STR("previous"), STR("change"), STR("by"), STR("at"), STR("reason"), \
		STR("locked"), STR("forced"), STR("claimed"), STR("revision"), STR("share"), STR("held")

/* The fields in the order above, as text; each ends with NUL. */
struct redis_record_text {
	char color[8], epoch[24], previous[8], change[16], by[RECORD_NAME], at[32], reason[RECORD_REASON];
	char locked[RECORD_REASON * 6 + 256], forced[4], claimed[(RECORD_REASON + RECORD_NAME) * 6 + 256];
	char revision[REVISION_WORD + 24], share[SHARE_TEXT];
	char held[(RECORD_REASON + RECORD_NAME) * 6 + 256];
};

void redis_record_format(const struct record *r, struct redis_record_text *out);

/* What HMGET gave for these fields.  *exists is false when there is no such
 * hash.  E_STORE with a sentence when it holds what cannot be. */
MUST_USE enum err redis_record_parse(const redisReply *reply, struct record *out, bool *exists, struct why *why);

/* The history's lines as the stream keeps them: one field of JSON. */
#define REDIS_ENTRY_MAX (64 * 1024)
void redis_entry_format(const struct audit_entry *a, struct buf *out);
MUST_USE bool redis_entry_parse(struct str json, struct audit_entry *out);

#endif
