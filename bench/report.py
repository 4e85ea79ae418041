"""From rounds to medians, ratios, tables and report.json."""

import json
import statistics

BASELINE = "haproxy"
# CPU per unit, at most so many times that of the other in the same run.
GOALS = {
    "tcp-small": {"haproxy": 1.00, "nginx": 1.05, "floor": 1.10},
    "tcp-connect": {"haproxy": 0.82, "nginx": 0.98},
    "tcp-bulk-down": {"haproxy": 0.25, "nginx": 0.30, "haproxy-splice": 1.0},
    "tcp-bulk-up": {"haproxy": 0.25, "nginx": 0.30, "haproxy-splice": 1.0},
    "http-keepalive": {"haproxy": 0.60, "nginx": 0.80, "floor": 1.20},
    "http-browser": {"haproxy": 0.60, "nginx": 0.80, "floor": 1.20},
    "http-many": {"haproxy": 0.60, "nginx": 0.80, "floor": 1.20},
    "http-connect": {"haproxy": 0.90, "nginx": 0.95},
    "http-1mib": {"haproxy": 0.40},
    "tls-keepalive": {"haproxy": 0.80},
    "tls-connect": {"haproxy": 1.00, "nginx": 1.00},
    "tls-resume": {"haproxy": 1.00, "nginx": 1.00},
    "tls-1mib": {"haproxy": 1.00, "nginx": 1.00},
    "h2c-1x32": {"haproxy": 0.76, "nginx": 0.56},
    "h2c-16x8": {"haproxy": 0.70, "nginx": 0.52},
    "h2c-64x1": {"haproxy": 0.85, "nginx": 0.74},
    "h2c-1mib": {"haproxy": 0.98},
    "h2-1x32": {"haproxy": 0.72, "nginx": 0.56},
    "h2-16x8": {"haproxy": 0.69, "nginx": 0.52},
    "h2-64x1": {"haproxy": 0.75, "nginx": 0.75},
    "h2-1mib": {"haproxy": 0.90},
}
# What a hop may cost over plain routing, as a share of HAProxy's; and how much
# dearer than the same by hand.
HOP_GOALS = {"hop-small": 0.2, "hop-connect": 0.4, "hop-bulk": 0.2}
HOP_BY_HAND = {"hop-small": 0.05}
IDLE_GOAL = 400
# Milliseconds from a kill to the first answer to a request that began after it.
CRASH_GOAL = 150
GROWTH_GOAL = 1.10
# More than this share of the proxy's core taken by others: the row is noisy.
FOREIGN_LIMIT = 0.10


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(ours, theirs):
    """Paired: round by round, so that what slows a round down slows both."""
    return spread([a / b for a, b in zip(ours, theirs) if b > 0] or [float("nan")])


def summarize(scenario, rounds):
    """rounds: {proxy: [one dict per round]} -> what goes into report.json."""
    cpu = {name: [r["cpu"] for r in rs] for name, rs in rounds.items()}
    out = {}
    for name, rs in rounds.items():
        out[name] = {
            "cpu": spread(cpu[name]),
            "ratio": {other: ratios(cpu[name], cpu[other]) for other in cpu if other != name},
            "per_second": spread([r["per_second"] for r in rs]),
            "bytes_per_second": spread([r["bytes_per_second"] for r in rs]),
            "p50_us": spread([r["p50_us"] for r in rs]),
            "p99_us": spread([r["p99_us"] for r in rs]),
            "core_used": spread([r["core_used"] for r in rs]),
            "load_core_used": spread([r["load_core_used"] for r in rs]),
            "foreign": spread([r["foreign"] for r in rs]),
            "failed": sum(r["failed"] for r in rs),
            "rounds": rs,
        }
    return {"key": scenario.key, "title": scenario.title, "unit": scenario.unit,
            "congestion": scenario.congestion, "work": scenario.work, "rate": scenario.rate, "proxies": out}


def summarize_hop(scenario, rounds):
    """rounds: {way: [one dict per round]}; costs are over routing's in the same round."""
    over = {name: [r["cpu"] - base["cpu"] for r, base in zip(rs, rounds["route"])] for name, rs in rounds.items()}
    own = {name: [r["own"] - base["own"] for r, base in zip(rs, rounds["route"])] for name, rs in rounds.items()}
    out = {}
    for name, rs in rounds.items():
        out[name] = {key: spread([r[key] for r in rs]) for key in
                     ("cpu", "own", "per_second", "bytes_per_second", "p50_us", "p99_us", "foreign")}
        out[name] |= {"failed": sum(r["failed"] for r in rs), "rounds": rs}
        if name != "route":
            out[name] |= {"over": spread(over[name]), "over_own": spread(own[name]),
                          "ratio": {other: ratios(over[name], over[other]) for other in over
                                    if other not in (name, "route")},
                          "ratio_own": {other: ratios(own[name], own[other]) for other in own
                                        if other not in (name, "route")}}
    return {"key": scenario.key, "title": scenario.title, "unit": scenario.unit,
            "congestion": scenario.congestion, "work": scenario.work, "rate": scenario.rate, "ways": out}


def summarize_hop_growth(scenario, sizes, s):
    """Of ways teal-kernel-N: what a size costs over routing, to the smallest's; by
    own processes, for it is a ratio of small differences."""
    first = f"teal-kernel-{sizes[0]}"
    out = []
    for n in sizes:
        w = s["ways"][f"teal-kernel-{n}"]
        out.append({"n": n, "cpu": w["over_own"], "ratio": w["ratio_own"].get(first) or spread([1.0]),
                    "cpu_machine": w["over"], "ratio_machine": w["ratio"].get(first) or spread([1.0]),
                    "foreign": w["foreign"], "failed": w["failed"], "rounds": w["rounds"]})
    return {"proxy": "teal", "what": "services", "kind": scenario.key, "title": "kernel engine: services of twenty backends, over routing",
            "sizes": out}


def hop_table(s):
    bulk = s["unit"] == "s/GB"
    base = next((b for b in (BASELINE, "nginx", "dnat") if b in s["ways"]), None)
    times = f"x {base}" if base else ""
    head = ["", f"machine's {s['unit']}", "over routing", times, "own processes'", times]
    head += ["MB/s"] if bulk else ["a second", "p50 us", "p99 us"]
    rows = []
    for name, w in s["ways"].items():
        row = [name, with_spread(w["cpu"])]
        row += [with_spread(w["over"]), ratio_text(w, base), number(w["over_own"]["median"]),
                ratio_text(w, base, "ratio_own")] if "over" in w else [""] * 4
        row += [number(w["bytes_per_second"]["median"] / 1e6)] if bulk else \
            [number(w[k]["median"]) for k in ("per_second", "p50_us", "p99_us")]
        flags = [f"{w['failed']} FAILED"] if w["failed"] else []
        if w["foreign"]["median"] > FOREIGN_LIMIT:
            flags.append(f"noisy: others took {100 * w['foreign']['median']:.0f} %")
        rows.append(row + [", ".join(flags)])
    at = f"  {s['rate']:,} a second" if s["rate"] else ""
    return f"{s['title']}{at}  [{s['congestion']}]\n{table(head + [''], rows)}"


def hop_goals(s):
    """(text, reached) of one hop scenario.  What the machine did decides; where
    others took part in that, what our own processes did stands beside it."""
    way = s["ways"].get("teal-kernel")
    if way is None or s["key"] not in HOP_GOALS or BASELINE not in way["ratio"]:
        return []

    def goal(words, measure, own, most):
        noisy = max(w["foreign"]["median"] for w in s["ways"].values()) > FOREIGN_LIMIT
        beside = f" (noisy; by own processes {number(own['median'])})" if noisy else ""
        return f"{s['key']}: {with_spread(measure)} {words}, at most {most:.2f}{beside}", measure["median"] <= most

    def above(measure):
        # Paired as well: ours less the one by hand, as a share of the same HAProxy's.
        rounds = (s["ways"][name]["rounds"] for name in ("teal-kernel", "dnat", BASELINE, "route"))
        return spread([(ours[measure] - hand[measure]) / (theirs[measure] - base[measure])
                       for ours, hand, theirs, base in zip(*rounds) if theirs[measure] > base[measure]]
                      or [float("nan")])
    out = [goal(f"x {BASELINE}'s cost over routing", way["ratio"][BASELINE], way["ratio_own"][BASELINE],
                HOP_GOALS[s["key"]])]
    if s["key"] in HOP_BY_HAND and "dnat" in s["ways"]:
        out.append(goal(f"of {BASELINE}'s above DNAT by hand", above("cpu"), above("own"), HOP_BY_HAND[s["key"]]))
    return out


def number(x):
    if x != x:
        return "-"
    if x >= 100:
        return f"{x:,.0f}"
    return f"{x:.1f}" if x >= 10 else f"{x:.2f}" if x >= 1 else f"{x:.3f}"


def table(head, rows):
    """Aligned; the first column to the left, the others to the right."""
    widths = [max(len(r[i]) for r in [head] + rows) for i in range(len(head))]
    lines = []
    for r in [head] + rows:
        cells = [r[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(r[1:], widths[1:])]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def with_spread(s):
    return f"{number(s['median'])} ({number(s['min'])}..{number(s['max'])})"


def ratio_text(p, other, ratio="ratio"):
    return with_spread(p[ratio][other]) if other in p[ratio] else "1"


def scenario_table(s):
    proxies = s["proxies"]
    bases = [b for b in (BASELINE, "nginx", "floor", "teal-before") if b in proxies]
    bulk = s["unit"] == "s/GB"
    head = ["", f"CPU {s['unit']}"] + [f"x {b}" for b in bases]
    head += ["MB/s"] if bulk else ["a second", "p50 us", "p99 us"]
    head += ["core used"] + (["load's core"] if s["rate"] else []) + [""]
    rows = []
    for name, p in proxies.items():
        row = [name, with_spread(p["cpu"])] + [ratio_text(p, b) for b in bases]
        if bulk:
            row += [number(p["bytes_per_second"]["median"] / 1e6)]
        else:
            row += [number(p["per_second"]["median"]), number(p["p50_us"]["median"]),
                    number(p["p99_us"]["median"])]
        row.append(f"{100 * p['core_used']['median']:.0f} %")
        if s["rate"]:
            row.append(f"{100 * p['load_core_used']['median']:.0f} %")
        flags = []
        if p["failed"]:
            flags.append(f"{p['failed']} FAILED")
        if p["foreign"]["median"] > FOREIGN_LIMIT:
            flags.append(f"noisy: others took {100 * p['foreign']['median']:.0f} % of its core")
        row.append(", ".join(flags))
        rows.append(row)
    at = f"  {s['rate']:,} a second" if s["rate"] else ""
    return f"{s['title']}{at}  [{s['congestion']}]\n{table(head, rows)}"


def idle_table(idle):
    head = ["", "bytes each (Pss)", "own pages", "kernel's, about", "before KiB", "held"]
    rows = [[name, with_spread(p["pss"]), number(p["private"]["median"]), number(p["kernel"]["median"]),
             number(p["before_kib"]["median"]), f"{p['held']:,}"] for name, p in idle["proxies"].items()]
    return f"{idle['title']}\n{table(head, rows)}"


def idle_http2_table(idle):
    rows = [[name, with_spread(p["rss"]), number(p["private"]["median"])] for name, p in idle["proxies"].items()]
    return f"{idle['title']}\n{table(['', 'bytes each (resident)', 'own pages'], rows)}"


def drill_row(r):
    """Of tealbench drill's result, what the report keeps."""
    dropped = ("event", "target", "curve", "samples", "errors")
    return {k: v for k, v in r.items() if k not in dropped} | {
        "errors": {k: v for k, v in r["errors"].items() if v}}


def drill_table(d):
    head = ["", "requests", "lost", "wrong color", "late", "flips", "flip p50 ms", "flip p99 ms", "p99 ms",
            "longest gap ms", "", ""]
    rows = []
    for name, p in d["proxies"].items():
        rows.append([name, f"{p['ok']:,}", str(p["lost"]), str(p["wrong_color"]), str(p["late"]),
                     f"{p['flips_made']}/{p['flips_wanted']}", number(p["flip_us"]["p50"] / 1e3),
                     number(p["flip_us"]["p99"] / 1e3), number(p["latency_us"]["p99"] / 1e3),
                     number(p["longest_gap_us"] / 1e3), "passed" if p["passed"] else "FAILED", p["how"]])
    return f"{d['title']}\n{table(head, rows)}"


def change_rows(c):
    """Head and rows.  What a command took is told of no reload: the peers' return before they are done."""
    crash = c["kind"] == "crash"

    def measure(p):
        return p["turn_us"]["p50"] if crash else p["longest_gap_us"]
    base = c["proxies"].get(BASELINE)
    head = ["", "requests", "lost", "refused", "died with it", "streams", "broken", "processes", "p99 ms", "longest gap ms",
            "serving again ms" if crash else "", "x haproxy", "", ""]
    rows = []
    for name, p in c["proxies"].items():
        rows.append([name, f"{p['ok']:,}", str(p["lost"]), str(p["errors"].get("refused", 0)), str(p["died_with_process"]),
                     str(p["held"]), str(p["streams_broken"]), "{} -> {}".format(*p["processes"]),
                     number(p["latency_us"]["p99"] / 1e3), number(p["longest_gap_us"] / 1e3),
                     "{} (..{})".format(*(number(p["turn_us"][k] / 1e3) for k in ("p50", "max"))) if crash else "",
                     number(measure(p) / measure(base)) if base and measure(base) else "-",
                     f"{p['turns_made']}/{p['turns_wanted']}", p["how"]])
    return head, rows


def change_table(c):
    return f"{c['title']}\n{table(*change_rows(c))}"


def many_table(m):
    head = ["", "reloads", "applied p50 ms", "max ms", "p99 us calm", "reloading", "failed", "processes", "longest hold ms calm", "reloading"]
    rows = []
    for name, p in m["proxies"].items():
        holds = [f"{max(h.values()) * 1e3:g}" if h else "-" for h in (p["held_calm"], p["held"])]
        rows.append([name, f"{p['turns']} of {p['turns_wanted']}", number(p["applied_seconds"]["median"] * 1e3),
                     number(p["applied_seconds"]["max"] * 1e3), *(number(n) for n in p["p99_us"]), str(sum(p["failed"])),
                     "{} -> {}".format(*p["processes"]), *holds])
    known = "; ".join(f"{name}: {p['how']}" for name, p in m["proxies"].items())
    return f"{m['title']}\n{table(head, rows)}\n  applied: {known}"


def change_goals(c):
    """(text, reached): of Teal alone."""
    p = c["proxies"].get("teal")
    if p is None:
        return []
    words = f"{c['kind']}: {p['turns_made']} of {p['turns_wanted']}, {p['lost']} requests lost"
    reached = p["turns_made"] == p["turns_wanted"] and p["lost"] == 0
    if c["kind"] == "crash":
        took = p["turn_us"]["p50"] / 1e3
        return [(f"{words}; serving again within {number(took)} ms, at most {CRASH_GOAL}", reached and took <= CRASH_GOAL)]
    before, after = p["processes"]
    return [(f"{words}, {p['streams_broken']} of {p['held']} streams broken, {after} processes after {before}",
             reached and p["streams_broken"] == 0 and after == before)]


def of_load(result, moved):
    """What every scenario keeps of a load's result; moved: its bytes."""
    return {
        "seconds": result["seconds"],
        "per_second": result["per_second"],
        "bytes_per_second": moved / result["seconds"] if result["seconds"] > 0 else 0,
        "p50_us": result["latency_us"]["p50"],
        "p99_us": result["latency_us"]["p99"],
        "curve": result["curve"],
        "failed": result["failed"],
        "errors": {k: v for k, v in result["errors"].items() if v},
    }


def growth_table(g):
    head = [g["what"], "CPU us", f"x {g['sizes'][0]['n']:,}", ""]
    rows = []
    for s in g["sizes"]:
        flags = [f"{s['failed']} FAILED"] if s["failed"] else []
        if s["foreign"]["median"] > FOREIGN_LIMIT:
            flags.append(f"noisy: others took {100 * s['foreign']['median']:.0f} % of its core")
        rows.append([f"{s['n']:,}", with_spread(s["cpu"]), with_spread(s["ratio"]), ", ".join(flags)])
    return f"Growth of {g['proxy']}, {g['kind']}: {g['title']}\n{table(head, rows)}"


def goals(report):
    """What Teal is held to, and where it stands: (text, reached)."""
    out = []
    for s in report["scenarios"]:
        teal = s["proxies"].get("teal")
        if not teal or not s["goal"]:
            continue
        for other, goal in GOALS.get(s["key"], {}).items():
            if other in teal["ratio"]:
                got = teal["ratio"][other]["median"]
                out.append((f"{s['key']}: {number(got)} x {other}, at most {goal:.2f}", got <= goal))
        peers = {n: p["p99_us"]["median"] for n, p in s["proxies"].items() if n in ("haproxy", "nginx")}
        if s["rate"] and peers:
            best = min(peers, key=peers.get)
            got = teal["p99_us"]["median"]
            out.append((f"{s['key']}: p99 {number(got)} us, at most {best}'s {number(peers[best])}",
                        got <= peers[best]))
    for s in report.get("hop", []):
        out += hop_goals(s)
    for d in report["drills"]:
        for name, p in d["proxies"].items():
            if name.startswith("teal"):
                out.append((f"drill, {d['kind']}, {name}: {p['verdict']}", p["passed"]))
    for c in report.get("changes", []):
        out += change_goals(c)
    for grown in report["growth"]:
        if grown["proxy"] != "teal":
            continue
        worst = max(s["ratio"]["median"] for s in grown["sizes"])
        out.append((f"growth over {grown['what']} ({grown['kind']}): at most {number(worst)} x the smallest, "
                    f"at most {GROWTH_GOAL:.2f}", worst <= GROWTH_GOAL))
    teal = report["idle"] and report["idle"]["proxies"].get("teal")
    if teal:
        got = teal["pss"]["median"]
        out.append((f"idle connection: {number(got)} bytes, at most {IDLE_GOAL}", got <= IDLE_GOAL))
    return out


def text(report):
    m = report["machine"]
    parts = [f"{m['cpu']}, {m['cores']} cores, Linux {m['kernel']}; proxy on core {m['proxy_core']}, "
             f"load and backends on core {m['load_core']}",
             "; ".join(v for v in report["versions"].values() if v)]
    parts += [scenario_table(s) for s in report["scenarios"]]
    parts += [hop_table(s) for s in report["hop"]]
    if report["idle"]:
        parts.append(idle_table(report["idle"]))
    parts += [idle_http2_table(i) for i in report["idle_http2"]]
    parts += [drill_table(d) for d in report["drills"]]
    parts += [change_table(c) for c in report.get("changes", [])]
    if report.get("many"):
        parts.append(many_table(report["many"]))
    parts += [growth_table(g) for g in report["growth"]]
    if report["goals"]:
        width = max(len(g["text"]) for g in report["goals"])
        parts.append("Goals\n" + "\n".join(
            f"  {g['text'].ljust(width)}  {'reached' if g['reached'] else 'NOT REACHED'}"
            for g in report["goals"]))
    if report["notes"]:
        parts.append("\n".join(f"note: {n}" for n in report["notes"]))
    return "\n\n".join(parts)


def save(report, path):
    with open(path, "w") as f:
        json.dump(report, f, indent=1)
        f.write("\n")
