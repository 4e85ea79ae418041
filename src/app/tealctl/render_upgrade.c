/* render_upgrade.c - how an upgrade went.  One thread. */
#include "app/tealctl/render.h"
#include "app/tealctl/say.h"

/* {"ok":true,"changed":true,"from":{"pid":7,"version":"1.2"},"to":{"pid":9,"version":"1.3"},"seconds":0.4} */
void
render_upgrade(struct render *r, json_t *object)
{
	json_t *from = json_at(object, "from"), *to = json_at(object, "to");
	json_t *one = json_pack("{s:O*,s:O*,s:O*,s:O*,s:O*}", "pid", json_at(to, "pid"), "version",
				json_at(to, "version"), "was_pid", json_at(from, "pid"), "was",
				json_at(from, "version"), "seconds", json_at(object, "seconds"));

	if (r->out->terminal)
		say(r->out, one, "version {version} (pid {pid}) serves, in place of {was} (pid {was_pid})");
	else
		say(r->out, one, "upgraded\t{was}\t{version}\t{pid}");
	json_decref(one);
}
