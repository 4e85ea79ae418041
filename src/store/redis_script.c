/* redis_script.c - the scripts, and how they are run.  Thread: main. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/redis_script.h"

/* -- the scripts ------------------------------------------------------------------- */

#define POOL_FIELDS "'version', 'nodes', 'forced', 'terms'"
#define FIELDS "'color', 'epoch', 'previous', 'change', 'by', 'at', 'reason', 'locked', 'forced', 'claimed', " \
	"'revision', 'share', 'held'"

struct redis_script redis_script_read = {
	.text = "local t = redis.call('TIME')\n"
		"local services, beats, pools = {}, {}, {}\n"
		"local n = tonumber(ARGV[2])\n"
		"for i, key in ipairs(KEYS) do\n"
		"  if i <= n then\n"
		"    services[i] = redis.pcall('HMGET', key, " FIELDS ")\n"
		"  else\n"
		"    pools[i - n] = redis.pcall('HMGET', key, " POOL_FIELDS ")\n"
		"  end\n"
		"end\n"
		"local ids = redis.pcall('ZRANGE', ARGV[1] .. ':lbs', 0, -1)\n"
		"if not ids.err then\n"
		"  for _, id in ipairs(ids) do\n"
		"    local beat = redis.pcall('GET', ARGV[1] .. ':lb:' .. id)\n"
		"    if type(beat) == 'string' then beats[#beats + 1] = beat end\n"
		"  end\n"
		"end\n"
		"local left = redis.pcall('ZRANGE', ARGV[1] .. ':left', 0, -1)\n"
		"return { t[1], t[2], services, beats, left.err and {} or left, pools }\n",
};

/* KEYS: the stream, the hashes of the services.
 * ARGV: 1 deadline (us), 2 mode, 3 channel, 4 length of the stream, and for each service:
 *       1 service, 2 epoch it must have ('0': none), 3 the lock it must have, as seen; '' for none,
 *       4 the hash of the token that is presented; '' for none, 5 history line or '',
 *       6 'same' where it is only compared, 7-19 the fields.
 * All of them are written, or none, but for mode 'forward': each is compared before the first is written.
 * mode 'cas': another color.  The epoch must be that one, and it must be locked or not as seen, since a
 * lock has no epoch of its own: a flip must not pass a lock it does not know.  The lock stays what it is.
 * mode 'lock': epoch and lock must be those, and only the lock is written.
 * mode 'claim': epoch and claim must be those, and only the claim is written.
 * mode 'hold': the same of the hold, whose name is when it ends: the one that is on must be the one that is named.
 * mode 'forward': everything but the hold, where the epoch is less than the new one; those where it is not are left alone.
 * A claim holds at the epoch it was made at, and until its time by this clock: then modes 'cas' and 'claim'
 * need its token; a token whose claim does not hold is a conflict.  A color with a token writes the claim, too.
 * The time is Redis's own, so a command that waited too long in a queue, or in
 * a stopped server's socket, writes nothing.
 * Answers: a word, the fields of each as they are now, and '1' for each that was in conflict. */
struct redis_script redis_script_write = {
	.text = "if redis.replicate_commands then redis.replicate_commands() end\n"
		"local t = redis.call('TIME')\n"
		"local now, mode, n = t[1] * 1000000 + t[2], ARGV[2], #KEYS - 1\n"
		"local each = (#ARGV - 4) / n\n"
		"local was, is, bad, any = {}, {}, {}, false\n"
		"for i = 1, n do\n"
		"  local was_i = redis.call('HMGET', KEYS[i + 1], " FIELDS ")\n"
		"  local a = 4 + (i - 1) * each\n"
		"  local epoch, locked, holder, other = was_i[2] or '0', was_i[8] or '', '', false\n"
		"  if was_i[10] and was_i[10] ~= '' then\n"
		"    local ok, claim = pcall(cjson.decode, was_i[10])\n"
		"    if ok and type(claim) == 'table' and tonumber(claim['epoch']) == tonumber(epoch) and\n"
		"      (tonumber(claim['until_us']) or 0) > now then\n"
		"      holder = claim['token']\n"
		"    end\n"
		"  end\n"
		"  if mode == 'hold' then\n"
		"    holder = ''\n"
		"    local ok, hold = pcall(cjson.decode, was_i[13] or '')\n"
		"    if ok and type(hold) == 'table' and tonumber(hold['epoch']) == tonumber(epoch) and\n"
		"      (tonumber(hold['until_us']) or 0) > now then\n"
		"      holder = string.format('%.0f', hold['until_us'])\n"
		"    end\n"
		"  end\n"
		"  if mode == 'forward' then\n"
		"    other = (tonumber(epoch) or 0) >= tonumber(ARGV[a + 8])\n"
		"  else\n"
		"    other = tonumber(epoch) ~= tonumber(ARGV[a + 2]) or (ARGV[a + 6] ~= 'same' and (\n"
		"      (locked ~= '') ~= (ARGV[a + 3] ~= '')\n"
		"      or (mode == 'lock' and locked ~= ARGV[a + 3])\n"
		"      or (mode ~= 'lock' and holder ~= ARGV[a + 4])))\n"
		"  end\n"
		"  was[i], bad[i] = was_i, other and '1' or ''\n"
		"  any = any or other\n"
		"end\n"
		"if now > tonumber(ARGV[1]) then return { 'late', was, bad } end\n"
		"if any and mode ~= 'forward' then return { 'conflict', was, bad } end\n"
		"for i = 1, n do\n"
		"  local key, a = KEYS[i + 1], 4 + (i - 1) * each\n"
		"  if ARGV[a + 6] ~= 'same' and bad[i] == '' then\n"
		"    local new = a + 6\n"
		"    if mode == 'cas' or mode == 'forward' then\n"
		"      redis.call('HSET', key, 'color', ARGV[new + 1], 'epoch', ARGV[new + 2], 'previous', ARGV[new + 3],\n"
		"        'change', ARGV[new + 4], 'by', ARGV[new + 5], 'at', ARGV[new + 6], 'reason', ARGV[new + 7],\n"
		"        'forced', ARGV[new + 9])\n"
		"      if was[i][11] or ARGV[new + 11] ~= '' then redis.call('HSET', key, 'revision', ARGV[new + 11]) end\n"
		"      if was[i][12] or ARGV[new + 12] ~= '' then redis.call('HSET', key, 'share', ARGV[new + 12]) end\n"
		"    end\n"
		"    if mode == 'lock' or mode == 'forward' or not was[i][8] then\n"
		"      redis.call('HSET', key, 'locked', ARGV[new + 8])\n"
		"    end\n"
		"    if mode == 'hold' then\n"
		"      redis.call('HSET', key, 'held', ARGV[new + 13])\n"
		"    elseif mode == 'claim' or ARGV[a + 4] ~= '' or (mode == 'forward' and (ARGV[new + 10] ~= '' or was[i][10])) then\n"
		"      redis.call('HSET', key, 'claimed', ARGV[new + 10])\n"
		"    end\n"
		"    if ARGV[a + 5] ~= '' then\n"
		"      redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'service', ARGV[a + 1], 'entry', ARGV[a + 5])\n"
		"    end\n"
		"    redis.pcall('PUBLISH', ARGV[3], ARGV[a + 1])\n"
		"  end\n"
		"  is[i] = redis.call('HMGET', key, " FIELDS ")\n"
		"end\n"
		"return { 'ok', is, bad }\n",
};

/* KEYS: the pool's hash.
 * ARGV: 1 deadline (us), 2 mode, 3 the new version, 4 nodes, 5 channel, 6 pool,
 * 7 '1' when forced, 8 terms of the nodes or ''.
 * mode 'cas': it must have the version before that; 'forward': a lesser one. */
struct redis_script redis_script_nodes = {
	.text = "if redis.replicate_commands then redis.replicate_commands() end\n"
		"local t = redis.call('TIME')\n"
		"local is = redis.call('HMGET', KEYS[1], " POOL_FIELDS ")\n"
		"if t[1] * 1000000 + t[2] > tonumber(ARGV[1]) then return { 'late', is } end\n"
		"local version = tonumber(is[1] or '0') or 0\n"
		"if version >= tonumber(ARGV[3]) or (ARGV[2] == 'cas' and version + 1 ~= tonumber(ARGV[3])) then\n"
		"  return { 'conflict', is }\n"
		"end\n"
		"redis.call('HSET', KEYS[1], 'version', ARGV[3], 'nodes', ARGV[4], 'forced', ARGV[7],\n"
		"  'terms', ARGV[8])\n"
		"redis.pcall('PUBLISH', ARGV[5], ARGV[6])\n"
		"return { 'ok', redis.call('HMGET', KEYS[1], " POOL_FIELDS ") }\n",
};

/* KEYS: the hash of a pool's watch.
 * ARGV: 1 deadline (us), 2 wish, 3 the teald, 4 the token that it holds ('0': none), 5 life of a lease (us),
 *       6 stamp of the set that it knows, 7 a set to write or '', 8 age of the API's last word (us) or '',
 *       9 its problem or '', 10 its host, 11 for how long the hash is kept (ms), 12 channel.
 * wish 'hold': the lease is renewed if it is this teald's by its token; else taken, with the next token, if it is over, was this
 * teald's by another token (it was started anew), or ends later than any does (by another clock).  Only who held it before
 * writes.  'leave': it is over.  'look': nothing changes.
 * Answers: ours, held, written, token, host, since, stamp, age, problem, and the set if its stamp is another. */
struct redis_script redis_script_watch = {
	.text = "if redis.replicate_commands then redis.replicate_commands() end\n"
		"local t = redis.call('TIME')\n"
		"local now = t[1] * 1000000 + t[2]\n"
		"local function number(n) return string.format('%.0f', n) end\n"
		"local key, life = KEYS[1], tonumber(ARGV[5])\n"
		"local is = redis.call('HMGET', key, 'id', 'token', 'until', 'stamp')\n"
		"if now > tonumber(ARGV[1]) then return { 'late' } end\n"
		"local token, till = tonumber(is[2] or '0') or 0, tonumber(is[3] or '0') or 0\n"
		"local held = till > now and till <= now + 2 * life\n"
		"local ours = is[1] == ARGV[3] and is[2] == ARGV[4]\n"
		"local mine, written = false, false\n"
		"if ARGV[2] == 'leave' and ours then\n"
		"  redis.call('HSET', key, 'until', '0')\n"
		"  redis.pcall('PUBLISH', ARGV[12], ':watch')\n"
		"  held = false\n"
		"elseif ARGV[2] == 'hold' and (ours or not held or is[1] == ARGV[3]) then\n"
		"  if not ours then\n"
		"    token = token + 1\n"
		"    redis.call('HSET', key, 'id', ARGV[3], 'token', number(token), 'since', number(now), 'host', ARGV[10])\n"
		"  elseif ARGV[7] ~= '' then\n"
		"    local n = (tonumber(string.match(is[4] or '', '%.(%d+)$') or '0') or 0) + 1\n"
		"    redis.call('HSET', key, 'stamp', number(token) .. '.' .. number(n), 'set', ARGV[7])\n"
		"    redis.pcall('PUBLISH', ARGV[12], ':watch')\n"
		"    written = true\n"
		"  end\n"
		"  redis.call('HSET', key, 'until', number(now + life), 'problem', ARGV[9])\n"
		"  if ARGV[8] ~= '' and (ours or not redis.call('HMGET', key, 'seen')[1]) then\n"
		"    redis.call('HSET', key, 'seen', number(now - tonumber(ARGV[8])))\n"
		"  end\n"
		"  redis.call('PEXPIRE', key, ARGV[11])\n"
		"  mine, held = true, true\n"
		"end\n"
		"is = redis.call('HMGET', key, 'host', 'since', 'stamp', 'seen', 'problem')\n"
		"local set = ''\n"
		"if is[3] and is[3] ~= ARGV[6] and not written then set = redis.call('HMGET', key, 'set')[1] or '' end\n"
		"local seen = tonumber(is[4] or '')\n"
		"return { mine and '1' or '', held and '1' or '', written and '1' or '', mine and number(token) or '0', is[1] or '',\n"
		"  is[2] or '0', is[3] or '', seen and number(math.max(0, now - seen)) or '', is[5] or '', set }\n",
};

/* KEYS: this teald's key, the index.
 * ARGV: 1 heartbeat up to its time, 2 the rest, 3 id, 4 life (ms). */
struct redis_script redis_script_beat = {
	.text = "if redis.replicate_commands then redis.replicate_commands() end\n"
		"local t = redis.call('TIME')\n"
		"local us = string.format('%.0f', t[1] * 1000000 + t[2])\n"
		"redis.call('SET', KEYS[1], ARGV[1] .. us .. ARGV[2], 'PX', ARGV[4])\n"
		"redis.call('ZADD', KEYS[2], us, ARGV[3])\n"
		"redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', us - ARGV[4] * 1000))\n"
		"return us\n",
};

/* KEYS: this teald's key, the index, those that left.
 * ARGV: 1 id, 2 for how long it is remembered that it left (ms). */
struct redis_script redis_script_leave = {
	.text = "if redis.replicate_commands then redis.replicate_commands() end\n"
		"local t = redis.call('TIME')\n"
		"local us = string.format('%.0f', t[1] * 1000000 + t[2])\n"
		"redis.call('DEL', KEYS[1])\n"
		"redis.call('ZREM', KEYS[2], ARGV[1])\n"
		"redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', us - ARGV[2] * 1000))\n"
		"redis.call('ZADD', KEYS[3], us, ARGV[1])\n"
		"redis.call('PEXPIRE', KEYS[3], ARGV[2])\n"
		"return us\n",
};

/* -- running them ---------------------------------------------------------------------- */

struct run {
	struct redis *redis;
	struct redis_script *script;
	double timeout;
	redis_reply_fn *done;
	void *arg;
	bool in_full;
	size_t argc;
	struct str *argv;	/* two places in front for the command */
	char *text;	/* what argv points into */
};

static void
fingerprint(struct redis_script *s)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	/* SHA-1 because that is how Redis names scripts (EVALSHA). */
	CHECK(EVP_Digest(s->text, strlen(s->text), digest, &n, EVP_sha1(), NULL) == 1 && n == 20);
	for (unsigned i = 0; i < n; i++)
		snprintf(s->sha + 2 * i, 3, "%02x", digest[i]);
}

static void send_run(struct run *run);

static void
script_run_free(struct run *run)
{
	free(run->argv);
	free(run->text);
	free(run);
}

static void
run_on_reply(void *arg, enum err e, const redisReply *reply, const struct why *why)
{
	struct run *run = arg;

	if (e == OK && reply->type == REDIS_REPLY_ERROR && !run->in_full &&
	    strncmp(reply->str, "NOSCRIPT", 8) == 0) {
		run->in_full = true;
		send_run(run);
		return;
	}
	run->done(run->arg, e, reply, why);
	script_run_free(run);
}

static void
send_run(struct run *run)
{
	run->argv[0] = run->in_full ? STR("EVAL") : STR("EVALSHA");
	run->argv[1] = run->in_full ? str_from(run->script->text) : str_from(run->script->sha);
	redis_command(run->redis, run->timeout, run->argc + 2, run->argv, run_on_reply, run);
}

void
redis_script_run(struct redis *r, struct redis_script *script, double timeout, size_t argc,
		 const struct str *argv, redis_reply_fn *done, void *arg)
{
	struct run *run = must_alloc(sizeof(*run));
	size_t total = 0;
	char *at;

	if (script->sha[0] == '\0')
		fingerprint(script);
	for (size_t i = 0; i < argc; i++)
		total += argv[i].n;
	*run = (struct run){
		.redis = r, .script = script, .timeout = timeout, .done = done, .arg = arg, .argc = argc
	};
	run->argv = must_array(argc + 2, sizeof(struct str));
	at = run->text = must_alloc(total);
	for (size_t i = 0; i < argc; i++) {
		memcpy(at, argv[i].p, argv[i].n);
		run->argv[i + 2] = (struct str){ at, argv[i].n };
		at += argv[i].n;
	}
	send_run(run);
}
