/* services.js - the list of services, one line each.  A line has its name from the
 * beginning, so that it can be searched for; the rest is made when it comes into
 * sight, and touched only when its service changed and it can be seen. */

const SMOOTH = 5;	/* points of the rates */
const rows = [];	/* by index: { entry, node, dirty, seen, open, … } */

/* What of both colors stands beside each other; wide: only where there is room. */
const COLUMNS = [
	{ id: "up", sort: "", fill: upCell },
	{ id: "conn", sort: "open", fill: (c, e, k, cell) => count(cell, whole(e.n[N.conn + k])) },
	{ id: "rate", sort: "rate", fill: (c, e, k, cell) => count(cell, short(e.n[N.rate + k])) },
	{ id: "errors", sort: "errors", fill: errorsCell },
	{ id: "p50", sort: "", fill: (c, e, k, cell) => count(cell, latencyWords(e, k, "p50")) },
	{ id: "p99", sort: "p99", fill: (c, e, k, cell) => count(cell, latencyWords(e, k, "p99")) },
];

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
	const node = el("div", "service"), line = el("div", "row", "", node), row = { entry, node, line, dirty: true, seen: false, open: false };
	line.setAttribute("role", "row");
	const head = el("div", "who", "", line);
	head.setAttribute("role", "rowheader");
	row.button = el("button", "open", "", head);
	row.button.type = "button";
	row.button.setAttribute("aria-expanded", "false");
	row.name = el("span", "name", entry.s.name, row.button);
	node.dataset.index = entry.index;
	row.button.addEventListener("click", () => {
		view.open = row.open ? "" : row.entry.s.name;
		writeView(true);
		draw();
	});
	watcher.observe(node);
	return row;
}

/* All but the name. */
function fillRow(row) {
	const cell = (className, parent) => {
		const c = el("div", className, "", parent || row.line);
		c.setAttribute("role", "cell");
		return c;
	};
	row.mode = el("span", "mode", "", row.name.parentElement.parentElement);
	row.badge = cell("active-cell");
	row.badge = el("span", "badge", "", row.badge);
	el("span", "mark", "", row.badge).setAttribute("aria-hidden", "true");
	el("b", "", "", row.badge);
	row.cells = COLUMNS.map((column) => COLORS.map(() => cell("n")));
	row.out = cell("n out");
	row.chart = new Chart(el("figure", "chart spark", "", cell("graph")), 1);
	row.when = cell("when");
	row.notes = el("span", "notes", "", cell("note-cell"));
	row.detail = el("div", "detail", "", row.node);
	row.detail.id = "detail-" + row.entry.index;
	row.detail.hidden = true;
	row.button.setAttribute("aria-controls", row.detail.id);
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

function upCell(c, entry, k, cell) {
	const color = entry.s.colors[c], active = entry.s.active === c, missed = missedOf(color) > 0, gone = color.node_down > 0;
	const none = color.healthy === 0 && color.total > 0;
	cell.how = missed || none ? active ? (none ? " bad" : " warn") : " nil" : "";
	return `${none ? "✕ " : missed ? "▲ " : gone ? "△ " : ""}${color.healthy}/${color.total}`;
}

function errorsCell(c, entry, k, cell) {
	const share = errorOf(entry, k);
	cell.how = share > FEW ? " warn" : share ? "" : " nil";
	return share === null ? "–" : percent(share);
}

function latencyWords(entry, k, which) {
	const v = qualityOf(entry, k, which);
	return v === null ? "–" : latency(v);
}

/* Where nothing is, nothing stands out. */
function count(cell, text) {
	cell.how = text === "0" || text === "–" ? " nil" : "";
	return text;
}

function notesOf(entry, problems) {
	const s = entry.s, signs = { bad: "✕", warn: "▲", "": "△" };
	const notes = problems.map(([how, words]) => [how || "quiet", `${signs[how]} ${words}`]);
	if (entry.drain)
		notes.push(["quiet", `${entry.drain.color} drains, ${leftWords(entry)}`]);
	if (s.claimed)
		notes.push(["lock", `claimed by ${s.claimed.by} until ${new Date(s.claimed.until).toLocaleTimeString()}: ${s.claimed.reason}`]);
	if (s.locked)
		notes.push(["lock", `locked by ${s.locked.by}, ${ago(Date.parse(s.locked.at))}: ${s.locked.reason}`]);
	if (s.epoch > s.applied_epoch && s.active !== null)
		notes.push(["warn", `… epoch ${s.epoch} is being applied`]);
	return notes;
}

function makeNote([how, words]) {
	const note = el("span", how);
	if (how === "lock") {
		const sign = svg("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, note);
		svg("path", { d: "M3.2 5.5V4a2.8 2.8 0 0 1 5.6 0v1.5" }, sign);
		svg("rect", { x: 1.6, y: 5.5, width: 8.8, height: 6, rx: 1.2 }, sign);
	}
	note.append(words);
	return note;
}

function drawNotes(parent, notes) {
	keyed(parent, notes, (n) => n[0] + n[1], makeNote, () => {});
	const all = notes.map((n) => n[1]).join("; ");
	if (parent.title !== all)
		parent.title = all;
}

function whenWords(s) {
	return s.colorless ? "without colors" : neverFlipped(s) ? "not flipped" :
		`${s.change} ${ago(Date.parse(s.changed_at))} by ${s.changed_by}${s.reason ? ": " + s.reason : ""}`;
}

function drawCells(row) {
	const entry = row.entry;
	COLUMNS.forEach((column, i) => COLORS.forEach((c, k) => {
		const cell = row.cells[i][k], active = entry.s.active === c;
		cell.how = "";
		const text = entry.s.colorless && !active ? "" : column.fill(c, entry, k, cell);
		setClass(cell, `n ${column.id}${entry.s.colorless ? "" : ` ${c}`}${active ? " active" : ""}${cell.how}`);
		if (cell.textContent !== text) {
			cell.textContent = text;
			cell.setAttribute("aria-label", entry.s.colorless ? text : `${c} ${text}`);
		}
	}));
	setText(row.out, bytes(both(entry, N.out)) + "/s");
}

function drawRow(row) {
	const entry = row.entry, s = entry.s, problems = problemsOf(entry), flips = flipsOf(s.name);
	row.dirty = false;
	if (!row.badge)
		fillRow(row);
	setText(row.name, s.name);
	setText(row.mode, s.engine === "kernel" ? `${s.mode} · kernel` : s.mode);
	setClass(row.badge, s.colorless ? "badge" : "badge " + (s.active || "unknown"));
	setClass(row.badge.firstChild, s.colorless ? "" : "mark " + (s.active || "unknown"));
	setText(row.badge.lastChild, s.colorless ? "–" : s.active ? `${s.active}@${s.epoch}` : "not known");
	setText(row.when, neverFlipped(s) ? "–" : ago(Date.parse(s.changed_at)));
	row.when.title = whenWords(s);
	setClass(row.node, `service ${worst(problems)} on-${s.colorless ? "none" : s.active || "none"}${row.open ? " opened" : ""}`);
	drawCells(row);
	row.chart.draw(entry, s.mode === "http" || isIdle(entry, "conn") ? "rate" : "conn", flips);
	drawNotes(row.notes, notesOf(entry, problems));
	if (row.open)
		drawDetail(row, flips, problems);
}

/* Opens the one that the address names, and closes the others. */
function openRows() {
	for (const row of rows) {
		const open = row.entry.s.name === view.open;
		if (row.open === open)
			continue;
		row.open = open;
		drawRow(row);
		row.detail.hidden = !open;
		row.button.setAttribute("aria-expanded", open);
		if (open)
			drawRow(row);	/* its graphs have a size now */
	}
}
