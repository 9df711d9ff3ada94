"""Errors as Horizon answers them: application/problem+json."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class Problem(Exception):
    """An answer of type application/problem+json."""

    def __init__(self, status: int, kind: str, title: str, detail: str, extras: Any = None) -> None:
        super().__init__(detail)
        self.status = status
        self.body: dict[str, Any] = {
            "type": f"https://stellar.org/horizon-errors/{kind}",
            "title": title,
            "status": status,
            "detail": detail,
        }
        if extras is not None:
            self.body["extras"] = extras


async def problem_response(request: Request, error: Exception) -> Response:
    """The exception handler for Problem; a plain function would run in a thread."""
    assert isinstance(error, Problem)
    return JSONResponse(error.body, error.status, media_type="application/problem+json")


def missing() -> Problem:
    """404."""
    return Problem(404, "not_found", "Resource Missing", "The resource at the url requested was not found.")


def bad(field: str, reason: str) -> Problem:
    """400, naming the parameter."""
    detail = "The request you sent was invalid in some way."
    return Problem(400, "bad_request", "Bad Request", detail, {"invalid_field": field, "reason": reason})
