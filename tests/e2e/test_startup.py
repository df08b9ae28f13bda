"""A daemon that lacks something says what, in one line; it runs where it can, and stops where it must."""

import asyncio

import pytest

from aleph_agentd.domain.errors import Refusal
from support.daemon import DaemonProcess, eventually

MISCONFIGURED = 78


async def refusal_of_a_create(daemon: DaemonProcess, **arguments) -> Refusal:
    """What a create is refused with."""
    with pytest.raises(Refusal) as refused:
        await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1, **arguments})
    assert refused.value.hint
    return refused.value


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ALEPH_AGENT_MAX_TTL_HUORS", "4", "did you mean ALEPH_AGENT_MAX_TTL_HOURS?"),
        ("ALEPH_AGENT_MAX_TTL_HOURS", "nan", "ALEPH_AGENT_MAX_TTL_HOURS (environment)"),
        ("ALEPH_AGENT_MAX_CONCURRENT_VMS", "-1", "ALEPH_AGENT_MAX_CONCURRENT_VMS (environment)"),
        ("ALEPH_AGENT_COST_THRESHOLD", "14250000", "ALEPH_AGENT_COST_THRESHOLD (environment)"),
        ("ALEPH_AGENT_HUMAN_ADDRESS", "0x12", "ALEPH_AGENT_HUMAN_ADDRESS (environment)"),
        ("ALEPH_AGENT_CONFIG", "{folder}/none.toml", "does not exist"),
        ("ALEPH_AGENT_CONFIG", "{folder}", "cannot be read"),
        ("ALEPH_AGENT_CONFIG", "{folder}/broken.toml", "is not TOML"),
        ("ALEPH_AGENT_CONFIG", "{folder}/typo.toml", "max_vms"),
        ("ALEPH_AGENT_RUNTIME_DIR", "relative", "ALEPH_AGENT_RUNTIME_DIR must be an absolute path"),
    ],
)
def test_a_configuration_that_cannot_be_used_stops_the_start_with_one_line(network, variable, value, said):
    """Exit 78, and the line names the setting."""
    daemon = DaemonProcess(network, units=0)
    try:
        (daemon.folder / "broken.toml").write_text("max_ttl_hours =")
        (daemon.folder / "typo.toml").write_text("[policy]\nmax_vms = 3\n")
        daemon.environment[variable] = value.format(folder=daemon.folder)
        daemon.spawn()
        assert daemon.wait() == MISCONFIGURED
        (line,) = daemon.log().splitlines()
        assert line.startswith("aleph-agentd: ") and said in line
        assert len(line) < 500
    finally:
        daemon.close()


async def test_without_a_key_it_answers_what_it_knows_and_says_what_is_missing(network):
    """Reads work, every answer carries the alert, creates are refused; the log says it in one line."""
    missing = {"ALEPH_AGENT_PRIVATE_KEY_PATH": "/nowhere/ethereum.key"}
    with DaemonProcess(network, environment=missing) as daemon:
        refusal = await refusal_of_a_create(daemon)
        assert "key" in refusal.message
        for tool in ("aleph_check_balance", "aleph_list_my_vms", "aleph_list_crns"):
            answer = await daemon.call(tool)
            assert "/nowhere/ethereum.key" in answer["alerts"][0]
        await eventually(lambda: "no usable key: " in daemon.log())
        assert daemon.log().count("no usable key: ") == 1
        assert (await daemon.control("status"))["key_trouble"]


async def test_without_a_network_it_answers_from_its_inventory_and_says_what_is_not_known(net, daemon):
    """Also after a restart; nothing is called gone or zero, and it works again when the network is back."""
    vm = await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1})
    net.fault({"drop": "before"})
    daemon.restart()
    (listed,) = (await daemon.call("aleph_list_my_vms"))["vms"]
    assert (listed["item_hash"], listed["status"]) == (vm["item_hash"], "running")
    balance = await daemon.call("aleph_check_balance")
    assert balance["balance_credits"] is None
    assert any("not known" in warning for warning in balance["warnings"])
    assert (await refusal_of_a_create(daemon, name="other")).code == "unavailable"
    assert (await daemon.control("status"))["balance_credits"] is None
    net.clear_faults()
    await eventually(lambda: knows_its_balance(daemon))
    assert daemon.live_instances() == [vm["item_hash"]]


async def knows_its_balance(daemon: DaemonProcess) -> bool:
    """Whether the balance is known."""
    return (await daemon.call("aleph_check_balance"))["balance_credits"] is not None


async def test_without_an_ssh_key_a_create_asks_for_one(net):
    """A quote needs none, and a key in the call will do."""
    nowhere = {"ALEPH_AGENT_SSH_PUBKEY_PATH": "/nowhere/id.pub"}
    with DaemonProcess(net, environment=nowhere) as daemon:
        refusal = await refusal_of_a_create(daemon)
        assert refusal.code == "no_ssh_key"
        assert "/nowhere/id.pub" in refusal.message
        quote = await daemon.call("aleph_create_vm", {"name": "box", "dry_run": True})
        assert quote["status"] == "quoted"
        key = daemon.ssh_key.with_suffix(".pub").read_text()
        vm = await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1, "ssh_pubkey": key})
        authorized, ours = net.message(vm["item_hash"])["content"]["authorized_keys"]
        assert key.startswith(authorized)
        assert len(ours.split()) == 2, "the daemon's own key has no comment either"
        assert "tester@example" not in authorized, "comments of keys would be public for ever"


async def test_an_account_without_credits_is_told_where_to_buy_them(net):
    """The refusal carries the address, and so does the balance."""
    with DaemonProcess(net, units=0) as daemon:
        refusal = await refusal_of_a_create(daemon)
        assert refusal.code == "balance_guard"
        assert "https://credits.app.aleph.im" in refusal.hint
        balance = await daemon.call("aleph_check_balance")
        assert (balance["balance_credits"], set(balance["affordable"].values())) == (0, {0})
        assert balance["buy_credits_url"] == "https://credits.app.aleph.im"
        assert daemon.instances() == []
        net.credits(100_000_000, address=daemon.address)
        vm = await eventually(lambda: try_to_create(daemon), "the new balance to be seen")
        assert daemon.live_instances() == [vm["item_hash"]]


async def try_to_create(daemon: DaemonProcess) -> dict | None:
    """A VM, or None while that is refused."""
    try:
        return await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1})
    except Refusal:
        return None


async def test_a_socket_that_a_live_daemon_holds_is_not_taken_from_it(net, daemon):
    """Another daemon in the same runtime directory ends with 1, and the first one still answers."""
    rival = DaemonProcess(net, environment={"ALEPH_AGENT_RUNTIME_DIR": str(daemon.runtime)})
    try:
        rival.spawn()
        assert await asyncio.to_thread(rival.wait) == 1
        assert str(daemon.agent_socket) in rival.log().splitlines()[-1]
    finally:
        rival.close()
    assert (await daemon.call("aleph_check_balance"))["balance_credits"] == 10_000
