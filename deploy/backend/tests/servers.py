"""The real programs, each in a directory of its own: PostgreSQL, PgBouncer, the app under uvicorn."""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import trustme

BACKEND = Path(__file__).parent.parent
PASSWORD = "correct-horse"
PROGRAMS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), "/usr/sbin", os.environ["PATH"]]


def wait_until(condition: Callable[[], object], within: float = 15, what: str = "the condition") -> None:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within} s")
        threading.Event().wait(0.02)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A child process in a temporary directory. PostgreSQL's servers refuse to run as root, so root runs them
    as the user that Debian's packages create."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="backend-tests-"))
        self.process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, object] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(self.directory, account.pw_uid, account.pw_gid)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o600)
        if self._user:
            os.chown(path, self._user["user"], self._user["group"])
        return path

    def popen(self, program: str, *arguments: object) -> subprocess.Popen[bytes]:
        path = shutil.which(program, path=os.pathsep.join(map(str, PROGRAMS)))
        assert path, f"{program} is needed: apt-get install postgresql pgbouncer"
        with open(self.directory / "log", "ab") as log:
            return subprocess.Popen(
                [path, *map(str, arguments)],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                **self._user,
            )

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def wait_for_listener(self, port: int) -> None:
        def answers() -> bool:
            assert self.process is not None and self.process.poll() is None, self.log()
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) == 0

        wait_until(answers, what=f"a listener on port {port}")

    def remove(self) -> None:
        shutil.rmtree(self.directory)


class Postgres(Server):
    """One cluster for the whole run; each test has a database of its own in it."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.frozen: list[int] = []
        self.data = self.directory / "data"
        self.authority = trustme.CA()
        certificate = self.authority.issue_cert("localhost")
        self.authority.cert_pem.write_to_path(str(self.directory / "ca.pem"))
        self.write("server.pem", b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        self.write("server.key", certificate.private_key_pem.bytes())
        password = self.write("password", PASSWORD)
        initdb = self.popen(
            "initdb", "-D", self.data, "--no-sync", "-U", "postgres", "-E", "UTF8", "--locale=C",
            "--auth=scram-sha-256", f"--pwfile={password}",
        )  # fmt: skip
        assert initdb.wait(60) == 0, self.log()

    @property
    def root_file(self) -> Path:
        return self.directory / "ca.pem"

    def url(self, database: str = "postgres", host: str = "127.0.0.1", query: str = "") -> str:
        return f"postgresql://postgres:{PASSWORD}@{host}:{self.port}/{database}{query}"

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.directory,
            "fsync": "off",
            "max_connections": 60,
            "ssl": "on",
            "ssl_cert_file": self.directory / "server.pem",
            "ssl_key_file": self.directory / "server.key",
        }
        arguments = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        self.process = self.popen("postgres", "-D", self.data, *arguments)
        wait_until(self._is_ready, what="PostgreSQL ready")

    def _is_ready(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log()
        try:
            status = (self.data / "postmaster.pid").read_text().splitlines()[7]
        except (FileNotFoundError, IndexError):
            return False
        return status.strip() == "ready"

    def stop(self) -> None:
        self.thaw()
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # fast: sessions end now
            self.process.wait(20)
            self.process = None

    def freeze(self) -> None:
        """Acts as a database machine that hangs: connections stay open and nothing answers."""
        assert self.process is not None
        self._stop_process(self.process.pid)  # first, so that it forks no more children
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            self._stop_process(int(child))

    def _stop_process(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        self.frozen.append(pid)

    def thaw(self) -> None:
        while self.frozen:
            try:
                os.kill(self.frozen.pop(), signal.SIGCONT)
            except ProcessLookupError:
                pass  # a session that has ended since

    async def execute(self, sql: str, database: str = "postgres") -> list[asyncpg.Record]:
        connection = await asyncpg.connect(
            host=str(self.directory), port=self.port, user="postgres", password=PASSWORD, database=database
        )
        try:
            return await connection.fetch(sql)
        finally:
            await connection.close()


class PgBouncer(Server):
    """In transaction mode, as Neon's pooled hosts are."""

    def __init__(self, postgres: Postgres) -> None:
        super().__init__()
        self.port = free_port()
        self.write("users", f'"postgres" "{PASSWORD}"\n')
        self.write(
            "pgbouncer.ini",
            f"""
            [databases]
            * = host=127.0.0.1 port={postgres.port}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {self.port}
            unix_socket_dir =
            auth_type = scram-sha-256
            auth_file = {self.directory}/users
            pool_mode = transaction
            default_pool_size = 4
            """.replace("            ", ""),
        )

    def start(self) -> None:
        self.process = self.popen("pgbouncer", self.directory / "pgbouncer.ini")
        self.wait_for_listener(self.port)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)

    def url(self, database: str, query: str = "") -> str:
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}{query}"


class App:
    """The app as a process of its own; `command` is what follows `python`."""

    UVICORN = ("-m", "uvicorn", "main:app", "--host", "127.0.0.1", "--port", "0")
    RUNNING = re.compile(r"Uvicorn running on http://[0-9.]+:([0-9]+)")

    def __init__(self, environment: dict[str, str], command: tuple[str, ...] = UVICORN) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=BACKEND,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"} | environment,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_until_running(self) -> str:
        """The app's address, once it serves."""
        wait_until(lambda: self.RUNNING.search(self.output) or self.process.poll() is not None)
        running = self.RUNNING.search(self.output)
        assert running, self.output
        return f"http://127.0.0.1:{running[1]}"

    def wait(self, within: float = 15) -> int:
        """The exit code; by then `output` is complete."""
        code = self.process.wait(within)
        self._reader.join(within)
        return code

    def stop(self) -> int:
        self.process.terminate()
        return self.wait()

    def kill(self) -> None:
        self.process.kill()
        self.wait()
