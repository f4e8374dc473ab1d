"""deploy/kubernetes/sidepulse.yaml: valid, and the real program answers its probes as Kubernetes needs."""

import json
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from programs import ROOT, Program, Sidecar, run, tool
from servers import Postgres, free_port

MANIFEST = ROOT / "deploy/kubernetes/sidepulse.yaml"
DEPLOYMENT, SERVICE, POD_MONITOR = yaml.safe_load_all(MANIFEST.read_text())
POD = DEPLOYMENT["spec"]["template"]
(SIDECAR,) = POD["spec"]["initContainers"]
(APP,) = POD["spec"]["containers"]


def path(container: dict, probe: str) -> str:
    return container[probe]["httpGet"]["path"]


def test_kubernetes_accepts_it() -> None:
    validate = Path(sys.executable).with_name("kubernetes-validate")
    printed = run(validate, "--strict", MANIFEST)
    assert printed.count(" passed ") == 2 and "PodMonitor" in printed  # for which there is no schema


def check_monitor(monitor: dict, node_modules: Path) -> None:
    run(tool("node"), "monitor.mjs", json.dumps(monitor), cwd=node_modules.parent)


def test_the_operator_accepts_the_monitor(node_modules: Path) -> None:
    check_monitor(POD_MONITOR, node_modules)
    misspelt = deepcopy(POD_MONITOR)
    misspelt["spec"]["podMetricsEndpoints"][0]["interval"] = "15 seconds"
    with pytest.raises(AssertionError, match="interval"):
        check_monitor(misspelt, node_modules)


def test_it_is_a_native_sidecar() -> None:
    assert SIDECAR["restartPolicy"] == "Always"


def test_a_service_with_our_name_sets_nothing_and_does_no_harm(start: Callable[..., Program]) -> None:
    assert POD["spec"]["enableServiceLinks"] is False
    # As kubelet writes them (pkg/kubelet/envvars) for the Services sidepulse and sidepulse-app.
    variables = {}
    for name, port in (("SIDEPULSE", 9900), ("SIDEPULSE_APP", 8000)):
        link, numbered = f"tcp://10.0.0.1:{port}", f"{name}_PORT_{port}_TCP"
        variables |= {
            f"{name}_SERVICE_HOST": "10.0.0.1",
            f"{name}_SERVICE_PORT": str(port),
            f"{name}_SERVICE_PORT_HTTP": str(port),
            f"{name}_PORT": link,
            numbered: link,
            f"{numbered}_PROTO": "tcp",
            f"{numbered}_PORT": str(port),
            f"{numbered}_ADDR": "10.0.0.1",
        }
    sidecar = start(Sidecar, SIDEPULSE_DATABASE="off", **variables)
    sidecar.wait_until_answers("/livez", 200)
    (warning,) = [line for line in sidecar.lines if '"event":"warning"' in line]
    assert "SIDEPULSE_APP_PORT" in warning and "enableServiceLinks: false" in warning


def test_the_parts_refer_to_each_other() -> None:
    labels = POD["metadata"]["labels"].items()
    for selector in (
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        SERVICE["spec"]["selector"],
        POD_MONITOR["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels
    (port,) = SIDECAR["ports"]
    (endpoint,) = POD_MONITOR["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == port["name"]
    # A name would be looked up among the app's own ports.
    for probe in ("startupProbe", "readinessProbe"):
        assert APP[probe]["httpGet"]["port"] == port["containerPort"]
    reference = {"secretKeyRef": endpoint["authorization"]["credentials"]}
    assert {"name": "SIDEPULSE_TOKEN", "valueFrom": reference} in SIDECAR["env"]


def test_the_sidecar_s_probes_pass_before_there_is_an_app_and_the_app_s_do_not(
    start: Callable[..., Program], postgres: Postgres
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/"
    sidecar = start(Sidecar, SIDEPULSE_APP_URL=nobody, DATABASE_URL=postgres.url())
    sidecar.wait_until_answers("/health/deep", 200)
    assert sidecar.get(path(SIDECAR, "startupProbe")).status_code == 200
    assert sidecar.get(path(SIDECAR, "livenessProbe")).status_code == 200
    assert sidecar.get(path(APP, "startupProbe")).status_code == 503
    assert sidecar.get(path(APP, "readinessProbe")).status_code == 503


def test_all_probes_pass_when_all_is_well(well: Sidecar) -> None:
    for container, probe in (
        (SIDECAR, "startupProbe"),
        (SIDECAR, "livenessProbe"),
        (APP, "startupProbe"),
        (APP, "readinessProbe"),
    ):
        assert well.get(path(container, probe)).status_code == 200, probe
