"""Asking systemd for a passphrase, with programs of our own in its place."""

import asyncio
from pathlib import Path

import pytest

from aleph_agentd.adapters.aleph import passphrases


def _program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    path = tmp_path / "ask"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    monkeypatch.setattr(passphrases, "_ASK", path)
    monkeypatch.setattr("os.isatty", lambda _: False)


@pytest.mark.parametrize(
    ("body", "answer"), [("echo horse", "horse"), ("echo x; exit 1", None), ("true", None)]
)
async def test_an_answer_is_taken_only_from_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, answer: str | None
) -> None:
    """Nobody who answers leaves the key locked."""
    _program(tmp_path, monkeypatch, body)
    assert await passphrases.ask() == answer


async def test_where_there_is_no_systemd_nobody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without it leaves the key locked."""
    monkeypatch.setattr(passphrases, "_ASK", tmp_path / "absent")
    monkeypatch.setattr("os.isatty", lambda _: False)
    assert await passphrases.ask() is None


async def test_a_daemon_that_stops_does_not_wait_for_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What asks is killed with the question."""
    _program(
        tmp_path,
        monkeypatch,
        f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 600",
    )
    asking = asyncio.create_task(passphrases.ask())
    while not (tmp_path / "pid").exists():
        await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    pid = int((tmp_path / "pid").read_text())
    while Path(f"/proc/{pid}").exists():
        await asyncio.sleep(0.01)
