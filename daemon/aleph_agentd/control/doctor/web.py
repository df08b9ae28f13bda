"""Plain HTTP questions to the network: one time-out, one size limit, no redirects."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any

MAX_BYTES = 8 * 1024 * 1024
WAIT_S = 6.0


@dataclass(frozen=True)
class Reply:
    """What a URL answered; `trouble` says why it did not."""

    url: str
    status: int = 0
    ms: int = 0
    body: Any = None
    date: datetime | None = None
    trouble: str = ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """A redirect is an answer, not an order."""


_OPENER = urllib.request.build_opener(_NoRedirect)


def fetch(url: str) -> Reply:
    """Ask once; never raises for what the network does."""
    began = time.monotonic()
    request = urllib.request.Request(url, headers={"User-Agent": "aleph-agentctl doctor"})  # noqa: S310 - settings allow http(s) alone
    try:
        with _OPENER.open(request, timeout=WAIT_S) as answer:
            content, status, date = answer.read(MAX_BYTES + 1), answer.status, answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        return Reply(
            url, error.code, _ms(began), None, _date(error.headers.get("Date")), f"HTTP {error.code}"
        )
    except (OSError, HTTPException, ValueError) as error:
        return Reply(url, ms=_ms(began), trouble=str(getattr(error, "reason", "") or error)[:200])
    if len(content) > MAX_BYTES:
        return Reply(url, status, _ms(began), None, _date(date), f"more than {MAX_BYTES} bytes")
    try:
        return Reply(url, status, _ms(began), json.loads(content), _date(date))
    except (ValueError, RecursionError):
        return Reply(url, status, _ms(began), None, _date(date), "the answer is not JSON")


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _date(header: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
