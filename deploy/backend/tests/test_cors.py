"""Which browser origins may call the app."""

import pytest

from cors import parse_origins

URL = "postgresql://user@localhost/app"
ORIGINS = "https://shop.example.com, https://shop-*-acme.vercel.app ,http://localhost:3000"


@pytest.fixture
def client(make_app, client_of):
    return client_of(make_app(URL, cors_origins=ORIGINS))


def preflight(origin: str, method: str = "POST") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example.com",
        "http://localhost:3000",
        "https://shop-git-main-acme.vercel.app",
        "https://shop-8f3k2x9q1-acme.vercel.app",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_preflight_from_the_front_end(client, origin, method):
    answer = await client.options("/notes", headers=preflight(origin, method))
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert method in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://shop.example.com",
        "https://shop.example.com.evil.example",
        "https://evil.example/https://shop.example.com",
        "https://shop--acme.vercel.app.evil.example",
        "https://shop-x.evil.example-acme.vercel.app",
        "https://shop-a.b-acme.vercel.app",
        "https://shop--acme-evil.vercel.app",
        "https://evil-shop-x-acme.vercel.app",
        "https://shop-x-acme.vercel.app:8443",
        "http://shop-x-acme.vercel.app",
        "https://shop-x-acme.vercelxapp",
        "https://shop-acme.vercel.app",
        "https://shop-x-acme.vercel.app\n",
        "http://localhost:3001",
    ],
)
async def test_preflight_from_anywhere_else(client, origin):
    answer = await client.options("/notes", headers=preflight(origin))
    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers
    plain = await client.get("/", headers={"Origin": origin})
    assert "access-control-allow-origin" not in plain.headers


async def test_refusals_reach_the_front_end(client):
    """Without CORS headers an answer of any status looks like a CORS error in the browser."""
    answer = await client.get("/me", headers={"Origin": "https://shop.example.com"})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "https://shop.example.com"
    assert "retry-after" in answer.headers["access-control-expose-headers"].lower()


@pytest.mark.parametrize(
    ("written", "read", "warnings"),
    [
        ("https://a.example", ["https://a.example"], 0),
        ("https://a.example/", ["https://a.example"], 1),
        ("https://a.example//,https://b.example", ["https://a.example", "https://b.example"], 1),
        ("HTTPS://A.example", ["https://a.example"], 0),
        ("https://a.example:443", ["https://a.example"], 1),
        ("https://a.example:8443", ["https://a.example:8443"], 0),
        (" 'https://a.example' , \"https://b.example\" ,, ", ["https://a.example", "https://b.example"], 0),
        ("'https://a.example,https://a.example'", ["https://a.example"], 0),
        ("http://[::1]:3000", ["http://[::1]:3000"], 0),
        ("http://a.example", ["http://a.example"], 1),
        ("http://localhost:5173", ["http://localhost:5173"], 0),
        ("", [], 0),
    ],
)
def test_origins_as_written(written, read, warnings):
    origins = parse_origins(written, must_be_https=True)
    assert list(origins.exact) == read
    assert origins.pattern is None
    assert len(origins.warnings) == warnings


def test_a_pattern_that_ends_in_its_star_causes_a_warning():
    assert len(parse_origins("https://shop-*.vercel.app").warnings) == 1
    assert len(parse_origins("https://shop-*-acme.vercel.app").warnings) == 0


@pytest.mark.parametrize(
    "written",
    [
        "*",
        "https://a.example,*",
        "https://*",
        "https://*.com",
        "https://shop-*.com",
        "https://shop.vercel-*.app",
        "https://*.vercel.app",
        "https://shop-*-*.vercel.app",
        "https://a.example:*",
        "http*://a.example",
        "a.example",
        "//a.example",
        "ftp://a.example",
        "https://a.example/path",
        "https://a.example?x=1",
        "https://a.example https://b.example",
        "https://user:hunter2@a.example",
        '["https://a.example"]',
        "null",
    ],
)
def test_origins_refused(written):
    with pytest.raises(ValueError) as raised:
        parse_origins(written)
    assert "hunter2" not in str(raised.value)
