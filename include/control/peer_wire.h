/* peer_wire.h - what control says to the other generation of teald during an upgrade:
 * a message is a type and a row of fields (base/tlv.h).  The one that goes is the
 * predecessor, the other one its successor.
 *
 * Numbers stay what they are: the other one may be of another version.  A type or
 * tag that is not known is skipped, a field that is missing is as zero. */
#ifndef CONTROL_PEER_WIRE_H
#define CONTROL_PEER_WIRE_H

/* No message is longer; what may be longer comes in several. */
#define PEER_MESSAGE_MAX 65536

/* As types on the line; those below are app/teald/succession's. */
enum peer_type {
	/* The predecessor, before it hands over: what it knows. */
	PEER_STATE_PROCESS = 64,
	PEER_STATE_POOL = 65,	/* what was said of a pool's nodes; several */
	PEER_STATE_SERVICE = 66,	/* one for each service, in its order */
	PEER_STATE_BACKENDS = 67,	/* of the service named in it; several */
	PEER_STATE_QUALITY = 68,	/* likewise: its last minute */
	PEER_STATE_RECEIVER = 70,	/* one for each receiver of events */
	PEER_STATE_EVENT = 71,	/* one for each event that waits for one */
	/* The successor. */
	PEER_SERVICES = 80,	/* those of the predecessor that it has; several, the last one says so */
	PEER_NODES = 81,	/* as PEER_STATE_POOL, whenever it changes */
	PEER_RECORD = 82,	/* of a service: obey this, and say when it is obeyed */
	PEER_DRAIN = 83,	/* of a color of a service: orders */
	PEER_COUNTS = 84,	/* of a service: the answer to PEER_ASK */
	PEER_FLEET = 85,	/* the answer to PEER_REFRESH; several, the last one says so */
	/* The predecessor, until it ends. */
	PEER_ACKED = 96,	/* of a service: nothing begins there by an older generation */
	PEER_TALLY = 97,	/* of a service: counters since their start, or only what is held now */
	PEER_TALLY_BACKENDS = 98,	/* the same of its backends; several */
	PEER_TALLY_PROCESS = 99,	/* the process' own; several, also before the successor has begun */
	PEER_REFRESH = 101,	/* how are the others of the fleet? */
	PEER_ASK = 100,	/* of a service: how many connections has the successor? */
	/* Both. */
	PEER_WHO = 112,	/* who holds that color? */
	PEER_HOLDERS = 113	/* the answer; several, the last one says so */
};

/* What a field means; of a number u64 unless it says otherwise.  Words are those
 * of the log and the metrics, times those of clock_now(), which all processes of a
 * machine share, unless they end in US: wall clock. */
enum peer_tag {
	/* Wherever they occur. */
	PEER_T_SERVICE = 1,	/* str: the name that the predecessor knows it by */
	PEER_T_COLOR = 2,	/* str: "green", "blue" */
	PEER_T_GENERATION = 3,	/* of the service's snapshots, the successor's count */
	PEER_T_LAST = 4,	/* no further part follows */
	PEER_T_WORD = 5,	/* str: what is counted in this row */
	PEER_T_COUNT = 6,

	/* A record. */
	PEER_T_EPOCH = 16,
	PEER_T_CHANGE = 17,	/* str */
	PEER_T_AT_US = 18,
	PEER_T_BY = 19,	/* str */
	PEER_T_REASON = 20,	/* str */
	PEER_T_FORCED = 21,
	PEER_T_LOCK = 22,	/* row of AT_US, BY, REASON; absent: not locked */
	PEER_T_RECORD = 23,	/* row of COLOR and these */
	PEER_T_CLAIM = 25,	/* row of AT_US, BY, REASON, EPOCH, UNTIL_US, TOKEN; absent: not claimed */
	PEER_T_UNTIL_US = 26,
	PEER_T_TOKEN = 27,	/* str: hashed */
	PEER_T_REVISION = 30,	/* str; absent: of that service alone */
	PEER_T_SHARE = 28,	/* str: as model/share.h writes it; absent: none */
	PEER_T_REFUSE = 24,	/* nothing new is taken: the store is too old */

	/* PEER_STATE_SERVICE. */
	PEER_T_MODE = 32,	/* str: of the configuration */
	PEER_T_ENGINE = 33,	/* str: likewise */
	PEER_T_HOLDS = 34,	/* it serves connections of its own, and obeys */
	PEER_T_TERMS = 35,	/* hash of how backends are checked */
	PEER_T_FLIPS = 36,	/* row of COLOR, WORD (the result), COUNT; several */
	PEER_T_FLIP_SECONDS = 37,	/* a histogram */
	PEER_T_STRAYS = 38,

	/* Orders of a drain: of PEER_DRAIN, and with the rest in a row PEER_T_DRAIN. */
	PEER_T_DRAIN = 48,
	PEER_T_STARTED = 49,	/* double */
	PEER_T_IDLE = 50,	/* double, seconds */
	PEER_T_SPREAD = 51,	/* double, seconds */
	PEER_T_TIMEOUT = 52,	/* double, seconds */
	PEER_T_ENDING = 53,	/* str */
	PEER_T_ALL = 54,	/* the service as a whole ends */
	PEER_T_AT_START = 55,	/* connections */
	PEER_T_CUT_BEFORE = 56,	/* connections */
	PEER_T_CUT = 57,	/* connections that the last drain's deadline ended ... */
	PEER_T_CUT_EPOCH = 58,	/* ... of that epoch */

	/* Counters. */
	PEER_T_SIDE = 64,	/* row of ENTRANCE, COLOR and what was counted there */
	PEER_T_ENTRANCE = 65,	/* str: "main", "preview" */
	PEER_T_ACTIVE = 66,
	PEER_T_ENDED = 67,	/* row of WORD, COUNT; several */
	PEER_T_BYTES_IN = 68,
	PEER_T_BYTES_OUT = 69,
	PEER_T_RETRIES = 70,
	PEER_T_NO_PORT = 71,
	PEER_T_DIVERTED = 220,
	PEER_T_BAKE_HELD = 221,	/* of PEER_T_BAKE and PEER_T_BAKE_PAST, as PEER_T_BAKE_BASE: of the old color at the flip */
	PEER_T_HOLD_BACK = 222,	/* u64, of SHARE_WHOLE: what it keeps */
	PEER_T_DATAGRAMS_IN = 200,
	PEER_T_DATAGRAMS_OUT = 201,
	PEER_T_DATAGRAMS_DROPPED = 202,
	PEER_T_EXPOSURES = 203,	/* of clients, for a bake ... */
	PEER_T_TROUBLES = 204,	/* ... row of WORD, COUNT; several */
	PEER_T_BAKE = 205,	/* row of EPOCH, COLOR, STARTED, TIMEOUT (when it ends), UNTIL_US, WORD (on_regression), BY and: */
	PEER_T_BAKE_BASE = 206,	/* row of EXPOSURES, TROUBLES, COUNT, ERRORS (of a team): the totals at the flip ... */
	PEER_T_BAKE_OLD = 207,	/* ... of the control ... */
	PEER_T_BAKE_NEW = 208,	/* ... and of the color since */
	PEER_T_BAKE_WORSE = 211,	/* of PEER_T_BAKE, u64: it was told ... */
	PEER_T_BAKE_FAILED = 212,	/* ... and so often its rollback could not be made */
	PEER_T_BAKE_OVER = 213,	/* of PEER_STATE_SERVICE: instead of BAKE, of one that is over: the same, VERDICT and REASON */
	PEER_T_VERDICT = 214,	/* str */
	PEER_T_BAKE_VERDICTS = 215,	/* row of COLOR, VERDICT, COUNT; several */
	PEER_T_BAKE_FAILURES = 216,	/* rollbacks of bakes that could not be made */
	PEER_T_BAKE_PAST = 217,	/* row of EPOCH, STARTED, BAKE_BASE, BAKE_NEW (the last two windows begin) and BAKE_OLD (of EPOCH) */
	PEER_T_JUDGED = 218,	/* str: a struct judged_memory */
	PEER_T_CONNECT_SECONDS = 72,	/* a histogram */
	PEER_T_REQUESTS = 73,	/* row of WORD (the code), COUNT; several */
	PEER_T_ODD_ANSWERS = 74,	/* row of WORD, COUNT; several */
	PEER_T_HTTP2_REQUESTS = 194,	/* likewise */
	PEER_T_HTTP2_REFUSED = 195,
	PEER_T_GRPC = 209,	/* row of WORD (the status), COUNT; several */
	PEER_T_REQUEST_SECONDS = 75,	/* a histogram */
	PEER_T_HANDSHAKES = 76,	/* row of WORD ("1.2", "1.3"), RESUMED, COUNT; several */
	PEER_T_RESUMED = 77,
	PEER_T_HELD = 78,	/* places of max_connections, of the service or the process */
	PEER_T_QUEUED = 79,	/* places of limits.queue */
	/* A histogram is a row of: */
	PEER_T_BUCKET = 80,	/* row of BOUND and COUNT: not cumulative; without BOUND: above all */
	PEER_T_BOUND = 81,	/* double, seconds */
	PEER_T_SUM_US = 82,
	PEER_T_FIRST_BYTE_SECONDS = 83,	/* a histogram, of a SIDE */
	PEER_T_QUEUE_SECONDS = 88,	/* likewise, of the service */
	PEER_T_HANDSHAKE_SECONDS = 89,	/* likewise */

	/* PEER_STATE_QUALITY. */
	PEER_T_POINT = 84,	/* row of STARTED and FIGURES for each color: since then; several, the oldest first */
	PEER_T_FIGURES = 85,	/* row of COLOR, AGE, COUNT, ERRORS, REQUESTS and REQUEST_SECONDS */
	PEER_T_ERRORS = 86,
	PEER_T_FLIP = 87,	/* row of EPOCH, AT_US, COLOR, FIGURES (before it) and POINT (since it) */

	/* A backend. */
	PEER_T_BACKEND = 96,	/* row of COLOR, ADDRESS, of counters REQUESTS (by class), BYTES_IN, BYTES_OUT, RETRIES,
				 * FIRST_BYTE_SECONDS, and: */
	PEER_T_ADDRESS = 97,	/* str: as users see it */
	PEER_T_STATE = 98,	/* str */
	PEER_T_SINCE_US = 99,
	PEER_T_ERROR = 100,	/* str */
	PEER_T_EJECTED_UNTIL = 101,	/* double */
	PEER_T_RAMP_FROM = 102,	/* double */
	PEER_T_EJECTIONS = 103,
	PEER_T_CHECKS_FAILED = 104,
	PEER_T_CHECKS_PASSED = 105,
	PEER_T_CONNECTIONS = 106,
	PEER_T_CONNECT_FAILURES = 107,
	PEER_T_FAILED_IN_ROW = 108,
	PEER_T_BAD_ANSWERS = 109,
	PEER_T_BAD_IN_ROW = 110,
	PEER_T_CHECKED_AT = 111,	/* str: address and port of its checks */

	/* The process. */
	PEER_T_CONFIG_GENERATION = 128,
	PEER_T_CONFIG_LOADED_US = 129,
	PEER_T_CONFIG_CHECKSUM = 130,	/* str */
	PEER_T_COUNTING_SINCE = 131,	/* double */
	PEER_T_MAINTENANCE = 132,
	PEER_T_LOG_DROPPED = 133,
	PEER_T_CPU_SECONDS = 134,	/* double */
	PEER_T_LAG = 135,	/* row of WORD (the thread) and a histogram; several */
	PEER_T_STORE_READY = 137,	/* the store has been read: what is obeyed is from there */
	PEER_T_CONFIRMED_AT = 138,	/* double: when it had last word of its store */
	PEER_T_TICKET_KEYS = 139,	/* str: a struct tls_tickets, by which TLS clients come back */
	PEER_T_ROTATED_AT = 140,	/* double: when the newer of them was made */
	PEER_T_COUNTER = 136,	/* row of WORD (the metric) and COUNT, of engines; several */

	/* Nodes. */
	PEER_T_POOL = 144,	/* str */
	PEER_T_VERSION = 145,
	PEER_T_NODE = 146,	/* row of ADDRESS (the host), WORD, SINCE_US and: several */
	PEER_T_TIMEOUT_US = 147,	/* its connections are ended within so long; absent: they stay */
	PEER_T_SPREAD_US = 148,	/* absent: as each service says */

	/* The fleet. */
	PEER_T_MEMBER = 152,	/* row of ADDRESS (the machine), PID and: */
	PEER_T_PID = 153,
	PEER_T_SELF = 154,	/* the successor */
	PEER_T_MISSING = 155,
	PEER_T_APPLIED = 156,	/* row of SERVICE, EPOCH, COUNT (held on the idle color), CUT; several */

	PEER_T_POOL_STATE = 157,	/* row of POOL, VERSION (that is obeyed), FORCED (it refuses the store's), TRUNCATED and
					 * for each node that has something NODE: row of ADDRESS, CONNECTIONS, CUT and APPLIED: rows of
					 * SERVICE and COUNT; several */
	PEER_T_POOLS = 158,	/* all its pools are told; absent: none is */

	/* Who holds. */
	PEER_T_QUESTION = 160,	/* which one is answered */
	PEER_T_MOST = 161,	/* so many at most */
	PEER_T_HOLDER = 162,	/* row of CLIENT, ADDRESS and: */
	PEER_T_CLIENT = 163,	/* str */
	PEER_T_AGE = 164,	/* double, seconds */
	PEER_T_IDLE_FOR = 165,	/* double, seconds */
	PEER_T_TRUNCATED = 166,

	/* Receivers of events, and what waits for them. */
	PEER_T_RECEIVER = 176,	/* str: its name */
	PEER_T_EVENT_ID = 177,	/* str */
	PEER_T_EVENT = 178,	/* str: its name */
	PEER_T_BORN = 179,	/* double */
	PEER_T_BODY = 180,	/* str: as it is sent */

	/* PEER_STATE_SERVICE: row of EPOCH, AT_US, BY and TIMEOUT, of the last flip that this fleet's teald
	 * was asked for itself. */
	PEER_T_AGENT = 189,	/* of a backend: row of SAID, PERCENT and, of one that is so, DRAINS, DOWN */
	PEER_T_SAID = 190,	/* str */
	PEER_T_PERCENT = 191,
	PEER_T_DRAINS = 192,
	PEER_T_DOWN = 193,
	PEER_T_ENDPOINTS = 188,	/* of a backend: as its check counts them; absent: not told */
	PEER_T_HOLD = 230,	/* of a record: row of AT_US, BY, REASON, EPOCH, UNTIL_US */
	PEER_T_HOLD_SECONDS = 231,	/* histogram: of those that a hold kept waiting */
	PEER_T_WISH = 184
};

#endif
