"""Who is asking: bearer tokens, signed with JWT_SECRET."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, HTTPException, Request, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from jose import JWTError, jwt

ALGORITHM = "HS256"  # fixed: the token's own header never chooses
REQUIRED = {"require_sub": True, "require_exp": True}
TOKEN_LIFETIME = timedelta(hours=1)
MAX_TOKEN = 8192  # characters; ours are far shorter, and decoding is work done for strangers

bearer = HTTPBearer(auto_error=False)


class InvalidToken(Exception):
    """The token is not one of ours, or has expired; clients are not told which."""


def create_token(subject: str, secret: str, lifetime: timedelta = TOKEN_LIFETIME) -> str:
    """A token for `subject`; the route that logs users in will call it."""
    claims = {"sub": subject, "exp": datetime.now(UTC) + lifetime}
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def token_subject(token: str, secret: str) -> str:
    """The subject of a valid token."""
    if len(token) > MAX_TOKEN:
        raise InvalidToken
    try:
        claims = jwt.decode(token, secret, algorithms=[ALGORITHM], options=REQUIRED)
    except (
        JWTError,
        TypeError,
        ArithmeticError,
        RecursionError,
    ) as error:  # jose lets some malformed ones out
        raise InvalidToken from error
    if not claims["sub"]:
        raise InvalidToken
    return claims["sub"]


async def require_subject(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> str:
    """Dependency: the caller's subject, else 401."""
    if credentials is None:
        raise _unauthorized("a bearer token is needed", "Bearer")
    try:
        return token_subject(credentials.credentials, request.app.state.settings.jwt_secret)
    except InvalidToken:
        raise _unauthorized("the token is not valid", 'Bearer error="invalid_token"') from None


def _unauthorized(detail: str, challenge: str) -> HTTPException:
    return HTTPException(status.HTTP_401_UNAUTHORIZED, detail, {"WWW-Authenticate": challenge})


Subject = Annotated[str, Depends(require_subject)]
