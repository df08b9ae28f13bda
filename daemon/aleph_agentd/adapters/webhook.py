"""The owner's webhook: one signed POST per notice.

`X-Aleph-Agentd-Signature: v1=HEX`, where HEX is HMAC-SHA256 over `TIMESTAMP.BODY` with the owner's secret, and TIMESTAMP
is the header `X-Aleph-Agentd-Timestamp` (seconds since 1970). Redirects are not followed: the owner named this address
and no other. Neither the secret nor the address (which may hold a token) is ever in a log or an error.
"""

import hashlib
import hmac
import json
from pathlib import Path
from urllib.parse import urlsplit

from ..domain.clock import Clock
from ..domain.notices import Notice
from ..ports import NotTold
from . import secret_file
from .secret_file import SecretTrouble

CREDENTIAL = "aleph-agentd.webhook"
TIMEOUT_S = 10.0
SIGNATURE, TIMESTAMP = "X-Aleph-Agentd-Signature", "X-Aleph-Agentd-Timestamp"
_LEAST_SECRET, _MOST_SECRET = 16, 4096


class Webhook:
    """Contract: `ports.Notifier`."""

    def __init__(self, url: str, secret_path: Path | None, clock: Clock) -> None:
        self._url, self._secret_path, self._clock = url, secret_path, clock

    async def tell(self, notice: Notice) -> None:
        """One POST; every answer but a 2xx is a failure."""
        import aiohttp  # a quarter of a second, and only for owners who have a webhook

        body = json.dumps(notice.as_dict(), separators=(",", ":")).encode()
        timestamp = str(int(self._clock.now().timestamp()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "aleph-agentd",
            TIMESTAMP: timestamp,
            SIGNATURE: signature(read_secret(self._secret_path), timestamp, body),
        }
        limit = aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=limit) as session,
                session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, OSError, ValueError) as trouble:
            # Its text may hold the address.
            raise NotTold(f"{urlsplit(self._url).hostname}: {type(trouble).__name__}") from None
        if not 200 <= status < 300:
            raise NotTold(f"{urlsplit(self._url).hostname} answered {status}")


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """What the receiver computes as well, and compares in constant time."""
    return "v1=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def read_secret(path: Path | None) -> bytes:
    """From the owner's file or else systemd's credential. Raises NotTold.

    Read for each notice, so that it can be changed while the daemon runs.
    """
    try:
        return secret_file.read_secret(
            path,
            setting="webhook_secret_path",
            credential=CREDENTIAL,
            least=_LEAST_SECRET,
            most=_MOST_SECRET,
        )
    except SecretTrouble as trouble:
        raise NotTold(str(trouble)) from None
