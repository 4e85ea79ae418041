/* mode.h - what a service's `mode` makes of its connections: the table by which handshakes, lanes,
 * workers, listeners and the proxy know TCP, HTTP and UDP.  HTTP's builds on TCP's: an exchange that is
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

/* What a listener does whose socket takes datagrams, not connections: it has no acceptor. */
struct mode_datagrams {
	/* fd is consumed; nothing is read before resume().  awaits: another process has flows that came by this
	 * socket, and hands them over first.  Main, before the worker runs, or the worker. */
	void (*open)(struct listener *li, int fd, bool awaits);
	/* From now on the socket is that of another listener; what came by it stays. */
	void (*move)(struct listener *to, struct listener *from);
	void (*resume)(struct listener *li);
	void (*pause)(struct listener *li);
	/* Nothing new is taken; what there is goes on, and the socket stays open for it. */
	void (*close)(struct listener *li);
	/* The same, and another process reads what comes: it waits for what is here. */
	void (*yield)(struct listener *li);
};

struct mode {
	/* The service is asked for each request, not for the client: whose that is, or
	 * whether it may come in, need not be known before. */
	bool by_request;
	/* NULL: clients connect. */
	const struct mode_datagrams *datagrams;
	/* A client whose handshake is over.  Takes over io and the permit, whatever happens; *io is
	 * closed on return.  NULL where none connects. */
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

#define MODES 3
extern const struct mode tcp_mode, http_mode, udp_mode;

#endif
