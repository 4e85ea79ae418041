"""What the kernel says about a process: CPU time, memory; and the machine.

CPU time comes from /proc/PID/task/TID/schedstat, in nanoseconds, summed over
all threads of all processes below a root: user and system time together,
with what the kernel did in softirqs while that thread was on the CPU.
"""

import ctypes
import fcntl
import os
import platform
import resource
import socket
import struct
import subprocess
import time

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
SIGTERM = 15
SIOCSIFFLAGS = 0x8914
IFF_UP_RUNNING = 0x41
# Room for short connections: see settle_ports().
PORTS = {"net/ipv4/ip_local_port_range": "10000 65500", "net/ipv4/tcp_tw_reuse_delay": "50"}
CC_SYSCTL = "/proc/sys/net/ipv4/tcp_congestion_control"

libc = ctypes.CDLL(None, use_errno=True)


def read(path, default=""):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return default


def tree(root):
    """root and everything descended from it."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = read(f"/proc/{name}/stat")
            if stat:
                # The command may hold spaces and brackets: split behind it.
                parent = int(stat.rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        for tid in os.listdir(f"/proc/{pid}/task"):
            total += int(read(f"/proc/{pid}/task/{tid}/schedstat", "0").split()[0])
    return total / 1e9


def memory(pids):
    """Bytes: shared pages divided fairly (pss), resident, and the process's own."""
    sums = {"pss": 0, "rss": 0, "private": 0}
    keys = {"Pss": "pss", "Rss": "rss", "Private_Clean": "private", "Private_Dirty": "private"}
    for pid in pids:
        for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
            key, _, value = line.partition(":")
            if key in keys:
                sums[keys[key]] += int(value.split()[0]) * 1024
    return sums


def kernel_memory():
    """Bytes of the kernel's own objects: sockets, files, epoll's items."""
    for line in read("/proc/meminfo").splitlines():
        if line.startswith("SUnreclaim:"):
            return int(line.split()[1]) * 1024
    return 0


def core_busy_seconds(core):
    """Everything that ran on one core since boot, steal included."""
    tick = os.sysconf("SC_CLK_TCK")
    for line in read("/proc/stat").splitlines():
        fields = line.split()
        if fields and fields[0] == f"cpu{core}":
            values = [int(v) for v in fields[1:9]]
            return (sum(values) - values[3] - values[4]) / tick
    return 0.0


def core_idle_seconds(core):
    """Exact where the kernel stops its tick on an idle core."""
    tick = os.sysconf("SC_CLK_TCK")
    for line in read("/proc/stat").splitlines():
        fields = line.split()
        if fields and fields[0] == f"cpu{core}":
            return (int(fields[4]) + int(fields[5])) / tick
    return 0.0


def machine_busy_seconds():
    """What all cores together did since some moment, in hundredths: the kernel
    counts idleness exactly where it stops its tick, and samples the rest."""
    tick, cores, unused = os.sysconf("SC_CLK_TCK"), 0, 0
    for line in read("/proc/stat").splitlines():
        fields = line.split()
        if fields and fields[0].startswith("cpu") and fields[0] != "cpu":
            cores += 1
            unused += int(fields[4]) + int(fields[5]) + int(fields[8])  # idle, iowait, steal
    return time.monotonic() * cores - unused / tick


def softirq_threads():
    """The kernel's threads that go on with packets where there are too many."""
    return [int(pid) for pid in os.listdir("/proc")
            if pid.isdigit() and read(f"/proc/{pid}/comm").startswith("ksoftirqd/")]


def metered(pids, core, load_core, act):
    """act()'s result, and what those processes and those cores did meanwhile."""
    cpu, busy, began = cpu_seconds(pids), core_busy_seconds(core), time.monotonic()
    idle = core_idle_seconds(load_core)
    result = act()
    cpu, wall = cpu_seconds(pids) - cpu, time.monotonic() - began
    busy, idle = core_busy_seconds(core) - busy, core_idle_seconds(load_core) - idle
    return result, {"cpu_seconds": cpu, "core_used": cpu / wall, "foreign": max(0.0, busy - cpu) / wall,
                    "load_core_used": max(0.0, 1 - idle / wall)}


def cores():
    """(the proxy's, everybody else's); equal when there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[min(1, len(usable) - 1)], usable[0]


def on_core(core, network=None):
    """For Popen's preexec_fn: pinned, and gone when we are; network: the path
    of a network namespace to be in."""

    def pin():
        if network:
            fd = os.open(network, os.O_RDONLY)
            if libc.setns(fd, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            os.close(fd)
        os.sched_setaffinity(0, {core})
        libc.prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0)

    return pin


def own_network():
    """A network namespace of our own: nobody's ports, sockets, firewall rules
    or sysctls but ours.  False where that is not allowed."""
    if libc.unshare(CLONE_NEWNET) != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP_RUNNING))
    return True


def settle_ports():
    """Room for short connections, in a network namespace of our own: at
    20,000 a second the default range wraps within the second for which a port
    stays unusable, and then what is measured is the search for a free one."""
    done = {}
    for name, value in PORTS.items():
        try:
            with open(f"/proc/sys/{name}", "w") as f:
                f.write(value)
            done[os.path.basename(name)] = value
        except OSError:
            continue  # tcp_tw_reuse_delay came with Linux 6.13
    return done


def congestion():
    return read(CC_SYSCTL).strip()


def set_congestion(name):
    """Of this network namespace; False where it may not be set."""
    try:
        with open(CC_SYSCTL, "w") as f:
            f.write(name)
    except OSError:
        return False
    return congestion() == name


def raise_files(wanted):
    """As many open files as wanted, or as many as may be; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in ((wanted, max(hard, wanted)), (min(wanted, hard), hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            break
        except (OSError, ValueError):
            continue
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if lines else None


def machine():
    model = [l.partition(":")[2].strip() for l in read("/proc/cpuinfo").splitlines() if l.startswith("model name")]
    proxy, others = cores()
    return {
        "cpu": model[0] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "proxy_core": proxy,
        "load_core": others,
        "kernel": platform.release(),
        "load_average": read("/proc/loadavg").split()[:3],
        "memory_kib": int((read("/proc/meminfo").split() or ["", "0"])[1]),
    }
