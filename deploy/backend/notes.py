"""An example resource: anyone may read notes; adding one takes a token."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, status
from pydantic import StringConstraints
from sqlalchemy import DateTime, func
from sqlmodel import Field, SQLModel, select

from database import Session, read_again
from security import Subject

LATEST = 100

router = APIRouter(tags=["notes"])

# PostgreSQL's text holds any character but NUL.
NoteText = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]


class NewNote(SQLModel):
    text: NoteText


class Note(SQLModel, table=True):
    __tablename__ = "notes"

    id: int | None = Field(default=None, primary_key=True)
    text: str
    author: str
    created_at: datetime | None = Field(
        default=None, sa_type=DateTime(timezone=True), sa_column_kwargs={"server_default": func.now()}
    )


@router.get("/notes")
async def list_notes(session: Session) -> list[Note]:
    """The latest notes, newest first."""

    async def latest() -> list[Note]:
        return list(await session.exec(select(Note).order_by(Note.id.desc()).limit(LATEST)))

    return await read_again(session, latest)


@router.post("/notes", status_code=status.HTTP_201_CREATED)
async def add_note(subject: Subject, new: NewNote, session: Session) -> Note:
    note = Note(text=new.text, author=subject)
    session.add(note)
    await session.commit()
    return note


@router.get("/me")
async def who_am_i(subject: Subject) -> dict[str, str]:
    """What the token says; makes no query."""
    return {"subject": subject}
