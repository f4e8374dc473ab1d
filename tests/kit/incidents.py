"""Which alerts a fault raises, after how long, with what text: the real program and a real Prometheus.

    python tests/kit/incidents.py            ten minutes, one table

At ten times the speed: the rules' windows, the scrapes and the checks are a tenth as long, and times are
printed as they would be at full length. This is not one of the tests, since the seconds depend on how busy
the machine is. The rules' own cases are in deploy/prometheus/tests.
"""

import itertools
import json
import re
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[2] / "deploy/backend/tests"))

from programs import ROOT, SIDEPULSE, Program, Prometheus
from servers import Postgres, free_port, wait_until

SPEED = 10
MINUTE = 60 / SPEED
# As long as a name server's answer may be old (prometheus.yml: refresh_interval), whatever the machine does.
NAMES_REFRESHED = 15 / SPEED
HOUR = 60 * MINUTE
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

CHECKS = {
    "SIDEPULSE_APP_INTERVAL": "500ms",
    "SIDEPULSE_APP_TIMEOUT": "400ms",
    "SIDEPULSE_DATABASE_INTERVAL": "1500ms",
    "SIDEPULSE_DATABASE_TIMEOUT": "2s",
    "SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT": "800ms",
    "SIDEPULSE_DATABASE_MODE": "steady",
    "SIDEPULSE_STOP_TIMEOUT": "1s",
}
APP = ("python3", "-m", "http.server", "--bind", "127.0.0.1", "$PORT")
# The error of Neon's proxy, before the login: ERROR, XX000.
QUOTA = "Your project has exceeded the compute time quota. Upgrade your plan to increase limits."


def faster(text: str) -> str:
    """The rules with every duration a tenth as long."""

    def shorter(match: re.Match[str]) -> str:
        return f"{match[1]}{int(match[2]) * UNITS[match[3]] * 1000 // SPEED}ms"

    text = re.sub(r"(\[|offset |for: )(\d+)([smhd])\b", shorter, text)
    return re.sub(r"(?<=time\(\) - )(\d+)(?=\))", lambda match: str(int(match[1]) / SPEED), text)


class Database:
    """A proxy to the real server that can freeze, or report that the quota is used up."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres
        self.quota_used_up = False
        self.flows = threading.Event()
        self.flows.set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = postgres.url(query="?sslmode=disable").replace(
            f":{postgres.port}/", f":{self.listener.getsockname()[1]}/"
        )
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                if self.quota_used_up:
                    client.recv(65536)
                    fields = b"SERROR\0VERROR\0CXX000\0M" + QUOTA.encode() + b"\0\0"
                    client.sendall(b"E" + struct.pack(">I", len(fields) + 4) + fields)
                    return
                with socket.create_connection(("127.0.0.1", self.postgres.port)) as server:
                    back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
                    back.start()
                    self._copy(client, server)
            except OSError:
                pass

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self.flows.wait()
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Service:
    """Replicas under one name, as a platform runs them: its name server lists Prometheus' targets."""

    numbers = itertools.count(1)

    def __init__(self, name: str, directory: Path, database: Database) -> None:
        self.name = name
        self.database = database
        self.file = directory / f"{name}.json"
        self.replicas: dict[str, Program] = {}
        self.publish()

    def publish(self) -> None:
        lines = [{"targets": list(self.replicas), "labels": {"job": f"{self.name}/sidepulse"}}]
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(lines))
        part.rename(self.file)

    def start(self, app: tuple[str, ...] = APP, address: str = "", replica: str = "") -> str:
        address = address or f"127.0.0.1:{free_port()}"
        environment = CHECKS | {
            "SIDEPULSE_LISTEN": address,
            "SIDEPULSE_APP_PORT": str(free_port()),
            "DATABASE_URL": self.database.url,
            "RAILWAY_REPLICA_ID": replica or str(next(self.numbers)),
        }
        command = (SIDEPULSE, "run", "--", *app)
        self.replicas[address] = Program(*command, environment=environment, cwd=self.file.parent)
        self.publish()
        return address

    def wait_until_green(self, address: str) -> None:
        def is_green() -> bool:
            try:
                return httpx.get(f"http://{address}/health", timeout=2).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(is_green, within=5 * MINUTE, what=f"{address} green")

    def stop(self, address: str) -> None:
        """SIGTERM, the drain, the end; the name server drops it at its next refresh."""
        self.replicas[address].stop()
        time.sleep(NAMES_REFRESHED)
        del self.replicas[address]
        self.publish()

    def deploy(self) -> None:
        """A new replica for each old one, one after another: green before the old one ends."""
        for old in list(self.replicas):
            self.wait_until_green(self.start())
            self.stop(old)

    def end(self) -> None:
        for program in self.replicas.values():
            program.stop()


def crash_loop(service: Service) -> None:
    """Dies 35 s after each start, and is back 8 s later at the same address."""
    dying = ("sh", "-c", 'python3 -m http.server --bind 127.0.0.1 "$PORT" & sleep 3.5; kill $!; exit 1')
    address = service.start(dying, replica="1")
    for _ in range(12):
        service.replicas[address].process.wait(60)
        time.sleep(8 / SPEED)
        service.start(dying, address, "1")
    service.replicas[address].stop()
    service.start(APP, address, "1")


def rolling_deploy(service: Service) -> None:
    service.deploy()


def bad_deploy(service: Service) -> None:
    """The new replica's app never listens; the platform gives up after five minutes and keeps the old
    replica."""
    bad = service.start(("sleep", "1000"))
    time.sleep(5 * MINUTE)
    service.stop(bad)


def frozen(minutes: float) -> Callable[[Service], None]:
    def freeze(service: Service) -> None:
        service.database.flows.clear()
        time.sleep(minutes * MINUTE)
        service.database.flows.set()

    return freeze


def quota(service: Service) -> None:
    service.database.quota_used_up = True
    time.sleep(20 * MINUTE)
    service.database.quota_used_up = False


def restarts_in_an_outage(service: Service) -> None:
    """The database is frozen for 20 minutes; the only replica is restarted every four."""
    service.database.flows.clear()
    (address,) = service.replicas
    for _ in range(5):
        time.sleep(4 * MINUTE)
        service.replicas[address].stop()
        service.start(APP, address, "1")
    service.database.flows.set()


def an_hour_of_deploys(service: Service) -> None:
    """Three replicas, a deploy every ten minutes."""
    began = time.monotonic()
    for number in range(1, 7):
        service.deploy()
        time.sleep(max(0.0, began + number * 10 * MINUTE - time.monotonic()))


INCIDENTS: dict[str, tuple[int, Callable[[Service], None]]] = {
    "crash-loop": (1, crash_loop),
    "rolling-deploy-of-three": (3, rolling_deploy),
    "one-bad-deploy": (1, bad_deploy),
    "database-frozen-2min": (1, frozen(2)),
    "database-frozen-20min": (1, frozen(20)),
    "quota-used-up": (1, quota),
    "restarts-during-an-outage": (1, restarts_in_an_outage),
    "an-hour-of-deploys": (3, an_hour_of_deploys),
}


class Watch:
    """What Prometheus says about each job: when an alert first fired, with what text, and when it was
    over."""

    def __init__(self, prometheus: Prometheus) -> None:
        self.prometheus = prometheus
        self.began: dict[str, float] = {}
        self.seen: dict[tuple[str, str, str], list[object]] = {}
        self.over = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self.over.wait(0.5):
            try:
                alerts = self.prometheus.get("/api/v1/alerts").json()["data"]["alerts"]
            except Exception:
                continue  # it is being restarted
            now = time.monotonic()
            firing = {}
            for alert in alerts:
                if alert["state"] == "firing" and "job" in alert["labels"]:
                    labels = alert["labels"]
                    key = labels["job"].split("/")[0], labels["alertname"], labels.get("check", "")
                    firing[key] = alert
            for key, alert in firing.items():
                spans = self.seen.setdefault(key, [])
                if not spans or spans[-1][1] is not None:
                    spans.append([now, None, alert["annotations"]["summary"], alert["labels"]["severity"]])
                spans[-1][2] = alert["annotations"]["summary"]
            for key, spans in self.seen.items():
                if key not in firing and spans[-1][1] is None:
                    spans[-1][1] = now

    def table(self, name: str) -> list[str]:
        began = self.began[name]
        rows = sorted(
            (span[0], alert, check, span)
            for (job, alert, check), spans in self.seen.items()
            if job == name
            for span in spans
        )
        lines = []
        for first, alert, _, (_, last, text, severity) in rows:
            until = f"resolved {minutes(last - began)}" if last is not None else "still firing at the end"
            lines.append(f"    {minutes(first - began):>7}  {until:<24} {severity:<8} {alert}: {text}")
        return lines or ["    no alert"]


def minutes(seconds: float) -> str:
    whole = round(seconds * SPEED)
    return f"{whole // 60}m{whole % 60:02}s"


def configure(directory: Path, targets: Path) -> Path:
    (directory / "rules").mkdir(parents=True)
    for path in (ROOT / "deploy/prometheus/rules").glob("*.yml"):
        (directory / "rules" / path.name).write_text(faster(path.read_text()))
    pace = f"{15000 // SPEED}ms"
    config = {
        "global": {"scrape_interval": pace, "scrape_timeout": "1s", "evaluation_interval": pace},
        "rule_files": ["rules/*.yml"],
        "scrape_configs": [
            {
                "job_name": "sidepulse",
                "file_sd_configs": [{"files": [f"{targets}/*.json"], "refresh_interval": "1s"}],
            }
        ],
    }
    (directory / "prometheus.yml").write_text(json.dumps(config))
    return directory / "prometheus.yml"


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for background jobs
    directory = Path(tempfile.mkdtemp(prefix="incidents-"))
    directory.chmod(0o755)
    targets = directory / "targets"
    targets.mkdir()
    postgres = Postgres()
    services: list[Service] = []
    prometheuses: list[Prometheus] = []
    try:
        postgres.start()
        for name, (count, _) in INCIDENTS.items():
            services.append(Service(name, targets, Database(postgres)))
            for number in range(count if name != "crash-loop" else 0):
                services[-1].start(replica=str(number + 1))
        configs = [configure(directory / kind, targets) for kind in ("steady", "restarted")]
        prometheuses += [Prometheus(config) for config in configs]
        watches = [Watch(prometheus) for prometheus in prometheuses]
        time.sleep(31 * MINUTE)  # half of the budget alerts' window of an hour
        threads = []
        for service in services:
            for watch in watches:
                watch.began[service.name] = time.monotonic()
            threads.append(threading.Thread(target=INCIDENTS[service.name][1], args=(service,)))
            threads[-1].start()
        time.sleep(10 * MINUTE)  # in the middle of the long outages
        began = time.monotonic()
        prometheuses[1].stop()
        time.sleep(2 * MINUTE)
        prometheuses[1] = watches[1].prometheus = Prometheus(configs[1])
        prometheuses[1].wait_for(Prometheus.LISTENS)
        print(f"Prometheus was away for {minutes(time.monotonic() - began)}", flush=True)
        for thread in threads:
            thread.join()
        time.sleep(5 * MINUTE)
        for name in INCIDENTS:
            print(name, *watches[0].table(name), sep="\n")
        print("Prometheus restarted at 10m, during database-frozen-20min")
        print(*watches[1].table("database-frozen-20min"), sep="\n")
        one = '{job="database-frozen-20min/sidepulse",check="database"}'
        for expression in (
            f"max_over_time(sidepulse_check_down_seconds_total{one}[20m]) * {SPEED}",
            f"sum_over_time((1 - job_check:sidepulse_available:ratio{one})[20m:1500ms]) * 1.5 * {SPEED}",
        ):
            (value,) = (round(value) for _, value in prometheuses[0].query(expression))
            print(f"{expression}: {value} s", flush=True)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for service in services:
            service.end()
        for prometheus in prometheuses:
            prometheus.stop()
        postgres.stop()
        postgres.remove()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
