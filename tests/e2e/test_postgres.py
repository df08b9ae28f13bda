"""A daemon whose inventory lies on a PostgreSQL: the same life, and what happens while that is away."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aleph_agentd.domain.errors import Refusal
from support.daemon import DaemonProcess, eventually
from support.devnet import DevnetProcess
from support.postgres import PASSWORD, Postgres

pytest_plugins = ["support.store_fixtures"]
pytestmark = pytest.mark.fleet

SECONDS = 1 / 3600


@pytest.fixture
def daemon(net: DevnetProcess, server: Postgres, tmp_path: Path) -> Iterator[DaemonProcess]:
    """Its password lies in a file of its own, and not in the URL."""
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    place = server.database().rpartition("@")[2]
    environment = {
        "ALEPH_AGENT_DATABASE_URL": f"postgresql+psycopg://aleph@{place}",
        "ALEPH_AGENT_DATABASE_PASSWORD_PATH": str(secret),
    }
    with DaemonProcess(net, environment=environment) as started:
        yield started


async def test_a_vm_lives_and_ends_over_a_kill(daemon: DaemonProcess) -> None:
    """Nothing lies on the machine but the start counter: the next life finds its VM on the server."""
    made = await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1})
    daemon.kill()
    daemon.start()
    assert [row["item_hash"] for row in await daemon.rows()] == [made["item_hash"]] == daemon.running()
    extended = await daemon.call("aleph_extend_vm", {"item_hash": "box", "additional_hours": 1})
    assert extended["new_ttl_expires_at"] > made["ttl_expires_at"]
    await daemon.call("aleph_destroy_vm", {"item_hash": "box"})
    await eventually(lambda: not daemon.running(), "the VM to be gone")
    assert not daemon.database.exists()
    assert PASSWORD not in daemon.log()


async def test_a_server_that_is_away_stops_spending_and_nothing_else(
    daemon: DaemonProcess, server: Postgres
) -> None:
    """A create is refused with what to do; a lease that ended meanwhile is over as soon as the server is back."""
    made = await daemon.call("aleph_create_vm", {"name": "short", "ttl_hours": 15 * SECONDS})
    assert daemon.running() == [made["item_hash"]]
    server.stop()
    try:
        with pytest.raises(Refusal) as refused:
            await daemon.call("aleph_create_vm", {"name": "other"})
        assert PASSWORD not in f"{refused.value}"
    finally:
        server.start()
    await eventually(lambda: not daemon.running(), "the lease to end")
    await daemon.call("aleph_create_vm", {"name": "other", "ttl_hours": 1})
    assert len(daemon.running()) == 1


def test_a_server_that_is_not_there_ends_the_start_with_one_line(net: DevnetProcess) -> None:
    """Without a word of the password."""
    url = "postgresql+psycopg://aleph:hunter2hunter2@127.0.0.1:1/none"
    daemon = DaemonProcess(net, environment={"ALEPH_AGENT_DATABASE_URL": url})
    try:
        daemon.spawn()
        assert daemon.wait() == 1
        (line,) = daemon.log().splitlines()
        assert "postgresql+psycopg://aleph:***@127.0.0.1:1/none" in line
        assert "hunter2" not in line
    finally:
        daemon.close()


def test_a_second_daemon_on_the_same_database_does_not_start(
    net: DevnetProcess, daemon: DaemonProcess
) -> None:
    """One line says why; the first goes on."""
    names = ("ALEPH_AGENT_DATABASE_URL", "ALEPH_AGENT_DATABASE_PASSWORD_PATH")
    second = DaemonProcess(net, environment={name: daemon.environment[name] for name in names})
    try:
        second.spawn()
        assert second.wait() == 1
        (line,) = second.log().splitlines()
        assert "another aleph-agentd uses this inventory" in line
    finally:
        second.close()
