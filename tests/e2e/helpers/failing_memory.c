/* failing_memory.c - a library that a test preloads into teald (LD_PRELOAD), so
 * that memory is out for its workers now and then, as often as the test says.
 * failing_memory.py compiles it and says how often.
 *
 * The file TEAL_FAILING_MEMORY is a struct shared.  Only threads whose name
 * begins with "worker" are refused: main gives up when memory is out, as it
 * should.  What libev asks for is granted, for it knows no other way. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

struct shared {
	int64_t permille; /* of all requests, written by the test */
	int64_t asked, failed;
	int64_t only; /* those of OpenSSL's alone */
	int64_t least; /* those of so many bytes and more */
};

static struct shared *shared;
static __thread uint64_t random_state __attribute__((tls_model("initial-exec")));
static __thread bool busy __attribute__((tls_model("initial-exec")));

static __attribute__((constructor)) void
begin(void)
{
	const char *path = getenv("TEAL_FAILING_MEMORY");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at = fd >= 0 ? mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (fd >= 0)
		close(fd);
	if (at != MAP_FAILED)
		__atomic_store_n(&shared, at, __ATOMIC_RELEASE);
}

static bool
is_worker(void)
{
	char name[32] = "";

	return pthread_getname_np(pthread_self(), name, sizeof name) == 0 && strncmp(name, "worker", 6) == 0;
}

/* Is it the program itself, or OpenSSL, that asks? */
static bool
may_fail(const void *caller, const struct shared *s)
{
	Dl_info info;

	if (dladdr(caller, &info) == 0 || info.dli_fname == NULL || strstr(info.dli_fname, "libev") != NULL)
		return false;
	return !s->only || strstr(info.dli_fname, "libcrypto") != NULL || strstr(info.dli_fname, "libssl") != NULL;
}

static bool
fails(const void *caller, size_t n)
{
	struct shared *s = __atomic_load_n(&shared, __ATOMIC_ACQUIRE);
	int64_t permille = s != NULL ? __atomic_load_n(&s->permille, __ATOMIC_RELAXED) : 0;
	bool fail = false;

	if (permille == 0 || busy)
		return false;
	busy = true;
	if (n >= (size_t)__atomic_load_n(&s->least, __ATOMIC_RELAXED) && is_worker() && may_fail(caller, s)) {
		__atomic_fetch_add(&s->asked, 1, __ATOMIC_RELAXED);
		if (random_state == 0)
			random_state = (uint64_t)(uintptr_t)&random_state | 1;
		random_state ^= random_state << 13;
		random_state ^= random_state >> 7;
		random_state ^= random_state << 17;
		fail = (int64_t)(random_state >> 20) % 1000 < permille;
		if (fail)
			__atomic_fetch_add(&s->failed, 1, __ATOMIC_RELAXED);
	}
	busy = false;
	if (fail)
		errno = ENOMEM;
	return fail;
}

void *
malloc(size_t n)
{
	return fails(__builtin_return_address(0), n) ? NULL : __libc_malloc(n);
}

void *
calloc(size_t n, size_t size)
{
	return fails(__builtin_return_address(0), n * size) ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t n)
{
	return fails(__builtin_return_address(0), n) ? NULL : __libc_realloc(p, n);
}
