"""The engine against a real PostgreSQL: dropped connections, limits, TLS, tables."""

import asyncio
import itertools
import json
from pathlib import Path

import pytest
import trustme
from conftest import eventually
from sqlalchemy import text

import database as database_module
from diagnosis import DatabaseUnavailable


def drop_all(name: str) -> str:
    return f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"


async def sessions(postgres, name: str) -> int:
    rows = await postgres.execute(f"SELECT FROM pg_stat_activity WHERE datname = '{name}'")
    return len(rows)


async def test_dropped_connections_are_replaced(postgres, database, make_app, client_of):
    async with client_of(make_app(postgres.url(database))) as client:
        answers = await asyncio.gather(*(client.get("/notes") for _ in range(5)))
        assert {answer.status_code for answer in answers} == {200}
        for path in ("/notes", "/health", "/notes"):
            await postgres.execute(drop_all(database))
            assert (await client.get(path)).status_code == 200


async def test_a_read_is_repeated_when_the_connection_drops_meanwhile(postgres, database, make_app):
    """What the pre-ping cannot see: the connection drops between the ping and the statement."""
    engine = make_app(postgres.url(database)).state.database
    pids = []

    async with engine.session() as session:

        async def read() -> int:
            pids.append((await session.exec(text("SELECT pg_backend_pid()"))).scalar_one())
            if len(pids) == 1:
                await postgres.execute(drop_all(database))
            return (await session.exec(text("SELECT 41 + 1"))).scalar_one()

        assert await database_module.read_again(session, read) == 42
    assert len(set(pids)) == 2


async def test_other_failures_are_not_repeated(postgres, database, make_app):
    engine = make_app(postgres.url(database)).state.database
    attempts = []

    async with engine.session() as session:

        async def read() -> None:
            attempts.append(1)
            await session.exec(text("SET statement_timeout = 50"))
            await session.exec(text("SELECT pg_sleep(10)"))

        with pytest.raises(DatabaseUnavailable) as raised:
            await database_module.read_again(session, read)
    assert raised.value.reason == "query_timeout"
    assert len(attempts) == 1


async def test_an_error_in_the_statement_stays_one(postgres, database, make_app):
    """503 would say: try later. It will be no better then."""
    engine = make_app(postgres.url(database)).state.database
    async with engine.session() as session:
        with pytest.raises(Exception, match='"nothing" does not exist'):
            await session.exec(text("SELECT * FROM nothing"))
        await session.rollback()
        assert (await session.exec(text("SELECT 1"))).scalar_one() == 1


async def test_a_statement_has_a_limit(postgres, database, make_app, monkeypatch):
    monkeypatch.setattr(database_module, "COMMAND_TIMEOUT_S", 0.3)
    engine = make_app(postgres.url(database)).state.database
    async with engine.session() as session:
        with pytest.raises(DatabaseUnavailable) as raised:
            await session.exec(text("SELECT pg_sleep(60)"))
    assert raised.value.reason == "query_timeout"
    assert engine.engine.pool.checkedout() == 0


async def test_the_pool_has_a_limit(postgres, database, make_app, client_of, monkeypatch):
    """At most 20 sessions a container; further requests get an error that says so."""
    monkeypatch.setattr(database_module, "POOL_TIMEOUT_S", 0.2)
    limit = database_module.POOL_SIZE + database_module.MAX_OVERFLOW
    assert limit <= 20
    app = make_app(postgres.url(database))
    async with client_of(app) as client, asyncio.timeout(20):
        assert (await client.get("/notes")).status_code == 200
        engine = app.state.database.engine
        held = [await engine.connect() for _ in range(limit)]
        assert await sessions(postgres, database) == limit
        late = await client.get("/notes")
        assert (late.status_code, late.json()["reason"]) == (503, "pool_exhausted")
        assert int(late.headers["retry-after"]) > 0
        for connection in held:
            await connection.close()
        assert (await client.get("/notes")).status_code == 200
        assert engine.pool.checkedout() == 0


async def test_the_connection_is_back_before_the_answer_leaves(postgres, database, make_app):
    """However slowly a client reads its answer, it holds no connection meanwhile."""
    app = make_app(postgres.url(database))
    held = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        held.append(app.state.database.engine.pool.checkedout())

    scope = {
        "type": "http", "method": "GET", "path": "/notes", "raw_path": b"/notes", "query_string": b"",
        "headers": [], "client": None, "server": None, "scheme": "http", "http_version": "1.1",
    }  # fmt: skip
    await app(scope, receive, send)
    assert held == [0, 0]


async def test_a_cancelled_request_returns_its_connection(postgres, database, make_app):
    engine = make_app(postgres.url(database)).state.database

    async def work() -> None:
        async with engine.session() as session:
            await session.exec(text("SELECT pg_sleep(60)"))

    async def is_sleeping() -> bool:
        return bool(await postgres.execute("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))

    task = asyncio.create_task(work())
    await eventually(is_sleeping)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.engine.pool.checkedout() == 0


async def test_a_session_left_in_a_transaction_is_ended(postgres, database, make_app, client_of, monkeypatch):
    monkeypatch.setattr(database_module, "IDLE_IN_TRANSACTION_TIMEOUT_S", 0.2)
    app = make_app(postgres.url(database))
    async with client_of(app) as client, app.state.database.engine.connect() as forgotten:
        await forgotten.execute(text("SELECT 1"))

        async def gone() -> bool:
            return await sessions(postgres, database) == 0

        await eventually(gone)
        with pytest.raises(DatabaseUnavailable) as raised:
            await forgotten.execute(text("SELECT 1"))
        assert raised.value.reason == "connection_lost"
        assert (await client.get("/notes")).status_code == 200


async def test_the_limit_of_idle_transactions_is_a_minute(postgres, database, make_app):
    assert await idle_limit(make_app(postgres.url(database))) == "1min"


async def test_a_poolers_sessions_keep_their_settings(pooler, database, make_app):
    """The host name does not show the pooler: the setting would stay with a session that the next client
    gets."""
    apps = [make_app(pooler.url(database, "?prepared_statement_cache_size=0")) for _ in range(6)]
    assert await asyncio.gather(*(idle_limit(app) for app in apps)) == ["0"] * 6


async def test_a_server_that_refuses_the_limit_is_used_all_the_same(postgres, database, make_app):
    await postgres.execute("REVOKE EXECUTE ON FUNCTION set_config FROM PUBLIC", database)
    await postgres.execute("CREATE ROLE bound LOGIN PASSWORD 'p'", database)
    assert (
        await idle_limit(make_app(postgres.url(database).replace("postgres:correct-horse", "bound:p"))) == "0"
    )


async def idle_limit(app) -> str:
    async with app.state.database.engine.connect() as connection:
        return (await connection.execute(text("SHOW idle_in_transaction_session_timeout"))).scalar_one()


def spellings_of_passwords() -> list[dict]:
    rows = json.loads((Path(__file__).parents[3] / "tests" / "urls.json").read_text(encoding="utf-8"))["rows"]
    behind = itertools.dropwhile(lambda row: row != "Characters in the password", rows)
    return list(itertools.takewhile(lambda row: isinstance(row, dict), itertools.islice(behind, 1, None)))


async def test_every_spelling_of_a_password_logs_in(postgres, make_app):
    """As the user (u by default) and with the password of the row."""
    rows = spellings_of_passwords()
    assert len(rows) > 20
    for name in {row.get("database", "d") for row in rows}:
        await postgres.execute(f'CREATE DATABASE "{name}"')
    for row in rows:
        user, password = row.get("user", "u"), row.get("password", "p").replace("'", "''")
        await postgres.execute(f"CREATE ROLE \"{user}\" LOGIN PASSWORD '{password}'")
        engine = make_app(row["url"].replace("@h/", f"@127.0.0.1:{postgres.port}/")).state.database
        await engine.ping()
        await engine.close()
        await postgres.execute(f'DROP ROLE "{user}"')


async def test_closing_leaves_no_session(postgres, database, make_app, client_of):
    app = make_app(postgres.url(database))
    await client_of(app).get("/notes")
    assert await sessions(postgres, database) == 1
    await app.state.database.close()

    async def gone() -> bool:
        return await sessions(postgres, database) == 0

    await eventually(gone)


async def test_replicas_may_make_the_tables_at_once(postgres, database, make_app, client_of):
    apps = [make_app(postgres.url(database)) for _ in range(4)]
    answers = await asyncio.gather(*(client_of(app).get("/notes") for app in apps for _ in range(3)))
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize(
    ("host", "query", "reason"),
    [
        ("localhost", "?sslmode=verify-full&sslrootcert=ROOT", None),
        ("127.0.0.1", "?sslmode=verify-full&sslrootcert=ROOT", "tls_untrusted"),
        ("127.0.0.1", "?sslmode=verify-ca&sslrootcert=ROOT", None),
        ("127.0.0.1", "?sslmode=require&sslrootcert=ROOT", None),
        ("localhost", "?sslmode=verify-full", "tls_untrusted"),
        ("127.0.0.1", "?sslmode=require", None),
        ("127.0.0.1", "", None),
        ("127.0.0.1", "?sslmode=disable", None),
        ("127.0.0.1", "?sslrootcert=ROOT", None),
        ("127.0.0.1", "?sslrootcert=OTHER", "tls_untrusted"),  # not plaintext, although prefer
        ("db.example.com", "?hostaddr=127.0.0.1&sslmode=require", None),
        ("localhost", "?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=ROOT", None),
        ("db.example.com", "?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=ROOT", "tls_untrusted"),
        ("LOCALHOST", "?sslmode=verify-full&sslrootcert=ROOT", None),
        ("localhost", "?sslcert=CERT&sslkey=KEY&sslmode=verify-full&sslrootcert=ROOT", None),
    ],
)
async def test_tls(postgres, make_app, tmp_path, host, query, reason):
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    client = postgres.authority.issue_cert("client.example")
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    client.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    files = {
        "ROOT": postgres.root_file,
        "OTHER": other,
        "CERT": tmp_path / "client.pem",
        "KEY": tmp_path / "client.key",
    }
    for name, path in files.items():
        query = query.replace(name, str(path))
    url = postgres.url(host=host, query=query)
    engine = make_app(url).state.database
    if reason is None:
        async with engine.engine.connect() as connection:
            encrypted = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            assert (await connection.execute(encrypted)).scalar_one() is ("disable" not in query)
    else:
        with pytest.raises(DatabaseUnavailable) as raised:
            await engine.ping()
        assert raised.value.reason == reason


async def test_a_neon_host_is_verified_whatever_the_url_says(postgres, make_app, monkeypatch):
    """The name leads to a server with another certificate: no password is sent to it."""
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo

    async def to_us(host, *arguments, **keywords):
        assert host == "ep-cool-1.eu-central-1.aws.neon.tech"
        return await resolve("127.0.0.1", *arguments, **keywords)

    monkeypatch.setattr(loop, "getaddrinfo", to_us)
    for query in ("?sslmode=require", "?sslmode=disable", f"?sslrootcert={postgres.root_file}", ""):
        url = postgres.url(host="ep-cool-1.eu-central-1.aws.neon.tech", query=query)
        with pytest.raises(DatabaseUnavailable) as raised:
            await make_app(url).state.database.ping()
        assert raised.value.reason == "tls_untrusted"


async def test_through_a_transaction_pooler(pooler, database, make_app, client_of, bearer):
    """Thirty clients on four server sessions: each statement may land on any of them."""
    app = make_app(pooler.url(database, "?prepared_statement_cache_size=0"))
    async with client_of(app) as client:
        answers = await asyncio.gather(
            *(client.get("/health") for _ in range(30)),
            *(client.get("/notes") for _ in range(60)),
            *(client.post("/notes", json={"text": "hi"}, headers=bearer) for _ in range(60)),
        )
        assert {answer.status_code for answer in answers} == {200, 201}
        async with app.state.database.session() as session:
            left = await session.exec(text("SELECT name FROM pg_prepared_statements"))
            assert left.all() == []
