"""What the environment may say, and how the app refuses to start."""

import re

import httpx
import pytest
from conftest import JWT_SECRET
from servers import App, free_port

from settings import ConfigurationError, decide_settings

URL = "postgresql+asyncpg://user:hunter2@db.internal/app"
GOOD = {
    "database_url": URL,
    "jwt_secret": JWT_SECRET,
    "environment": "production",
    "cors_origins": "https://shop.vercel.app",
    "port": "8080",
}
MAIN = ("main.py",)


def test_good_values_cause_no_warning():
    settings = decide_settings(**GOOD)
    assert settings.warnings == ()
    assert (settings.environment, settings.port) == ("production", 8080)
    assert settings.origins.exact == ("https://shop.vercel.app",)


@pytest.mark.parametrize("empty", [None, "", "  ", "\n"])
def test_development_has_defaults_and_says_so(empty):
    settings = decide_settings(**dict.fromkeys(GOOD, empty) | {"port": 8000})
    assert settings.environment == "development"
    assert settings.database.url.host == "localhost"
    assert len(settings.jwt_secret) >= 32
    assert "http://localhost:3000" in settings.origins.exact
    for name in ("ENVIRONMENT", "DATABASE_URL", "JWT_SECRET", "CORS_ORIGINS"):
        assert any(warning.startswith(f"{name} is not set") for warning in settings.warnings)


@pytest.mark.parametrize("environment", ["production", " Production ", "prod", "staging"])
@pytest.mark.parametrize("empty", [None, "", " "])
@pytest.mark.parametrize(
    ("name", "remedy"), [("database_url", "postgresql+asyncpg://"), ("jwt_secret", "token_urlsafe")]
)
def test_elsewhere_a_missing_variable_is_an_error(environment, empty, name, remedy):
    with pytest.raises(ConfigurationError) as raised:
        decide_settings(**GOOD | {"environment": environment, name: empty})
    assert len(raised.value.faults) == 1
    assert raised.value.faults[0].startswith(f"{name.upper()} is not set")
    assert remedy in raised.value.faults[0]


@pytest.mark.parametrize("secret", ["hunter2", "h" * 31, "hunter2" + " " * 40])
def test_a_short_secret_is_an_error_in_production_and_a_warning_in_development(secret):
    with pytest.raises(ConfigurationError, match="fewer than 32 characters") as raised:
        decide_settings(**GOOD | {"jwt_secret": secret})
    assert secret not in str(raised.value)
    settings = decide_settings(**GOOD | {"jwt_secret": secret, "environment": "development"})
    assert settings.jwt_secret == secret
    assert len(settings.warnings) == 1


@pytest.mark.parametrize("port", ["0", "65536", "-1", "80a", "$PORT", "٣", "9" * 5000, " "])
def test_a_port_is_a_number(port):
    with pytest.raises(ConfigurationError, match="PORT is not a port"):
        decide_settings(**GOOD | {"port": port})


def test_all_errors_are_reported_together():
    with pytest.raises(ConfigurationError) as raised:
        decide_settings(
            environment="production", database_url="mysql://u:hunter2@h/d", cors_origins="*", port="no"
        )
    assert [re.match("[A-Z_]+", fault)[0] for fault in raised.value.faults] == [
        "DATABASE_URL", "JWT_SECRET", "CORS_ORIGINS", "PORT",
    ]  # fmt: skip
    assert "hunter2" not in str(raised.value)


def test_settings_can_be_shown():
    shown = repr(decide_settings(**GOOD))
    assert "hunter2" not in shown and JWT_SECRET not in shown


@pytest.mark.parametrize(
    ("command", "environment", "remedy"),
    [
        (MAIN, {"DATABASE_URL": ""}, "DATABASE_URL is not set. Set it to"),
        (MAIN, {"DATABASE_URL": URL, "JWT_SECRET": ""}, "JWT_SECRET is not set. Make one"),
        (App.UVICORN, {}, "DATABASE_URL is not set. Set it to"),
        (App.UVICORN, {"DATABASE_URL": URL, "JWT_SECRET": "short-hunter2"}, "JWT_SECRET has fewer than 32"),
    ],
)
def test_production_refuses_to_start(run_app, command, environment, remedy):
    app = run_app(command, ENVIRONMENT="production", **environment)
    assert app.wait() == 3
    assert app.output.startswith("cannot start:")
    assert remedy in app.output
    assert "Traceback" not in app.output and "hunter2" not in app.output


async def test_python_main_serves_on_port(run_app):
    port = free_port()
    app = run_app(MAIN, PORT=str(port), DATABASE_URL=URL, ENVIRONMENT="production")
    address = app.wait_until_running()
    assert address == f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient() as client:
        assert (await client.get(address)).status_code == 200
    app.stop()
    assert "CORS_ORIGINS is not set: no browser front end may call this app" in app.output
