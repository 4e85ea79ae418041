/* observe_query.h - the query of a request to the observe listener: which services it names.
 * Thread: main. */
#ifndef APP_TEALD_OBSERVE_QUERY_H
#define APP_TEALD_OBSERVE_QUERY_H

#include <stdbool.h>

#include "base/str.h"

/* The value of the next "service=" in the query, as it stands there, and *query is what follows; false: there is none. */
bool query_service(struct str *query, struct str *value);
/* Of application/x-www-form-urlencoded text; false when it is malformed or does not fit. */
bool query_decode(struct str text, char *out, size_t size);

#endif
