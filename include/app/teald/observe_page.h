/* observe_page.h - the status page itself, which is part of the program, and
 * who may see it.
 * Thread: main. */
#ifndef APP_TEALD_OBSERVE_PAGE_H
#define APP_TEALD_OBSERVE_PAGE_H

#include "app/teald/observe_client.h"

struct page;

/* Holds a reference to config; aborts when memory is out. */
struct page *page_new(const struct config *config);
/* observe.hosts are those of another one from now on. */
void page_reconfigure(struct page *p, const struct config *config);
void page_free(struct page **pp);

/* Answers GET /. */
void page_write(const struct page *p, struct visitor *v, struct reply_head *head, struct buf *body);

/* A browser can be led here by a stranger's page, under a name of that stranger's
 * (DNS rebinding): so the Host must be an address, localhost, a name without
 * a dot, this machine's name, or one of observe.hosts; and a request that another
 * site's page makes is refused.  False: head and body say so. */
bool page_may_be_seen(const struct page *p, struct visitor *v, struct reply_head *head, struct buf *body);

/* The same on the headers' texts alone; "" for those that are absent.  NULL: fine,
 * otherwise what is wrong, and its status. */
const char *
page_refusal(const struct page *p, struct str host, struct str origin, struct str site, unsigned *status);

#endif
