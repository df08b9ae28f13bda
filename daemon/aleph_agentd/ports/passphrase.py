"""Where what is kept of the owner's passphrase lies."""

from typing import Protocol

from ..domain.passphrase import Kept


class PassphraseFile(Protocol):
    """One small file. Both may block for as long as a disk does; raise OSError when it cannot be used."""

    def read(self) -> Kept | None:
        """What is kept; None when there is no passphrase. One that cannot be understood is an OSError, not None."""
        ...

    def write(self, kept: Kept) -> None:
        """Keep this instead; readable by the daemon's user alone."""
        ...
