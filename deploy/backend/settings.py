"""The settings: five environment variables, whose errors are reported together."""

import secrets
from dataclasses import dataclass, field

from cors import Origins, parse_origins
from database_url import DatabaseUrl, parse_database_url

RELAXED_ENVIRONMENTS = ("development", "test")  # any other must meet what production must meet
MIN_JWT_SECRET = 32  # characters: RFC 7518 requires for HS256 a key at least as long as its 256-bit hash

DEVELOPMENT_DATABASE_URL = "postgresql+asyncpg://postgres@localhost:5432/postgres"
DEVELOPMENT_ORIGINS = "http://localhost:3000,http://localhost:5173"  # Next.js, Vite

NEW_SECRET = "python -c 'import secrets; print(secrets.token_urlsafe(48))'"


class ConfigurationError(Exception):
    """Everything wrong with the environment, in one line each, without a value that may hold a secret."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class Settings:
    environment: str
    database: DatabaseUrl
    jwt_secret: str = field(repr=False)
    origins: Origins
    port: int
    warnings: tuple[str, ...]


def decide_settings(
    *,
    database_url: str | None = None,
    jwt_secret: str | None = None,
    environment: str | None = None,
    cors_origins: str | None = None,
    port: str | int,
) -> Settings:
    """Reads the settings; an empty value counts as unset."""
    faults: list[str] = []
    warnings: list[str] = []

    environment = _given(environment)
    if environment is None:
        environment = "development"
        warnings.append("ENVIRONMENT is not set: development. Set ENVIRONMENT=production where users are")
    environment = environment.strip().lower()
    relaxed = environment in RELAXED_ENVIRONMENTS

    database_url = _given(database_url)
    if database_url is None and relaxed:
        database_url = DEVELOPMENT_DATABASE_URL
        warnings.append(f"DATABASE_URL is not set: using {DEVELOPMENT_DATABASE_URL}")
    database = None
    if database_url is None:
        faults.append(
            "DATABASE_URL is not set. Set it to the connection string of the database, "
            "for example postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE (Neon: Dashboard, Connect)"
        )
    else:
        try:
            database = parse_database_url(database_url)
            warnings += [f"DATABASE_URL: {warning}" for warning in database.warnings]
        except ValueError as fault:
            faults.append(f"DATABASE_URL: {fault}")

    jwt_secret = _given(jwt_secret)
    if jwt_secret is None and relaxed:
        jwt_secret = secrets.token_urlsafe(48)
        warnings.append("JWT_SECRET is not set: using a random one, so tokens end with this process")
    elif jwt_secret is None:
        faults.append(f"JWT_SECRET is not set. Make one with: {NEW_SECRET}")
    elif len(jwt_secret.strip()) < MIN_JWT_SECRET:
        short = f"JWT_SECRET has fewer than {MIN_JWT_SECRET} characters. Make a better one with: {NEW_SECRET}"
        (warnings if relaxed else faults).append(short)

    cors_origins = _given(cors_origins)
    if cors_origins is None and relaxed:
        cors_origins = DEVELOPMENT_ORIGINS
        warnings.append(f"CORS_ORIGINS is not set: using {DEVELOPMENT_ORIGINS}")
    elif cors_origins is None:
        warnings.append(
            "CORS_ORIGINS is not set: no browser front end may call this app. "
            "Set it to the front end's origin, for example https://shop.vercel.app"
        )
    origins = Origins()
    try:
        origins = parse_origins(cors_origins or "", must_be_https=not relaxed)
        warnings += [f"CORS_ORIGINS: {warning}" for warning in origins.warnings]
    except ValueError as fault:
        faults.append(f"CORS_ORIGINS {fault}")

    number = str(port).strip()
    if not (number.isascii() and number.isdigit() and 1 <= int(number[:6]) <= 65535):
        faults.append("PORT is not a port. Set it to a number from 1 to 65535, for example 8080")

    if faults:
        raise ConfigurationError(faults)
    return Settings(environment, database, jwt_secret, origins, int(number), tuple(warnings))


def _given(value: str | None) -> str | None:
    return value if value and value.strip() else None
