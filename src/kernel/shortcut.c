/* shortcut.c - loads the program of src/kernel/bpf/shortcut.c and speaks with it by its
 * maps.  Thread: see the header. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "kernel/shortcut_private.h"

#ifdef TEAL_SHORTCUT

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

/* The object that clang made, a file of the build, as bytes. */
__asm__(".section .rodata\n.balign 8\n.globl shortcut_object, shortcut_object_end\nshortcut_object:\n.incbin \"" TEAL_SHORTCUT "\"\nshortcut_object_end:\n.previous\n");
extern const char shortcut_object[], shortcut_object_end[];

/* The most seconds that fit a timeout in milliseconds. */
#define SECONDS_MOST 4000000u

/* libbpf, which only those need who use this: it is opened then. */
#define FUNCTIONS(X) \
	X(libbpf_set_print) X(libbpf_get_error) X(bpf_object__open_mem) X(bpf_object__load) X(bpf_object__close) \
	X(bpf_object__find_program_by_name) X(bpf_program__fd) X(bpf_object__find_map_fd_by_name) X(bpf_map_update_elem) \
	X(bpf_map_lookup_elem) X(bpf_map_delete_elem) X(bpf_map_get_next_key) X(bpf_map__reuse_fd) X(bpf_object__find_map_by_name) X(bpf_map__key_size) X(bpf_map__value_size) X(ring_buffer__new) X(ring_buffer__consume) X(ring_buffer__epoll_fd) \
	X(ring_buffer__free)

#define POINTER(name) static typeof(name) *lib_##name;
FUNCTIONS(POINTER)

static bool
open_library(struct why *why)
{
	void *library = dlopen("libbpf.so.1", RTLD_NOW | RTLD_LOCAL);

#define FIND(name) \
	if (library == NULL || (lib_##name = (typeof(name) *)dlsym(library, #name)) == NULL) \
		return why_set(why, E_UNSUPPORTED, "libbpf.so.1: %s; apt-get install libbpf1", dlerror()), false;
	FUNCTIONS(FIND)
	return true;
}

static struct flow_tuple
tuple_of_key(const struct shortcut_key *key)
{
	struct flow_tuple t = { .family = key->family == 6 ? AF_INET6 : AF_INET,
				.protocol = key->protocol,
				.src_port = key->src_port,
				.dst_port = key->dst_port };

	memcpy(t.src, key->src, sizeof(t.src));
	memcpy(t.dst, key->dst, sizeof(t.dst));
	return t;
}

/* The first line of what libbpf complains of, for our own. */
static char complaint[160];

static int
on_complaint(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN && complaint[0] == '\0')
		vsnprintf(complaint, sizeof(complaint), format, args);
	complaint[strcspn(complaint, "\n")] = '\0';
	return 0;
}

/* The map of a process that gave way; -1: none. */
static int inherited = -1;

static void
forget_inherited(void)
{
	if (inherited >= 0)
		close(inherited);
	inherited = -1;
}

void
shortcut_inherit(int counts)
{
	forget_inherited();
	inherited = counts;
}

int
shortcut_bequeath(const struct shortcut *s)
{
	return fcntl(s->counts, F_DUPFD_CLOEXEC, 0);
}

static int
on_ask(void *arg, void *data, size_t size)
{
	struct shortcut *s = arg;
	const struct shortcut_ask *a = data;
	struct flow_tuple t;

	if (size < sizeof(*a))
		return 0;
	t = tuple_of_key(&a->key);
	if (s->on_ask != NULL)
		s->on_ask(s->arg, &t, (enum shortcut_asks)a->what);
	return 0;
}

/* Another build may count in another form: what is shorter the program refuses, what is longer would be too long for us. */
static int
reuse_counts(struct bpf_object *object, int fd)
{
	struct bpf_map *map = lib_bpf_object__find_map_by_name(object, "counts");
	int error = lib_bpf_map__reuse_fd(map, fd);

	if (error == 0 && (lib_bpf_map__key_size(map) != sizeof(struct shortcut_key) ||
			   lib_bpf_map__value_size(map) != sizeof(struct shortcut_count)))
		error = -EINVAL;
	return error;
}

static enum err
load_program(struct shortcut *s, struct why *why)
{
	struct bpf_program *program;
	int error;

	complaint[0] = '\0';
	s->object = lib_bpf_object__open_mem(shortcut_object, (size_t)(shortcut_object_end - shortcut_object), NULL);
	error = (int)lib_libbpf_get_error(s->object);
	if (error != 0)
		s->object = NULL;
	else if (inherited >= 0)
		error = reuse_counts(s->object, inherited);
	if (error == 0)
		error = lib_bpf_object__load(s->object);
	/* One of another build's form counts from 0. */
	if (error != 0 && inherited >= 0) {
		if (s->object != NULL)
			lib_bpf_object__close(s->object);
		forget_inherited();
		return load_program(s, why);
	}
	forget_inherited();
	if (error != 0)
		return why_set(why, E_UNSUPPORTED, "the kernel does not take the program: %s%s%s%s",
			       error == -EPERM ? "CAP_BPF and CAP_PERFMON are missing" : strerror(-error),
			       complaint[0] != '\0' ? " (" : "", complaint, complaint[0] != '\0' ? ")" : "");
	program = lib_bpf_object__find_program_by_name(s->object, "shortcut");
	s->program = lib_bpf_program__fd(program);
	s->settings = lib_bpf_object__find_map_fd_by_name(s->object, "settings");
	s->ports = lib_bpf_object__find_map_fd_by_name(s->object, "ports");
	s->links_map = lib_bpf_object__find_map_fd_by_name(s->object, "links");
	s->counts = lib_bpf_object__find_map_fd_by_name(s->object, "counts");
	s->asks = lib_bpf_object__find_map_fd_by_name(s->object, "asks");
	CHECK(s->program >= 0 && s->settings >= 0 && s->ports >= 0 && s->links_map >= 0 && s->counts >= 0);
	s->ring = lib_ring_buffer__new(s->asks, on_ask, s, NULL);
	if (s->ring == NULL)
		return why_set(why, E_UNSUPPORTED, "no ring of the program's questions: %s", strerror(errno));
	return OK;
}

enum err
shortcut_open(struct shortcut **out, unsigned tag, bool everywhere, struct why *why)
{
	struct shortcut *s;
	enum err e;

	*out = NULL;
	if (!open_library(why))
		return E_UNSUPPORTED;
	s = must_alloc(sizeof(*s));
	*s = (struct shortcut){ .tag = tag << 24, .everywhere = everywhere, .route_fd = -1 };
	pthread_mutex_init(&s->lock, NULL);
	lib_libbpf_set_print(on_complaint);
	if ((e = load_program(s, why)) == OK)
		e = shortcut_links_open(s, why);
	if (e != OK)
		shortcut_close(&s);
	*out = s;
	return e;
}

void
shortcut_close(struct shortcut **sp)
{
	struct shortcut *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	shortcut_links_close(s);
	if (s->ring != NULL)
		lib_ring_buffer__free(s->ring);
	if (s->object != NULL)
		lib_bpf_object__close(s->object);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void
shortcut_port(struct shortcut *s, unsigned protocol, unsigned port, uint8_t what)
{
	uint32_t key = (protocol == IPPROTO_UDP ? 1u << 16 : 0) | port;
	uint8_t had = 0, has;

	(void)lib_bpf_map_lookup_elem(s->ports, &key, &had);
	has = had | what;
	if (has != had)
		(void)lib_bpf_map_update_elem(s->ports, &key, &has, BPF_ANY);
}

static uint32_t
milliseconds(uint32_t seconds)
{
	return (seconds < SECONDS_MOST ? seconds : SECONDS_MOST) * 1000;
}

void
shortcut_timeouts(struct shortcut *s, uint32_t established, uint32_t unacknowledged, uint32_t udp_stream)
{
	const struct shortcut_settings now = { s->tag, milliseconds(established), milliseconds(unacknowledged),
					       milliseconds(udp_stream) };
	uint32_t key = 0;

	if (memcmp(&now, &s->told, sizeof(now)) == 0)
		return;
	s->told = now;
	(void)lib_bpf_map_update_elem(s->settings, &key, &now, BPF_ANY);
}

int
shortcut_asks_fd(const struct shortcut *s)
{
	return lib_ring_buffer__epoll_fd(s->ring);
}

void
shortcut_read_asks(struct shortcut *s, shortcut_ask_fn *fn, void *arg)
{
	s->on_ask = fn;
	s->arg = arg;
	(void)lib_ring_buffer__consume(s->ring);
	s->on_ask = NULL;
}

bool
shortcut_count(struct shortcut *s, const struct flow_tuple *tuple, bool take, struct shortcut_count *out)
{
	struct shortcut_key key = { .src_port = tuple->src_port,
				    .dst_port = tuple->dst_port,
				    .protocol = tuple->protocol,
				    .family = tuple->family == AF_INET6 ? 6 : 4 };

	memcpy(key.src, tuple->src, sizeof(key.src));
	memcpy(key.dst, tuple->dst, sizeof(key.dst));
	if (lib_bpf_map_lookup_elem(s->counts, &key, out) != 0)
		return false;
	if (take)
		(void)lib_bpf_map_delete_elem(s->counts, &key);
	/* It may only have asked. */
	return out->packets[0] + out->packets[1] > 0;
}

/* Those of the keys that nobody knows. */
static void
forget_dead(struct shortcut *s, const struct shortcut_key *keys, unsigned n, shortcut_alive_fn *is_alive, void *arg)
{
	struct flow_tuple tuples[SHORTCUT_SWEPT];
	bool alive[SHORTCUT_SWEPT] = { false };

	for (unsigned i = 0; i < n; i++)
		tuples[i] = tuple_of_key(&keys[i]);
	is_alive(arg, tuples, n, alive);
	for (unsigned i = 0; i < n; i++)
		if (!alive[i])
			(void)lib_bpf_map_delete_elem(s->counts, &keys[i]);
}

void
shortcut_sweep(struct shortcut *s, double idle, shortcut_alive_fn *is_alive, void *arg)
{
	struct shortcut_key keys[SHORTCUT_SWEPT], key, next;
	struct shortcut_count c;
	struct timespec now;
	unsigned n = 0;
	bool more;

	clock_gettime(CLOCK_MONOTONIC, &now);
	/* The next one is asked for before this one may go: from one that is gone the walk would begin anew. */
	more = lib_bpf_map_get_next_key(s->counts, NULL, &next) == 0;
	while (more) {
		key = next;
		more = lib_bpf_map_get_next_key(s->counts, &key, &next) == 0;
		if (lib_bpf_map_lookup_elem(s->counts, &key, &c) == 0 &&
		    (double)now.tv_sec - (double)c.last / 1e9 >= idle)
			keys[n++] = key;
		if (n == SHORTCUT_SWEPT || (n > 0 && !more)) {
			forget_dead(s, keys, n, is_alive, arg);
			n = 0;
		}
	}
}

void
shortcut_map_link(struct shortcut *s, unsigned index, bool on)
{
	const uint8_t one = 1;

	if (on)
		(void)lib_bpf_map_update_elem(s->links_map, &index, &one, BPF_ANY);
	else
		(void)lib_bpf_map_delete_elem(s->links_map, &index);
}

#else

enum err
shortcut_open(struct shortcut **out, unsigned tag, bool everywhere, struct why *why)
{
	(void)tag;
	(void)everywhere;
	*out = NULL;
	return why_set(why, E_UNSUPPORTED, "not built in: clang and libbpf-dev were missing when teald was built");
}

void
shortcut_close(struct shortcut **sp)
{
	CHECK(*sp == NULL);
}

void
shortcut_inherit(int counts)
{
	close(counts);
}

/* Without one nobody calls these. */
int shortcut_bequeath(const struct shortcut *s) { (void)s; return -1; }
void shortcut_sweep(struct shortcut *s, double idle, shortcut_alive_fn *fn, void *arg) { (void)s; (void)idle; (void)fn; (void)arg; }
void shortcut_port(struct shortcut *s, unsigned protocol, unsigned port, uint8_t what) { (void)s; (void)protocol; (void)port; (void)what; }
void shortcut_timeouts(struct shortcut *s, uint32_t a, uint32_t b, uint32_t c) { (void)s; (void)a; (void)b; (void)c; }
int shortcut_asks_fd(const struct shortcut *s) { (void)s; return -1; }
void shortcut_read_asks(struct shortcut *s, shortcut_ask_fn *fn, void *arg) { (void)s; (void)fn; (void)arg; }
bool shortcut_count(struct shortcut *s, const struct flow_tuple *t, bool take, struct shortcut_count *out) { (void)s; (void)t; (void)take; (void)out; return false; }
void shortcut_map_link(struct shortcut *s, unsigned index, bool on) { (void)s; (void)index; (void)on; }

#endif
