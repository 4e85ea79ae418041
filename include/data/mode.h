/* mode.h - what a service's `mode` makes of its connections: the table by which handshakes, lanes,
 * workers and the proxy know TCP and HTTP.  HTTP's builds on TCP's: an exchange that is
 * upgraded becomes a session.
 * Members that may be NULL say so.  Thread: the owning worker. */
#ifndef DATA_MODE_H
#define DATA_MODE_H

#include "model/config.h"

struct handshake_facts;
struct io;
struct lane;
struct listener;
struct worker;

struct mode {
	/* The service is asked for each request, not for the client: whose that is, or
	 * whether it may come in, need not be known before. */
	bool by_request;
	/* A client whose handshake is over.  Takes over io and the permit, whatever happens; *io is
	 * closed on return. */
	void (*serve)(struct listener *li, struct io *io, struct handshake_facts *facts);

	/* -- of a lane -- */

	/* A new one: makes what connections need there. */
	void (*init)(struct lane *l);
	/* l->config is another one than old; changed: see lane_obey().  At first both are the same one. */
	void (*obey)(struct lane *l, const struct service_config *old, bool changed);
	/* The lane has taken a snapshot; flipped: of another color than before.  What is still
	 * dialing is the lane's. */
	void (*take_snapshot)(struct lane *l, bool flipped);
	/* Its part of a round of the color's drain; over: past its deadline.  False when nothing is left. */
	bool (*drain_step)(struct lane *l, enum color color, double now, bool over);
	/* Closes connections to backends that are merely kept: those of a color, one (false: there is
	 * none), all.  May be NULL, all three. */
	void (*drop_color)(struct lane *l, enum color color);
	bool (*drop_one)(struct lane *l);
	void (*drop_all)(struct lane *l);
	/* Each 100 ms.  May be NULL. */
	void (*tick)(struct lane *l);
	/* Nothing is here besides handshakes, dials and what they have become.  May be NULL. */
	bool (*is_empty)(struct lane *l);
	/* Cuts that; later free() what init() made.  May be NULL, both. */
	void (*end)(struct lane *l);
	void (*free)(struct lane *l);

	/* -- of a worker -- */

	/* Makes its buffers large enough for that configuration.  May be NULL. */
	void (*fit)(struct worker *w, const struct config *config);
	/* The turn of the loop is over: frees what has ended. */
	void (*reap)(struct worker *w);
};

#define MODES 2
extern const struct mode tcp_mode, http_mode;

#endif
