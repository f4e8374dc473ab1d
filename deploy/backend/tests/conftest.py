import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx
import pytest
from fastapi import FastAPI
from servers import App, PgBouncer, Postgres

# Before main is imported: the machine's environment is not part of the tests.
for name in list(os.environ):
    if name.startswith("PG") or name in ("DATABASE_URL", "JWT_SECRET", "ENVIRONMENT", "CORS_ORIGINS", "PORT"):
        del os.environ[name]

from main import create_app  # noqa: E402
from security import create_token  # noqa: E402
from settings import decide_settings  # noqa: E402

JWT_SECRET = "a-secret-of-the-tests-with-enough-characters"


async def eventually(condition: Callable[[], Awaitable[object]], within: float = 10) -> None:
    """Waits for the event itself; fails when it does not come."""
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.02)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Postgres]:
    postgres = Postgres()
    try:
        postgres.start()
        yield postgres
    finally:
        postgres.stop()
        postgres.remove()


@pytest.fixture(scope="session")
def pooler(cluster: Postgres) -> Iterator[PgBouncer]:
    pgbouncer = PgBouncer(cluster)
    try:
        pgbouncer.start()
        yield pgbouncer
    finally:
        pgbouncer.stop()
        pgbouncer.remove()


@pytest.fixture
def postgres(cluster: Postgres) -> Iterator[Postgres]:
    """The server, restored after whatever the test did to it."""
    yield cluster
    cluster.thaw()
    if cluster.process is None:
        cluster.start()


_numbers = itertools.count(1)


@pytest.fixture
async def database(postgres: Postgres) -> str:
    """The name of a new, empty database."""
    name = f"test_{next(_numbers)}"
    await postgres.execute(f"CREATE DATABASE {name}")
    return name


@pytest.fixture
async def make_app() -> AsyncIterator[Callable[[str], FastAPI]]:
    """Makes the app within the test's own process, so that its state can be seen."""
    apps: list[FastAPI] = []

    def make(database_url: str, **values: str) -> FastAPI:
        settings = decide_settings(database_url=database_url, jwt_secret=JWT_SECRET, port=8000, **values)
        apps.append(create_app(settings))
        return apps[-1]

    yield make
    for app in apps:
        await app.state.database_check.close()
        await app.state.database.close()


@pytest.fixture
def run_app() -> Iterator[Callable[..., App]]:
    """Runs the app under a real uvicorn."""
    apps: list[App] = []

    def run(command: tuple[str, ...] = App.UVICORN, **environment: str) -> App:
        apps.append(App({"JWT_SECRET": JWT_SECRET} | environment, command))
        return apps[-1]

    yield run
    for app in apps:
        app.kill()


@pytest.fixture
def client_of() -> Callable[[FastAPI], httpx.AsyncClient]:
    def client(app: FastAPI) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app", timeout=30)

    return client


@pytest.fixture
def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {create_token('alice', JWT_SECRET)}"}
