/* detail.js - one service opened: graphs, how each color answers, its backends. */

const STATES = { up: ["good", "✓"], down: ["bad", "✕"], checking: ["warn", "…"], draining: ["warn", "⇣"], ejected: ["bad", "⏏"] };

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

/* heads: [words, class].  Returns the body. */
function makeTable(parent, heads) {
	const table = el("table", "", "", parent), head = el("tr", "", "", el("thead", "", "", table));
	for (const [words, className] of heads)
		el("th", className, words, head).scope = "col";
	return el("tbody", "", "", table);
}

/* -- how each color answers --------------------------------------------------- */

/* Rows of [what, color, figures]: the last minute of both, and around the last flip. */
function figuresToShow(entry) {
	const found = COLORS.map((c, k) => [`in the last minute`, c, figuresOf(entry, k)]), flip = entry.q && entry.q[2];
	if (flip) {
		const [at, , to, before, after] = flip;
		found.push([`in the minute before the flip at ${clock(at)}`, other(to), before], ["since that flip", to, after]);
	}
	return entry.s.colorless ? found.slice(0, 1) : found;
}

function makeQuality(row) {
	const http = row.entry.s.mode === "http", box = el("div", "quality", "", row.detail);
	const classes = http ? ["1xx", "2xx", "3xx", "4xx", "5xx"] : [];
	el("h4", "", row.entry.s.colorless ? "How it answers" : "How each color answers", box);
	return makeTable(box, [["", ""], [http ? "Requests" : "Sessions", "n"], ...classes.map((c) => [c, c === "5xx" ? "n" : "n roomy"]), [http ? "5xx, share" : "Failed, share", "n"],
		[http ? "p50" : "Connect p50", "n"], [http ? "p99" : "Connect p99", "n"]]);
}

function drawQuality(row) {
	const http = row.entry.s.mode === "http";
	keyed(row.quality, figuresToShow(row.entry), ([what, color]) => what + color, ([what, color]) => {
		const tr = el("tr"), head = el("th", "", "", tr);
		head.scope = "row";
		if (!row.entry.s.colorless)
			colorTag(color, head);
		head.append(" " + what);
		for (let i = 0; i < (http ? 9 : 4); i++)
			el("td", http && i >= 1 && i <= 4 ? "n roomy" : "n", "", tr);
		return tr;
	}, (tr, [, , f]) => {
		const share = f && f[Q.requests] > 0 ? f[Q.errors] / f[Q.requests] : null;
		const time = (v) => f === null || v === null ? "–" : latency(v), cells = [...tr.children].slice(1);
		const texts = !f ? cells.map((c, i) => i === 0 ? "0" : "–") :
			[whole(f[Q.requests]), ...(http ? f.slice(Q.classes, Q.classes + 5).map(whole) : []), percent(share || 0), time(f[Q.p50]), time(f[Q.p99])];
		cells.forEach((c, i) => setText(c, texts[i]));
		setClass(cells[cells.length - 3], share > FEW ? "n warn" : "n");
	});
}

/* -- all of it ---------------------------------------------------------------- */

/* Graphs of a kind that shows nothing are not there: their line says so. */
const GRAPHS = ["rate", "bad", "p99", "p50", "conn"];

function makeDetail(row) {
	row.detail.replaceChildren();
	const charts = el("div", "big", "", row.detail), colorless = row.colorless = !!row.entry.s.colorless;
	row.all = el("p", "what-is", "");
	row.detail.prepend(row.all);
	row.big = GRAPHS.map((kind) => {
		const box = el("div", "", "", charts), head = el("h4", "", "", box);
		return { kind, box, head, chart: new Chart(el("figure", "chart large", "", box), SMOOTH, true) };
	});
	row.folded = el("p", "quiet", "", row.detail);
	row.quality = makeQuality(row);
	const tables = el("div", "tables", "", row.detail);
	row.tables = COLORS.map((color) => {
		const box = el("div", "", "", tables), h = el("h4", "", "", box);
		box.hidden = colorless && color !== row.entry.s.active;
		if (!colorless)
			colorTag(color, h);
		h.append(`${colorless ? "B" : " b"}ackends of ${row.entry.s.name}`);
		return makeTable(box, [["Backend", ""], ["State", ""], ["Conns", "n"], ["Since", ""], ["Why", ""]]);
	});
	row.more = el("p", "quiet", "", row.detail);
}

function drawGraphs(row, flips) {
	const folded = [];
	for (const { kind, box, head, chart } of row.big) {
		const idle = isIdle(row.entry, kind), words = graphWords(row.entry.s, kind);
		box.hidden = idle;
		if (idle) {
			if (words)
				folded.push(words.toLowerCase());
		} else {
			setText(head, words);
			chart.draw(row.entry, kind, flips);
		}
	}
	setText(row.folded, folded.length ? `Nothing in the last ${duration(state.window * state.step)}: ${folded.join(", ")}.` : "");
}

function drawDetail(row, flips, problems) {
	const s = row.entry.s;
	if (!row.big || row.colorless !== !!s.colorless)
		makeDetail(row);
	setText(row.all, [s.colorless ? whenWords(s) : `epoch ${s.epoch} · ${whenWords(s)}`, ...notesOf(row.entry, problems).map((n) => n[1])].join(" · "));
	drawGraphs(row, flips);
	drawQuality(row);
	COLORS.forEach((color, k) => keyed(row.tables[k], s.colors[color].backends, (b) => b.address, () => {
		const tr = el("tr");
		for (const c of ["address", "", "n", "", "why"])
			el("td", c, "", tr);
		return tr;
	}, drawBackend));
	const preview = s.preview.length ? `preview of the idle color on ${s.preview.join(", ")}` : "no preview";
	const needed = COLORS.map((c) => `${s.colors[c].needed} of ${s.colors[c].total} backends of ${c}`).join(", ");
	setText(row.more, `listens on ${s.listen.join(", ")}` + (s.colorless ? "" : ` · ${preview} · a flip needs ${needed}`));
}
