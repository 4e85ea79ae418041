"""report.html: the same numbers as plots, in one file that needs no other."""

import html
import math
import statistics

import report as numbers

COLORS = {"teal": "#0d9488", "haproxy": "#6366f1", "haproxy-splice": "#a5b4fc", "nginx": "#ca8a04",
          "floor": "#94a3b8", "teal-kernel": "#115e59", "dnat": "#be185d", "route": "#cbd5e1"}
LANES = {"green": "#16a34a", "blue": "#2563eb", "failed": "#dc2626"}
STYLE = """
:root { --ink: #17202a; --soft: #5b6774; --line: #d5dbe1; --page: #fbfcfd; --card: #fff; --good: #15803d; --bad: #b91c1c }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaee; --soft: #9aa6b2; --line: #35404b; --page: #12171c; --card: #1a2128; --good: #4ade80; --bad: #f87171 } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 auto; padding: 1.5rem;
  max-width: 76rem }
h1 { font-size: 1.5rem; margin: 0 0 .3rem } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem }
h3 { font-size: .95rem; margin: 0 0 .5rem; font-weight: 600 }
p { margin: .3rem 0; max-width: 60rem } .soft { color: var(--soft) }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 32rem), 1fr)) }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .9rem 1rem; min-width: 0 }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; width: 100% }
th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child, td.words { text-align: left } th { font-weight: 600; color: var(--soft) }
td.words { white-space: normal }
.good { color: var(--good) } .bad { color: var(--bad); font-weight: 600 }
svg { display: block; width: 100%; max-width: 46rem; height: auto } svg text { fill: var(--ink); font: 12px system-ui, sans-serif }
svg .soft { fill: var(--soft) } svg .axis { stroke: var(--line) } svg .whisker { stroke: var(--ink) }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 .9em; vertical-align: -1px }
"""


def esc(text):
    return html.escape(str(text))


def svg(width, height, parts, title):
    return (f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{esc(title)}">'
            f'<title>{esc(title)}</title>{"".join(parts)}</svg>')


def text(x, y, words, anchor="start", kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{esc(words)}</text>'


def line(x1, y1, x2, y2, kind="axis", extra=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}" {extra}/>'


def rect(x, y, w, h, color):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(w, 0):.1f}" height="{max(h, 0):.1f}" fill="{color}"/>'


def key(names, colors):
    return "<p class=soft>" + "".join(
        f'<span class=key style="background:{colors.get(n, "#888")}"></span>{esc(n)}' for n in names) + "</p>"


def bars(rows, title):
    """rows: (name, {median, min, max}, note): a bar each, whiskers for the range."""
    left, right, step = 110, 190, 30
    top = max(s["max"] for _, s, _ in rows) or 1
    scale = (640 - left - right) / top
    out = []
    for i, (name, s, note) in enumerate(rows):
        y = i * step + 4
        out += [text(left - 8, y + 15, name, "end"),
                rect(left, y, s["median"] * scale, 20, COLORS.get(name, "#888")),
                line(left + s["min"] * scale, y + 10, left + s["max"] * scale, y + 10, "whisker"),
                line(left + s["min"] * scale, y + 6, left + s["min"] * scale, y + 14, "whisker"),
                line(left + s["max"] * scale, y + 6, left + s["max"] * scale, y + 14, "whisker"),
                text(left + s["max"] * scale + 8, y + 15, note)]
    return svg(640, len(rows) * step + 6, out, title)


def scenario_card(s):
    rows = []
    for name, p in s["proxies"].items():
        note = numbers.number(p["cpu"]["median"])
        if numbers.BASELINE in p["ratio"]:
            note += f" · {numbers.number(p['ratio'][numbers.BASELINE]['median'])} x {numbers.BASELINE}"
        rows.append((name, p["cpu"], note))
    flags = []
    for name, p in s["proxies"].items():
        if p["failed"]:
            flags.append(f'<p class=bad>{esc(name)}: {p["failed"]} requests failed; its row is worth nothing.</p>')
    foreign = max(p["foreign"]["median"] for p in s["proxies"].values())
    if foreign > numbers.FOREIGN_LIMIT:
        flags.append(f"<p class=soft>Noisy: others took up to {100 * foreign:.0f} % of the proxy's core.</p>")
    at = f", {s['rate']:,} a second" if s["rate"] else ""
    return (f'<div class=card><h3>{esc(s["title"])}{at}</h3><p class=soft>CPU {esc(s["unit"])}, {esc(s["congestion"])}'
            f'</p>{bars(rows, s["title"])}{"".join(flags)}</div>')


def hop_card(s):
    rows, flags = [], []
    for name, w in s["ways"].items():
        if w["failed"]:
            flags.append(f'<p class=bad>{esc(name)}: {w["failed"]} requests failed; its row is worth nothing.</p>')
        if "over" not in w:
            continue
        note = numbers.number(w["over"]["median"])
        if numbers.BASELINE in w["ratio"]:
            note += f" · {numbers.number(w['ratio'][numbers.BASELINE]['median'])} x {numbers.BASELINE}"
        # What is less than nothing is noise.
        rows.append((name, {k: max(0.0, v) for k, v in w["over"].items()}, note))
    foreign = max(w["foreign"]["median"] for w in s["ways"].values())
    if foreign > numbers.FOREIGN_LIMIT:
        flags.append(f"<p class=soft>Noisy: others took up to {100 * foreign:.0f} % of the machine's work.</p>")
    at = f", {s['rate']:,} a second" if s["rate"] else ""
    base = numbers.number(s["ways"]["route"]["cpu"]["median"])
    return (f'<div class=card><h3>{esc(s["title"])}{at}</h3><p class=soft>{esc(s["unit"])} over routing ({base}), '
            f'{esc(s["congestion"])}</p>{bars(rows, s["title"])}{"".join(flags)}</div>')


def log_ticks(low, high):
    for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for m in (1, 2, 5):
            if low <= m * 10 ** e <= high:
                yield m * 10 ** e


def duration(us):
    return f"{us:g} us" if us < 1000 else f"{us / 1000:g} ms" if us < 1e6 else f"{us / 1e6:g} s"


def latency_card(s):
    """Latency by percentile, each axis logarithmic: the tail is the point."""
    curves = {}
    for name, p in s["proxies"].items():
        rounds = [dict(map(tuple, r["curve"])) for r in p["rounds"] if r.get("curve")]
        if rounds:
            curves[name] = [(q, statistics.median(r[q] for r in rounds)) for q in rounds[0] if q < 99.995]
    values = [max(v, 1) for c in curves.values() for _, v in c]
    if not values:
        return ""
    low, high = min(values) / 1.2, max(values) * 1.2
    left, top, width, height = 64, 8, 640, 300

    def x(q):
        return left + math.log10(100 / (100 - q)) / 4 * (width - left - 12)

    def y(v):
        return top + (math.log(high) - math.log(max(v, 1))) / (math.log(high) - math.log(low)) * (height - top - 26)

    out = []
    for q in (0, 50, 90, 99, 99.9, 99.99):
        out += [line(x(q), top, x(q), height - 26), text(x(q), height - 8, f"{q:g} %", "middle", "soft")]
    for v in log_ticks(low, high):
        out += [line(left, y(v), width - 12, y(v)), text(left - 6, y(v) + 4, duration(v), "end", "soft")]
    for name, c in curves.items():
        points = " ".join(f"{x(q):.1f},{y(v):.1f}" for q, v in c)
        out.append(f'<polyline points="{points}" fill="none" stroke="{COLORS.get(name, "#888")}" stroke-width="2.2"/>')
    at = f"{s['rate']:,} a second, open loop" if s["rate"] else "closed loop"
    return (f'<div class=card><h3>{esc(s["title"])}</h3><p class=soft>Latency by percentile, {at}; medians over '
            f'rounds.</p>{key(curves, COLORS)}{svg(width, height, out, s["title"])}</div>')


def timeline_card(name, d):
    """All answers over the drill, by color, and a line where a flip was asked for."""
    slots, width, height, left = d["timeline"], 640, 170, 58
    lanes = [lane for lane in slots if lane != "slot_seconds"]
    n = max(len(slots[lane]) for lane in lanes)
    group = max(1, math.ceil(n / 160))
    sums = {lane: [sum(slots[lane][i:i + group]) for i in range(0, n, group)] for lane in lanes}
    count = math.ceil(n / group)
    top = max(sum(sums[lane][i] for lane in lanes if i < len(sums[lane])) for i in range(count)) or 1
    span = n * slots["slot_seconds"]
    step = (width - left - 8) / count
    out = [line(left, height - 22, width - 8, height - 22)]
    for i in range(count):
        y = height - 22
        for lane in lanes:
            h = sums[lane][i] / top * (height - 34) if i < len(sums[lane]) else 0
            if h:
                y -= h
                out.append(rect(left + i * step, y, step + .2, h, LANES.get(lane, "#888")))
    for f in d["flips"]:
        fx = left + f["at"] / span * (width - left - 8)
        out.append(line(fx, 6, fx, height - 22, "whisker", 'stroke-dasharray="2 3"'))
    rate = top / (group * slots["slot_seconds"])
    out += [text(left - 4, 18, f"{rate:,.0f}/s", "end", "soft"), text(left, height - 6, "0 s", "start", "soft"),
            text(width - 8, height - 6, f"{span:.1f} s", "end", "soft")]
    verdict = f'<span class={"good" if d["passed"] else "bad"}>{esc(d["verdict"])}</span>'
    return (f'<div class=card><h3>{esc(name)}: {verdict}</h3><p class=soft>{esc(d["how"])}; a flip took '
            f'{d["flip_us"]["p50"] / 1e3:.1f} ms (median), the longest silence was '
            f'{d["longest_gap_us"] / 1e3:.1f} ms.</p>{svg(width, height, out, f"{name}: answers by color over time")}'
            f'</div>')


def growth_card(g):
    rows = [(f"{s['n']:,}", s["cpu"], f"{numbers.number(s['cpu']['median'])} · "
             f"{numbers.number(s['ratio']['median'])} x") for s in g["sizes"]]
    return (f'<div class=card><h3>{esc(g["what"].capitalize())}, {esc(g["kind"])}: {esc(g["proxy"])}</h3><p class=soft>{esc(g["title"])}; '
            f'CPU us each</p>{bars(rows, g["title"])}</div>')


def as_table(head, rows):
    def cell(tag, words, i):
        kind = " class=bad" if "FAILED" in words or "NOT" in words else ""
        return f"<{tag}{kind}>{esc(words)}</{tag}>"
    lines = ["<tr>" + "".join(cell("th", h, i) for i, h in enumerate(head)) + "</tr>"]
    lines += ["<tr>" + "".join(cell("td", c, i) for i, c in enumerate(r)) + "</tr>" for r in rows]
    return f'<div class="card wide"><table>{"".join(lines)}</table></div>'


def page(r):
    m, settings = r["machine"], r["settings"]
    out = [f'<h1>Teal beside other proxies</h1><p class=soft>{esc(r["date"])} · {esc(m["cpu"])}, {m["cores"]} cores, '
           f'Linux {esc(m["kernel"])} · proxy on core {m["proxy_core"]}, load and backends on core {m["load_core"]}'
           f' · {settings["rounds"]} rounds, {esc(settings["congestion"])}{", quick" if settings["quick"] else ""}</p>',
           f'<p class=soft>{esc("; ".join(v for v in r["versions"].values() if v))}</p>']
    if r["goals"]:
        out.append("<h2>Goals</h2>" + as_table(["", ""], [[g["text"], "reached" if g["reached"] else "NOT REACHED"]
                                                          for g in r["goals"]]))
    if r["scenarios"]:
        out.append("<h2>The proxy's own CPU</h2><p class=soft>User and system time of all its threads, for a unit of "
                   "work; bars are medians over the rounds, whiskers the smallest and largest. Less is better.</p>"
                   f'<div class=grid>{"".join(map(scenario_card, r["scenarios"]))}</div>')
        cards = [latency_card(s) for s in r["scenarios"] if s["rate"]]
        if any(cards):
            out.append(f'<h2>Latency</h2><div class=grid>{"".join(cards)}</div>')
    if r["hop"]:
        out.append("<h2>The whole hop</h2><p class=soft>CPU of the whole machine, for a unit of work, over what it spends "
                   "when the same packets are routed with nobody in between.</p>"
                   f'<div class=grid>{"".join(map(hop_card, r["hop"]))}</div>')
    for d in r["drills"]:
        out.append(f'<h2>{esc(d["title"])}</h2>{key(LANES, LANES)}<div class=grid>' +
                   "".join(timeline_card(n, p) for n, p in d["proxies"].items()) + "</div>")
    for c in r.get("changes", []):
        out.append(f'<h2>{esc(c["title"])}</h2>' + as_table(*numbers.change_rows(c)))
    if r["idle"] and r["idle"]["proxies"]:
        rows = [(n, p["pss"], f"{numbers.number(p['pss']['median'])} bytes") for n, p in r["idle"]["proxies"].items()]
        out.append(f'<h2>Memory</h2><div class=grid><div class=card><h3>{esc(r["idle"]["title"])}</h3>'
                   f'{bars(rows, r["idle"]["title"])}</div></div>')
    if r["growth"]:
        out.append(f'<h2>How cost grows</h2><div class=grid>{"".join(map(growth_card, r["growth"]))}</div>')
    if r["notes"]:
        out.append("<h2>Notes</h2>" + "".join(f"<p>{esc(n)}</p>" for n in r["notes"]))
    out.append("<p class=soft>How to read this, and what it cannot tell: bench/README.md. All rounds: report.json.</p>")
    return ('<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">'
            f'<title>Teal beside other proxies</title><style>{STYLE}</style>{"".join(out)}</html>\n')


def save(r, path):
    with open(path, "w") as f:
        f.write(page(r))
