"""A note on the owner's screen, where a notifier is there (`notify-send` of freedesktop.org)."""

import asyncio
import html
import logging
import os
import shutil
from asyncio.subprocess import DEVNULL

log = logging.getLogger(__name__)

PROGRAM = "notify-send"
WAIT_S = 5.0
_LONGEST = 300
_NEEDS = ("PATH", "HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY")


class Desktop:
    """Best effort: a screen that is not there is no failure, and a notifier that hangs is ended."""

    def __init__(self, application: str) -> None:
        self._application = application

    async def tell(self, title: str, text: str) -> None:
        """Show it now, or let it be."""
        program = shutil.which(PROGRAM)
        if program is None:
            return
        # Notifiers read markup, and a leading dash as an option; agents choose the names of VMs.
        words = [html.escape(_one_line(part), quote=False) for part in (title, text)]
        environment = {name: os.environ[name] for name in _NEEDS if name in os.environ}
        arguments = ("--app-name", self._application, "--urgency", "critical", "--", *words)
        try:
            process = await asyncio.create_subprocess_exec(
                program, *arguments, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, env=environment
            )
        except OSError as why:
            log.debug("the notifier cannot be started: %s", why)
            return
        try:
            await asyncio.wait_for(process.wait(), WAIT_S)
        except TimeoutError:
            log.debug("the notifier hangs")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:_LONGEST]
