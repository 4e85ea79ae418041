/* backend.h - one address that serves one color of one service.
 * Refcounted, because a session pins the backend it was given while the
 * configuration, the nodes and the snapshots move on.  Survives snapshots
 * while (service, color, address) stays. */
#ifndef MODEL_BACKEND_H
#define MODEL_BACKEND_H

#include <stdatomic.h>
#include <stdint.h>

#include "model/color.h"
#include "net/addr.h"

#define BACKEND_MAGIC 0x6261636bu

/* What the health checks say.  CHECKING: no verdict yet, not usable. */
enum backend_state { BACKEND_CHECKING, BACKEND_UP, BACKEND_DOWN };

struct backend {
	uint32_t magic;
	_Atomic uint32_t refs;
	/* Immutable. */
	enum color color;
	struct addr address;	/* where traffic goes */
	struct addr health_address;	/* where checks go; the same unless health_port */
	char text[ADDR_TEXT];	/* address, as users see it */

	/* Main's: the verdict of the checks.  Workers see it only as presence
	 * in a snapshot. */
	enum backend_state state;
	int64_t since_us;	/* wall clock of the last change of state */
	char error[96];	/* why the last check failed; "" after a passed one */

	/* Any thread, relaxed; on a line of their own. */
	_Alignas(64) _Atomic uint32_t connections;	/* now, all entrances */
	_Atomic uint64_t connect_failures;	/* since the start */
};

/* One reference, the caller's.  Aborts when memory is out. */
struct backend *backend_new(enum color color, const struct addr *address, const struct addr *health_address);
struct backend *backend_ref(struct backend *b);
/* Consumes the caller's reference: *bp is NULL on return. */
void backend_unref(struct backend **bp);

const char *backend_state_word(enum backend_state s);	/* "checking" "up" "down" */

#endif
