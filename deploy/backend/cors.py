"""Which browser origins may call the app: turns `CORS_ORIGINS` into what CORSMiddleware takes.

An entry is an origin (`https://shop.vercel.app`) or a preview pattern with one `*` inside a host label
(`https://shop-*-acme.vercel.app`). Credentials are allowed, so a pattern that matches hosts anyone can
register (`*`, `https://*.vercel.app`) would hand every visitor's session to strangers, and is refused.
"""

import re
from dataclasses import dataclass

EXAMPLE = "for example https://shop.vercel.app,https://shop-*-acme.vercel.app"
WILDCARD = "[a-z0-9-]+"  # within one label: never a dot, so never another domain
ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>[a-z0-9*.-]+|\[[0-9a-f:.]+\])(?P<port>:[0-9]{1,5})?")
DEFAULT_PORTS = {"https": ":443", "http": ":80"}
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Origins:
    exact: tuple[str, ...] = ()
    pattern: str | None = None  # CORSMiddleware matches it in full
    warnings: tuple[str, ...] = ()


def parse_origins(value: str, must_be_https: bool = False) -> Origins:
    """Reads the comma-separated list; raises ValueError with every fault in it."""
    exact: list[str] = []
    patterns: list[str] = []
    faults: list[str] = []
    warnings: list[str] = []

    for entry in (_unquoted(part) for part in _unquoted(value).split(",")):
        if not entry:
            continue
        shown = entry if "@" not in entry else "an entry with @"  # perhaps pasted credentials
        origin = entry.lower().rstrip("/")
        match = ORIGIN.fullmatch(origin)
        if entry == "*":
            faults.append("may not be *, because requests carry credentials: name the front end's origins")
            continue
        if match is None:
            faults.append(f"holds {shown}, which is not an origin: scheme and host only, {EXAMPLE}")
            continue
        scheme, host, port = match["scheme"], match["host"], match["port"] or ""
        if port == DEFAULT_PORTS[scheme]:
            port = ""  # a browser leaves it out
        if entry.lower() != f"{scheme}://{host}{port}":
            warnings.append(f"{shown} is read as {scheme}://{host}{port}, which is what a browser sends")
        if must_be_https and scheme == "http" and host not in LOOPBACK:
            warnings.append(f"{shown} is not https: anyone on the way can act as that page")

        if "*" not in host:
            exact.append(f"{scheme}://{host}{port}")
        elif fault := _pattern_fault(host):
            faults.append(f"holds {shown}: {fault}, {EXAMPLE}")
        else:
            patterns.append(re.escape(f"{scheme}://{host}{port}").replace(r"\*", WILDCARD))
            if host.endswith("*.vercel.app"):
                warnings.append(f"{shown} fits projects of other people too: end it with -<your team>")

    if faults:
        raise ValueError("; ".join(faults))
    pattern = "|".join(f"(?:{pattern})" for pattern in dict.fromkeys(patterns))
    return Origins(tuple(dict.fromkeys(exact)), pattern or None, tuple(warnings))


def _pattern_fault(host: str) -> str | None:
    labels = host.split(".")
    if host.count("*") > 1:
        return "one * an entry"
    if any("*" in label for label in labels[-2:]):
        return "a * in the domain itself fits domains that anyone can register"
    if "*" in labels:
        return "a * needs the project's name beside it in its label"
    return None


def _unquoted(text: str) -> str:
    return text.strip().strip("'\"").strip()
