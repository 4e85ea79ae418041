/* state.js - what teald has said, and how it is heard: one snapshot, then only
 * what changed.  Nothing here touches the page. */
"use strict";

const COLORS = ["green", "blue"];

/* The order of the numbers of a service in a frame, and of what became of one color's
 * requests within a window (null: of none). */
const N = { conn: 0, waiting: 2, left: 3, rate: 4, in: 6, out: 8, failed: 10, errors: 11 };
const Q = { seconds: 0, requests: 1, classes: 2, errors: 7, p50: 8, p99: 9 };
/* One in a hundred is worth a look, fewer are only said; and so is what may be chance. */
const FEW = 0.01, CHANCE = 3;
const SILENT_MS = 3500;		/* teald says something twice a second */
const AGAIN_MS = [500, 1000, 2000, 3000];

const state = {
	teald: null, store: null, kernel: null, fleet: null, nodes: [],
	flips: new Map(),	/* by id, oldest first */
	services: [],		/* { index, s, n, q, history: { conn: [2][], rate: [2][] }, drain } */
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

/* A deadline is told as seconds from then; it is kept as a moment. */
function takeService(entry, s) {
	const d = s.drain;
	entry.s = s;
	entry.drain = d && { color: d.color, atStart: d.at_start,
		until: d.deadline_in === null ? null : state.now + d.deadline_in * 1000 };
	entry.search = [s.name, ...COLORS.flatMap((c) => s.colors[c].backends.map((b) => b.address))].join(" ").toLowerCase();
}

/* What is counted and drains: sessions, or of HTTP requests. */
function thing(s) {
	return s.mode === "http" ? "request" : "session";
}

function neverFlipped(s) {
	return !s.changed_at || s.change === "initial";
}

/* Backends that a person has drained: they are not missed. */
function away(color) {
	return color.backends.filter((b) => b.admin === "drain").length;
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

/* What needs attention: [how bad, words]; how bad is "bad", "warn" or "". */
function findProblems(entry) {
	const s = entry.s, found = [];
	if (s.active === null)
		return [["bad", "which color is active is not known yet: the store has not answered"]];
	COLORS.forEach((color, k) => {
		const f = figuresOf(entry, k), share = errorOf(entry, k);
		if (share > 0)
			found.push([share > FEW && f[Q.errors] >= CHANCE ? "warn" : "",
				s.mode === "http" ? `${percent(share)} of the requests to ${color} answered with 5xx` : `${percent(share)} of the sessions to ${color} fail`]);
	});
	for (const color of [s.active, s.idle]) {
		const c = s.colors[color], active = color === s.active, wanted = c.total - away(c);
		if (c.total === 0 || c.healthy >= wanted && c.healthy > 0)
			continue;
		const words = c.healthy === 0 ? `no backend of ${color} is up` :
			`${wanted - c.healthy} of ${c.total} ${color} backends not up`;
		found.push([active && c.healthy === 0 ? "bad" : active ? "warn" : "", words + (active ? "" : " (idle)")]);
	}
	const failed = entry.n[N.failed], few = (entry.n[N.rate] + entry.n[N.rate + 1]) * FEW;
	if (failed > 0)
		found.push([failed > few ? "warn" : "", `${short(failed)} ${thing(s)}s per second fail`]);
	if (entry.n[N.waiting] > 0)
		found.push(["warn", `${entry.n[N.waiting]} clients wait for a place (max_connections is ${s.max_connections})`]);
	return found.sort((a, b) => HOW_BAD[a[0]] - HOW_BAD[b[0]]);
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

/* [4][] to lines by kind; null: nothing ever happened there. */
function takeHistory(h) {
	return h && { conn: h.slice(0, 2), rate: h.slice(2, 4) };
}

function addPoints(entry, n) {
	const now = { conn: N.conn, rate: N.rate };
	if (!entry.history) {
		if (COLORS.every((c, k) => entry.n[N.conn + k] === 0 && entry.n[N.rate + k] === 0))
			return;
		const zeros = () => new Array(state.points).fill(0);
		entry.history = { conn: [zeros(), zeros()], rate: [zeros(), zeros()] };
	}
	for (const [kind, at] of Object.entries(now))
		entry.history[kind].forEach((line, k) => {
			for (let p = 0; p < n; p++)
				line.push(entry.n[at + k]);
			if (line.length > state.window)
				line.splice(0, line.length - state.window);
		});
}

function takeSnapshot(d) {
	Object.assign(state, { now: d.now, heard: performance.now(), window: d.window, step: d.step, sampled: d.sampled, points: d.points,
		teald: d.teald, store: d.store, kernel: d.kernel, fleet: d.fleet, nodes: d.nodes || [] });
	state.flips = new Map(d.flips.map((f) => [f.id, f]));
	state.services = d.services.map((one, index) => {
		const entry = { index, n: one.numbers, q: one.quality, history: takeHistory(one.history) };
		takeService(entry, one.service);
		return entry;
	});
}

/* Returns what changed: { services: Set of indexes, points: bool, flips }. */
function takeDelta(d) {
	const changed = new Set(), news = d.points > 0 && d.sampled > state.sampled;
	state.now = d.now;
	state.heard = performance.now();
	for (const part of ["teald", "store", "kernel", "fleet", "nodes"])
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
