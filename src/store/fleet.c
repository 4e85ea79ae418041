/* fleet.c - the fleet as its heartbeats tell.  Thread: main. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/fleet_pools.h"

void
fleet_member_free(struct fleet_member *m)
{
	free(m->services);
	m->services = NULL;
	m->n = 0;
	fleet_pools_free(m);
}

void
fleet_free(struct fleet *f)
{
	for (size_t i = 0; i < f->n; i++)
		fleet_member_free(&f->members[i]);
	free(f->members);
	f->members = NULL;
	f->n = 0;
}

void
fleet_begin(struct fleet *f, int64_t now_us, double now)
{
	fleet_free(f);
	f->now_us = now_us;
	f->now = now;
}

static bool
read_color(json_t *o, const char *word, struct fleet_service *s, enum color c)
{
	int healthy, needed, total;

	if (json_unpack(o, "{s:[iii]}", word, &healthy, &needed, &total) != 0 || healthy < 0 || needed < 0 ||
	    total < 0)
		return false;
	s->colors[c].healthy = (unsigned)healthy;
	s->colors[c].needed = (unsigned)needed;
	s->colors[c].total = (unsigned)total;
	return true;
}

static bool
read_services(json_t *o, struct fleet_member *m)
{
	const char *name;
	json_t *service;

	m->services = must_array(json_object_size(o), sizeof(struct fleet_service));
	json_object_foreach(o, name, service)
	{
		struct fleet_service *s = &m->services[m->n];
		json_int_t applied, cut = 0;
		int holding;

		if (json_unpack(service, "{s:I, s:i, s?I}", "applied", &applied, "holding", &holding, "cut", &cut) != 0 ||
		    applied < 0 || holding < 0 || cut < 0 || !str_copy(s->name, sizeof(s->name), str_from(name)) ||
		    !read_color(service, "green", s, GREEN) || !read_color(service, "blue", s, BLUE))
			return false;
		s->applied = (uint64_t)applied;
		s->holding = (unsigned)holding;
		s->cut = (uint64_t)cut;
		m->n++;
	}
	return true;
}

bool
fleet_add(struct fleet *f, struct str heartbeat, const char *self_id)
{
	json_t *o = json_loadb(heartbeat.p, heartbeat.n, JSON_REJECT_DUPLICATES, NULL), *services;
	struct fleet_member m = { 0 };
	const char *id, *host, *version, *run = "";
	json_int_t at;
	json_t *pools = NULL;
	int pid, ready, shares = 0;
	bool ok = json_unpack(o, "{s:s, s?s, s:s, s:s, s:i, s:I, s:b, s:o, s?o, s?b}", "id", &id, "run", &run, "host",
			      &host, "version", &version, "pid", &pid, "at_us", &at, "ready", &ready,
			      "services", &services, "pools", &pools, "shares", &shares) == 0 &&
		  at >= 0 && at <= CLOCK_US_MAX && json_is_object(services) &&
		  str_copy(m.id, sizeof(m.id), str_from(id)) && read_services(services, &m) &&
		  fleet_pools_read(pools, &m);

	if (ok) {
		str_copy(m.run, sizeof(m.run), str_from(run));
		str_copy(m.host, sizeof(m.host), str_from(host));
		str_copy(m.version, sizeof(m.version), str_from(version));
		m.pid = pid;
		m.at_us = at;
		m.heard = f->now;
		m.ready = ready != 0;
		m.holds_shares = shares != 0;
		m.self = strcmp(m.id, self_id) == 0;
		/* All use the store's clock: a time ahead of it is as wrong as an old one. */
		m.missing = !m.self && fabs((double)(f->now_us - at) / 1e6) > FLEET_MISSING_AFTER;
		f->members = must_grow(f->members, f->n + 1, sizeof(m));
		f->members[f->n++] = m;
	} else {
		fleet_member_free(&m);
	}
	json_decref(o);
	return ok;
}

static struct fleet_member *
member_of(const struct fleet *f, struct str id)
{
	for (size_t i = 0; i < f->n; i++)
		if (str_eq(id, f->members[i].id))
			return &f->members[i];
	return NULL;
}

static void
drop_member(struct fleet *f, struct fleet_member *m)
{
	fleet_member_free(m);
	*m = f->members[--f->n];
}

void
fleet_forget(struct fleet *f, struct str id)
{
	struct fleet_member *m = member_of(f, id);

	if (m != NULL)
		drop_member(f, m);
}

static int
by_place(const void *va, const void *vb)
{
	const struct fleet_member *a = va, *b = vb;
	int order = strcmp(a->host, b->host);

	if (order == 0)
		order = (a->pid > b->pid) - (a->pid < b->pid);
	return order != 0 ? order : strcmp(a->id, b->id);
}

void
fleet_remember(struct fleet *f, struct fleet *before, double life)
{
	for (size_t i = 0; i < before->n; i++) {
		struct fleet_member *old = &before->members[i], *m = member_of(f, str_from(old->id));

		if (m != NULL) {
			if (m->at_us == old->at_us)
				m->heard = old->heard;
		} else if (old->self || f->now - old->heard < life) {
			f->members = must_grow(f->members, f->n + 1, sizeof(*old));
			f->members[f->n] = *old;
			f->members[f->n++].missing = !old->self && f->now - old->heard > FLEET_MISSING_AFTER;
			old->services = NULL;
			old->pools = NULL;
			old->n = old->n_pools = 0;
		}
	}
	fleet_free(before);
	/* The order does not depend on who spoke last. */
	if (f->n > 1)
		qsort(f->members, f->n, sizeof(struct fleet_member), by_place);
}

static const struct fleet_service *
service_of_member(const struct fleet_member *m, const char *name)
{
	for (size_t i = 0; i < m->n; i++)
		if (strcmp(m->services[i].name, name) == 0)
			return &m->services[i];
	return NULL;
}

static const struct fleet_service *
service_of_member_at(const struct fleet_member *m, const char *name, size_t place)
{
	return place < m->n && strcmp(m->services[place].name, name) == 0 ? &m->services[place] :
									    service_of_member(m, name);
}

size_t
fleet_laggards(const struct fleet *f, const char *service, uint64_t epoch, struct buf *names, size_t *missing)
{
	size_t n = 0;

	*missing = 0;
	for (size_t i = 0; i < f->n; i++) {
		const struct fleet_member *m = &f->members[i];
		const struct fleet_service *s = m->self ? NULL : service_of_member(m, service);

		if (s == NULL || s->applied >= epoch)
			continue;
		buf_printf(names, "%s%s pid %d (%s, epoch %llu)", n++ > 0 ? ", " : "", m->host, m->pid,
			   m->missing ? "missing" : "late", (unsigned long long)s->applied);
		*missing += m->missing;
	}
	return n;
}

uint64_t
fleet_applied(const struct fleet *f, const char *service)
{
	uint64_t most = 0;

	for (size_t i = 0; i < f->n; i++) {
		const struct fleet_service *s = service_of_member(&f->members[i], service);

		if (s != NULL && s->applied > most)
			most = s->applied;
	}
	return most;
}

uint64_t
fleet_holding(const struct fleet *f, const char *service, uint64_t epoch)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < f->n; i++) {
		const struct fleet_member *m = &f->members[i];
		const struct fleet_service *s = m->self || m->missing ? NULL : service_of_member(m, service);

		if (s != NULL && s->applied >= epoch)
			sum += s->holding;
	}
	return sum;
}

uint64_t
fleet_cut(const struct fleet *f, const char *service, uint64_t epoch)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < f->n; i++) {
		const struct fleet_member *m = &f->members[i];
		const struct fleet_service *s = m->self || m->missing ? NULL : service_of_member(m, service);

		if (s != NULL && s->applied == epoch)
			sum += s->cut;
	}
	return sum;
}

size_t
fleet_objections(const struct fleet *f, const char *service, size_t place, enum color to, struct buf *names)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++) {
		const struct fleet_member *m = &f->members[i];
		const struct fleet_service *s = m->self || m->missing ? NULL : service_of_member_at(m, service, place);

		if (s == NULL || s->colors[to].healthy >= s->colors[to].needed)
			continue;
		buf_printf(names, "%s%s pid %d sees %u/%u healthy, %u needed", n++ > 0 ? "; " : "", m->host,
			   m->pid, s->colors[to].healthy, s->colors[to].total, s->colors[to].needed);
	}
	return n;
}

size_t
fleet_without_shares(const struct fleet *f, const char *service, struct buf *names)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++) {
		const struct fleet_member *m = &f->members[i];

		if (!m->self && !m->holds_shares && service_of_member(m, service) != NULL)
			buf_printf(names, "%s%s pid %d (%s)", n++ > 0 ? ", " : "", m->host, m->pid, m->version);
	}
	return n;
}

static void
member_color(struct json *j, const struct fleet_service *s, enum color c)
{
	json_array(j, color_word(c));
	json_u64(j, NULL, s->colors[c].healthy);
	json_u64(j, NULL, s->colors[c].needed);
	json_u64(j, NULL, s->colors[c].total);
	json_array_end(j);
}

void
fleet_format(const struct fleet_member *m, struct buf *out)
{
	struct json j;

	json_init(&j, out);
	json_object(&j, NULL);
	json_cstr(&j, "id", m->id);
	json_bool(&j, "shares", true);
	json_cstr(&j, "run", m->run);
	json_cstr(&j, "host", m->host);
	json_cstr(&j, "version", m->version);
	json_i64(&j, "pid", m->pid);
	json_i64(&j, "at_us", m->at_us);
	json_bool(&j, "ready", m->ready);
	json_object(&j, "services");
	for (size_t i = 0; i < m->n; i++) {
		json_object(&j, m->services[i].name);
		json_u64(&j, "applied", m->services[i].applied);
		json_u64(&j, "holding", m->services[i].holding);
		json_u64(&j, "cut", m->services[i].cut);
		member_color(&j, &m->services[i], GREEN);
		member_color(&j, &m->services[i], BLUE);
		json_object_end(&j);
	}
	json_object_end(&j);
	fleet_pools_format(m, &j);
	json_object_end(&j);
}

static void
member_service(struct json *j, const struct fleet_service *s)
{
	json_object(j, s->name);
	json_u64(j, "applied", s->applied);
	json_u64(j, "holding", s->holding);
	for (int c = 0; c < COLORS; c++) {
		json_object(j, color_word((enum color)c));
		json_u64(j, "healthy", s->colors[c].healthy);
		json_u64(j, "needed", s->colors[c].needed);
		json_u64(j, "total", s->colors[c].total);
		json_object_end(j);
	}
	json_object_end(j);
}

void
fleet_json(const struct fleet *f, struct json *j, bool (*wants)(const void *arg, const char *service),
	   const void *arg)
{
	json_array(j, "fleet");
	for (size_t i = 0; i < f->n; i++) {
		const struct fleet_member *m = &f->members[i];
		double age = m->self ? 0 : ((double)f->now_us - (double)m->at_us) / 1e6;
		char seen[CLOCK_TEXT];

		clock_format(m->at_us, 3, seen);
		json_object(j, NULL);
		json_cstr(j, "id", m->id);
		json_cstr(j, "host", m->host);
		json_i64(j, "pid", m->pid);
		json_cstr(j, "version", m->version);
		json_bool(j, "self", m->self);
		json_bool(j, "ready", m->ready);
		json_bool(j, "missing", m->missing);
		json_cstr(j, "last_seen", seen);
		json_double(j, "age", age > 0 ? round(age * 1000) / 1000 : 0);
		json_object(j, "services");
		for (size_t k = 0; k < m->n; k++)
			if (wants == NULL || wants(arg, m->services[k].name))
				member_service(j, &m->services[k]);
		json_object_end(j);
		json_object_end(j);
	}
	json_array_end(j);
}

size_t
fleet_count(const struct fleet *f, bool missing)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++)
		n += f->members[i].missing == missing;
	return n;
}
