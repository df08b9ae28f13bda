"""The key file: which forms are taken, which are refused, and that nothing is ever made or written."""

import os
import pickle
from pathlib import Path

import pytest

from aleph_agentd.adapters.aleph.keys import KeyFile, load_secret
from aleph_agentd.ports import KeyMissing

SECRET = bytes(range(1, 33))
ADDRESS = "0x6370eF2f4Db3611D657b90667De398a2Cc2a370C"


def _file(tmp_path: Path, content: bytes, mode: int = 0o600) -> Path:
    path = tmp_path / "ethereum.key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "content",
    [
        SECRET,
        SECRET.hex().encode(),
        SECRET.hex().upper().encode() + b"\n",
        b"0x" + SECRET.hex().encode() + b"\r\n",
    ],
    ids=["raw", "hex", "upper-newline", "0x-crlf"],
)
def test_a_key_is_read_in_every_form_that_tools_write(tmp_path: Path, content: bytes) -> None:
    """The official CLI writes 32 raw bytes; people paste hex."""
    keys = KeyFile(_file(tmp_path, content, 0o400))
    assert keys.account().get_address() == ADDRESS
    assert keys.trouble == ""


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "neither 32 raw bytes"),
        (SECRET + b"\n", "neither 32 raw bytes"),
        (SECRET.hex().encode()[:-1], "neither 32 raw bytes"),
        (SECRET.hex().encode()[:32], "neither 32 raw bytes"),
        (b"\0" * 32, "valid private key"),
        (b"\xff" * 32, "valid private key"),
        (b'{"version": 3}', "encrypted keystore, and locked"),
        (b"a" * 100_000, "neither 32 raw bytes"),
    ],
    ids=["empty", "33-bytes", "63-digits", "32-digits", "zero", "beyond-the-curve", "keystore", "huge"],
)
def test_what_is_no_key_is_refused_in_one_line(tmp_path: Path, content: bytes, why: str) -> None:
    """The line names the file, never its content."""
    keys = KeyFile(_file(tmp_path, content))
    with pytest.raises(KeyMissing, match=why) as refused:
        keys.account()
    assert keys.trouble == str(refused.value)
    assert "\n" not in keys.trouble


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777], ids=oct)
def test_a_key_that_others_can_read_is_refused_with_the_command_that_closes_it(
    tmp_path: Path, mode: int
) -> None:
    """A leaked key cannot be revoked, so an open one must not be used."""
    path = _file(tmp_path, SECRET, mode)
    with pytest.raises(KeyMissing, match=f"chmod 600 {path}"):
        load_secret(path)


def test_a_credential_of_systemd_may_show_group_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd grants it by ACL in a private directory; the mask looks like a group mode."""
    path = _file(tmp_path, SECRET, 0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load_secret(path) == SECRET


def test_a_missing_key_is_missed_and_not_made(tmp_path: Path) -> None:
    """The SDK would generate one silently, and its VMs would be another account's."""
    keys = KeyFile(tmp_path / "absent" / "ethereum.key")
    with pytest.raises(KeyMissing, match="There is no key file"):
        keys.account()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_or_a_pipe_in_the_keys_place_does_not_hang(tmp_path: Path) -> None:
    """Opening a FIFO would wait for a writer for ever."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(KeyMissing, match="not a regular file"):
            load_secret(path)


def test_a_relative_path_is_refused() -> None:
    """Loading the SDK changes the directory, so it would mean another file later."""
    with pytest.raises(KeyMissing, match="absolute"):
        load_secret(Path("ethereum.key"))


def test_a_key_that_is_put_right_is_found_without_a_restart(tmp_path: Path) -> None:
    """The human runs the chmod that the message asked for."""
    path = _file(tmp_path, SECRET, 0o644)
    keys = KeyFile(path)
    assert keys.trouble
    path.chmod(0o600)
    assert keys.trouble == ""
    assert keys.account().get_address() == ADDRESS


def test_the_account_does_not_show_or_copy_its_key(tmp_path: Path) -> None:
    """Logs and caches must not carry it by accident."""
    account = KeyFile(_file(tmp_path, SECRET)).account()
    assert SECRET.hex() not in repr(account)
    assert not hasattr(account, "private_key")
    with pytest.raises(TypeError):
        pickle.dumps(account)
