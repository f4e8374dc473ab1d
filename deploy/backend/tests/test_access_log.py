"""The probe's requests stay out of uvicorn's access log; no others do."""

import asyncio

import httpx
import pytest

from access_log import is_probe

URL = "postgresql://user@localhost/app"


async def test_real_uvicorn_logs_users_and_not_the_probe(run_app):
    app = run_app(DATABASE_URL=URL)
    async with httpx.AsyncClient(base_url=app.wait_until_running()) as client:

        async def get(path: str, agent: str) -> None:
            await client.get(path, headers={"User-Agent": agent})

        await asyncio.gather(
            *(get(f"/?probe={number}", "sidepulse/0.1.0") for number in range(20)),
            *(get(f"/?user={number}", "Mozilla/5.0") for number in range(20)),
        )
        await get("/missing?probe", "sidepulse/1.2.3-rc.1")
        await get("/?user=imitation", "Mozilla/5.0 (like sidepulse/0.1.0)")
    app.stop()
    assert "probe" not in app.output
    for number in range(20):
        assert f'"GET /?user={number} HTTP/1.1" 200' in app.output
    assert "user=imitation" in app.output


@pytest.mark.parametrize(
    ("agent", "client", "quiet"),
    [
        (b"sidepulse/0.1.0", ("127.0.0.1", 1), True),
        (b"sidepulse/0.1.0", ("::1", 1), True),
        (b"sidepulse/0.1.0", None, True),
        (b"sidepulse/0.1.0", ("100.64.0.2", 1), False),
        (b"sidepulse/", ("127.0.0.1", 1), False),
        (b"sidepulse/0.1.0 and more", ("127.0.0.1", 1), False),
        (b"", ("127.0.0.1", 1), False),
    ],
)
def test_who_is_the_probe(agent, client, quiet):
    assert is_probe({"headers": [(b"user-agent", agent)], "client": client}) is quiet
