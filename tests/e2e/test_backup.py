"""Backups: backends that get what is new only while no other one of the color is up."""
from helpers.reload import reload, rewrite
from helpers.scale import until
from helpers.upgrade import upgrade

HEALTH = {"interval": 0.1, "timeout": 60.0, "rise": 1, "fall": 1}


def with_backups(t, *primaries, backups, **keys):
    """The service's settings, with backups in green."""
    s = t.settings["services"][0] | {"health": HEALTH} | keys
    s["green"] = {"backends": [{"address": b.address} for b in primaries] +
                              [{"address": b.address, "backup": True} for b in backups]}
    return s


def peers(t, n=4):
    """Of so many clients; of one that is sent to a backend that just went away, None."""
    found = set()
    for _ in range(n):
        try:
            with t.connect() as c:
                found.add(c.peer)
        except AssertionError:
            found.add(None)
    return found


def used(t):
    return t.metrics().get("teal_backups_used", service="web", color="green")


def state(t, b):
    return next(x for x in t.status("web")["colors"]["green"]["backends"] if x["address"] == b.address)


def test_a_backup_serves_while_no_other_one_is_up(web, backend):
    a, spare, other = backend("a"), backend("spare"), backend("other")
    t = web(start=False)
    t.settings["services"] = [with_backups(t, a, backups=[spare, other])]
    t.start()
    until(lambda: t.metrics().get("teal_backend_up", backend=other.address) == 1, "the backups are checked, too")
    assert {t.connect().peer for _ in range(8)} == {"a"} and used(t) == 0
    assert state(t, spare)["backup"] and not state(t, a)["backup"]
    color = t.status("web")["colors"]["green"]
    assert (color["healthy"], color["needed"]) == (1, 1)

    a.stop()
    t.wait_log("backup.used", service="web", color="green")
    until(lambda: peers(t) == {"spare", "other"}, "both backups are used")
    kept = t.connect()
    assert kept.echo(b"x") and used(t) == 1
    assert t.status("web")["colors"]["green"]["healthy"] == 0

    a.start()
    t.wait_log("backup.idle", service="web", color="green")
    until(lambda: peers(t) == {"a"}, "the other one is used again")
    assert kept.echo(b"y").peer in ("spare", "other") and used(t) == 0


def test_no_flip_to_a_color_whose_backup_alone_is_up(web, backend):
    spare, gone = backend("spare"), backend("gone", start=False)
    t = web(start=False)
    s = t.settings["services"][0] | {"health": HEALTH, "blue": t.settings["services"][0]["green"]}
    s["green"], s["initial"] = with_backups(t, gone, backups=[spare])["green"], "blue"
    t.settings["services"] = [s]
    t.start()
    until(lambda: state(t, gone)["state"] == "down" and state(t, spare)["state"] == "up", "the checks have been")
    refused = t.ctl("flip", "web", "green")
    assert refused["error"] == "unhealthy" and "0/1 backends healthy, 1 needed" in refused["message"]
    assert t.ok("flip", "web", "green", "--force")["changed"]
    assert t.connect().peer == "spare"


def test_by_source_clients_of_a_backup_have_one_each(web, backend):
    a, spare, other = backend("a"), backend("spare"), backend("other")
    t = web(start=False)
    t.settings["services"] = [with_backups(t, a, backups=[spare, other], balance="source_hash")]
    t.start()
    assert {t.connect().peer for _ in range(6)} == {"a"}
    a.stop()
    t.wait_log("backup.used")
    until(lambda: len(p := peers(t, 6)) == 1 and p < {"spare", "other"}, "a backup, always the same")


def test_a_reload_makes_a_backup_and_a_backend_again(web, backend):
    a, b = backend("a"), backend("b")
    t = web(green=[a, b], health=HEALTH)
    until(lambda: peers(t) == {"a", "b"}, "both are used")
    before = t.settings["services"]
    rewrite(t, services=[with_backups(t, a, backups=[b])])
    reload(t)
    assert {t.connect().peer for _ in range(6)} == {"a"}
    rewrite(t, services=before)
    reload(t)
    until(lambda: peers(t) == {"a", "b"}, "both again")


def test_an_upgrade_goes_on_with_the_backup(web, backend):
    a, spare = backend("a", start=False), backend("spare")
    t = web(start=False)
    t.settings["services"] = [with_backups(t, a, backups=[spare])]
    t.start(supervised=True)
    t.wait_log("backup.used")
    kept = t.connect()
    upgrade(t)
    assert kept.echo(b"x").peer == "spare" and t.connect().peer == "spare" and used(t) == 1
    a.start()
    until(lambda: peers(t) == {"a"}, "the other one is back")


def test_a_color_of_backups_alone_is_none(web, backend):
    t = web(start=False)
    t.settings["services"] = [with_backups(t, backups=[backend("spare")])]
    status, stderr = t.start_refused()
    assert status == 2 and "every backend is a backup; of what?" in stderr
