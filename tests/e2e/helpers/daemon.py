"""A program of a test that runs in the foreground until the test ends."""
import subprocess

from . import scale


class Daemon:
    """.log: what it wrote.  place: the network namespace it is in; run: it has a /run of its own."""

    def __init__(self, folder, *words, place=None, run=False, env=None):
        self.log = folder / "log"
        inside = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o mode=755 tmpfs /run && exec "$@"', "sh"] if run else []
        self.process = subprocess.Popen(
            [*(place.prefix if place else ()), *inside, *map(str, words)], stdin=subprocess.DEVNULL,
            stdout=open(self.log, "ab"), stderr=subprocess.STDOUT, start_new_session=True, env=env)

    def said(self, text, n=1):
        """Waits until its log has that n times."""
        def seen():
            assert self.process.poll() is None, self.log.read_text(errors="replace")
            return self.log.read_text(errors="replace").count(text) >= n
        scale.until(seen, f"{text!r} in {self.log}")

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(scale.patience())
