/* test_kube_node.c - nodes, lists and events of a Kubernetes API, whole, odd and cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "guarded.h"
#include "model/kube_node.h"

static char *const taints[] = { (char *)(uintptr_t) "karpenter.sh/disrupted:NoSchedule", (char *)(uintptr_t) "going" };
static const struct kube_terms terms = { "InternalIP", taints, ARRAY_LEN(taints) };

#define NODE(name, version, meta, spec, status) \
	"{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" name "\",\"uid\":\"1\",\"resourceVersion\":\"" version \
	"\"" meta "},\"spec\":{\"podCIDR\":\"10.2.0.0/24\"" spec "},\"status\":{\"conditions\":[{\"type\":\"MemoryPressure\"," \
	"\"status\":\"False\"},{\"type\":\"Ready\",\"status\":\"True\"}]" status "}}"
#define AT(ip) ",\"addresses\":[{\"type\":\"Hostname\",\"address\":\"Node-1\"},{\"type\":\"InternalIP\",\"address\":\"" ip "\"}]"
#define LIST(items, more) \
	"{\"kind\":\"NodeList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"900\"" more "},\"items\":" items "}"

static struct kube_node
one(const char *object)
{
	char *text = must_printf("{\"type\":\"MODIFIED\",\"object\":%s}", object);
	struct kube_event e;
	struct why why;

	if (kube_event_read(str_from(text), &terms, &e, &why) != OK)
		fail_msg("%s: %s", text, why.text);
	assert_int_equal(e.kind, KUBE_EVENT_NODE);
	free(text);
	return e.node;
}

static void
test_signals(void **state)
{
	static const struct {
		const char *object;
		unsigned signals;
		const char *taint;
	} cases[] = {
		{ NODE("a", "5", "", "", AT("10.0.0.1")), 0, "" },
		{ NODE("a", "5", ",\"labels\":{\"node.kubernetes.io/exclude-from-external-load-balancers\":\"\"}", "", ""),
		  KUBE_EXCLUDED, "" },
		{ NODE("a", "5", ",\"labels\":{\"node.kubernetes.io/exclude-from-external-load-balancers\":\"false\"}", "", ""),
		  KUBE_EXCLUDED, "" },
		{ NODE("a", "5", ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", "", ""), KUBE_DELETING, "" },
		{ NODE("a", "5", "", ",\"unschedulable\":true", ""), KUBE_CORDONED, "" },
		{ NODE("a", "5", "", ",\"unschedulable\":false", ""), 0, "" },
		{ NODE("a", "5", "", ",\"taints\":[{\"key\":\"node.kubernetes.io/unschedulable\",\"effect\":\"NoSchedule\"}]", ""),
		  KUBE_CORDONED, "" },
		{ NODE("a", "5", "", ",\"taints\":[{\"key\":\"ToBeDeletedByClusterAutoscaler\",\"value\":\"1\",\"effect\":\"NoSchedule\"}]", ""),
		  KUBE_TAINTED, "ToBeDeletedByClusterAutoscaler:NoSchedule" },
		{ NODE("a", "5", "", ",\"taints\":[{\"key\":\"other\",\"effect\":\"NoExecute\"},{\"key\":\"going\",\"effect\":\"NoExecute\"}]", ""),
		  KUBE_TAINTED, "going:NoExecute" },
		{ NODE("a", "5", "", ",\"taints\":[{\"key\":\"karpenter.sh/disrupted\",\"effect\":\"NoSchedule\"}]", ""),
		  KUBE_TAINTED, "karpenter.sh/disrupted:NoSchedule" },
		/* Another effect, a longer key, and a shorter one. */
		{ NODE("a", "5", "", ",\"taints\":[{\"key\":\"karpenter.sh/disrupted\",\"effect\":\"NoExecute\"},{\"key\":\"goings\"},{\"key\":\"goin\"}]", ""),
		  0, "" },
		{ "{\"kind\":\"Node\",\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"5\"},\"status\":{\"conditions\":"
		  "[{\"type\":\"Ready\",\"status\":\"Unknown\"}]}}",
		  KUBE_NOT_READY, "" },
		/* One that has just registered. */
		{ "{\"kind\":\"Node\",\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"5\"}}", KUBE_NOT_READY, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct kube_node n = one(cases[i].object);

		assert_string_equal(n.name, "a");
		assert_int_equal(n.version, 5);
		assert_int_equal(n.signals, cases[i].signals);
		assert_string_equal(n.taint, cases[i].taint);
	}
}

static void
test_addresses(void **state)
{
	(void)state;
	assert_string_equal(one(NODE("a", "5", "", "", AT("10.0.0.1"))).host, "10.0.0.1");
	assert_string_equal(one(NODE("a", "5", "", "", AT("FD00:0:0::0001"))).host, "fd00::1");
	assert_string_equal(one(NODE("a", "5", "", "", AT("Node-1.Example"))).host, "node-1.example");
	assert_string_equal(one(NODE("a", "5", "", "", "")).host, "");
	/* What is no address goes to no name server. */
	assert_string_equal(one(NODE("a", "5", "", "", AT("10.0.0.1:80"))).host, "");
	assert_string_equal(one(NODE("a", "5", "", "", AT("; rm -rf"))).host, "");
	assert_string_equal(one(NODE("a", "5", "", "", AT(""))).host, "");
	/* The first of dual stack. */
	assert_string_equal(one(NODE("a", "5", "", "",
				     ",\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"10.0.0.1\"},"
				     "{\"type\":\"InternalIP\",\"address\":\"fd00::1\"}]"))
				    .host,
			    "10.0.0.1");
}

static void
test_pages(void **state)
{
	struct kube_page p;
	struct why why;

	(void)state;
	assert_int_equal(kube_page_read(STR(LIST("[" NODE("a", "7", "", "", AT("10.0.0.1")) "," NODE("b", "8", "", "", AT("10.0.0.2")) "]",
						 ",\"continue\":\"tok/en=\",\"remainingItemCount\":3")),
					&terms, &p, &why),
			 OK);
	assert_int_equal(p.n, 2);
	assert_string_equal(p.list[1].name, "b");
	assert_string_equal(p.version, "900");
	assert_string_equal(p.next, "tok/en=");
	kube_page_free(&p);
	assert_int_equal(kube_page_read(STR(LIST("null", ",\"continue\":\"\"")), &terms, &p, &why), OK);
	assert_int_equal(p.n, 0);
	assert_null(p.next);
	kube_page_free(&p);
}

static void
test_what_is_no_list(void **state)
{
	static const char *const texts[] = {
		"", "null", "[]", "42", "<html>", "{}", "{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[]}",
		"{\"kind\":\"NodeList\",\"metadata\":{\"resourceVersion\":\"1\"}}",
		"{\"kind\":\"NodeList\",\"metadata\":{},\"items\":[]}",
		"{\"kind\":\"NodeList\",\"metadata\":{\"resourceVersion\":7},\"items\":[]}",
		LIST("{}", ""), LIST("[{}]", ""), LIST("[1]", ""), LIST("[{\"metadata\":{\"name\":\"../x\"}}]", ""),
		LIST("[]", "") "x",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct kube_page p;
		struct why why;

		if (kube_page_read(str_from(texts[i]), &terms, &p, &why) != E_STORE)
			fail_msg("\"%s\" was taken", texts[i]);
		assert_null(p.list);
		assert_true(why.text[0] != '\0');
	}
}

/* A list or an event that is cut anywhere is none. */
static void
test_every_cut(void **state)
{
	const struct str list = STR(LIST("[" NODE("a", "7", "", "", AT("10.0.0.1")) "]", "")),
			 event = STR("{\"type\":\"ADDED\",\"object\":" NODE("a", "7", "", "", AT("10.0.0.1")) "}");

	(void)state;
	for (size_t n = 0; n < list.n; n++) {
		struct kube_page p;
		struct why why;

		assert_int_equal(kube_page_read((struct str){ guarded(list.p, n), n }, &terms, &p, &why), E_STORE);
	}
	for (size_t n = 0; n < event.n; n++) {
		struct kube_event e;
		struct why why;

		assert_int_equal(kube_event_read((struct str){ guarded(event.p, n), n }, &terms, &e, &why), E_STORE);
	}
}

static void
test_events(void **state)
{
	struct kube_event e;
	struct why why;

	(void)state;
	assert_int_equal(kube_event_read(STR("{\"type\":\"DELETED\",\"object\":" NODE("a", "7", "", "", "") "}"), &terms, &e, &why), OK);
	assert_int_equal(e.kind, KUBE_EVENT_GONE);
	assert_string_equal(e.version, "7");
	assert_int_equal(kube_event_read(STR("{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Node\",\"apiVersion\":\"v1\","
					     "\"metadata\":{\"resourceVersion\":\"12\"}}}"),
					 &terms, &e, &why),
			 OK);
	assert_int_equal(e.kind, KUBE_EVENT_BOOKMARK);
	assert_string_equal(e.version, "12");
	assert_int_equal(kube_event_read(STR("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"status\":\"Failure\",\"code\":410,"
					     "\"reason\":\"Expired\",\"message\":\"too old resource version: 1 (5)\"}}"),
					 &terms, &e, &why),
			 OK);
	assert_int_equal(e.kind, KUBE_EVENT_ERROR);
	assert_int_equal(e.code, 410);
	assert_string_equal(e.message, "too old resource version: 1 (5)");
	/* Of a kind of tomorrow, of pods, and without a version. */
	assert_int_equal(kube_event_read(STR("{\"type\":\"MOVED\",\"object\":" NODE("a", "7", "", "", "") "}"), &terms, &e, &why), E_STORE);
	assert_int_equal(kube_event_read(STR("{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\","
					     "\"resourceVersion\":\"7\"}}}"),
					 &terms, &e, &why),
			 E_STORE);
	assert_int_equal(kube_event_read(STR("{\"type\":\"BOOKMARK\",\"object\":{}}"), &terms, &e, &why), E_STORE);
}

static void
test_words_of_the_api(void **state)
{
	char message[KUBE_MESSAGE];

	(void)state;
	kube_status_read(STR("{\"kind\":\"Status\",\"code\":401,\"message\":\"Unauthorized\\u000a\"}"), message);
	assert_string_equal(message, "Unauthorized ");
	kube_status_read(STR("<html>"), message);
	assert_string_equal(message, "");
	assert_int_equal(kube_version_number("18446744073709551615"), 0);
	assert_int_equal(kube_version_number("123"), 123);
	assert_int_equal(kube_version_number("a-1"), 0);
	assert_int_equal(kube_version_number(""), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signals),	    cmocka_unit_test(test_addresses), cmocka_unit_test(test_pages),
		cmocka_unit_test(test_what_is_no_list), cmocka_unit_test(test_every_cut), cmocka_unit_test(test_events),
		cmocka_unit_test(test_words_of_the_api),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
