"""Files in a working directory and variables of an agent's environment: none of them reaches the daemon."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.agent import session
from support.daemon import DaemonProcess
from support.devnet import DevnetProcess

OTHER_KEY = "11" * 32
MARK = "planted-code-ran"
POST = "/api/v0/messages"
_PLANTED = "import os, pathlib\npathlib.Path({mark!r}).open('a').write(f'{{os.getpid()}} {name}\\n')\n"
_MODULES = ("sitecustomize", "usercustomize", "aleph", "aiohttp", "json", "msgpack", "select", "aleph_agentd")


@contextmanager
def _trap() -> Iterator[tuple[str, list[bytes]]]:
    """A host that nobody is to ask: its URL, and what it was asked."""
    asked: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                caller, _ = listener.accept()
                with caller:
                    caller.settimeout(1)
                    asked.append(caller.recv(65536))
            except TimeoutError:
                asked.append(b"")
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def _settings(trap: str, folder: Path) -> dict[str, str]:
    """What the SDK, aiohttp, OpenSSL and Python would read."""
    names = (
        "API_HOST",
        "CRN_LIST_URL",
        "API_UNIX_SOCKET",
        "SCHEDULER_URL",
        "VM_URL_HOST",
        "CRN_URL_FOR_PROGRAMS",
    )
    found = {f"ALEPH_{name}": trap for name in names}
    found |= {name.lower(): value for name, value in found.items()}
    key = str(folder / "other.key")
    found |= {
        "ALEPH_PRIVATE_KEY_FILE": key,
        "ALEPH_PRIVATE_KEY_STRING": OTHER_KEY,
        "ALEPH_CONFIG_HOME": str(folder),
    }
    found |= {"ALEPH_CONFIG_FILE": str(folder / "config.json"), "ALEPH_ADDRESS_TO_USE": "0x" + "ab" * 20}
    found |= {"ALEPH_AGGREGATE_ADDRESS": "0x" + "cd" * 20, "ALEPH_REMOTE_CRYPTO_HOST": trap}
    for name in ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy"):
        found |= {name: trap, name.upper(): trap}
    found |= {"NO_PROXY": "", "no_proxy": "", "NETRC": str(folder / ".netrc"), "SSL_CERT_DIR": str(folder)}
    return found | {"SSL_CERT_FILE": str(folder / "none.pem"), "REQUESTS_CA_BUNDLE": str(folder / "none.pem")}


def _plant(folder: Path, trap: str, *, code: bool) -> None:
    """Every file that anybody may look for where it was started; `code` is what Python would import."""
    folder.mkdir(exist_ok=True)
    settings = _settings(trap, folder)
    dotenv = "".join(f"{name}={value}\n" for name, value in settings.items())
    ours = f"ALEPH_AGENT_NETWORK=mainnet\nALEPH_AGENT_API_HOST={trap}\nALEPH_AGENT_MAX_CONCURRENT_VMS=99\n"
    (folder / ".env").write_text(dotenv + ours)
    toml = (
        f'api_host = "{trap}"\nprivate_key_path = "{folder}/other.key"\n[policy]\nmax_concurrent_vms = 99\n'
    )
    for name in ("config.toml", "aleph-agentd.toml", ".aleph-agentd/config.toml", "aleph-agentd/config.toml"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(toml)
    (folder / "pyproject.toml").write_text(f"[tool.aleph-agentd]\n{toml}")
    (folder / "setup.cfg").write_text(f"[aleph]\napi_host = {trap}\n")
    (folder / "other.key").write_bytes(bytes.fromhex(OTHER_KEY))
    (folder / "other.key").chmod(0o600)
    for place in (folder / ".aleph-im", folder / ".aleph"):
        (place / "private-keys").mkdir(parents=True, exist_ok=True)
        (place / "private-keys" / "ethereum.key").write_bytes(bytes.fromhex(OTHER_KEY))
        (place / "config.json").write_text(
            f'{{"path": "{folder}/other.key", "chain": "ETH", "api_host": "{trap}"}}'
        )
    (folder / ".netrc").write_text("default login evil password evil\n")
    for name in _MODULES if code else ():
        (folder / f"{name}.py").write_text(_PLANTED.format(mark=str(folder / MARK), name=name))


async def test_hostile_files_and_variables_of_daemon_client_and_shim_change_nothing(
    net: DevnetProcess, tmp_path: Path
) -> None:
    """A create by the real shim is signed by the same key, and sent to the same network; nobody else is asked."""
    place = tmp_path / "project"
    with _trap() as (trap, asked):
        _plant(place, trap, code=True)
        tenant = DaemonProcess(net, environment=_settings(trap, place))
        _plant(tenant.folder, trap, code=False)
        with tenant as daemon:
            before = await daemon.control("status")
            posts = sum(request["path"].startswith(POST) for request in net.requests())
            async with session(daemon, place, environment=_settings(trap, place)) as agent:
                vm = await agent.call("aleph_create_vm", name="box", ttl_hours=1)
                assert (await agent.call("aleph_list_crns"))["total"] == 3
            assert daemon.live_instances() == [vm["item_hash"]]
            assert sum(request["path"].startswith(POST) for request in net.requests()) > posts
            assert {message["sender"] for message in daemon.instances()} == {daemon.address}
            command = [sys.executable, "-P", "-m", "aleph_agentd.control", "--json", "status"]
            environment = {**daemon.environment, **_settings(trap, place)}
            said = subprocess.run(
                command, cwd=place, env=environment, capture_output=True, text=True, timeout=30
            )
            assert daemon.address in said.stdout, said.stderr
            after = await daemon.control("status")
            same = ("pid", "network", "address")
            assert {name: before[name] for name in same} == {name: after[name] for name in same}
            assert (after["network"], after["address"]) == (net.api_host, daemon.address)
            assert "max_concurrent_vms=3 " in daemon.log()
    assert asked == []
    assert not (place / MARK).exists(), (place / MARK).read_text()


async def test_python_s_own_variables_in_a_shim_run_nothing_in_the_daemon(
    resident: DaemonProcess, tmp_path: Path
) -> None:
    """Planted modules run where whoever sets the variables may run code anyway: in the shim, and only there."""
    for name in ("sitecustomize", "msgpack", "aleph"):
        (tmp_path / f"{name}.py").write_text(_PLANTED.format(mark=str(tmp_path / MARK), name=name))
    planted = str(tmp_path / "sitecustomize.py")
    hostile = {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": planted, "PYTHONINSPECT": "1"}
    hostile |= {"PYTHONHASHSEED": "0", "PYTHONDEVMODE": "1", "PYTHONBREAKPOINT": "msgpack.evil"}
    before = len(resident.instances())
    async with session(resident, tmp_path, environment=hostile) as agent:
        vm = await agent.call("aleph_create_vm", name="planted", ttl_hours=1)
        await agent.call("aleph_destroy_vm", item_hash=vm["item_hash"])
    assert len(resident.instances()) == before + 1
    ran = (tmp_path / MARK).read_text().splitlines()
    assert {line.partition(" ")[2] for line in ran} == {"sitecustomize"}, "the shim needs none of the others"
    assert str(resident.pid) not in {line.partition(" ")[0] for line in ran}


def test_the_trap_tells_who_was_caught() -> None:
    """The positive control: one connection, and it is seen."""
    with _trap() as (url, asked):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as caller:
            caller.sendall(b"GET /")
            assert caller.recv(1) == b""
    assert asked == [b"GET /"]
