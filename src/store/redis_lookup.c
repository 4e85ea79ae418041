/* redis_lookup.c - what may block before a connection can be made.
 * Thread: main; the helper sees its job and nothing else. */
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "model/secret.h"
#include "store/redis_lookup.h"

struct lookup_job {
	struct job job;
	struct lookup *owner;	/* NULL: gone */
	lookup_fn *done;	/* NULL: given up */
	void *arg;
	char **password;	/* where it goes */

	/* The helper's. */
	struct redis_endpoint at;
	unsigned turn;
	char *password_file, *secret;
	struct addr address;
	enum err result;
	struct why why;
};

/* The addresses of a name in turn: ::1 may refuse where 127.0.0.1 answers. */
static enum err
resolve(const struct redis_endpoint *at, unsigned turn, struct addr *out, struct why *why)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *found, *a;
	unsigned n = 0;
	int rc;

	if (addr_parse_ip(at->host, at->port, out))
		return OK;
	if ((rc = getaddrinfo(at->host, NULL, &hints, &found)) != 0)
		return why_set(why, E_STORE, "cannot look up %s: %s", at->host, gai_strerror(rc));
	for (a = found; a != NULL; a = a->ai_next)
		n++;
	if (n == 0)
		return why_set(why, E_STORE, "cannot look up %s: it has no address", at->host);
	a = found;
	for (turn %= n; turn > 0; turn--)
		a = a->ai_next;
	memset(out, 0, sizeof(*out));
	memcpy(&out->u, a->ai_addr, a->ai_addrlen);
	out->len = a->ai_addrlen;
	addr_set_port(out, at->port);
	freeaddrinfo(found);
	return OK;
}

static void
address_lookup_work(struct job *job)
{
	struct lookup_job *j = container_of(job, struct lookup_job, job);

	if (j->at.host[0] != '\0')
		j->result = resolve(&j->at, j->turn, &j->address, &j->why);
	if (j->password_file != NULL && secret_read(j->password_file, &j->secret, NULL, NULL) != OK)
		j->secret = NULL;
}

static void
address_lookup_done(struct job *job)
{
	struct lookup_job *j = container_of(job, struct lookup_job, job);
	struct lookup *l = j->owner;

	if (l != NULL)
		l->job = NULL;
	if (l != NULL && j->secret != NULL) {
		secret_free(j->password);
		*j->password = j->secret;
		j->secret = NULL;
	}
	if (l != NULL && j->done != NULL) {
		j->done(j->arg, j->result, &j->address, &j->why);
	} else if (l != NULL && j->result == OK) {
		l->late = j->at;
		l->late_address = j->address;
	}
	secret_free(&j->secret);
	free(j->password_file);
	free(j);
}

void
lookup_start(struct lookup *l, const struct redis_endpoint *at, const char *password_file, char **password,
	     lookup_fn *done, void *arg)
{
	struct lookup_job *j;
	struct addr address;
	struct why why = { "" };

	if (l->job != NULL) {
		done(arg, why_set(&why, E_STORE, "still looking up %s", l->job->at.host), NULL, &why);
		return;
	}
	if (password_file == NULL && addr_parse_ip(at->host, at->port, &address)) {
		done(arg, OK, &address, &why);
		return;
	}
	if (l->late.host[0] != '\0' && l->late.port == at->port && strcmp(l->late.host, at->host) == 0) {
		l->late.host[0] = '\0';
		address = l->late_address;
		done(arg, OK, &address, &why);
		return;
	}
	l->job = j = must_alloc(sizeof(*j));
	j->job.work = address_lookup_work;
	j->job.done = address_lookup_done;
	j->owner = l;
	j->done = done;
	j->arg = arg;
	j->password = password;
	j->at = *at;
	j->turn = l->turn;
	j->password_file = password_file != NULL ? must_strdup(password_file) : NULL;
	jobs_add(l->jobs, &j->job);
}

void
lookup_give_up(struct lookup *l)
{
	if (l->job != NULL)
		l->job->done = NULL;
}

void
lookup_end(struct lookup *l)
{
	if (l->job != NULL)
		l->job->owner = NULL;
	l->job = NULL;
}
