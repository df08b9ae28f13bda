"""What the system unit is for: an agent's account rents VMs, and reaches neither the owner's socket nor the key.

Every way to the key is tried by the agent, and by somebody who must find it that way: else the attempt proves nothing.
"""

import base64
import os
import socket
import sys
from pathlib import Path

import pytest

from aleph_agentd.control import units
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import open_client
from support.service import SERVICE
from support.system_service import AGENT, CREDENTIAL, OWNER, STRANGER, SystemService

SEALED = units.ENCRYPTED_STORE / units.CREDENTIAL
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
DENIED = ("EACCES", "EPERM")


def reaches(service: SystemService, name: str, sock: str) -> str:
    """What a connection of that account comes to."""
    done = service.run_as(name, sys.executable, "-c", CONNECT, str(service.runtime / sock))
    return done.stderr.decode().strip().rpartition("\n")[2].partition(":")[0]


def holds_the_key(service: SystemService, said: bytes) -> bool:
    """In any of the forms that a program might print."""
    key = service.secret
    return any(form in said for form in (key, key.hex().encode(), base64.b64encode(key)))


def test_each_socket_serves_the_group_that_it_is_for(service: SystemService) -> None:
    """aleph-agents the one, aleph-owners the other, and nobody else either."""
    table = {
        (name, sock): reaches(service, name, sock)
        for name in (AGENT, OWNER, STRANGER)
        for sock in ("agent.sock", "control.sock")
    }
    allowed = {pair for pair, trouble in table.items() if not trouble}
    assert allowed == {(AGENT, "agent.sock"), (OWNER, "control.sock")}
    assert {trouble for trouble in table.values() if trouble} == {"PermissionError"}


def test_the_owner_sees_what_the_agent_may_not(service: SystemService) -> None:
    """`aleph-agentctl` of the one answers, of the other it is refused by the socket's mode."""
    assert service.control("status").startswith("daemon ")
    for words in (["status"], ["vms"], ["approvals"], ["spend"], ["freeze"]):
        code, said = service.tool(AGENT, "aleph-agentctl", *words)
        assert code != 0 and "ermission denied" in said, (words, said)


async def test_the_agents_socket_knows_no_verb_of_the_owners(service: SystemService) -> None:
    """Whoever connects there: the same names that control.sock answers are no methods."""
    async with open_client(service.runtime / "control.sock") as owner:
        assert (await owner.call("vms.list", {"which": "live"}))["total"] == 0
    async with open_client(service.runtime / "agent.sock") as agent:
        for verb in ("vms.list", "key.unlock", "panic", "approvals.list", "unfreeze"):
            with pytest.raises(Refusal) as refused:
                await agent.call(verb, {})
            assert "method" in f"{refused.value.code} {refused.value.message}"


def test_files_proc_and_ptrace_give_the_agent_nothing(service: SystemService) -> None:
    """Root finds the key in each of these ways; the agent is refused; the daemon's own account has but its file."""
    folders = (CREDENTIAL.parent, service.state, units.ENCRYPTED_STORE)
    root = service.thief("root", *folders)
    assert [root[way] for way in ("files", "proc root", "proc mem")] == ["found"] * 3
    others = ("proc environ", "proc maps", "proc fd", "proc cwd", "coredump filter", "ptrace", "signal")
    assert {way: root[way] for way in others} == dict.fromkeys(others, "open")
    assert root["process_vm_readv"] == "EFAULT"  # allowed, and nothing is at that address
    agent = service.thief(AGENT, *folders)
    assert {way: error for way, error in agent.items() if error not in DENIED} == {}
    own = service.thief(units.USER, CREDENTIAL.parent)
    assert (own["files"], own["signal"]) == ("found", "open")
    closed = ("proc mem", "proc environ", "proc maps", "proc fd", "ptrace", "process_vm_readv", "proc root")
    assert {way: own[way] for way in closed if own[way] not in DENIED} == {}


def test_systemd_hands_the_key_to_nobody_else(service: SystemService) -> None:
    """Neither as a credential of another unit, nor as the daemon's account, nor unsealed by hand."""
    inside = f"cat ${{CREDENTIALS_DIRECTORY}}/{units.CREDENTIAL}"
    run = ["systemd-run", "--no-ask-password", "--quiet", "--wait", "--pipe", "--collect"]
    ways = {
        "credential": [
            *run,
            "-p",
            f"LoadCredentialEncrypted={units.CREDENTIAL}:{SEALED}",
            "sh",
            "-c",
            inside,
        ],
        "account": [*run, "-p", f"User={units.USER}", "cat", str(CREDENTIAL)],
        "by hand": ["systemd-creds", "decrypt", f"--name={units.CREDENTIAL}", str(SEALED), "-"],
    }
    for way, words in ways.items():
        assert holds_the_key(service, service.run_as("root", *words).stdout), way
        refused = service.run_as(AGENT, *words)
        assert refused.returncode != 0, way
        assert not holds_the_key(service, refused.stdout + refused.stderr), way
        assert any(word in refused.stderr.lower() for word in (b"denied", b"authentication")), refused.stderr


def test_the_agent_cannot_touch_the_unit(service: SystemService) -> None:
    """restart, kill, and a changed property are root's."""
    before = service.pid
    for words in (
        ("restart", SERVICE),
        ("kill", "--signal=ABRT", SERVICE),
        ("set-property", "--runtime", SERVICE, "CPUQuota=1%"),
    ):
        refused = service.run_as(AGENT, "systemctl", "--no-ask-password", *words)
        assert refused.returncode != 0, words
    assert (service.pid, service.active) == (before, "active")


def test_the_daemons_own_tools_do_not_tell(service: SystemService) -> None:
    """The account that may read the credential learns its address; the agent not even that, nor by the daemon."""
    environment = {"CREDENTIALS_DIRECTORY": str(CREDENTIAL.parent)}
    code, said = service.tool(units.USER, "aleph-agentctl", "key", "show", str(CREDENTIAL), **environment)
    assert (code, service.address in said) == (0, True), said
    chosen = environment | {"ALEPH_AGENT_PRIVATE_KEY_PATH": str(CREDENTIAL)}
    for program, *words in (
        ("aleph-agentctl", "key", "show", str(CREDENTIAL)),
        ("aleph-agentctl", "key", "show"),
        ("aleph-agentctl", "key", "encrypt", str(CREDENTIAL)),
        ("aleph-agentd", "reap-escrow", str(service.state)),
    ):
        code, said = service.tool(AGENT, program, *words, **chosen)
        assert code != 0, (program, words, said)
        assert service.address not in said and not holds_the_key(service, said.encode())


def test_an_aborted_daemon_leaves_no_core(service: SystemService) -> None:
    """Root makes it abort: it is killed, not dumped. A program without its care, in the same place, is dumped."""
    folder = Path("/run/aleph-core")
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    run = ["systemd-run", "--quiet", "--wait", "--collect", f"--property=User={units.USER}"]
    run += ["--property=LimitCORE=infinity", f"--property=WorkingDirectory={folder}", "--unit=aleph-careless"]
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    service.run_as("root", *run, "sh", "-c", "kill -ABRT $$$$")  # systemd makes one $ of two
    careless = service.run_as("root", "journalctl", "--no-pager", "-u", "aleph-careless").stdout
    if not pattern.startswith("|"):  # else it goes to a program of the machine's, if that is there
        assert b"code=dumped" in careless and list(folder.glob("core*"))
    before = service.pid
    service.drop_in(
        SERVICE, f"[Service]\nLimitCORE=infinity\nReadWritePaths={folder}\nWorkingDirectory={folder}\n"
    )
    try:
        service.systemctl("restart", SERVICE)
        before = service.pid
        os.kill(before, 6)
        service.eventually(lambda: service.pid not in (0, before) and service.active == "active", "a new one")
        killed = "code=killed, status=6/ABRT"
        service.eventually(lambda: killed in service.journal() or "code=dumped" in service.journal(), killed)
        journal = service.journal()
        assert killed in journal and "code=dumped" not in journal
        assert not [path for path in folder.glob("core*") if holds_the_key(service, path.read_bytes())]
    finally:
        service.drop_in(SERVICE, "")


def test_nothing_that_was_said_holds_the_key(service: SystemService) -> None:
    """The journal of everything above, and what systemd shows to anybody."""
    said = service.run_as("root", "journalctl", "--no-pager", "-o", "export").stdout
    assert b"aleph-agentd" in said and not holds_the_key(service, said)
    shown = b"".join(service.run_as(AGENT, "systemctl", verb, SERVICE).stdout for verb in ("show", "cat"))
    assert b"LoadCredentialEncrypted" in shown and not holds_the_key(service, shown)
    with socket.socket(socket.AF_UNIX) as door:  # and it still serves
        door.connect(str(service.runtime / "agent.sock"))
