"""`aleph-agentctl key`: files made, encrypted and identified without a daemon."""

import json
import stat
from pathlib import Path

import pytest

from aleph_agentd import key_tool
from aleph_agentd.adapters.aleph.keys import load_secret
from aleph_agentd.control.__main__ import main
from aleph_agentd.domain.errors import Refusal

PASSPHRASE = "correct horse"


def test_a_new_key_is_private_and_never_overwrites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints the address; the key itself is in the file alone."""
    path = tmp_path / "keys" / "ethereum.key"
    assert main(["key", "new", str(path), "--json"]) == 0
    said = capsys.readouterr().out
    secret = load_secret(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret.hex() not in said
    assert main(["key", "new", str(path)]) == 1
    assert "never overwritten" in capsys.readouterr().err
    assert main(["key", "show", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["address"] == json.loads(said)["address"]
    assert (load_secret(path), [*path.parent.iterdir()]) == (secret, [path])


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    """The key would lie where the link's maker wants it."""
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refusal, match="never overwritten"):
        key_tool.make(tmp_path / "key")
    assert not (tmp_path / "elsewhere").exists()


def test_an_encrypted_copy_opens_and_lies_beside_the_plain_key(tmp_path: Path) -> None:
    """The plain one stays until its owner says so."""
    path = tmp_path / "ethereum.key"
    address = key_tool.make(path)
    sealed, same = key_tool.encrypt(path, PASSPHRASE)
    assert (same, key_tool.address(sealed, PASSPHRASE)) == (address, address)
    assert (sealed.stat().st_mode & 0o777, path.exists()) == (0o600, True)
    with pytest.raises(Refusal, match="there already"):
        key_tool.check_plain(path)
    with pytest.raises(Refusal, match="does not open"):
        key_tool.address(sealed, "wrong horse")
    with pytest.raises(Refusal, match="at least"):
        key_tool.encrypt(path, "short")
