"""A private key where another setting belongs: the error, which is logged, does not show it."""

import os
from pathlib import Path

import pytest

from aleph_agentd.adapters.config import ConfigError, Settings

KEY = "5f0e9ad3" * 8
"""As `ALEPH_AGENT_PRIVATE_KEY_PATH=0x…` has it, when somebody takes the one for the other."""


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, and no setting of ours."""
    for name in list(os.environ):
        if name.startswith("ALEPH_AGENT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.mark.parametrize("form", ["{}", "0x{}", "'{}'", "{}{}"])
def test_no_setting_s_error_shows_any_of_it(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Whatever the setting, and however its error quotes the value."""
    refused = {}
    for name in Settings.model_fields:
        with monkeypatch.context() as patch:
            patch.setenv(f"ALEPH_AGENT_{name.upper()}", form.format(KEY, KEY))
            try:
                Settings.load()
            except ConfigError as error:
                refused[name] = str(error)
    assert {"private_key_path", "min_balance", "default_os_image", "human_address"} <= refused.keys()
    assert {name: text for name, text in refused.items() if KEY[:8] in text} == {}
    assert "PRIVATE_KEY_PATH (environment) is" in refused["private_key_path"]
    assert "like a private key" in refused["private_key_path"]
