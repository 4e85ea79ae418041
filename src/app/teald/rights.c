/* rights.c - who may do what on the admin socket.  Pure; any thread. */
#include "app/rights.h"

#define EVERYTHING \
	(1u << ADMIN_RIGHT_NONE | 1u << ADMIN_RIGHT_READ | 1u << ADMIN_RIGHT_FLIP | 1u << ADMIN_RIGHT_NODE | \
	 1u << ADMIN_RIGHT_ADMIN)

struct rights
rights_of(uid_t peer, uid_t own)
{
	if (peer == 0)
		return (struct rights){ EVERYTHING, "is root" };
	if (peer == own)
		return (struct rights){ EVERYTHING, "is the user teald runs as" };
	return (struct rights){ 1u << ADMIN_RIGHT_NONE, "is neither root nor the user teald runs as" };
}

bool
rights_have(const struct rights *r, enum admin_right right)
{
	return (r->bits & 1u << right) != 0;
}

void
rights_json(struct json *j, const struct rights *r)
{
	json_array(j, "rights");
	for (int right = ADMIN_RIGHT_READ; right <= ADMIN_RIGHT_ADMIN; right++)
		if (rights_have(r, (enum admin_right)right))
			json_cstr(j, NULL, admin_right_word((enum admin_right)right));
	json_array_end(j);
}
