"""tests/urls.json: what each spelling of DATABASE_URL means here, to the sidecar, and then to asyncpg.

The judges are libpq (its own PQconninfoParse) and SQLAlchemy: where one of them reads a URL differently, the
row says so under its name.
"""

import ctypes
import ipaddress
import json
import ssl
import traceback
from pathlib import Path

import pytest
import trustme
from asyncpg import connect_utils
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

import tls
from database_url import DatabaseUrl, parse_database_url
from pasted import after_scheme

TABLE = json.loads((Path(__file__).parents[3] / "tests" / "urls.json").read_text(encoding="utf-8"))
DEFAULTS = TABLE["unless a row says otherwise"]
ROWS = [row for row in TABLE["rows"] if isinstance(row, dict)]
ACCEPTED = [row for row in ROWS if "refused" not in row]
REFUSED = [row for row in ROWS if "refused" in row]
IDENTITY = ("user", "password", "host", "port", "database")  # where the login goes, and as whom

NEON = "ep-cool-1.eu-central-1.aws.neon.tech"
POOLED = "ep-cool-1-pooler.eu-central-1.aws.neon.tech"
PLAIN = "postgresql+asyncpg://u:p@db.internal/app"


def by_url(row: dict) -> str:
    return ascii(row["url"])


@pytest.fixture
def files(monkeypatch) -> dict[ssl.SSLContext, list]:
    """What each context was told to load; the table's files do not exist."""
    loaded: dict[ssl.SSLContext, list] = {}
    monkeypatch.setattr(
        tls, "_load_roots", lambda context, roots: loaded.setdefault(context, []).append(roots)
    )
    monkeypatch.setattr(
        tls, "_load_client", lambda context, client: loaded.setdefault(context, []).append(client)
    )
    return loaded


def asyncpg_connects(parsed: DatabaseUrl) -> tuple:
    """The addresses and parameters that asyncpg itself makes of what SQLAlchemy hands it."""
    _, keywords = PGDialect_asyncpg().create_connect_args(parsed.url)
    keywords |= parsed.connect_args
    names = ("host", "port", "user", "password", "database", "ssl", "direct_tls", "server_settings")
    optional = dict.fromkeys(
        ("dsn", "passfile", "service", "servicefile", "target_session_attrs", "krbsrvname", "gsslib")
    )
    addresses, parameters = connect_utils._parse_connect_dsn_and_args(
        **optional, **{name: keywords.get(name) for name in names}
    )
    return addresses, parameters


def same_address(host: str | None) -> object:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return host


def meaning(parsed: DatabaseUrl, files: dict[ssl.SSLContext, list]) -> dict:
    """What asyncpg would do, in the words of the table."""
    [address], parameters = asyncpg_connects(parsed)
    found = {
        "user": parameters.user,
        "password": parameters.password or None,
        "database": parameters.database,
        "options": parameters.server_settings.get("options"),
    }
    if isinstance(address, str):
        return found | {"socket": address, "tls": "off"}
    found |= {"host": same_address(address[0]), "port": address[1]}
    context = parameters.ssl
    if not context:
        return found | {"tls": "off"}
    verifies = {
        (ssl.CERT_NONE, False): "require",
        (ssl.CERT_REQUIRED, False): "verify-ca",
        (ssl.CERT_REQUIRED, True): "verify-full",
    }[(context.verify_mode, context.check_hostname)]
    if parsed.connect_args.get("async_creator_fn") is tls.connect_encrypted_if_offered:
        verifies = {"require": "prefer", "verify-ca": "prefer verify-ca"}[verifies]
    [*roots] = [loaded for loaded in files.get(context, []) if isinstance(loaded, str)]
    [*clients] = [loaded for loaded in files.get(context, []) if isinstance(loaded, tls.ClientCertificate)]
    found |= {
        "tls": verifies,
        "name": same_address(context.name),
        "roots": roots[0] if roots else None,
        "client": [clients[0].certificate, clients[0].key, clients[0].passphrase] if clients else None,
        "direct": parameters.ssl_negotiation is connect_utils.SSLNegotiation.direct,
    }
    return found


@pytest.mark.parametrize("row", ACCEPTED, ids=by_url)
def test_what_asyncpg_is_told(row, files):
    parsed = parse_database_url(row["url"])
    found = meaning(parsed, files)
    expected = DEFAULTS | row
    if expected.get("channel_binding") == "require" and expected["tls"] == "prefer":
        expected["tls"] = "require"  # asyncpg cannot bind to a channel, but it can insist on one
    if "socket" in row:
        assert found["socket"] == row["socket"]
    else:
        assert found["host"] == same_address(expected["host"])
        assert found["port"] == expected["port"]
    for key in ("user", "password", "database", "tls", "options"):
        assert found[key] == expected.get(key), key
    if "tls" in found and found["tls"] != "off":
        name = expected.get("name", expected["host"])
        assert found["name"] == same_address(name)
        assert found["roots"] == expected.get("roots")
        assert found["client"] == expected.get("client")
        assert found["direct"] == expected.get("direct", False)
    assert parsed.is_neon == row.get("neon", False)
    assert parsed.is_pooled or not row.get("pooled")


@pytest.mark.parametrize("row", REFUSED, ids=by_url)
def test_an_error_has_the_sidecars_words_and_never_shows_the_url(row, files):
    with pytest.raises(ValueError) as raised:
        parse_database_url(row["url"])
    assert row["refused"] in str(raised.value)
    shown = "".join(traceback.format_exception(raised.value))  # with its causes
    assert "s3cret" not in shown and "T0ken" not in shown
    assert "\n" not in str(raised.value)


class ConninfoOption(ctypes.Structure):
    """PQconninfoOption (libpq-fe.h)."""

    _fields_ = (
        *((name, ctypes.c_char_p) for name in ("keyword", "envvar", "compiled", "val", "label", "dispchar")),
        ("dispsize", ctypes.c_int),
    )


@pytest.fixture(scope="session")
def libpq():
    library = ctypes.CDLL("libpq.so.5")
    library.PQconninfoParse.restype = ctypes.POINTER(ConninfoOption)
    library.PQconninfoParse.argtypes = (ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p))
    library.PQconninfoFree.argtypes = (ctypes.POINTER(ConninfoOption),)

    def parse(url: str) -> dict[str, str] | None:
        options = library.PQconninfoParse(url.encode(), ctypes.byref(ctypes.c_char_p()))
        if not options:
            return None
        found, index = {}, 0
        while options[index].keyword:
            if options[index].val is not None:
                found[options[index].keyword.decode()] = options[index].val.decode(errors="replace")
            index += 1
        library.PQconninfoFree(options)
        return found

    return parse


def libpq_reads(libpq, text: str) -> dict[str, str] | None:
    """What libpq makes of a URL without the keys that it does not know, which it would refuse."""
    before, mark, query = text.partition("?")
    if "@" in query and "@" not in before:
        before, mark, query = text, "", ""
    items = [
        item for item in query.split("&") if "=" not in item or libpq(f"postgresql://?{item}") is not None
    ]
    found = libpq(before + mark + "&".join(items))
    if found is None:
        return None
    host, port = found.get("host", ""), found.get("port") or "5432"
    if host.startswith("/"):
        host, port = f"{host.rstrip('/')}/.s.PGSQL.{port}", ""
    user = found.get("user")
    return {
        "user": user,
        "password": found.get("password"),
        "host": found.get("hostaddr") or (host if host.startswith("/") else host.lower()),
        "port": port,
        "database": found.get("dbname") or user,
    }


def sqlalchemy_reads(text: str) -> dict[str, str] | None:
    """What SQLAlchemy's asyncpg dialect passes to `asyncpg.connect` as the identity, whatever other keys
    say."""
    try:
        _, keywords = PGDialect_asyncpg().create_connect_args(make_url(text))
    except Exception:
        return None
    host, port = str(keywords.get("host", "")), str(keywords.get("port") or 5432)
    if host.startswith("/"):
        # asyncpg (connect_utils.py) also takes the file itself.
        host, port = host if ".s.PGSQL." in host else f"{host.rstrip('/')}/.s.PGSQL.{port}", ""
    return {
        "user": keywords.get("user"),
        "password": keywords.get("password"),
        "host": host if host.startswith("/") else host.lower(),
        "port": port,
        "database": keywords.get("database") or keywords.get("user"),
    }


@pytest.mark.parametrize("row", ACCEPTED, ids=by_url)
def test_libpq_and_sqlalchemy_read_the_same_or_the_row_says_how_not(row, libpq):
    url = f"postgresql://{after_scheme(row['url'])}"  # neither accepts quotes, psql or the other's schemes
    expected = DEFAULTS | row
    host, port = row.get("socket") or expected["host"], "" if "socket" in row else str(expected["port"])
    expected = {key: expected[key] for key in IDENTITY} | {"host": same_address(host), "port": port}
    for name, found in (("libpq", libpq_reads(libpq, url)), ("sqlalchemy", sqlalchemy_reads(url))):
        if found is not None:
            found["host"] = same_address(found["host"])
        assert (found == expected) is (name not in row), f"{name} reads {found}"


async def test_no_variable_of_libpqs_changes_where_it_logs_in(monkeypatch, tmp_path):
    """asyncpg takes from the environment whatever it is not given."""
    passwords = tmp_path / "passwords"
    passwords.write_text("*:*:*:*:other\n")
    passwords.chmod(0o600)
    for name, value in {
        "PGHOST": "other", "PGPORT": "1", "PGUSER": "other", "PGPASSWORD": "other", "PGDATABASE": "other",
        "PGPASSFILE": str(passwords), "PGSSLMODE": "disable", "PGSSLNEGOTIATION": "direct",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    [address], parameters = asyncpg_connects(
        parse_database_url("postgres://u@db.example.com?sslmode=require")
    )
    assert address == ("db.example.com", 5432)
    assert (parameters.user, parameters.password, parameters.database) == ("u", "", "u")
    assert parameters.ssl and parameters.ssl_negotiation is connect_utils.SSLNegotiation.postgres


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("sslmode=verify-ca&sslrootcert=BAD", "sslrootcert"),
        ("sslmode=verify-ca&sslrootcert=MISSING", "sslrootcert"),
        ("sslcert=MISSING&sslkey=KEY", "sslcert"),
        ("sslcert=CERTIFICATE&sslkey=MISSING", "sslkey"),
        ("sslcert=CERTIFICATE&sslkey=BAD", "sslkey"),
        ("sslcert=CERTIFICATE&sslkey=OTHER_KEY", "sslkey"),
        ("sslcert=CERTIFICATE&sslkey=LOCKED_KEY", "sslpassword"),
        ("sslcert=CERTIFICATE&sslkey=LOCKED_KEY&sslpassword=hunter2", "sslpassword"),
        ("sslcert=CERTIFICATE&sslkey=LOCKED_KEY&sslpassword=open%20sesame", None),
        ("sslcert=CERTIFICATE&sslkey=KEY", None),
    ],
)
def test_files_that_cannot_be_used_are_errors(tmp_path, query, key):
    authority = trustme.CA()
    mine, other = (authority.issue_cert("client.example") for _ in range(2))
    private = load_pem_private_key(mine.private_key_pem.bytes(), None)
    locked = BestAvailableEncryption(b"open sesame")
    files = {
        "BAD": b"no PEM",
        "CERTIFICATE": mine.cert_chain_pems[0].bytes(),
        "OTHER_KEY": other.private_key_pem.bytes(),
        "LOCKED_KEY": private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked),
        "KEY": mine.private_key_pem.bytes(),
        "MISSING": None,
    }
    items = dict(item.split("=") for item in query.split("&"))
    for name, content in files.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    filled = "&".join(f"{k}={tmp_path / v if v in files else v}" for k, v in items.items())
    url = f"postgres://u:p@db.example.com/app?{filled}"
    if key is None:
        assert parse_database_url(url).connect_args["ssl"]
        return
    with pytest.raises(ValueError, match=key) as raised:
        parse_database_url(url)
    assert str(tmp_path) not in str(raised.value) and "hunter2" not in str(raised.value)


def test_a_system_without_roots_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(ValueError, match="ca-certificates"):
        parse_database_url(f"postgres://u:p@{NEON}/app?sslmode=require")


@pytest.mark.parametrize(
    ("url", "cached", "pooled"),
    [
        (PLAIN, True, False),
        (f"postgres://u:p@{NEON}/app", True, False),
        (f"postgres://u:p@{POOLED}/app?sslmode=require", False, True),
        ("postgres://u:p@aws-0-eu-central-1.pooler.supabase.com:6543/app", False, True),
        ("postgres://u:p@aws-0-eu-central-1.pooler.supabase.com:5432/app", True, False),
        (f"{PLAIN}?prepared_statement_cache_size=0", False, False),
        (f"{PLAIN}?statement_cache_size=0", False, False),
        (f"{PLAIN}?pgbouncer=true", False, True),
    ],
)
def test_the_statement_caches_are_off_for_a_pooler(url, cached, pooled):
    parsed = parse_database_url(url)
    assert parsed.is_pooled is pooled
    if cached:
        assert "statement_cache_size" not in parsed.connect_args
    else:
        assert parsed.connect_args["statement_cache_size"] == 0
        assert parsed.connect_args["prepared_statement_cache_size"] == 0
        assert parsed.connect_args["prepared_statement_name_func"]() == ""


@pytest.mark.parametrize(
    ("query", "warnings"),
    [
        ("", ()),
        ("?sslmode=require", ("sslmode=require encrypts but verifies nothing",)),
        ("?sslmode=disable", ()),
        ("?pool_size=50&connect_timeout=hunter2", ("connect_timeout is ignored", "pool_size is ignored")),
        ("?prepared_statement_cache_size=100", ("prepared_statement_cache_size is ignored",)),
        ("?password=a&hunter=2&hunter2=1", ("a key that the backend does not know is ignored",)),
        ("?channel_binding=require", ("channel_binding=require is beyond asyncpg",)),
    ],
)
def test_warnings_name_keys_and_no_values(query, warnings):
    parsed = parse_database_url(f"postgres://u:p@db.internal/app{query}")
    assert len(parsed.warnings) == len(warnings)
    assert all(warning.startswith(piece) for warning, piece in zip(parsed.warnings, warnings, strict=True))


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
def test_an_unverified_login_over_a_public_network_causes_a_warning(mode):
    assert len(parse_database_url(f"postgres://u:p@db.example.com/app?sslmode={mode}").warnings) == 1


def test_what_reaches_the_server():
    parsed = parse_database_url(f"postgres://u:p@{NEON}/app?options=endpoint%3Dep-x&application_name=shop")
    assert parsed.connect_args["server_settings"] == {"application_name": "shop", "options": "endpoint=ep-x"}


def test_the_parsed_url_can_be_shown():
    assert "hunter2" not in repr(parse_database_url("postgres://u:hunter2@db.internal/app"))
