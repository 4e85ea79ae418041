/* metrics_only.c - which services a scrape asks for.  Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "app/teald/metrics.h"
#include "app/teald/observe_query.h"

/* Each costs a look at every service for every family. */
#define METRICS_ONLY_MAX 32

/* A name mistyped is said, as a scrape without samples would not be noticed; what a pattern matches may come and go. */
static bool
may_be_asked_for(const char *name, const struct control *c)
{
	for (size_t i = 0; i < c->n && strchr(name, '*') == NULL; i++)
		if (strcmp(c->services[i]->service->config->name, name) == 0)
			return true;
	return strchr(name, '*') != NULL;
}

char *
metrics_only(struct str query, const struct control *c, const char **wrong)
{
	char name[RECORD_NAME], *only = NULL;
	struct str value;
	size_t n = 0;
	int asked = 0;

	*wrong = NULL;
	while (query_service(&query, &value)) {
		if (++asked > METRICS_ONLY_MAX)
			*wrong = "at most 32 services can be asked for; a pattern such as pay-* stands for many";
		else if (!query_decode(value, name, sizeof(name)) || !may_be_asked_for(name, c))
			*wrong = "there is no such service; a pattern such as pay-* may match none";
		if (*wrong != NULL) {
			free(only);
			return NULL;
		}
		only = must_grow(only, n + strlen(name) + 2, 1);
		memcpy(only + n, name, strlen(name) + 1);
		n += strlen(name) + 1;
		only[n] = '\0';
	}
	return only;
}

bool
metrics_wanted(const char *only, const char *service)
{
	for (; *only != '\0'; only += strlen(only) + 1)
		if (str_glob(only, service))
			return true;
	return false;
}
