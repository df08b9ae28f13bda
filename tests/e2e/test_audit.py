"""The audit log of a real daemon: it tells the story, holds no secret, and shows whatever was done to it."""

import base64
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aleph_agentd.domain.audit import Deed, chain
from aleph_agentd.domain.errors import Refusal
from support.agent import session
from support.daemon import DaemonProcess
from support.devnet import DevnetProcess

LIMITS = {"ALEPH_AGENT_MAX_TTL_HOURS": "6"}


def ctl(daemon: DaemonProcess, *words: str, text: str = "") -> tuple[int, str]:
    """`aleph-agentctl audit WORDS`: its exit code, and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "aleph_agentd.control", "audit", *words],
        env=daemon.environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def exported(daemon: DaemonProcess) -> list[dict[str, Any]]:
    """Every entry."""
    code, text = ctl(daemon, "--export", "jsonl")
    assert code == 0
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def rented(network: DevnetProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon in whose life a VM was made, extended and destroyed, and a denial was given."""
    with DaemonProcess(network, environment=LIMITS) as daemon:
        import asyncio

        asyncio.run(_story(daemon, tmp_path_factory.mktemp("session")))
        yield daemon


async def _story(daemon: DaemonProcess, folder: Path) -> None:
    async with session(daemon, folder) as agent:
        made = await agent.call("aleph_create_vm", name="box", ttl_hours=1, purpose="build")
        denied = await agent.refusal(
            "aleph_extend_vm", {"item_hash": made["item_hash"], "additional_hours": 9}
        )
        assert "code: max_ttl" in denied
        await agent.call("aleph_extend_vm", item_hash=made["item_hash"], additional_hours=1)
        for _ in range(20):
            await agent.call("aleph_check_balance")
        await agent.call("aleph_destroy_vm", item_hash=made["item_hash"])
    await daemon.control("sweep.run")
    await daemon.control("escrow.export")


def test_the_entries_tell_the_story_in_order(rented: DaemonProcess) -> None:
    """Created, denied, extended, destroyed: signed before it was sent, decided before it was written."""
    entries = exported(rented)
    assert [entry["n"] for entry in entries] == list(range(1, len(entries) + 1))
    story = [f"{entry['kind']}: {entry['text']}" for entry in entries]
    chapters = [
        r"daemon: aleph-agentd \S+ started",
        r"session: an MCP client \(pid \d+\) in /\S+ \(claimed\)",
        r"signature: INSTANCE on ",
        r"signature: 8 FORGET: ",
        r"decision: create box: allowed by every rule",
        r"intended: ",
        r"sent: INSTANCE \w{64}: a node has it",
        r"provisioning: ",
        r"sent: notify to http\S+: accepted",
        r"call: aleph_create_vm name=box purpose=build ttl_hours=1.0 .*: ok, ",
        r"decision: aleph_extend_vm: denied by max_ttl",
        r"call: aleph_extend_vm .*: denied by max_ttl",
        r"decision: extend box: allowed by every rule",
        r"extended: until ",
        r"signature: AGGREGATE \w{64}: extension 1",
        r"sent: AGGREGATE \w{64}: a node has it",
        r"call: aleph_extend_vm .*: ok",
        r"destroying: ",
        r"sent: FORGET \w{64}: a node has it",
        r"settled: ",
        r"call: aleph_destroy_vm .*: ok",
        r"control: sweep.run: ok",
        r"control: escrow.export: ok",
    ]
    at = 0
    for chapter in chapters:
        found = [n for n, line in enumerate(story[at:], at) if re.match(chapter, line)]
        assert found, f"{chapter} is not told after {story[at - 1]}:\n" + "\n".join(story)
        at = found[0] + 1
    assert sum("aleph_check_balance" in line for line in story) < 20


def test_each_entry_names_who_acted_for_which_request(rented: DaemonProcess) -> None:
    """Also the daemon's own work for a call, to its end; the human's verbs are the human's."""
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for entry in exported(rented):
        by_kind.setdefault(entry["kind"], []).append(entry)
    [create] = [entry for entry in by_kind["call"] if "aleph_create_vm" in entry["text"]]
    assert re.fullmatch(r"agent uid=\d+ pid=\d+", create["actor"])
    assert create["session"] and create["request_key"].startswith(create["session"])
    for kind in ("intended", "provisioning"):
        [entry] = by_kind[kind]
        who = ("actor", "session", "request_key", "item_hash")
        assert [entry[name] for name in who] == [create[name] for name in who]
    assert {entry["actor"].split()[0] for entry in by_kind["control"]} == {"human"}
    assert by_kind["daemon"][0]["actor"] == "daemon"


def test_no_secret_is_in_the_log_or_its_anchors(rented: DaemonProcess) -> None:
    """Neither the key in any form, nor an SSH key, nor a kill switch's bytes, nor a signature."""
    with closing(sqlite3.connect(rented.database)) as database:
        kept = "\n".join(str(row) for row in database.execute("SELECT * FROM audit"))
        bodies = [row[0] for row in database.execute("SELECT body FROM forgets")]
        bodies += [row[0] for row in database.execute("SELECT body FROM signed_messages")]
    kept += rented.database.with_name("inventory.db.anchors").read_text() if _anchored(rented) else ""
    assert len(kept) > 1000 and len(bodies) == 9
    key = rented.key_file.read_bytes()
    secrets = [
        key.hex(),
        base64.b64encode(key).decode().rstrip("="),
        str(key)[2:-1],
        str(int.from_bytes(key)),
    ]
    secrets += [line for line in rented.ssh_key.read_text().splitlines() if "KEY" not in line and line]
    secrets += [rented.ssh_key.with_suffix(".pub").read_text().split()[1]]
    for body in map(json.loads, bodies):
        secrets += [body["signature"], body["signature"].removeprefix("0x"), body["item_content"]]
    assert [secret for secret in secrets if secret.lower() in kept.lower()] == []


def _anchored(daemon: DaemonProcess) -> bool:
    return daemon.database.with_name("inventory.db.anchors").exists()


def test_a_log_that_nobody_touched_is_sound(rented: DaemonProcess) -> None:
    """And the newest entries are shown to whoever only asks for them."""
    code, text = ctl(rented, "--verify")
    assert (code, "is sound: entries 1 to" in text) == (0, True), text
    code, text = ctl(rented)
    assert code == 0 and "aleph_destroy_vm" in text


Tamper = Callable[[sqlite3.Connection, int], object]

_WORDS = ("kind", "actor", "session", "request_key", "item_hash", "text")


def computed_anew(db: sqlite3.Connection, _: int) -> None:
    """An entry is changed by somebody who knows how entries are chained."""
    db.execute("UPDATE audit SET text = 'nothing' WHERE n = 5")
    [previous] = db.execute("SELECT hash FROM audit WHERE n = 4").fetchone()
    columns = ", ".join(("n", "at", *_WORDS))
    for n, at, *words in db.execute(f"SELECT {columns} FROM audit WHERE n > 4 ORDER BY n").fetchall():
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
        previous = chain(previous, n, Deed(at=when, **dict(zip(_WORDS, words, strict=True))))
        db.execute("UPDATE audit SET hash = ? WHERE n = ?", (previous, n))


TAMPERINGS: dict[str, tuple[Tamper, str]] = {
    "changed": (
        lambda db, _: db.execute("UPDATE audit SET text = 'nothing' WHERE kind = 'intended'"),
        r"entry \d+ was changed",
    ),
    "cut short": (
        lambda db, _: db.execute("UPDATE audit SET text = substr(text, 1, 8) WHERE n = 5"),
        "entry 5 was changed",
    ),
    "of somebody else's making": (
        lambda db, _: db.execute("UPDATE audit SET actor = 'human uid=0 pid=1' WHERE kind = 'intended'"),
        r"entry \d+ was changed",
    ),
    "computed anew": (computed_anew, r"entry \d+ is not the one that was anchored: the log was rewritten"),
    "removed": (lambda db, _: db.execute("DELETE FROM audit WHERE n = 5"), "entry 5 is missing"),
    "reordered": (
        lambda db, _: [
            db.execute("UPDATE audit SET n = ? WHERE n = ?", change) for change in ((-1, 5), (5, 6), (6, -1))
        ],
        "entry 5 was changed, or is not in its place",
    ),
    "truncated": (
        lambda db, head: db.execute("DELETE FROM audit WHERE n > ?", (head - 3,)),
        r"entry \d+ is not the one that was anchored|its tail was cut",
    ),
    "emptied": (
        lambda db, _: db.execute("DELETE FROM audit"),
        r"entry \d+ is not the one that was anchored|its tail was cut",
    ),
    "rotated by somebody else": (
        lambda db, _: [
            db.execute("INSERT INTO meta SELECT 'audit_base', n || ' ' || hash FROM audit WHERE n = 9"),
            db.execute("DELETE FROM audit WHERE n <= 9"),
        ],
        "rotation would have left more",
    ),
}


@pytest.fixture(scope="module")
def stopped(rented: DaemonProcess, tmp_path_factory: pytest.TempPathFactory) -> tuple[DaemonProcess, Path]:
    """The same daemon, stopped as it should be, and a copy of its state."""
    assert rented.terminate() == 0
    copy = tmp_path_factory.mktemp("state") / "state"
    shutil.copytree(rented.database.parent, copy)
    copy.with_name("journal").write_text(rented.log())
    return rented, copy


def restored(daemon: DaemonProcess, copy: Path) -> sqlite3.Connection:
    """The state as it was when the daemon was stopped."""
    daemon.terminate()
    shutil.rmtree(daemon.database.parent)
    shutil.copytree(copy, daemon.database.parent)
    return sqlite3.connect(daemon.database)


@pytest.mark.parametrize("how", TAMPERINGS)
def test_what_was_done_to_the_file_is_found(stopped: tuple[DaemonProcess, Path], how: str) -> None:
    """Changed, removed, reordered, cut: while the daemon was off, which then starts and writes on."""
    (daemon, copy), (tamper, problem) = stopped, TAMPERINGS[how]
    with closing(restored(daemon, copy)) as database:
        tamper(database, database.execute("SELECT max(n) FROM audit").fetchone()[0])
        database.commit()
    daemon.start()
    code, text = ctl(daemon, "--verify")
    assert code == 1
    assert re.search(problem, text), text


def test_a_log_that_was_only_restarted_is_sound(stopped: tuple[DaemonProcess, Path]) -> None:
    """The last anchor is the head of the life before; a kill -9 leaves a sound log, too."""
    daemon, copy = stopped
    restored(daemon, copy).close()
    daemon.start()
    assert ctl(daemon, "--verify")[0] == 0
    daemon.restart()
    code, text = ctl(daemon, "--verify")
    assert (code, "anchors agree" in text) == (0, True), text


def test_the_journal_finds_what_was_cut_from_log_and_file(stopped: tuple[DaemonProcess, Path]) -> None:
    """Whoever removes the anchors beside the inventory still cannot reach the journal's."""
    daemon, copy = stopped
    journal = copy.with_name("journal").read_text()
    assert "audit head n=" in journal
    with closing(restored(daemon, copy)) as database:
        database.execute("DELETE FROM audit WHERE n > (SELECT max(n) - 3 FROM audit)")
        database.commit()
    daemon.database.with_name("inventory.db.anchors").unlink()
    daemon.start()
    assert ctl(daemon, "--verify")[0] == 0
    code, text = ctl(daemon, "--verify", "--anchors", "-", text=journal)
    assert code == 1
    assert "was anchored" in text


async def test_a_cut_tail_is_an_alert_from_the_start(stopped: tuple[DaemonProcess, Path]) -> None:
    """In every answer, to agents as well: the owner is to hear of it."""
    daemon, copy = stopped
    with closing(restored(daemon, copy)) as database:
        database.execute("DELETE FROM audit WHERE n > (SELECT max(n) - 3 FROM audit)")
        database.commit()
    daemon.start()
    alerts = (await daemon.control("status"))["alerts"]
    assert any("its tail was cut" in alert for alert in alerts)
    with pytest.raises(Refusal):
        await daemon.control("audit.verify", {"anchors": "all"})
