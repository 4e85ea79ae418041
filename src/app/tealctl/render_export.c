/* render_export.c - `export`: a service as objects of Kubernetes, in YAML: Services
 * of type NodePort, or a Gateway and a route of the Gateway API.  One thread.
 *
 * Made of a reading of `status` alone.  What teald does not know, pods, certificates
 * and classes, is said in comments: where something has to be put in.
 *
 * Source: Kubernetes API, Service v1; Gateway API v1 (Gateway, HTTPRoute) and
 * v1alpha2 (TCPRoute, TLSRoute, UDPRoute). */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/tealctl/render.h"
#include "app/tealctl/say.h"

#define NAME_MAX_K8S 63	/* of a label, RFC 1123 */
#define NODE_PORT_MIN 30000
#define NODE_PORT_MAX 32767

struct exporting {
	struct render *r;
	json_t *service;	/* as `status SERVICE` has it; borrowed */
	const char *name;
	const char *active;	/* NULL: without colors */
	struct buf out;
};

/* A string as YAML, in quotes: JSON's are YAML's, too. */
static void
put_yaml_string(struct buf *b, json_t *value)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);

	buf_printf(b, "%s", text != NULL ? text : "\"\"");
	free(text);
}

/* A name that Kubernetes takes: service and word, or service alone; in quotes, for YAML has other uses for
 * words such as no and null. */
static void
put_name(struct buf *b, const char *service, const char *word)
{
	size_t room = NAME_MAX_K8S - (*word != '\0' ? strlen(word) + 1 : 0), n = strnlen(service, room);
	char name[NAME_MAX_K8S + 1];

	for (size_t i = 0; i < n; i++)
		name[i] = isalnum((unsigned char)service[i]) ? (char)tolower((unsigned char)service[i]) : '-';
	while (n > 0 && name[n - 1] == '-')
		n--;
	buf_printf(b, "\"%s%.*s%s%s\"", isalpha((unsigned char)name[0]) ? "" : "s", (int)n, name,
		   *word != '\0' ? "-" : "", word);
}

/* Of "10.0.0.1:443" and "[::]:443".  False: a Unix socket. */
static bool
split_entrance(const char *text, struct str *host, unsigned *port)
{
	const char *colon = strrchr(text, ':');

	if (strncmp(text, "unix:", 5) == 0 || colon == NULL)
		return false;
	*host = (struct str){ text, (size_t)(colon - text) };
	if (host->n > 2 && host->p[0] == '[')
		*host = (struct str){ host->p + 1, host->n - 2 };
	*port = (unsigned)strtoul(colon + 1, NULL, 10);
	return true;
}

/* The one port of all backends of a color; 0, and the reason is said, where there is none. */
static unsigned
port_of(struct exporting *x, const char *color, json_t *state)
{
	json_t *backend;
	unsigned port = 0, other;
	struct str host;
	size_t i;

	json_array_foreach(json_at(state, "backends"), i, backend)
	{
		const char *address = json_string_value(json_at(backend, "address"));

		if (address == NULL || !split_entrance(address, &host, &other))
			continue;
		if (port != 0 && other != port) {
			output_complain(
				x->r->out,
				"%s: %s%sbackends have the ports %u and %u; a Service has the same port on all nodes",
				x->name, color, *color != '\0' ? "'s " : "", port, other);
			return 0;
		}
		port = other;
	}
	if (port == 0)
		output_complain(x->r->out, "%s: %s%shas no backend to describe", x->name, color,
				*color != '\0' ? " " : "it ");
	return port;
}

static const char *
transport_of(const struct exporting *x)
{
	json_t *mode = json_at(x->service, "mode");

	return json_is_string(mode) && strcmp(json_string_value(mode), "udp") == 0 ? "UDP" : "TCP";
}

static void
put_export_comment(struct exporting *x)
{
	buf_printf(&x->out, "# ");
	put_yaml_string(&x->out, json_at(x->service, "name"));
	say_into(&x->out, &(struct output){ .terminal = false }, x->service,
		 x->active != NULL ? " of Teal: {active} is active at epoch {epoch}.\n" :
				     " of Teal, without colors.\n");
}

static void
put_meta(struct exporting *x, const char *version, const char *kind, const char *word)
{
	buf_printf(&x->out, "---\napiVersion: %s\nkind: %s\nmetadata:\n  name: ", version, kind);
	put_name(&x->out, x->name, word);
	buf_printf(&x->out, "\n  annotations:\n    teal/service: ");
	put_yaml_string(&x->out, json_at(x->service, "name"));
	buf_printf(&x->out, "\n");
}

/* ---- Services ---- */

static bool
put_services(struct exporting *x)
{
	json_t *state;
	const char *color;

	buf_printf(
		&x->out,
		"# Teal knows nodes and ports, and no pods: put in the selector and targetPort of each.\n");
	json_object_foreach(json_at(x->service, "colors"), color, state)
	{
		unsigned port = port_of(x, color, state);

		if (port == 0)
			return false;
		put_meta(x, "v1", "Service", color);
		if (*color != '\0')
			buf_printf(&x->out, "    teal/color: %s\n", color);
		buf_printf(&x->out, "spec:\n  type: NodePort\n  ports:\n");
		if (port < NODE_PORT_MIN || port > NODE_PORT_MAX)
			buf_printf(
				&x->out,
				"    # outside of %d-%d: the cluster needs another --service-node-port-range\n",
				NODE_PORT_MIN, NODE_PORT_MAX);
		buf_printf(&x->out,
			   "    - name: main\n      protocol: %s\n      port: %u\n      nodePort: %u\n",
			   transport_of(x), port, port);
	}
	return true;
}

/* ---- Gateway and route ---- */

/* What kind of traffic: the protocol of a listener, and the kind and version of the route. */
struct gateway_words {
	const char *protocol, *route, *version;
	bool certificate;	/* TLS ends at the gateway */
	bool hosts;	/* the route has names */
};

static struct gateway_words
gateway_words_of(const struct exporting *x)
{
	const char *mode = json_string_value(json_at(x->service, "mode"));
	bool tls = json_has(x->service, "tls");

	if (mode != NULL && strcmp(mode, "http") == 0)
		return (struct gateway_words){ tls ? "HTTPS" : "HTTP", "HTTPRoute", "v1", tls, true };
	if (mode != NULL && strcmp(mode, "udp") == 0)
		return (struct gateway_words){ "UDP", "UDPRoute", "v1alpha2", false, false };
	if (tls)
		return (struct gateway_words){ "TLS", "TCPRoute", "v1alpha2", true, false };
	if (json_has(x->service, "sni") || json_at(x->service, "sni_map_names") != NULL)
		return (struct gateway_words){ "TLS", "TLSRoute", "v1alpha2", false, true };
	return (struct gateway_words){ "TCP", "TCPRoute", "v1alpha2", false, false };
}

static void
put_listener(struct exporting *x, const struct gateway_words *w, unsigned port)
{
	buf_printf(&x->out, "    - name: main-%u\n      protocol: %s\n      port: %u\n", port, w->protocol,
		   port);
	if (w->certificate) {
		buf_printf(
			&x->out,
			"      tls:\n        mode: Terminate\n        certificateRefs:\n          - name: ");
		put_name(&x->out, x->name, "tls");
		buf_printf(&x->out, "  # a Secret of type kubernetes.io/tls\n");
	} else if (strcmp(w->protocol, "TLS") == 0) {
		buf_printf(&x->out, "      tls:\n        mode: Passthrough\n");
	}
	buf_printf(&x->out, "      allowedRoutes:\n        kinds:\n          - kind: %s\n", w->route);
}

/* A listener for each port, and the addresses behind them.  False: there is none. */
static bool
put_listeners(struct exporting *x, const struct gateway_words *w)
{
	json_t *list = json_at(x->service, "listen"), *entry;
	unsigned n = 0, port, before;
	struct str host, unused;
	struct buf addresses;
	size_t i;

	buf_init(&addresses, 1 << 20);
	json_array_foreach(list, i, entry)
	{
		const char *text = json_string_value(entry);
		bool known = false;

		if (text == NULL || !split_entrance(text, &host, &port))
			continue;
		n++;
		for (size_t k = 0; k < i; k++)
			known = known || (split_entrance(json_string_value(json_array_get(list, k)), &unused,
							 &before) &&
					  before == port);
		if (!known)
			put_listener(x, w, port);
		if (!str_eq(host, "0.0.0.0") && !str_eq(host, "::"))
			buf_printf(&addresses, "    - type: IPAddress\n      value: \"%.*s\"\n", (int)host.n,
				   host.p);
	}
	if (buf_len(&addresses) > 0)
		buf_printf(&x->out, "  addresses:\n%.*s", (int)buf_len(&addresses), buf_str(&addresses).p);
	buf_free(&addresses);
	return n > 0;
}

static bool
put_route(struct exporting *x, const struct gateway_words *w)
{
	char version[64];
	json_t *hosts = json_at(x->service, json_has(x->service, "sni") ? "sni" : "hosts"), *state, *host,
	       *path;
	const char *color;
	size_t i;

	snprintf(version, sizeof(version), "gateway.networking.k8s.io/%s", w->version);
	put_meta(x, version, w->route, "");
	buf_printf(&x->out, "spec:\n  parentRefs:\n    - name: ");
	put_name(&x->out, x->name, "");
	buf_printf(&x->out, "\n");
	if (json_at(x->service, "sni_map_names") != NULL)
		buf_printf(&x->out, "  # Not described: the names of sni_map; they belong into hostnames.\n");
	if (w->hosts && json_array_size(hosts) > 0 && !json_has(x->service, "default")) {
		buf_printf(&x->out, "  hostnames:\n");
		json_array_foreach(hosts, i, host)
		{
			buf_printf(&x->out, "    - ");
			put_yaml_string(&x->out, host);
			buf_printf(&x->out, "\n");
		}
	}
	buf_printf(&x->out, "  rules:\n    - backendRefs:\n");
	json_object_foreach(json_at(x->service, "colors"), color, state)
	{
		unsigned port = port_of(x, color, state);

		if (port == 0)
			return false;
		buf_printf(&x->out, "        - name: ");
		put_name(&x->out, x->name, color);
		buf_printf(&x->out, "\n          port: %u\n", port);
		if (*color != '\0')
			buf_printf(&x->out, "          weight: %d\n",
				   x->active != NULL && strcmp(color, x->active) == 0);
	}
	if (json_array_size(json_at(x->service, "paths")) > 0)
		buf_printf(&x->out, "      matches:\n");
	json_array_foreach(json_at(x->service, "paths"), i, path)
	{
		buf_printf(&x->out, "        - path:\n            type: PathPrefix\n            value: ");
		put_yaml_string(&x->out, path);
		buf_printf(&x->out, "\n");
	}
	return true;
}

static bool
put_gateway(struct exporting *x)
{
	struct gateway_words w = gateway_words_of(x);

	put_meta(x, "gateway.networking.k8s.io/v1", "Gateway", "");
	buf_printf(&x->out, "spec:\n  gatewayClassName: teal  # the class of the cluster's own controller\n");
	if (json_has(x->service, "plain_listen"))
		buf_printf(&x->out, "  # Not described: what plain_listen answers without TLS.\n");
	buf_printf(&x->out, "  listeners:\n");
	if (!put_listeners(x, &w)) {
		output_complain(x->r->out, "%s: it listens at Unix sockets only, which no Gateway can name",
				x->name);
		return false;
	}
	return put_route(x, &w);
}

int
render_export(struct render *r, json_t *object)
{
	json_t *service = json_array_get(json_at(object, "services"), 0);
	const char *name = json_string_value(json_at(service, "name"));
	struct exporting x = { .r = r, .service = service, .name = name != NULL ? name : "" };
	bool good;

	buf_init(&x.out, 1 << 24);
	x.active = json_string_value(json_at(service, "active"));
	put_export_comment(&x);
	good = r->export == EXPORT_GATEWAY ? put_gateway(&x) : put_services(&x);
	if (good)
		fwrite(buf_str(&x.out).p, 1, buf_len(&x.out), stdout);
	buf_free(&x.out);
	return good ? 0 : err_exit_status(E_UNSUPPORTED);
}
