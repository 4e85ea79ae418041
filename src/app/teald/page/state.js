/* state.js - what teald has said, and how it is heard: one snapshot, then only
 * what changed.  Nothing here touches the page. */
"use strict";

const COLORS = ["green", "blue"];

/* The order of the numbers of a service in a frame, and of what became of one color's
 * requests within a window (null: of none). */
const N = { conn: 0, waiting: 2, left: 3, rate: 4, in: 6, out: 8, failed: 10, errors: 11, bad: 12, p50: 14, p99: 16 };
const Q = { seconds: 0, requests: 1, classes: 2, errors: 7, p50: 8, p99: 9 };
/* One in a hundred is worth a look, fewer are only said; and so is what may be chance. */
const FEW = 0.01, MANY = 0.05, CHANCE = 5;
const SILENT_MS = 3500;		/* teald says something twice a second */
const AGAIN_MS = [500, 1000, 2000, 3000];

const state = {
	teald: null, store: null, proxy: null, kernel: null, fleet: null, nodes: [],
	flips: new Map(),	/* by id, oldest first */
	services: [],		/* { index, s, n, q, history: by kind [2][], drain } */
	window: 300, step: 1,
	points: 0,		/* of each line; at most window */
	sampled: 0,		/* teald's clock at the newest point, ms */
	now: 0,			/* teald's clock as last heard, ms ... */
	heard: 0,		/* ... and ours then; 0: never */
	phase: "connecting",	/* "live" "silent" "lost" */
};

/* teald's clock now; it stands still when nothing is heard from teald. */
function serverNow() {
	return state.now + Math.min(performance.now() - state.heard, SILENT_MS);
}

function other(color) {
	return color === "green" ? "blue" : "green";
}

const NO_COLOR = { connections: 0, healthy: 0, total: 0, needed: 0, draining: false, backends: [] };

/* A deadline is told as seconds from then; it is kept as a moment.  What has no colors is drawn as
 * green's, without the word. */
function takeService(entry, s) {
	const d = s.drain;
	if (s.colors[""])
		Object.assign(s, { colorless: true, active: "green", idle: "blue", colors: { green: s.colors[""], blue: NO_COLOR } });
	entry.s = s;
	entry.drain = d && { color: d.color, atStart: d.at_start,
		until: d.deadline_in === null ? null : state.now + d.deadline_in * 1000 };
	entry.search = [s.name, ...COLORS.flatMap((c) => s.colors[c].backends.map((b) => b.address))].join(" ").toLowerCase();
}

/* What is counted and drains: sessions, or of HTTP requests. */
function thing(s) {
	return { http: "request", udp: "flow" }[s.mode] || "session";
}

/* What is under way: a WebSocket is a request that goes on. */
function held(n, s) {
	return s.mode === "http" ? `${whole(n)} ${n === 1 ? "request or WebSocket" : "requests and WebSockets"}` : plural(n, thing(s));
}

function neverFlipped(s) {
	return !s.changed_at || s.change === "initial";
}

/* One that was drained on purpose is none. */
function isNodeTrouble(node) {
	return node.state === "ready" && (node.health === "down" || node.problem !== null);
}

/* One color's figures of the last minute; null: no requests. */
function figuresOf(entry, k) {
	return entry.q ? entry.q[k] : null;
}

/* The share of its requests that failed; null: there were none. */
function errorOf(entry, k) {
	const f = figuresOf(entry, k);
	return f && f[Q.requests] > 0 ? f[Q.errors] / f[Q.requests] : null;
}

function qualityOf(entry, k, which) {
	const f = figuresOf(entry, k);
	return f ? f[Q[which]] : null;
}

function errorShare(entry) {
	return Math.max(...COLORS.map((c, k) => errorOf(entry, k) || 0));
}

function slowest(entry) {
	return Math.max(...COLORS.map((c, k) => qualityOf(entry, k, "p99") || 0));
}

const HOW_BAD = { bad: 0, warn: 1, "": 2 };

/* How it answers, as told every second: [how bad, words]. */
function errorProblems(entry) {
	const s = entry.s, found = [];
	COLORS.forEach((color, k) => {
		const f = figuresOf(entry, k), share = errorOf(entry, k), many = color === s.active && share > FEW && f[Q.errors] >= CHANCE;
		const of = s.colorless ? "" : `${color}: `;
		if (share > 0)
			found.push([!many ? "" : share > MANY ? "bad" : "warn", s.mode === "http" ?
				`${of}${percent(share)} answered with 5xx` : `${of}${percent(share)} of sessions fail`]);
	});
	return found;
}

/* What needs attention: [how bad, words]; how bad is "bad", "warn" or "".  The judgement is
 * teald's; of what moves all the time its words are made here. */
function findProblems(entry) {
	const s = entry.s, found = errorProblems(entry);
	for (const t of s.trouble)
		if (t.what !== "errors" && t.what !== "waiting")
			found.push([t.severity === "critical" ? "bad" : "warn", (t.what === "rollback_impossible" ? "no way back: " : "") + t.message]);
	if (entry.n[N.waiting] > 0)
		found.push(["warn", `${entry.n[N.waiting]} clients wait for a place (max_connections is ${s.max_connections})`]);
	if (s.active !== null && !s.trouble.some((t) => t.what === "rollback_impossible")) {
		const c = s.colors[s.idle], missed = missedOf(c);
		if (missed > 0)
			found.push(["", `${missed} of ${c.total} ${s.idle} backends not up (idle)`]);
	}
	if (entry.n[N.failed] > 0)
		found.push(["", `${short(entry.n[N.failed])} ${thing(s)}s per second fail`]);
	return found.sort((a, b) => HOW_BAD[a[0]] - HOW_BAD[b[0]]);
}

/* Backends that are not up, and neither a person nor a dead node explains it. */
function missedOf(color) {
	return Math.max(0, color.total - color.drained - color.node_down - color.healthy);
}

/* Of 1,000 services those are looked at anew that changed. */
function problemsOf(entry) {
	if (!entry.problems)
		entry.problems = findProblems(entry);
	return entry.problems;
}

function worst(problems) {
	return problems.some((p) => p[0] === "bad") ? "bad" : problems.some((p) => p[0] === "warn") ? "warn" : "";
}

/* The lines of a service, by kind: in the order of a frame, and where the newest value stands. */
const LINES = { conn: N.conn, rate: N.rate, bad: N.bad, p50: N.p50, p99: N.p99 };

/* Latency, in ms: where nothing was observed there is none. */
function isLatency(kind) {
	return kind === "p50" || kind === "p99";
}

function emptyLine(kind, points) {
	return new Array(points).fill(isLatency(kind) ? null : 0);
}

/* Lines by kind, where something happened; a kind of which nothing is known is not there. */
function takeHistory(h, points) {
	const history = {};
	Object.keys(LINES).forEach((kind, i) => {
		const lines = h.slice(2 * i, 2 * i + 2);
		if (lines.some((line) => line !== null))
			history[kind] = lines.map((line) => line || emptyLine(kind, points));
	});
	return history;
}

function addPoints(entry, n) {
	for (const [kind, at] of Object.entries(LINES)) {
		if (!entry.history[kind]) {
			if (both(entry, at) === 0)
				continue;
			entry.history[kind] = COLORS.map(() => emptyLine(kind, state.points));
		}
		entry.history[kind].forEach((line, k) => {
			for (let p = 0; p < n; p++)
				line.push(entry.n[at + k]);
			if (line.length > state.window)
				line.splice(0, line.length - state.window);
		});
	}
}

function takeSnapshot(d) {
	Object.assign(state, { now: d.now, heard: performance.now(), window: d.window, step: d.step, sampled: d.sampled, points: d.points,
		teald: d.teald, store: d.store, proxy: d.proxy, kernel: d.kernel, fleet: d.fleet, nodes: d.nodes || [] });
	state.flips = new Map(d.flips.map((f) => [f.id, f]));
	state.services = d.services.map((one, index) => {
		const entry = { index, n: one.numbers, q: one.quality, history: takeHistory(one.history, d.points) };
		takeService(entry, one.service);
		return entry;
	});
}

/* Returns what changed: { services: Set of indexes, points: bool, flips }. */
function takeDelta(d) {
	const changed = new Set(), news = d.points > 0 && d.sampled > state.sampled;
	state.now = d.now;
	state.heard = performance.now();
	for (const part of ["teald", "store", "proxy", "kernel", "fleet", "nodes"])
		if (part in d)
			state[part] = d[part];
	for (const f of d.flips || [])
		state.flips.set(f.id, f);
	for (const [i, s] of Object.entries(d.services)) {
		takeService(state.services[i], s);
		changed.add(+i);
	}
	for (const [i, n] of Object.entries(d.numbers)) {
		state.services[i].n = n;
		changed.add(+i);
	}
	for (const [i, q] of Object.entries(d.quality || {})) {
		state.services[i].q = q;
		changed.add(+i);
	}
	for (const [i, both] of Object.entries(d.backends || {})) {
		COLORS.forEach((c, k) => state.services[i].s.colors[c].backends.forEach((b, at) => { b.connections = both[k][at]; }));
		changed.add(+i);
	}
	if (news) {
		state.sampled = d.sampled;
		for (const e of state.services)
			addPoints(e, d.points);
		state.points = Math.min(state.window, state.points + d.points);
	}
	for (const i of changed)
		state.services[i].problems = null;
	return { services: changed, points: news, flips: d.flips };
}

/* Listens for ever.  on.snapshot(), on.delta(changed) and on.phase(). */
function listen(on) {
	let source = null, tries = 0, again = 0;

	function enter(phase) {
		if (state.phase !== phase) {
			state.phase = phase;
			on.phase();
		}
	}
	function lose() {
		source.close();
		enter("lost");
		clearTimeout(again);
		again = setTimeout(connect, AGAIN_MS[Math.min(tries++, AGAIN_MS.length - 1)]);
	}
	function heard(take) {
		return (event) => {
			tries = 0;
			take(JSON.parse(event.data));
			enter("live");
		};
	}
	function connect() {
		source = new EventSource("events");
		source.addEventListener("snapshot", heard((d) => { takeSnapshot(d); on.snapshot(); }));
		source.addEventListener("delta", heard((d) => on.delta(takeDelta(d))));
		source.onerror = lose;
	}
	setInterval(() => {
		const quiet = performance.now() - state.heard;
		if (state.phase === "live" && quiet > SILENT_MS)
			enter("silent");
		else if (state.phase === "silent" && quiet > 3 * SILENT_MS)
			lose();		/* the other end may have vanished without a word */
	}, 500);
	connect();
}
