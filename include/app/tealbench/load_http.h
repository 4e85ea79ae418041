/* load_http.h - how the answers of all versions of HTTP are judged. */
#ifndef APP_TEALBENCH_LOAD_HTTP_H
#define APP_TEALBENCH_LOAD_HTTP_H

#include "app/tealbench/load.h"

/* The answer is whole: was it the right one?  f->error says what is wrong. */
enum flow_verdict load_http_judge(struct flow *f);
/* A piece of its body; false with f->error: other bytes than expected. */
bool load_http_body_fits(struct flow *f, const char *p, size_t n);

#endif
