"""/health: bounded in time, one check for all requests, and never at the cost of the pool."""

import asyncio
import time

import httpx
import pytest
from conftest import eventually
from servers import free_port

from diagnosis import DatabaseUnavailable
from health import HEALTH_LIMIT_S, SharedCheck

BOUND = HEALTH_LIMIT_S + 1  # what a busy machine may add
PASS = {"status": "pass", "checks": {"shallow": {"status": "pass"}, "deep": {"status": "pass"}}}


def fail(reason: str) -> dict[str, object]:
    deep = {"status": "fail", "reason": reason}
    return {"status": "fail", "checks": {"shallow": {"status": "pass"}, "deep": deep}}


@pytest.fixture
def dead_url() -> str:
    return f"postgresql://user:hunter2@127.0.0.1:{free_port()}/app"


async def test_all_is_well(postgres, database, make_app, client_of):
    async with client_of(make_app(postgres.url(database))) as client:
        answer = await client.get("/health")
        assert (answer.status_code, answer.json()) == (200, PASS)
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/health/shallow"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])  # some uptime monitors know only HEAD
async def test_shallow_needs_no_database(make_app, client_of, dead_url, path, method):
    app = make_app(dead_url)
    async with client_of(app) as client:
        assert (await client.request(method, path)).status_code == 200
    assert app.state.database.engine.pool.checkedin() == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda url: url.replace("correct-horse", "wrong"), "auth_failed"),
        (lambda url: url.replace("test_", "missing_"), "database_missing"),
        (lambda url: f"postgresql://u:hunter2@127.0.0.1:{free_port()}/app", "connect_refused"),
        (lambda url: f"postgresql://u:hunter2@localhost:{free_port()}/app", "connect_refused"),
        (lambda url: "postgresql://u:hunter2@nowhere.invalid/app", "dns_failure"),
        (lambda url: "postgresql://u:hunter2@/app?host=/nowhere", "connect_refused"),
    ],
)
async def test_a_failure_is_one_word(postgres, database, make_app, client_of, change, reason):
    async with client_of(make_app(change(postgres.url(database)))) as client:
        for method in ("GET", "HEAD"):
            answer = await client.request(method, "/health")
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
        assert (await client.get("/health")).json() == fail(reason)
        notes = await client.get("/notes")
        assert (notes.status_code, notes.json()["reason"]) == (503, reason)
        assert int(notes.headers["retry-after"]) > 0


async def test_a_database_that_is_down_at_start(postgres, database, run_app, bearer):
    postgres.stop()
    app = run_app(DATABASE_URL=postgres.url(database))
    async with httpx.AsyncClient(base_url=app.wait_until_running(), timeout=20) as client:
        assert (await client.get("/health")).json() == fail("connect_refused")
        assert (await client.get("/notes")).status_code == 503
        assert (await client.get("/")).status_code == 200
        postgres.start()
        assert (await client.get("/health")).json() == PASS
        created = await client.post("/notes", json={"text": "up"}, headers=bearer)
        assert created.status_code == 201
        postgres.stop()
        assert (await client.get("/notes")).status_code == 503
        postgres.start()
        assert [note["text"] for note in (await client.get("/notes")).json()] == ["up"]
    app.stop()
    assert "database unavailable: connect_refused" in app.output
    assert "database available again" in app.output
    assert "Traceback" not in app.output and "correct-horse" not in app.output


async def test_a_frozen_database(postgres, database, run_app):
    app = run_app(DATABASE_URL=postgres.url(database))
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=app.wait_until_running(), timeout=20, limits=limits) as client:
        await asyncio.gather(*(client.get("/notes") for _ in range(10)))
        postgres.freeze()

        async def probe() -> float:
            began = time.monotonic()
            answer = await client.get("/health")
            assert (answer.status_code, answer.json()) == (503, fail("timeout"))
            return time.monotonic() - began

        async def shallow() -> float:
            began = time.monotonic()
            assert (await client.get("/health/shallow")).status_code == 200
            return time.monotonic() - began

        probes = asyncio.gather(*(probe() for _ in range(30)))
        while not probes.done():
            assert await shallow() < 0.5
            await asyncio.wait([probes], timeout=0.1)
        assert max(await probes) < BOUND
        assert max(await asyncio.gather(*(probe() for _ in range(30)))) < BOUND

        postgres.thaw()
        began = time.monotonic()
        assert (await client.get("/notes")).status_code == 200
        assert time.monotonic() - began < 1

        async def well() -> bool:
            return (await client.get("/health")).json() == PASS

        await eventually(well, within=BOUND)
        answers = await asyncio.gather(*(client.get("/notes") for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}


async def test_a_frozen_database_costs_the_pool_nothing(postgres, database, make_app, client_of):
    app = make_app(postgres.url(database))
    pool = app.state.database.engine.pool
    async with client_of(app) as client:
        await client.get("/notes")
        postgres.freeze()
        probes = asyncio.gather(*(client.get("/health") for _ in range(30)))
        while not probes.done():
            assert pool.checkedout() <= 1
            await asyncio.wait([probes], timeout=0.05)

        async def all_back() -> bool:
            return pool.checkedout() == 0

        await eventually(all_back, within=2)
        postgres.thaw()
        assert (await client.get("/notes")).status_code == 200


async def test_stopping_does_not_wait_for_a_frozen_database(postgres, database, run_app):
    app = run_app(DATABASE_URL=postgres.url(database))
    async with httpx.AsyncClient(base_url=app.wait_until_running(), timeout=20) as client:
        await asyncio.gather(*(client.get("/notes") for _ in range(10)))
        postgres.freeze()
        began = time.monotonic()
        app.process.terminate()
        assert await asyncio.to_thread(app.wait) == -15
        assert time.monotonic() - began < 6
    assert "Application shutdown complete" in app.output
    assert "Traceback" not in app.output


class Gate:
    """A check that ends when the test says so."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = 0
        self.open = asyncio.Event()

    async def __call__(self) -> None:
        self.runs += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def test_requests_at_the_same_time_share_one_check():
    gate = Gate()
    check = SharedCheck(gate)
    askers = [asyncio.create_task(check.reason()) for _ in range(30)]
    await asyncio.wait(askers, timeout=0)
    gate.open.set()
    assert set(await asyncio.gather(*askers)) == {None}
    assert gate.runs == 1
    assert await check.reason() is None
    assert gate.runs == 2


async def test_a_client_that_disconnects_cancels_nothing():
    gate = Gate()
    check = SharedCheck(gate)
    first, second = (asyncio.create_task(check.reason()) for _ in range(2))
    await asyncio.wait([first, second], timeout=0)
    first.cancel()
    await asyncio.wait([first])
    gate.open.set()
    assert await second is None
    assert (gate.runs, gate.cancelled) == (1, 0)


async def test_the_verdict_does_not_wait_for_a_check_that_ends_slowly():
    """Until that check has ended no other begins; requests that arrive meanwhile are answered at once."""
    done = asyncio.Event()
    runs = []

    async def stubborn() -> None:
        runs.append(1)
        try:
            await asyncio.Event().wait()
        finally:
            await done.wait()

    check = SharedCheck(stubborn, limit=0.05)
    async with asyncio.timeout(2):
        assert await check.reason() == "timeout"
        assert await check.reason() == "timeout"
        assert len(runs) == 1
        done.set()

        async def another() -> bool:
            return await check.reason() == "timeout" and len(runs) == 2

        await eventually(another)
        await check.close()


@pytest.mark.parametrize(
    ("error", "reason"), [(DatabaseUnavailable("auth_failed"), "auth_failed"), (RuntimeError(), "internal")]
)
async def test_a_check_that_fails_can_pass_the_next_time(error, reason):
    outcomes = [error, None]

    async def check() -> None:
        if outcome := outcomes.pop(0):
            raise outcome

    shared = SharedCheck(check)
    assert await shared.reason() == reason
    assert await shared.reason() is None


async def test_closing_answers_the_requests_that_still_wait():
    check = SharedCheck(Gate())
    asker = asyncio.create_task(check.reason())
    await asyncio.wait([asker], timeout=0)
    await check.close()
    assert await asker == "internal"
