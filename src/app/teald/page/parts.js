/* parts.js - words, numbers and small pieces of the page.  All text goes in as
 * text: nothing that came from outside is ever read as HTML. */

function el(name, className, text, parent) {
	const node = document.createElement(name);
	if (className)
		node.className = className;
	if (text)
		node.textContent = text;
	if (parent)
		parent.append(node);
	return node;
}

function $(id) {
	return document.getElementById(id);
}

/* Only what differs is touched. */
function setText(node, text) {
	if (node.textContent !== text)
		node.textContent = text;
}

function setClass(node, className) {
	if (node.className !== className)
		node.className = className;
}

/* "0" "3.4" "118" "12.4k" "1.2M" */
function short(v) {
	if (v < 10)
		return String(Math.round(v * 10) / 10);
	if (v < 10000)
		return String(Math.round(v));
	const units = ["k", "M", "G", "T"];
	let u = -1;
	do {
		v /= 1000;
		u++;
	} while (v >= 1000 && u < units.length - 1);
	return (v < 100 ? v.toFixed(1) : v.toFixed(0)) + units[u];
}

/* Thousands apart, for the large figures. */
function whole(v) {
	return Math.round(v).toString().replace(/\B(?=(\d{3})+$)/g, " ");
}

function bytes(v) {
	const units = ["B", "KiB", "MiB", "GiB", "TiB"];
	let u = 0;
	for (; v >= 1000 && u < units.length - 1; u++)
		v /= 1024;
	return `${u > 0 && v < 10 ? v.toFixed(1) : Math.round(v)} ${units[u]}`;
}

function duration(s) {
	s = Math.max(0, s);
	if (s < 100)
		return `${Math.floor(s)} s`;
	if (s < 5400)
		return `${Math.floor(s / 60)} min`;
	if (s < 172800)
		return `${Math.floor(s / 3600)} h`;
	return `${Math.floor(s / 86400)} days`;
}

function ago(ms) {
	const s = (serverNow() - ms) / 1000;
	return s < 2 ? "just now" : duration(s) + " ago";
}

function clock(ms) {
	const d = new Date(ms), two = (v) => String(v).padStart(2, "0");
	const day = Math.abs(serverNow() - ms) > 43200000 ? `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ` : "";
	return `${day}${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

function plural(n, word) {
	return `${n} ${word}${n === 1 ? "" : "s"}`;
}

/* The color's shape and word, as nodes. */
function colorTag(color, parent) {
	const tag = el("span", "tag " + color, "", parent);
	el("span", "mark " + color, "", tag).setAttribute("aria-hidden", "true");
	tag.append(color);
	return tag;
}

/* Children of a list that are kept by key: build(key) makes one, fill(node,
 * item) brings it up to date, order is that of the items. */
function keyed(parent, items, keyOf, build, fill) {
	const have = parent.kept = parent.kept || new Map(), want = new Set();
	let before = parent.firstElementChild;
	for (const item of items) {
		const key = keyOf(item);
		let node = have.get(key);
		want.add(key);
		if (!node)
			have.set(key, node = build(item));
		fill(node, item);
		if (node === before)
			before = before.nextElementSibling;
		else
			parent.insertBefore(node, before);
	}
	for (const [key, node] of have)
		if (!want.has(key)) {
			node.remove();
			have.delete(key);
		}
}

/* How a flip went: [class, sign, words]. */
function verdict(f) {
	if (f.refused)
		return ["bad", "✕", `refused: ${f.result.replaceAll("_", " ")}`];
	switch (f.result) {
	case "applying":
		return ["warn", "…", "being applied"];
	case "draining":
		return ["good", "✓", "applied, the old color drains"];
	case "drained":
		return f.cut > 0 ? ["warn", "▲", `drained in ${duration(f.drain_seconds)}, ${plural(f.cut, "connection")} cut`] :
			["good", "✓", f.drain_seconds < 1 ? "applied, drained at once" : `applied, drained in ${duration(f.drain_seconds)}`];
	case "kept":
		return ["quiet", "↩", "flipped back while it drained"];
	case "superseded":
		return ["quiet", "↩", "the next flip came first"];
	}
	return ["good", "✓", "applied"];
}

function drawFlip(node, f) {
	const [how, sign, words] = verdict(f);
	if (!node.firstChild) {
		const head = el("p", "what", "", node);
		el("b", "", f.service, head);
		head.append(f.kind === "rollback" ? " back to " : " to ");
		colorTag(f.to, head);
		el("time", "quiet", "", head);
		el("p", "verdict", "", node);
		const who = el("p", "why", "", node);
		el("span", "by", f.by || "unknown", who);
		if (f.reason)
			who.append(": ", f.reason);
		el("p", "message", "", node);
	}
	const [head, result, , message] = node.children;
	setText(head.lastChild, ago(f.at));
	head.lastChild.title = clock(f.at);
	setClass(result, "verdict " + how);
	setText(result, `${sign} ${words}${f.refused ? "" : ` · epoch ${f.epoch}`}`);
	setText(message, f.message || "");
	message.hidden = !f.message;
}

function drawFlips() {
	const list = $("flips"), flips = [...state.flips.values()].sort((a, b) => b.at - a.at || b.id - a.id).slice(0, 40);
	keyed(list, flips.length ? flips : [{ id: 0 }], (f) => f.id, (f) => el("li", f.id ? "" : "quiet", f.id ? "" : "None yet."),
		(node, f) => { if (f.id) drawFlip(node, f); });
}

function drawFleet() {
	const fleet = state.fleet, gone = fleet ? fleet.filter((m) => m.missing).length : 0;
	const { host, version, ready } = state.teald, alone = [{ id: "", self: true, host, version, ready, behind: 0, age: 0 }];
	setText($("fleet-sum"), !fleet ? "of one: the embedded store" :
		gone ? `▲ ${gone} of ${fleet.length} missing` : `all ${fleet.length} here`);
	setClass($("fleet-sum"), gone ? "bad" : "quiet");
	keyed($("fleet"), fleet || alone, (m) => m.id, () => {
		const li = el("li");
		for (const part of ["state", "host", "quiet"])
			el("span", part, "", li);
		return li;
	}, (li, m) => {
		const [sign, host, more] = li.children, how = m.missing ? "bad" : m.ready ? "good" : "warn";
		setClass(sign, "state " + how);
		setText(sign, m.missing ? "✕ missing" : m.ready ? "✓ ready" : "▲ not ready");
		setText(host, m.host || m.id);
		const seen = m.self ? "this one" : m.missing || m.age > 2 ? `last seen ${duration(m.age)} ago` : "";
		const behind = m.behind ? `▲ behind on ${plural(m.behind, "service")}` : "";
		setText(more, [seen, m.version, behind].filter(Boolean).join(" · "));
	});
}

function drawHead() {
	const t = state.teald, s = state.store, where = s.type === "redis" && s.where ? " " + s.where : "";
	const how = s.up ? (s.age < 2 ? "up" : `up, read ${duration(s.age)} ago`) : s.age > 0 ? `down for ${duration(s.age)}` : "down";
	setText($("host"), t.host);
	setClass($("ready"), "state " + (t.ready ? "good" : "bad"));
	setText($("ready"), t.ready ? "✓ ready" : `✕ not ready: ${t.not_ready}`);
	setClass($("store"), "state " + (!s.up ? "bad" : s.problem || s.age > 10 ? "warn" : "good"));
	setText($("store"), `${s.up ? "✓" : "✕"} store ${s.type}${where} ${how}${s.problem ? ": " + s.problem : ""}`);
	const k = state.kernel, full = k && k.max > 0 && k.entries > 0.8 * k.max;
	$("kernel").hidden = !k;
	if (k) {
		setClass($("kernel"), "state " + (k.problem ? "bad" : full ? "warn" : "good"));
		setText($("kernel"), k.problem ? `✕ kernel ${k.table}: ${k.problem}` :
			`${full ? "!" : "✓"} kernel ${k.table}: ${whole(k.entries)} of ${whole(k.max)} connections`);
	}
	const up = duration(serverNow() / 1000 - t.started);
	setText($("about"), `teald ${t.version} · up ${up} · ${plural(t.workers, "worker")}`);
}
