"""The owner's passphrase: set once, asked for whenever something is approved or loosened (rules.md 13)."""

import asyncio
import logging
import secrets
import time

from ..domain.clock import span
from ..domain.errors import BadInput, Denied, Unavailable
from ..domain.passphrase import LONGEST, SHORTEST, Kept, is_it, kept
from ..ports import PassphraseFile

log = logging.getLogger(__name__)

FREE_FAILURES = 5
PAUSE_S = 60.0
"""After so many wrong ones in a row, each further try has to wait this long."""
_SALT = 16


class Passphrase:
    """Checks one guess at a time, however many connections guess."""

    def __init__(self, file: PassphraseFile) -> None:
        self._file = file
        self._turn = asyncio.Lock()
        self._failures = 0
        self._failed_at = 0.0

    async def is_set(self) -> bool:
        """Whether there is one."""
        return await self._read() is not None

    async def check(self, text: object) -> None:
        """Raises Denied with the code `passphrase_unset`, `passphrase_wait` or `passphrase`."""
        async with self._turn:
            known = await self._read()
            if known is None:
                raise Denied(
                    "There is no passphrase yet, so nobody can be known to be the owner.",
                    "In a terminal of your own: aleph-agentctl passphrase set",
                    code="passphrase_unset",
                )
            await self._check(text, known)

    async def set(self, text: object, old: object) -> None:
        """The first one, or another one instead of `old`. Raises Refusal."""
        if not isinstance(text, str) or not SHORTEST <= len(text) <= LONGEST:
            raise BadInput(
                f"A passphrase has {SHORTEST} to {LONGEST} characters.", "aleph-agentctl passphrase set"
            )
        async with self._turn:
            known = await self._read()
            if known is not None:
                await self._check(old, known)
            fresh = await asyncio.to_thread(kept, text, secrets.token_bytes(_SALT))
            try:
                await asyncio.to_thread(self._file.write, fresh)
            except OSError as error:
                raise _unusable(error) from error
        log.info("the owner's passphrase was %s", "set" if known is None else "changed")

    async def _check(self, text: object, known: Kept) -> None:
        left = self._failed_at + PAUSE_S - time.monotonic()
        if self._failures >= FREE_FAILURES and left > 0:
            raise Denied(
                f"{self._failures} wrong passphrases in a row.",
                f"Try again in {span(left + 1)}.",
                code="passphrase_wait",
            )
        right = isinstance(text, str) and len(text) <= LONGEST and await asyncio.to_thread(is_it, text, known)
        if right:
            self._failures = 0
            return
        self._failures, self._failed_at = self._failures + 1, time.monotonic()
        log.warning("a wrong passphrase was given, %d in a row", self._failures)
        raise Denied("That is not the passphrase.", "Try again, on a terminal.", code="passphrase")

    async def _read(self) -> Kept | None:
        try:
            return await asyncio.to_thread(self._file.read)
        except OSError as error:
            raise _unusable(error) from error


def _unusable(error: OSError) -> Unavailable:
    return Unavailable(
        f"The file of the passphrase cannot be used: {error.strerror or error}.",
        "Nothing is approved until that is put right: see the daemon's state directory.",
        code="passphrase_file",
    )
