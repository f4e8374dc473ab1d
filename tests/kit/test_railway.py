"""deploy/railway.ts, type-checked and evaluated with Railway's own package, and compared with the image."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from programs import ROOT, run, run_json, tool

SOURCE = (ROOT / "deploy/railway.ts").read_text()
# The syntax that Node's own type stripping accepts, since that is how Railway's CLI reads the file.
COMPILE = "--strict --noUnusedLocals --erasableSyntaxOnly --target es2022 --module nodenext".split()


def evaluate(source: str, directory: Path, node_modules: Path) -> dict:
    (directory / "node_modules").symlink_to(node_modules)
    shutil.copy(Path(__file__).with_name("graph.mjs"), directory)
    (directory / "package.json").write_text('{"type": "module"}')
    (directory / "railway.ts").write_text(source)
    run(tool("node"), node_modules / "typescript/bin/tsc", *COMPILE, "railway.ts", cwd=directory)
    return run_json(tool("node"), "graph.mjs", "./railway.js", cwd=directory)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory, node_modules: Path) -> dict:
    return evaluate(SOURCE, tmp_path_factory.mktemp("railway"), node_modules)


@pytest.fixture
def service(described: dict) -> dict:
    (only,) = described["resources"]
    return only


def test_is_a_graph_that_railway_accepts(described: dict) -> None:
    assert described["errors"] == []
    assert described["again"] == described["resources"]


def test_owns_nothing_but_its_own_service(described: dict) -> None:
    assert described["partial"] == "sidepulse"


def test_the_healthcheck_asks_the_sidecar_and_the_command_gives_the_app_another_port(service: dict) -> None:
    deploy, variables = service["deploy"], service["variables"]
    assert deploy["healthcheckPath"] == "/health"
    assert variables["PORT"]["value"] == "8080"
    assert variables["SIDEPULSE_APP_PORT"]["value"] == "8000"
    assert shlex.split(deploy["startCommand"])[:3] == ["sidepulse", "run", "--"]


def test_the_command_is_the_image_s_own(service: dict) -> None:
    dockerfile = ROOT / service["build"]["dockerfilePath"]
    command = [line for line in dockerfile.read_text().splitlines() if line.startswith("CMD ")][-1]
    # A shell must see quotes around $PORT; where no shell reads it, the same words arrive.
    assert shlex.split(service["deploy"]["startCommand"]) == json.loads(command.removeprefix("CMD "))


def test_stops_before_railway_kills(service: dict) -> None:
    deploy, variables = service["deploy"], service["variables"]
    drain_delay, stop_timeout = 0, 10  # the defaults of SIDEPULSE_DRAIN_DELAY and SIDEPULSE_STOP_TIMEOUT
    assert "SIDEPULSE_DRAIN_DELAY" not in variables and "SIDEPULSE_STOP_TIMEOUT" not in variables
    assert deploy["drainingSeconds"] > drain_delay + stop_timeout
    assert variables["RAILWAY_DEPLOYMENT_DRAINING_SECONDS"]["value"] == str(deploy["drainingSeconds"])
    assert deploy["overlapSeconds"] > 0
    assert (deploy["restartPolicyType"], deploy["restartPolicyMaxRetries"]) == ("ON_FAILURE", 10)


def test_holds_no_secret(service: dict) -> None:
    for name in ("DATABASE_URL", "JWT_SECRET", "SIDEPULSE_TOKEN"):
        assert service["variables"][name] == {"type": "preserve"}


def test_a_domain_leads_to_the_app(tmp_path: Path, node_modules: Path) -> None:
    empty = "const domains: string[] = [];"
    assert empty in SOURCE
    source = SOURCE.replace(empty, 'const domains: string[] = ["api.example.com"];')
    (service,) = evaluate(source, tmp_path, node_modules)["resources"]
    assert service["networking"]["customDomains"] == {"api.example.com": {"port": 8000}}


def test_a_misspelt_field_is_an_error(tmp_path: Path, node_modules: Path) -> None:
    with pytest.raises(AssertionError, match="healthchek"):
        evaluate(SOURCE.replace("healthcheck:", "healthchek:"), tmp_path, node_modules)
