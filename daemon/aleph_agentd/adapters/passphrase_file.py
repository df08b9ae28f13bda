"""`passphrase.json` beside the inventory: the salted digest of the owner's passphrase, for the daemon's user only."""

import errno
import json
from pathlib import Path

from .. import private_files
from ..domain.passphrase import Kept

NAME = "passphrase.json"
_LARGEST = 4096


class FileOfPassphrase:
    """Contract: `ports.PassphraseFile`."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME

    def read(self) -> Kept | None:
        """What is kept. Raises OSError for a file that says something else: unknown is not unset."""
        try:
            with self._path.open("rb") as file:
                text = file.read(_LARGEST)
        except FileNotFoundError:
            return None
        try:
            found = json.loads(text)
            numbers = {name: int(found[name]) for name in ("n", "r", "p")}
            return Kept(bytes.fromhex(found["salt"]), bytes.fromhex(found["digest"]), **numbers)
        except (ValueError, KeyError, TypeError) as error:
            raise OSError(errno.EINVAL, "it is not a passphrase file of aleph-agentd") from error

    def write(self, kept: Kept) -> None:
        """Completely, or not at all."""
        document = {
            "salt": kept.salt.hex(),
            "digest": kept.digest.hex(),
            "n": kept.n,
            "r": kept.r,
            "p": kept.p,
        }
        private_files.write(self._path, [json.dumps(document).encode()])
