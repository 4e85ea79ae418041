/* load_http2.h - what a load by HTTP/2 needs of its options and its connections. */
#ifndef APP_TEALBENCH_LOAD_HTTP2_H
#define APP_TEALBENCH_LOAD_HTTP2_H

#include "app/tealbench/load.h"

/* Appends the field block of a GET; headers: "Name: value".  False: longer than one frame. */
bool load_http2_request(struct buf *b, const char *path, const char *host, bool tls, const struct option_list *headers);
/* What the connection of a flow knows of HTTP/2; harmless where there is nothing. */
void load_http2_free(struct flow *f);

#endif
