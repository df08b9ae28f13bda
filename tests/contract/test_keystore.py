"""Encrypted keys: what opens them, what does not, and what is told while they are locked."""

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from aleph_agentd.adapters.aleph.keys import KeyFile
from aleph_agentd.adapters.aleph.keystore import open_keystore, seal
from aleph_agentd.adapters.aleph.passphrases import CREDENTIAL
from aleph_agentd.ports import KeyMissing

SECRET = bytes(range(1, 33))
ADDRESS = "0x6370eF2f4Db3611D657b90667De398a2Cc2a370C"
OTHER = "0x000000000000000000000000000000000000dEaD"
PASSPHRASE = "correct horse"


def _sealed(kdf: str = "pbkdf2", cost: int = 2) -> dict[str, Any]:
    sealed: dict[str, Any] = Account.encrypt(SECRET, PASSPHRASE, kdf=kdf, iterations=cost)
    return sealed


def _file(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "key.json"
    path.write_bytes(content)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("kdf", ["pbkdf2", "scrypt"])
def test_a_keystore_is_locked_until_its_passphrase_comes(tmp_path: Path, kdf: str) -> None:
    """While it is locked, the trouble says the exact next command."""
    keys = KeyFile(_file(tmp_path, json.dumps(_sealed(kdf)).encode()))
    for refusing in (keys.account, keys.open):
        with pytest.raises(KeyMissing, match="run: aleph-agentctl unlock"):
            refusing()
    with pytest.raises(KeyMissing, match="does not open"):
        keys.unlock("wrong")
    assert keys.locked
    keys.unlock(PASSPHRASE)
    assert (keys.account().get_address(), keys.trouble, keys.locked) == (ADDRESS, "", False)


def test_what_we_seal_opens_again() -> None:
    """With the cost that a real file has."""
    sealed = seal(SECRET, PASSPHRASE)
    assert open_keystore(sealed, PASSPHRASE) == SECRET
    assert json.loads(sealed)["crypto"]["kdf"] == "pbkdf2"


def test_a_credential_of_systemd_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that starts at boot has nobody to ask."""
    keys = KeyFile(_file(tmp_path, json.dumps(_sealed()).encode()))
    (tmp_path / CREDENTIAL).write_text(PASSPHRASE + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert keys.open().get_address() == ADDRESS


@pytest.mark.parametrize(
    "change",
    [
        {"version": 1},
        {"crypto": None},
        {"crypto": {}},
        {"kdf": "md5"},
        {"kdfparams": {"dklen": 32, "n": 2**40, "r": 8, "p": 1, "salt": "00"}, "kdf": "scrypt"},
        {"kdfparams": {"dklen": 32, "c": 10**12, "prf": "hmac-sha256", "salt": "00"}},
        {"kdfparams": {"dklen": 32, "c": 1, "prf": "hmac-sha256", "salt": "zz"}},
        {"mac": "00"},
        {"ciphertext": "not hex"},
    ],
    ids=str,
)
def test_a_damaged_or_hostile_keystore_is_refused_in_one_line(change: dict[str, Any]) -> None:
    """None takes all memory, or hours; no error quotes the file."""
    sealed = _sealed()
    for name, value in change.items():
        (sealed if name in sealed else sealed["crypto"])[name] = value
    with pytest.raises(KeyMissing) as refused:
        open_keystore(json.dumps(sealed).encode(), PASSPHRASE)
    assert "\n" not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("content", [SECRET, json.dumps(_sealed()).encode()], ids=["raw", "keystore"])
def test_a_key_of_another_address_than_the_inventory_s_never_signs(tmp_path: Path, content: bytes) -> None:
    """Its messages would be another account's; the refusal names both addresses."""
    keys = KeyFile(_file(tmp_path, content), OTHER)
    with pytest.raises(KeyMissing, match=f"{ADDRESS}.*{OTHER}"):
        keys.unlock(PASSPHRASE) if keys.locked else keys.open()
    with pytest.raises(KeyMissing, match=OTHER):
        keys.open()
    assert OTHER in keys.trouble
    assert KeyFile(_file(tmp_path, SECRET), ADDRESS.lower()).open().get_address() == ADDRESS
