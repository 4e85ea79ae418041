/* state.js - what teald has said, and how it is heard: one snapshot, then only
 * what changed.  Nothing here touches the page. */
"use strict";

const COLORS = ["green", "blue"];

/* The order of the numbers of a service in a frame. */
const N = { conn: 0, waiting: 2, left: 3, rate: 4, in: 6, out: 8, failed: 10, errors: 11 };
const SILENT_MS = 3500;		/* teald says something twice a second */
const AGAIN_MS = [500, 1000, 2000, 3000];

const state = {
	teald: null, store: null, kernel: null, fleet: null,
	flips: new Map(),	/* by id, oldest first */
	services: [],		/* { index, s, n, history: [4][], drain } */
	window: 300, step: 1,
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

/* What is counted: connections, or of HTTP requests. */
function thing(s) {
	return s.mode === "http" ? "request" : "connection";
}

/* What needs attention: [how bad, words]; how bad is "bad", "warn" or "". */
function problemsOf(entry) {
	const s = entry.s, found = [];
	if (s.active === null) {
		found.push(["bad", "which color is active is not known yet: the store has not answered"]);
		return found;
	}
	for (const color of [s.active, s.idle]) {
		const c = s.colors[color], active = color === s.active;
		if (c.total === 0 || c.healthy === c.total)
			continue;
		const words = c.healthy === 0 ? `no backend of ${color} is up` :
			`${c.total - c.healthy} of ${c.total} backends of ${color} not up`;
		found.push([active && c.healthy === 0 ? "bad" : active ? "warn" : "", words + (active ? "" : " (idle)")]);
	}
	/* One in a hundred is worth a look; fewer are only said. */
	const failed = entry.n[N.failed], errors = entry.n[N.errors], few = (entry.n[N.rate] + entry.n[N.rate + 1]) / 100;
	if (failed > 0)
		found.push([failed > few ? "warn" : "", `${short(failed)} ${thing(s)}s per second fail`]);
	if (errors > 0)
		found.push([errors > few ? "warn" : "", `${short(errors)} requests per second answered with 5xx`]);
	if (entry.n[N.waiting] > 0)
		found.push(["warn", `${entry.n[N.waiting]} clients wait for a place (max_connections is ${s.max_connections})`]);
	return found;
}

function worst(problems) {
	return problems.some((p) => p[0] === "bad") ? "bad" : problems.some((p) => p[0] === "warn") ? "warn" : "";
}

/* As long as teald has been watching; null: nothing ever happened there. */
function takeHistory(h, points) {
	return h || [0, 1, 2, 3].map(() => new Array(points).fill(0));
}

function takeSnapshot(d) {
	Object.assign(state, { now: d.now, heard: performance.now(), window: d.window, step: d.step, sampled: d.sampled,
		teald: d.teald, store: d.store, kernel: d.kernel, fleet: d.fleet });
	state.flips = new Map(d.flips.map((f) => [f.id, f]));
	state.services = d.services.map((one, index) => {
		const entry = { index, n: one.numbers, history: takeHistory(one.history, d.points) };
		takeService(entry, one.service);
		return entry;
	});
}

/* Returns what changed: { services: Set of indexes, points: bool, flips }. */
function takeDelta(d) {
	const changed = new Set(), news = d.points > 0 && d.sampled > state.sampled;
	state.now = d.now;
	state.heard = performance.now();
	for (const part of ["teald", "store", "kernel", "fleet"])
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
	for (const [i, both] of Object.entries(d.backends || {})) {
		COLORS.forEach((c, k) => state.services[i].s.colors[c].backends.forEach((b, at) => { b.connections = both[k][at]; }));
		changed.add(+i);
	}
	if (news) {
		state.sampled = d.sampled;
		for (const e of state.services)
			for (let k = 0; k < 4; k++) {
				const v = e.n[k < 2 ? N.conn + k : N.rate + k - 2];
				for (let p = 0; p < d.points; p++) {
					e.history[k].push(v);
					if (e.history[k].length > state.window)
						e.history[k].shift();
				}
			}
	}
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
