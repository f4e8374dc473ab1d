"""The app: `uvicorn main:app`, or `python main.py` to serve on PORT.

Where is what? The variables: settings.py, cors.py, database_url.py (with pasted.py, hosts.py and tls.py). The
engine, its limits and the sessions of routes: database.py. Why the database did not answer: diagnosis.py.
Tokens: security.py. The health endpoints: health.py. The path to the sidecar for monitors: sidecar.py. Why
the probe is not in the access log: access_log.py. A resource to copy: notes.py.
"""

import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse

import health
import notes
import sidecar
from access_log import QuietProbe
from database import Database
from diagnosis import DatabaseUnavailable
from settings import ConfigurationError, Settings, decide_settings

CANNOT_START = 3  # uvicorn's own exit code for it: with --workers the parent then ends as well
GRACEFUL_SHUTDOWN_S = 8  # for requests under way; less than the 10 s after which the sidecar sends SIGKILL

logger = logging.getLogger("uvicorn.error")  # uvicorn sets this one up


def read_settings() -> Settings:
    return decide_settings(
        database_url=os.getenv("DATABASE_URL"),
        jwt_secret=os.getenv("JWT_SECRET"),
        environment=os.getenv("ENVIRONMENT"),
        cors_origins=os.getenv("CORS_ORIGINS"),
        port=os.getenv("PORT", 8000) or 8000,  # an empty one counts as unset
    )


def create_app(settings: Settings, sidecar_port: int | None = None) -> FastAPI:
    database = Database(settings.database)
    database_check = health.SharedCheck(database.ping)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        for warning in settings.warnings:
            logger.warning(warning)
        yield
        await database_check.close()
        await database.close()

    app = FastAPI(title="Backend", lifespan=lifespan)
    app.state.settings = settings
    app.state.database = database
    app.state.database_check = database_check

    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.origins.exact,
        allow_origin_regex=settings.origins.pattern,
        allow_credentials=True,
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        allow_headers=["Authorization", "Content-Type", "X-Requested-With", "X-CSRF-Token", "X-Request-ID"],
        expose_headers=["Retry-After"],
    )
    app.add_middleware(QuietProbe)
    app.add_exception_handler(DatabaseUnavailable, answer_unavailable)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.include_router(health.router)
    app.include_router(notes.router)
    if sidecar_port is not None:
        app.include_router(sidecar.routes(sidecar_port))
    return app


async def answer_unavailable(_request: Request, error: DatabaseUnavailable) -> JSONResponse:
    body = {"detail": "the database is not available", "reason": error.reason}
    return JSONResponse(body, 503, {"Retry-After": str(health.RETRY_AFTER_S)})


async def answer_invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
    # FastAPI's own answer echoes the input: a password in it, or a character that no JSON can hold.
    faults = [{key: fault[key] for key in ("type", "loc", "msg")} for fault in error.errors()]
    return JSONResponse({"detail": faults}, 422)


try:
    app = create_app(read_settings(), sidecar.parse_port(os.getenv("SIDECAR_PORT")))
except ConfigurationError as error:
    print("cannot start:", *error.faults, sep="\n  ", file=sys.stderr)
    sys.exit(CANNOT_START)

if __name__ == "__main__":
    uvicorn.run(
        app,
        host="0.0.0.0",
        port=app.state.settings.port,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
        # No limit_max_requests: health checks count, and platforms do not restart after its exit code 0.
    )
