"""The images of deploy/Dockerfile as containers of their own; tests/image builds them and names the engine.

Every container is as tight as a cluster can make it: a root that is read-only, no capability, no new privileges.
"""

import json
import os
import shlex
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from programs import QUICK, SOON, run
from servers import Postgres, free_port, wait_until

ENGINE = shlex.split(os.environ.get("SIDEPULSE_TEST_ENGINE", ""))
SIDECAR, APP = "localhost/sidepulse-sidecar", "localhost/sidepulse-app"
USER = "65532"
TIGHT = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges")
# The engine's own are above what a container may set on some machines.
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")
QUICKLY = {name: value for name, value in QUICK.items() if name != "SIDEPULSE_LISTEN"}

pytestmark = [
    pytest.mark.skipif(not ENGINE, reason="tests/run image builds the images and runs these"),
    pytest.mark.timeout(300),
]


def engine(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*ENGINE, *map(str, arguments)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100)


def output_of(*arguments: object) -> str:
    done = engine(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def options(image: str, network: str, environment: dict[str, str]) -> list[str]:
    variables = [f"--env={name}={value}" for name, value in environment.items()]
    return [*TIGHT, *LIMITS, "--pull=never", f"--network={network}", *variables, image]


class Container:
    """The image as it is, in the background; without a network of the host's it has a loopback of its own."""

    def __init__(self, image: str, network: str = "none", **environment: str) -> None:
        self.name = f"sidepulse-{uuid.uuid4().hex[:12]}"
        output_of("run", "--detach", f"--name={self.name}", *options(image, network, environment))

    def state(self) -> dict[str, object]:
        return json.loads(output_of("inspect", self.name))[0]["State"]

    def log(self) -> str:
        done = engine("logs", self.name)
        return done.stdout + done.stderr

    def status(self) -> dict[str, str]:
        """/proc/PID/status of the container's first process, as this machine sees it."""
        lines = Path(f"/proc/{self.state()['Pid']}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def is_healthy(self) -> bool:
        """Runs the image's HEALTHCHECK once."""
        done = engine("healthcheck", "run", self.name)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.returncode == 0

    def wait_until_healthy(self) -> None:
        def healthy() -> bool:
            assert self.state()["Running"], self.log()
            return self.is_healthy()

        wait_until(healthy, SOON, "HEALTHCHECK passes")

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        output_of("stop", "--time=30", self.name)
        return int(str(self.state()["ExitCode"]))


@pytest.fixture
def contain() -> Iterator[Callable[..., Container]]:
    """Starts a container that is removed with the test: `contain(SIDECAR, …)`."""
    containers: list[Container] = []

    def contain_one(*arguments: str, **environment: str) -> Container:
        containers.append(Container(*arguments, **environment))
        return containers[-1]

    yield contain_one
    for container in containers:
        engine("rm", "--force", "--time=0", container.name)


def expect_first_and_without_rights(container: Container) -> None:
    status = container.status()
    assert status["NSpid"].split()[-1] == "1" and status["Name"] == "sidepulse"
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {USER}
    assert int(status["CapEff"], 16) == 0


def test_the_sidecar_as_it_is(contain: Callable[..., Container]) -> None:
    nowhere = "postgresql://u:p@127.0.0.1:1/d"
    container = contain(SIDECAR, SIDEPULSE_APP_URL="http://127.0.0.1:8000/", DATABASE_URL=nowhere, **QUICKLY)
    container.wait_until_healthy()  # /livez: whatever the app and the database do
    expect_first_and_without_rights(container)
    # With the defaults of the image: on the port that it exposes.
    assert "listens on [::]:9900" in container.log() or "listens on 0.0.0.0:9900" in container.log()
    assert engine("exec", container.name, "sidepulse", "ping").returncode == 1  # /readyz: nothing is there
    assert container.stop() == 0, container.log()


def test_the_sidecar_with_port(contain: Callable[..., Container]) -> None:
    container = contain(SIDECAR, PORT="7777", SIDEPULSE_DATABASE="off", DATABASE_URL="")
    container.wait_until_healthy()
    assert ":7777" in container.log() and ":9900" not in container.log()


def checked(postgres: Postgres, query: str, *mounted: str) -> str:
    """What the sidecar's image says of the database, with the root's file mounted at these places."""
    postgres.directory.chmod(0o755)
    postgres.root_file.chmod(0o644)
    mounts = [f"--volume={postgres.root_file}:{place}:ro" for place in mounted]
    url = postgres.url(host="localhost", query=query)
    container = ["run", "--rm", *mounts, *options(SIDECAR, "host", {"DATABASE_URL": url})]
    return engine(*container, "check", "--only", "database").stdout


def test_the_sidecar_checks_a_database_over_tls(postgres: Postgres) -> None:
    said = checked(postgres, "?sslmode=verify-full&sslrootcert=/ca.pem", "/ca.pem")
    assert "✓ pass" in said and " tls " in said, said


def test_the_sidecar_finds_a_root_among_the_public_ones_by_its_hash(postgres: Postgres) -> None:
    name = run("openssl", "x509", "-noout", "-hash", "-in", postgres.root_file).strip()
    said = checked(postgres, "?sslmode=verify-full", f"/etc/ssl/certs/{name}.0")
    assert "✓ pass" in said, said
    said = checked(postgres, "?sslmode=verify-full")
    assert "tls_untrusted" in said, said


@pytest.fixture
def root_of() -> Iterator[Callable[[str], Path]]:
    """The files of an image."""
    mounted: list[str] = []

    def mount(image: str) -> Path:
        mounted.append(image)
        return Path(output_of("image", "mount", image).strip())

    yield mount
    for image in mounted:
        engine("image", "unmount", image)


def test_the_sidecar_is_the_program_its_libraries_and_the_public_roots(
    root_of: Callable[[str], Path],
) -> None:
    root = root_of(SIDECAR)
    files = [path.relative_to(root) for path in root.rglob("*") if not path.is_dir()]
    programs = [path.name for path in files if ".so" not in path.name and os.access(root / path, os.X_OK)]
    assert programs == ["sidepulse"]
    # Where OpenSSL and sidepulse look, when no root file is named: one by one, and no bundle that would be read whole.
    assert not (root / "etc/ssl/certs/ca-certificates.crt").exists()
    assert len([*(root / "etc/ssl/certs").glob("????????.0")]) > 100
    # For scanners, each package by its name; for readers, under which licence it is.
    packages = {path.name for path in (root / "var/lib/dpkg/status.d").iterdir()}
    assert {"libssl3", "libc6", "ca-certificates"} <= packages
    for package in packages:
        assert f"Package: {package}\n" in (root / "var/lib/dpkg/status.d" / package).read_text()
        assert (root / "usr/share/doc" / package / "copyright").stat().st_size > 0


@pytest.fixture
def service(postgres: Postgres) -> dict[str, str]:
    """The variables of a service on Railway, and an app's port that is free on this machine."""
    return QUICKLY | {
        "PORT": str(free_port()),
        "SIDEPULSE_APP_PORT": str(free_port()),
        "DATABASE_URL": postgres.url(),
        "ENVIRONMENT": "test",
    }


def test_the_app_behind_sidepulse(contain: Callable[..., Container], service: dict[str, str]) -> None:
    container = contain(APP, "host", **service)
    container.wait_until_healthy()  # /readyz: the app and the database are well
    expect_first_and_without_rights(container)
    # $PORT of the command is the app's, PORT of the service is sidepulse's.
    ready = httpx.get(f"http://127.0.0.1:{service['PORT']}/readyz", timeout=10)
    assert (ready.status_code, ready.headers["server"]) == (200, "sidepulse")
    app = httpx.get(f"http://127.0.0.1:{service['SIDEPULSE_APP_PORT']}/", timeout=10)
    assert (app.status_code, app.headers["server"]) == (200, "uvicorn")

    children = Path(f"/proc/{container.state()['Pid']}/task/{container.state()['Pid']}/children").read_text()
    (child,) = children.split()
    assert f"\nUid:\t{USER}\t" in Path(f"/proc/{child}/status").read_text()

    assert container.stop() in (0, 143), container.log()
    log = container.log()
    assert "Application shutdown complete" in log and "Read-only file system" not in log, log


def test_the_app_is_unhealthy_without_its_database(
    contain: Callable[..., Container], service: dict[str, str]
) -> None:
    container = contain(
        APP, "host", **service | {"DATABASE_URL": f"postgresql://u:p@127.0.0.1:{free_port()}/d"}
    )
    wait_until(lambda: "Application startup complete" in container.log(), SOON, "the app runs")
    assert not container.is_healthy()


@pytest.mark.parametrize("image", [SIDECAR, APP])
def test_nothing_of_the_build_is_in_it(image: str, root_of: Callable[[str], Path]) -> None:
    """No toolchain, no sources, nothing of what was mounted, and nothing that its user may write."""
    root = root_of(image)
    for folder in ("build", "opt", "srv", "mnt", "usr/local/cargo"):
        assert not any((root / folder).glob("*")), folder
    for folder in ("usr/bin", "usr/local/bin"):
        assert not {"cc", "cargo", "rustc"} & {path.name for path in (root / folder).glob("*")}
    assert [path for path in root.rglob("*") if path.lstat().st_uid == int(USER)] == []
