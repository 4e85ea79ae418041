/* access.c - what access lines say of TLS.  Thread: the worker that writes them. */
#include "base/json.h"
#include "data/access.h"
#include "net/tls.h"

struct str
access_tls(struct tls *t, const char *name, struct buf *b)
{
	struct tls_facts f = { .server_name = name };
	struct json j;

	buf_init(b, 2048);
	if (t == NULL && name[0] == '\0')
		return STR("");
	if (t != NULL)
		tls_facts(t, &f);
	json_init(&j, b);
	if (f.server_name[0] != '\0')
		json_cstr(&j, "sni", f.server_name);
	if (t != NULL) {
		json_cstr(&j, "tls", f.protocol);
		json_cstr(&j, "cipher", f.cipher);
		json_bool(&j, "resumed", f.resumed);
	}
	if (f.peer != NULL)
		json_cstr(&j, "subject", f.peer->subject);
	return b->failed ? STR("") : buf_str(b);
}
