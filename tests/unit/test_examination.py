"""What the doctor's own process tells of settings, key and inventory."""

from pathlib import Path

import pytest

from aleph_agentd import examination
from aleph_agentd.adapters.store import SqlInventory, sqlite_url
from support.inventory import NOW, a_vm, allow, an_intent


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of an account of the test's own."""
    for name, value in (("HOME", tmp_path), ("XDG_CONFIG_HOME", tmp_path), ("XDG_STATE_HOME", tmp_path)):
        monkeypatch.setenv(name, str(value))
    path = tmp_path / "aleph-agentd/config.toml"
    path.parent.mkdir()
    return path


async def test_the_inventory_of_a_daemon_that_is_down_says_how_many_vms_live(tmp_path: Path):
    """An intent counts: its bytes may have left. What has failed does not."""
    path = tmp_path / "inventory.db"
    inventory = await SqlInventory.open(sqlite_url(path))
    assert examination.inventory(path)["live"] == 0
    for seed in (1, 2):
        await inventory.admit(an_intent(a_vm(seed)), allow, NOW)
    assert examination.inventory(path)["live"] == 2
    await inventory.close()
    assert examination.inventory(path)["live"] == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# mine\ntyping_error = 1\n", 2),
        ("network = 'mainnet'\n[policy # error\n", 2),
        ("[policy]\n\nmax_concurrent_vms = -5\n", 3),
        ("max_concurrent_vms = 1\n", 1),
    ],
)
def test_the_line_that_is_wrong_is_told_and_the_file_can_be_used_without_it(
    config: Path, text: str, line: int
):
    """A setting that does not exist, no TOML, a value that is not allowed, a setting in the wrong table."""
    config.write_text(text)
    assert examination.examine()["config_line"] == line
    lines = text.splitlines()
    lines[line - 1] = f"# {lines[line - 1]}"
    config.write_text("\n".join(lines))
    assert examination.examine()["config_trouble"] == ""


def test_a_variable_that_is_wrong_is_told(config: Path, monkeypatch: pytest.MonkeyPatch):
    """By its name."""
    monkeypatch.setenv("ALEPH_AGENT_TYPING_ERROR", "1")
    assert examination.examine()["config_variable"] == "ALEPH_AGENT_TYPING_ERROR"
