/* fallback.h - the copy of the last configuration that was obeyed, for a serving
 * process that is started in place of one that died and finds its file broken.  A
 * first start with a broken file is refused instead.
 * Thread: main, before any other exists. */
#ifndef APP_TEALD_FALLBACK_H
#define APP_TEALD_FALLBACK_H

#include <stdbool.h>

#include "model/config.h"

/* e: how reading the file at path went; *errors (consumed): what is wrong in it;
 * *config: what it says, or NULL.  True: *config is that of the copy instead, which is said
 * on stderr.  False: there is no copy, no need for it, or it is no better. */
bool fallback_take(const char *path, enum err e, struct complaints *errors, const struct config **config);
bool fallback_is_taken(void);
/* Once the log is there: what is wrong with the file.  Nothing unless it is taken. */
void fallback_log(void);

#endif
