"""A rolling restart under load behind a real HAProxy that asks `/readyz`: no request fails."""

import csv
import http.client
import io
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from programs import QUICK, ROOT, SIDEPULSE, SOON, Program, tool
from servers import free_port, wait_until

KIT = ROOT / "tests/kit"
REQUESTS = 1000
CLIENTS = 10

# No retry of a request, and no other server for it: each one that a replica cuts off has failed.
HAPROXY = """
defaults
    mode http
    retries 0
    timeout connect 2s
    timeout client 10s
    timeout server 10s
    timeout check 5s
frontend public
    bind 127.0.0.1:{port}
    stats enable
    stats uri /haproxy
    default_backend replicas
backend replicas
    option httpchk GET /readyz
    http-check expect status 200
    default-server check inter 200ms fall 1 rise 1
{servers}
"""


class Replica:
    """`sidepulse run` with uvicorn, which can be restarted on the same ports as a new container would be."""

    def __init__(self, name: str, start: Callable[..., Program]) -> None:
        self.name, self.app, self.health = name, free_port(), free_port()
        self._start = start

    def start(self) -> None:
        uvicorn = [sys.executable, "-m", "uvicorn", "slow_app:app", "--port", "$PORT"]
        settings = {
            "PYTHONPATH": str(KIT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SIDEPULSE_APP_PORT": str(self.app),
            "SIDEPULSE_LISTEN": f"127.0.0.1:{self.health}",
            "SIDEPULSE_DATABASE": "off",
            "SIDEPULSE_DRAIN_DELAY": "1s",
        }
        self.program = self._start(Program, SIDEPULSE, "run", "--", *uvicorn, environment=QUICK | settings)

    def is_ready(self) -> bool:
        try:
            return get(self.health, "/readyz")[0] == 200
        except OSError:
            return False  # it does not listen yet

    def restart(self) -> None:
        self.program.process.send_signal(signal.SIGTERM)
        assert self.program.wait() == 143, self.program.output
        self.start()


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_rolling_restart_under_load_fails_no_request(start: Callable[..., Program], tmp_path: Path) -> None:
    replicas = [Replica("one", start), Replica("two", start)]
    for replica in replicas:
        replica.start()
    # HAProxy considers a server up until it has checked it.
    wait_until(lambda: all(replica.is_ready() for replica in replicas), SOON, "the replicas are ready")
    port = free_port()
    servers = "\n".join(f"    server {one.name} 127.0.0.1:{one.app} port {one.health}" for one in replicas)
    config = tmp_path / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, servers=servers))
    haproxy = start(Program, tool("haproxy"), "-db", "-f", config)

    def statistics(column: str) -> dict[str, str]:
        try:
            text = get(port, "/haproxy;csv")[1]
        except OSError:
            return {}  # it does not listen yet
        return {row["svname"]: row[column] for row in csv.DictReader(io.StringIO(text.removeprefix("# ")))}

    def wait_until_up() -> None:
        def both_are() -> bool:
            status = statistics("status")
            return all(status.get(one.name) == "UP" for one in replicas)

        wait_until(both_are, SOON, "HAProxy finds both replicas up")

    wait_until_up()
    found: Counter[object] = Counter()
    over = threading.Event()

    def ask_on() -> None:
        while not over.is_set() or found.total() < REQUESTS:
            try:
                found[get(port, "/brief")[0]] += 1
            except (OSError, http.client.HTTPException) as error:
                found[repr(error)] += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(ask_on) for _ in range(CLIENTS)]
        try:
            for replica in replicas:
                replica.restart()
                wait_until_up()
        finally:
            over.set()
        for client in clients:
            client.result()
    print(f"{found.total()} requests while both were restarted: {dict(found)}; {statistics('stot')}")
    assert set(found) == {200}, f"{found}\n{haproxy.output}"
    assert found.total() >= REQUESTS
    assert all(int(statistics("stot")[one.name]) > 0 for one in replicas)
