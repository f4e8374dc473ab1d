"""The sidecar under /sidepulse, for monitors where the service's one domain leads to the app.

`/sidepulse/health`, `/readyz` and `/livez` are forwarded to sidepulse on this machine, and nothing else: the
path is one of a table, and no header, query or body of the client's is passed on. `/metrics` and the page at
`/` require the sidecar's token, and answer 404 while it has none. Every answer takes at most LIMIT_S and has
at most LARGEST bytes.

Requests go through uvicorn, so when uvicorn hangs, so do they: an alarm too, but without a reason.
"""

import asyncio
from dataclasses import dataclass

import h11
from fastapi import APIRouter, Request
from fastapi.responses import Response

from settings import ConfigurationError

PREFIX = "/sidepulse"
OPEN = ("/health", "/readyz", "/livez")
WITH_TOKEN = ("/metrics", "/")

LIMIT_S = 2.0  # for the whole request; the sidecar answers from memory, within milliseconds
LARGEST = 1024 * 1024  # bytes; /metrics with 32 SQL checks is 0.4 MB
AT_ONCE = 8  # requests to the sidecar; more are refused, so that a silent sidecar holds no more than these

HANDED_ON = ("content-type", "retry-after", "www-authenticate", "content-security-policy")
OF_THE_APP = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
CHALLENGE = {"www-authenticate": 'Basic realm="sidepulse"'}


class Silent(Exception):
    """The sidecar did not answer in time, or something else answered."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def parse_port(value: str | None) -> int | None:
    """The port of SIDECAR_PORT, None where it is unset; ConfigurationError where it is not a port."""
    if value is None or not value.strip():
        return None
    number = value.strip()
    if not (number.isascii() and number.isdigit() and 1 <= int(number[:6]) <= 65535):
        fault = "SIDECAR_PORT is not a port. Set it to the one sidepulse listens on, for example 8080"
        raise ConfigurationError([fault])
    return int(number)


def routes(port: int) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    under_way = asyncio.Semaphore(AT_ONCE)

    async def ask(method: str, target: str, authorization: str | None = None) -> Answer:
        if under_way.locked():
            raise Silent
        try:
            async with under_way, asyncio.timeout(LIMIT_S):
                return await _ask(port, method, target, authorization)
        except (TimeoutError, OSError, h11.ProtocolError) as error:
            raise Silent from error

    def add(path: str, is_open: bool) -> None:
        async def hand_on(request: Request) -> Response:
            target = path
            if path == "/readyz" and request.url.query == "verbose":
                target = "/readyz?verbose"
            try:
                if is_open:
                    return _answer(await ask(request.method, target))
                authorization = request.headers.get("authorization")
                if authorization is None:
                    return Response(status_code=401, headers=OF_THE_APP | CHALLENGE)
                # What the sidecar shows without a token is not meant for the app's domain.
                if (await ask("HEAD", target)).status != 401:
                    return Response(status_code=404, headers=OF_THE_APP)
                return _answer(await ask(request.method, target, authorization))
            except Silent:
                return _silent(path)

        # With and without a trailing slash: a redirect would name the Host that the client sent.
        for spelling in {PREFIX + path, (PREFIX + path).rstrip("/") + "/", (PREFIX + path).rstrip("/")}:
            router.add_api_route(spelling, hand_on, methods=["GET", "HEAD"])

    for path in OPEN:
        add(path, True)
    for path in WITH_TOKEN:
        add(path, False)
    return router


def _answer(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers | OF_THE_APP)


def _silent(path: str) -> Response:
    headers = {"retry-after": "5"} | OF_THE_APP
    if path == "/health":
        body = '{"status":"fail","output":"sidecar: silent"}'
        return Response(body, 503, headers, media_type="application/health+json")
    return Response("fail: sidecar: silent\n", 503, headers, media_type="text/plain")


async def _ask(port: int, method: str, target: str, authorization: str | None) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        connection = h11.Connection(h11.CLIENT)
        headers: list[tuple[str, str | bytes]] = [("Host", f"127.0.0.1:{port}"), ("Connection", "close")]
        if authorization is not None:
            headers.append(("Authorization", authorization.encode("latin-1")))
        writer.write(connection.send(h11.Request(method=method, target=target, headers=headers)) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        return await _read(reader, connection)
    finally:
        writer.transport.abort()  # a close would wait for the other side, without a limit


async def _read(reader: asyncio.StreamReader, connection: h11.Connection) -> Answer:
    head: h11.Response | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > LARGEST:
                raise Silent
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            break
        elif isinstance(event, h11.ConnectionClosed):
            raise Silent
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in head.headers}
    # Another program on that port, whose answer is not for the public.
    if headers.get("server") != "sidepulse" or head.status_code not in (200, 401, 503):
        raise Silent
    return Answer(
        head.status_code, {name: headers[name] for name in HANDED_ON if name in headers}, bytes(body)
    )
