"""An app whose requests take a moment: `/sleep` in a coroutine, `/subprocess` in a program, `/pool` in a
process pool. Each writes a byte to the file `UNDER_WAY` when it has begun. `/brief` takes less time."""

import asyncio
import os
import time
from concurrent.futures import ProcessPoolExecutor

A_WHILE = 0.6
pool: ProcessPoolExecutor | None = None


async def app(scope: dict, receive: object, send: object) -> None:
    if scope["type"] != "http":
        # The server goes on without a lifespan.
        raise NotImplementedError(scope["type"])
    status = await work(scope["path"])
    head = [(b"content-type", b"text/plain"), (b"content-length", b"3")]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": b"ok\n"})


async def work(path: str) -> int:
    if path == "/":
        return 200
    if path == "/brief":
        await asyncio.sleep(A_WHILE / 12)
        return 200
    with open(os.environ["UNDER_WAY"], "a") as file:
        file.write(".")
    if path == "/sleep":
        await asyncio.sleep(A_WHILE)
    elif path == "/subprocess":
        process = await asyncio.create_subprocess_exec("sleep", str(A_WHILE))
        return 200 if await process.wait() == 0 else 500
    elif path == "/pool":
        await in_pool(A_WHILE)
    elif path == "/idle-pool":
        await in_pool(0)
    return 200


async def in_pool(seconds: float) -> None:
    global pool
    if pool is None:
        pool = ProcessPoolExecutor(1)
    await asyncio.get_running_loop().run_in_executor(pool, time.sleep, seconds)
