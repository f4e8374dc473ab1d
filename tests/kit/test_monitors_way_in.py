"""deploy/backend/sidecar.py: the sidecar through the app's own domain, and what cannot be reached through
it."""

import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from programs import QUICK, SIDEPULSE, SOON, TOKEN, Program
from servers import BACKEND, App, Postgres, free_port, wait_until

AT_ONCE = int(re.findall(r"^AT_ONCE = (\d+)", (BACKEND / "sidecar.py").read_text(), re.MULTILINE)[0])
COUNTED = re.compile(
    r'^sidepulse_http_requests_total\{(?=[^}]*path="([^"]+)")(?=[^}]*code="(\d+)")[^}]*\} (\S+)', re.MULTILINE
)
OWN = {("/startupz", "200"), ("/metrics", "200")}
SILENT = {"status": "fail", "output": "sidecar: silent"}


@dataclass
class Service:
    """`sidepulse run -- uvicorn`, as in a container."""

    program: Program
    sidecar: str
    app: str
    marks: int = 0

    def get(self, path: str, **how: object) -> httpx.Response:
        return httpx.get(f"{self.app}/sidepulse{path}", timeout=10, **how)

    def child(self) -> int:
        pid = self.program.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def asked(self) -> dict[tuple[str, str], float]:
        """How often the sidecar has answered, by path and code, without the requests made here."""
        self.marks += 1
        httpx.get(f"{self.sidecar}/startupz")
        counts: dict[tuple[str, str], float] = {}

        def counted() -> bool:  # /metrics is rebuilt once a second
            text = httpx.get(f"{self.sidecar}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
            for path, code, count in COUNTED.findall(text):
                counts[path, code] = float(count)
            return counts["/startupz", "200"] == self.marks

        wait_until(counted, SOON, "the count")
        return {key: count for key, count in counts.items() if key not in OWN}


@pytest.fixture(scope="module")
def serve(postgres: Postgres) -> Iterator[Callable[..., Service]]:
    programs: list[Program] = []

    def serve_one(**environment: str) -> Service:
        sidecar_port, app_port = free_port(), free_port()
        variables = {
            "SIDEPULSE_LISTEN": f"127.0.0.1:{sidecar_port}",
            "SIDEPULSE_APP_PORT": str(app_port),
            "SIDEPULSE_TOKEN": TOKEN,
            "SIDECAR_PORT": str(sidecar_port),
            "DATABASE_URL": postgres.url(),
            "ENVIRONMENT": "test",
            "PYTHONDONTWRITEBYTECODE": "1",
            "SIDEPULSE_APP_TIMEOUT": "1s",
            "SIDEPULSE_DATABASE_TIMEOUT": "1s",
        } | environment
        uvicorn = (sys.executable, "-m", "uvicorn", "main:app", "--host", "127.0.0.1", "--port", "$PORT")
        program = Program(SIDEPULSE, "run", "--", *uvicorn, environment=QUICK | variables, cwd=BACKEND)
        programs.append(program)
        service = Service(program, f"http://127.0.0.1:{sidecar_port}", f"http://127.0.0.1:{app_port}")
        wait_until(lambda: program.process.poll() is not None or green(service), SOON, "/health answers 200")
        assert program.process.poll() is None, program.output
        return service

    yield serve_one
    for program in programs:
        program.stop()


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve()


@pytest.fixture(scope="module")
def open_to_all(serve: Callable[..., Service]) -> Service:
    """Its sidecar has no token, and drains slowly."""
    return serve(SIDEPULSE_TOKEN="", SIDEPULSE_DRAIN_DELAY="3s")


def green(service: Service) -> bool:
    try:
        return httpx.get(f"{service.sidecar}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_it_forwards_what_the_table_names_and_nothing_else(service: Service) -> None:
    health = service.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "pass")
    assert health.headers["content-type"] == "application/health+json"
    assert health.headers["cache-control"] == "no-store"
    assert "checks" not in health.json()  # the token hides the details here as well
    assert (service.get("/readyz").text, service.get("/livez").text) == ("ok\n", "ok\n")
    assert service.get("/readyz?verbose").text == httpx.get(f"{service.sidecar}/readyz?verbose").text
    assert service.get("/health/").status_code == 200
    assert httpx.head(f"{service.app}/sidepulse/health").status_code == 200
    assert httpx.post(f"{service.app}/sidepulse/health").status_code == 405

    for path in ("/metrics", "/", ""):
        refused = service.get(path)
        assert (refused.status_code, refused.content) == (401, b"")
        assert "sidepulse" in refused.headers["www-authenticate"]
        assert service.get(path, headers={"Authorization": "Bearer not-the-token"}).status_code == 401
        assert service.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    page = service.get("/", auth=("", TOKEN))
    assert page.headers["content-security-policy"] and "<title>" in page.text

    before = service.asked()
    for path in (
        "/health/deep", "/healthz", "/startupz", "/health/../metrics", "/..%2fmetrics", "/%2e%2e/metrics",
        "//metrics", "/health%3f/metrics", "/health;/metrics", "/health%00", "/health%0d%0aX: y", "/METRICS",
        "/metrics/x", "/@evil/",
    ):  # fmt: skip
        assert raw(service, f"GET /sidepulse{path} HTTP/1.1\r\nHost: x\r\n\r\n")[0] in (404, 400), path
    assert raw(service, "GET http://evil/sidepulse/healthz HTTP/1.1\r\nHost: evil\r\n\r\n")[0] == 404
    assert service.asked() == before


def test_nothing_is_smuggled_through(service: Service) -> None:
    before = service.asked()
    inner = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    for head, body in (
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", f"0\r\n\r\n{inner}"),
        (f"Content-Length: {len(inner)}", inner),
        ("Transfer-Encoding: chunked", f"{len(inner):x}\r\n{inner}\r\n0\r\n\r\n"),
        ("Transfer-Encoding : chunked", inner),
        ("X: y\r\n Authorization: z", ""),
        ("Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA", ""),
        (f"Authorization: {'a' * 60000}", ""),
    ):
        raw(service, f"GET /sidepulse/livez HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n{body}")
    after = service.asked()
    assert {key for key in after if after[key] != before[key]} <= {("/livez", "200")}
    assert service.get("/livez").status_code == 200


def raw(service: Service, request: str) -> tuple[int, bytes]:
    """The status of the first answer, 0 without one, and everything that arrived within a second."""
    port = int(service.app.rsplit(":", 1)[1])
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
        client.sendall(request.encode())
        try:
            while chunk := client.recv(65536):
                answer += chunk
                if b"\r\n\r\n" in answer:
                    break
        except TimeoutError:
            pass
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0, answer


def test_without_a_token_the_metrics_are_404(open_to_all: Service) -> None:
    service = open_to_all
    assert httpx.get(f"{service.sidecar}/metrics").status_code == 200
    for headers in ({}, {"Authorization": "Bearer guessed-by-somebody"}):
        assert service.get("/metrics", headers=headers).status_code in (401, 404)
        assert service.get("/", headers=headers).status_code in (401, 404)


def test_the_database_s_reason_is_passed_on(service: Service, postgres: Postgres) -> None:
    try:
        postgres.freeze()
        wait_until(lambda: service.get("/health").status_code == 503, SOON, "503")
        assert service.get("/health").json()["output"].startswith("database: ")
        assert service.get("/health").headers["retry-after"] == "5"
    finally:
        postgres.thaw()
    wait_until(lambda: green(service), SOON, "well again")


def test_uvicorn_frozen_then_killed(service: Service) -> None:
    """The price of this route: it hangs with uvicorn, while the sidecar's own port says why. Last for its
    service."""
    uvicorn = service.child()
    os.kill(uvicorn, signal.SIGSTOP)
    try:
        with pytest.raises(httpx.TimeoutException):
            httpx.get(f"{service.app}/sidepulse/health", timeout=1)
        wait_until(lambda: not green(service), SOON, "the sidecar's 503")
        assert httpx.get(f"{service.sidecar}/health").json()["output"] == "app: response_timeout"
    finally:
        os.kill(uvicorn, signal.SIGCONT)
    wait_until(lambda: green(service), SOON, "well again")
    os.kill(uvicorn, signal.SIGKILL)
    assert service.program.wait() == 128 + signal.SIGKILL
    with pytest.raises(httpx.TransportError):
        service.get("/health")


def test_a_drain_is_red_until_the_end(open_to_all: Service) -> None:
    """Last for its service."""
    service = open_to_all
    service.program.process.terminate()
    wait_until(lambda: service.get("/readyz").text == "fail: draining\n", 3, "draining")
    assert service.get("/health").json()["output"].startswith("draining")
    assert service.get("/livez").status_code == 200
    service.program.wait()


class Impostor:
    """Something else on the sidecar's port: it answers with these bytes, or accepts and stays silent."""

    def __init__(self) -> None:
        self.answer: bytes | None = None
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.held: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.held.append(client)
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        if self.answer is None:
            return
        try:
            client.recv(65536)
            client.sendall(self.answer)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # a client that has read enough disconnects

    def close(self) -> None:
        self.listener.close()
        for client in self.held:
            client.close()


@pytest.fixture(scope="module")
def beside(postgres: Postgres) -> Iterator[tuple[str, Impostor]]:
    """The app's address, and what it believes to be its sidecar."""
    impostor = Impostor()
    app = App({"DATABASE_URL": postgres.url(), "ENVIRONMENT": "test", "SIDECAR_PORT": str(impostor.port)})
    try:
        yield app.wait_until_running(), impostor
    finally:
        app.kill()
        impostor.close()


HEAD = b"HTTP/1.1 200 OK\r\nServer: sidepulse\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nServer: uvicorn\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 302 Found\r\nServer: sidepulse\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"Content-Length: 9\r\n\r\nshort",
        HEAD + b"Content-Length: 1000000000\r\n\r\n" + b"x" * 2_000_000,
        HEAD + b"\r\n" + b"x" * 2_000_000,
        HEAD + b"X: " + b"y" * 200_000,
    ],
    ids=["nothing", "closed", "ssh", "another", "redirect", "cut", "huge", "endless", "head"],
)
def test_a_silent_or_false_sidecar_is_one_fixed_word(
    beside: tuple[str, Impostor], answer: bytes | None
) -> None:
    address, impostor = beside
    impostor.answer = answer
    health = httpx.get(f"{address}/sidepulse/health", timeout=SOON)
    assert (health.status_code, health.json(), health.headers["retry-after"]) == (503, SILENT, "5")
    ready = httpx.get(f"{address}/sidepulse/readyz", timeout=SOON)
    assert (ready.status_code, ready.text) == (503, "fail: sidecar: silent\n")
    assert httpx.get(f"{address}/").status_code == 200


def test_a_small_honest_answer_passes_beside_the_same_impostor(beside: tuple[str, Impostor]) -> None:
    address, impostor = beside
    impostor.answer = HEAD + b"Content-Length: 3\r\n\r\nok\n"
    assert httpx.get(f"{address}/sidepulse/readyz").text == "ok\n"


def test_a_silent_sidecar_holds_no_more_than_its_share(beside: tuple[str, Impostor]) -> None:
    address, impostor = beside
    impostor.answer = None
    before = len(impostor.held)
    clients = [socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1]))) for _ in range(40)]
    for client in clients:
        client.sendall(b"GET /sidepulse/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answers = []
    for client in clients:
        client.settimeout(SOON)
        answers.append(client.recv(65536))
        client.close()
    assert {answer[9:12] for answer in answers} == {b"503"}
    assert len(impostor.held) - before <= AT_ONCE
    assert httpx.get(f"{address}/", timeout=5).json() == {"status": "pass"}


def test_unset_the_paths_are_404_and_a_bad_port_is_reported(app: str, postgres: Postgres) -> None:
    assert httpx.get(f"{app}/sidepulse/health").status_code == 404
    wrong = App({"DATABASE_URL": postgres.url(), "ENVIRONMENT": "test", "SIDECAR_PORT": "eighty"})
    assert wrong.wait() == 3
    assert "SIDECAR_PORT is not a port" in wrong.output
