"""The file of a running teald with other settings, and teald told to take it over."""
import os

from . import libconfig


def rewrite(teal, **settings):
    """The file, with other settings, at once: a reader finds the old one or the new one."""
    teal.settings |= settings
    new = teal.conf.with_suffix(".new")
    new.write_text(libconfig.dumps(teal.settings))
    os.replace(new, teal.conf)


def change(teal, name="web", **keys):
    """The file, with other keys of one service; None takes one away."""
    def changed(s):
        return {k: v for k, v in (s | keys).items() if v is not None}
    rewrite(teal, services=[changed(s) if s["name"] == name else s for s in teal.settings["services"]])


def reload(teal, *words):
    """It must be taken over; the Reply."""
    r = teal.ctl("reload", *words)
    assert r["ok"], r
    return r
