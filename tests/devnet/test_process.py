"""`aleph-devnet` as a program: ready line, env, restart, kill -9, two side by side."""

import asyncio
import subprocess
import sys
from pathlib import Path

import aiohttp
import asyncssh
import pytest
from aleph_message.models import Chain, Payment, PaymentType

from aleph_agentd.adapters.config import Settings
from aleph_devnet.network import IMAGES
from support.devnet import DevnetProcess


@pytest.fixture
def net(tmp_path: Path):
    """A devnet in a process of its own."""
    with DevnetProcess(tmp_path / "net", boot_seconds=0) as process:
        yield process


async def create(net: DevnetProcess, ssh_keys: list[str]) -> str:
    """Create a VM with the SDK and start it on the first CRN."""
    from aleph.sdk.chains.ethereum import ETHAccount
    from aleph.sdk.client import AuthenticatedAlephHttpClient
    from aleph.sdk.client.vm_client import VmClient

    account = ETHAccount(private_key=net.key())
    payment = Payment(chain=Chain.ETH, type=PaymentType.credit)
    size = {"memory": 2048, "vcpus": 1, "rootfs_size": 20_480}
    async with AuthenticatedAlephHttpClient(account, api_server=net.api_host) as client:
        message, _ = await client.create_instance(
            rootfs=IMAGES["debian12"], payment=payment, ssh_keys=ssh_keys, sync=True, **size
        )
    async with VmClient(account, net.crns[0]["url"]) as vm:
        assert (await vm.start_instance(message.item_hash))[0] == 200
    return str(message.item_hash)


async def address_of(net: DevnetProcess, item_hash: str) -> tuple[str, int]:
    """Wait until a VM has an address, as a daemon does."""
    url = net.crns[0]["url"] + "/v2/about/executions/list"
    async with asyncio.timeout(20), aiohttp.ClientSession() as http:
        while True:
            async with http.get(url) as answer:
                networking = (await answer.json())[item_hash]["networking"]
            if networking:
                return networking["host_ipv4"], networking["mapped_ports"]["22"]["host"]
            await asyncio.sleep(0.05)


async def test_a_vm_lets_in_its_key_before_and_after_a_kill(net: DevnetProcess) -> None:
    """[obs] A CRN restart keeps its VMs: same URLs, same ports, same key, and the charge runs on."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    item_hash = await create(net, [key.export_public_key().decode().strip()])
    before = {name: net.facts[name] for name in ("api_host", "crns", "aggregate_address", "accounts")}
    host, port = await address_of(net, item_hash)
    await log_in(host, port, key)
    charge = net.state()["charges"][0]
    await net.call(net.restart, kill=True)
    assert {name: net.facts[name] for name in ("api_host", "crns", "aggregate_address")} == {
        name: before[name] for name in ("api_host", "crns", "aggregate_address")
    }
    assert net.state()["charges"][0]["from"] == charge["from"]
    assert net.running() == {item_hash}
    assert await address_of(net, item_hash) == (host, port)
    await log_in(host, port, key)


async def log_in(host: str, port: int, key: asyncssh.SSHKey) -> None:
    """`ssh -p PORT root@HOST uname -a`; a VM restored after a restart may need a moment to listen."""
    async with asyncio.timeout(20):
        while True:
            try:
                async with asyncssh.connect(
                    host, port, username="root", client_keys=[key], known_hosts=None, config=None
                ) as ssh:
                    answer = await ssh.run("uname -a", check=True)
                    assert "Linux" in str(answer.stdout)
                    return
            except OSError:
                await asyncio.sleep(0.05)


async def test_a_restarted_node_takes_bytes_that_it_rejected_before(net: DevnetProcess) -> None:
    """[obs] the same [CCN] after a restart will process them once the reason is gone, e.g. after a top-up."""
    await net.call(net.credits, -100_000_000)
    with pytest.raises(ValueError, match="Unknown error code 6"):
        await create(net, [])
    (message,) = net.instances("rejected")
    await net.call(net.credits, 100_000_000)
    await net.call(net.restart)
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{net.api_host}/api/v0/messages/{message['item_hash']}") as answer:
            rejected = (await answer.json())["message"]
        rejected.pop("origin")
        body = {"sync": True, "message": rejected}
        async with http.post(f"{net.api_host}/api/v0/messages", json=body) as answer:
            assert answer.status == 200
    assert [m["item_hash"] for m in net.instances("processed")] == [message["item_hash"]]


def test_a_clean_stop_is_quick_and_keeps_everything(net: DevnetProcess) -> None:
    """SIGTERM: exit code 0, nothing on stderr, and the same accounts afterwards."""
    accounts = net.facts["accounts"]
    net.credits(7, "unfunded")
    net.advance(100)
    assert net.stop() == 0
    assert net.stderr() == ""
    net.start()
    assert net.account("funded") == accounts[0]
    assert net.account("unfunded")["credits"] == 7
    assert net.clock_file.read_text() == "+100.000\n"


def test_a_second_network_in_the_same_directory_is_refused(net: DevnetProcess) -> None:
    """One network per directory; the second says so and exits with 1."""
    second = subprocess.run(
        [sys.executable, "-m", "aleph_devnet", "run", f"--dir={net.folder}", "--port=0"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (second.returncode, second.stdout) == (1, "")
    assert "another one runs" in second.stderr


def test_two_networks_run_side_by_side(net: DevnetProcess, tmp_path: Path) -> None:
    """Two of them can run side by side: no address, key or credit is shared."""
    with DevnetProcess(tmp_path / "other") as other:
        ours, theirs = ({crn["url"] for crn in each.crns} | {each.api_host} for each in (net, other))
        assert not ours & theirs
        assert net.account()["address"] != other.account()["address"]
        other.credits(5, address=net.account()["address"])
        assert net.account()["address"] not in other.state()["crns"]
        assert net.state()["balances"][net.account()["address"]] == 100_000_000


def test_env_prints_what_a_daemon_needs(net: DevnetProcess) -> None:
    """`eval "$(aleph-devnet env --dir DIR)"` exports the `ALEPH_AGENT_*`."""
    command = f'eval "$({sys.executable} -m aleph_devnet env --dir={net.folder})" && env'
    shown = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    found = dict(line.split("=", 1) for line in shown.splitlines() if line.startswith("ALEPH_AGENT_"))
    assert net.environment().items() <= found.items()
    assert len(Path(found["ALEPH_AGENT_PRIVATE_KEY_PATH"]).read_bytes()) == 32


def test_env_without_a_network_says_so(tmp_path: Path) -> None:
    """Exit code 1 and one line, so that an eval in a script fails."""
    done = subprocess.run(
        [sys.executable, "-m", "aleph_devnet", "env", f"--dir={tmp_path}", "--wait=0"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "no network in" in done.stderr


def test_env_waits_for_a_network_that_is_about_to_start(tmp_path: Path) -> None:
    """As README says it, in one line; what an earlier network left behind counts for nothing."""
    (tmp_path / "devnet.json").write_text('{"api_host": "http://127.0.0.1:1", "accounts": []}')
    env = [sys.executable, "-m", "aleph_devnet", "env", f"--dir={tmp_path}", "--wait=60"]
    with subprocess.Popen(env, stdout=subprocess.PIPE, text=True) as waiting, DevnetProcess(tmp_path) as net:
        assert waiting.stdout is not None
        assert f"export ALEPH_AGENT_API_HOST={net.api_host}" in waiting.stdout.read()


def test_key_files_are_private(net: DevnetProcess) -> None:
    """Key files: 32 raw bytes, mode 0600."""
    for account in net.facts["accounts"]:
        path = Path(account["key_file"])
        assert (path.stat().st_mode & 0o777, len(path.read_bytes())) == (0o600, 32)


def test_the_network_runs_without_the_sdk_and_the_daemon() -> None:
    """It is the oracle: it shares no code with what it judges."""
    program = """
import sys, aleph_devnet.app, aleph_devnet.guest
print([m for m in sys.modules if m == "aleph" or m.startswith(("aleph.", "aleph_agentd", "aleph_agent_mcp"))])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_devnet_publishes_its_prices_from_the_address_that_a_daemon_expects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ALEPH_AGENT_NETWORK=devnet` alone is enough for one on the default port."""
    monkeypatch.setenv("ALEPH_AGENT_NETWORK", "devnet")
    expected = Settings.load().aggregate_address
    with DevnetProcess(tmp_path) as net:
        assert net.aggregate_address == expected
