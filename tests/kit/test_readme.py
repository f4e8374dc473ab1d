"""Every command in the README's shell blocks is run; the demo and the tests themselves by tests/run."""

import os
import re
import subprocess
from pathlib import Path

from programs import Sidecar

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"deploy/demo", "tests/run"}
PRODUCTION = {
    "ENVIRONMENT": "production",
    "JWT_SECRET": "0f" * 24,
    "CORS_ORIGINS": "https://shop.vercel.app",
    "DATABASE_URL": "postgresql://u:p@ep-a-b-1.eu-central-1.aws.neon.tech/d?sslmode=require",
    "PORT": "8080",
    "RAILWAY_DEPLOYMENT_DRAINING_SECONDS": "20",
}


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_each_command_does_what_the_readme_says(well: Sidecar) -> None:
    port = well.address.rsplit(":", 1)[1]
    path = f"{Path(well.process.args[0]).resolve().parent}:{os.environ['PATH']}"
    daemon = {"SIDEPULSE_DATABASE": "off", "SIDEPULSE_APP_URL": f"http://{well.address}/", "PORT": port}
    expected = {
        'curl "localhost:${PORT:-9900}/readyz?verbose"': (daemon, 0, "readyz check passed"),
        "sidepulse check": ({**daemon, "PORT": "1"}, 1, "fail: protocol_error"),
        "sidepulse doctor --backend deploy/backend": (PRODUCTION, 0, "0 errors"),
    }
    assert set(commands()) == expected.keys() | ELSEWHERE
    for command, (environment, code, words) in expected.items():
        ran = subprocess.run(
            ["sh", "-c", command],
            cwd=ROOT,
            env={"PATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (ran.returncode, words in ran.stdout) == (code, True), (command, ran)
