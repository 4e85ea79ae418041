/* admin_command.c - from the words of a line to a typed request.  Pure; any
 * thread.  Every complaint ends with the usage line of its command, so that
 * one look is enough to put it right. */
#include <stdarg.h>
#include <stdio.h>

#include "base/percent.h"
#include "proto/admin_command.h"

struct parse {
	const struct admin_command_info *info;
	struct admin_request *out;
	struct why *why;
};

/* Words of the peer appear in messages no longer than this. */
#define WORD_SHOWN 40
#define SHOWN(s) (int)((s).n < WORD_SHOWN ? (s).n : WORD_SHOWN), (s).p

static enum err command_error(const struct parse *p, enum err e, const char *fmt, ...) PRINTF_LIKE(3, 4);

static enum err
command_error(const struct parse *p, enum err e, const char *fmt, ...)
{
	char text[256];
	struct buf usage;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_init(&usage, ADMIN_LINE_MAX);
	admin_command_usage(&usage, p->info);
	e = why_set(p->why, e, "%s: %s; usage: %.*s", p->info->word, text, (int)buf_len(&usage),
		    buf_str(&usage).p);
	buf_free(&usage);
	return e;
}

static enum err
unknown_command(struct str word, struct why *why)
{
	const char *guess = NULL;
	size_t best = 3, d;

	for (int i = 0; i < ADMIN_COMMANDS; i++) {
		d = str_distance(word, str_from(admin_command_info(i)->word), best);
		if (d < best && d < word.n) {
			best = d;
			guess = admin_command_info(i)->word;
		}
	}
	if (guess != NULL)
		return why_set(why, E_USAGE, "unknown command \"%.*s\"; did you mean %s?", SHOWN(word),
			       guess);
	return why_set(why, E_USAGE, "unknown command \"%.*s\"; help lists the commands", SHOWN(word));
}

static enum err
take_color_word(const struct parse *p, struct str word, struct str *out)
{
	if (!str_eq(word, "green") && !str_eq(word, "blue"))
		return command_error(p, E_UNKNOWN_COLOR, "unknown color \"%.*s\": it is green or blue",
				     SHOWN(word));
	*out = word;
	return OK;
}

/* COLOR or COLOR@EPOCH; where is what stands before it in a complaint. */
static enum err
take_color_at(const struct parse *p, const char *where, struct str value, struct str *color, bool *has_epoch,
	      uint64_t *epoch)
{
	const char *at = memchr(value.p, '@', value.n);
	struct str word = value, number;

	if (at != NULL) {
		word.n = (size_t)(at - value.p);
		number = (struct str){ at + 1, value.n - word.n - 1 };
		if (!str_to_u64(number, UINT64_MAX, epoch))
			return command_error(p, E_USAGE, "the epoch in %s%.*s is not a number", where, SHOWN(value));
		*has_epoch = true;
	}
	/* Kept as a constant: the slice of the line has no NUL before the '@'. */
	if (str_eq(word, "green"))
		word = STR("green");
	else if (str_eq(word, "blue"))
		word = STR("blue");
	return take_color_word(p, word, color);
}

static enum err
take_expect(const struct parse *p, struct str value)
{
	struct admin_request *out = p->out;

	out->has_expect = true;
	return take_color_at(p, "--expect=", value, &out->expect_color, &out->has_expect_epoch,
			     &out->expect_epoch);
}

static enum err
take_level(const struct parse *p, struct str word)
{
	char text[8];

	if (!str_copy(text, sizeof(text), word) || !log_level_from_word(text, &p->out->level))
		return command_error(p, E_USAGE, "\"%.*s\" is no level: debug, info, warn or error",
				     SHOWN(word));
	return OK;
}

static enum err
take_wait(const struct parse *p, struct str value)
{
	static const enum admin_wait waits[] = { ADMIN_WAIT_APPLIED, ADMIN_WAIT_DRAINED, ADMIN_WAIT_NONE };

	for (size_t i = 0; i < ARRAY_LEN(waits); i++)
		if (str_eq(value, admin_wait_word(waits[i]))) {
			p->out->wait = waits[i];
			return OK;
		}
	return command_error(p, E_USAGE, "--wait=%.*s: it is applied, drained or none", SHOWN(value));
}

static enum err
take_seconds(const struct parse *p, const struct admin_option_info *o, struct str value)
{
	struct admin_request *out = p->out;
	double seconds;

	if (!str_to_duration(value, &seconds))
		return command_error(p, E_USAGE, "--%s=%.*s: not a number of seconds such as 5, 0.5 or 30m",
				     o->key, SHOWN(value));
	switch (o->option) {
	case ADMIN_OPT_WAIT_HEALTHY:
		out->has_wait_healthy = true;
		out->wait_healthy = seconds;
		return OK;
	case ADMIN_OPT_TIMEOUT:
		out->has_timeout = true;
		out->timeout = seconds;
		return OK;
	case ADMIN_OPT_DRAIN:
		out->has_drain = true;
		out->drain = seconds;
		return OK;
	case ADMIN_OPT_TTL:
		out->ttl = seconds;
		if (seconds < ADMIN_TTL_MIN || seconds > ADMIN_TTL_MAX)
			return command_error(p, E_USAGE, "--ttl=%.*s: it is from a second to seven days (168h)",
					     SHOWN(value));
		return OK;
	case ADMIN_OPT_CLAIM_WAIT:
		out->claim_wait = seconds;
		return OK;
	case ADMIN_OPT_NODE_WAIT:
		out->has_node_timeout = true;
		out->node_timeout = seconds;
		if (seconds > ADMIN_NODE_WAIT_MAX)
			return command_error(p, E_USAGE, "--wait=%.*s: it is at most seven days (168h)", SHOWN(value));
		return OK;
	case ADMIN_OPT_BAKE:
		out->has_bake = true;
		out->bake = seconds;
		if (seconds > ADMIN_BAKE_MAX)
			return command_error(p, E_USAGE, "--bake=%.*s: it is at most a day (24h)", SHOWN(value));
		return OK;
	case ADMIN_OPT_SPREAD:
		out->has_spread = true;
		out->spread = seconds;
		return OK;
	case ADMIN_OPT_EVERY:
		out->every = seconds;
		if (seconds < 1 || seconds > ADMIN_EVERY_MAX)
			return command_error(p, E_USAGE, "--every=%.*s: it is from a second to seven days (168h)", SHOWN(value));
		return OK;
	case ADMIN_OPT_ON_REGRESSION:
	case ADMIN_OPT_WAIT_FOR:
	case ADMIN_OPT_TO:
	case ADMIN_OPT_RAMP:
	case ADMIN_OPT_HOLD_BACK:
	case ADMIN_OPT_EXPECT:
	case ADMIN_OPT_WAIT:
	case ADMIN_OPT_REASON:
	case ADMIN_OPT_FORCE:
	case ADMIN_OPT_LAST:
	case ADMIN_OPT_BRIEF:
	case ADMIN_OPT_SUMMARY:
	case ADMIN_OPT_TROUBLE:
	case ADMIN_OPT_DRY_RUN:
	case ADMIN_OPT_EPOCH:
	case ADMIN_OPT_NO_CUT:
	case ADMIN_OPT_TOKEN:
	case ADMIN_OPT_KEEP_CLAIM:
	case ADMIN_OPT_BINARY:
	case ADMIN_OPT_CONFIG:
		break;
	}
	CHECK(!"an option of seconds without a place");
	return E_INTERNAL;
}

static enum err
take_reason_option(const struct parse *p, struct str value)
{
	if (value.n == 0)
		return command_error(p, E_USAGE, "--reason is empty");
	if (value.n > ADMIN_REASON_MAX)
		return command_error(p, E_USAGE, "--reason is longer than %d bytes", ADMIN_REASON_MAX);
	p->out->reason = value;
	return OK;
}

static enum err
take_path_option(const struct parse *p, const struct admin_option_info *o, struct str value)
{
	if (value.n == 0 || value.p[0] != '/')
		return command_error(p, E_USAGE, "--%s=%.*s: an absolute path is wanted", o->key, SHOWN(value));
	if (o->option == ADMIN_OPT_BINARY)
		p->out->binary = value;
	else
		p->out->config = value;
	return OK;
}

static enum err
take_last_option(const struct parse *p, struct str value)
{
	uint64_t n;

	if (!str_to_u64(value, ADMIN_LAST_MAX, &n) || n == 0)
		return command_error(p, E_USAGE, "--last=%.*s: not a number from 1 to %d", SHOWN(value),
				     ADMIN_LAST_MAX);
	p->out->has_last = true;
	p->out->last = (unsigned)n;
	return OK;
}

static enum err
take_token(const struct parse *p, struct str value)
{
	p->out->token = value;
	if (value.n == 0)
		return command_error(p, E_USAGE, "--token is empty: did the claim fail?");
	if (value.n != ADMIN_TOKEN || strspn(value.p, "0123456789abcdef") != value.n)
		return command_error(p, E_USAGE, "--token is none that claim gave: %d hexadecimal digits", ADMIN_TOKEN);
	return OK;
}

static enum err
take_regression(const struct parse *p, struct str value)
{
	p->out->on_regression = value;
	if (!str_eq(value, "rollback") && !str_eq(value, "stop") && !str_eq(value, "tell"))
		return command_error(p, E_USAGE, "--on-regression=%.*s: it is rollback, stop or tell", SHOWN(value));
	return OK;
}

static enum err
take_wait_for(const struct parse *p, struct str value)
{
	p->out->wait_baked = str_eq(value, "baked");
	p->out->wait_ramped = str_eq(value, "ramped");
	p->out->wait = str_eq(value, "drained") ? ADMIN_WAIT_DRAINED : ADMIN_WAIT_APPLIED;
	if (!p->out->wait_baked && !p->out->wait_ramped && !str_eq(value, "drained") && !str_eq(value, "applied"))
		return command_error(p, E_USAGE, "--for=%.*s: it is applied, drained, baked or ramped", SHOWN(value));
	return OK;
}

static enum err
take_percent(const struct parse *p, const struct admin_option_info *o, struct str value)
{
	if (!percent_parse(value, &p->out->share))
		return command_error(p, E_USAGE, "--%s=%.*s: not a share from 0%% to 100%%, such as 10%% or 2.5%%", o->key,
				     SHOWN(value));
	return OK;
}

static enum err
take_ramp(const struct parse *p, struct str value)
{
	struct admin_request *out = p->out;
	struct str rest = value;

	while (rest.n > 0) {
		const char *comma = memchr(rest.p, ',', rest.n);
		struct str one = { rest.p, comma != NULL ? (size_t)(comma - rest.p) : rest.n };
		uint32_t share;

		if (!percent_parse(one, &share) || share == 0)
			return command_error(p, E_USAGE, "--ramp=%.*s: \"%.*s\" is not a share above 0%% and up to 100%%", SHOWN(value),
					     SHOWN(one));
		if (out->n_ramp > 0 && share <= out->ramp[out->n_ramp - 1])
			return command_error(p, E_USAGE, "--ramp=%.*s: each step is more than the one before it", SHOWN(value));
		if (out->n_ramp == ADMIN_RAMP_STEPS)
			return command_error(p, E_USAGE, "--ramp has more than %d steps", ADMIN_RAMP_STEPS);
		out->ramp[out->n_ramp++] = (uint16_t)share;
		rest.p += one.n + (comma != NULL);
		rest.n -= one.n + (comma != NULL);
	}
	if (out->n_ramp < 2 || out->ramp[out->n_ramp - 1] != PERCENT_WHOLE || value.p[value.n - 1] == ',')
		return command_error(p, E_USAGE, "--ramp=%.*s: it has two steps or more, the last of which is 100%%, such as "
				     "5%%,25%%,100%%", SHOWN(value));
	return OK;
}

static enum err
check_ramp(const struct parse *p)
{
	const struct admin_request *r = p->out;

	if (r->n_ramp == 0 && r->every > 0)
		return command_error(p, E_USAGE, "--every needs --ramp: it is how long each of its steps lasts");
	if (r->n_ramp > 0 && r->every == 0)
		return command_error(p, E_USAGE, "--ramp needs --every: how long each of its steps lasts");
	if (r->n_ramp > 0 && (r->force || r->has_drain))
		return command_error(p, E_USAGE, "--%s is not for a ramp: %s", r->force ? "force" : "drain",
				     r->force ? "each of its steps asks the gate" : "its last step drains as drain.timeout says");
	return OK;
}

/* --wait is one thing for a flip and another for a claim. */
static const struct admin_option_info *
option_find(const struct admin_command_info *info, struct str key)
{
	for (int i = 0; i < ADMIN_OPTIONS; i++)
		if ((info->options & (uint64_t)1 << i) && str_eq(key, admin_option_info(i)->key))
			return admin_option_info(i);
	return NULL;
}

static enum err
unknown_option(const struct parse *p, struct str key)
{
	for (int i = 0; i < ADMIN_OPTIONS; i++) {
		const struct admin_option_info *o = admin_option_info(i);

		if ((p->info->options & (uint64_t)1 << i) && str_distance(key, str_from(o->key), 2) < 3)
			return command_error(p, E_USAGE, "unknown option --%.*s (did you mean --%s?)",
					     SHOWN(key), o->key);
	}
	return command_error(p, E_USAGE, "unknown option --%.*s", SHOWN(key));
}

static bool *
flag_of(struct admin_request *out, enum admin_option option)
{
	switch (option) {
	case ADMIN_OPT_FORCE:
		return &out->force;
	case ADMIN_OPT_BRIEF:
		return &out->brief;
	case ADMIN_OPT_SUMMARY:
		return &out->summary;
	case ADMIN_OPT_TROUBLE:
		return &out->trouble;
	case ADMIN_OPT_DRY_RUN:
		return &out->dry_run;
	case ADMIN_OPT_EPOCH:
		return &out->epoch;
	case ADMIN_OPT_NO_CUT:
		return &out->no_cut;
	case ADMIN_OPT_KEEP_CLAIM:
		return &out->keep_claim;
	case ADMIN_OPT_BAKE:
	case ADMIN_OPT_ON_REGRESSION:
	case ADMIN_OPT_WAIT_FOR:
	case ADMIN_OPT_EXPECT:
	case ADMIN_OPT_WAIT:
	case ADMIN_OPT_WAIT_HEALTHY:
	case ADMIN_OPT_TIMEOUT:
	case ADMIN_OPT_DRAIN:
	case ADMIN_OPT_REASON:
	case ADMIN_OPT_LAST:
	case ADMIN_OPT_TOKEN:
	case ADMIN_OPT_TTL:
	case ADMIN_OPT_CLAIM_WAIT:
	case ADMIN_OPT_BINARY:
	case ADMIN_OPT_NODE_WAIT:
	case ADMIN_OPT_SPREAD:
	case ADMIN_OPT_TO:
	case ADMIN_OPT_RAMP:
	case ADMIN_OPT_EVERY:
	case ADMIN_OPT_HOLD_BACK:
	case ADMIN_OPT_CONFIG:
		break;
	}
	CHECK(!"a flag without a place");
	return NULL;
}

static enum err
take_command_option(const struct parse *p, const struct admin_opt *opt, uint64_t *seen)
{
	const struct admin_option_info *o = option_find(p->info, opt->key);

	if (o == NULL)
		return unknown_option(p, opt->key);
	if (*seen & (uint64_t)1 << o->option)
		return command_error(p, E_USAGE, "--%s is given twice", o->key);
	*seen |= (uint64_t)1 << o->option;
	if (o->kind == ADMIN_KIND_FLAG && opt->has_value)
		return command_error(p, E_USAGE, "--%s takes no value", o->key);
	if (o->kind == ADMIN_KIND_PERHAPS_SECONDS)
		p->out->node_wait = true;
	if (o->kind == ADMIN_KIND_PERHAPS_SECONDS && !opt->has_value)
		return OK;
	if (o->kind != ADMIN_KIND_FLAG && !opt->has_value)
		return command_error(p, E_USAGE, "--%s needs a value: --%s=%s", o->key, o->key, o->value);
	switch (o->kind) {
	case ADMIN_KIND_FLAG:
		*flag_of(p->out, o->option) = true;
		return OK;
	case ADMIN_KIND_EXPECT:
		return take_expect(p, opt->value);
	case ADMIN_KIND_WAIT:
		return take_wait(p, opt->value);
	case ADMIN_KIND_SECONDS:
	case ADMIN_KIND_PERHAPS_SECONDS:
		return take_seconds(p, o, opt->value);
	case ADMIN_KIND_TEXT:
		return take_reason_option(p, opt->value);
	case ADMIN_KIND_COUNT:
		return take_last_option(p, opt->value);
	case ADMIN_KIND_PATH:
		return take_path_option(p, o, opt->value);
	case ADMIN_KIND_TOKEN:
		return take_token(p, opt->value);
	case ADMIN_KIND_REGRESSION:
		return take_regression(p, opt->value);
	case ADMIN_KIND_WAIT_FOR:
		return take_wait_for(p, opt->value);
	case ADMIN_KIND_PERCENT:
		return take_percent(p, o, opt->value);
	case ADMIN_KIND_PERCENTS:
		return take_ramp(p, opt->value);
	}
	CHECK(!"a kind of option without a reader");
	return E_INTERNAL;
}

/* args are what is behind `node`. */
static enum err
take_node(const struct parse *p, const struct str *args, size_t n)
{
	static const char *const changing[] = { "add", "remove", "drain", "ready", "reset" };

	p->out->node_verb = args[0];
	if (n > 1)
		p->out->pool = args[1];
	if (str_eq(args[0], "list")) {
		if (n > 2)
			return command_error(p, E_USAGE, "list takes a pool and nothing else");
		if (p->out->node_wait)
			return command_error(p, E_USAGE, "--wait is for node drain");
		p->out->right = ADMIN_RIGHT_READ;
		return OK;
	}
	for (size_t i = 0; i < ARRAY_LEN(changing); i++) {
		if (!str_eq(args[0], changing[i]))
			continue;
		if (n != 3)
			return command_error(p, E_USAGE, "%s needs a pool and a host", changing[i]);
		p->out->host = args[2];
		if (p->out->node_wait && !str_eq(args[0], "drain"))
			return command_error(p, E_USAGE, "--wait is for node drain");
		return OK;
	}
	return command_error(p, E_USAGE, "unknown verb \"%.*s\"", SHOWN(args[0]));
}

enum err
admin_command_check_targets(const struct admin_request *r, struct why *why)
{
	const struct parse p = { admin_command_info(r->command), NULL, why };

	for (size_t i = 0; i < r->n_targets; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(r->targets[i].name, r->targets[k].name) == 0)
				return command_error(&p, E_USAGE, "%s is named twice", r->targets[i].name);
	if (r->n_targets > 0 && r->has_expect_epoch)
		return command_error(&p, E_USAGE, "the epoch in --expect is of one service; of several each has its own: %s=blue@%llu",
				     r->targets[0].name, (unsigned long long)r->expect_epoch);
	if (r->n_targets > 0 && r->token.n > 0)
		return command_error(&p, E_USAGE, "--token is of one service's claim; several are changed without claims");
	return OK;
}

/* SERVICE=COLOR[@EPOCH]; without colors: SERVICE. */
static enum err
take_target(const struct parse *p, struct str arg, bool colors)
{
	struct admin_target *t = &p->out->targets[p->out->n_targets];
	const char *equal = colors ? memchr(arg.p, '=', arg.n) : NULL;
	struct str name = arg;

	if (colors && equal == NULL)
		return command_error(p, E_USAGE, "\"%.*s\" is not SERVICE=COLOR", SHOWN(arg));
	if (equal != NULL)
		name.n = (size_t)(equal - arg.p);
	if (name.n == 0 || !str_copy(t->name, sizeof(t->name), name))
		return command_error(p, E_USAGE, "\"%.*s\" begins with what is no name of a service", SHOWN(arg));
	p->out->n_targets++;
	if (!colors)
		return OK;
	return take_color_at(p, "", (struct str){ equal + 1, arg.n - name.n - 1 }, &t->color, &t->has_at_epoch, &t->at_epoch);
}

static enum err
take_targets(const struct parse *p, const struct str *args, size_t n, bool colors)
{
	enum err e;

	CHECK(n <= ADMIN_TARGETS_MAX);
	for (size_t i = 0; i < n; i++)
		if ((e = take_target(p, args[i], colors)) != OK)
			return e;
	return admin_command_check_targets(p->out, p->why);
}

/* SERVICE COLOR, or SERVICE=COLOR for each. */
static enum err
take_flip(const struct parse *p, const struct str *args, size_t n)
{
	struct admin_request *out = p->out;

	if (memchr(args[0].p, '=', args[0].n) != NULL)
		return take_targets(p, args, n, true);
	if (n < 2)
		return command_error(p, E_USAGE, "missing argument");
	if (n > 2)
		return command_error(p, E_USAGE, "surplus argument \"%.*s\"", SHOWN(args[2]));
	out->service = args[0];
	return take_color_at(p, "", args[1], &out->color, &out->has_at_epoch, &out->at_epoch);
}

/* args are what is behind `bake`. */
static enum err
take_bake(const struct parse *p, const struct str *args, size_t n)
{
	p->out->service = args[0];
	if (n == 1) {
		p->out->right = ADMIN_RIGHT_READ;
		return OK;
	}
	p->out->bake_verb = str_eq(args[1], "abort") ? ADMIN_BAKE_ABORT : ADMIN_BAKE_PROMOTE;
	if (!str_eq(args[1], "abort") && !str_eq(args[1], "promote"))
		return command_error(p, E_USAGE, "\"%.*s\" is neither abort nor promote", SHOWN(args[1]));
	return OK;
}

/* args are what is behind `signal`. */
static enum err
take_signal(const struct parse *p, const struct str *args)
{
	struct admin_request *out = p->out;

	out->service = args[0];
	out->good = str_eq(args[2], "good");
	if (!out->good && !str_eq(args[2], "bad"))
		return command_error(p, E_USAGE, "\"%.*s\" is neither good nor bad", SHOWN(args[2]));
	if (!str_to_u64(args[3], ADMIN_SIGNAL_MAX, &out->count) || out->count == 0)
		return command_error(p, E_USAGE, "%.*s: not a number from 1 to %u", SHOWN(args[3]), ADMIN_SIGNAL_MAX);
	return take_color_word(p, args[1], &out->color);
}

/* args are what is behind the word; their number is right. */
static enum err
take_args(const struct parse *p, const struct str *args, size_t n)
{
	struct admin_request *out = p->out;

	switch (p->info->command) {
	case ADMIN_LOCK:
	case ADMIN_UNLOCK:
		out->all_services = str_eq(args[0], "*");
		out->service = args[0];
		return OK;
	case ADMIN_STATUS:
	case ADMIN_ACTIVE:
	case ADMIN_IDLE:
	case ADMIN_CLAIM:
	case ADMIN_WAIT:
	case ADMIN_DRAIN:
	case ADMIN_HISTORY:
	case ADMIN_EVENTS:
	case ADMIN_CONFIG:
		if (n > 0)
			out->service = args[0];
		return OK;
	case ADMIN_RELEASE:
		out->service = args[0];
		if (out->force)
			out->right = ADMIN_RIGHT_ADMIN;
		if (out->force == (out->token.n > 0))
			return command_error(p, E_USAGE, "it is --token or --force that says whose claim is ended");
		return OK;
	case ADMIN_CHECK:
	case ADMIN_FLIP:
		return take_flip(p, args, n);
	case ADMIN_ROLLBACK:
		if (n > 1)
			return take_targets(p, args, n, false);
		out->service = args[0];
		return OK;
	case ADMIN_SHIFT:
		out->service = args[0];
		return take_color_at(p, "", args[1], &out->color, &out->has_at_epoch, &out->at_epoch);
	case ADMIN_NODE:
		return take_node(p, args, n);
	case ADMIN_BAKE:
		return take_bake(p, args, n);
	case ADMIN_SIGNAL:
		return take_signal(p, args);
	case ADMIN_CERTS:
		out->reload = n > 0 && str_eq(args[0], "reload");
		if (out->reload)
			out->right = ADMIN_RIGHT_ADMIN;
		else if (n > 0)
			out->service = args[0];
		return OK;
	case ADMIN_LOG:
		return take_level(p, args[0]);
	case ADMIN_MAINTENANCE:
		out->on = str_eq(args[0], "on");
		if (!out->on && !str_eq(args[0], "off"))
			return command_error(p, E_USAGE, "\"%.*s\" is neither on nor off", SHOWN(args[0]));
		return OK;
	case ADMIN_HELP:
		if (n > 0 && admin_command_find(args[0]) == NULL)
			return unknown_command(args[0], p->why);
		if (n > 0)
			out->topic = args[0];
		return OK;
	case ADMIN_FLEET:
	case ADMIN_RELOAD:
	case ADMIN_UPGRADE:
	case ADMIN_STOP:
	case ADMIN_WHOAMI:
	case ADMIN_VERSION:
		return OK;
	}
	CHECK(!"a command without arguments of its own");
	return E_INTERNAL;
}

enum err
admin_command_parse(const struct admin_line *line, struct admin_request *out, struct why *why)
{
	static const struct str none = { "", 0 };
	struct parse p = { NULL, out, why };
	uint64_t seen = 0;
	size_t n;
	enum err e;

	*out = (struct admin_request){ .service = none,
				       .color = none,
				       .expect_color = none,
				       .reason = none,
				       .token = none,
				       .on_regression = none,
				       .node_verb = none,
				       .pool = none,
				       .host = none,
				       .binary = none,
				       .config = none,
				       .topic = none };
	if (line->n_args == 0)
		return why_set(why, E_USAGE, "no command; help lists the commands");
	if ((p.info = admin_command_find(line->args[0])) == NULL)
		return unknown_command(line->args[0], why);
	out->command = p.info->command;
	out->right = p.info->right;
	n = line->n_args - 1;
	if (n < p.info->min_args)
		return command_error(&p, E_USAGE, "missing argument");
	if (n > p.info->max_args)
		return command_error(&p, E_USAGE, "surplus argument \"%.*s\"",
				     SHOWN(line->args[1 + p.info->max_args]));
	for (size_t i = 1; i <= n; i++)
		if (line->args[i].n == 0)
			return command_error(&p, E_USAGE, "argument %zu is empty", i);
	for (size_t i = 0; i < line->n_opts; i++)
		if ((e = take_command_option(&p, &line->opts[i], &seen)) != OK)
			return e;
	for (int i = 0; i < ADMIN_OPTIONS; i++)
		if (p.info->required & ~seen & (uint64_t)1 << i)
			return command_error(&p, E_USAGE, "--%s=%s is needed", admin_option_info(i)->key,
					     admin_option_info(i)->value);
	if (out->no_cut && out->wait != ADMIN_WAIT_DRAINED && !out->node_wait)
		return command_error(&p, E_USAGE, "--no-cut needs --wait%s: it is about the drain's end",
				     out->command == ADMIN_NODE ? "" : "=drained");
	if (out->has_spread && !out->node_wait)
		return command_error(&p, E_USAGE, "--spread needs --wait: without it the node keeps its connections");
	if (out->has_spread && out->has_node_timeout && out->spread > out->node_timeout)
		return command_error(&p, E_USAGE, "--spread is longer than --wait, within which connections end");
	if (out->command == ADMIN_SHIFT && out->wait == ADMIN_WAIT_DRAINED && out->share > 0 && out->share < PERCENT_WHOLE)
		return command_error(&p, E_USAGE, "--wait=drained is for 0%% and 100%%: between them both colors keep their "
				     "connections");
	if (out->command == ADMIN_FLIP && out->share > 0 && (out->share == PERCENT_WHOLE || out->n_ramp > 0 || out->wait == ADMIN_WAIT_DRAINED))
		return command_error(&p, E_USAGE, "--hold-back is less than 100%%, without --ramp and --wait=drained: the old color keeps "
				     "clients until the bake is over");
	if ((e = check_ramp(&p)) != OK)
		return e;
	if (out->keep_claim && out->token.n == 0)
		return command_error(&p, E_USAGE, "--keep-claim needs --token: it is about that claim");
	return take_args(&p, line->args + 1, n);
}
