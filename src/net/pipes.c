/* pipes.c - pipes for splice(2).  Thread: the owning worker. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/pipes.h"

#define PIPE_SIZE (256 * 1024)
/* Below this, copying is cheaper (and the kernel hands out such pipes to a
 * user that is over its pipe-user-pages-soft limit). */
#define PIPE_WORTH (128 * 1024)
#define PIPES_KEPT 64

void
pipes_init(struct pipes *pool, unsigned max_used)
{
	*pool = (struct pipes){ .max_used = max_used };
}

static void
destroy_pipe(struct pipe *p)
{
	close(p->rd);
	close(p->wr);
	free(p);
}

void
pipes_free(struct pipes *pool)
{
	while (pool->idle != NULL) {
		struct pipe *p = pool->idle;

		pool->idle = p->next;
		destroy_pipe(p);
	}
	pool->n_idle = 0;
}

struct pipe *
pipes_take(struct pipes *pool)
{
	struct pipe *p = pool->idle;
	int fds[2], size;

	if (pool->n_used >= pool->max_used)
		return NULL;
	if (p != NULL) {
		pool->idle = p->next;
		pool->n_idle--;
		pool->n_used++;
		return p;
	}
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0)
		return NULL;
	if ((size = fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE)) < 0)
		size = fcntl(fds[1], F_GETPIPE_SZ);
	if (size < PIPE_WORTH || (p = malloc(sizeof(*p))) == NULL) {
		close(fds[0]);
		close(fds[1]);
		return NULL;
	}
	*p = (struct pipe){ .rd = fds[0], .wr = fds[1], .capacity = (size_t)size };
	pool->n_used++;
	return p;
}

struct pipe *
pipes_adopt(struct pipes *pool, int rd, int wr, size_t held)
{
	int size = fcntl(wr, F_GETPIPE_SZ);
	struct pipe *p;

	if (size <= 0 || (p = malloc(sizeof(*p))) == NULL)
		return NULL;
	*p = (struct pipe){ .rd = rd, .wr = wr, .capacity = (size_t)size, .held = held };
	pool->n_used++;
	return p;
}

void
pipes_give(struct pipes *pool, struct pipe *p)
{
	pool->n_used--;
	if (p->held > 0 || pool->n_idle >= PIPES_KEPT) {
		destroy_pipe(p);
		return;
	}
	p->next = pool->idle;
	pool->idle = p;
	pool->n_idle++;
}
