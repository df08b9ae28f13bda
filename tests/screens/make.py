"""`make screens`: pictures of what the owner sees, made by real programs, for docs/screens.

    python tests/screens/make.py [--into DIR]

A local network, a daemon with a made-up week, `aleph-agentctl` in a pseudo-terminal, and headless Chromium
(CHROMIUM names it; Debian's package is `chromium`), which draws the terminal's text and the report.
"""

import argparse
import asyncio
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":  # pytest's configuration does this for tests
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from screens.estate import ENVIRONMENT, furnish
from support.daemon import DaemonProcess
from support.devnet import DevnetProcess
from support.source import ROOT

COLUMNS, LINES = 150, 34
_SETTLE_S, _PATIENCE_S = 4.0, 60.0
_CELL = (8.43, 19.0)
"""Pixels of a character of DejaVu Sans Mono at 14 px."""
_SCRIPT = "import sys; from aleph_agentd.control.__main__ import main; sys.exit(main())"
_THEME = TerminalTheme(
    (22, 25, 29),
    (222, 226, 230),
    [
        (60, 66, 72),
        (240, 113, 103),
        (95, 200, 130),
        (232, 190, 90),
        (110, 160, 245),
        (200, 130, 230),
        (90, 200, 210),
        (222, 226, 230),
    ],
    [
        (110, 118, 126),
        (255, 135, 125),
        (120, 225, 150),
        (250, 210, 110),
        (140, 185, 255),
        (220, 155, 250),
        (120, 220, 230),
        (255, 255, 255),
    ],
)
_PAGE = """<!doctype html><meta charset="utf-8"><style>body{{margin:0;background:#16191d}}
pre{{margin:0;padding:18px 20px;color:#dee2e6;font:14px/19px "DejaVu Sans Mono",monospace}}</style><pre>{code}</pre>"""


def typed(daemon: DaemonProcess, *arguments: str, lines: int = LINES, live_s: float = 0) -> str:
    """What a command says on a terminal; one that does not end by itself is told `q` after `live_s`."""
    pid, terminal = pty.fork()
    if pid == 0:
        size = {"COLUMNS": str(COLUMNS), "LINES": str(lines), "TERM": "xterm-256color"}
        environment = {name: value for name, value in daemon.environment.items() if name != "NO_COLOR"}
        os.execve(sys.executable, [sys.executable, "-c", _SCRIPT, *arguments], environment | size)
    said, begun, told = b"", time.monotonic(), False
    while time.monotonic() < begun + _PATIENCE_S:
        if live_s and not told and time.monotonic() > begun + live_s:
            os.write(terminal, b"q")
            told = True
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        said += piece
    os.waitpid(pid, 0)
    return said.decode(errors="replace")


def picture(said: str) -> str:
    """The last picture of a program that draws over itself."""
    last = said.rpartition("\x1b[J")[0].rpartition("\x1b[H")[2]
    return last.replace("\x1b[K", "")


def as_page(said: str, prompt: str) -> tuple[str, int]:
    """The text as HTML in its colours, and how many lines it has."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    lines = said.replace("\r", "").rstrip("\n").split("\n")
    for line in [*([f"$ {prompt}"] if prompt else []), *lines]:
        console.print(Text.from_ansi(line, overflow="fold"))
    code = console.export_html(theme=_THEME, inline_styles=True, code_format="{code}")
    return _PAGE.format(code=code), code.rstrip("\n").count("\n") + 1


def shoot(page: Path, image: Path, width: int, height: int) -> None:
    """A picture of a page. Nothing on it comes from elsewhere."""
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit(
            "make screens needs Chromium (Debian: apt-get install chromium), or CHROMIUM=/path/to/it"
        )
    quiet = [
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    with tempfile.TemporaryDirectory(prefix="screens-profile-") as profile:
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--hide-scrollbars",
                *quiet,
                f"--user-data-dir={profile}",
                f"--window-size={width},{height}",
                f"--screenshot={image}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )


def _as_at_home(daemon: DaemonProcess, said: str) -> str:
    """The places of this run are nobody's business: what is shown is what an owner would see."""
    places = {
        str(daemon.folder / "state"): "/home/you/.local/state",
        str(daemon.runtime): "/run/user/1000/aleph-agentd",
        str(daemon.key_file): "/home/you/.aleph-im/private-keys/ethereum.key",
        str(daemon.home): "/home/you",
        str(Path(sys.executable).parent): "/home/you/.local/share/aleph-agentd/bin",
    }
    for place, shown in places.items():
        said = said.replace(place, shown)
    return said


def _terminal(folder: Path, into: Path, name: str, said: str, prompt: str) -> None:
    page, lines = as_page(said, prompt)
    (folder / f"{name}.html").write_text(page)
    widest = max(len(re.sub(r"<[^>]+>", "", line)) for line in page.splitlines())
    width = int(min(COLUMNS, max(60, widest)) * _CELL[0]) + 40
    shoot(folder / f"{name}.html", into / f"{name}.png", width, int(lines * _CELL[1]) + 36)


def main() -> None:
    """Make all of them."""
    parser = argparse.ArgumentParser(description="Pictures of what the owner sees.")
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "screens")
    into = parser.parse_args().into
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="screens-") as name:
        folder = Path(name)
        with (
            DevnetProcess(folder / "net", crns=6) as net,
            DaemonProcess(net, environment=ENVIRONMENT, units=12_000_000) as daemon,
        ):
            asyncio.run(furnish(daemon))
            _terminal(folder, into, "top", picture(typed(daemon, "top", live_s=_SETTLE_S)), "")
            _terminal(folder, into, "vms", typed(daemon, "vms", "--all"), "aleph-agentctl vms --all")
            _terminal(
                folder, into, "doctor", _as_at_home(daemon, typed(daemon, "doctor")), "aleph-agentctl doctor"
            )
            report = folder / "report.html"
            print(typed(daemon, "report", "--html", str(report), "--since", "8d").strip())
            shoot(report, into / "report.png", 1080, 2560)


if __name__ == "__main__":
    main()
