/* chart.js - two lines over the last minutes, as SVG: green ends in a disc, blue
 * in a square, the active color's area is filled, and a flip is a mark. */

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes, parent) {
	const node = document.createElementNS(SVG, name);
	for (const [k, v] of Object.entries(attributes || {}))
		node.setAttribute(k, v);
	if (parent)
		parent.append(node);
	return node;
}

/* A round number that nothing passes. */
function ceiling(v) {
	if (v <= 4)
		return v <= 1 ? 1 : v <= 2 ? 2 : 4;
	const power = 10 ** Math.floor(Math.log10(v));
	return [1, 1.5, 2, 3, 5, 7.5, 10].map((m) => m * power).find((m) => m >= v);
}

/* Each value as the mean of itself and those before it: rates of single seconds
 * jump too much to be read. */
function smoothed(a, n) {
	let sum = 0;
	return a.map((v, i) => {
		sum += v - (i >= n ? a[i - n] : 0);
		return Math.max(0, sum) / Math.min(i + 1, n);
	});
}

function graphWords(s, kind) {
	const http = s.mode === "http";
	if (isLatency(kind))
		return s.engine === "kernel" || s.mode === "udp" ? null : `${http ? "To the first byte" : "Connect"}, ${kind}`;
	return { bad: http ? "Answered with 5xx, per second" : "Failed sessions per second", conn: http ? "Requests under way" : "Open sessions", rate: http ? "Requests per second" : "New sessions per second" }[kind];
}

/* Nothing ever happened in the window. */
function isIdle(entry, kind) {
	return !entry.history[kind] || entry.history[kind].every((line) => line.every((v) => !v));
}

/* A value as it is said beside a line. */
function valueWords(kind, v) {
	return !isLatency(kind) ? short(v) : v === null ? "–" : v === 0 ? "0" : latency(v / 1000);
}

class Chart {
	/* smooth: rates over so many points.  big: with axes. */
	constructor(figure, smooth, big) {
		this.figure = figure;
		this.smooth = smooth;
		this.big = big;
		figure.addEventListener("pointermove", (e) => this.point(e));
		figure.addEventListener("pointerleave", () => { if (this.caption) setText(this.caption, ""); });
	}

	/* One that is idle has no graph. */
	make() {
		const figure = this.figure;
		this.svg = svg("svg", { role: "img" }, figure);
		this.grid = svg("path", { class: "grid" }, this.svg);
		this.area = svg("path", { class: "area" }, this.svg);
		this.marks = svg("g", { class: "flips" }, this.svg);
		this.lines = COLORS.map((c) => svg("path", { class: "line " + c }, this.svg));
		this.ends = [
			svg("circle", { class: "end green", r: this.big ? 3 : 2.4 }, this.svg),
			svg("rect", { class: "end blue", width: this.big ? 6 : 5, height: this.big ? 6 : 5 }, this.svg),
		];
		this.axis = svg("g", { class: "axis", "aria-hidden": "true" }, this.svg);
		this.caption = el("figcaption", "", "", figure);
	}

	/* flips: [{ ago, to, text }], seconds. */
	draw(entry, kind, flips) {
		const idle = isIdle(entry, kind), big = this.big;
		const left = big ? 44 : 3, right = big ? 8 : 4, bottom = big ? 18 : 2, top = big ? 8 : 3;
		if (idle) {
			this.figure.replaceChildren();
			this.svg = this.caption = null;
			return;
		}
		if (!this.svg)
			this.make();
		const w = this.figure.clientWidth, h = this.figure.clientHeight;
		if (w === 0 || h <= 0)
			return;
		const active = entry.s.active, lines = entry.history[kind].map((a) => this.smooth > 1 && (kind === "rate" || kind === "bad") ? smoothed(a, this.smooth) : a);
		const n = lines[0].length, first = state.window - n, max = ceiling(Math.max(...lines[0], ...lines[1]));
		const x = (i) => ((first + i) / (state.window - 1)) * (w - left - right) + left;
		const y = (v) => h - bottom - (v / max) * (h - bottom - top);
		this.history = lines;
		this.kind = kind;
		this.box = { left, right };
		this.svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
		this.svg.setAttribute("width", w);
		this.svg.setAttribute("height", h);
		this.grid.setAttribute("d", (big ? [0, max / 2, max] : [0]).map((v) => `M${left} ${y(v)}H${w - right}`).join(""));
		if (n === 0)
			return;
		COLORS.forEach((c, k) => this.drawLine(k, lines[k], c === active, x, y));
		if (active === null)
			this.area.removeAttribute("d");
		else
			this.svg.append(this.ends[COLORS.indexOf(active)]);	/* above the other */
		this.drawFlips(flips, (ago) => x(n - 1 - ago / state.step), h - bottom);
		if (big)
			this.drawAxes(max, (ago) => x(n - 1 - ago / state.step), y, w, h, left, right);
		const now = lines.map((a) => valueWords(kind, a[n - 1]));
		this.svg.setAttribute("aria-label", `${graphWords(entry.s, kind)}: green ${now[0]}, blue ${now[1]} now, ${valueWords(kind, max)} at most in ${duration(state.window * state.step)}`);
	}

	drawLine(k, a, active, x, y) {
		const n = a.length, parts = [];
		/* A point on the line between its neighbours is left out, and null is a gap. */
		for (let i = 0; i < n; i++) {
			if (a[i] === null)
				continue;
			if (i === 0 || a[i - 1] === null)
				parts.push({ from: i, d: [] });
			if (i === 0 || i === n - 1 || a[i] !== a[i - 1] || a[i] !== a[i + 1])
				parts[parts.length - 1].d.push(`${x(i).toFixed(1)} ${y(a[i]).toFixed(1)}`);
			parts[parts.length - 1].to = i;
		}
		this.lines[k].setAttribute("d", parts.map((p) => "M" + p.d.join("L")).join(""));
		this.lines[k].classList.toggle("active", active);
		this.ends[k].style.display = a[n - 1] === null ? "none" : "";
		if (active) {
			this.area.setAttribute("d", parts.map((p) => `M${p.d.join("L")}L${x(p.to).toFixed(1)} ${y(0)}H${x(p.from).toFixed(1)}Z`).join(""));
			this.area.setAttribute("class", "area " + COLORS[k]);
			this.lines[1 - k].after(this.lines[k]);
		}
		const at = y(a[n - 1]), half = this.big ? 3 : 2.5;
		if (k === 0) {
			this.ends[0].setAttribute("cx", x(n - 1));
			this.ends[0].setAttribute("cy", at);
		} else {
			this.ends[1].setAttribute("x", x(n - 1) - half);
			this.ends[1].setAttribute("y", at - half);
		}
	}

	/* Whole minutes by the clock, and how much the lines mean. */
	drawAxes(max, x, y, w, h, left, right) {
		const minute = 60000, span = state.window * state.step * 1000, parts = [];
		for (let t = Math.ceil((state.sampled - span) / minute) * minute; t <= state.sampled; t += minute) {
			const at = x((state.sampled - t) / 1000);
			if (at >= left + 12 && at <= w - right - 12)
				parts.push([at, h - 4, "middle", clock(t).slice(-8, -3)]);
		}
		for (const v of [0, max / 2, max])
			parts.push([left - 6, y(v) + 3.5, "end", valueWords(this.kind, v)]);
		const key = JSON.stringify(parts);
		if (key === this.axisKey)
			return;
		this.axisKey = key;
		this.axis.replaceChildren();
		for (const [at, line, anchor, text] of parts) {
			if (anchor === "middle")
				svg("path", { class: "tick", d: `M${at.toFixed(1)} ${y(0)}v4` }, this.axis);
			svg("text", { x: at.toFixed(1), y: line.toFixed(1), "text-anchor": anchor }, this.axis).textContent = text;
		}
	}

	drawFlips(flips, x, h) {
		const key = flips.map((f) => `${f.to}@${x(f.ago).toFixed(1)}`).join() + "x" + h;
		if (key === this.flipsKey)
			return;
		this.flipsKey = key;
		this.marks.replaceChildren();
		for (const f of flips) {
			const at = x(f.ago).toFixed(1), size = this.big ? 4 : 3;
			svg("path", { class: "flip", d: `M${at} ${size}V${h}` }, this.marks);
			const head = svg("path", { class: "flip-head " + f.to, d: `M${at - size} 0H${+at + size}L${at} ${2 * size - 1}Z` }, this.marks);
			svg("title", {}, head).textContent = f.text;
		}
	}

	point(e) {
		if (!this.svg || !this.history || this.history[0].length === 0)
			return;
		const box = this.svg.getBoundingClientRect(), { left, right } = this.box, n = this.history[0].length;
		const back = Math.round(((box.right - right - e.clientX) / (box.width - left - right)) * (state.window - 1));
		const i = Math.max(0, Math.min(n - 1, n - 1 - back)), ago = (n - 1 - i) * state.step;
		const [green, blue] = this.history.map((a) => valueWords(this.kind, a[i]));
		setText(this.caption, `${clock(state.sampled - ago * 1000)}: ● ${green}  ■ ${blue}`);
	}
}
