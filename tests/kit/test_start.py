"""Every start command we ship, actually run: by honcho, by a shell, and as a list without a shell."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import yaml

from programs import ROOT, SIDEPULSE, SOON, TOKEN, Program
from servers import BACKEND, Postgres, free_port, wait_until

PROCFILE = (ROOT / "Procfile").read_text()
IMAGE = json.loads(re.findall(r"^CMD (.+)", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)[-1])
RAILWAY = re.findall(r'^ +start: "(.+)",', (ROOT / "deploy/railway.ts").read_text(), re.MULTILINE)


@pytest.fixture
def container(postgres: Postgres, tmp_path: Path) -> dict[str, str]:
    """The environment in a container: sidepulse and uvicorn on the path, the variables of a service."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sidepulse").symlink_to(SIDEPULSE)
    return {
        "PATH": os.pathsep.join(
            [str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        "PORT": str(free_port()),
        "SIDEPULSE_APP_PORT": str(free_port()),
        "SIDEPULSE_TOKEN": TOKEN,
        "DATABASE_URL": postgres.url(),
        "ENVIRONMENT": "test",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def honcho(
    start: Callable[..., Program], container: dict[str, str], tmp_path: Path
) -> Callable[[str], Program]:
    def run(procfile: str) -> Program:
        (tmp_path / "Procfile").write_text(procfile)
        command = (sys.executable, "-m", "honcho", "--no-colour", "-f", tmp_path / "Procfile", "-d", ROOT)
        return start(Program, *command, "start", environment=container)

    return run


def status(port: str, path: str = "/") -> int | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code
    except httpx.TransportError:
        return None


def ping(container: dict[str, str]) -> int:
    return subprocess.run([SIDEPULSE, "ping"], env=container, stdin=subprocess.DEVNULL, timeout=20).returncode


def expect_life_and_clean_end(program: Program, container: dict[str, str]) -> None:
    sidecar, app = container["PORT"], container["SIDEPULSE_APP_PORT"]

    def well() -> bool:
        assert program.process.poll() is None, program.output
        return status(sidecar, "/health") == 200

    wait_until(well, SOON, "/health answers 200")
    assert httpx.get(f"http://127.0.0.1:{sidecar}/readyz").headers["server"] == "sidepulse"
    assert httpx.get(f"http://127.0.0.1:{app}/").headers["server"] == "uvicorn"
    assert ping(container) == 0
    program.stop()
    assert "Application shutdown complete" in program.output
    assert (status(sidecar), status(app), ping(container)) == (None, None, 1)


def test_the_procfile_gives_sidepulse_the_port_and_the_app_another(
    honcho: Callable[[str], Program], container: dict[str, str]
) -> None:
    expect_life_and_clean_end(honcho(PROCFILE), container)


def test_the_image_s_command_needs_no_shell(start: Callable[..., Program], container: dict[str, str]) -> None:
    assert "$PORT" in IMAGE
    program = start(
        Program,
        container["PATH"].split(":")[0] + "/sidepulse",
        *IMAGE[1:],
        environment=container,
        cwd=BACKEND,
    )
    expect_life_and_clean_end(program, container)
    assert program.process.returncode in (0, 143)  # what Railway considers a clean stop


def test_railway_s_command_survives_a_shell(start: Callable[..., Program], container: dict[str, str]) -> None:
    (command,) = RAILWAY
    program = start(Program, "sh", "-c", f"exec {command}", environment=container, cwd=BACKEND)
    expect_life_and_clean_end(program, container)


def test_without_the_quotes_it_refuses_to_fight_for_the_port(
    start: Callable[..., Program], container: dict[str, str]
) -> None:
    (command,) = RAILWAY
    unquoted = command.replace("'", "")
    program = start(Program, "sh", "-c", f"exec {unquoted}", environment=container, cwd=BACKEND)
    assert program.wait() == 2, program.output
    assert "$PORT" in program.output


def test_two_processes_name_both_ports(honcho: Callable[[str], Program], container: dict[str, str]) -> None:
    comments = [line.removeprefix("# ") for line in PROCFILE.splitlines() if line.startswith("# ")]
    lines = "\n".join(line for line in comments if line.startswith(("web:", "health:")))
    assert "8000" in lines and "9900" in lines
    lines = lines.replace("8000", container["SIDEPULSE_APP_PORT"]).replace("9900", container["PORT"])
    expect_life_and_clean_end(honcho(lines), container)


def test_railpack_reads_a_procfile_as_yaml() -> None:
    processes = yaml.safe_load(PROCFILE)
    assert list(processes) == ["web"]
    assert f"web: {processes['web']}\n" in PROCFILE
