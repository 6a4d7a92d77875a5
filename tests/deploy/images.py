"""Builds the images without a container engine: buildah with chroot isolation, on a base of Debian packages.

`make images` prepares a folder once (`python tests/deploy/images.py FOLDER`): base, wheels, the layers with
what tuneline needs, and a registry's data with them. Tests build on these layers with the code as it is now.
Limits: root, Debian and buildah are asked for; chroot isolation shares network and processes with this
machine, so that neither a cluster's network nor its limits are seen.
"""

import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from socket import socket

ROOT = Path(__file__).parents[2]
PROGRAMS = ("buildah", "docker-registry", "mmdebstrap")
BASE = "localhost/tuneline-test-base"
SUITE, PYTHON = "bookworm", "3.11"
"""What the base is made of, and the Python that it brings."""
NAMES = ("server", "steps")
USER = 10001
_BASE_PACKAGES = "python3,python3-venv,ca-certificates"
_LEFT_OUT = ("doc", "man", "locale", "info")
_REGISTRY = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


def folder() -> Path:
    """What `make images` prepares."""
    return Path(os.environ.get("TUNELINE_TEST_IMAGES") or ROOT / ".venv-images")


def missing() -> str:
    """Why no image can be built here; empty if one can."""
    programs = [name for name in PROGRAMS if shutil.which(name) is None]
    if programs or os.getuid() != 0:
        return (
            f"images are built as root with {', '.join(PROGRAMS)}; missing: {', '.join(programs) or 'root'}"
        )
    return "" if (folder() / ".ready").exists() else f"{folder()} is not prepared: run `make images`"


@dataclass(frozen=True)
class Store:
    """Images and containers in a folder of their own."""

    root: Path

    def buildah(self, *words: str | Path, cwd: Path | None = None) -> str:
        """What one of buildah's commands prints. Raises AssertionError with all that it said."""
        command = ["buildah", "--root", self.root / "storage", "--runroot", self.root / "run"]
        command += ["--storage-driver", self.driver, *words]
        done = subprocess.run(
            list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=3600, check=False
        )
        assert done.returncode == 0, (
            f"{' '.join(map(str, words))}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        )
        return done.stdout

    @property
    def driver(self) -> str:
        """`overlay` where the file system can, else `vfs`, which copies every layer."""
        known = self.root / "driver"
        if not known.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            probe = ["buildah", "--root", self.root / "probe", "--runroot", self.root / "probe-run"]
            done = subprocess.run(
                [*probe, "--storage-driver", "overlay", "info"], capture_output=True, check=False
            )
            for left in ("probe", "probe-run"):
                shutil.rmtree(self.root / left, ignore_errors=True)
            known.write_text("overlay" if done.returncode == 0 else "vfs")
        return known.read_text()

    def build(self, name: str, context: Path) -> str:
        """Build one of our images; what does not change is taken from what was built before."""
        words = ["build", "--layers", "--isolation", "chroot", "--format", "docker", "--quiet"]
        arguments = {"BASE": BASE, "PIP_NO_INDEX": "1", "VERSION": "0.0.0-test", "REVISION": "of-a-test"}
        for key, value in arguments.items():
            words += ["--build-arg", f"{key}={value}"]
        words += ["--file", f"deploy/images/{name}/Containerfile", "--tag", f"localhost/tuneline-{name}", "."]
        return self.buildah(*words, cwd=context).split()[-1]

    def push(self, name: str, registry: str) -> str:
        """Push one of our images; where it can be pulled from, by digest."""
        # gzip takes a minute for torch; but the form that has zstd has no health check
        form = ["--format", "oci", "--compression-format", "zstd", "--compression-level", "1"]
        digest = self.root / f"{name}.digest"
        place = f"docker://{registry}/tuneline/{name}"
        words = ["push", "--tls-verify=false", "--digestfile", digest, *(form if name == "steps" else [])]
        self.buildah(*words, f"localhost/tuneline-{name}", f"{place}:test")
        return f"{place}@{digest.read_text().strip()}"

    @contextmanager
    def container(self, image: str) -> Iterator["Container"]:
        """A container of an image that is pulled, or built here (`localhost/...`)."""
        pull = ["--pull-always", "--tls-verify=false"] if image.startswith("docker://") else ["--pull-never"]
        found = Container(self, self.buildah("from", *pull, image).split()[-1])
        try:
            yield found
        finally:
            self.buildah("rm", found.name)


@dataclass(frozen=True)
class Container:
    """A root file system of an image, in which commands run."""

    store: Store
    name: str

    def command(
        self,
        words: Sequence[str],
        *,
        env: dict[str, str] | None = None,
        volumes: dict[Path, str] | None = None,
    ) -> list[str]:
        """The command that runs `words` there as the image's user. volumes: where folders are inside."""
        run = ["buildah", "--root", self.store.root / "storage", "--runroot", self.store.root / "run"]
        run += ["--storage-driver", self.store.driver, "run", "--isolation", "chroot"]
        for key, value in (env or {}).items():
            run += ["--env", f"{key}={value}"]
        for here, inside in (volumes or {}).items():
            run += ["--volume", f"{here}:{inside}"]
        return [*map(str, run), self.name, "--", *words]

    def run(self, *words: str, **more: dict) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end."""
        return subprocess.run(
            self.command(words, **more), capture_output=True, text=True, timeout=300, check=False
        )

    def written(self) -> list[str]:
        """What the image's user wrote into the root file system, volumes aside."""
        top = Path(self.store.buildah("mount", self.name).strip())
        try:
            found = subprocess.run(
                ["find", top, "-xdev", "-user", str(USER), "-printf", "/%P\n"],
                capture_output=True, text=True, timeout=120, check=True,
            )  # fmt: skip
        finally:
            self.store.buildah("umount", self.name)
        return sorted(found.stdout.split())


@contextmanager
def registry(data: Path, scratch: Path) -> Iterator[str]:
    """A real registry on loopback: its `host:port`."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    config = scratch / "registry.yml"
    config.write_text(_REGISTRY.format(folder=data, port=place.partition(":")[2]))
    with (scratch / "registry.log").open("w") as log:
        process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    try:
        _wait_for(f"http://{place}/v2/", process)
        yield place
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, "the registry ended"
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.URLError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"no answer at {url}")


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """No other process builds in `place` meanwhile."""
    with (place / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def context(target: Path, wheels: Path) -> Path:
    """A copy of what an image is made of, with wheels where its recipe looks for them."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "packages", "deploy/images"):
        shutil.copytree(ROOT / name, target / name, ignore=ignored, dirs_exist_ok=True)
    for name in ("LICENSE", "README.md", "pyproject.toml", ".dockerignore"):
        shutil.copy2(ROOT / name, target / name)
    for wheel in wheels.glob("*.whl"):
        place = target / "deploy/images/wheels" / wheel.name
        try:
            os.link(wheel, place)
        except OSError:  # another file system
            shutil.copyfile(wheel, place)
    return target


def extras(name: str) -> list[str]:
    """The extras that an image has by default."""
    text = (ROOT / f"deploy/images/{name}/Containerfile").read_text()
    found = re.search(r'^ARG EXTRAS="([^"]*)"$', text, re.MULTILINE)
    assert found is not None
    return found[1].split()


def prepare(place: Path) -> None:
    """Make `place` what the tests build on: ten minutes, most of them downloads and torch."""
    place.mkdir(parents=True, exist_ok=True)
    with alone(place):
        store, began = Store(place), time.time()
        if BASE not in store.buildah("images", "--format", "{{.Name}}").split():
            _make_base(store)
        _download(place / "wheels")
        shutil.rmtree(place / "context", ignore_errors=True)
        built = context(place / "context", place / "wheels")
        with registry(place / "registry", place) as host:
            for name in NAMES:
                store.build(name, built)
                store.push(name, host)
        sizes = json.loads(store.buildah("images", "--json"))
        took = {
            "seconds": round(time.time() - began),
            "images": {n: i["size"] for i in sizes for n in i["names"] or ()},
        }
        (place / ".ready").write_text(json.dumps(took, indent=1) + "\n")
        sys.stdout.write((place / ".ready").read_text())


def _make_base(store: Store) -> None:
    tar = store.root / "base.tar"
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT]
    subprocess.run(
        [
            "mmdebstrap",
            "--variant=minbase",
            "--mode=root",
            f"--include={_BASE_PACKAGES}",
            *left_out,
            SUITE,
            tar,
        ],
        check=True,
    )
    name = store.buildah("from", "scratch").strip()
    store.buildah("add", name, tar, "/")
    store.buildah("commit", "--rm", name, BASE)
    tar.unlink()


def _download(wheels: Path) -> None:
    wanted = subprocess.run(
        [sys.executable, ROOT / "deploy/images/requirements.py", ROOT / "pyproject.toml",
         *dict.fromkeys(extra for name in NAMES for extra in extras(name))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    pip = [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "--dest", wheels]
    if f"{sys.version_info.major}.{sys.version_info.minor}" != PYTHON:
        tags = ["manylinux2014", *(f"manylinux_2_{minor}" for minor in range(17, 37))]
        pip += ["--python-version", PYTHON, *(f"--platform={tag}_{platform.machine()}" for tag in tags)]
    index = os.environ.get("TORCH_INDEX")
    subprocess.run([*pip, *(["--index-url", index] if index else []), torch()], check=True)
    needed = [torch(), "setuptools>=77", "wheel", *wanted.stdout.strip().split("\n")]
    subprocess.run([*pip, "--find-links", wheels, *needed], check=True)


def torch() -> str:
    """The torch that is installed here: the wheel is in pip's cache then."""
    return f"torch=={version('torch').partition('+')[0]}"


if __name__ == "__main__":
    prepare(Path(sys.argv[1]).absolute())
