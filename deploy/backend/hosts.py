"""The host of DATABASE_URL: what to dial, which name to verify, and what its text alone says about it."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from pasted import fault

PRIVATE_SUFFIXES = (".internal", ".local", ".svc")  # Railway's and GCP's, mDNS's, Kubernetes'
PRIVATE_NETWORKS = [
    ipaddress.ip_network(text)
    for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
]

# Neon's own domain, and those of its resellers, which have their own certificates: Vercel, Koyeb, Databricks.
NEON_SUFFIX = ".neon.tech"
NEON_RESOLD = (".postgres.vercel-storage.com", ".pg.koyeb.app", ".databricks.com", ".azuredatabricks.net")
SUPABASE_SUFFIXES = (".supabase.com", ".supabase.co")
SUPABASE_TRANSACTION_PORT = 6543

LONGEST_SOCKET_PATH = 107  # sun_path of Linux holds 108 bytes with the closing NUL
LONGEST_NAME = 253  # RFC 1035: a name and each label of it
LONGEST_LABEL = 63


@dataclass(frozen=True)
class Host:
    dial: str  # a name, an address, or the path of a socket
    port: int
    name: str  # for SNI and the certificate: lower case, without a trailing dot
    is_socket: bool = False
    is_private: bool = False

    @property
    def has_neon_certificate(self) -> bool:
        return self.name.endswith(NEON_SUFFIX)

    @property
    def is_neon(self) -> bool:
        """Neon's proxy answers, resold or not."""
        return self.has_neon_certificate or (self.name.startswith("ep-") and self.name.endswith(NEON_RESOLD))

    @property
    def is_pooled(self) -> bool:
        """A pooler in transaction mode: Neon's by its endpoint's name, Supabase's by its port."""
        is_supabase = self.name.endswith(SUPABASE_SUFFIXES) and self.port == SUPABASE_TRANSACTION_PORT
        return is_supabase or self.name.split(".")[0].endswith("-pooler")


def read_host(host: str, hostaddr: str | None, port: int) -> Host:
    """Where `host` (decoded, without its port) and `hostaddr` lead: as in libpq, `hostaddr` says what to
    dial, and `host` what to verify."""
    if "," in host or "," in (hostaddr or ""):
        raise fault("there are several hosts: name one")
    if host.startswith("/"):
        if hostaddr is not None:
            raise fault("hostaddr and a socket directory exclude each other")
        return Host(_socket(host, port), port, "", is_socket=True, is_private=True)
    address = None if hostaddr is None else _address(hostaddr)
    if hostaddr is not None and address is None:
        raise fault("hostaddr is not an IP address")
    if not host and address is None:
        raise fault("the host is missing (a socket directory is given as host=/directory in the query)")
    dial, name, is_private = _read_name(host) if host else (address, address, True)
    if address is not None:
        # Both must be private: a tunnel's end on loopback still leads where the name says.
        dial, is_private = address, is_private and _is_private(address)
    return Host(dial, port, name, is_private=is_private)


def split_port(text: str, is_key: bool = False) -> tuple[str, str]:
    """`host`, `host:port`, `[v6]`, `[v6]:port`; as a key also a socket directory or a bare IPv6 address."""
    if is_key and (text.startswith("/") or _is_ipv6(text)):
        return text, ""
    if "," in text:
        raise fault("there are several hosts: name one")
    if text.startswith("["):
        inside, bracket, after = text[1:].partition("]")
        if not bracket:
            raise fault("the `[` before the IPv6 address is not closed")
        if "%" in inside:
            raise fault("an IPv6 address with a zone (`%`) is not accepted")
        host = f"[{inside}]"
    else:
        host, colon, after = text.partition(":")
        after = colon + after
    if after and not after.startswith(":"):
        raise fault("only `:` and the port may follow the `]` of an IPv6 address")
    if after[1:] and _is_ipv6(text):
        raise fault("an IPv6 address stands in brackets before the port")
    return host, read_port(after[1:]) if after[1:] else ""  # as in libpq, `host:` is the default port


def read_port(text: str) -> str:
    if "," in text:
        raise fault("there are several hosts: name one")
    if not re.fullmatch("0*[1-9][0-9]{0,4}", text) or int(text) > 65535:
        raise fault(
            "the port is not a number from 1 to 65535 "
            "(if this is the password: an `@` and the host must follow it)"
        )
    return text


def _socket(host: str, port: int) -> str:
    """libpq's socket file in a directory; asyncpg also takes the file itself."""
    path = PurePosixPath(host)
    if not path.name.startswith(".s.PGSQL."):
        path /= f".s.PGSQL.{port}"
    if len(str(path).encode()) > LONGEST_SOCKET_PATH:
        raise fault(f"the path of the Unix socket is longer than {LONGEST_SOCKET_PATH} bytes")
    return str(path)


def _read_name(text: str) -> tuple[str, str, bool]:
    """What to dial, what to verify, and whether the text shows a private network."""
    if text.startswith("["):
        address = _address(text[1:-1])
        if address is None or ":" not in address:
            raise fault("what stands in brackets is not an IPv6 address")
        return address, address, _is_private(address)
    dial = text.lower() if text.isascii() else text
    name = dial.removesuffix(".")
    if address := _address(name):
        return address, address, _is_private(address)
    if not re.fullmatch("[a-z0-9._-]*", name):
        raise fault(
            "the host has a character that no host name has "
            "(`@` in a password is written %40, an international name as xn--…)"
        )
    labels = name.split(".")
    if len(name) > LONGEST_NAME or not all(0 < len(label) <= LONGEST_LABEL for label in labels):
        raise fault("the host is not a host name: a part of it is empty or too long")
    # getaddrinfo takes 134744072 and 0x8080808 for 8.8.8.8, and here they would pass for names without a dot.
    if re.fullmatch("[0-9]+|0x[0-9a-f]*", labels[-1]):
        raise fault("the host ends in a number but is not an IPv4 address")
    return dial, name, "." not in name or name.endswith(PRIVATE_SUFFIXES)


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text)) if "%" not in text else None
    except ValueError:
        return None


def _is_ipv6(text: str) -> bool:
    return ":" in (_address(text) or "")


def _is_private(address: str) -> bool:
    """Loopback, RFC 1918 and RFC 4193; not link-local or carrier-grade NAT, which are shared networks."""
    parsed = ipaddress.ip_address(address)
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in network for network in PRIVATE_NETWORKS)
