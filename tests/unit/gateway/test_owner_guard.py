"""Who may approve: not an agent's kin, and only with the passphrase (rules.md 13)."""

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aleph_agentd.adapters.passphrase_file import NAME, FileOfPassphrase
from aleph_agentd.domain import passphrase as pure
from aleph_agentd.domain.caller import Peer
from aleph_agentd.domain.errors import BadInput, Denied, Unavailable
from aleph_agentd.gateway import ancestry
from aleph_agentd.gateway.ancestry import Clients
from aleph_agentd.gateway.owner_guard import OwnerGuard
from aleph_agentd.services import passphrase
from aleph_agentd.services.passphrase import Passphrase

SECRET, OTHER = "correct horse battery", "staple correct horse"


@pytest.fixture(autouse=True)
def cheap_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a guess costs is not what is tested here."""
    monkeypatch.setattr(pure, "N", 2)


@pytest.fixture
def file(tmp_path: Path) -> FileOfPassphrase:
    """Where it is kept."""
    return FileOfPassphrase(tmp_path)


@pytest.fixture
def family() -> Iterator[list[int]]:
    """The pids of a client, of the shim that it runs, and of a command that it runs; children of this test."""
    script = (
        "import subprocess, sys\n"
        "kids = [subprocess.Popen(['sleep', '600']) for _ in range(2)]\n"
        "print(*(kid.pid for kid in kids), flush=True)\n"
        "sys.stdin.read()\n"
        "[kid.kill() for kid in kids]\n"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert client.stdout and client.stdin
    yield [client.pid, *map(int, client.stdout.readline().split())]
    client.stdin.close()
    client.stdout.close()
    client.wait(10)


def peer(pid: int, **facts: Any) -> Peer:
    """Somebody at the other end of a socket."""
    return Peer(uid=os.getuid(), pid=pid, **facts)


def connection(pid: int) -> Any:
    """Somebody at control.sock."""
    return SimpleNamespace(peer=peer(pid, human=True))


def refused(clients: Clients, pid: int) -> bool:
    """Whether this process may not decide."""
    try:
        clients.refuse_kin(peer(pid))
    except Denied as denied:
        assert denied.code == "ancestry" and denied.hint
        return True
    return False


def test_what_a_client_started_is_refused_and_what_started_the_client_is_not(family: list[int]) -> None:
    """The client itself, its shim, and its shell; not the terminal that it was started from."""
    client, shim, shell = family
    clients = Clients()
    assert not refused(clients, shell)
    clients.opened(peer(shim))
    assert [refused(clients, pid) for pid in (client, shim, shell)] == [True, True, True]
    assert not refused(clients, os.getpid())


def test_a_client_stays_one_when_its_shim_is_gone(family: list[int]) -> None:
    """Ending its own shim first is no way around."""
    _, shim, shell = family
    clients = Clients()
    clients.opened(peer(shim))
    os.kill(shim, 9)
    assert refused(clients, shell)


def test_the_client_above_a_wrapping_shell_is_found() -> None:
    """`sh -c "…; shim"`: the shell is not who asks."""
    script = "sh -c 'sleep 600 & echo $!; read _; kill $!' ; true"
    agent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; subprocess.run(['sh', '-c', {script!r}])"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert agent.stdout and agent.stdin
    shim = int(agent.stdout.readline())
    clients = Clients()
    clients.opened(peer(shim))
    assert refused(clients, agent.pid) and not refused(clients, os.getpid())
    agent.stdin.write("\n")
    agent.stdin.close()
    agent.stdout.close()
    agent.wait(10)


def test_init_is_nobody_s_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shim whose parent has ended belongs to init, which started everything."""
    for pid, parent, name in ((1, 0, "init"), (7, 1, "aleph-agent-mcp"), (8, 1, "bash"), (9, 8, "ctl (x) y")):
        (tmp_path / str(pid)).mkdir()
        fields = " ".join(["S", str(parent), "0", "0", *["0"] * 15, str(100 + pid), "0"])
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) {fields}")
    monkeypatch.setattr(ancestry, "_PROC", tmp_path)
    clients = Clients()
    clients.opened(peer(7))
    assert refused(clients, 7) and not refused(clients, 9)
    assert ancestry.describe(9) == "ctl (x) y (9) < bash (8) < init (1)"


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_a_peer_that_cannot_be_seen_is_refused(pid: int) -> None:
    """Of another container, or gone: unknown is no."""
    assert refused(Clients(), pid)


def test_a_pid_that_was_given_again_is_somebody_else(
    family: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process is its pid and its start."""
    client, shim, _ = family
    clients = Clients()
    clients.opened(peer(shim))
    real = ancestry.process

    def later(pid: int) -> Any:
        found = real(pid)
        return found and found._replace(started=found.started + 1)

    monkeypatch.setattr(ancestry, "process", later)
    assert not refused(clients, client)


def test_what_is_dead_is_dropped_when_there_are_many(
    family: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lives is kept: nothing lets an agent be forgotten."""
    monkeypatch.setattr(ancestry, "MAX_CLIENTS", 3)
    _, shim, shell = family
    clients = Clients()
    clients._seen = {(2**22 + n, n): "dead" for n in range(1, 9)}
    clients.opened(peer(shim))
    assert len(clients._seen) == 2 and refused(clients, shell)


async def test_the_passphrase_opens_and_nothing_else_does(file: FileOfPassphrase) -> None:
    """Whatever type a stranger sends."""
    guard = OwnerGuard(Passphrase(file), Clients())
    await guard.passphrase.set(SECRET, None)
    await guard.check(connection(os.getpid()), {"passphrase": SECRET})
    for wrong in (None, "", OTHER, SECRET.upper(), SECRET.encode(), 7, [SECRET]):
        with pytest.raises(Denied) as denied:
            await Passphrase(file).check(wrong)
        assert denied.value.code == "passphrase"
        assert SECRET not in f"{denied.value.as_dict()}"


async def test_with_none_set_nobody_is_the_owner(file: FileOfPassphrase) -> None:
    """And the way to set one is told."""
    guard = OwnerGuard(Passphrase(file), Clients())
    with pytest.raises(Denied) as denied:
        await guard.check(connection(os.getpid()), {"passphrase": ""})
    assert denied.value.code == "passphrase_unset" and "passphrase set" in denied.value.hint


async def test_kin_is_refused_before_the_passphrase_is_tried(
    file: FileOfPassphrase, family: list[int]
) -> None:
    """An agent's guesses must not lock the owner out, nor tell it anything."""
    clients = Clients()
    guard = OwnerGuard(Passphrase(file), clients)
    await guard.passphrase.set(SECRET, None)
    clients.opened(peer(family[1]))
    for _ in range(passphrase.FREE_FAILURES * 2):
        for guess in (OTHER, SECRET):
            with pytest.raises(Denied) as denied:
                await guard.check(connection(family[2]), {"passphrase": guess})
            assert denied.value.code == "ancestry"
    await guard.check(connection(os.getpid()), {"passphrase": SECRET})


async def test_guessing_is_slowed_down(file: FileOfPassphrase, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many guess at once; the right one has to wait then, too."""
    now = [1000.0]
    monkeypatch.setattr(passphrase, "time", SimpleNamespace(monotonic=lambda: now[0]))
    guarded = Passphrase(file)
    await guarded.set(SECRET, None)
    outcomes = await asyncio.gather(*(guarded.check(OTHER) for _ in range(40)), return_exceptions=True)
    codes = [outcome.code for outcome in outcomes if isinstance(outcome, Denied)]
    assert codes == ["passphrase"] * passphrase.FREE_FAILURES + ["passphrase_wait"] * 35
    with pytest.raises(Denied):
        await guarded.check(SECRET)
    with pytest.raises(Denied):
        await guarded.set(OTHER, SECRET)
    now[0] += passphrase.PAUSE_S
    await guarded.check(SECRET)
    with pytest.raises(Denied) as denied:
        await guarded.check(OTHER)
    assert denied.value.code == "passphrase"


async def test_it_is_changed_only_with_the_old_one(file: FileOfPassphrase) -> None:
    """And not to a short one."""
    guarded = Passphrase(file)
    for unfit in (None, "short", "x" * 1025, 12345678):
        with pytest.raises(BadInput):
            await guarded.set(unfit, None)
    await guarded.set(SECRET, None)
    for old in (None, "", OTHER):
        with pytest.raises(Denied):
            await guarded.set(OTHER, old)
    await guarded.set(OTHER, SECRET)
    await guarded.check(OTHER)
    with pytest.raises(Denied):
        await guarded.check(SECRET)


async def test_only_a_salted_digest_is_kept_for_the_daemon_s_user(
    file: FileOfPassphrase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the file nor the log has the words."""
    await Passphrase(file).set(SECRET, None)
    first = (tmp_path / NAME).read_bytes()
    with pytest.raises(Denied):
        await Passphrase(file).check(OTHER)
    await Passphrase(file).set(SECRET, SECRET)
    assert (tmp_path / NAME).read_bytes() != first
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    for text in (first.decode(), caplog.text):
        assert not any(word in text for word in (*SECRET.split(), OTHER))


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"n": "x"}', "\x00"])
async def test_a_file_that_makes_no_sense_is_not_an_unset_passphrase(
    file: FileOfPassphrase, tmp_path: Path, content: str
) -> None:
    """Else spoiling it would let anybody set a first one."""
    (tmp_path / NAME).write_text(content)
    for work in (Passphrase(file).check(SECRET), Passphrase(file).set(SECRET, None)):
        with pytest.raises(Unavailable) as refusal:
            await work
        assert refusal.value.code == "passphrase_file"


async def test_the_same_letters_from_another_keyboard_are_the_same(file: FileOfPassphrase) -> None:
    """Composed or not."""
    await Passphrase(file).set("caf\u00e9 au lait", None)
    await Passphrase(file).check("cafe\u0301 au lait")
