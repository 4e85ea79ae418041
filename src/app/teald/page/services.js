/* services.js - the list of services.  A row is made once and touched only when
 * its service changed and it can be seen. */

const SMOOTH = 5;	/* points of the rates */
const rows = [];	/* by index: { entry, node, parts, charts, shown, dirty, open } */

function flipsOf(name) {
	const window = state.window * state.step, found = [];
	for (const f of state.flips.values()) {
		const age = (state.sampled - f.at) / 1000;
		if (f.service === name && !f.refused && age < window)
			found.push({
				ago: Math.max(0, age), to: f.to,
				text: `${f.to} became active at ${clock(f.at)}, by ${f.by}${f.reason ? ": " + f.reason : ""}`,
			});
	}
	return found;
}

function makeRow(entry) {
	const node = $("service").content.firstElementChild.cloneNode(true), find = (q) => node.querySelector(q);
	const row = { entry, node, dirty: true, seen: false, open: false, button: find(".open") };
	for (const part of ["name", "mode", "badge", "when", "notes", "detail"])
		row[part] = find("." + part);
	row.lanes = COLORS.map((c) => {
		const lane = { node: find(".lane." + c), role: find(`.lane.${c} i`) };
		for (const part of ["up", "conn", "rate", "out"])
			lane[part] = find(`.lane.${c} .${part}`);
		return lane;
	});
	row.charts = [new Chart(find(".conns"), "Connections", 1), new Chart(find(".rates"), "New per second", SMOOTH)];
	const http = entry.s.mode === "http";
	find(".conns").dataset.label = http ? "Requests, 5 min" : "Connections, 5 min";
	find(".rates").dataset.label = http ? "Requests per second" : "New per second";
	node.dataset.index = entry.index;
	row.detail.id = "detail-" + entry.index;
	row.button.setAttribute("aria-controls", row.detail.id);
	row.button.addEventListener("click", () => toggle(row));
	watcher.observe(node);
	return row;
}

const watcher = new IntersectionObserver((changes) => {
	for (const c of changes) {
		const row = rows[c.target.dataset.index];
		if (!row)
			continue;
		row.seen = c.isIntersecting;
		if (row.seen && row.dirty)
			drawRow(row);
	}
}, { rootMargin: "200px" });

function toggle(row) {
	row.open = !row.open;
	row.button.setAttribute("aria-expanded", row.open);
	row.detail.hidden = !row.open;
	row.node.classList.toggle("opened", row.open);
	drawRow(row);
}

function notesOf(entry, problems) {
	const s = entry.s, signs = { bad: "✕", warn: "▲", "": "△" };
	const notes = problems.map(([how, words]) => [how || "quiet", `${signs[how]} ${words}`]);
	if (s.locked)
		notes.push(["lock", `locked by ${s.locked.by}, ${ago(Date.parse(s.locked.at))}: ${s.locked.reason}`]);
	if (s.epoch > s.applied_epoch && s.active !== null)
		notes.push(["warn", `… epoch ${s.epoch} is being applied`]);
	return notes;
}

function makeNote([how, words]) {
	const li = el("li", how);
	if (how === "lock") {
		const sign = svg("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, li);
		svg("path", { d: "M3.2 5.5V4a2.8 2.8 0 0 1 5.6 0v1.5" }, sign);
		svg("rect", { x: 1.6, y: 5.5, width: 8.8, height: 6, rx: 1.2 }, sign);
	}
	li.append(words);
	return li;
}

function drawLane(lane, entry, color, k) {
	const c = entry.s.colors[color], active = entry.s.active === color, drains = entry.drain && entry.drain.color === color;
	setClass(lane.node, `lane ${color}${active ? " active" : ""}`);
	setText(lane.role, active ? "active" : drains ? "drains" : "idle");
	setText(lane.up, `${c.healthy < c.total ? (c.healthy === 0 ? "✕ " : "▲ ") : ""}${c.healthy}/${c.total}`);
	setClass(lane.up, "n up" + (c.healthy === c.total ? "" : active && c.healthy === 0 ? " bad" : active ? " warn" : " dim"));
	setText(lane.conn, whole(entry.n[N.conn + k]));
	lane.conn.dataset.unit = entry.s.mode === "http" ? "req" : "conn";
	lane.conn.title = entry.s.mode === "http" ? "requests under way" : "open connections";
	lane.rate.title = entry.s.mode === "http" ? "requests per second" : "new connections per second";
	setText(lane.rate, short(entry.n[N.rate + k]));
	setText(lane.out, bytes(entry.n[N.out + k]) + "/s");
}

function drawRow(row) {
	const entry = row.entry, s = entry.s, problems = problemsOf(entry), flips = flipsOf(s.name), bad = worst(problems);
	row.dirty = false;
	setText(row.name, s.name);
	setText(row.mode, s.engine === "kernel" ? `${s.mode} · kernel` : s.mode);
	setClass(row.badge, "badge " + (s.active || "unknown"));
	setClass(row.badge.firstChild, "mark " + (s.active || "unknown"));
	setText(row.badge.lastChild, s.active ? `${s.active} is active` : "active color not known");
	setText(row.when, !s.changed_at || s.change === "initial" ? `epoch ${s.epoch} · not flipped yet` :
		`epoch ${s.epoch} · ${s.change} ${ago(Date.parse(s.changed_at))} by ${s.changed_by}${s.reason ? ": " + s.reason : ""}`);
	row.when.title = s.reason || "";
	setClass(row.node, `service ${bad}${row.open ? " opened" : ""}`);
	COLORS.forEach((c, k) => drawLane(row.lanes[k], entry, c, k));
	row.charts[0].draw(entry.history.slice(0, 2), s.active, flips);
	row.charts[1].draw(entry.history.slice(2), s.active, flips);
	keyed(row.notes, notesOf(entry, problems), (n) => n[0] + n[1], makeNote, () => {});
	if (row.open)
		drawDetail(row, flips);
}

/* -- one service opened ----------------------------------------------------- */

const STATES = { up: ["good", "✓"], down: ["bad", "✕"], checking: ["warn", "…"], ejected: ["bad", "⏏"] };

function drawBackend(tr, b) {
	const [address, how, conns, since, why] = tr.children, drained = b.admin === "drain";
	const [className, sign] = STATES[b.state] || ["warn", "?"];
	setText(address, b.address);
	setClass(how, drained && b.state === "up" ? "dim" : className);
	setText(how, `${sign} ${b.state}${drained ? ", gets nothing new" : ""}`);
	setText(conns, whole(b.connections));
	setText(since, b.since ? ago(Date.parse(b.since)) : "–");
	since.title = b.since || "";
	setText(why, b.error || "");
}

function makeDetail(row) {
	const s = row.entry.s, charts = el("div", "big", "", row.detail);
	const words = s.mode === "http" ? ["Requests under way", "Requests per second"] :
		["Connections", "New connections per second"];
	row.big = [[words[0], 1], [words[1], SMOOTH]].map(([what, smooth]) => {
		const box = el("div", "", "", charts);
		el("h4", "", what, box);
		return new Chart(el("figure", "chart large", "", box), what, smooth, true);
	});
	const tables = el("div", "tables", "", row.detail);
	row.tables = COLORS.map((color) => {
		const box = el("div", "", "", tables), h = el("h4", "", "", box), table = el("table", "", "", box);
		const head = el("tr", "", "", el("thead", "", "", table));
		colorTag(color, h);
		h.append(" backends of ", s.name);
		for (const [words, className] of [["Backend", ""], ["State", ""], ["Conns", "n"], ["Since", ""], ["Why", ""]])
			el("th", className, words, head).scope = "col";
		return el("tbody", "", "", table);
	});
	row.more = el("p", "quiet", "", row.detail);
}

function drawDetail(row, flips) {
	const entry = row.entry, s = entry.s;
	if (!row.big)
		makeDetail(row);
	row.big[0].draw(entry.history.slice(0, 2), s.active, flips);
	row.big[1].draw(entry.history.slice(2), s.active, flips);
	COLORS.forEach((color, k) => keyed(row.tables[k], s.colors[color].backends, (b) => b.address, () => {
		const tr = el("tr");
		for (const c of ["address", "", "n", "", "why"])
			el("td", c, "", tr);
		return tr;
	}, drawBackend));
	const preview = s.preview.length ? `preview of the idle color on ${s.preview.join(", ")}` : "no preview";
	const needed = COLORS.map((c) => `${s.colors[c].needed} of ${s.colors[c].total} backends of ${c}`).join(", ");
	setText(row.more, `listens on ${s.listen.join(", ")} · ${preview} · a flip needs ${needed}`);
}

/* -- drains ----------------------------------------------------------------- */

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
		setText(left, `${whole(n)} of ${plural(Math.max(e.drain.atStart, n), thing(e.s))} left`);
		const seconds = Math.max(0, Math.ceil((e.drain.until - serverNow()) / 1000));
		setText(until, e.drain.until === null ? "no deadline" : `the rest is cut in ${seconds} s`);
		setClass(li, e.drain.color);
		li.lastChild.firstChild.style.width = `${(100 * n) / start}%`;
	});
}
