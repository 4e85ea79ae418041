/* quality_json.h - how well a service does by color, as JSON: for `status` in words, for the status page in
 * short.
 * Thread: main. */
#ifndef APP_TEALD_QUALITY_JSON_H
#define APP_TEALD_QUALITY_JSON_H

#include "base/json.h"
#include "control/control.h"

/* The member "quality" of a service: of each color the last minute, and the minutes before and after the last
 * change of color. */
void quality_json(struct json *j, const struct service_ctl *ctl);

/* The same as an array of numbers, in an order that the page knows: [green, blue, flip], of each color
 * [seconds, requests, 1xx, 2xx, 3xx, 4xx, 5xx, errors, p50, p99] or null without requests; the flip is
 * null or [milliseconds of the wall clock, epoch, "blue", before, after]. */
void quality_json_short(struct json *j, const char *key, const struct service_ctl *ctl);

#endif
