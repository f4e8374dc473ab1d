"""deploy/Dockerfile: linted; what it copies exists and reaches the build; no stage runs as root."""

import json
import re
import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from programs import ROOT, run

DOCKERFILE = ROOT / "deploy/Dockerfile"
INSTRUCTIONS = DOCKERFILE.read_text().replace("\\\n", " ").splitlines()
COPIES = [line.split()[1:] for line in INSTRUCTIONS if line.startswith("COPY ")]
SOURCES = [source for words in COPIES if not words[0].startswith("--from=") for source in words[:-1]]


def instructions(name: str) -> list[str]:
    return [line.removeprefix(f"{name} ") for line in INSTRUCTIONS if line.startswith(f"{name} ")]


def ignored(path: str) -> bool:
    """As .dockerignore reads: the last pattern that matches the path or a folder above it decides."""
    above = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!")
            anywhere = pattern.removeprefix("**/")
            parts = above if anywhere == pattern else [Path(part).name for part in above]
            if any(fnmatch(part, anywhere) for part in parts):
                verdict = not line.startswith("!")
    return verdict


def test_hadolint_has_nothing_to_say() -> None:
    assert run(Path(sys.executable).with_name("hadolint"), "--no-color", DOCKERFILE) == ""


@pytest.mark.parametrize("source", SOURCES)
def test_what_it_copies_exists_and_is_sent(source: str) -> None:
    assert (ROOT / source).exists()
    assert not ignored(source)


def test_nothing_else_is_sent() -> None:
    for path in ("target/debug/sidepulse", ".git/config", ".cache/venv", "deploy/railway.ts", "README.md"):
        assert ignored(path), path
    for path in ("deploy/backend/tests/conftest.py", "deploy/backend/__pycache__/main.pyc"):
        assert ignored(path), path
    assert not ignored("deploy/backend/main.py") and not ignored("src/http/page.html")


def test_cargo_finds_all_it_names_in_what_is_copied(tmp_path: Path) -> None:
    for name in ("Cargo.toml", "Cargo.lock"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")
    run("cargo", "metadata", "--format-version=1", "--no-deps", "--offline", "--locked", cwd=tmp_path)


def test_every_stage_that_runs_is_not_root_by_number_and_asks_after_itself() -> None:
    stages = re.split(r"^FROM .* AS ", "\n".join(INSTRUCTIONS), flags=re.MULTILINE)[1:]
    # Railway builds the last one.
    assert [stage.split()[0] for stage in stages] == ["build", "files", "sidecar", "app"]
    for stage in stages[2:]:
        assert re.search(r"^USER [1-9][0-9]*:[1-9][0-9]*$", stage, re.MULTILINE)
        assert re.search(r'^HEALTHCHECK .* CMD \["sidepulse", "ping"', stage, re.MULTILINE)


def test_commands_are_lists_since_there_is_no_shell_to_pass_signals_on() -> None:
    for command in [*instructions("CMD"), *instructions("ENTRYPOINT")]:
        assert isinstance(json.loads(command), list)


def test_the_compiler_is_new_enough() -> None:
    version = re.search(r"^FROM rust:1\.([0-9]+)-", DOCKERFILE.read_text(), re.MULTILINE)
    required = re.search(r'^rust-version = "1\.([0-9]+)', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert version and required and int(version[1]) >= int(required[1])
