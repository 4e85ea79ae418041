/* state_marks.h - what a line of the history says that an older teald has no words for, as marks in `expect`,
 * which every teald reads as the epoch that was presented: a downgrade refuses no file.
 * A claim is told as a lock, which has none, a release as an unlock; a shift as a rollback ("shift 100 blue@2"); a
 * revision stands before all ("#REV blue@2").
 * Pure. */
#ifndef STORE_STATE_MARKS_H
#define STORE_STATE_MARKS_H

#include "model/record.h"

/* As it is written. */
void state_mark(struct audit_entry *e);
/* As it was meant; a line without marks stays as it is. */
void state_unmark(struct audit_entry *e);

#endif
