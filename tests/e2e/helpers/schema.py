"""conf/bigquery-schema.json, and whether a log line fits it: as BigQuery
would judge a row, and more strictly."""
import functools
import json
import re

from . import scale

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
INT64 = range(-2**63, 2**63)
FITS = {
    "STRING": lambda v: isinstance(v, str),
    "INTEGER": lambda v: type(v) is int and v in INT64,
    "FLOAT": lambda v: type(v) in (int, float),
    "BOOLEAN": lambda v: isinstance(v, bool),
    "TIMESTAMP": lambda v: isinstance(v, str) and TIME.fullmatch(v),
}


@functools.lru_cache(None)
def columns():
    """{name: column}."""
    return {c["name"]: c for c in json.loads((scale.REPO / "conf/bigquery-schema.json").read_text())}


def _object(pairs):
    d = dict(pairs)
    if len(d) != len(pairs):
        raise ValueError("the same member twice")
    return d


def _constant(word):
    raise ValueError(f"{word} is not JSON")


def parse(raw):
    """One line of the log, bytes; ValueError when it is not exactly one JSON object
    of valid UTF-8 in one line, or has a member twice."""
    if not raw.endswith(b"\n") or raw.count(b"\n") != 1 or b"\r" in raw:
        raise ValueError("not one line")
    line = json.loads(raw.decode("utf-8", "strict"), object_pairs_hook=_object, parse_constant=_constant)
    if not isinstance(line, dict):
        raise ValueError("not an object")
    for v in line.values():  # lone surrogates have no UTF-8, and no place in a column
        str(v).encode("utf-8", "strict")
    return line


def fault(line, labels=()):
    """What about a parsed line does not fit; None when all does.  labels: names that
    the services gave to labels of their own."""
    for name, c in columns().items():
        if c["mode"] == "REQUIRED" and line.get(name) is None:
            return f"{name} is missing"
    if line["level"] not in ("debug", "info", "warn", "error"):
        return "level"
    for name, v in line.items():
        c = columns().get(name)
        if c is None:
            if name not in labels or not isinstance(v, str):
                return f"{name} has no column: add it to conf/bigquery-schema.json"
        elif c["mode"] == "REPEATED":
            if not isinstance(v, list) or not all(FITS[c["type"]](x) for x in v):
                return f"{name} is no list of {c['type']}"
        elif v is not None and not FITS[c["type"]](v):
            return f"{name} is no {c['type']}"
    return None
