"""The programs under test: how each is started, where its health answer is, and when that answer is red."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import progress
from load import SECONDS, Answer, Load, get, wrk
from postgres import Postgres
from processes import free_port, process, wait_for

ROOT = Path(__file__).resolve().parent.parent.parent
BINARIES = Path(sys.argv[1])
SIDEPULSE, FLOOR, RAW = BINARIES / "sidepulse", BINARIES / "examples/floor", BINARIES / "examples/raw"

ATTEMPTS = 5  # for one measurement


def by_status(answer: Answer) -> bool:
    return answer.status != 200


@dataclass
class Server:
    name: str
    command: list
    port: int
    path: str
    environment: dict | None = None
    directory: Path | None = None
    is_red: Callable[[Answer], bool] = by_status
    metrics: str = "/metrics"
    pid: int = field(default=0, init=False)
    false_alarms: int = field(default=0, init=False)

    def get(self, path: str | None = None, timeout: float = 15) -> Answer | None:
        return get(self.port, path or self.path, timeout)

    def is_green(self) -> bool:
        answer = self.get()
        return answer is not None and answer.status == 200 and not self.is_red(answer)

    @contextmanager
    def running(self, until_green: bool = True) -> Iterator["Server"]:
        with process(self.command, self.environment, self.directory) as child:
            self.pid = child.pid
            progress.now(f"{self.name} starts")
            if until_green:
                wait_for(f"{self.name}, green,", self.is_green)
            yield self

    def load(self, connections: int, seconds: int = SECONDS) -> Load:
        """Accepts green answers only: nothing is wrong meanwhile, so a red one is a false alarm."""
        for _ in range(ATTEMPTS):
            progress.now(f"{self.name} {self.path.split('?')[0]}, {connections} connections at once")
            wait_for(f"{self.name}, green,", self.is_green, 60)
            measured = wrk(self.pid, self.port, self.path, connections, seconds)
            if not measured.refused:
                return measured
            self.false_alarms += 1
        raise SystemExit(f"{self.name} does not stay green under load")


def floor() -> Server:
    port = free_port()
    return Server("bare hyper", [FLOOR, port], port, "/")


def sidepulse(app_port: int, url: str | None, path: str = "/readyz", **settings: str) -> Server:
    """Settings by their names without SIDEPULSE_."""
    port = free_port()
    database = {"DATABASE_URL": url} if url else {"SIDEPULSE_DATABASE": "off"}
    address = {"SIDEPULSE_LISTEN": f"127.0.0.1:{port}", "SIDEPULSE_APP_URL": f"http://127.0.0.1:{app_port}/"}
    named = {f"SIDEPULSE_{name.upper()}": value for name, value in settings.items()}
    return Server("sidepulse", [SIDEPULSE], port, path, {"SIDEPULSE_LOG": "error", **address, **database, **named})


def without_bundle(server: Server) -> Server:
    """The same without a bundle of roots, so that OpenSSL looks in their directory when it needs one."""
    return replace(server, environment={**server.environment, "SSL_CERT_FILE": "/dev/null"})


def backend(postgres: Postgres) -> Server:
    """As the Procfile starts it."""
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": postgres.url, "ENVIRONMENT": "development"}
    command = [sys.executable, "-m", "uvicorn", "main:app", "--host", "127.0.0.1", "--port", port]
    return Server("the backend", command, port, "/health", environment, ROOT / "deploy/backend", metrics="")


# One thread, as sidepulse serves with one. `check-ssl` begins with the TLS handshake, which PostgreSQL accepts only
# since 17: the check is in the clear, and ends when the server asks for a password.
HAPROXY = """
global
    nbthread 1
defaults
    timeout connect 2s
    timeout client 30s
    timeout server 2s
    timeout check 2s
    default-server fall 2 rise 1
frontend health
    mode http
    bind 127.0.0.1:{port}
    monitor-uri /health
    monitor fail if {{ nbsrv(app) lt 1 }} or {{ nbsrv(database) lt 1 }}
    http-request use-service prometheus-exporter if {{ path /metrics }}
backend app
    mode http
    option httpchk GET /
    server app 127.0.0.1:{app_port} check inter {app_interval}
backend database
    mode tcp
    option pgsql-check user app
    server database 127.0.0.1:{database_port} check inter {database_interval}
"""


def haproxy(work: Path, app_port: int, postgres: Postgres, every: str = "") -> Server:
    port = free_port()
    config = work / f"haproxy-{port}.cfg"
    intervals = {"app_interval": every or "5s", "database_interval": every or "15s"}
    config.write_text(HAPROXY.format(port=port, app_port=app_port, database_port=postgres.port, **intervals))
    return Server("HAProxy monitor-uri", ["haproxy", "-db", "-f", config], port, "/health")


def blackbox(work: Path, module: str, target: str) -> Server:
    """Its probe of the backend's own /health, or of the database's port: it cannot request TLS as PostgreSQL requires,
    since what it sends is UTF-8 and ends in a newline."""
    port = free_port()
    config = work / f"blackbox-{port}.yml"
    v4 = {"preferred_ip_protocol": "ip4"}
    modules = {"http": {"prober": "http", "timeout": "5s", "http": v4}}
    modules["tcp"] = {"prober": "tcp", "timeout": "5s", "tcp": v4}
    config.write_text(json.dumps({"modules": modules}))  # which is YAML
    command = ["prometheus-blackbox-exporter", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"]
    path = f"/probe?module={module}&target={target}"
    what = "app's /health" if module == "http" else "database's port"
    return Server(f"blackbox: {what}", command, port, path, is_red=_says(b"probe_success 0"), metrics=path)


def postgres_exporter(postgres: Postgres) -> Server:
    port = free_port()
    environment = {"DATA_SOURCE_NAME": postgres.url}
    command = ["prometheus-postgres-exporter", f"--web.listen-address=127.0.0.1:{port}"]
    return Server("postgres_exporter", command, port, "/metrics", environment, is_red=_says(b"\npg_up 0"))


def _says(word: bytes) -> Callable[[Answer], bool]:
    return lambda answer: word in answer.body
