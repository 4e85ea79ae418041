/* test_config_kube.c - pools whose nodes a Kubernetes API tells, as they are configured. */
#include <sys/stat.h>

#include "config_file.h"

#define WATCHED(keys) \
	POOL("main = {\nkubernetes = {\n" keys "\n}; };", "nodes = \"main\"; green: { port = 1; }; blue: { port = 2; };")
#define AT "server = \"https://10.0.0.1:6443\";"

static void
test_what_is_read(void **state)
{
	const struct pool_config *p;
	const struct config *c;

	(void)state;
	c = good(WATCHED(AT));
	p = &c->pools[0];
	assert_string_equal(p->name, "main");
	assert_int_equal(p->n_hosts, 0);
	assert_int_equal(p->kube->n_servers, 1);
	assert_int_equal(p->kube->address, KUBE_INTERNAL_IP);
	assert_true(p->kube->min_ready.percent);
	assert_int_equal(p->kube->min_ready.value, 50);
	assert_int_equal(c->services[0].colors[GREEN].port, 1);
	assert_int_equal(c->services[0].colors[GREEN].n_backends, 0);
	assert_string_equal(c->services[0].pool, "main");
	assert_int_equal(t.warnings.n, 0);

	write_file("token", "t0p\n");
	assert_int_equal(chmod("token", 0640), 0);
	c = good(WATCHED("server = [\"https://rancher.example/k8s/clusters/c-1\", \"http://[::1]:8080\"]; token_file = \"token\";"
			 " selector = \"role=worker,!edge\"; address = \"ExternalIP\"; taints = [\"a/b\", \"c:NoExecute\"]; min_ready = 3;"));
	p = &c->pools[0];
	assert_int_equal(p->kube->n_servers, 2);
	assert_true(p->kube->servers[0].tls);
	assert_string_equal(p->kube->servers[0].target, "/k8s/clusters/c-1");
	assert_int_equal(p->kube->servers[1].at.port, 8080);
	assert_int_equal(p->kube->address, KUBE_EXTERNAL_IP);
	assert_int_equal(p->kube->n_taints, 2);
	assert_string_equal(p->kube->taints[1], "c:NoExecute");
	assert_false(p->kube->min_ready.percent);
	assert_int_equal(t.warnings.n, 1);
	assert_string_equal(t.warnings.lines[0], "teal.conf:4: node_pools.main: kubernetes.token_file: the token goes over the "
						 "network unencrypted; use https://");
}

/* A pool may be a group that lists its nodes as well. */
static void
test_nodes_of_a_group(void **state)
{
	const struct config *c;

	(void)state;
	c = good(POOL("main = { nodes = [\"10.0.0.1\", \"10.0.0.2\"]; };", "nodes = \"main\"; green: { port = 1; }; blue: { port = 2; };"));
	assert_int_equal(c->pools[0].n_hosts, 2);
	assert_null(c->pools[0].kube);
	assert_int_equal(c->services[0].colors[BLUE].n_backends, 2);
}

static const struct broken broken[] = {
	{ WATCHED(""), "3: node_pools.main: kubernetes: server is missing; add server = \"https://HOST:6443\"; or kubeconfig = "
		       "\"/etc/teal/kube.config\";" },
	{ WATCHED(AT "context = \"a\";"), "4: node_pools.main: kubernetes.context is that of a kubeconfig, and there is none" },
	{ WATCHED(AT "key = \"a\";"), "4: node_pools.main: kubernetes.key: cert is missing; add cert = \"/etc/teal/kube.crt\";" },
	{ WATCHED("kubeconfig = \"/nowhere\"; ca = \"a\";"), "4: node_pools.main: kubernetes.ca: kubeconfig says that already; keep one of the two" },
	{ WATCHED("server = 6443;"), "4: node_pools.main: kubernetes.server: expected a URL in double quotes, or a list of them, found the number 6443" },
	{ WATCHED("server = [];"), "4: node_pools.main: kubernetes.server: expected 1 to 16 URLs, found 0" },
	{ WATCHED("server = \"https://10.0.0.1/?a=b\";"), "4: node_pools.main: kubernetes.server: the URL of an API server has no query" },
	{ WATCHED(AT "selektor = \"x\";"), "4: node_pools.main: unknown key \"kubernetes.selektor\"; did you mean \"selector\"?" },
	{ WATCHED(AT "selector = \"\";"), "4: node_pools.main: kubernetes.selector: the text is empty; remove the key or fill it in" },
	{ WATCHED(AT "selector = \"r\\xc3\\xb6le\";"),
	  "4: node_pools.main: kubernetes.selector: expected a label selector such as \"node-role.kubernetes.io/worker\" or "
	  "\"pool=web,!edge\", found \"r\xc3\xb6le\"" },
	{ WATCHED(AT "address = \"InternalIp\";"),
	  "4: node_pools.main: kubernetes.address: expected \"InternalIP\", \"ExternalIP\", \"Hostname\", \"InternalDNS\" or "
	  "\"ExternalDNS\", found the text \"InternalIp\"; did you mean \"InternalIP\"?" },
	{ WATCHED(AT "taints = [\"a b\"];"), "4: node_pools.main: kubernetes.taints: \"a b\" is not the key of a taint, or KEY:EFFECT" },
	{ WATCHED(AT "taints = [\"a:NoExec\"];"),
	  "4: node_pools.main: kubernetes.taints: \"a:NoExec\": the effect of a taint is one of NoSchedule, PreferNoSchedule, NoExecute" },
	{ WATCHED(AT "min_ready = 0;"),
	  "4: node_pools.main: kubernetes.min_ready: expected \"1%\" to \"100%\", or a count of at least 1, found the number 0" },
	{ POOL("main = { };", "green: { backends = [\"10.0.0.1:1\"]; }; blue: { backends = [\"10.0.0.1:2\"]; };"),
	  "2: node_pools.main: has no nodes; add nodes = [\"10.0.0.11\"]; or kubernetes: { server = \"https://HOST:6443\"; }" },
	{ POOL("main = { nodes = [\"10.0.0.1\"];\nkubernetes = { " AT " }; };", "green: { backends = [\"10.0.0.1:1\"]; }; blue: { backends = [\"10.0.0.1:2\"]; };"),
	  "3: node_pools.main: has both nodes and kubernetes; keep one: tealctl node add brings one that the cluster does not have" },
	{ POOL("main = { nodes = [\"10.0.0.1:1\"]; };", "green: { backends = [\"10.0.0.1:1\"]; }; blue: { backends = [\"10.0.0.1:2\"]; };"),
	  "2: node_pools.main: nodes: \"10.0.0.1:1\" must not carry a port; each color adds its own" },
	{ POOL("main = { kubernetes = 3; };", "green: { backends = [\"10.0.0.1:1\"]; }; blue: { backends = [\"10.0.0.1:2\"]; };"),
	  "2: node_pools.main: kubernetes: expected a group { }, found the number 3" },
	{ POOL("a23456789012345678901234567890123456789012345678901234567890abcd = { kubernetes = { " AT " }; };",
	       "green: { backends = [\"10.0.0.1:1\"]; }; blue: { backends = [\"10.0.0.1:2\"]; };"),
	  "2: node_pools.a23456789012345678901234567890123456789012345678901234567890abcd: the name is too long: a pool that is "
	  "watched has one of at most 63 bytes" },
};

static void
test_what_is_wrong(void **state)
{
	(void)state;
	assert_broken(broken, ARRAY_LEN(broken));
}

/* What may be there a moment later stops no start. */
static void
test_files_that_are_not_there(void **state)
{
	(void)state;
	good(WATCHED("kubeconfig = \"no.config\";"));
	assert_int_equal(t.warnings.n, 1);
	assert_begins(t.warnings.lines[0], "teal.conf:4: node_pools.main: kubernetes.kubeconfig: cannot read no.config: ");
	write_file("kube.config", "clusters:\n- {name: a, cluster: {server: 'https://a', insecure-skip-tls-verify: true}}\n"
				  "contexts:\n- {name: a, context: {cluster: a}}\ncurrent-context: a\n");
	good(WATCHED("kubeconfig = \"kube.config\";"));
	assert_int_equal(t.warnings.n, 1);
	assert_begins(t.warnings.lines[0], "teal.conf:4: node_pools.main: kubernetes.kubeconfig: kube.config:2: insecure-skip-tls-verify: ");
	good(WATCHED(AT "token_file = \"no.token\"; ca = \"no.pem\";"));
	assert_int_equal(t.warnings.n, 2);
	assert_begins(t.warnings.lines[0], "teal.conf:4: node_pools.main: kubernetes.token_file: ");
	assert_begins(t.warnings.lines[1], "teal.conf:4: node_pools.main: kubernetes.ca: ");
}

static void
assert_digest(const char *keys, const char *of, bool same)
{
	char digest[KUBE_DIGEST];

	(void)kube_config_digest(good(keys)->pools[0].kube, digest);
	if ((strcmp(digest, of) == 0) != same)
		fail_msg("%s: %s, %s", keys, digest, of);
}

/* Who decides alike shares a lease; how the API is convinced is no matter of it. */
static void
test_the_digest_of_what_decides(void **state)
{
	char of[KUBE_DIGEST];

	(void)state;
	(void)kube_config_digest(good(WATCHED(AT))->pools[0].kube, of);
	assert_digest(WATCHED(AT "token_file = \"no.token\"; ca = \"no.pem\"; drain_timeout = 7.0; min_ready = \"50%\";"), of, true);
	assert_digest(WATCHED("server = \"https://10.0.0.1:6443/\";"), of, true);
	assert_digest(WATCHED("server = \"https://10.0.0.2:6443\";"), of, false);
	assert_digest(WATCHED(AT "selector = \"a\";"), of, false);
	assert_digest(WATCHED(AT "address = \"Hostname\";"), of, false);
	assert_digest(WATCHED(AT "taints = [\"a\"];"), of, false);
	assert_digest(WATCHED(AT "min_ready = 50;"), of, false);
	write_file("kube.config", "clusters:\n- {name: a, cluster: {server: 'https://10.0.0.1:6443'}}\n"
				  "contexts:\n- {name: a, context: {cluster: a}}\ncurrent-context: a\n");
	assert_digest(WATCHED("kubeconfig = \"kube.config\";"), of, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_read),
		cmocka_unit_test(test_nodes_of_a_group),
		cmocka_unit_test(test_what_is_wrong),
		cmocka_unit_test(test_files_that_are_not_there),
		cmocka_unit_test(test_the_digest_of_what_decides),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
