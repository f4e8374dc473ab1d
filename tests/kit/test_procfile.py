"""The Procfile at the root, run by a real honcho: the one-process form, and the other one in its comment."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from programs import ROOT, SIDEPULSE, SOON, TOKEN, Program
from servers import Postgres, free_port, wait_until

PROCFILE = (ROOT / "Procfile").read_text()


@pytest.fixture
def honcho(start: Callable[..., Program], postgres: Postgres, tmp_path: Path) -> Callable[..., Program]:
    """Runs this Procfile in the repository, with sidepulse and uvicorn on the path."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sidepulse").symlink_to(SIDEPULSE)
    path = [str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]

    def run(procfile: str, **variables: object) -> Program:
        (tmp_path / "Procfile").write_text(procfile)
        environment = {
            "PATH": os.pathsep.join(path),
            "DATABASE_URL": postgres.url(),
            "ENVIRONMENT": "test",
            "SIDEPULSE_TOKEN": TOKEN,
            "PYTHONDONTWRITEBYTECODE": "1",
        } | {name: str(value) for name, value in variables.items()}
        command = (sys.executable, "-m", "honcho", "--no-colour", "-f", tmp_path / "Procfile")
        return start(Program, *command, "-d", ROOT, "start", environment=environment)

    return run


def status(url: str) -> int | None:
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.TransportError:
        return None


def expect_both(program: Program, sidecar: int, app: int) -> None:
    def well() -> bool:
        assert program.process.poll() is None, program.output
        return status(f"http://127.0.0.1:{sidecar}/health") == 200

    wait_until(well, SOON, "/health answers 200")
    assert httpx.get(f"http://127.0.0.1:{sidecar}/readyz").headers["server"] == "sidepulse"
    assert httpx.get(f"http://127.0.0.1:{app}/").headers["server"] == "uvicorn"


def expect_none_left(program: Program, *ports: int) -> None:
    program.stop()
    assert "Application shutdown complete" in program.output
    assert [status(f"http://127.0.0.1:{port}/") for port in ports] == [None] * len(ports)


def test_one_process_gives_railway_its_port_and_the_app_another(honcho: Callable[..., Program]) -> None:
    port, app_port = free_port(), free_port()
    program = honcho(PROCFILE, PORT=port, SIDEPULSE_APP_PORT=app_port)
    expect_both(program, port, app_port)
    expect_none_left(program, port, app_port)


def test_without_the_quotes_it_refuses_to_fight_for_the_port(honcho: Callable[..., Program]) -> None:
    unquoted = PROCFILE.replace("sh -c 'cd deploy/backend && exec ", "").replace("$PORT'", "$PORT")
    assert "run -- uvicorn main:app" in unquoted
    program = honcho(unquoted, PORT=free_port())
    assert program.wait() == 2, program.output
    assert "$PORT" in program.output


def test_two_processes_name_both_ports(honcho: Callable[..., Program]) -> None:
    comments = [line.removeprefix("# ") for line in PROCFILE.splitlines() if line.startswith("# ")]
    lines = [line for line in comments if line.startswith(("web:", "health:"))]
    assert len(lines) == 2
    port, app_port = free_port(), free_port()
    procfile = "\n".join(lines).replace("8000", str(app_port)).replace("9900", str(port))
    program = honcho(procfile)
    expect_both(program, port, app_port)
    expect_none_left(program, port, app_port)
