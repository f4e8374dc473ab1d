"""The load balancers' snippets in deploy/monitors.md: each real program in front of a real sidecar and
app."""

import csv
import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from programs import ROOT, SOON, Program, Sidecar, tool
from servers import App, Postgres, free_port, wait_until

TEXT = (ROOT / "deploy/monitors.md").read_text()
APP, SIDECAR = "api.railway.internal:8000", "api.railway.internal:8080"


def snippet(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return found


class Behind:
    """The app and its sidecar, by their ports."""

    def __init__(self, app: str, start: Callable[..., Program], postgres: Postgres) -> None:
        self.port = app.rsplit(":", 1)[1]
        self.sidecar = start(Sidecar, SIDEPULSE_APP_URL=f"{app}/", DATABASE_URL=postgres.url())
        self.sidecar_port = self.sidecar.address.rsplit(":", 1)[1]


@pytest.fixture(scope="module")
def backend(postgres: Postgres) -> Iterator[App]:
    """An app for this module alone: each test freezes it."""
    process = App({"DATABASE_URL": postgres.url(), "ENVIRONMENT": "test"})
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
def behind(backend: App, start: Callable[..., Program], postgres: Postgres) -> Behind:
    behind = Behind(backend.wait_until_running(), start, postgres)
    behind.sidecar.wait_until_answers("/readyz", 200)
    return behind


@pytest.fixture
def hang(backend: App, behind: Behind) -> Iterator[Callable[[], None]]:
    """Freezes the app until the sidecar turns red; continues it at the end of the test."""

    def freeze() -> None:
        backend.process.send_signal(signal.SIGSTOP)
        behind.sidecar.wait_until_answers("/readyz", 503)

    yield freeze
    backend.process.send_signal(signal.SIGCONT)


def here(text: str, behind: Behind) -> str:
    """The snippet with addresses on this machine and shorter intervals."""
    text = text.replace(APP, f"127.0.0.1:{behind.port}").replace(SIDECAR, f"127.0.0.1:{behind.sidecar_port}")
    text = re.sub(r"\bport 8080\b", f"port {behind.sidecar_port}", text)
    text = re.sub(r"\bhealth_port 8080\b", f"health_port {behind.sidecar_port}", text)
    return re.sub(r"\b(interval:? |inter )5s", r"\g<1>200ms", text)


class Haproxy(Program):
    def __init__(self, directory: Path, backends: str) -> None:
        self.port = free_port()
        (directory / "haproxy.cfg").write_text(
            f"global\n    log stdout format raw local0\ndefaults\n    mode http\n    timeout connect 2s\n"
            f"    timeout client 5s\n    timeout server 5s\n{backends}\n"
            f"frontend stats\n    bind 127.0.0.1:{self.port}\n    stats enable\n    stats uri /stats\n"
        )
        super().__init__(tool("haproxy"), "-f", directory / "haproxy.cfg", "-db")

    def server(self, backend: str) -> dict[str, str]:
        """The server's line in the statistics: status, check_status, check_code, last_chk."""
        try:
            text = httpx.get(f"http://127.0.0.1:{self.port}/stats;csv").text
        except httpx.TransportError:
            return {"status": "", "check_status": "", "check_code": ""}
        rows = csv.DictReader(text.removeprefix("# ").splitlines())
        return next(row for row in rows if row["pxname"] == backend and row["svname"] == "api")

    def wait_for_server(self, backend: str, *wanted: str) -> None:
        """Status, check_status and check_code; while a check is under way its code is 0."""

        def sees() -> bool:
            server = self.server(backend)
            return (server["status"], server["check_status"], server["check_code"]) == wanted

        wait_until(sees, SOON, f"{backend}: {wanted}")


def test_haproxy_follows_readyz_and_its_bare_check_is_down_for_ever(
    behind: Behind, hang: Callable[[], None], start: Callable[..., Program], tmp_path: Path
) -> None:
    shipped = here(snippet("haproxy"), behind)
    bare = re.sub(r" +http-check .*\n", "", shipped).replace("backend api", "backend bare")
    proxy = start(Haproxy, tmp_path, shipped + bare)
    proxy.wait_for_server("api", "UP", "L7OK", "200")
    proxy.wait_for_server("bare", "DOWN", "L7STS", "405")
    hang()
    proxy.wait_for_server("api", "DOWN", "L7STS", "503")


def test_envoy_follows_readyz(
    behind: Behind, hang: Callable[[], None], start: Callable[..., Program], tmp_path: Path
) -> None:
    (text,) = re.findall(r"```yaml\n(clusters:.*?)```", TEXT, re.DOTALL)
    config = yaml.safe_load(text)
    (cluster,) = config["clusters"]
    (check,) = cluster["health_checks"]
    check |= {"interval": "0.2s", "no_traffic_interval": "0.2s"}
    (endpoint,) = (one["endpoint"] for one in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"])
    address = endpoint["address"]["socket_address"]
    assert f"{address['address']}:{address['port_value']}" == APP
    assert endpoint["health_check_config"]["port_value"] == 8080
    address |= {"address": "127.0.0.1", "port_value": int(behind.port)}
    endpoint["health_check_config"]["port_value"] = int(behind.sidecar_port)
    (tmp_path / "envoy.json").write_text(
        json.dumps(
            {
                "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
                "static_resources": config,
            }
        )
    )
    admin = tmp_path / "admin"
    options = ("--admin-address-path", admin, "--concurrency", "1", "--use-dynamic-base-id")
    envoy = start(Program, tool("envoy"), "-c", tmp_path / "envoy.json", *options)

    def health() -> dict[str, object]:
        assert envoy.process.poll() is None, envoy.output
        if not admin.exists() or not admin.read_text():
            return {}
        answer = httpx.get(f"http://{admin.read_text()}/clusters?format=json").json()
        (host,) = answer["cluster_statuses"][0]["host_statuses"]
        return host["health_status"]

    wait_until(lambda: health() == {"eds_health_status": "HEALTHY"}, SOON, "healthy")
    hang()
    wait_until(lambda: health().get("failed_active_health_check"), SOON, "unhealthy")


def test_caddy_follows_readyz(
    behind: Behind, hang: Callable[[], None], start: Callable[..., Program], tmp_path: Path
) -> None:
    port = free_port()
    text = here(snippet("caddy"), behind).replace(":80 {", f"http://127.0.0.1:{port} {{")
    (tmp_path / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{text}")
    environment = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    caddy = start(
        Program, tool("caddy"), "run", "--adapter", "caddyfile", "--config", tmp_path / "Caddyfile",
        environment=environment,
    )  # fmt: skip
    wait_until(lambda: asked(port).get("status") == "pass", SOON, "the app's answer")
    hang()
    wait_until(lambda: status(port) == 503, SOON, "503 without asking the app")
    assert "unexpected status code" in caddy.output


def test_nginx_asks_before_each_request_and_shows_the_verdict(
    behind: Behind, hang: Callable[[], None], start: Callable[..., Program], tmp_path: Path
) -> None:
    port = free_port()
    text = here(snippet("nginx"), behind).replace("listen 80;", f"listen 127.0.0.1:{port};")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in kinds)
    whole = f"daemon off;\npid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n"
    (tmp_path / "nginx.conf").write_text(f"{whole}{paths}{text}}}\n")
    start(Program, tool("nginx"), "-c", tmp_path / "nginx.conf", "-p", tmp_path)
    wait_until(lambda: asked(port).get("status") == "pass", SOON, "the app's answer")
    assert httpx.get(f"http://127.0.0.1:{port}/health").json()["status"] == "pass"
    hang()
    assert status(port) == 503
    verdict = httpx.get(f"http://127.0.0.1:{port}/health")
    assert (verdict.status_code, verdict.json()["output"]) == (503, "app: response_timeout")


def asked(port: int) -> dict[str, object]:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=5).json()
    except (httpx.TransportError, ValueError):
        return {}


def status(port: int) -> int:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=2).status_code
    except httpx.TransportError:
        return 0


def test_every_snippet_is_tested() -> None:
    assert re.findall(r"^```(\w+)$", TEXT, re.MULTILINE) == ["yaml", "haproxy", "yaml", "caddy", "nginx"]
