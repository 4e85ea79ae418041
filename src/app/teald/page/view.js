/* view.js - what is shown, of which, in which order: it stands in the address
 * behind "#", so that a link leads to it and the back button leads away from it. */

const view = { show: "all", sort: "attention", reversed: false, text: "", open: "" };
const SHOWS = ["all", "attention", "draining", "locked"];

/* Words, and what is compared: largest first, or texts from a on. */
const SORTS = {
	attention: ["attention, then traffic", (e) => attentionOf(e) * 64 + busyOf(e)],
	name: ["name", (e) => e.s.name],
	order: ["as configured", (e) => -e.index],
	open: ["open", (e) => both(e, N.conn)],
	rate: ["traffic", (e) => both(e, N.rate)],
	errors: ["errors", (e) => errorShare(e)],
	p99: ["latency", (e) => slowest(e)],
	flipped: ["last change", (e) => Date.parse(e.s.changed_at) || 0],
};

function both(entry, k) {
	return entry.n[k] + entry.n[k + 1];
}

/* What needs a person comes first, then what is under way. */
function attentionOf(entry) {
	return { bad: 4, warn: 3, "": 0 }[worst(problemsOf(entry))] || (entry.drain ? 2 : entry.s.locked ? 1 : 0);
}

/* In steps of two, so that services do not change places all the time. */
function busyOf(entry) {
	return Math.floor(Math.log2(1 + both(entry, N.rate) + both(entry, N.conn)));
}

function readView() {
	const p = new URLSearchParams(location.hash.slice(1)), sort = p.get("sort") || "";
	view.show = SHOWS.includes(p.get("show")) ? p.get("show") : "all";
	view.reversed = sort.startsWith("-");
	view.sort = Object.hasOwn(SORTS, sort.replace("-", "")) ? sort.replace("-", "") : "attention";
	view.text = p.get("q") || "";
	view.open = p.get("open") || "";
}

/* step: worth a step of the back button. */
function writeView(step) {
	const p = new URLSearchParams();
	if (view.show !== "all")
		p.set("show", view.show);
	if (view.sort !== "attention" || view.reversed)
		p.set("sort", (view.reversed ? "-" : "") + view.sort);
	if (view.text)
		p.set("q", view.text);
	if (view.open)
		p.set("open", view.open);
	const address = location.pathname + location.search + (p.size ? "#" + p : "");
	if (address === location.pathname + location.search + location.hash)
		return;
	if (step)
		history.pushState(null, "", address);
	else
		history.replaceState(null, "", address);
}

function isShown(entry) {
	if (view.text && !entry.search.includes(view.text.trim().toLowerCase()))
		return false;
	switch (view.show) {
	case "attention":
		return worst(problemsOf(entry)) !== "";
	case "draining":
		return entry.drain !== null;
	case "locked":
		return entry.s.locked !== null;
	}
	return true;
}

/* What is said in place of an empty list. */
function whyEmpty() {
	if (state.services.length === 0)
		return "There are no services.";
	if (view.text)
		return `No ${view.show === "all" ? "" : view.show === "attention" ? "troubled " : view.show + " "}service has “${view.text}” in its name or backends.`;
	if (view.show === "attention" && state.nodes.some(isNodeTrouble))
		return "✓ No service needs attention. ▲ A node does: see Nodes.";
	return { attention: "✓ Nothing needs attention.", draining: "Nothing drains.", locked: "Nothing is locked." }[view.show];
}

const byName = new Intl.Collator("en", { numeric: true });	/* shop-9 before shop-10 */

/* All services in the order that is asked for; equal ones as configured. */
function inOrder() {
	const of = SORTS[view.sort][1], all = state.services.map((e) => [of(e), e]), sign = view.reversed ? -1 : 1;
	all.sort(([a, x], [b, y]) => sign * (typeof a === "string" ? byName.compare(a, b) : b - a) || x.index - y.index);
	return all.map(([, e]) => e);
}
