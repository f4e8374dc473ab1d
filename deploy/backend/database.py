"""The app's database: one engine with a bounded pool, and the sessions that requests use."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

import asyncpg
from fastapi import Depends, Request
from sqlalchemy import event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from database_url import DatabaseUrl
from diagnosis import DROPPED, DatabaseUnavailable, connect_reason, statement_reason

# Sessions. The smallest Neon compute (0.25 CU) has max_connections = 104, of which 7 are Neon's own; 0.5 CU
# has 209, 1 CU 419, 2 CU 839, 4 CU 1678, 8 CU 3357, 9 CU and more 4000. Its pooler opens 90 % of those and
# takes 10,000 clients: https://neon.com/docs/connect/connection-pooling (November 2026). The app shares them
# with the sidecars (one session each), migrations and people with psql.
SESSIONS = 104 - 7
SESSIONS_OF_OTHERS = 7
PROCESSES = 6  # workers times replicas, including the old replicas of a rolling deploy
SESSIONS_A_PROCESS = (SESSIONS - SESSIONS_OF_OTHERS) // PROCESSES  # 15
POOL_SIZE = SESSIONS_A_PROCESS // 3  # 5: kept open
MAX_OVERFLOW = SESSIONS_A_PROCESS - POOL_SIZE  # 10: opened under load, closed after use
POOL_TIMEOUT_S = 5  # a request that gets no connection by then is told to retry
POOL_RECYCLE_S = 240  # below the 300 s after which an idle Neon compute suspends and drops its sessions
CONNECT_TIMEOUT_S = 10  # resolve, connect, TLS and login; on Neon the wake-up too
COMMAND_TIMEOUT_S = 8  # one statement; asyncpg's default is to wait for ever
IDLE_IN_TRANSACTION_TIMEOUT_S = 60  # how long a session that code left in a transaction may hold its locks
CLOSE_TIMEOUT_S = 0.5  # closing one connection; here too asyncpg's default is to wait for ever

TABLES_LOCK = 0x7461626C6573  # "tables": an advisory lock, so that two replicas do not create them at once

logger = logging.getLogger("uvicorn.error")  # uvicorn sets this one up
T = TypeVar("T")


class Database:
    """Opens no connection until one is needed: at start the database may be down, or asleep."""

    def __init__(self, target: DatabaseUrl) -> None:
        connect_args = {
            "async_creator_fn": asyncpg.connect,
            **target.connect_args,
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": COMMAND_TIMEOUT_S,
            "connection_class": _Connection,
        }
        if not target.is_pooled:
            connect_args["async_creator_fn"] = _limiting_idle_transactions(
                connect_args["async_creator_fn"], pid_is_the_sessions=not target.is_neon
            )
        self.engine = create_async_engine(
            target.url,
            connect_args=connect_args,
            poolclass=_Pool,
            pool_size=POOL_SIZE,
            max_overflow=MAX_OVERFLOW,
            pool_timeout=POOL_TIMEOUT_S,
            pool_recycle=POOL_RECYCLE_S,
            pool_pre_ping=True,
            pool_use_lifo=True,  # lets connections opened under load go stale, and so be recycled
            hide_parameters=True,  # users' data, which the text of an error would carry into the log
        )
        event.listen(self.engine.sync_engine, "handle_error", _on_statement_error)
        self._has_tables = False

    async def ping(self) -> None:
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session; whatever is not committed when it ends is rolled back."""
        await self._create_tables()
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    async def close(self) -> None:
        await self.engine.dispose()

    async def _create_tables(self) -> None:
        # At the first request that the database answers, not at start, when it may be down. An app whose
        # tables change will want migrations (Alembic) instead.
        if self._has_tables:
            return
        async with self.engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": TABLES_LOCK})
            await connection.run_sync(SQLModel.metadata.create_all)
        self._has_tables = True


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.database.session() as session:
        yield session


# The scope returns the connection before the answer is sent, however slow the client is to read it.
Session = Annotated[AsyncSession, Depends(get_session, scope="function")]


async def read_again(session: AsyncSession, read: Callable[[], Awaitable[T]]) -> T:
    """Runs `read`, and a second time if the connection drops meanwhile.

    The pool's pre-ping finds connections that dropped earlier; this is for the moment after it. For reads
    only: nobody knows whether a write was committed before the connection dropped.
    """
    try:
        return await read()
    except DatabaseUnavailable as error:
        if error.reason not in DROPPED:
            raise
        await session.rollback()
        return await read()


def _limiting_idle_transactions(
    connect: Callable[..., Awaitable[asyncpg.Connection]], pid_is_the_sessions: bool
) -> Callable[..., Awaitable[asyncpg.Connection]]:
    """Has the server end a session that stays idle in a transaction, where the session is ours alone.

    It is set after the login, since PgBouncer refuses it as a startup parameter. Through a pooler the setting
    would stay with a server session that other clients get next. A pooler is recognised by the process id it
    reports at login, which is not the session's. Nor is that of Neon's proxy, where the host name shows
    whether there is a pooler.
    """
    setting = (
        f"SELECT set_config('idle_in_transaction_session_timeout', '{IDLE_IN_TRANSACTION_TIMEOUT_S}s', false)"
    )

    async def connect_and_limit(*arguments: Any, **keywords: Any) -> asyncpg.Connection:
        connection = await connect(*arguments, **keywords)
        condition = f" WHERE pg_backend_pid() = {connection.get_server_pid()}" if pid_is_the_sessions else ""
        try:
            await connection.execute(setting + condition)
        except asyncpg.PostgresError as error:  # not PostgreSQL itself
            logger.debug("no limit for idle transactions: %s", error)
        except BaseException:
            connection.terminate()
            raise
        return connection

    return connect_and_limit


class _Connection(asyncpg.Connection):
    async def close(self, *, timeout: float | None = None) -> None:
        try:
            await super().close(timeout=CLOSE_TIMEOUT_S)
        except TimeoutError:
            pass  # the server no longer listens, and the socket is closed all the same


class _Pool(AsyncAdaptedQueuePool):
    """Raises DatabaseUnavailable for whatever goes wrong on the way to a connection (DNS, TCP, TLS, login,
    pre-ping, a full pool). Some of it would be a bare OSError, as if the app's own code had raised it."""

    _failing: str | None = None

    def connect(self) -> PoolProxiedConnection:
        try:
            connection = super().connect()
        except Exception as error:
            reason = connect_reason(error)
            if reason != self._failing:
                logger.warning("database unavailable: %s", reason)
                logger.debug("in its own words: %s", error)  # may name the host and the user
            self._failing = reason
            raise DatabaseUnavailable(reason) from error
        if self._failing:
            logger.info("database available again")
            self._failing = None
        return connection


def _on_statement_error(context: ExceptionContext) -> Exception | None:
    error = context.original_exception
    if not isinstance(error, Exception):
        return None  # a cancelled request; SQLAlchemy closes its connection
    reason = statement_reason(error, connection_is_gone=context.is_disconnect)
    if isinstance(error, TimeoutError):
        # What this connection would answer next is unknown, so it is closed; others in the pool are fine.
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False
    elif reason in DROPPED:
        context.is_disconnect = True  # and most likely the others dropped with it
    if reason is None or context.is_pre_ping:  # a pre-ping that finds a dead connection makes a new one
        return None
    return DatabaseUnavailable(reason)
