/* panels.js - beside the services: nodes, flips, the fleet, drains, and teald itself. */

/* How a flip went: [class, sign, words]. */
function verdict(f) {
	if (f.refused)
		return ["bad", "✕", `refused${f.times > 1 ? ` ${whole(f.times)} times` : ""}: ${f.result.replaceAll("_", " ")}`];
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

/* What it changed, where it is the last one that was seen. */
function aroundFlip(f) {
	const entry = state.services.find((e) => e.s.name === f.service), last = entry && entry.q && entry.q[2];
	if (f.refused || !last || last[1] !== f.epoch || !last[3] || !last[4])
		return "";
	const [before, after] = last.slice(3), share = (v) => percent(v[Q.requests] > 0 ? v[Q.errors] / v[Q.requests] : 0);
	const timed = before[Q.p99] !== null && after[Q.p99] !== null;
	return ` · ${entry.s.mode === "http" ? "5xx" : "failed"} ${share(before)} → ${share(after)}` +
		(timed ? `, p99 ${latency(before[Q.p99])} → ${latency(after[Q.p99])}` : "");
}

function drawFlip(node, f) {
	const [how, sign, words] = verdict(f);
	if (!node.firstChild) {
		const head = el("p", "what", "", node);
		el("b", "", f.service, head);
		head.append(f.kind === "rollback" ? " back to " : " to ");
		colorTag(f.to, head).append(f.refused ? "" : `@${f.epoch}`);
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
	setText(result, `${sign} ${words}${aroundFlip(f)}`);
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
	const p = state.proxy;
	$("proxy").hidden = !(p && p.paused);
	if (p && p.paused)
		setText($("proxy"), `✕ ${whole(p.connections)} connections, all that ${p.limited_by} allow: clients wait`);
	const h = p && p.http1 && p.http1.connections + p.http2.connections > 0;
	$("http").hidden = !h;
	if (h)
		setText($("http"), `${whole(p.http1.connections)} HTTP/1 · ${whole(p.http2.connections)} HTTP/2 with ${plural(p.http2.streams, "stream")}`);
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

/* -- drains ----------------------------------------------------------------- */

/* "3 sessions left, cut in 55 s" */
function leftWords(e) {
	const seconds = Math.max(0, Math.ceil((e.drain.until - serverNow()) / 1000));
	return `${held(e.n[N.left], e.s)} left${e.drain.until === null ? "" : `, cut in ${seconds} s`}`;
}

function drawDrains() {
	const drains = state.services.filter((e) => e.drain), section = $("drains");
	section.hidden = drains.length === 0;
	keyed(section.lastElementChild, drains, (e) => e.index, (e) => {
		const li = el("li"), words = el("p", "", "", li);
		el("b", "", e.s.name, words);
		words.append(" ");
		el("span", "", "", words);
		el("span", "left", "", words);
		el("span", "until", "", words);
		el("div", "gauge", "", li).append(el("div"));
		return li;
	}, (li, e) => {
		const [, tag, left, until] = li.firstChild.children, n = e.n[N.left], start = Math.max(e.drain.atStart, n, 1);
		if (tag.textContent !== e.drain.color) {
			tag.replaceChildren();
			colorTag(e.drain.color, tag);
		}
		setText(left, `drains, ${whole(n)} of ${held(Math.max(e.drain.atStart, n), e.s)} left`);
		const seconds = Math.max(0, Math.ceil((e.drain.until - serverNow()) / 1000));
		setText(until, e.drain.until === null ? "no deadline" : `the rest is cut in ${seconds} s`);
		setClass(li, e.drain.color);
		li.lastChild.firstChild.style.width = `${(100 * n) / start}%`;
	});
}

/* -- nodes ------------------------------------------------------------------ */

const NODES_MAX = 12;	/* that are well; the others are always shown */

/* [class, sign, words]: what is wrong comes first, then what a person has done. */
function nodeState(n) {
	if (isNodeTrouble(n))
		return ["bad", "✕", n.problem || "down"];
	if (n.state !== "ready")
		return ["quiet", "△", n.state === "draining" ? "drained" : n.state];
	return n.health === "up" ? ["good", "✓", "up"] : ["quiet", "…", "not known yet"];
}

function nodeRank(n) {
	return isNodeTrouble(n) ? 0 : n.state !== "ready" ? 1 : 2;
}

function drawNode(li, n) {
	const [name, state, up, more] = li.children, [how, sign, words] = nodeState(n);
	setText(name, n.host);
	setClass(state, how);
	setText(state, `${sign} ${words}`);
	setText(up, `${n.up}/${n.total} up`);
	const since = n.since ? `since ${clock(Date.parse(n.since))}` : "", held = n.connections > 0 ? plural(n.connections, "connection") : "";
	setText(more, [n.pool, since, held, n.reason || ""].filter(Boolean).join(" · "));
}

function drawNodes() {
	const all = [...state.nodes].sort((a, b) => nodeRank(a) - nodeRank(b)), bad = all.filter(isNodeTrouble).length;
	const drained = all.filter((n) => nodeRank(n) === 1).length, hidden = Math.max(0, all.length - bad - drained - NODES_MAX);
	$("nodes-panel").hidden = all.length === 0;
	setText($("nodes-sum"), [bad ? `▲ ${bad} of ${all.length} down` : drained ? `${all.length - drained} of ${all.length} in use` : `all ${all.length} up`,
		drained ? `${drained} drained` : ""].filter(Boolean).join(", "));
	setClass($("nodes-sum"), bad ? "bad" : "quiet");
	keyed($("nodes"), all.slice(0, all.length - hidden), (n) => `${n.pool}/${n.host}`, () => {
		const li = el("li");
		for (const part of ["host", "", "up", "quiet"])
			el("span", part, "", li);
		return li;
	}, drawNode);
	$("nodes-rest").hidden = hidden === 0;
	setText($("nodes-rest"), `and ${hidden} more, all up`);
}
