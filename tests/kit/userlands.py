"""Runs what deploy/wheel/build has built in the userlands that it is for; called by tests/wheels.

Each runs the deep check against a real PostgreSQL over TLS, verified against a root file: by name where there
is an /etc/hosts, by address in a root with nothing else in it. A userland that cannot be made or entered here
is no failure of the wheel's: it is named, and this machine stands in for it.
"""

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "deploy/backend/tests"))

from servers import Postgres  # noqa: E402

BUILT = ROOT / "target/wheels"
KEPT = ROOT / ".cache/userlands"
SUITES = ["bullseye", "bookworm", "trixie"]
LIBCS = ["musl", "gnu"]
HERE = platform.machine()
ARM = ["qemu-aarch64-static"]  # with a static program it needs nothing else
ARM_GLIBC = [*ARM, "-L", "/usr/aarch64-linux-gnu"]


class NotHere(Exception):
    """This machine cannot, or may not, do what a userland takes."""


def attempt(*command: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1200,
        env={"PATH": os.environ["PATH"]} | (environment or {}),
    )


def run(*command: object, environment: dict[str, str] | None = None) -> str:
    done = attempt(*command, environment=environment)
    assert done.returncode == 0, (command, done.stdout[-4000:])
    return done.stdout


def expect_that_roots_can_be_entered() -> None:
    done = attempt("chroot", "/", "true")
    if done.returncode != 0:
        raise NotHere(done.stdout.strip())


def userland(suite: str) -> Path:
    """Debian's least with a Python, made once; nothing is written into it."""
    expect_that_roots_can_be_entered()
    kept = KEPT / suite
    if not kept.exists():
        print(f"making a userland: {suite} (some minutes, once)", flush=True)
        KEPT.mkdir(parents=True, exist_ok=True)
        half = Path(tempfile.mkdtemp(dir=KEPT, prefix="half-"))
        include = "--include=ca-certificates,python3,python3-venv"
        made = attempt("debootstrap", "--variant=minbase", include, suite, half)
        if made.returncode != 0:
            shutil.rmtree(half, ignore_errors=True)
            raise NotHere(f"debootstrap {suite}: {made.stdout.strip().splitlines()[-1]}")
        (half / "etc/hosts").write_text("127.0.0.1 localhost\n")
        half.chmod(0o755)
        half.rename(kept)
    return kept


@contextmanager
def scratch(inside: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir=inside / "tmp", prefix="wheel-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def verdict(command: list[object], url: str) -> str:
    """What `check` says of the database, on one line."""
    environment = {"DATABASE_URL": url}
    text = run(*command, "check", "--only", "database", environment=environment)
    took, server = (line.strip() for line in text.splitlines()[1:3])
    assert "✓ pass" in text and " tls " in took, text
    return " ".join(f"{took.split('(')[0]} {server}".split())


def installed(wheel: Path, directory: Path, root: list[object], inside: Path) -> Path:
    """The program, where pip has put it: in an environment of its own below `directory`, which is `inside` for it."""
    shutil.copy(wheel, directory)
    run(*root, "python3", "-m", "venv", inside / "venv")
    pip = inside / "venv/bin/pip"
    run(*root, pip, "install", "--no-index", "--no-cache-dir", inside / wheel.name)
    return inside / "venv/bin/sidepulse"


def manylinux() -> Path:
    (wheel,) = BUILT.glob(f"*manylinux*_{HERE}.whl")
    return wheel


def in_debian(suite: str, postgres: Postgres) -> str:
    root = userland(suite)
    with scratch(root) as directory:
        inside = Path("/") / directory.relative_to(root)
        shutil.copy(postgres.root_file, directory / "ca.pem")
        program = installed(manylinux(), directory, ["chroot", root], inside)
        url = postgres.url(host="localhost", query=f"?sslmode=verify-full&sslrootcert={inside}/ca.pem")
        return verdict(["chroot", root, program], url)


def on_this_machine(postgres: Postgres) -> str:
    with tempfile.TemporaryDirectory(prefix="wheel-") as directory:
        program = installed(manylinux(), Path(directory), [], Path(directory))
        url = postgres.url(host="localhost", query=f"?sslmode=verify-full&sslrootcert={postgres.root_file}")
        return verdict([program], url)


def by_tag(wheel: str) -> str:
    """pip takes it for such a system: Alpine is not to be had here."""
    (file,) = BUILT.glob(f"*{wheel}.whl")
    platform_tag = file.stem.split("-")[-1]
    with tempfile.TemporaryDirectory(prefix="wheel-") as directory:
        only = ("--no-index", "--no-deps", "--only-binary=:all:", "--platform", platform_tag, "--target", directory)
        run(sys.executable, "-m", "pip", "install", "--no-cache-dir", *only, file)
        (program,) = Path(directory).glob("bin/sidepulse")
        assert os.access(program, os.X_OK)
    return f"pip takes it for {platform_tag}"


@contextmanager
def binary_of(target: str) -> Iterator[Path]:
    (archive,) = BUILT.glob(f"*-{target}.tar.gz")
    with tempfile.TemporaryDirectory(prefix="wheel-") as directory:
        with tarfile.open(archive) as opened:
            opened.extractall(directory, filter="data")
        (binary,) = Path(directory).glob("*/sidepulse")
        yield binary


def in_an_empty_root(target: str, emulator: list[str], postgres: Postgres) -> str:
    """Nothing but the static binary (with an emulator: and that, which is static too) and a root file."""
    expect_that_roots_can_be_entered()
    with binary_of(target) as binary, tempfile.TemporaryDirectory(prefix="empty-") as directory:
        root = Path(directory)
        shutil.copy(binary, root / "sidepulse")
        shutil.copy(postgres.root_file, root / "ca.pem")
        command: list[object] = ["/sidepulse"]
        if emulator:
            shutil.copy(shutil.which(emulator[0]), root / "emulator")
            command = ["/emulator", *emulator[1:], *command]
        url = postgres.url(query="?sslmode=verify-ca&sslrootcert=/ca.pem")
        return verdict(["chroot", root, *command], url)


def emulated(target: str, postgres: Postgres) -> str:
    with binary_of(target) as binary:
        url = postgres.url(host="localhost", query=f"?sslmode=verify-full&sslrootcert={postgres.root_file}")
        return verdict([*ARM_GLIBC, binary], url)


def rows(suites: list[str], postgres: Postgres) -> Iterator[tuple[str, str, Callable[[], str]]]:
    """Where, what, and how it is tried."""
    for suite in suites:
        yield f"Debian {suite}, pip install", f"manylinux2014_{HERE}", partial(in_debian, suite, postgres)
    musl, arm_musl, arm = (f"{HERE}-unknown-linux-musl", *(f"aarch64-unknown-linux-{libc}" for libc in LIBCS))
    yield "an empty root", musl, lambda: in_an_empty_root(musl, [], postgres)
    if HERE != "aarch64":
        yield "an empty root, emulated", arm_musl, lambda: in_an_empty_root(arm_musl, ARM, postgres)
        yield "Debian's glibc, emulated", arm, lambda: emulated(arm, postgres)
    for machine in ("x86_64", "aarch64"):
        tag = f"musllinux_1_1_{machine}"
        yield "Alpine's tag", tag, partial(by_tag, tag)


def sizes() -> Iterator[str]:
    """Of each wheel, and of the program in it."""
    for wheel in sorted(BUILT.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            (program,) = (entry for entry in archive.infolist() if entry.filename.endswith("/scripts/sidepulse"))
        yield f"{wheel.stat().st_size / 1e6:.2f} MB, on disk {program.file_size / 1e6:.2f} MB: {wheel.name}"


def outcome(what: str, check: Callable[[], str]) -> str:
    try:
        return f"passes: {check()}"
    except NotHere as reason:
        return f"NOT RUN: {reason}"
    except AssertionError as error:
        return f"FAILS: {error}"


def main() -> None:
    postgres = Postgres()
    said = []
    try:
        postgres.start()

        def show(where: str, what: str, check: Callable[[], str]) -> None:
            said.append(outcome(what, check))
            print(f"{where:<28} {what:<28} {said[-1]}", flush=True)

        for where, what, check in rows(sys.argv[1:] or SUITES, postgres):
            if list(BUILT.glob(f"*{what}*")):
                show(where, what, check)
            elif not sys.argv[1:]:
                print(f"{where:<28} {what:<28} not built", flush=True)
        for size in sizes():
            print(size, flush=True)
        if any(text.startswith("NOT RUN") for text in said):
            show("this machine instead", f"manylinux2014_{HERE}", partial(on_this_machine, postgres))
    finally:
        postgres.stop()
        postgres.remove()
    sys.exit(any(text.startswith("FAILS") for text in said))


main()
