/* test_kube_access.c - kubeconfig files, as people and tools write them: what is taken of each, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "guarded.h"
#include "model/kube_access.h"

#define PATH "/etc/teal/kube.config"
/* "-----BEGIN CERTIFICATE-----" and "-----BEGIN PRIVATE KEY-----", with an end of line. */
#define CERT64 "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="
#define KEY64 "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCg=="
#define CLUSTER(keys) "clusters:\n- cluster:\n    server: https://10.0.0.1:6443\n" keys "  name: one\n"
#define CONTEXT \
	"contexts:\n- context:\n    cluster: one\n    user: me\n  name: me@one\ncurrent-context: me@one\nkind: Config\n"
#define USER(keys) "users:\n- name: me\n  user:\n" keys
#define WHOLE(cluster, user) CLUSTER(cluster) CONTEXT USER(user)

static void
read_good(const char *text, const char *context, struct kube_access *a)
{
	struct why why;

	if (kube_access_parse(str_from(text), PATH, context, a, &why) != OK)
		fail_msg("%s\n%s", text, why.text);
}

static void
assert_said(const char *text, const char *expected)
{
	if (expected == NULL)
		assert_null(text);
	else
		assert_string_equal(text != NULL ? text : "(nothing)", expected);
}

static void
test_what_tools_write(void **state)
{
	/* kubeadm's and k3s' admin.conf; Rancher's download; minikube's, with files; kubectl config view -o json. */
	static const char kubeadm[] =
		"apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: " CERT64
		"\n    server: https://10.0.0.1:6443\n  name: kubernetes\ncontexts:\n- context:\n    cluster: kubernetes\n"
		"    user: kubernetes-admin\n  name: kubernetes-admin@kubernetes\ncurrent-context: kubernetes-admin@kubernetes\n"
		"kind: Config\npreferences: {}\nusers:\n- name: kubernetes-admin\n  user:\n    client-certificate-data: " CERT64
		"\n    client-key-data: " KEY64 "\n";
	static const char rancher[] =
		"apiVersion: v1\nkind: Config\nclusters:\n- name: \"prod\"\n  cluster:\n"
		"    server: \"https://rancher.example/k8s/clusters/c-m-1\"\n    certificate-authority-data: \"LS0tLS1CRUdJTiBDRV\\\n"
		"      JUSUZJQ0FURS0tLS0tCg==\"\n\nusers:\n- name: \"prod\"\n  user:\n    token: \"kubeconfig-u-1:abc\"\n\n\ncontexts:\n"
		"- name: \"prod\"\n  context:\n    user: \"prod\"\n    cluster: \"prod\"\n\ncurrent-context: \"prod\"\n";
	static const char files[] = WHOLE(
		"    certificate-authority: ca.pem\n    tls-server-name: kubernetes\n    extensions:\n    - name: x\n"
		"    disable-compression: true\n    insecure-skip-tls-verify: false\n",
		"    client-certificate: pki/me.crt\n    client-key: /abs/me.key\n    tokenFile: tok\n    token: old\n");
	static const char json[] =
		"{\n\t\"kind\":\"Config\",\"clusters\":[{\"name\":\"one\",\"cluster\":{\"server\":\"http://[::1]:8080\","
		"\"certificate-authority-data\":null}}],\n\t\"users\":[{\"name\":\"me\",\"user\":{}}],\"contexts\":[{\"name\":\"me@one\","
		"\"context\":{\"cluster\":\"one\",\"user\":\"me\"}}],\"current-context\":\"me@one\"}";
	struct kube_access a;

	(void)state;
	read_good(kubeadm, NULL, &a);
	assert_string_equal(a.server.at.host, "10.0.0.1");
	assert_int_equal(a.server.at.port, 6443);
	assert_said(a.ca_pem, "-----BEGIN CERTIFICATE-----\n");
	assert_said(a.cert_pem, "-----BEGIN CERTIFICATE-----\n");
	assert_said(a.key_pem, "-----BEGIN PRIVATE KEY-----\n");
	assert_said(a.token, NULL);
	kube_access_free(&a);
	read_good(rancher, NULL, &a);
	assert_string_equal(a.server.target, "/k8s/clusters/c-m-1");
	assert_said(a.token, "kubeconfig-u-1:abc");
	assert_said(a.ca_pem, "-----BEGIN CERTIFICATE-----\n");
	kube_access_free(&a);
	read_good(files, NULL, &a);
	assert_said(a.ca, "/etc/teal/ca.pem");
	assert_said(a.server_name, "kubernetes");
	assert_said(a.cert, "/etc/teal/pki/me.crt");
	assert_said(a.key, "/abs/me.key");
	assert_said(a.token_file, "/etc/teal/tok");
	kube_access_free(&a);
	read_good(json, NULL, &a);
	assert_false(a.server.tls);
	assert_int_equal(a.server.at.port, 8080);
	assert_said(a.ca_pem, NULL);
	kube_access_free(&a);
}

static void
test_a_context_is_chosen(void **state)
{
	static const char two[] =
		CLUSTER("") "- {name: two, cluster: {server: 'https://two.example', token: x}}\n" USER(
			"    token: a\n") "- {name: you, user: {token: b}}\n"
					  "contexts:\n- {name: me@one, context: {cluster: one, user: me}}\n- {name: you@two, context: {cluster: two, user: you}}\n";
	struct kube_access a;
	struct why why;

	(void)state;
	read_good(two, "you@two", &a);
	assert_string_equal(a.server.at.host, "two.example");
	assert_said(a.token, "b");
	kube_access_free(&a);
	assert_int_equal(kube_access_parse(str_from(two), PATH, NULL, &a, &why), E_USAGE);
	assert_string_equal(why.text, PATH ":1: it has no current-context; name one with kubernetes.context");
	assert_int_equal(kube_access_parse(str_from(two), PATH, "none", &a, &why), E_USAGE);
	assert_string_equal(why.text, PATH ":12: there is no context \"none\"; it has: me@one, you@two");
}

static const struct {
	const char *text, *why;
} refused[] = {
	{ "", "1: this is no kubeconfig" },
	{ "[]", "1: this is no kubeconfig" },
	{ "clusters: [\n{", "3: did not find expected node content" },
	{ CLUSTER("") CONTEXT, "1: there is no user \"me\"" },
	{ CONTEXT USER("    token: a\n"), "1: there is no cluster \"one\"" },
	{ "contexts:\n- name: a\n  context: {user: b}\ncurrent-context: a\n",
	  "3: the context \"a\" names no cluster" },
	{ WHOLE("    server: https://10.0.0.2\n", ""), "4: server is there twice" },
	{ "clusters:\n- {name: one, cluster: {server: 'ftp://x'}}\n" CONTEXT USER(""),
	  "2: server: expected http://HOST[:PORT]/PATH or https://" },
	{ "clusters:\n- {name: one, cluster: {server: }}\n" CONTEXT USER(""),
	  "2: the cluster has no server" },
	{ WHOLE("    insecure-skip-tls-verify: true\n", ""),
	  "4: insecure-skip-tls-verify: Teal asks no server that it cannot verify; " },
	{ WHOLE("    insecure-skip-tls-verify: yes\n", ""), "4: insecure-skip-tls-verify: " },
	{ WHOLE("    proxy-url: http://p:3128\n", ""), "4: proxy-url: " },
	{ WHOLE("", "    exec:\n      command: aws\n"), "15: exec: Teal runs no program for credentials; " },
	{ WHOLE("", "    auth-provider: {name: gcp}\n"), "15: auth-provider: " },
	{ WHOLE("", "    username: a\n    password: hush\n"), "15: username: " },
	{ WHOLE("", "    as: root\n"), "15: as: " },
	{ WHOLE("", "    token: REDACTED\n"),
	  "15: token is \"REDACTED\": kubectl config view leaves secrets out; make the file with --raw" },
	{ WHOLE("    certificate-authority-data: DATA+OMITTED\n", ""),
	  "4: certificate-authority-data is \"DATA+OMITTED\": " },
	{ WHOLE("    certificate-authority-data: hush\n", ""),
	  "4: certificate-authority-data is not PEM in base64" },
	{ WHOLE("    certificate-authority-data: '*'\n", ""),
	  "4: certificate-authority-data is not PEM in base64" },
	{ WHOLE("", "    token: [a]\n"), "15: token is no text" },
	{ WHOLE("", "    token: \"a\\0b\"\n"), "15: token has a byte that no text has" },
	{ WHOLE("", "    client-certificate: a\n"),
	  "15: of client-certificate and client-key there is only one" },
};

static void
test_what_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct kube_access a;
		struct why why = { "" };
		char *expected = must_printf(PATH ":%s", refused[i].why);

		assert_int_equal(kube_access_parse(str_from(refused[i].text), PATH, NULL, &a, &why), E_USAGE);
		if (strncmp(why.text, expected, strlen(expected)) != 0)
			fail_msg("%s\n%s\nexpected %s", refused[i].text, why.text, expected);
		assert_null(strstr(why.text, "hush"));
		assert_null(a.token);
		free(expected);
	}
}

/* A kubeconfig, and in it something n times. */
static char *
repeated(const char *before, const char *again, unsigned n, const char *after)
{
	char *text = must_alloc(1 << 20), *end = stpcpy(stpcpy(text, WHOLE("", "    token: hush\n")), before);

	for (unsigned i = 0; i < n; i++)
		end = stpcpy(end, again);
	for (unsigned i = 0; i < n; i++)
		end = stpcpy(end, after);
	stpcpy(end, "\n");
	return text;
}

/* What costs libyaml the square of its length is refused before it costs anything. */
static void
test_no_depth_and_no_names_without_end(void **state)
{
	static const struct {
		const char *before, *again, *why;
	} bombs[] = {
		{ "x: ", "[", PATH ":16: this is no kubeconfig: it has more than 64 levels" },
		{ "x: ", "{a: ", PATH ":16: this is no kubeconfig: it has more than 64 levels" },
		{ "x:\n", "- &a b\n", PATH ":1017: this is no kubeconfig: it has more than 1000 anchors" },
		{ "x:\n", "- &a {}\n", PATH ":1017: this is no kubeconfig: it has more than 1000 anchors" },
		{ "x:\n", "- &a []\n", PATH ":1017: this is no kubeconfig: it has more than 1000 anchors" },
	};
	struct kube_access a;
	char *text;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bombs); i++) {
		struct why why = { "" };

		text = repeated(bombs[i].before, bombs[i].again, 100000, "");
		assert_int_equal(kube_access_parse(str_from(text), PATH, NULL, &a, &why), E_USAGE);
		assert_string_equal(why.text, bombs[i].why);
		free(text);
	}
	text = repeated("x: ", "[", 63, "]");
	read_good(text, NULL, &a);
	kube_access_free(&a);
	free(text);
}

/* A file that is being written. */
static void
test_cut_anywhere(void **state)
{
	static const char whole[] = WHOLE("    certificate-authority-data: " CERT64 "\n",
					  "    client-key-data: " KEY64 "\n    token: a\n");

	(void)state;
	for (size_t n = 0; n < sizeof(whole) - 1; n++) {
		struct kube_access a;
		struct why why;

		if (kube_access_parse((struct str){ guarded(whole, n), n }, PATH, NULL, &a, &why) == OK)
			kube_access_free(&a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_tools_write),
		cmocka_unit_test(test_a_context_is_chosen),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_no_depth_and_no_names_without_end),
		cmocka_unit_test(test_cut_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
