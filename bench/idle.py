"""Memory of idle connections: each proxy fresh, the connections held."""

import json
import signal
import subprocess
import time

import measure
import proxies
import report


def hold(stage, proxy, n):
    """Growth while n connections are held through a fresh proxy."""
    address = proxy.address("echo")
    stage.run("load", address, "--mode=tcp-connect", "--requests=200", "--connections=8")
    pids = proxy.pids()
    before, kernel = measure.memory(pids), measure.kernel_memory()
    load = subprocess.Popen(
        stage.command("load", address, "--mode=tcp-idle", f"--connections={n}", "--duration=60"),
        stdout=subprocess.PIPE, text=True, preexec_fn=measure.on_core(stage.load_core))
    try:
        holding = json.loads(load.stdout.readline())
        time.sleep(0.5)  # let the proxy come to rest; nothing announces that
        after, kernel = measure.memory(pids), measure.kernel_memory() - kernel
    finally:
        load.send_signal(signal.SIGINT)
        load.communicate()
    if holding["connections"] != n:
        raise proxies.Failed(f"{proxy.name} held {holding['connections']} of {n} connections")
    # Of a connection's four sockets here, two are the proxy's.
    return {k: (after[k] - before[k]) / n for k in after} | {
        "before_kib": before["pss"] / 1024, "kernel": max(kernel, 0) / n / 2}


def idle(stage, classes, n):
    addresses = stage.start_backends("tcp")
    measured = {}
    try:
        for _ in range(1 if stage.options.quick else 3):
            for c in classes:
                stage.say(f"idle connections: {c.name}")
                for p in stage.start("tcp", [c], addresses, n + 200):
                    try:
                        measured.setdefault(c.name, []).append(hold(stage, p, n))
                    except proxies.Failed as e:
                        stage.notes.append(str(e))
                    finally:
                        p.stop()
    finally:
        stage.stop_backends()
    return {
        "title": f"Memory for each of {n:,} idle connections (the kernel's for its two sockets beside)",
        "connections": n,
        "proxies": {name: {k: report.spread([r[k] for r in rs]) for k in rs[0]} | {"held": n}
                    for name, rs in measured.items()},
    }
