"""Every command in the README's shell blocks is run; the demo and the tests themselves by tests/run."""

import os
import re
import secrets
import subprocess
from pathlib import Path

from programs import SIDEPULSE, Sidecar
from servers import PASSWORD, Postgres

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ELSEWHERE = {"deploy/demo", "tests/run"}
PRODUCTION = {
    "ENVIRONMENT": "production",
    "JWT_SECRET": secrets.token_hex(24),
    "CORS_ORIGINS": "https://shop.vercel.app",
    "DATABASE_URL": "postgresql://u:p@ep-a-b-1.eu-central-1.aws.neon.tech/d?sslmode=require",
    "PORT": "8080",
    "RAILWAY_DEPLOYMENT_DRAINING_SECONDS": "20",
}


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_each_command_does_what_the_readme_says(well: Sidecar) -> None:
    port = well.address.rsplit(":", 1)[1]
    path = f"{Path(well.process.args[0]).resolve().parent}:{os.environ['PATH']}"
    daemon = {"SIDEPULSE_DATABASE": "off", "SIDEPULSE_APP_URL": f"http://{well.address}/", "PORT": port}
    expected = {
        "sidepulse ping --path '/readyz?verbose'": (daemon, 0, "readyz check passed"),
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


def test_the_sample_of_check_is_what_check_prints(app: str, postgres: Postgres) -> None:
    (sample,) = re.findall(r"```text\n(app .*?)```", README, re.DOTALL)
    url = postgres.url(query="?sslmode=require").replace(PASSWORD, "wrong")
    ran = subprocess.run(
        [SIDEPULSE, "check"],
        env={"SIDEPULSE_APP_URL": f"{app}/", "DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
    )

    def shape(text: str) -> str:
        """Without figures, the certificate's expiry, and the text of the remedy."""
        return re.sub(r"[0-9]+\.[0-9](?= |,|\))|  certificate .*\n|(?<=  what to do   ).*", "", text)

    assert (ran.returncode, shape(ran.stdout)) == (1, shape(sample)), ran
