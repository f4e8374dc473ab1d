"""Finds the URL in what was pasted as DATABASE_URL: quotes, blanks, a whole `psql '…'` around it."""

import re

EXAMPLE = "postgresql+asyncpg://user:password@host:5432/dbname?sslmode=verify-full"

DRIVERS = ("asyncpg", "psycopg", "psycopg2", "psycopg_async", "psycopg2cffi", "pg8000")  # SQLAlchemy's
SCHEMES = ("postgres", "postgresql", *(f"postgresql+{driver}" for driver in DRIVERS))

# Other databases' schemes, without a +driver. No scheme outside these lists is ever named.
OTHERS = {
    "mysql": "MySQL", "mariadb": "MariaDB", "sqlite": "SQLite", "file": "SQLite", "mongodb": "MongoDB",
    "redis": "Redis", "rediss": "Redis", "mssql": "SQL Server", "sqlserver": "SQL Server", "oracle": "Oracle",
    "cockroachdb": "CockroachDB", "http": "a web server", "https": "a web server",
}  # fmt: skip

# A shell's quotes, and what a word processor makes of them.
QUOTES = ("''", '""', "``", "‘’", "“”", "„“", "””", "’’", "«»")  # noqa: RUF001
QUOTE = "[" + "".join({mark for pair in QUOTES for mark in pair}) + "]"

# Soft hyphens, zero-width spaces, direction marks, the byte order mark.
INVISIBLE = "\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
BLANK = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Unicode's White_Space
BLANKS = re.compile(f"[{BLANK}{INVISIBLE}]*")

# Railway's ${{Postgres.PGPASSWORD}}, a shell's ${PGPASSWORD} and $(…), a template engine's {{ password }}.
REFERENCE = re.compile(r"\$\{.*\}|\{\{.*\}|^\$[A-Za-z_(]", re.DOTALL)
# {host}, <password>, %(password)s, Supabase's [YOUR-PASSWORD], the asterisks and dots of consoles.
NAME = "[A-Za-z][A-Za-z0-9_. -]*"
PLACEHOLDER = re.compile(rf"\{{{NAME}\}}|<{NAME}>|%\({NAME}\)s|\[[A-Z][A-Z0-9_. -]*\]|\*{{3,}}|•{{3,}}")


def fault(text: str, example: str = EXAMPLE) -> ValueError:
    return ValueError(f"{text}, e.g. {example}")


def is_placeholder(part: str) -> bool:
    return PLACEHOLDER.fullmatch(part) is not None


def after_scheme(value: str) -> str:
    """The URL without its scheme; it begins with `user:password@` or the host."""
    url = _unquoted(value)
    if command := re.match(f"psql[{BLANK}]+", url, re.IGNORECASE | re.ASCII):
        url = _psql_url(_trimmed(url[command.end() :]))
    if not url:
        raise fault("the value is empty")
    if REFERENCE.search(url):
        raise fault("a reference to a variable stands in the value, which nothing has expanded")
    if re.match(QUOTE, url):
        raise fault("a quote stands at one end only")
    rest = _without_scheme(url)
    if re.search(f"{QUOTE}$", rest):
        raise fault("a quote stands at one end only")
    if re.search(f"[{INVISIBLE}]", rest):
        raise fault("an invisible character stands inside the URL: type it anew around there")
    if re.search(rf"[{BLANK}\x00-\x1f\x7f-\x9f]", rest):
        raise fault("a blank or a line break stands inside the URL (a blank is written %20)")
    return rest


def _trimmed(text: str) -> str:
    text = text[BLANKS.match(text).end() :]
    return text[: len(text) - BLANKS.match(text[::-1]).end()]


def _unquoted(text: str) -> str:
    text = _trimmed(text)
    while len(text) > 1 and text[0] + text[-1] in QUOTES:
        text = _trimmed(text[1:-1])
    return text


def _psql_url(arguments: str) -> str:
    """The one argument of a psql command as Neon's console shows it, with or without -d before it."""
    argument = _trimmed(re.sub("^(?:--dbname[= ]|-d )", "", arguments))
    if argument.startswith("-"):
        raise fault("the psql command holds no URL")
    url, more = _first_word(argument)
    if _trimmed(more).strip(";"):
        raise fault("the psql command holds more than the URL: leave only the URL")
    return _trimmed(url)


def _first_word(text: str) -> tuple[str, str]:
    for opening, closing in QUOTES:
        if text.startswith(opening) and closing in text[1:]:
            url, _, more = text[1:].partition(closing)
            return url, more
    url, *more = re.split(f"[{BLANK}]", text, maxsplit=1)
    return url, "".join(more)


def _without_scheme(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if separator and scheme in SCHEMES:
        return rest
    dialect = scheme.partition("+")[0]
    if _is_assignment(url):
        raise fault("the value begins with the name of a variable and `=`: leave only the URL")
    if re.match("[a-z_]+ *=", url):
        raise fault("this is libpq's key=value form: a URL is wanted")
    if not separator:
        raise fault("this is not a URL: it must begin with postgresql+asyncpg://")
    if scheme == "jdbc:postgresql":
        raise fault("this is a JDBC URL: write postgresql:// instead, with user and password before the host")
    if dialect in OTHERS:
        raise fault(f"this is a URL for {OTHERS[dialect]}: this app is for PostgreSQL")
    if dialect in ("postgres", "postgresql"):
        raise fault(f"the `+driver` in the scheme is not a known one: write one of {', '.join(SCHEMES)}")
    raise fault("the scheme is not postgresql")


def _is_assignment(text: str) -> bool:
    """`DATABASE_URL=postgresql://…`, with or without `export` and quotes."""
    found = re.match(rf"(?:export )?[A-Za-z][A-Za-z0-9_]*={QUOTE}*([^:]*)://", text)
    return found is not None and found[1].lower() in SCHEMES
