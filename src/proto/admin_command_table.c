/* admin_command_table.c - what commands there are, and the texts made of
 * that.  Pure; any thread. */
#include "base/json.h"
#include "proto/admin_command.h"

#define BIT(option) ((uint64_t)1 << (option))
#define FLIP_OPTIONS \
	(BIT(ADMIN_OPT_EXPECT) | BIT(ADMIN_OPT_WAIT) | BIT(ADMIN_OPT_WAIT_HEALTHY) | \
	 BIT(ADMIN_OPT_TIMEOUT) | BIT(ADMIN_OPT_DRAIN) | BIT(ADMIN_OPT_REASON) | \
	 BIT(ADMIN_OPT_NO_CUT) | BIT(ADMIN_OPT_TOKEN) | BIT(ADMIN_OPT_KEEP_CLAIM) | BIT(ADMIN_OPT_FORCE))

static const struct admin_option_info options[ADMIN_OPTIONS] = {
	[ADMIN_OPT_EXPECT] = { ADMIN_OPT_EXPECT, "expect", ADMIN_KIND_EXPECT, "COLOR[@EPOCH]",
		"only if COLOR is active now (and the epoch is EPOCH); else conflict" },
	[ADMIN_OPT_WAIT] = { ADMIN_OPT_WAIT, "wait", ADMIN_KIND_WAIT, "applied|drained|none",
		"when to answer; applied (default): nothing new reaches the old color, "
		"drained: the old color is empty, none: the change is stored" },
	[ADMIN_OPT_WAIT_HEALTHY] = { ADMIN_OPT_WAIT_HEALTHY, "wait-healthy", ADMIN_KIND_SECONDS,
		"SEC", "give the color that long to become healthy before refusing" },
	[ADMIN_OPT_TIMEOUT] = { ADMIN_OPT_TIMEOUT, "timeout", ADMIN_KIND_SECONDS, "SEC",
		"stop waiting after SEC (default: 5 for applied, drain.timeout + 5 for drained)" },
	[ADMIN_OPT_DRAIN] = { ADMIN_OPT_DRAIN, "drain", ADMIN_KIND_SECONDS, "SEC",
		"this once instead of drain.timeout; 0 closes the old connections at once" },
	[ADMIN_OPT_REASON] = { ADMIN_OPT_REASON, "reason", ADMIN_KIND_TEXT, "TEXT",
		"kept in the history and the audit log" },
	[ADMIN_OPT_FORCE] = { ADMIN_OPT_FORCE, "force", ADMIN_KIND_FLAG, NULL,
		"flip: skip the health gate, and nothing else; other commands: see above" },
	[ADMIN_OPT_LAST] = { ADMIN_OPT_LAST, "last", ADMIN_KIND_COUNT, "N",
		"only the newest N" },
	[ADMIN_OPT_BRIEF] = { ADMIN_OPT_BRIEF, "brief", ADMIN_KIND_FLAG, NULL,
		"without the single backends" },
	[ADMIN_OPT_SUMMARY] = { ADMIN_OPT_SUMMARY, "summary", ADMIN_KIND_FLAG, NULL,
		"only what a list shows" },
	[ADMIN_OPT_TROUBLE] = { ADMIN_OPT_TROUBLE, "trouble", ADMIN_KIND_FLAG, NULL,
		"only services and nodes with trouble" },
	[ADMIN_OPT_DRY_RUN] = { ADMIN_OPT_DRY_RUN, "dry-run", ADMIN_KIND_FLAG, NULL,
		"read, check and compare, and change nothing" },
	[ADMIN_OPT_BINARY] = { ADMIN_OPT_BINARY, "binary", ADMIN_KIND_PATH, "PATH",
		"this program instead of the one that was started" },
	[ADMIN_OPT_EPOCH] = { ADMIN_OPT_EPOCH, "epoch", ADMIN_KIND_FLAG, NULL,
		"with the epoch, as in green@41: what --expect and COLOR@EPOCH take" },
	[ADMIN_OPT_NO_CUT] = { ADMIN_OPT_NO_CUT, "no-cut", ADMIN_KIND_FLAG, NULL,
		"with --wait for a drain: it is an error (timeout) when connections had to be cut" },
	[ADMIN_OPT_TTL] = { ADMIN_OPT_TTL, "ttl", ADMIN_KIND_SECONDS, "SEC",
		"how long the claim holds at most, such as 1800 or 30m" },
	[ADMIN_OPT_CLAIM_WAIT] = { ADMIN_OPT_CLAIM_WAIT, "wait", ADMIN_KIND_SECONDS, "SEC",
		"wait up to SEC while another's claim holds" },
	[ADMIN_OPT_TOKEN] = { ADMIN_OPT_TOKEN, "token", ADMIN_KIND_TOKEN, "TOKEN",
		"of the claim, as claim said it" },
	[ADMIN_OPT_KEEP_CLAIM] = { ADMIN_OPT_KEEP_CLAIM, "keep-claim", ADMIN_KIND_FLAG, NULL,
		"with --token: the claim goes on after the change, for a rollback" },
	[ADMIN_OPT_CONFIG] = { ADMIN_OPT_CONFIG, "config", ADMIN_KIND_PATH, "FILE",
		"this file instead of the one that is obeyed" },
	[ADMIN_OPT_NODE_WAIT] = { ADMIN_OPT_NODE_WAIT, "wait", ADMIN_KIND_PERHAPS_SECONDS, "SEC",
		"drain: end the node's connections within SEC (default: the longest drain.timeout of "
		"the pool's services), and answer when the fleet has none on it" },
	[ADMIN_OPT_SPREAD] = { ADMIN_OPT_SPREAD, "spread", ADMIN_KIND_SECONDS, "SEC",
		"with --wait: spread the ends over SEC, of idle connections from the beginning, of "
		"others up to the deadline (default: drain.spread of each service)" },
	[ADMIN_OPT_BAKE] = { ADMIN_OPT_BAKE, "bake", ADMIN_KIND_SECONDS, "SEC",
		"judge COLOR for SEC, and roll back if it is worse; 0: not (default: flip.bake)" },
	[ADMIN_OPT_ON_REGRESSION] = { ADMIN_OPT_ON_REGRESSION, "on-regression", ADMIN_KIND_REGRESSION, "rollback|stop|tell",
		"what a bake does when COLOR is worse (default: flip.on_regression)" },
	[ADMIN_OPT_WAIT_FOR] = { ADMIN_OPT_WAIT_FOR, "for", ADMIN_KIND_WAIT_FOR, "applied|drained|baked|ramped",
		"what is waited for" },
	[ADMIN_OPT_TO] = { ADMIN_OPT_TO, "to", ADMIN_KIND_PERCENT, "N%",
		"what COLOR has of the clients from now on, such as 10% or 2.5%; 0% ends the share, "
		"100% is a flip" },
	[ADMIN_OPT_RAMP] = { ADMIN_OPT_RAMP, "ramp", ADMIN_KIND_PERCENTS, "5%,25%,100%",
		"not at once, but by these shares of the clients, each with the gate" },
	[ADMIN_OPT_EVERY] = { ADMIN_OPT_EVERY, "every", ADMIN_KIND_SECONDS, "SEC",
		"with --ramp: how long each step lasts, from a second" },
	[ADMIN_OPT_HOLD_BACK] = { ADMIN_OPT_HOLD_BACK, "hold-back", ADMIN_KIND_PERCENT, "N%",
		"with a bake: the old color keeps that share of the clients until its end, to compare with" },
};

/*	      word, arguments, right, min, max, options, required, changes */
static const struct admin_command_info commands[ADMIN_COMMANDS] = {
	[ADMIN_STATUS] = { ADMIN_STATUS, "status", "[SERVICE]", ADMIN_RIGHT_READ, 0, 1,
		BIT(ADMIN_OPT_BRIEF) | BIT(ADMIN_OPT_SUMMARY) | BIT(ADMIN_OPT_TROUBLE), 0,
		false, "services, colors, backends, epochs, drains, store",
		"With a service: its colors and every backend in detail.\n"
		"A node that is down is trouble of its own, and of a service only where too few\n"
		"backends are left.\n" },
	[ADMIN_ACTIVE] = { ADMIN_ACTIVE, "active", "SERVICE", ADMIN_RIGHT_READ, 1, 1, BIT(ADMIN_OPT_EPOCH), 0,
		false, "the active color's name",
		"Just the word, green or blue: made for scripts.\n" },
	[ADMIN_IDLE] = { ADMIN_IDLE, "idle", "SERVICE", ADMIN_RIGHT_READ, 1, 1, BIT(ADMIN_OPT_EPOCH), 0,
		false, "the idle color's name: where to deploy",
		"Just the word, green or blue: made for scripts.  With --epoch it is what a\n"
		"flip takes as COLOR@EPOCH, and refuses if the service was flipped meanwhile.\n" },
	[ADMIN_CHECK] = { ADMIN_CHECK, "check", "SERVICE COLOR[@EPOCH] | GROUP COLOR | SERVICE=COLOR[@EPOCH]...", ADMIN_RIGHT_READ, 1, ADMIN_TARGETS_MAX,
		BIT(ADMIN_OPT_WAIT_HEALTHY) | BIT(ADMIN_OPT_TOKEN), 0,
		false, "would a flip be let through? changes nothing",
		"Runs the gate of a flip, the health as last seen and one connect now to\n"
		"every backend of COLOR, and shows what each backend said.  A lock ends the\n"
		"wait for health at once, and so does a claim without its token.\n"
		"Of several services, or of a group, all are asked at once.\n" },
	[ADMIN_FLIP] = { ADMIN_FLIP, "flip", "SERVICE COLOR[@EPOCH] | GROUP COLOR | SERVICE=COLOR[@EPOCH]...", ADMIN_RIGHT_FLIP, 1, ADMIN_TARGETS_MAX,
		FLIP_OPTIONS | BIT(ADMIN_OPT_BAKE) | BIT(ADMIN_OPT_ON_REGRESSION) | BIT(ADMIN_OPT_RAMP) | BIT(ADMIN_OPT_EVERY) |
			BIT(ADMIN_OPT_HOLD_BACK), 0, true,
		"makes COLOR active",
		"Checks, in this order: usage, rights, --expect, --token, already active (fine,\n"
		"and nothing changes), lock, claim, health gate, store.  The reply comes when it\n"
		"is applied: a client that connects after it never reaches the old color.\n"
		"Connections on the old color finish in peace, within drain.timeout.\n"
		"With @EPOCH, as `idle --epoch` prints it, it is a conflict if the service was\n"
		"flipped since.  The flip goes on when its client leaves.\n"
		"With --bake it ends when COLOR has been judged: baked, rolled back by itself (exit\n"
		"status 7), or inconclusive (12).\n"
		"With --ramp it ends when the last step is applied; a step that is refused is tried\n"
		"again, and rollback ends the ramp.  It goes on when its client leaves.\n"
		"Several services, as web=blue api=blue, or the name of a group, are flipped as\n"
		"one: all are checked, then all are stored, or none; one refusal refuses all.\n" },
	[ADMIN_SHIFT] = { ADMIN_SHIFT, "shift", "SERVICE COLOR[@EPOCH]", ADMIN_RIGHT_FLIP, 2, 2,
		FLIP_OPTIONS | BIT(ADMIN_OPT_TO), BIT(ADMIN_OPT_TO), true, "gives the idle COLOR a share of the clients",
		"Checked as a flip is, and a change as a flip is: the epoch grows by one, and the\n"
		"reply comes when it is applied.  The active color stays active and has the\n"
		"rest.  A client stays on its color: a share that grows moves none back.\n"
		"rollback ends the share.\n" },
	[ADMIN_ROLLBACK] = { ADMIN_ROLLBACK, "rollback", "SERVICE... | GROUP", ADMIN_RIGHT_FLIP, 1, ADMIN_TARGETS_MAX,
		FLIP_OPTIONS, 0, true, "undoes the last flip, once",
		"Connections that are still draining on the color it returns to stay.\n"
		"If the last change was a rollback already: fine, and nothing changes.\n"
		"Several services, or a group, go back as one if one flip of them was the last\n"
		"change of each.\n" },
	[ADMIN_LOCK] = { ADMIN_LOCK, "lock", "SERVICE|'*'", ADMIN_RIGHT_FLIP, 1, 1,
		BIT(ADMIN_OPT_REASON), BIT(ADMIN_OPT_REASON), true,
		"makes a service refuse flips, saying who locked it and why",
		"'*' locks all services.\n" },
	[ADMIN_UNLOCK] = { ADMIN_UNLOCK, "unlock", "SERVICE|'*'", ADMIN_RIGHT_FLIP, 1, 1,
		BIT(ADMIN_OPT_REASON), 0, true, "lets flips through again",
		"'*' unlocks all services.\n" },
	[ADMIN_CLAIM] = { ADMIN_CLAIM, "claim", "SERVICE", ADMIN_RIGHT_FLIP, 1, 1,
		BIT(ADMIN_OPT_TTL) | BIT(ADMIN_OPT_REASON) | BIT(ADMIN_OPT_CLAIM_WAIT) | BIT(ADMIN_OPT_TOKEN),
		BIT(ADMIN_OPT_TTL) | BIT(ADMIN_OPT_REASON), true,
		"reserves the idle color for one deployment",
		"Says the color, the epoch and a token.  Flips, rollbacks and claims without\n"
		"the token are refused, in the whole fleet, until the flip with it is stored,\n"
		"release, or the end of --ttl.  With --token it renews the claim.  A job that\n"
		"leaves while it waits leaves the line.\n" },
	[ADMIN_RELEASE] = { ADMIN_RELEASE, "release", "SERVICE", ADMIN_RIGHT_FLIP, 1, 1,
		BIT(ADMIN_OPT_TOKEN) | BIT(ADMIN_OPT_FORCE) | BIT(ADMIN_OPT_REASON), 0, true,
		"ends a claim",
		"By its token; a claim that does not hold any more is fine, and nothing\n"
		"changes.  --force ends it whatever its token, and needs the right admin.\n" },
	[ADMIN_BAKE] = { ADMIN_BAKE, "bake", "SERVICE [abort|promote]", ADMIN_RIGHT_FLIP, 1, 2, BIT(ADMIN_OPT_REASON), 0,
		true, "how a bake goes, or its end",
		"Alone it shows the bake that is under way, or the last one.  abort rolls back\n"
		"now, promote ends it and keeps the color.\n" },
	[ADMIN_SIGNAL] = { ADMIN_SIGNAL, "signal", "SERVICE COLOR good|bad N", ADMIN_RIGHT_FLIP, 4, 4, 0, 0,
		true, "a team's own counts of COLOR, for the bake under way",
		"N more events that went well or badly, such as orders; of both colors, since\n"
		"the judge compares them.\n" },
	[ADMIN_WAIT] = { ADMIN_WAIT, "wait", "SERVICE", ADMIN_RIGHT_FLIP, 1, 1, BIT(ADMIN_OPT_WAIT_FOR), BIT(ADMIN_OPT_WAIT_FOR),
		false, "waits until the last flip is applied, drained, baked or ramped",
		"Changes nothing; ends with the exit status that the flip would have had.\n" },
	[ADMIN_DRAIN] = { ADMIN_DRAIN, "drain", "SERVICE", ADMIN_RIGHT_READ, 1, 1, 0, 0,
		false, "what still holds the old color",
		"Client, backend, age, idle time and bytes of every connection left.\n" },
	[ADMIN_HISTORY] = { ADMIN_HISTORY, "history", "SERVICE", ADMIN_RIGHT_READ, 1, 1,
		BIT(ADMIN_OPT_LAST), 0, false,
		"who flipped what, when, why, with what result", "Newest last.\n" },
	[ADMIN_NODE] = { ADMIN_NODE, "node", "list|add|remove|drain|ready|reset [POOL] [HOST]",
		ADMIN_RIGHT_NODE, 1, 3, BIT(ADMIN_OPT_FORCE) | BIT(ADMIN_OPT_BRIEF) | BIT(ADMIN_OPT_NODE_WAIT) |
			BIT(ADMIN_OPT_SPREAD) | BIT(ADMIN_OPT_NO_CUT), 0, true,
		"the nodes of a pool, at runtime",
		"list [POOL] shows them, with --brief only the services that are not well on a\n"
		"node; the others take POOL and HOST.  drain: HOST keeps its connections and gets\n"
		"no new ones.  With --wait they end, too, and the reply proves that the whole\n"
		"fleet has none left there (exit status 6: some are left; 8 or 11: it is not\n"
		"known of all); the drain goes on when its client leaves.  ready undoes a drain;\n"
		"one that a Kubernetes API asks for only with --force.  remove: as drain, and\n"
		"HOST is no longer checked or counted.  add: HOST gets a backend for each color\n"
		"of every service that uses the pool, checked before it is used.  All of it is\n"
		"for the whole fleet, outlives restarts and wins over the configuration until\n"
		"reset; no other connection is touched.  The last usable backend of an active\n"
		"color is not taken, here nor by what the store says, unless by --force.\n" },
	[ADMIN_FLEET] = { ADMIN_FLEET, "fleet", "", ADMIN_RIGHT_READ, 0, 0, 0, 0,
		false, "every teald that flips together with this one",
		"Which epochs each has applied and the health it sees.  One that vanished\n"
		"without a goodbye is missing, and flips wait for it, until it is forgotten.\n" },
	[ADMIN_CERTS] = { ADMIN_CERTS, "certs", "[SERVICE|reload]", ADMIN_RIGHT_READ, 0, 1, 0, 0,
		true, "the certificates that clients are shown",
		"Names, type, expiry, fingerprint and issuer of each, and why newer files were\n"
		"refused.  Changed files are picked up by themselves; reload reads all of them\n"
		"again, now, checks them, and fails if any was refused: then what was shown\n"
		"before stays.\n" },
	[ADMIN_EVENTS] = { ADMIN_EVENTS, "events", "[SERVICE]", ADMIN_RIGHT_READ, 0, 1, 0, 0,
		false, "streams events until you leave",
		"A line per event, of one service or of all.\n" },
	[ADMIN_LOG] = { ADMIN_LOG, "log", "debug|info|warn|error", ADMIN_RIGHT_ADMIN,
		1, 1, 0, 0, true, "the lowest level of log lines, until teald ends",
		"Access lines are of level info, the audit is written at any.  A teald that\n"
		"starts takes log.level from its configuration again.\n" },
	[ADMIN_MAINTENANCE] = { ADMIN_MAINTENANCE, "maintenance", "on|off", ADMIN_RIGHT_ADMIN,
		1, 1, 0, 0, true, "on: /readyz says no, while serving goes on",
		"Takes this teald out of the rotation of whatever asks /readyz, and brings it\n"
		"back.  Traffic that still comes is served as before.\n" },
	[ADMIN_RELOAD] = { ADMIN_RELOAD, "reload", "", ADMIN_RIGHT_ADMIN, 0, 0,
		BIT(ADMIN_OPT_DRY_RUN), 0, true, "takes over a changed configuration",
		"Reads the file again, checks it, shows what is different, and obeys it, as\n"
		"SIGHUP does.  What the change does not concern goes on: listeners,\n"
		"connections, health, flips.  A file with errors, or a change that needs an\n"
		"upgrade, changes nothing.\n" },
	[ADMIN_UPGRADE] = { ADMIN_UPGRADE, "upgrade", "", ADMIN_RIGHT_ADMIN, 0, 0,
		BIT(ADMIN_OPT_BINARY) | BIT(ADMIN_OPT_CONFIG), 0, true, "hands everything over to the teald that is on disk now",
		"Starts that program with the same sockets and the same configuration file,\n"
		"waits until it has made its first checks, and gives it the traffic and the\n"
		"connections, as SIGUSR2 does.  What fails before that changes nothing.  Where a\n"
		"reload says that an upgrade is needed, this does it.\n" },
	[ADMIN_CONFIG] = { ADMIN_CONFIG, "config", "[SERVICE]", ADMIN_RIGHT_ADMIN, 0, 1, 0, 0,
		false, "every key that is obeyed now, with its value",
		"Defaults and what follows from other keys included; of passwords a short hash.\n" },
	[ADMIN_STOP] = { ADMIN_STOP, "stop", "", ADMIN_RIGHT_ADMIN, 0, 0, 0, 0,
		true, "drains and ends teald, as SIGTERM does",
		"The reply comes before the end: teald then serves on for stop.notice, closes\n"
		"its listeners and lets connections finish within stop.timeout.\n" },
	[ADMIN_WHOAMI] = { ADMIN_WHOAMI, "whoami", "", ADMIN_RIGHT_NONE, 0, 0, 0, 0,
		false, "who teald takes you for, and what you may do", "" },
	[ADMIN_HELP] = { ADMIN_HELP, "help", "[COMMAND]", ADMIN_RIGHT_NONE, 0, 1, 0, 0,
		false, "the commands teald knows", "" },
	[ADMIN_VERSION] = { ADMIN_VERSION, "version", "", ADMIN_RIGHT_NONE, 0, 0, 0, 0,
		false, "the running teald's version", "" },
};

const struct admin_command_info *
admin_command_info(enum admin_command command)
{
	CHECK((size_t)command < ARRAY_LEN(commands));
	return &commands[command];
}

const struct admin_command_info *
admin_command_find(struct str word)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (str_eq(word, commands[i].word))
			return &commands[i];
	return NULL;
}

const struct admin_option_info *
admin_option_info(enum admin_option option)
{
	CHECK((size_t)option < ARRAY_LEN(options));
	return &options[option];
}

const char *
admin_right_word(enum admin_right right)
{
	switch (right) {
	case ADMIN_RIGHT_NONE:
		return "none";
	case ADMIN_RIGHT_READ:
		return "read";
	case ADMIN_RIGHT_FLIP:
		return "flip";
	case ADMIN_RIGHT_NODE:
		return "node";
	case ADMIN_RIGHT_ADMIN:
		return "admin";
	}
	CHECK(!"a right without a word");
	return NULL;
}

const char *
admin_wait_word(enum admin_wait wait)
{
	switch (wait) {
	case ADMIN_WAIT_APPLIED:
		return "applied";
	case ADMIN_WAIT_DRAINED:
		return "drained";
	case ADMIN_WAIT_NONE:
		return "none";
	}
	CHECK(!"a wait without a word");
	return NULL;
}

/* "--expect=COLOR[@EPOCH]" */
static void
put_option_usage(struct buf *out, const struct admin_option_info *o)
{
	bool perhaps = o->kind == ADMIN_KIND_PERHAPS_SECONDS;

	buf_printf(out, "--%s%s%s%s%s", o->key, perhaps ? "[" : "", o->value != NULL ? "=" : "",
		   o->value != NULL ? o->value : "", perhaps ? "]" : "");
}

void
admin_command_usage(struct buf *out, const struct admin_command_info *info)
{
	buf_printf(out, "%s%s%s", info->word, *info->args != '\0' ? " " : "", info->args);
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		bool required = info->required & BIT(i);

		if (!(info->options & BIT(i)))
			continue;
		buf_append(out, " [", required ? 1 : 2);
		put_option_usage(out, &options[i]);
		buf_append(out, "]", required ? 0 : 1);
	}
}

/* Indented by six, below 79 columns. */
static void
put_wrapped(struct buf *out, const char *text)
{
	size_t column = 79, n;

	for (; *text != '\0'; text += n + (text[n] == ' ')) {
		n = strcspn(text, " ");
		if (column + 1 + n > 78) {
			buf_printf(out, "\n     ");
			column = 5;
		}
		buf_printf(out, " %.*s", (int)n, text);
		column += 1 + n;
	}
	buf_append(out, "\n", 1);
}

void
admin_command_help(struct buf *out, const struct admin_command_info *info, const char *program)
{
	buf_printf(out, "Usage: %s ", program);
	admin_command_usage(out, info);
	buf_printf(out, "\n\n%s: %s.\n%s", info->word, info->summary, info->help);
	if (info->options != 0)
		buf_printf(out, "\nOptions:\n");
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		if (!(info->options & BIT(i)))
			continue;
		buf_printf(out, "  ");
		put_option_usage(out, &options[i]);
		put_wrapped(out, options[i].summary);
	}
	buf_printf(out, "\nNeeds the right: %s.\n", admin_right_word(info->right));
}

void
admin_command_list(struct buf *out)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		buf_printf(out, "  %-12s %s\n", commands[i].word, commands[i].summary);
}

void
admin_command_json(struct json *j, struct str topic)
{
	struct buf usage;

	buf_init(&usage, ADMIN_LINE_MAX);
	json_array(j, "commands");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (topic.n > 0 && !str_eq(topic, commands[i].word))
			continue;
		buf_clear(&usage);
		admin_command_usage(&usage, &commands[i]);
		json_object(j, NULL);
		json_cstr(j, "command", commands[i].word);
		json_str(j, "usage", buf_str(&usage));
		json_cstr(j, "summary", commands[i].summary);
		if (*commands[i].help != '\0')
			json_cstr(j, "help", commands[i].help);
		json_cstr(j, "right", admin_right_word(commands[i].right));
		json_object_end(j);
	}
	json_array_end(j);
	buf_free(&usage);
}
