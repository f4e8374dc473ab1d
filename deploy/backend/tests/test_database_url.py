"""DATABASE_URL as pasted, and what becomes of it."""

import ssl
import traceback

import pytest
import trustme

from database_url import parse_database_url

NEON = "ep-cool-1.eu-central-1.aws.neon.tech"
POOLED = "ep-cool-1-pooler.eu-central-1.aws.neon.tech"
PLAIN = "postgresql+asyncpg://u:p@db.internal/app"


@pytest.mark.parametrize(
    ("pasted", "url"),
    [
        (PLAIN, PLAIN),
        ("postgres://u:p@db.internal/app", PLAIN),
        ("postgresql://u:p@db.internal/app", PLAIN),
        ("postgresql+psycopg://u:p@db.internal/app", PLAIN),
        ("postgresql+psycopg2://u:p@db.internal/app", PLAIN),
        ("POSTGRES://u:p@db.internal/app", PLAIN),
        ("  postgres://u:p@db.internal/app \n", PLAIN),
        ("'postgres://u:p@db.internal/app'", PLAIN),
        ('"postgres://u:p@db.internal/app"', PLAIN),
        ("psql 'postgres://u:p@db.internal/app'", PLAIN),
        ("psql postgres://u:p@db.internal/app", PLAIN),
        ("' postgres://u:p@db.internal/app '", PLAIN),
        (f"{PLAIN}?sslmode=prefer&channel_binding=require", PLAIN),
        ("postgres://u:p@db.internal:6543/app", "postgresql+asyncpg://u:p@db.internal:6543/app"),
        ("postgres://u:p@[::1]:5433/app", "postgresql+asyncpg://u:p@[::1]:5433/app"),
        ("postgres://u@db.internal", "postgresql+asyncpg://u@db.internal"),
        ("postgres://db.internal/app", "postgresql+asyncpg://db.internal/app"),
        ("postgres://u:p%40%2F%3A@db.internal/a%20b", "postgresql+asyncpg://u:p%40%2F%3A@db.internal/a b"),
        ("postgres://u:a+b:c@db.internal/app", "postgresql+asyncpg://u:a+b%3Ac@db.internal/app"),
    ],
)
def test_forms(pasted, url):
    parsed = parse_database_url(pasted)
    assert parsed.url.render_as_string(hide_password=False) == url
    assert parsed.warnings == ()


def test_a_socket_directory():
    parsed = parse_database_url("postgresql://u@/app?host=/run/postgresql&port=5433&sslmode=require")
    assert (parsed.url.host, parsed.url.port) == ("/run/postgresql", 5433)
    assert parsed.connect_args["ssl"] is False


@pytest.mark.parametrize(
    "pasted",
    [
        "hunter2",
        "",
        "mysql://u:hunter2@h/app",
        "postgresql:u:hunter2@h/app",
        "postgres://u:hunter2@/app",
        "postgres://u:hunter2@a.example,b.example/app",
        "postgres://u:hunter2@a.example:5432,b.example:5432/app",
        "postgres://u:hunter2@h:port/app",
        "postgres://u:hunter2@h:65536/app",
        "postgres://u:hunter2@h/app?port=x",
        "postgres://u:hun@ter2@h/app",
        "postgres://u:hun/ter2@h/app",
        "postgres://u:1/hunter2@h/app",
        "postgres://u:1?hunter2@h/app",
        "postgres://u:1?hunter2=x@h/app",
        "postgres://u:1#hunter2@h/app",
        "postgres://u:[hunter2]@h/app",
        "postgres://u:hunter2@h/app postgres://u:hunter2@h/app",
        "postgres://u:hunter2@h/app\x00",
        "postgres://u:hunter2@h/app?sslmode=hunter2",
        "postgres://u:hunter2@h/app?sslmode=verify-full&sslrootcert=/nowhere/hunter2.pem",
    ],
)
def test_faults_never_show_the_url(pasted):
    with pytest.raises(ValueError) as raised:
        parse_database_url(pasted)
    shown = "".join(traceback.format_exception(raised.value))  # with whatever caused it
    assert "hunter" not in shown and "ter2" not in shown


@pytest.mark.parametrize(
    ("host", "query", "mode"),
    [
        # Without an sslmode: what the host's text says.
        ("localhost", "", "prefer"),
        ("127.0.0.1", "", "prefer"),
        ("[::1]", "", "prefer"),
        ("10.1.2.3", "", "prefer"),
        ("db", "", "prefer"),
        ("postgres.railway.internal", "", "prefer"),
        ("db.example.com", "", "encrypted"),
        ("8.8.8.8", "", "encrypted"),
        # libpq's names, asyncpg's too.
        ("db.example.com", "?sslmode=disable", False),
        ("db.example.com", "?sslmode=allow", "prefer"),
        ("db.example.com", "?sslmode=prefer", "prefer"),
        ("db.example.com", "?sslmode=require", "encrypted"),
        ("db.example.com", "?ssl=require", "encrypted"),
        ("db.example.com", "?ssl=true", "encrypted"),
        ("db.example.com", "?sslmode=verify-ca", "chain"),
        ("db.example.com", "?sslmode=verify-full", "full"),
        ("db.example.com", "?ssl=verify_full", "full"),
        ("db.example.com", "?sslrootcert=system", "full"),
        ("db.example.com", "?sslmode=require&sslrootcert=system", "full"),
        ("db.example.com", "?sslmode=require&sslrootcert=ROOT", "chain"),
        ("db.example.com", "?sslmode=verify-full&sslrootcert=ROOT", "full"),
        ("localhost", "?sslrootcert=ROOT", "chain"),
        # Neon: always in full.
        (NEON, "", "full"),
        (NEON, "?sslmode=require", "full"),
        (NEON, "?sslmode=require&channel_binding=require", "full"),
        (NEON, "?sslmode=disable", "full"),
        (NEON, "?sslmode=require&sslrootcert=ROOT", "full"),
        (f"{NEON.upper()}.", "?ssl=require", "full"),
        (POOLED, "?sslmode=require", "full"),
        ("neon.tech.evil.example", "?sslmode=require", "encrypted"),
    ],
)
def test_tls(tmp_path, host, query, mode):
    root = tmp_path / "root.pem"
    trustme.CA().cert_pem.write_to_path(str(root))
    parsed = parse_database_url(f"postgres://u:p@{host}/app{query.replace('ROOT', str(root))}")
    tls = parsed.connect_args["ssl"]
    if isinstance(tls, ssl.SSLContext):
        tls = {
            (ssl.CERT_NONE, False): "encrypted",
            (ssl.CERT_REQUIRED, False): "chain",
            (ssl.CERT_REQUIRED, True): "full",
        }[(tls.verify_mode, tls.check_hostname)]
    assert tls == mode
    unverified = mode in ("encrypted", False, "prefer") and host.count(".") and "internal" not in host
    private = host in ("127.0.0.1", "10.1.2.3")
    assert bool(parsed.warnings) == bool(unverified and not private)


def test_a_root_file_without_a_certificate_is_a_fault(tmp_path):
    root = tmp_path / "root.pem"
    root.write_text("no certificate")
    for path in (root, tmp_path / "missing.pem"):
        with pytest.raises(ValueError, match="sslrootcert"):
            parse_database_url(f"postgres://u:p@db.example.com/app?sslmode=verify-ca&sslrootcert={path}")


def test_a_system_without_roots_is_a_fault(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(ValueError, match="ca-certificates"):
        parse_database_url(f"postgres://u:p@{NEON}/app?sslmode=require")


@pytest.mark.parametrize(
    ("url", "cached"),
    [
        (PLAIN, True),
        (f"postgres://u:p@{NEON}/app", True),
        (f"postgres://u:p@{POOLED}/app?sslmode=require", False),
        (f"{PLAIN}?prepared_statement_cache_size=0", False),
        (f"{PLAIN}?statement_cache_size=0", False),
        (f"{PLAIN}?pgbouncer=true", False),
    ],
)
def test_the_statement_caches_are_off_for_a_pooler(url, cached):
    parsed = parse_database_url(url)
    assert parsed.warnings == ()
    if cached:
        assert set(parsed.connect_args) == {"server_settings", "ssl"}
    else:
        assert parsed.connect_args["statement_cache_size"] == 0
        assert parsed.connect_args["prepared_statement_cache_size"] == 0
        assert parsed.connect_args["prepared_statement_name_func"]() == ""


def test_what_reaches_the_server():
    parsed = parse_database_url(f"postgres://u:p@{NEON}/app?options=endpoint%3Dep-x&application_name=shop")
    assert parsed.connect_args["server_settings"] == {"application_name": "shop", "options": "endpoint=ep-x"}


def test_other_keys_are_named_and_left_out():
    parsed = parse_database_url(f"{PLAIN}?pool_size=50&connect_timeout=hunter2")
    assert parsed.warnings == ("connect_timeout is ignored", "pool_size is ignored")
    assert set(parsed.connect_args) == {"server_settings", "ssl"}


def test_the_parsed_url_can_be_shown():
    assert "hunter2" not in repr(parse_database_url("postgres://u:hunter2@db.internal/app"))
