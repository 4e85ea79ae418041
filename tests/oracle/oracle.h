/* oracle.h - a judge of messages: clients and backends in one process, a
 * proxy under test between them.
 *
 * Every request carries the number of its making and a body that is a function
 * of that number; every answer likewise.  So each side can say, byte by byte,
 * whether what it reads was meant for it.  Clients pipeline, cut, stall,
 * half-close and reset at any byte; backends answer early, late, too much, too
 * little and in pieces, close and reset at any byte.  All of it is drawn from
 * a seed.  One thread: what is written before something else was read, was.
 *
 * This program shares no code with the proxy: it would share its mistakes. */
#ifndef TESTS_ORACLE_H
#define TESTS_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- chance ---- */

/* One step of splitmix64 (Steele, Lea, Flood 2014). */
uint64_t draw(uint64_t *state);
/* 0 .. n-1; n > 0. */
static inline uint64_t
draw_below(uint64_t *state, uint64_t n)
{
	return draw(state) % n;
}
/* True in so many of 1,000 cases. */
static inline bool
draw_permille(uint64_t *state, unsigned n)
{
	return draw(state) % 1000 < n;
}

/* ---- what was made ---- */

enum method { GET, HEAD, POST, PUT, DELETE, METHODS };
extern const char *const method_names[METHODS];

enum framing { NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE };

/* A request as its client made it.  Kept in a ring: the last REQUESTS. */
struct request {
	uint64_t id;
	enum method method;
	enum framing framing;
	uint32_t length;	/* of the body, in bytes */
	bool hostile;	/* its body reads like requests */
	bool old;	/* of HTTP/1.0, kept alive */
	bool begun, sent;	/* its first byte, its last byte was written to the socket */
	bool refused;	/* the client was told 413 */
	unsigned whole;	/* how often a backend has read it to its end */
};

/* An answer as its backend made it.  Kept in a ring: the last ANSWERS. */
struct answer {
	uint64_t id, request;
	int status;
	enum framing framing;
	uint32_t length;	/* of the body, in bytes; 0 where the status or method has none */
	bool cut;	/* the backend ended it, or will, before its end */
};

struct request *request_new(void);
struct request *request_find(uint64_t id);	/* NULL: none is so called */
struct answer *answer_new(void);
struct answer *answer_find(uint64_t id);

/* Bytes [from, from + n) of the body with that number.  kind: 'Q' or 'A';
 * hostile: 'Q' that reads like requests. */
void body_fill(uint8_t *to, size_t n, char kind, bool hostile, uint64_t id, uint64_t from);
/* True if these are those bytes. */
bool body_is(const uint8_t *bytes, size_t n, char kind, bool hostile, uint64_t id, uint64_t from);

/* ---- bytes to send ---- */

struct out {
	uint8_t *bytes;
	size_t n, size, sent;
};

void out_clear(struct out *);
void out_free(struct out *);
void out_add(struct out *, const void *bytes, size_t n);
void out_print(struct out *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends a body of n bytes in that framing; chunks are cut by chance.  blanks:
 * behind each chunk's size. */
void out_body(struct out *, enum framing, size_t n, char kind, bool hostile, bool blanks, uint64_t id,
	      uint64_t *rng);

/* ---- bytes that come ---- */

#define HEAD_MAX 16384

struct reader;
struct reader_ops {
	/* A head is whole.  Says how its body is framed and, for LENGTH, sets
	 * reader->left; false: broken, nothing more is read. */
	bool (*head)(struct reader *, enum framing *);
	void (*body)(struct reader *, const uint8_t *, size_t);
	/* A message is over.  False: nothing more is read. */
	bool (*end)(struct reader *);
	/* What came is no message. */
	void (*broken)(struct reader *, const char *what);
};

struct reader {
	const struct reader_ops *ops;
	enum {
		IN_HEAD,
		IN_LENGTH,
		IN_CHUNK_SIZE,
		IN_CHUNK,
		IN_CHUNK_END,
		IN_TRAILER,
		IN_REST,
		IN_NOTHING
	} state;
	char head[HEAD_MAX + 1];	/* NUL-terminated once whole */
	size_t n;
	uint64_t left, offset;	/* of the body: bytes of this part, bytes read */
};

void reader_reset(struct reader *, const struct reader_ops *);
void reader_feed(struct reader *, const uint8_t *bytes, size_t n);
/* A header's value, copied; false: there is none.  Names in lower case. */
bool head_value(const char *head, const char *name, char *value, size_t size);

/* ---- both sides ---- */

struct settings {
	struct {
		uint32_t ip;
		uint16_t port;
	} front, backends[16];
	unsigned n_backends, n_clients;
	uint64_t seed, messages;
	uint32_t max_body;	/* the limit of the proxy under test, in bytes */
	double stuck;	/* seconds without a byte while answers are owed: a finding */
};
extern struct settings settings;

/* Counters of what happened, by name, for the report. */
enum count {
	REQUESTS_BEGUN,
	ANSWERS_READ,
	ANSWERS_CUT,
	OWN_ANSWERS,
	OWN_413,
	UNANSWERED,
	CLIENT_CUTS,
	BACKEND_WHOLE,
	BACKEND_RETRIES,
	BACKEND_SURPLUS,
	BACKEND_CUTS,
	BACKEND_EARLY,
	BACKEND_ODD,
	BACKEND_FLOODS,
	OLD_REQUESTS,
	CONNECTIONS,
	BACKEND_CONNECTIONS,
	FLIPS,
	STOPS,
	COUNTS
};
extern uint64_t counts[COUNTS];

/* What must never be: said, and the run fails. */
void finding(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What epoll's data points to. */
struct watched {
	void (*on_ready)(struct watched *, uint32_t events);
	int fd;
};
void watch(struct watched *, uint32_t events);	/* adds or changes */
double now(void);	/* seconds, of this turn */
extern bool stopping;	/* no new requests */

void clients_start(void);
void clients_tick(void);
bool clients_over(void);
void clients_stuck(void);
void backends_start(void);
void backends_tick(void);
bool backends_over(void);
void backends_stuck(void);

#endif
