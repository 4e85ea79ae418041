"""A strict reader of Prometheus' text exposition format, version 0.0.4."""
import functools
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
TYPES = ("counter", "gauge", "histogram", "summary", "untyped")


@functools.lru_cache(1 << 16)   # one page after the other has the same
def labels_of(inner):
    """What stands between the braces, as a frozenset of pairs."""
    labels, at = {}, 0
    while inner and at < len(inner):
        l = LABEL.match(inner, at)
        if not l or l[1] in labels:
            raise ValueError("bad labels")
        labels[l[1]] = re.sub(r"\\(.)", lambda c: {"n": "\n"}.get(c[1], c[1]), l[2])
        at = l.end()
    if inner and inner.endswith(","):
        raise ValueError("a surplus comma")
    return frozenset(labels.items())


class Family:
    def __init__(self, name):
        self.name, self.type, self.help = name, None, None
        self.samples = {}  # (name, frozenset of labels) -> value


class Metrics:
    """All families of one scrape; raises ValueError on any flaw."""

    def __init__(self, text):
        self.text, self.families = text, {}
        if not text.endswith("\n"):
            raise ValueError("the last line is not ended")
        self._family, self._closed = None, set()
        for number, line in enumerate(text[:-1].split("\n"), 1):
            try:
                self._line(line)
            except ValueError as e:
                raise ValueError(f"line {number}: {e}: {line!r}") from None
        for f in self.families.values():
            if f.type is None or f.help is None:
                raise ValueError(f"{f.name}: no HELP or no TYPE")
            if f.type == "histogram":
                self._histogram(f)
            if f.type == "counter":
                if any(v < 0 for v in f.samples.values()):
                    raise ValueError(f"{f.name}: a negative counter")
                if not f.name.endswith("_total"):
                    raise ValueError(f"{f.name}: a counter's name ends with _total")

    def _open(self, name):
        if self._family is not None and self._family.name == name:
            return self._family
        if name in self.families:
            raise ValueError(f"{name} is not in one piece")
        self._family = self.families[name] = Family(name)
        return self._family

    def _line(self, line):
        if line.startswith("# HELP "):
            name, _, text = line[7:].partition(" ")
            f = self._open(name)
            if f.help is not None or f.samples:
                raise ValueError("HELP twice, or after samples")
            if not re.fullmatch(NAME, name) or not text:
                raise ValueError("a bad HELP")
            f.help = text
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            f = self._open(name)
            if f.type is not None or f.samples or kind not in TYPES:
                raise ValueError("a bad TYPE, or in the wrong place")
            f.type = kind
        elif line.startswith("#"):
            raise ValueError("a comment")
        else:
            self._sample(line)

    def _sample(self, line):
        m = SAMPLE.match(line)
        if not m:
            raise ValueError("not a sample")
        name, inner, value = m.groups()
        base = name
        f = self._family
        if f is not None and f.type == "histogram":
            base = next((name[:-len(end)] for end in ("_bucket", "_sum", "_count") if name.endswith(end)), name)
            if base == name:
                raise ValueError("a histogram's sample without suffix")
        if f is None or f.name != base:
            raise ValueError("a sample outside its family")
        key = (name, labels_of(inner))
        if key in f.samples:
            raise ValueError("the same series twice")
        f.samples[key] = float(value)  # ValueError of its own

    @staticmethod
    def _histogram(f):
        series = {}
        for (name, labels), value in f.samples.items():
            d = dict(labels)
            le = d.pop("le", None)
            s = series.setdefault(frozenset(d.items()), {"buckets": []})
            if name.endswith("_bucket"):
                if le is None:
                    raise ValueError(f"{f.name}: a bucket without le")
                s["buckets"].append((float(le), value))
            else:
                s[name[len(f.name):]] = value
        for labels, s in series.items():
            les, counts = [le for le, _ in s["buckets"]], [n for _, n in s["buckets"]]
            if les != sorted(set(les)) or not les or les[-1] != float("inf"):
                raise ValueError(f"{f.name}{dict(labels)}: bounds {les}")
            if counts != sorted(counts):
                raise ValueError(f"{f.name}{dict(labels)}: buckets are not cumulative")
            if "_sum" not in s or s.get("_count") != counts[-1]:
                raise ValueError(f"{f.name}{dict(labels)}: _count is not the +Inf bucket, or no _sum")

    def series(self, name, **labels):
        """{labels: value} of all samples of that name that have these labels."""
        want = set((k, str(v)) for k, v in labels.items())
        return {key[1]: value for f in self.families.values() for key, value in f.samples.items()
                if key[0] == name and want <= key[1]}

    def get(self, name, **labels):
        """The sum over these series; 0 when there is none."""
        return sum(self.series(name, **labels).values())

    def has(self, name, **labels):
        return bool(self.series(name, **labels))

    def counters(self):
        """All series that must never fall: {(name, labels): value}."""
        return {key: v for f in self.families.values() for key, v in f.samples.items()
                if f.type == "counter" or (f.type == "histogram" and not key[0].endswith("_sum"))}
