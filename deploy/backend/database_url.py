"""Turns DATABASE_URL, as people paste it, into what asyncpg takes.

SQLAlchemy hands every query key to `asyncpg.connect`, which knows neither `sslmode` nor `channel_binding`,
and libpq and SQLAlchemy read some URLs differently. So the URL is parsed here, by the rules of the sidecar
that checks the same database: tests/urls.json says what each spelling means to both. Errors and warnings name
keys and remedies, never a value: any part of a malformed URL may be a piece of the password, which only this
file and pasted.py see.
"""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from sqlalchemy import URL

import tls
from hosts import Host, read_host, read_port, split_port
from pasted import after_scheme, fault, is_placeholder
from tls import ClientCertificate, Mode, Tls

DRIVER = "postgresql+asyncpg"
APPLICATION_NAME = "backend"
DEFAULT_PORT = 5432

MODES = {
    "disable": Mode.DISABLE,
    "allow": Mode.PREFER,
    "prefer": Mode.PREFER,
    "require": Mode.REQUIRE,
    "verify-ca": Mode.VERIFY_CA,
    "verify-full": Mode.VERIFY_FULL,
}
WORDS = {
    "sslmode": MODES,
    # JDBC's ssl=true, which libpq knows too, and node-postgres's ssl=1.
    "ssl": MODES | {"true": Mode.REQUIRE, "1": Mode.REQUIRE, "false": Mode.DISABLE, "0": Mode.DISABLE},
    "sslcertmode": ("disable", "allow", "require"),
    "sslnegotiation": ("postgres", "direct"),
    "channel_binding": ("disable", "prefer", "require"),
}

KNOWN = (
    "channel_binding", "database", "dbname", "host", "hostaddr", "options", "password", "port", "ssl",
    "sslcert", "sslcertmode", "sslkey", "sslmode", "sslnegotiation", "sslpassword", "sslrootcert", "user",
)  # fmt: skip
# An unescaped @ in these does not mean that the password goes on.
MAY_HOLD_AT = ("application_name", "options", "password", "sslpassword", "user")
CACHES_OFF = (("prepared_statement_cache_size", "0"), ("statement_cache_size", "0"))
KEY = re.compile(r"[A-Za-z0-9_.-]{1,40}")
PLAIN_KEY = re.compile(r"[A-Za-z_]+")  # with digits it could be a piece of a password, and is not shown


@dataclass(frozen=True)
class DatabaseUrl:
    url: URL = field(repr=False)
    connect_args: dict[str, Any] = field(repr=False)
    is_pooled: bool = False  # a transaction pooler: session settings would reach other clients
    is_neon: bool = False
    warnings: tuple[str, ...] = ()


def parse_database_url(value: str) -> DatabaseUrl:
    """Reads the URL; raises ValueError, without any part of the URL in it, when it cannot be used."""
    given, query = _split(after_scheme(value))
    warnings: list[str] = []
    given |= _read_query(query, warnings)

    host = read_host(given.get("host", ""), given.get("hostaddr"), int(given.get("port", DEFAULT_PORT)))
    user = given.get("user")
    if user is None:
        raise fault("the user name is missing")
    password = given.get("password", "")
    if host.is_neon:
        password = _without_endpoint(password)

    settings = {"application_name": given.get("application_name", APPLICATION_NAME)}
    if "options" in given:  # Neon's endpoint=…, or -c key=value
        settings["options"] = given["options"]
    # Everything is given, so that asyncpg looks for nothing in PG… variables and ~/.pgpass.
    connect_args: dict[str, Any] = {"server_settings": settings, "password": password}
    connect_args |= tls.connect_args(_decide_tls(given, host, warnings))

    is_pooled = host.is_pooled or given.get("pgbouncer") == "true"
    if is_pooled or any(given.get(key) == value for key, value in CACHES_OFF):
        # A transaction pooler gives each transaction another server session, where a statement prepared
        # earlier is unknown, or is another client's with the same name. Without caches and names, asyncpg
        # sends each statement whole, together with its values.
        connect_args["statement_cache_size"] = 0  # asyncpg's cache
        connect_args["prepared_statement_cache_size"] = 0  # SQLAlchemy's
        connect_args["prepared_statement_name_func"] = lambda: ""

    database = given.get("dbname", user)
    url = URL.create(DRIVER, user, password, host.dial, host.port, database)
    return DatabaseUrl(url, connect_args, is_pooled, host.is_neon, tuple(sorted(warnings)))


def _split(text: str) -> tuple[dict[str, str], str]:
    """`[user[:password]@][host][:port][/dbname][?query]`: what is given, by libpq's names, and the query.

    A password ends at the first @, as in libpq and SQLAlchemy; a second @ is allowed only in the value of a
    known key. Otherwise a password may hold % # / ? [ ] unescaped where SQLAlchemy accepts it.
    """
    userinfo, rest = _userinfo(text)
    before, _, query = rest.partition("?")
    if "@" in before:
        raise _more_than_one_at()
    authority, _, path = before.partition("/")
    user, _, password = userinfo.partition(":")
    for part, pasted in (
        ("user name", user),
        ("password", password),
        ("host", authority.partition(":")[0]),
        ("database's name", path),
    ):
        if is_placeholder(pasted):
            raise fault(f"a placeholder stands where the {part} belongs")
    if "/" in path:
        raise fault("a second `/` stands behind the host: end the URL after the database's name")
    if re.search("&[a-z]*=", path):
        raise fault("a `&` stands where the query begins: there it is a `?`")
    host, port = split_port(authority)
    found = {
        "user": _decoded("user name", user),
        "password": _decoded("password", password),
        "host": _decoded_strictly("host", host),
        "port": port,
        "dbname": _decoded("database's name", path),
    }
    return {key: value for key, value in found.items() if value}, query


def _userinfo(text: str) -> tuple[str, str]:
    """User name and password, which end at the first @, and the rest."""
    before, at, rest = text.partition("@")
    end = re.search("[/?]", before)
    if not at:
        return "", text
    if end is None:
        return before, rest
    user, colon, password = before[: end.start()].partition(":")
    if not colon and end[0] == "/":
        return "", text  # host/…?user=a@b
    # Not host:5432/… and not [::1]:5432/…: it is a password.
    if colon and not user.startswith("[") and re.search("[^0-9]", password):
        return before, rest
    raise fault(
        "a `/` or `?` stands before the `@`: in user name and password they are written %2F and %3F, and an "
        "`@` elsewhere is written %40"
    )


def _read_query(query: str, warnings: list[str]) -> dict[str, str]:
    """A key given twice has its last value, as in libpq; but to SQLAlchemy two hosts mean several hosts."""
    given: dict[str, str] = {}
    names_are_shown = True  # after a password they may be pieces of it, cut off by an unescaped &
    ignored: set[str] = set()
    for item in filter(None, query.split("&")):
        key, equals, pasted = item.partition("=")
        if not equals:
            raise fault("a part of the query has no `=` (an `&` in a value is written %26)")
        key = _decoded_strictly("query", key)
        if not KEY.fullmatch(key):
            raise fault("a key in the query holds a character that no key has")
        if key not in KNOWN and key.lower() in KNOWN:
            raise fault(f"{key.lower()} is written in lower case")
        if "@" in pasted and key not in MAY_HOLD_AT:
            raise _more_than_one_at()
        is_shown, names_are_shown = names_are_shown, names_are_shown and "pass" not in key
        value = _decoded("query", pasted)
        if not value:
            continue
        if key == "host" and "host" in given:
            raise fault("there are several hosts: name one")
        if key in WORDS:
            value = value.lower().replace("_", "-")
            if value not in WORDS[key]:
                raise fault(f"{key} is not one of {', '.join(WORDS[key])}")
        if key == "port":
            read_port(value)
        given["dbname" if key == "database" else key] = value
        if (
            key not in KNOWN
            and key not in ("application_name", "pgbouncer")
            and (key, value) not in CACHES_OFF
        ):
            ignored.add(
                key if is_shown and PLAIN_KEY.fullmatch(key) else "a key that the backend does not know"
            )
    if "host" in given:
        given["host"], port = split_port(given["host"], is_key=True)
        if port:
            given.setdefault("port", port)
    warnings += [f"{key} is ignored" for key in ignored]
    return given


def _decide_tls(given: dict[str, str], host: Host, warnings: list[str]) -> Tls:
    """Where the mode asked for and the host disagree, the stronger wins; too weak a mode is an error."""
    asked = _asked_mode(given)
    binding = given.get("channel_binding")
    direct = given.get("sslnegotiation") == "direct"
    roots = given.get("sslrootcert")
    mode = asked if asked is not None else Mode.PREFER if host.is_private else Mode.REQUIRE

    if host.is_socket:
        mode, direct = Mode.DISABLE, False  # a Unix socket has no TLS
    else:
        if roots == "system" or host.has_neon_certificate:
            mode = Mode.VERIFY_FULL
        if direct and mode < Mode.REQUIRE:
            if asked is not None:
                raise fault("sslnegotiation=direct needs sslmode=require or stronger")
            mode = Mode.REQUIRE
    if binding == "require":
        if mode is Mode.DISABLE:
            raise fault("channel_binding=require needs TLS")
        # Plaintext has no channel to bind to: the sidecar, whose driver can bind, refuses such a login.
        mode = max(mode, Mode.REQUIRE)

    shows_certificate = given.get("sslcertmode") != "disable" and mode is not Mode.DISABLE
    client = _client_certificate(given) if shows_certificate else None
    decided = Tls(mode, host.name, None if roots == "system" else roots, client, direct)
    if mode < Mode.REQUIRE and not host.is_private:
        warnings.append(f"sslmode={mode.name.lower()} lets the password travel unencrypted: use verify-full")
    if mode is Mode.REQUIRE and not decided.verifies_chain:
        if asked is Mode.REQUIRE or not host.is_private:
            warnings.append(
                "sslmode=require encrypts but verifies nothing: sslmode=verify-full knows the server"
            )
        if binding == "require":
            warnings.append("channel_binding=require is beyond asyncpg: sslmode=verify-full protects as well")
    return decided


def _asked_mode(given: dict[str, str]) -> Mode | None:
    found = [WORDS[key][given[key]] for key in ("sslmode", "ssl") if key in given]
    if len({mode is Mode.DISABLE for mode in found}) > 1:
        raise fault("sslmode and ssl say different things: keep one")
    return max(found, default=None)  # ssl=true&sslmode=verify-full asks twice: the stronger one counts


def _client_certificate(given: dict[str, str]) -> ClientCertificate | None:
    certificate, key = given.get("sslcert"), given.get("sslkey")
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise fault("sslcert and sslkey belong together: one of them is missing")
    return ClientCertificate(certificate, key, given.get("sslpassword", ""))


def _without_endpoint(password: str) -> str:
    """Neon expects `endpoint=<id>;<password>` only from clients without SNI, which asyncpg has."""
    endpoint, _, bare = password.partition(";" if ";" in password else "$")
    return bare if bare and endpoint.startswith(("endpoint=", "project=")) else password


def _more_than_one_at() -> ValueError:
    return fault("there is more than one `@`: one in the password is written %40")


def _decoded(part: str, text: str) -> str:
    """A % without two hexadecimal digits is itself, as in SQLAlchemy; libpq would refuse it."""
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise fault(f"the {part} is not UTF-8 once decoded") from None
    if "\0" in decoded:  # it ends a string in the protocol
        raise fault(f"there is a NUL (%00) in the {part}")
    return decoded


def _decoded_strictly(part: str, text: str) -> str:
    if re.search("%(?![0-9A-Fa-f]{2})", text):
        raise fault(f"a `%` in the {part} is not followed by two hexadecimal digits: it is written %25")
    return _decoded(part, text)
