"""How the connection to the database is encrypted, and how the server is verified.

asyncpg's own `ssl=require` verifies nothing, and its `ssl=verify-full` looks in a home directory. So the
context is made here, by the rules of libpq and the sidecar.
"""

import os
import ssl
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import asyncpg

ALPN = "postgresql"  # only for sslnegotiation=direct, which needs it: a TLS proxy may not know it
NOT_OFFERED = "rejected SSL upgrade"  # asyncpg's message where the server answers N


class Mode(IntEnum):
    """libpq's modes in their order; `allow` is `prefer` here, because it is never plaintext first."""

    DISABLE = 0
    PREFER = 1
    REQUIRE = 2
    VERIFY_CA = 3
    VERIFY_FULL = 4


@dataclass(frozen=True)
class ClientCertificate:
    """For a server that asks for one: PEM files, and the passphrase of an encrypted key."""

    certificate: str
    key: str
    passphrase: str


@dataclass(frozen=True)
class Tls:
    mode: Mode
    name: str  # for SNI and the certificate, whatever address is dialled
    roots: str | None = None  # a PEM file; None for the system's
    client: ClientCertificate | None = None
    direct: bool = False

    @property
    def verifies_chain(self) -> bool:
        """As in libpq, a root file makes `require`, and `prefer` too, verify the chain."""
        return self.mode >= Mode.VERIFY_CA or (self.mode > Mode.DISABLE and self.roots is not None)


class _NamedContext(ssl.SSLContext):
    """Verifies one name, whatever host is dialled: `hostaddr`, or a name that ends in a dot."""

    name: str

    def wrap_bio(self, incoming, outgoing, server_side=False, server_hostname=None, session=None):
        return super().wrap_bio(incoming, outgoing, server_side, self.name, session)


def connect_args(tls: Tls) -> dict[str, Any]:
    """The arguments for asyncpg; raises ValueError where a file cannot be used or there is no root."""
    if tls.mode is Mode.DISABLE:
        return {"ssl": False}
    arguments: dict[str, Any] = {"ssl": _context(tls), "direct_tls": tls.direct}
    if tls.mode is Mode.PREFER:
        arguments["async_creator_fn"] = connect_encrypted_if_offered
    return arguments


async def connect_encrypted_if_offered(*arguments: Any, **keywords: Any) -> asyncpg.Connection:
    """`prefer`: plaintext only where the server says that it has no TLS. asyncpg's own `prefer` verifies
    nothing, and falls back to plaintext after a failed handshake, which an active attacker can cause."""
    try:
        return await asyncpg.connect(*arguments, **keywords)
    except ConnectionError as error:
        if NOT_OFFERED not in str(error):
            raise
    return await asyncpg.connect(*arguments, **keywords | {"ssl": False})


def _context(tls: Tls) -> ssl.SSLContext:
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.name = tls.name
    if tls.direct:
        context.set_alpn_protocols([ALPN])
    context.check_hostname = tls.mode is Mode.VERIFY_FULL
    context.verify_mode = ssl.CERT_REQUIRED if tls.verifies_chain else ssl.CERT_NONE
    if tls.verifies_chain:
        _load_roots(context, tls.roots)
    if tls.client is not None:
        _load_client(context, tls.client)
    return context


def _load_roots(context: ssl.SSLContext, roots: str | None) -> None:
    if roots is None:
        context.load_default_certs()
        if not context.get_ca_certs() and not _has_root_directory():
            raise ValueError(
                "the server's certificate is to be verified, but this system has no root certificates: "
                "install the package ca-certificates, or add sslrootcert=<file>"
            )
        return
    try:
        context.load_verify_locations(cafile=roots)
    except OSError:  # ssl.SSLError is one
        raise ValueError("the file of sslrootcert is missing, or holds no certificate in PEM form") from None


def _load_client(context: ssl.SSLContext, client: ClientCertificate) -> None:
    try:
        # Without a passphrase OpenSSL would ask for one on the terminal.
        context.load_cert_chain(client.certificate, client.key, lambda: client.passphrase)
    except OSError:
        raise ValueError(
            "the files of sslcert and sslkey cannot be used: one is missing, holds no PEM, does not belong "
            "to the other, or is not opened by sslpassword"
        ) from None


def _has_root_directory() -> bool:
    """OpenSSL reads this directory only when it needs a root, so the context does not list what is in it."""
    directory = ssl.get_default_verify_paths().capath
    return bool(directory and os.path.isdir(directory) and os.listdir(directory))
