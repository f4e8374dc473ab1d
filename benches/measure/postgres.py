"""A throwaway PostgreSQL with TLS and SCRAM, which can be frozen, and counts its connections."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from processes import free_port


@dataclass
class Postgres:
    port: int
    data: Path
    certificate: Path

    @property
    def url(self) -> str:
        """In the form that libpq, sidepulse and the backend read."""
        return f"{self._base}?sslmode=verify-full&sslrootcert={self.certificate}"

    @property
    def driver_url(self) -> str:
        """In the form that tokio-postgres reads, without a name look-up: sidepulse makes none for `localhost`
        either."""
        return f"{self._base}?sslmode=require&hostaddr=127.0.0.1"

    @property
    def _base(self) -> str:
        return f"postgresql://app:bench@localhost:{self.port}/postgres"

    def connections(self) -> int:
        """How many have ever been opened, with or without a login. Waits for the server, whose log may be behind."""
        seen = -1
        while seen != (now := self._log().count("connection received")):
            seen = now
            time.sleep(0.3)
        return now

    def logins(self) -> int:
        """How many of them were sidepulse and logged in."""
        return self._log().count("application_name=sidepulse")

    def _log(self) -> str:
        return (self.data / "log").read_text()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Every process of the server stopped: the kernel still accepts connections, and nothing answers."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        stopped = [postmaster]
        try:
            os.kill(postmaster, signal.SIGSTOP)  # first, so that it forks no more children
            listed = subprocess.run(["pgrep", "-P", str(postmaster)], capture_output=True, text=True)
            for pid in map(int, listed.stdout.split()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    stopped.append(pid)
            yield
        finally:
            for pid in stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


@contextmanager
def postgres() -> Iterator[Postgres]:
    work = Path(tempfile.mkdtemp(prefix="bench"))
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    as_server = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # the server refuses to run as root

    def run(*command: str | Path) -> None:
        subprocess.run([*as_server, *command], check=True, capture_output=True, cwd=work / "data")

    try:
        work.chmod(0o711)
        server = Postgres(free_port(), work / "data", work / "server.crt")
        data, key, password = server.data, work / "server.key", work / "password"
        data.mkdir()
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", server.certificate]
        subprocess.run([*request, *names], check=True, capture_output=True)
        password.write_text("bench")
        if as_server:
            for path in (data, key, password, server.certificate):
                shutil.chown(path, "postgres")
        login = ["-U", "app", "-A", "scram-sha-256", "--pwfile", password]
        run(binaries / "initdb", "-D", data, *login, "-E", "UTF8", "--locale=C", "--no-sync")
        options = (
            f"-p {server.port} -k {data} -c listen_addresses=127.0.0.1 -c fsync=off -c ssl=on -c log_connections=on "
            f"-c ssl_cert_file={server.certificate} -c ssl_key_file={key} -c max_connections=200"
        )
        run(binaries / "pg_ctl", "-D", data, "-l", data / "log", "-w", "start", "-o", options)
        try:
            yield server
        finally:
            run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(work, ignore_errors=True)
