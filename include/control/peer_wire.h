/* peer_wire.h - what the two generations of teald say to each other during an
 * upgrade, over a line of SOCK_SEQPACKET: a message is a type and a row of fields
 * (base/tlv.h).  The one that goes is the predecessor, the other one its successor.
 *
 * Numbers stay what they are: the other one may be of another version.  A type or
 * tag that is not known is skipped; a change that cannot be skipped raises
 * PEER_FORMAT, and then no connection changes hands: all drain in the predecessor. */
#ifndef CONTROL_PEER_WIRE_H
#define CONTROL_PEER_WIRE_H

#include <stdint.h>

#define PEER_FORMAT 1

/* No message is longer: a line's socket buffer holds some of them. */
#define PEER_MESSAGE_MAX 49152

enum peer_type {
	/* The course of the upgrade: app/teald/succession. */
	PEER_HELLO = 1,	/* both, first */
	PEER_PREPARED = 2,	/* successor: with one channel for each worker of the other */
	PEER_NO = 3,	/* predecessor: it goes on serving; why */
	PEER_YOURS = 4,	/* predecessor: the state has been said, it accepts nothing any more */
	PEER_ADMIN = 5,	/* predecessor: an admin connection, with its descriptor */
	PEER_SUCCESSION_LAST = 31,

	/* The rest is control/peer's.  First what the predecessor knows, before
	 * PEER_YOURS: */
	PEER_STATE_PROCESS = 32,
	PEER_STATE_POOL = 33,	/* what was said of a pool's nodes; several */
	PEER_STATE_SERVICE = 34,	/* one for each service, in its order */
	PEER_STATE_BACKENDS = 35,	/* of the service named in it; several */
	/* Then, from the successor: */
	PEER_SERVICES = 48,	/* those of the predecessor that it has; several, the last one says so */
	PEER_NODES = 49,	/* as PEER_STATE_POOL, whenever it changes */
	PEER_RECORD = 50,	/* of a service: obey this, and say when it is obeyed */
	PEER_DRAIN = 51,	/* of a color of a service: orders */
	/* From the predecessor: */
	PEER_ACKED = 64,	/* of a service: that generation, or what is told after it, is obeyed */
	PEER_TALLY = 65,	/* of a service: counters since their start */
	PEER_TALLY_BACKENDS = 66,	/* the same of its backends */
	PEER_TALLY_PROCESS = 67,
	PEER_LEFT = 68,	/* what it holds as a whole */
	/* From both: */
	PEER_COUNTS = 80,	/* of a service: connections on its colors, places held */
	PEER_WHO = 81,	/* who holds that color? */
	PEER_HOLDERS = 82	/* the answer, perhaps in several parts */
};

/* What a field means; of a number u64 unless it says otherwise.  Words are those
 * of the log and the metrics. */
enum peer_tag {
	/* Wherever they occur. */
	PEER_T_SERVICE = 1,	/* str: the name that the predecessor knows it by */
	PEER_T_COLOR = 2,	/* str: "green", "blue" */
	PEER_T_GENERATION = 3,	/* of the service's snapshots, the sender's count */
	PEER_T_EPOCH = 4,
	PEER_T_FORMAT = 5,	/* PEER_FORMAT */
	PEER_T_VERSION = 6,	/* str */
	PEER_T_WHY = 7,	/* str: a sentence */
	PEER_T_PID = 8,
	PEER_T_LAST = 9,	/* no further part follows */

	/* A record. */
	PEER_T_RECORD = 16,	/* row of: */
	PEER_T_CHANGE = 17,	/* str */
	PEER_T_AT_US = 18,
	PEER_T_BY = 19,	/* str */
	PEER_T_REASON = 20,	/* str */
	PEER_T_FORCED = 21,
	PEER_T_LOCK = 22,	/* row of AT_US, BY, REASON; absent: not locked */
	PEER_T_REFUSE = 23,	/* nothing new is taken: the store is too old */

	/* PEER_STATE_SERVICE and what changes of it. */
	PEER_T_APPLIED = 32,	/* epoch */
	PEER_T_TERMS = 33,	/* str: hash of how the backends are checked */
	PEER_T_DRAIN = 34,	/* row: the drain under way */
	PEER_T_WISH = 35,	/* row of EPOCH, AT_US, BY, TIMEOUT */
	PEER_T_TIMEOUT = 36,	/* double, seconds */
	PEER_T_STARTED = 37,	/* double, clock_now() */
	PEER_T_DEADLINE = 38,	/* double, clock_now() */
	PEER_T_DUE = 39,	/* double, clock_now() */
	PEER_T_AT_START = 40,	/* connections */
	PEER_T_CUT_BEFORE = 41,	/* connections */
	PEER_T_IDLE = 42,	/* double, seconds */
	PEER_T_SPREAD = 43,	/* double, seconds */
	PEER_T_ENDING = 44,	/* str */
	PEER_T_ALL = 45,	/* the service as a whole ends */
	PEER_T_PUBLISHED = 46,	/* it was serving */

	/* Counters. */
	PEER_T_FLIPS = 64,	/* row of COLOR, RESULT, COUNT; several */
	PEER_T_RESULT = 65,	/* str */
	PEER_T_COUNT = 66,
	PEER_T_FLIP_SECONDS = 67,	/* row of BUCKET..., SUM */
	PEER_T_BUCKET = 68,	/* row of BOUND and COUNT: not cumulative; without BOUND: above all */
	PEER_T_BOUND = 69,	/* double, seconds */
	PEER_T_SUM = 70,	/* double, seconds */
	PEER_T_SIDE = 71,	/* row of ENTRANCE, COLOR and what was counted there */
	PEER_T_ENTRANCE = 72,	/* str: "main", "preview" */
	PEER_T_ACTIVE = 73,
	PEER_T_ENDED = 74,	/* row of WORD, COUNT; several */
	PEER_T_BYTES_IN = 75,
	PEER_T_BYTES_OUT = 76,
	PEER_T_RETRIES = 77,
	PEER_T_NO_PORT = 78,
	PEER_T_CONNECT_SECONDS = 79,	/* as FLIP_SECONDS */
	PEER_T_REQUESTS = 80,	/* row of WORD (the code), COUNT; several */
	PEER_T_ODD_ANSWERS = 81,	/* row of WORD, COUNT; several */
	PEER_T_REQUEST_SECONDS = 82,	/* as FLIP_SECONDS */
	PEER_T_WORD = 83,	/* str */
	PEER_T_HANDSHAKES = 84,	/* row of VERSION, RESUMED, COUNT; several */
	PEER_T_RESUMED = 85,
	PEER_T_HELD = 86,	/* places of max_connections */
	PEER_T_QUEUED = 87,	/* places of limits.queue */
	PEER_T_REFUSED = 88,	/* by max_connections, since the start */

	/* A backend. */
	PEER_T_BACKEND = 96,	/* row of COLOR, ADDRESS and: */
	PEER_T_ADDRESS = 97,	/* str: as users see it */
	PEER_T_STATE = 98,	/* str */
	PEER_T_SINCE_US = 99,
	PEER_T_ERROR = 100,	/* str */
	PEER_T_EJECTED_UNTIL = 101,	/* double, clock_now() */
	PEER_T_RAMP_FROM = 102,	/* double, clock_now() */
	PEER_T_EJECTIONS = 103,
	PEER_T_CHECKS_FAILED = 104,
	PEER_T_CHECKS_PASSED = 105,
	PEER_T_CONNECTIONS = 106,
	PEER_T_CONNECT_FAILURES = 107,
	PEER_T_FAILED_IN_ROW = 108,
	PEER_T_BAD_ANSWERS = 109,
	PEER_T_BAD_IN_ROW = 110,

	/* The process. */
	PEER_T_CONFIG_GENERATION = 128,
	PEER_T_CONFIG_LOADED_US = 129,
	PEER_T_CONFIG_CHECKSUM = 130,	/* str */
	PEER_T_UPTIME_FROM = 131,	/* double, clock_now() from which counters count */
	PEER_T_MAINTENANCE = 132,
	PEER_T_LOG_DROPPED = 133,
	PEER_T_LAG = 134,	/* row of WORD (the thread) and a histogram; several */
	PEER_T_CPU_SECONDS = 135,	/* double */
	PEER_T_START_TIME = 136,	/* double, seconds since 1970 */
	PEER_T_POOL = 137,	/* str */
	PEER_T_POOL_VERSION = 138,
	PEER_T_NODE = 139,	/* str: a host and what was said of it, as the store has it */
	PEER_T_CONFIG_GOOD = 140,	/* the last reload was taken over */

	/* Who holds, and what is left. */
	PEER_T_QUESTION = 160,	/* which one is answered */
	PEER_T_MOST = 161,	/* so many at most */
	PEER_T_HOLDER = 162,	/* row of CLIENT, ADDRESS, AGE, IDLE, BYTES_IN, BYTES_OUT, STATE; several */
	PEER_T_CLIENT = 163,	/* str */
	PEER_T_AGE = 164,	/* double, seconds */
	PEER_T_IDLE_FOR = 165,	/* double, seconds */
	PEER_T_TRUNCATED = 166,
	PEER_T_CLIENTS = 167,	/* connections of any kind */
	PEER_T_COMMANDS = 168	/* admin commands that are not answered yet */
};

#endif
