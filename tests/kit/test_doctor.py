"""`doctor` and the drivers: every key of a URL goes through the pinned SQLAlchemy and asyncpg, and through
libpq, to a real server; what `doctor` says about it must be what happens."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from programs import SIDEPULSE
from servers import Postgres

# Values as people write them. `ssl=verify-…` depends on a file, and has a warning of its own.
PAIRS = """
ssl=disable ssl=allow ssl=prefer ssl=require ssl=true ssl=1 ssl=on ssl=REQUIRE ssl=False ssl=no-verify
sslmode=require sslmode=disable channel_binding=require options=-csearch_path%3Dx
options=endpoint%3Dep-x sslrootcert=system sslcert=x sslkey=x sslcrl=x sslpassword=x
sslnegotiation=direct sslsni=1 sslcompression=0 gssencmode=disable connect_timeout=10 application_name=x
keepalives=1 keepalives_idle=3 tcp_user_timeout=5 pgbouncer=true schema=public currentSchema=x
search_path=x connection_limit=5 pool_timeout=10 pool_size=5 max_overflow=5 pool_pre_ping=true
pool_recycle=30 poolclass=NullPool echo=true isolation_level=AUTOCOMMIT statement_cache_size=0
max_cached_statement_lifetime=0 max_cacheable_statement_size=0 prepared_statement_cache_size=0
prepared_statement_cache_size=500 prepared_statement_cache_size=x prepared_statement_name_func=x
command_timeout=5 command_timeout=2.5 command_timeout=0 command_timeout=x timeout=5
target_session_attrs=any target_session_attrs=read-write target_session_attrs=primary
target_session_attrs=x krbsrvname=postgres gsslib=gssapi passfile=/nowhere direct_tls=true
direct_tls=false server_settings=x dsn=x connection_class=x record_class=x loop=x async_fallback=true
async_creator_fn=x client_encoding=utf8 charset=utf8 supa=base-pooler.x sslaccept=strict
load_balance_hosts=random replication=database jit=off statement_timeout=5 socket_timeout=3
uselibpqcompat=true sslMode=require ssl_mode=require min_size=1 max_size=5 dbname=postgres
hostaddr=127.0.0.1 host=127.0.0.1 user=postgres database=postgres
""".split()

# Newer than the libpq of Debian 12 (15), which therefore cannot be asked.
NEWER = {"sslnegotiation", "load_balance_hosts"}


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An app that does nothing to the URL."""
    directory = tmp_path_factory.mktemp("backend")
    (directory / "main.py").write_text("import os\napp = start(os.environ['DATABASE_URL'])\n")
    return directory


def says(url: str, backend: Path) -> dict[str, list[dict[str, str]]]:
    """What `doctor` finds, by rule."""
    command = [str(SIDEPULSE), "doctor", "--json", "--backend", str(backend)]
    ran = subprocess.run(command, env={"DATABASE_URL": url}, capture_output=True, text=True, timeout=30)
    found: dict[str, list[dict[str, str]]] = {}
    for rule in json.loads(ran.stdout)["rules"]:
        found.setdefault(rule["id"], []).append(rule)
    return found


async def connects(url: str) -> bool:
    """Whether SQLAlchemy and asyncpg get as far as a query."""
    try:
        engine = create_async_engine(url)
    except Exception:  # whatever it is, the app would not start
        return False
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return True
    except Exception:
        return False
    finally:
        await engine.dispose()


def test_asyncpg_accepts_what_doctor_says_it_accepts(postgres: Postgres, backend: Path) -> None:
    base = postgres.url().replace("postgresql://", "postgresql+asyncpg://")

    async def all_of_them() -> dict[str, bool]:
        return {pair: await connects(f"{base}?{pair}") for pair in PAIRS}

    works = asyncio.run(all_of_them())
    assert sum(works.values()) > 15 and sum(not works for works in works.values()) > 60
    for pair, expected in works.items():
        levels = {rule["level"] for rule in says(f"{base}?{pair}", backend)["database-keys"]}
        assert levels == ({"ok"} if expected else {"error"}), (pair, expected, levels)


def test_libpq_accepts_what_doctor_says_it_accepts(postgres: Postgres, backend: Path) -> None:
    base = postgres.url()
    for pair in PAIRS:
        key = pair.split("=")[0]
        if key in NEWER:
            continue
        # Only whether the key is known: a value may be refused, or need a certificate that does not exist.
        before = len(postgres.log())
        psql = postgres.popen("psql", "-X", "-w", "-c", "SELECT 1", f"{base}?{pair}")
        psql.wait(30)
        expected = f'invalid URI query parameter: "{key}"' not in postgres.log()[before:]
        url = base.replace("postgresql://", "postgresql+psycopg://")
        levels = {rule["level"] for rule in says(f"{url}?{pair}", backend)["database-keys"]}
        assert levels == ({"ok"} if expected else {"error"}), (pair, expected, levels)


LINES = """
a==1.0
a == 1.0 ; python_version < "3.9"
A_b.c[d,e]==1.0,<2
a ===1.0
a (==1.0)
a>=1.0,
a~=1.0
a!=1.0
a = 1.0
a==1.0 b
two words
==1.0
[x]==1
a[x==1
-e .
--index-url https://packages.example/simple
a @ https://files.acme.com/a-1.0-py3-none-any.whl
git+https://github.com/acme/a.git@4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a#egg=a
""".strip().splitlines()


def test_pip_refuses_what_doctor_says_it_refuses(tmp_path: Path) -> None:
    # The parser alone, from the pip of this environment: nothing is looked up.
    program = (
        "import sys; from pip._internal.req.req_file import parse_requirements\n"
        "from pip._internal.req.constructors import install_req_from_parsed_requirement as read\n"
        "from pip._internal.network.session import PipSession\n"
        "[read(line) for line in parse_requirements(sys.argv[1], session=PipSession())]\n"
    )
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    for line in LINES:
        file = tmp_path / "requirements.txt"
        file.write_text(f"{line}\n")
        pip = subprocess.run([sys.executable, "-c", program, str(file)], cwd=tmp_path, capture_output=True)
        found = says("postgresql://h/d", tmp_path)["requirements"]
        refused = any("not a requirement" in rule["message"] for rule in found)
        assert refused == (pip.returncode != 0), (line, pip.stderr[-300:], found)
