"""What the documents name exists: variables, files, reasons, paths, versions."""

import re
from pathlib import Path

import pytest

from programs import ROOT, SIDEPULSE, Sidecar, run

DEPLOY = ROOT / "deploy"
PLACES = (ROOT, ROOT / "docs", DEPLOY, DEPLOY / "wheel")
DOCUMENTS = sorted(path for place in PLACES for path in place.glob("*.md"))
READ = [
    *DOCUMENTS,
    ROOT / "Procfile",
    DEPLOY / "railway.ts",
    DEPLOY / "kubernetes/sidepulse.yaml",
    *(DEPLOY / "prometheus").glob("**/*.yml"),
]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", READ, ids=name)
def test_every_setting_exists(path: Path) -> None:
    known = set(re.findall(r"SIDEPULSE_\w+", run(SIDEPULSE, "--help"))) | {"SIDEPULSE_REVISION"}
    assert set(re.findall(r"\bSIDEPULSE_[A-Z_]+", path.read_text())) <= known


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)|\bsrc(?:set)?=\"([^\":]+)\"", path.read_text()):
        target = "".join(target)
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path.name != "CHANGELOG.md"], ids=name)
def test_every_file_and_function_of_the_sources_exists(path: Path) -> None:
    text = path.read_text()
    for file in re.findall(r"`((?:benches|deploy|docs|fuzz|src|tests)/[\w./-]+)[` ]", text):
        assert (ROOT / file).exists(), file
    for names, file in re.findall(r"((?:`\w+`(?:, | and )?)+) in `(src/[\w/]+\.rs)`", text):
        for item in re.findall(r"\w+", names.replace(" and ", " ")):
            assert re.search(rf"\b(?:fn|const|struct) {item}\b", (ROOT / file).read_text()), (item, file)


def test_every_reason_and_path_of_the_symptoms_exists(well: Sidecar) -> None:
    text = (DEPLOY / "railway.md").read_text()
    reasons = set(re.findall(r'reason="(\w+)"', well.get("/metrics").text))
    named = set(re.findall(r"`(?:app: )?([a-z]+_[a-z]+)`", text))
    assert {"connect_refused", "loopback_only", "auth_failed"} <= named <= reasons
    for path in ("/health", "/startupz", "/metrics"):
        assert f"`{path}`" in text
        assert well.get(path).status_code == 200


def test_the_documents_agree_with_the_package() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    sdk = re.search(r'"railway": "(.+)"', (ROOT / "tests/kit/package.json").read_text())
    assert version and sdk
    for path in READ:
        text = path.read_text()
        assert set(re.findall(r"sidepulse==([0-9.]+[0-9])", text)) <= {version[1]}
        assert set(re.findall(r"sidepulse:([0-9.]+[0-9])", text)) <= {version[1]}
        assert set(re.findall(r"railway@([0-9.]+[0-9])", text)) <= {sdk[1]}


def test_the_dashboard_is_drawn_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs/drawing")
    import dashboard

    drawn = (ROOT / "docs/pictures/dashboard.svg").read_text()
    assert drawn == dashboard.layout(), "docs/draw dashboard"
