/* page.js - brings it together: what is shown, when, and what is said. */

let version = null, dirtyAll = true, pending = false, arranged = 0, urgent = "";
const ARRANGE_MS = 10000;	/* between two changes of the order that no person asked for */

/* What the columns count: connections, requests, or, where there is both, either. */
const WORDS = {
	tcp: {
		open: "Open sessions", new: "New per second", errors: "Failed", legend: "Open and new are sessions; latency is that of the connect to a backend.",
		heads: { rate: "New/s", errors: "Failed", p50: "Conn. p50", p99: "Conn. p99" },
	},
	http: {
		open: "Requests under way", new: "Requests per second", errors: "Answered with 5xx", legend: "Latency is that of whole requests.",
		heads: { rate: "Req/s", errors: "5xx", p50: "p50", p99: "p99" },
	},
	both: {
		open: "Open", new: "New per second", errors: "Errors", legend: "Open and new are sessions, of services that speak HTTP requests; latency is that of the connect to a backend, of HTTP that of whole requests.",
		heads: { rate: "New/s", errors: "Errors", p50: "p50", p99: "p99" },
	},
};

function wordsNow() {
	const http = state.services.filter((e) => e.s.mode === "http").length;
	return WORDS[http === 0 ? "tcp" : http === state.services.length ? "http" : "both"];
}

function drawWords() {
	const words = wordsNow();
	for (const node of document.querySelectorAll("[data-word]"))
		setText(node, words[node.dataset.word]);
	drawHeads(words.heads);
}

/* A head that sorts is a button; the second press reverses. */
function drawHeads(words) {
	const heads = [["who", "Service", "name"], ["active-cell", "Active", ""],
		...COLUMNS.map((c) => [`pair ${c.id}`, words[c.id] || { up: "Up", conn: "Open" }[c.id], c.sort]),
		["n out", "To clients", ""], ["graph", "5 min", ""], ["when", "Changed", "flipped"], ["note-cell", "Note", "attention"]];
	$("heads").replaceChildren(...heads.map(([className, text, sort]) => {
		const head = el("div", className);
		head.setAttribute("role", "columnheader");
		if (className.startsWith("pair"))
			head.setAttribute("aria-colspan", "2");
		if (sort === "") {
			el("span", "", text, head);
		} else {
			const button = el("button", "", text, head);
			button.type = "button";
			button.dataset.sort = sort;
			button.addEventListener("click", () => sortBy(sort, view.sort === sort && !view.reversed));
		}
		return head;
	}));
}

function drawSorting() {
	for (const button of $("heads").querySelectorAll("[data-sort]")) {
		const on = button.dataset.sort === view.sort, text = button.dataset.sort === "name";
		button.parentElement.setAttribute("aria-sort", !on ? "none" : view.reversed !== text ? "ascending" : "descending");
	}
	$("sort").value = view.sort;
}

function sortBy(sort, reversed) {
	view.sort = sort;
	view.reversed = reversed;
	writeView(true);
	arrange(true);
	draw();
}

/* Rows do not move under a hand or an eye: unless a person asks, only when what needs
 * attention has changed, or after a while, and never while the list is used. */
function arrange(asked) {
	const now = performance.now(), list = $("list"), need = state.services.filter((e) => attentionOf(e) > 2).map((e) => e.index).join();
	if (!asked && (need === urgent && now - arranged < ARRANGE_MS || list.matches(":hover") || list.querySelector(":focus-visible")))
		return;
	arranged = now;
	urgent = need;
	let before = list.firstElementChild;
	for (const entry of inOrder()) {
		const node = rows[entry.index].node;
		if (before && before !== node && before.nextElementSibling === node) {
			list.append(before);	/* else all that follow would move */
			before = node;
		}
		if (node === before)
			before = before.nextElementSibling;
		else
			list.insertBefore(node, before);
	}
}

/* Of those that answered at all, by what happened in the last minute. */
function errorsInSum() {
	let requests = 0, errors = 0;
	for (const e of state.services)
		COLORS.forEach((c, k) => {
			const f = figuresOf(e, k);
			requests += f ? f[Q.requests] : 0;
			errors += f ? f[Q.errors] : 0;
		});
	return requests > 0 ? errors / requests : null;
}

function drawSums() {
	const all = state.services, found = all.map((e) => worst(problemsOf(e))), bad = found.filter((f) => f !== "").length;
	const sum = (k) => all.reduce((a, e) => a + both(e, k), 0), share = errorsInSum();
	const draining = all.filter((e) => e.drain).length, locked = all.filter((e) => e.s.locked).length;
	const put = (id, text) => setText($(id).lastElementChild, text);
	const nodes = state.nodes.filter(isNodeTrouble).length;
	const need = [bad > 0 ? `${bad} of ${all.length}` : "", nodes > 0 ? plural(nodes, "node") : ""].filter(Boolean).join(" and ");
	put("sum-state", need ? `▲ ${need} need${bad + nodes === 1 ? "s" : ""} attention` :
		all.length === 1 ? "✓ 1, well" : `✓ all ${all.length} well`);
	setClass($("sum-state"), "wide " + (!need ? "good" : nodes > 0 || found.includes("bad") ? "bad" : "warn"));
	put("sum-connections", whole(sum(N.conn)));
	put("sum-rate", short(sum(N.rate)));
	put("sum-errors", share === null ? "–" : percent(share));
	setClass($("sum-errors"), share > FEW ? "warn" : "");
	put("sum-in", bytes(sum(N.in)) + "/s");
	put("sum-out", bytes(sum(N.out)) + "/s");
	const counts = { all: all.length, attention: bad, draining, locked };
	for (const button of document.querySelectorAll("[data-show]")) {
		setText(button.lastElementChild, String(counts[button.dataset.show]));
		button.classList.toggle("zero", counts[button.dataset.show] === 0);
		button.setAttribute("aria-pressed", view.show === button.dataset.show);
	}
	document.title = `${state.phase !== "live" ? "? " : need ? "▲ " : ""}${state.teald.host} · Teal`;
}

function drawList() {
	let shown = 0;
	for (const row of rows) {
		const is = isShown(row.entry);
		shown += is;
		if (row.node.hidden === is)
			row.node.hidden = !is;
	}
	$("list").parentElement.hidden = shown === 0;
	$("none").hidden = shown > 0;
	setText($("none"), shown > 0 ? "" : whyEmpty());
	openRows();
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
	drawNodes();
	drawSorting();
	arrange(false);
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
	const same = rows.length === state.services.length &&
		rows.every((r, i) => r.entry.s.name === state.services[i].s.name && r.entry.s.mode === state.services[i].s.mode);
	if (same) {
		rows.forEach((r, i) => { r.entry = state.services[i]; });
	} else {
		watcher.disconnect();
		rows.length = 0;
		state.services.forEach((e) => rows.push(makeRow(e)));
		$("list").replaceChildren();
	}
	arrange(true);
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

/* Back and forward, and an address that is typed. */
function onAddress() {
	readView();
	$("filter").value = view.text;
	if (state.teald) {
		arrange(true);
		draw();
	}
}

/* What the columns mean is said until it is understood, once for each browser. */
function explain(on) {
	$("legend").hidden = !on;
	$("explain").setAttribute("aria-expanded", on);
	try {
		localStorage.setItem("understood", on ? "" : "yes");
	} catch { /* kept nowhere: said again the next time */ }
}

function isUnderstood() {
	try {
		return localStorage.getItem("understood") === "yes";
	} catch {
		return false;
	}
}

function filterBy(text) {
	view.text = text;
	writeView(false);
	draw();
}

for (const [word, [text]] of Object.entries(SORTS))
	el("option", "", text, $("sort")).value = word;
$("sort").addEventListener("change", (e) => sortBy(e.target.value, false));
$("filter").addEventListener("input", (e) => filterBy(e.target.value));
$("explain").addEventListener("click", () => explain($("legend").hidden));
$("understood").addEventListener("click", () => { explain(false); $("explain").focus(); });
document.querySelector(".skip").addEventListener("click", (e) => { e.preventDefault(); $("services").focus(); });
for (const button of document.querySelectorAll("[data-show]"))
	button.addEventListener("click", () => { view.show = button.dataset.show; writeView(true); draw(); });
document.addEventListener("keydown", (e) => {
	if (e.key === "/" && !document.activeElement.matches("input, select") && !e.ctrlKey && !e.metaKey && !e.altKey) {
		e.preventDefault();
		$("filter").focus();
	} else if (e.key === "Escape" && document.activeElement === $("filter")) {
		$("filter").value = "";
		filterBy("");
	}
});
addEventListener("popstate", onAddress);
addEventListener("resize", () => { dirtyAll = true; drawSoon(); });
setInterval(() => { if (state.teald) { drawHead(); drawDrains(); drawFlips(); } drawPhase(); }, 500);
onAddress();
explain(!isUnderstood());
listen({ snapshot: onSnapshot, delta: onDelta, phase: () => { drawPhase(); drawSoon(); } });
