/* admin_command.h - the commands of the admin socket: one table for teald,
 * which obeys them, and for tealctl, which checks and explains them before
 * anything is sent.  Pure: no I/O, any thread. */
#ifndef PROTO_ADMIN_COMMAND_H
#define PROTO_ADMIN_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "proto/admin_line.h"

struct json;

enum admin_command {
	ADMIN_STATUS,
	ADMIN_ACTIVE,
	ADMIN_IDLE,
	ADMIN_CHECK,
	ADMIN_FLIP,
	ADMIN_SHIFT,
	ADMIN_ROLLBACK,
	ADMIN_LOCK,
	ADMIN_UNLOCK,
	ADMIN_CLAIM,
	ADMIN_RELEASE,
	ADMIN_BAKE,
	ADMIN_SIGNAL,
	ADMIN_WAIT,
	ADMIN_DRAIN,
	ADMIN_HISTORY,
	ADMIN_NODE,
	ADMIN_FLEET,
	ADMIN_CERTS,
	ADMIN_EVENTS,
	ADMIN_LOG,
	ADMIN_MAINTENANCE,
	ADMIN_RELOAD,
	ADMIN_UPGRADE,
	ADMIN_CONFIG,
	ADMIN_STOP,
	ADMIN_WHOAMI,
	ADMIN_HELP,
	ADMIN_VERSION,
};
#define ADMIN_COMMANDS (ADMIN_VERSION + 1)

/* The right a command needs; NONE: every peer that can connect has it. */
enum admin_right {
	ADMIN_RIGHT_NONE,
	ADMIN_RIGHT_READ,
	ADMIN_RIGHT_FLIP,
	ADMIN_RIGHT_NODE,
	ADMIN_RIGHT_ADMIN,
};

/* How long a flip's reply waits. */
enum admin_wait {
	ADMIN_WAIT_APPLIED,	/* the default: no worker starts anything on the old color */
	ADMIN_WAIT_DRAINED,	/* and the old color holds nothing any more */
	ADMIN_WAIT_NONE,	/* only until the store has it */
};

enum admin_option {
	ADMIN_OPT_EXPECT,
	ADMIN_OPT_WAIT,
	ADMIN_OPT_WAIT_HEALTHY,
	ADMIN_OPT_TIMEOUT,
	ADMIN_OPT_DRAIN,
	ADMIN_OPT_REASON,
	ADMIN_OPT_FORCE,
	ADMIN_OPT_LAST,
	ADMIN_OPT_BRIEF,
	ADMIN_OPT_SUMMARY,
	ADMIN_OPT_TROUBLE,
	ADMIN_OPT_DRY_RUN,
	ADMIN_OPT_BINARY,
	ADMIN_OPT_EPOCH,
	ADMIN_OPT_NO_CUT,
	ADMIN_OPT_TTL,
	ADMIN_OPT_CLAIM_WAIT,	/* --wait of a claim */
	ADMIN_OPT_TOKEN,
	ADMIN_OPT_KEEP_CLAIM,
	ADMIN_OPT_CONFIG,
	ADMIN_OPT_NODE_WAIT,	/* --wait of a node's drain */
	ADMIN_OPT_SPREAD,
	ADMIN_OPT_BAKE,
	ADMIN_OPT_ON_REGRESSION,
	ADMIN_OPT_TO,	/* of a shift */
	ADMIN_OPT_RAMP,
	ADMIN_OPT_EVERY,
	ADMIN_OPT_HOLD_BACK,
	ADMIN_OPT_WAIT_FOR,	/* --for of wait */
};
#define ADMIN_OPTIONS (ADMIN_OPT_WAIT_FOR + 1)

enum admin_option_kind {
	ADMIN_KIND_FLAG,	/* no value */
	ADMIN_KIND_EXPECT,	/* COLOR or COLOR@EPOCH */
	ADMIN_KIND_WAIT,	/* applied, drained, none */
	ADMIN_KIND_SECONDS,	/* 0 or more, with fraction; or with the unit s, m or h */
	ADMIN_KIND_PERHAPS_SECONDS,	/* the same, or no value */
	ADMIN_KIND_TEXT,	/* anything but nothing */
	ADMIN_KIND_COUNT,	/* 1 or more */
	ADMIN_KIND_PATH,	/* an absolute one */
	ADMIN_KIND_TOKEN,	/* of a claim */
	ADMIN_KIND_REGRESSION,	/* rollback, stop, tell */
	ADMIN_KIND_WAIT_FOR,	/* applied, drained, baked */
	ADMIN_KIND_PERCENT,	/* "10%" or "12.5", 0 to 100 */
	ADMIN_KIND_PERCENTS,	/* growing ones, with commas between */
};

struct admin_option_info {
	enum admin_option option;
	const char *key;	/* "wait-healthy" */
	enum admin_option_kind kind;
	const char *value;	/* "SEC"; NULL for a flag */
	const char *summary;	/* one line */
};

struct admin_command_info {
	enum admin_command command;
	const char *word;	/* "flip" */
	const char *args;	/* "SERVICE COLOR", "" for none */
	enum admin_right right;
	unsigned min_args, max_args;	/* behind the word */
	uint64_t options;	/* bits 1 << enum admin_option */
	uint64_t required;	/* those of them that must be given */
	bool changes;	/* changes something: audited, never repeated blindly */
	const char *summary;	/* one line, no full stop */
	const char *help;	/* some paragraphs, lines end with '\n' */
};

/* Services that a flip, rollback or check takes as one; longest name of one, with NUL. */
#define ADMIN_TARGETS_MAX 32
#define ADMIN_TARGET_NAME 64

/* SERVICE=COLOR[@EPOCH], or SERVICE of a rollback. */
struct admin_target {
	char name[ADMIN_TARGET_NAME];
	struct str color;	/* as below */
	bool has_at_epoch;
	uint64_t at_epoch;
};

/* Most steps of a ramp, and the longest pause between two, seconds. */
#define ADMIN_RAMP_STEPS 16
#define ADMIN_EVERY_MAX (7 * 86400.0)

/* One command, typed and checked as far as can be without knowing the
 * services.  Slices point into the admin_line it was made of (and are C
 * strings too); copy what must outlive it. */
struct admin_request {
	enum admin_command command;
	enum admin_right right;	/* `node list` needs less than `node add`, `certs` than `certs reload` */
	struct str service;	/* empty: none given */
	bool all_services;	/* lock and unlock: service is "*" */
	size_t n_targets;	/* 0: service, and color, say all */
	struct admin_target targets[ADMIN_TARGETS_MAX];
	struct str color;	/* "green" or "blue"; empty where there is none */
	bool has_at_epoch;	/* COLOR was given as COLOR@EPOCH */
	uint64_t at_epoch;
	bool has_expect;
	struct str expect_color;	/* "green" or "blue" */
	bool has_expect_epoch;
	uint64_t expect_epoch;
	enum admin_wait wait;
	bool has_wait_healthy, has_timeout, has_drain;
	double wait_healthy, timeout, drain;	/* seconds; 0 unless has_ */
	bool has_bake;
	double bake;	/* seconds; 0: not */
	struct str on_regression;	/* of its words; empty: not given */
	bool wait_baked, wait_ramped;	/* wait: for the end of a bake, of a ramp */
	enum admin_bake { ADMIN_BAKE_SHOW, ADMIN_BAKE_ABORT, ADMIN_BAKE_PROMOTE } bake_verb;
	bool good;	/* signal */
	uint64_t count;	/* signal */
	double ttl, claim_wait;	/* claim: seconds; 0: not given */
	bool node_wait;	/* node drain: it is waited for */
	bool has_node_timeout, has_spread;
	double node_timeout, spread;	/* seconds, of node_wait; 0 unless has_ */
	uint32_t share;	/* --to or --hold-back, in hundredths of a percent */
	unsigned n_ramp;	/* 0: none given */
	uint16_t ramp[ADMIN_RAMP_STEPS];	/* likewise */
	double every;	/* seconds; 0: not given */
	struct str token;	/* empty: none given */
	struct str reason;	/* empty: none given */
	bool force, brief, summary, trouble, dry_run, epoch, no_cut, keep_claim;
	bool has_last;
	unsigned last;
	bool on;	/* maintenance on */
	enum log_level level;	/* log */
	struct str node_verb, pool, host;	/* node */
	bool reload;	/* certs */
	struct str binary, config;	/* upgrade: absolute paths; or empty */
	struct str topic;	/* help: a command's word, known; or empty */
};

/* Longest reason; more is E_USAGE. */
#define ADMIN_REASON_MAX 1024
/* Characters of a token: model/claim_token.h makes them. */
#define ADMIN_TOKEN 32
/* Shortest and longest --ttl, seconds. */
#define ADMIN_TTL_MIN 1.0
#define ADMIN_TTL_MAX (7 * 86400.0)
/* Longest --wait of a node's drain, seconds. */
#define ADMIN_NODE_WAIT_MAX (7 * 86400.0)
/* Longest --bake, seconds. */
#define ADMIN_BAKE_MAX 86400.0
/* Largest N of signal. */
#define ADMIN_SIGNAL_MAX 1000000000u
/* Largest --last. */
#define ADMIN_LAST_MAX 100000

/* Checks a line against the table.  E_USAGE with a sentence and the usage
 * line: no or unknown command, missing or surplus arguments, unknown,
 * repeated, valueless or badly valued options.  E_UNKNOWN_COLOR: a color
 * that is neither green nor blue. */
MUST_USE enum err
admin_command_parse(const struct admin_line *line, struct admin_request *out, struct why *why);

/* What a flip of several services cannot mean: E_USAGE. */
MUST_USE enum err admin_command_check_targets(const struct admin_request *request, struct why *why);

const struct admin_command_info *admin_command_info(enum admin_command command);
/* By word; NULL for a word that is no command. */
const struct admin_command_info *admin_command_find(struct str word);
const struct admin_option_info *admin_option_info(enum admin_option option);

const char *admin_right_word(enum admin_right right);	/* "none" "read" … */
const char *admin_wait_word(enum admin_wait wait);	/* "applied" … */

/* Appends "flip SERVICE COLOR [--force] …", without newline. */
void admin_command_usage(struct buf *out, const struct admin_command_info *info);
/* Appends usage, summary, help and options as text for people; program, such
 * as "tealctl", is put before the usage. */
void admin_command_help(struct buf *out, const struct admin_command_info *info, const char *program);
/* Appends all commands with their summaries, a line each, indented by two. */
void admin_command_list(struct buf *out);
/* Writes the member "commands":[{"command":…,"usage":…,"summary":…,"right":…}]
 * of the reply to help; topic empty for all of them. */
void admin_command_json(struct json *j, struct str topic);

#endif
