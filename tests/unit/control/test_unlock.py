"""`aleph-agentctl unlock`."""

import pytest

from aleph_agentd.control import key


@pytest.fixture
def prompts(monkeypatch):
    """How often a passphrase was asked for."""
    asked = []
    monkeypatch.setattr(key, "ask_passphrase", lambda prompt: asked.append(prompt) or "correct horse")
    return asked


def test_an_open_key_is_said_to_be_open_and_nobody_is_asked(daemon, cli, prompts):
    """A plain key, or one that was unlocked: whatever was typed would have been right."""
    daemon.says("key.state", {"open": "0xAbC"})
    assert cli.run("unlock") == 0
    assert "The key of 0xAbC is open: there is nothing to unlock." in cli.out
    assert (prompts, [method for method, _ in daemon.asked]) == ([], ["key.state"])
    assert cli.run("unlock", "--json") == 0
    assert cli.json == {"address": "0xAbC"}


def test_a_locked_key_is_opened_with_what_is_typed(daemon, cli, prompts):
    """Until the daemon stops."""
    daemon.says("key.state", {"open": ""})
    daemon.says("key.unlock", {"address": "0xAbC"})
    assert cli.run("unlock") == 0
    assert "0xAbC is open until the daemon stops" in cli.out
    assert prompts == ["Passphrase of the key"]
    assert daemon.asked[-1] == ("key.unlock", {"passphrase": "correct horse"})
