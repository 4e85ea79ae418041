/* page.js - brings it together: what is shown, when, and what is said. */

const show = { what: "all", text: "" };
let version = null, dirtyAll = true, pending = false, pointsDue = false;

function isShown(entry) {
	const s = entry.s;
	if (show.text && !entry.search.includes(show.text))
		return false;
	switch (show.what) {
	case "attention":
		return worst(problemsOf(entry)) !== "";
	case "draining":
		return entry.drain !== null;
	case "locked":
		return s.locked !== null;
	}
	return true;
}

/* What the columns count: connections, requests, or, where there is both, either. */
const WORDS = {
	tcp: {
		open: "Connections", new: "New per second", short: "Conns", rate: "New / s",
		graph: "Connections, 5 min", "graph-rate": "New per second, smoothed", legend: "",
	},
	http: {
		open: "Requests under way", new: "Requests per second", short: "Open", rate: "Req / s",
		graph: "Requests under way, 5 min", "graph-rate": "Requests per second, smoothed", legend: "",
	},
	both: {
		open: "Open", new: "New per second", short: "Open", rate: "New / s",
		graph: "Open, 5 min", "graph-rate": "New per second, smoothed",
		legend: "Open and new are connections; of services that speak HTTP, requests.",
	},
};

function drawWords() {
	const http = state.services.filter((e) => e.s.mode === "http").length;
	const words = WORDS[http === 0 ? "tcp" : http === state.services.length ? "http" : "both"];
	for (const node of document.querySelectorAll("[data-word]"))
		setText(node, words[node.dataset.word]);
}

function drawSums() {
	const all = state.services, found = all.map((e) => worst(problemsOf(e))), bad = found.filter((f) => f !== "").length;
	const sum = (k) => all.reduce((a, e) => a + e.n[k] + e.n[k + 1], 0);
	const draining = all.filter((e) => e.drain).length, locked = all.filter((e) => e.s.locked).length;
	const put = (id, text) => setText($(id).lastElementChild, text);
	put("sum-state", bad > 0 ? `▲ ${bad} of ${all.length} need${bad === 1 ? "s" : ""} attention` :
		all.length === 1 ? "✓ 1, well" : `✓ all ${all.length} well`);
	setClass($("sum-state"), "wide " + (bad === 0 ? "good" : found.includes("bad") ? "bad" : "warn"));
	put("sum-connections", whole(sum(N.conn)));
	put("sum-rate", short(sum(N.rate)));
	put("sum-in", bytes(sum(N.in)) + "/s");
	put("sum-out", bytes(sum(N.out)) + "/s");
	const counts = { all: all.length, attention: bad, draining, locked };
	for (const button of document.querySelectorAll("[data-show]")) {
		setText(button.lastElementChild, String(counts[button.dataset.show]));
		button.classList.toggle("zero", counts[button.dataset.show] === 0);
		button.setAttribute("aria-pressed", show.what === button.dataset.show);
	}
	document.title = `${state.phase !== "live" ? "? " : bad ? "▲ " : ""}${state.teald.host} · Teal`;
}

function drawList() {
	let shown = 0;
	for (const row of rows) {
		const is = isShown(row.entry);
		shown += is;
		if (row.node.hidden === is)
			row.node.hidden = !is;
	}
	$("none").hidden = shown > 0;
	setText($("none"), state.services.length === 0 ? "There are no services." :
		`None of ${plural(state.services.length, "service")} is to be shown.`);
}

/* How old what is shown is, while nothing comes. */
function drawPhase() {
	const live = state.phase === "live", age = state.heard ? duration((performance.now() - state.heard) / 1000) : null;
	const words = {
		live: "live", connecting: "connecting", silent: `nothing heard for ${age}`,
		lost: age ? `lost, shown as of ${age} ago` : "not reached",
	};
	setClass($("live"), "live " + state.phase);
	setText($("live-text"), words[state.phase]);
	document.body.classList.toggle("stale", !live && state.heard > 0);
	$("alarm").hidden = live || state.phase === "connecting";
	if (!$("alarm").hidden)
		setText($("alarm"), !age ? "✕ teald does not answer. Trying again." : state.phase === "silent" ?
			`▲ Nothing has come from teald for a while. What you see is ${age} old.` :
			`✕ The connection to teald is lost. What you see is ${age} old, not how things are now. Trying again.`);
}

function draw() {
	pending = false;
	if (state.teald === null)
		return;
	drawHead();
	drawSums();
	drawDrains();
	drawFlips();
	drawFleet();
	drawList();
	for (const row of rows)
		if (row.seen && !row.node.hidden && (row.dirty || dirtyAll))
			drawRow(row);
		else if (dirtyAll)
			row.dirty = true;
	dirtyAll = false;
	drawPhase();
}

function drawSoon() {
	if (!pending) {
		pending = true;
		requestAnimationFrame(draw);
	}
}

function onSnapshot() {
	if (version !== null && version !== state.teald.version) {
		location.reload();	/* this page is that of another teald */
		return;
	}
	version = state.teald.version;
	const same = rows.length === state.services.length && rows.every((r, i) => r.entry.s.name === state.services[i].s.name);
	if (same) {
		rows.forEach((r, i) => { r.entry = state.services[i]; });
	} else {
		watcher.disconnect();
		rows.length = 0;
		state.services.forEach((e) => rows.push(makeRow(e)));
		$("list").replaceChildren(...rows.map((r) => r.node));
		$("list").classList.toggle("few", rows.length <= 4);
	}
	$("flips").kept = undefined;
	$("flips").replaceChildren();
	document.body.classList.remove("waiting");
	drawWords();
	dirtyAll = true;
	drawSoon();
}

/* For those who listen instead of looking. */
function say(flips) {
	for (const f of flips)
		if (f.refused)
			setText($("said"), `${f.service}: flip to ${f.to} refused, ${f.message || f.result}`);
		else if (f.result === "applied" || f.result === "draining")
			setText($("said"), `${f.service}: ${f.to} is active now, epoch ${f.epoch}, by ${f.by}`);
}

function onDelta(changed) {
	for (const i of changed.services)
		rows[i].dirty = true;
	if (changed.points)
		dirtyAll = true;	/* all lines move; those in sight are drawn */
	if (changed.flips)
		say(changed.flips);
	drawSoon();
}

$("filter").addEventListener("input", (e) => { show.text = e.target.value.trim().toLowerCase(); draw(); });
for (const button of document.querySelectorAll("[data-show]"))
	button.addEventListener("click", () => { show.what = button.dataset.show; draw(); });
document.addEventListener("keydown", (e) => {
	if (e.key === "/" && document.activeElement !== $("filter") && !e.ctrlKey && !e.metaKey && !e.altKey) {
		e.preventDefault();
		$("filter").focus();
	} else if (e.key === "Escape" && document.activeElement === $("filter")) {
		$("filter").value = show.text = "";
		draw();
	}
});
addEventListener("resize", () => { dirtyAll = true; drawSoon(); });
setInterval(() => { if (state.teald) { drawHead(); drawDrains(); drawFlips(); } drawPhase(); }, 500);
listen({ snapshot: onSnapshot, delta: onDelta, phase: () => { drawPhase(); drawSoon(); } });
