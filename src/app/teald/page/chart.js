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
		return 4;
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

class Chart {
	/* what: "connections", for those who cannot see it.  smooth: over so many
	 * points. */
	constructor(figure, what, smooth, big) {
		this.figure = figure;
		this.what = what;
		this.smooth = smooth;
		this.big = big;
		this.svg = svg("svg", { role: "img" }, figure);
		this.grid = svg("path", { class: "grid" }, this.svg);
		this.area = svg("path", { class: "area" }, this.svg);
		this.marks = svg("g", { class: "flips" }, this.svg);
		this.lines = COLORS.map((c) => svg("path", { class: "line " + c }, this.svg));
		this.ends = [
			svg("circle", { class: "end green", r: 3, visibility: "hidden" }, this.svg),
			svg("rect", { class: "end blue", width: 6, height: 6, visibility: "hidden" }, this.svg),
		];
		this.peak = el("span", "peak", "", figure);
		this.caption = el("figcaption", "", "", figure);
		if (big)
			for (const part of ["−5 min", "−4", "−3", "−2", "−1", "now"])
				el("span", "tick", part, this.ticks = this.ticks || el("div", "ticks", "", figure));
		figure.addEventListener("pointermove", (e) => this.point(e));
		figure.addEventListener("pointerleave", () => { this.at = null; this.caption.textContent = ""; });
	}

	/* history: two arrays, oldest first.  flips: [{ ago, to, text }], seconds. */
	draw(history, active, flips) {
		const w = this.figure.clientWidth, h = this.figure.clientHeight - (this.big ? 18 : 0);
		if (w === 0 || h <= 0)
			return;
		if (this.smooth > 1)
			history = history.map((a) => smoothed(a, this.smooth));
		const n = history[0].length, first = state.window - n, pad = 4, max = ceiling(Math.max(...history[0], ...history[1]));
		const x = (i) => ((first + i) / (state.window - 1)) * (w - 2 * pad) + pad, y = (v) => h - 2 - (v / max) * (h - 8);
		this.history = history;
		this.svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
		this.svg.setAttribute("width", w);
		this.svg.setAttribute("height", h);
		setText(this.peak, short(max));
		const levels = this.big ? [0, max / 2, max] : [0, max];
		this.grid.setAttribute("d", levels.map((v) => `M${pad} ${y(v)}H${w - pad}`).join(""));
		if (n === 0)
			return;
		COLORS.forEach((c, k) => {
			const a = history[k], d = [];
			/* A point on the line between its neighbours is left out. */
			for (let i = 0; i < n; i++)
				if (i === 0 || i === n - 1 || a[i] !== a[i - 1] || a[i] !== a[i + 1])
					d.push(`${x(i).toFixed(1)} ${y(a[i]).toFixed(1)}`);
			this.lines[k].setAttribute("d", "M" + d.join("L"));
			this.lines[k].classList.toggle("active", c === active);
			if (c === active) {
				this.area.setAttribute("d", `M${d.join("L")}V${y(0)}H${x(0)}Z`);
				this.area.setAttribute("class", "area " + c);
				this.lines[k].after(this.lines[1 - k]);
				this.lines[1 - k].after(this.lines[k]);
			}
		});
		this.ends.forEach((e) => e.removeAttribute("visibility"));
		const last = history.map((a) => y(a[n - 1]));
		this.ends[0].setAttribute("cx", x(n - 1));
		this.ends[0].setAttribute("cy", last[0]);
		this.ends[1].setAttribute("x", x(n - 1) - 3);
		this.ends[1].setAttribute("y", last[1] - 3);
		if (active === null)
			this.area.removeAttribute("d");
		else
			this.svg.append(this.ends[COLORS.indexOf(active)]);	/* above the other */
		this.drawFlips(flips, (ago) => x(n - 1 - ago / state.step), w, h);
		const now = history.map((a) => short(a[n - 1]));
		this.svg.setAttribute("aria-label",
			`${this.what}: green ${now[0]}, blue ${now[1]} now, ${short(max)} at most in five minutes`);
	}

	drawFlips(flips, x, w, h) {
		const key = flips.map((f) => `${f.to}@${Math.round(f.ago)}`).join() + w + "x" + h;
		if (key === this.flipsKey)
			return;
		this.flipsKey = key;
		this.marks.replaceChildren();
		for (const f of flips) {
			const at = x(f.ago).toFixed(1);
			svg("path", { class: "flip", d: `M${at} 6V${h}` }, this.marks);
			const head = svg("path", { class: "flip-head " + f.to, d: `M${at - 4} 0H${+at + 4}L${at} 7Z` }, this.marks);
			svg("title", {}, head).textContent = f.text;
		}
	}

	point(e) {
		const box = this.svg.getBoundingClientRect();
		if (!this.history || this.history[0].length === 0)
			return;
		const n = this.history[0].length, right = Math.round(((box.right - 4 - e.clientX) / (box.width - 8)) * (state.window - 1));
		const i = Math.max(0, Math.min(n - 1, n - 1 - right)), ago = (n - 1 - i) * state.step;
		const [green, blue] = this.history.map((a) => short(a[i]));
		setText(this.caption, `${ago === 0 ? "now" : duration(ago) + " ago"}: ● ${green}  ■ ${blue}`);
	}
}
