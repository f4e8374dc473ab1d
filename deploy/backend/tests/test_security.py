"""Bearer tokens."""

import base64
import hmac
import json
import time
from datetime import timedelta

import pytest
from conftest import JWT_SECRET

from security import InvalidToken, create_token, token_subject

LATER = int(time.time()) + 600
HS256 = {"alg": "HS256", "typ": "JWT"}


def encode(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: object, claims: object, secret: str = JWT_SECRET, digest: str = "sha256") -> str:
    """A token signed by hand, so that it can hold what no library would sign."""
    content = f"{encode(header)}.{encode(claims)}"
    return f"{content}.{encode(hmac.new(secret.encode(), content.encode(), digest).digest())}"


def test_a_token_of_ours():
    assert token_subject(create_token("alice", JWT_SECRET), JWT_SECRET) == "alice"
    assert token_subject(signed(HS256, {"sub": "bob", "exp": LATER}), JWT_SECRET) == "bob"


@pytest.mark.parametrize(
    "token",
    [
        create_token("alice", "another-secret-that-is-long-enough-too"),
        create_token("alice", JWT_SECRET, timedelta(seconds=-1)),
        signed(HS256, {"sub": "alice"}),
        signed(HS256, {"exp": LATER}),
        signed(HS256, {"sub": "", "exp": LATER}),
        signed(HS256, {"sub": 5, "exp": LATER}),
        signed(HS256, {"sub": "alice", "exp": None}),
        signed(HS256, {"sub": "alice", "exp": float("inf")}),
        signed(HS256, {"sub": "alice", "exp": "soon"}),
        signed(HS256, ["alice"]),
        signed({"alg": "HS512"}, {"sub": "alice", "exp": LATER}, digest="sha512"),
        signed({"alg": "none"}, {"sub": "alice", "exp": LATER}),
        f"{encode({'alg': 'none'})}.{encode({'sub': 'alice', 'exp': LATER})}.",
        signed({}, {"sub": "alice", "exp": LATER}),
        f"{encode(b'[' * 5000)}.a.b",
        "a" * 100_000,
        "not a token",
        "..",
        "",
    ],
)
def test_any_other_token(token):
    with pytest.raises(InvalidToken):
        token_subject(token, JWT_SECRET)


async def test_a_route_that_requires_a_token(make_app, client_of, bearer):
    client = client_of(make_app("postgresql://user@localhost/app"))
    answer = await client.get("/me", headers=bearer)
    assert (answer.status_code, answer.json()) == (200, {"subject": "alice"})
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer nonsense"}):
        answer = await client.get("/me", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
