"""Make .venv with the locked dependencies, this package and its kernels.

    python3 bootstrap.py                  what `make train` and `make test` need
    python3 bootstrap.py --extras export  and what writing ONNX files needs
    python3 bootstrap.py --kernels        compile the kernels only, in no environment

Uses the standard library only. When nothing changed it does nothing, in a tenth of a second.

QT_TORCH_INDEX  address of the package index that torch alone is taken from
QT_CUDA         AUTO (default), ON or OFF: compile the GPU kernels with nvcc now
CXX             C++ compiler for the CPU kernels
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
PYTHON = BIN / "python"
STAMP = VENV / "bootstrap.json"
LOCK = ROOT / "requirements.lock"
NATIVE = ROOT / "build" / "native"
ROOMS = ("qtheory", "reference", "cuda", "papers")
NATIVE_STAMP = NATIVE / "bootstrap.json"
TURN = ROOT / "build" / "bootstrap.lock"

OLDEST = (3, 11)
OLDEST_PIP = 23
NO_NETWORK = (
    "ConnectionError",
    "ConnectTimeout",
    "Failed to establish a new connection",
    "No route to host",
    "ProxyError",
    "ReadTimeout",
    "SSLError",
    "Temporary failure in name resolution",
)


class Problem(Exception):
    """Something a person has to mend; the message is a sentence for them."""


def main(arguments: list[str] | None = None) -> int:
    """Do what is missing. Returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a path may have letters that ASCII lacks
    options = parse(arguments)
    began = time.monotonic()
    try:
        check_python(sys.version_info[:3])
        with turn():
            if options.kernels:
                changed = build_kernels()
            else:
                changed = install(wanted_extras(options)) | build_kernels()
    except Problem as problem:
        print(f"bootstrap: {problem}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"bootstrap: {error.strerror or error}: {error.filename}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bootstrap: stopped; run it again to go on", file=sys.stderr)
        return 130
    if changed:
        say(f"ready after {time.monotonic() - began:.0f} seconds")
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    about, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--extras", default="", metavar="A,B", help="extras of pyproject.toml to install as well"
    )
    parser.add_argument("--no-dev", action="store_true", help="leave out what tests and lint need")
    parser.add_argument("--kernels", action="store_true", help="only compile the kernels")
    return parser.parse_args(arguments)


def wanted_extras(options: argparse.Namespace) -> set[str]:
    """The extras to install, `dev` among them unless it is declined.

    Raises Problem if pyproject.toml has no such extra.
    """
    import tomllib  # not before check_python: it came with Python 3.11

    text = (ROOT / "pyproject.toml").read_text()
    known = set(tomllib.loads(text)["project"]["optional-dependencies"])
    extras = {name.strip() for name in options.extras.split(",") if name.strip()}
    if not extras <= known:
        raise Problem(f"an extra is one of {sorted(known)}, got {sorted(extras - known)}")
    return extras if options.no_dev else extras | {"dev"}


def say(line: str) -> None:
    """Tell the person what happens."""
    print(f"bootstrap: {line}", flush=True)


def check_python(version: tuple[int, ...]) -> None:
    """Raise Problem if this Python is too old or can not make environments."""
    if version < OLDEST:
        needed, have = (".".join(map(str, v)) for v in (OLDEST, version))
        raise Problem(f"Python {needed} or newer is needed, {sys.executable} is {have}")
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise Problem(
            f"{sys.executable} lacks the module {missing[0]}; "
            "on Debian and Ubuntu `apt install python3-venv` brings it"
        )


@contextmanager
def turn() -> Iterator[None]:
    """One process at a time works in a checkout; another waits, and finds the work done.

    Where nothing can be written there is nothing to take turns for.
    """
    try:
        TURN.parent.mkdir(exist_ok=True)
        lock = open(TURN, "ab")  # noqa: SIM115 (held for the whole work)
    except OSError:
        yield
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is at work in this checkout; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# The environment


def install(extras: set[str]) -> bool:
    """Bring .venv up to date; returns whether anything had to be done.

    Extras once installed stay installed.
    """
    stamp = read_stamp(STAMP)
    # An installation in place keeps a list of modules and packages: one that became the other
    # is not found any more.
    packages = sorted(path for room in ROOMS for path in (ROOT / room).rglob("__init__.py"))
    digest = digest_of(
        [Path(__file__), LOCK, ROOT / "pyproject.toml", *packages], ["QT_TORCH_INDEX"]
    )
    moved = stamp.get("venv", str(VENV)) != str(VENV)
    extras |= set(stamp.get("extras", []))
    if not moved and stamp.get("digest") == digest and extras == set(stamp["extras"]):
        return False
    forget(STAMP)
    make_venv(clear=moved)
    upgrade_pip()
    install_torch()
    # Build tools come first: the package is then built without a second, unlocked environment.
    pip("-c", str(LOCK), *build_tools())
    wanted = f"{ROOT}[{','.join(sorted(extras))}]" if extras else str(ROOT)
    say("installing the package and what it needs")
    # build_kernels compiles, so pip need not.
    pip("-c", str(LOCK), "--no-build-isolation", "-C", "wheel.cmake=false", "-e", wanted)
    write_stamp(STAMP, venv=str(VENV), digest=digest, extras=sorted(extras))
    return True


def make_venv(clear: bool) -> None:
    """Create .venv unless a working one is there."""
    works = PYTHON.exists() and not run([PYTHON, "-c", "import pip"]).returncode
    if works and not clear:
        return
    say(f"making {VENV} with Python {sys.version.split()[0]}")
    result = run([sys.executable, "-m", "venv", "--clear", VENV])
    if result.returncode:
        raise Problem(f"`python -m venv` failed:\n{result.stdout.strip()}")


def upgrade_pip() -> None:
    """Upgrade a pip that is too old to install this package in place."""
    version = run([PYTHON, "-c", "import pip; print(pip.__version__)"]).stdout
    if int(version.split(".")[0]) < OLDEST_PIP:
        pip("--upgrade", f"pip>={OLDEST_PIP}")


def install_torch() -> None:
    """Install the torch of the lock by its exact version.

    A range would skip a build that pip finds through find-links when an index has a newer one.
    """
    pins = [line.split()[0] for line in LOCK.read_text().splitlines() if line.startswith("torch==")]
    index = os.environ.get("QT_TORCH_INDEX")
    say(f"installing {pins[0]}" + (f" from {index}" if index else ""))
    pip("-c", str(LOCK), *pins, *(["--index-url", index] if index else []))


def build_tools() -> list[str]:
    """What compiling needs and this machine lacks; CMake and Ninja are to be had as packages."""
    tools = ["scikit-build-core"]
    if not shutil.which("cmake"):
        tools.append("cmake")
    if not shutil.which("ninja") and not shutil.which("make"):
        tools.append("ninja")
    return tools


def pip(*arguments: str) -> None:
    """Run `pip install` in .venv.

    Raises Problem, with pip's own words, if it fails.
    """
    watched = sys.stdout.isatty()  # a person sees pip's progress, a log only its errors
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install"]
    result = subprocess.run(
        [*map(str, command), *([] if watched else ["--quiet"]), *arguments],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if not result.returncode:
        return
    words = result.stderr.strip()
    unreached = next((sign for sign in NO_NETWORK if sign in words), None)
    if unreached is not None:
        raise Problem(
            f"no package index could be reached ({unreached}). Check the network, or name a "
            "reachable index with PIP_INDEX_URL, or a folder of wheels with PIP_FIND_LINKS"
        )
    raise Problem(f"pip could not install {' '.join(arguments)}:\n{words}")


# The kernels


def build_kernels() -> bool:
    """Compile the kernels into build/native; returns whether anything had to be done.

    Raises Problem if they do not compile. A missing compiler is only told: the exact theory and
    the reference work without kernels, and qcuda says what is missing when it needs one.
    """
    stamp = read_stamp(NATIVE_STAMP)
    sources = sorted(
        p
        for room in ("cuda", "qtheory/chain")
        for p in (ROOT / room / "csrc").rglob("*.*")
        if p.parent.name != "__pycache__"
    )
    sources += [ROOT / "CMakeLists.txt", *sorted((ROOT / "cuda").glob("*.*"))]
    sources += [ROOT / "cuda" / "qcuda" / "kernels" / "source.py"]
    digest = digest_of(sources, ["QT_CUDA", "CXX", "CXXFLAGS", "CUDA_HOME"])
    if stamp.get("digest") == digest and all((NATIVE / name).exists() for name in stamp["files"]):
        return False
    cmake, ninja = find_tool("cmake"), find_tool("ninja")
    if cmake is None:
        say("the kernels are not built: there is no cmake (`pip install cmake` brings one)")
        return False
    forget(NATIVE_STAMP, NATIVE / "CMakeCache.txt")  # a copied or moved tree has a wrong cache
    say("compiling the kernels")
    cuda = os.environ.get("QT_CUDA") or "AUTO"
    configure = [cmake, "-S", ROOT, "-B", NATIVE, f"-DQT_CUDA={cuda}"]
    for command in (configure + ["-GNinja"] * (ninja is not None), [cmake, "--build", NATIVE]):
        result = run(command, PATH=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
        if result.returncode:
            forget(*built())  # stale kernels must not pass for these
            words = [w for w in result.stdout.splitlines() if w and not w.startswith("-- ")]
            raise Problem("the kernels did not compile:\n" + "\n".join(words))
    for line in (NATIVE / "build.txt").read_text().splitlines():
        say(line)
    if any(path.suffix == ".so" for path in built()):
        write_stamp(NATIVE_STAMP, digest=digest, files=[path.name for path in built()])
    return True


def built() -> list[Path]:
    """The libraries, and the GPU image with its note, in build/native."""
    return [*NATIVE.glob("libqtheory_*.so"), *NATIVE.glob("qtheory.*")]


def forget(*files: Path) -> None:
    """Remove files that may be there."""
    for path in files:
        path.unlink(missing_ok=True)


def find_tool(name: str) -> str | None:
    """A program of .venv, else of the PATH."""
    return shutil.which(name, path=str(BIN)) or shutil.which(name)


# Helpers


def run(command: list[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command and keep what it prints, errors included, in `stdout`."""
    return subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def digest_of(files: list[Path], variables: list[str]) -> str:
    """One number for the contents of files and the values of environment variables."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(ROOT)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    for name in variables:
        digest.update(f"{name}={os.environ.get(name, '')}\n".encode())
    return digest.hexdigest()


def read_stamp(path: Path) -> dict[str, object]:
    """What the last run recorded; empty if it was stopped or never was."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def write_stamp(path: Path, **values: object) -> None:
    """Record that everything up to here is done."""
    path.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
