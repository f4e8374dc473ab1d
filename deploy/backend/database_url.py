"""DATABASE_URL as people paste it, turned into what asyncpg takes. No other file sees the password.

SQLAlchemy hands every query key to `asyncpg.connect`, which knows neither `sslmode` nor `channel_binding`,
and whose own `ssl=require` verifies nothing. So the query is read here, and TLS is decided here. Faults and
warnings name keys and remedies, never a value: any part of a malformed URL may be a piece of the password.
"""

import ipaddress
import os
import re
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from sqlalchemy import URL

DRIVER = "postgresql+asyncpg"
SCHEMES = ("postgres", "postgresql", DRIVER, "postgresql+psycopg", "postgresql+psycopg2")
EXAMPLE = f"for example {DRIVER}://USER:PASSWORD@HOST/DATABASE"
APPLICATION_NAME = "backend"

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SSL_SYNONYMS = {"true": "require", "1": "require", "false": "disable", "0": "disable"}
PRIVATE_SUFFIXES = (".internal", ".local", ".svc", ".cluster.local")
NEON_SUFFIX = ".neon.tech"
HANDLED = {"host", "port", "sslmode", "ssl", "sslrootcert", "channel_binding", "options", "application_name"}
POOLER_KEYS = ("prepared_statement_cache_size", "statement_cache_size")


@dataclass(frozen=True)
class DatabaseUrl:
    url: URL = field(repr=False)
    connect_args: dict[str, Any] = field(repr=False)
    warnings: tuple[str, ...] = ()


def parse_database_url(value: str) -> DatabaseUrl:
    """Reads the URL; raises ValueError, without any part of the URL in it, when it cannot be used."""
    parts, query = _split(_unwrapped(value))
    user, password = _credentials(parts.netloc)
    host, port = _address(parts, query)
    warnings: list[str] = []

    settings = {"application_name": query.get("application_name", APPLICATION_NAME)}
    if "options" in query:  # Neon's endpoint=…, or -c key=value
        settings["options"] = query["options"]
    connect_args: dict[str, Any] = {"server_settings": settings}

    connect_args["ssl"] = _tls(host, query, warnings)

    if (
        is_pooler(host)
        or any(query.get(key) == "0" for key in POOLER_KEYS)
        or query.get("pgbouncer") == "true"
    ):
        # A transaction pooler gives each transaction another server session, where a statement prepared
        # before is unknown, or somebody else's of the same name. Without caches and without a name asyncpg
        # sends each statement whole, together with its values.
        connect_args["statement_cache_size"] = 0  # asyncpg's cache
        connect_args["prepared_statement_cache_size"] = 0  # SQLAlchemy's
        connect_args["prepared_statement_name_func"] = lambda: ""
    for key in query.keys() - HANDLED - {"pgbouncer"}:
        if key not in POOLER_KEYS or query[key] != "0":
            warnings.append(f"{key} is ignored")

    url = URL.create(DRIVER, user, password, host, port, unquote(parts.path.removeprefix("/")) or None)
    return DatabaseUrl(url, connect_args, tuple(sorted(warnings)))


def is_neon(host: str) -> bool:
    return host.lower().rstrip(".").endswith(NEON_SUFFIX)


def is_pooler(host: str) -> bool:
    """Neon's pooled hosts: the endpoint's name ends so, and PgBouncer answers."""
    return host.split(".")[0].lower().endswith("-pooler")


def is_private(host: str) -> bool:
    """Private by its own text; no name is looked up for this."""
    name = host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(PRIVATE_SUFFIXES)
    return address.is_private or address.is_loopback


def _unwrapped(value: str) -> str:
    """The URL out of quotes, blanks, or a whole pasted `psql '…'`."""
    value = value.strip()
    if command := re.match(r"psql\s+", value):
        value = value[command.end() :]
    return value.strip().strip("'\"").strip()


def _split(value: str) -> tuple[SplitResult, dict[str, str]]:
    if re.search(r"\s", value) or not value.isprintable():
        raise ValueError(f"holds blanks or control characters: paste the URL alone, {EXAMPLE}")
    try:
        parts = urlsplit(value)
        query = dict(_pair(item) for item in parts.query.split("&") if item)
        _ = parts.port
    except ValueError:
        parts, query = None, {}
    if parts is not None and (parts.scheme not in SCHEMES or "://" not in value):
        raise ValueError(f"is not a PostgreSQL URL: it must begin with {DRIVER}://, {EXAMPLE}")
    # An unescaped @ / ? # in the password ends up in another part of the URL.
    if (
        parts is None
        or parts.netloc.count("@") > 1
        or "@" in parts.path + parts.query
        or "#" in value
        or not all(re.fullmatch(r"[A-Za-z_]+", key) for key in query)
    ):
        raise ValueError(
            "cannot be read: its port is not a number, or its password holds a character that must be "
            "percent-encoded (@ is %40, / is %2F, ? is %3F, # is %23, % is %25, : is %3A, [ is %5B)"
        )
    return parts, query


def _pair(item: str) -> tuple[str, str]:
    key, _, value = item.partition("=")
    return unquote(key), unquote(value)


def _credentials(netloc: str) -> tuple[str | None, str | None]:
    userinfo, at, _ = netloc.rpartition("@")
    user, colon, password = userinfo.partition(":")
    return (unquote(user) or None if at else None), (unquote(password) if colon else None)


def _address(parts: SplitResult, query: dict[str, str]) -> tuple[str, int | None]:
    host = query.get("host") or unquote(parts.hostname or "")
    port = query.get("port") or parts.port
    if not host:
        raise ValueError(f"names no host, {EXAMPLE}")
    if "," in parts.netloc.rpartition("@")[2] + host + str(port):
        raise ValueError("names several hosts: name one")
    if port is not None and not (str(port).isdigit() and 1 <= int(port) <= 65535):
        raise ValueError("names a port that is not a number from 1 to 65535")
    return host, int(port) if port is not None else None


def _tls(host: str, query: dict[str, str], warnings: list[str]) -> ssl.SSLContext | str | bool:
    """What asyncpg's `ssl` should be. A Neon host is always verified in full, whatever the URL asks for."""
    root = query.get("sslrootcert")
    mode = (query.get("sslmode") or query.get("ssl") or "").lower().replace("_", "-") or None
    mode = SSL_SYNONYMS.get(mode, mode)
    if mode is not None and mode not in SSL_MODES:
        raise ValueError(f"has an unknown sslmode: use one of {', '.join(SSL_MODES)}")
    if host.startswith("/"):
        return False
    if is_neon(host) or root == "system":
        mode = "verify-full"
    if mode is None:
        mode = "prefer" if is_private(host) and root is None else "require"

    if mode in ("disable", "allow", "prefer"):
        if not is_private(host):
            warnings.append(f"sslmode={mode} lets the password travel unencrypted: use sslmode=verify-full")
        return "prefer" if mode != "disable" else False

    if mode == "require" and root is None:
        warnings.append("sslmode=require encrypts but verifies nothing: sslmode=verify-full knows the server")
        if query.get("channel_binding") == "require":
            warnings.append("channel_binding=require is beyond asyncpg: sslmode=verify-full protects as well")
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context = _verifying_context(None if root == "system" else root)
    context.check_hostname = mode == "verify-full"
    return context


def _verifying_context(root: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=root)
    except OSError:  # ssl.SSLError is one
        raise ValueError("has an sslrootcert that is missing, or no certificate in PEM form") from None
    if root is None and not context.get_ca_certs() and not _has_root_directory():
        raise ValueError(
            "needs a verified connection, but this system has no root certificates: "
            "install the package ca-certificates, or add sslrootcert=<file>"
        )
    return context


def _has_root_directory() -> bool:
    """OpenSSL reads this directory only when it needs a root, so the context does not show what is in it."""
    directory = ssl.get_default_verify_paths().capath
    return bool(directory and os.path.isdir(directory) and os.listdir(directory))
