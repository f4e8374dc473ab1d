"""Keeps the health probe out of uvicorn's access log, where a line every five seconds would bury the rest.

The access record carries no User-Agent, so a middleware marks the moment at which uvicorn writes it: uvicorn
logs inside `send`, in the context of its caller.
"""

import logging
import re
from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PROBE = re.compile(rb"sidepulse/\S+")
LOOPBACK = ("127.0.0.1", "::1")

_answering_probe: ContextVar[bool] = ContextVar("answering_probe", default=False)


class QuietProbe:
    """Pure ASGI middleware; add it last, so that it is the outermost."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        access_log = logging.getLogger("uvicorn.access")
        if not_the_probe not in access_log.filters:
            access_log.addFilter(not_the_probe)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_probe(scope):
            await self.app(scope, receive, send)
            return

        async def send_unlogged(message: Message) -> None:
            mark = _answering_probe.set(True)
            try:
                await send(message)
            finally:
                _answering_probe.reset(mark)

        await self.app(scope, receive, send_unlogged)


def not_the_probe(_record: logging.LogRecord) -> bool:
    return not _answering_probe.get()


def is_probe(scope: Scope) -> bool:
    # Anyone can send this User-Agent; only the sidecar does so from within the container. Over a Unix socket
    # there is no client address.
    client = scope.get("client")
    if client and client[0] and client[0] not in LOOPBACK:
        return False
    agents = [value for name, value in scope["headers"] if name == b"user-agent"]
    return len(agents) == 1 and PROBE.fullmatch(agents[0]) is not None
