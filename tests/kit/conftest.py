import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BACKEND = Path(__file__).parents[2] / "deploy/backend"
sys.path.insert(0, str(BACKEND / "tests"))  # servers.py: the real PostgreSQL and the app under uvicorn

# The machine's environment is not part of the tests.
for name in list(os.environ):
    if name.startswith(("PG", "RAILWAY_")) or name in ("DATABASE_URL", "JWT_SECRET", "CORS_ORIGINS", "PORT"):
        del os.environ[name]

from programs import Program, Sidecar, run, tool  # noqa: E402
from servers import App, Postgres  # noqa: E402

KIT = Path(__file__).parent


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    cluster = Postgres()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        cluster.remove()


@pytest.fixture(scope="session")
def app(postgres: Postgres) -> Iterator[str]:
    """The address of an app whose own database check passes."""
    process = App({"DATABASE_URL": postgres.url(), "ENVIRONMENT": "test"})
    try:
        yield process.wait_until_running()
    finally:
        process.kill()


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Starts a program that ends with the test: `start(Sidecar, …)`."""
    programs: list[Program] = []

    def start_one(kind: type[Program], *arguments: object, **more: object) -> Program:
        programs.append(kind(*arguments, **more))
        return programs[-1]

    yield start_one
    for program in reversed(programs):
        program.stop()


@pytest.fixture
def well(start: Callable[..., Program], app: str, postgres: Postgres) -> Sidecar:
    """A sidecar for which both the app and the database pass."""
    sidecar = start(Sidecar, SIDEPULSE_APP_URL=f"{app}/", DATABASE_URL=postgres.url())
    sidecar.wait_until_answers("/health", 200)
    return sidecar


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The npm packages of package.json, installed once."""
    if not (KIT / "node_modules/.package-lock.json").exists():
        run(tool("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=KIT)
    return KIT / "node_modules"
