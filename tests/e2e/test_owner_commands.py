"""The owner's commands against a real daemon: a VM's whole life from the command line, and what is told about it."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.daemon import DaemonProcess
from support.devnet import DevnetProcess

_SCRIPT = "import sys; from aleph_agentd.control.__main__ import main; sys.exit(main())"


async def _run(daemon: DaemonProcess, *arguments: str, code: int = 0) -> str:
    """What a command says, on a pipe."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", _SCRIPT, *arguments],
        env=daemon.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return done.stdout


async def _json(daemon: DaemonProcess, *arguments: str) -> Any:
    return json.loads(await _run(daemon, *arguments, "--json"))


async def test_a_vm_s_life_from_the_command_line(net: DevnetProcess, tmp_path: Path) -> None:
    """Look, rent, log in, extend, destroy, and read what it came to; all of it as agents' tools would do it."""
    with DaemonProcess(net) as daemon:
        nodes = await _json(daemon, "nodes", "--limit", "2")
        assert len(nodes["crns"]) == 2
        assert nodes["crns"][0]["name"] in await _run(daemon, "nodes")
        assert "1 CU" in await _run(daemon, "balance")
        quote = await _json(daemon, "create", "box", "--dry-run", "--hours", "1")
        assert (quote["status"], quote["item_hash"]) == ("quoted", None)
        made = await _json(
            daemon, "create", "box", "--hours", "1", "--size", "1", "--wait", "--purpose", "a test"
        )
        assert made["ready"] is True
        command = (await _json(daemon, "ssh", "box"))["command"]
        assert " ".join(command[-3:]) in made["ssh_command"]
        assert "a test" in await _run(daemon, "vm", "box")
        assert await _run(daemon, "run", "box", "--", "seq 2000; exit 4", code=4) == "".join(
            f"{number}\n" for number in range(1, 2001)
        )
        seen = await _json(daemon, "top")
        assert [vm["name"] for vm in seen["vms"]] == ["box"]
        assert 'aleph_agentd_vms{state="running"} 1' in await _run(daemon, "metrics")
        await _run(daemon, "extend", "box", "400", code=1)
        await _run(daemon, "destroy", "--yes", "box")
        page = tmp_path / "report.html"
        told = await _json(daemon, "report", "--html", str(page), "--since", "1h")
    [life] = told["vms"]
    assert (life["name"], life["live"], life["item_hash"]) == ("box", False, made["item_hash"])
    assert life["billed_from"] <= life["billed_until"]
    assert [entry["text"] for entry in told["denials"] if "denied by" in entry["text"]]
    assert "box" in page.read_text()
