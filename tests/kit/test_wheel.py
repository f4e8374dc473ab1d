"""deploy/wheel, built by maturin, installed into a fresh environment and run."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from programs import ROOT, SIDEPULSE, run
from servers import free_port

WHEEL = ROOT / "deploy/wheel"
CARGO = tomllib.loads((ROOT / "Cargo.toml").read_text())
VERSION = CARGO["package"]["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As published, but for two things that take minutes: the release profile and OpenSSL from source."""
    out = tmp_path_factory.mktemp("wheel")
    profile = SIDEPULSE.parent.name
    run(
        sys.executable, "-m", "maturin", "build", "--locked", "--auditwheel", "skip",
        "--profile", "dev" if profile == "debug" else profile, "--out", out,
        cwd=WHEEL,
    )  # fmt: skip
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, where pip has put it."""
    environment = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin/python")
    run(*pip, "install", "--no-index", "--no-cache-dir", wheel)
    return environment / "bin/sidepulse"


def test_fits_any_python_and_carries_the_licences(wheel: Path) -> None:
    assert wheel.name.startswith(f"sidepulse-{VERSION}-py3-none-")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(f"sidepulse-{VERSION}.dist-info/METADATA").decode()
    assert f"sidepulse-{VERSION}.data/scripts/sidepulse" in names
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE", "LICENSE-OpenSSL"}
    assert f"Summary: {CARGO['package']['description']}" in metadata
    assert "Requires-Dist" not in metadata


def test_runs_where_it_was_installed(installed: Path) -> None:
    assert run(installed, "--version") == f"sidepulse {VERSION}\n"


def test_ping_without_a_daemon_fails(installed: Path) -> None:
    ping = [installed, "ping", "--listen", f"127.0.0.1:{free_port()}"]
    assert subprocess.run(ping, stdin=subprocess.DEVNULL, timeout=20).returncode == 1


def test_the_documented_build_is_one_that_cargo_knows() -> None:
    text = (WHEEL / "README.md").read_text()
    assert f"sidepulse=={VERSION}" in text
    assert "--features vendored-openssl" in (WHEEL / "build").read_text()
    assert CARGO.get("features", {}).get("vendored-openssl") == ["native-tls/vendored"]
