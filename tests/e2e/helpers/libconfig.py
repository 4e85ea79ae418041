"""Python values as libconfig text."""
import json


def _value(v, depth):
    pad = "  " * (depth + 1)
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, (int, float)):
        return repr(v)
    if isinstance(v, str):
        return json.dumps(v, ensure_ascii=False)
    if isinstance(v, dict):
        return "{\n" + "".join(f"{pad}{k} = {_value(x, depth + 1)};\n" for k, x in v.items()) + pad[2:] + "}"
    if any(isinstance(x, (dict, list, tuple)) for x in v):
        return "(\n" + ",\n".join(pad + _value(x, depth + 1) for x in v) + ")"
    return "[" + ", ".join(_value(x, depth) for x in v) + "]"


def dumps(settings):
    """A whole file: a dict of top-level settings, in order."""
    return "".join(f"{k} = {_value(v, 0)};\n" for k, v in settings.items())
