"""The owner's webhook, over real HTTP."""

import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from aleph_agentd.adapters.webhook import CREDENTIAL, Webhook
from aleph_agentd.domain.notices import Notice, notice_of
from aleph_agentd.ports import NotTold
from support.clock import ManualClock

SECRET = b"correct horse battery staple"


@dataclass
class Receiver:
    """Somebody's server."""

    url: str = ""
    answers: int = 204
    got: list[tuple[dict[str, str], bytes, str]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        """Remember it, and answer as told."""
        self.got.append((dict(request.headers), await request.read(), request.path))
        return web.Response(status=self.answers, headers={"Location": "/elsewhere"})


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """It listens on loopback."""
    it = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", it.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    it.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?token=hush-hush"
    yield it
    await runner.cleanup()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """The owner's file."""
    path = tmp_path / "webhook.secret"
    path.write_bytes(SECRET + b"\n")
    path.chmod(0o600)
    return path


def notice() -> Notice:
    """Something to tell."""
    made = notice_of({"id": 7, "kind": "orphan", "text": "found"}, datetime(2026, 11, 25, tzinfo=UTC))
    assert made is not None
    return made


async def test_the_signature_verifies_as_documented(receiver: Receiver, secret: Path) -> None:
    """HMAC-SHA256 over timestamp, dot and body; any change of either shows."""
    clock = ManualClock()
    await Webhook(receiver.url, secret, clock).tell(notice())
    [(headers, body, path)] = receiver.got
    timestamp = headers["X-Aleph-Agentd-Timestamp"]
    expected = hmac.new(SECRET, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Aleph-Agentd-Signature"] == f"v1={expected}"
    assert int(timestamp) == int(clock.now().timestamp())
    assert json.loads(body) == notice().as_dict()
    assert path == "/hook"


@pytest.mark.parametrize("status", [302, 307, 308, 400, 500])
async def test_anything_but_a_yes_is_a_failure_and_redirects_are_not_followed(
    receiver: Receiver, secret: Path, status: int
) -> None:
    """The owner named one address."""
    receiver.answers = status
    with pytest.raises(NotTold, match=f"answered {status}"):
        await Webhook(receiver.url, secret, ManualClock()).tell(notice())
    assert [path for _, _, path in receiver.got] == ["/hook"]


async def test_neither_secret_nor_token_is_in_a_log_or_an_error(
    receiver: Receiver, secret: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when nobody listens."""
    caplog.set_level(logging.DEBUG)
    told = []
    for url in (receiver.url, "http://127.0.0.1:1/hook?token=hush-hush"):
        receiver.answers = 500
        with pytest.raises(NotTold) as failed:
            await Webhook(url, secret, ManualClock()).tell(notice())
        told.append(str(failed.value))
    for text in (*told, caplog.text):
        assert "hush" not in text and SECRET.decode() not in text


@pytest.mark.parametrize(("content", "mode"), [(SECRET, 0o644), (b"short", 0o600), (b"x" * 5000, 0o600)])
async def test_a_secret_that_is_none_signs_nothing(
    receiver: Receiver, secret: Path, content: bytes, mode: int
) -> None:
    """One that others read, or that is guessed."""
    secret.write_bytes(content)
    secret.chmod(mode)
    with pytest.raises(NotTold):
        await Webhook(receiver.url, secret, ManualClock()).tell(notice())
    assert receiver.got == []


async def test_without_a_file_the_credential_of_systemd_is_used(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where there is neither, nothing is sent."""
    with pytest.raises(NotTold, match="webhook_secret_path"):
        await Webhook(receiver.url, None, ManualClock()).tell(notice())
    (tmp_path / CREDENTIAL).write_bytes(SECRET)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    await Webhook(receiver.url, None, ManualClock()).tell(notice())
    assert len(receiver.got) == 1
