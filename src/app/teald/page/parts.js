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

/* "0 %" "0.02 %" "2.1 %" "14 %" */
function percent(share) {
	const p = 100 * share;
	return `${p === 0 ? "0" : p < 0.1 ? p.toFixed(2) : p < 10 ? p.toFixed(1) : p.toFixed(0)} %`;
}

/* Seconds as people say them: "0.8 ms" "12 ms" "1.4 s" */
function latency(s) {
	const ms = s * 1000;
	return ms < 9.95 ? `${ms.toFixed(1)} ms` : ms < 999.5 ? `${ms.toFixed(0)} ms` : ms < 99500 ? `${(ms / 1000).toFixed(1)} s` : duration(s);
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
