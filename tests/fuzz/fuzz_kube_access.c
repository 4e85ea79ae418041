/* fuzz_kube_access.c - kubeconfig files: whatever the bytes, what is taken has a server, and a message is one line. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "model/kube_access.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kube_access a;
	struct why why = { "" };

	if (kube_access_parse((struct str){ (const char *)data, size }, "/etc/x", NULL, &a, &why) == OK) {
		CHECK(a.server.at.host[0] != '\0' && a.server.target[0] == '/');
		CHECK((a.cert != NULL || a.cert_pem != NULL) == (a.key != NULL || a.key_pem != NULL));
		kube_access_free(&a);
	} else {
		CHECK(strncmp(why.text, "/etc/x:", 7) == 0);
	}
	return 0;
}
