"""The example resource."""

import pytest


@pytest.fixture
async def client(postgres, database, make_app, client_of):
    async with client_of(make_app(postgres.url(database))) as client:
        yield client


async def test_notes_are_kept(client, bearer):
    assert (await client.get("/notes")).json() == []
    for text in ("first", "zweite ☂"):
        created = await client.post("/notes", json={"text": text}, headers=bearer)
        assert created.status_code == 201
        assert (created.json()["text"], created.json()["author"]) == (text, "alice")
        assert created.json()["created_at"]
    listed = (await client.get("/notes")).json()
    assert [note["text"] for note in listed] == ["zweite ☂", "first"]


async def test_adding_takes_a_token(client):
    refused = await client.post("/notes", json={"text": "x"})
    assert refused.status_code == 401
    assert (await client.get("/notes")).json() == []


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"text": ""}',
        b'{"text": 5}',
        b'{"text": NaN}',
        b'{"text": "\\u0000"}',  # PostgreSQL's text cannot hold it
        b'{"text": "\\ud800"}',  # JSON can, UTF-8 cannot
        b'{"text": "' + b"x" * 2001 + b'"}',
    ],
)
async def test_bodies_that_are_not_notes(client, bearer, body):
    answer = await client.post("/notes", content=body, headers=bearer | {"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "input" not in answer.text.lower().replace("input should be", "")
    assert (await client.get("/notes")).json() == []
