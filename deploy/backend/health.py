"""Is the app well? Shallow: it answers. Deep: its database answers, through the engine that the routes use.

The sidecar asks `/`, which uses no database. `/health` tells whether the app itself can reach its database.
Polled all the time, it would keep a Neon compute awake: point monitors at the sidecar instead.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from diagnosis import DatabaseUnavailable

HEALTH_LIMIT_S = 2.0
RETRY_AFTER_S = 5

logger = logging.getLogger("uvicorn.error")
router = APIRouter(tags=["health"])


class SharedCheck:
    """At most one check at a time, however many requests arrive; they share its verdict.

    The check is a task of its own, so that a client that disconnects cancels nothing. At the limit the
    verdict is `timeout` and the check is cancelled. No other check begins until it has returned its
    connection, so a frozen database costs the pool at most one connection.
    """

    def __init__(self, check: Callable[[], Awaitable[None]], limit: float = HEALTH_LIMIT_S) -> None:
        self._check = check
        self._limit = limit
        self._task: asyncio.Task[None] | None = None
        self._verdict: asyncio.Future[str | None] | None = None

    async def reason(self) -> str | None:
        """Why the check fails, in one word; None when it passes."""
        if self._task is None or self._task.done():
            self._verdict = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._run(self._verdict))
        return await asyncio.shield(self._verdict)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, verdict: asyncio.Future[str | None]) -> None:
        def decide(reason: str | None) -> None:
            if not verdict.done():
                verdict.set_result(reason)

        # By the clock, not when the cancelled check has ended: a frozen database delays that too.
        limit = asyncio.get_running_loop().call_later(self._limit, decide, "timeout")
        try:
            async with asyncio.timeout(self._limit):
                await self._check()
            decide(None)
        except TimeoutError:
            decide("timeout")
        except DatabaseUnavailable as error:
            decide(error.reason)
        except Exception:
            logger.exception("the health check itself failed")
            decide("internal")
        finally:
            limit.cancel()
            decide("internal")  # cancelled, as the app stops


@router.get("/")
@router.head("/", include_in_schema=False)
async def root() -> dict[str, str]:
    return {"status": "pass"}


@router.get("/health/shallow")
@router.head("/health/shallow", include_in_schema=False)
async def shallow() -> JSONResponse:
    return _answer({"status": "pass"})


@router.get("/health")
@router.head("/health", include_in_schema=False)
async def health(request: Request) -> JSONResponse:
    reason = await request.app.state.database_check.reason()
    deep = {"status": "pass"} if reason is None else {"status": "fail", "reason": reason}
    return _answer({"status": deep["status"], "checks": {"shallow": {"status": "pass"}, "deep": deep}})


def _answer(body: dict[str, object]) -> JSONResponse:
    headers = {"Cache-Control": "no-store"}
    if body["status"] == "pass":
        return JSONResponse(body, headers=headers)
    return JSONResponse(body, 503, headers | {"Retry-After": str(RETRY_AFTER_S)})
