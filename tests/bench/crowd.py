"""Thousands of leases within seconds: written straight into a daemon's inventory and a devnet's store.

Rows, messages, events and reservations are those that creates would have left. What a run may post is really
signed; a kill switch that no run pulls has only the size of a real one.
"""

import asyncio
import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert

from aleph_agentd.adapters.aleph.network import open_network
from aleph_agentd.adapters.aleph.settings import NetworkSettings
from aleph_agentd.adapters.installation import installation_id
from aleph_agentd.adapters.store import schema
from aleph_agentd.adapters.store.engine import WRITES, open_engine, sqlite_url
from aleph_agentd.adapters.store.migrations import migrate
from aleph_agentd.adapters.store.rows import to_row
from aleph_agentd.adapters.store.types import microseconds
from aleph_agentd.domain.clock import iso
from aleph_agentd.domain.model import Stamp, Vm, VmState
from aleph_agentd.ports import InstanceSpec
from aleph_agentd.services.billing_end import FORGETS_PER_VM
from aleph_devnet.accounts import Account
from aleph_devnet.credits import Charge, ms
from aleph_devnet.message import PROCESSED, Message
from aleph_devnet.network import IMAGES
from aleph_devnet.pricing import PRICING, milli_rate
from aleph_devnet.state import Store
from support.daemon import DaemonProcess
from support.devnet import DevnetProcess
from support.inventory import RATE, RESERVE
from support.network import SSH_KEY, a_crn

CHUNK = 1000
_AGE = timedelta(hours=1)
_LEASE = timedelta(hours=12)
_PLACE = "203.0.113.7"
"""An address for documents: nobody knocks there unless a benchmark says where."""


def settle(net: DevnetProcess, crowds: Mapping[DaemonProcess, int], *, mortal: int) -> None:
    """Give each daemon so many running leases; the kill switches of the `mortal` oldest are really signed.

    The daemons must not run; the network is stopped meanwhile.
    """
    net.stop()
    for daemon, size in crowds.items():
        _Crowd(net, daemon).settle(size, mortal)
    net.start()


def oldest(daemon: DaemonProcess, count: int) -> list[str]:
    """Hashes of the rows that were made first."""
    with closing(sqlite3.connect(daemon.database)) as db:
        rows = db.execute("SELECT item_hash FROM vms ORDER BY created_at, item_hash LIMIT ?", (count,))
        return [item_hash for (item_hash,) in rows]


def end_at(daemon: DaemonProcess, ends: Mapping[str, datetime]) -> None:
    """Move the ends of leases while the daemon does not run."""
    values = [(microseconds(at), microseconds(at), item_hash) for item_hash, at in ends.items()]
    with closing(sqlite3.connect(daemon.database)) as db, db:
        db.executemany("UPDATE vms SET expires_at=?, due_at=? WHERE item_hash=?", values)


def live_at(daemon: DaemonProcess, host: str, port: int) -> None:
    """Move every VM's SSH door while the daemon does not run."""
    with closing(sqlite3.connect(daemon.database)) as db, db:
        db.execute("UPDATE vms SET host_ipv4=?, ssh_port=?", (host, port))


def lateness(daemon: DaemonProcess, item_hashes: Sequence[str]) -> dict[str, float | None]:
    """Seconds from the end of each lease to the order of its teardown; None: there is none yet."""
    found: dict[str, float | None] = {}
    with closing(sqlite3.connect(daemon.database)) as db:
        for item_hash, late in db.execute("SELECT item_hash, destroy_at - expires_at FROM vms"):
            found[item_hash] = None if late is None else late / 1e6
    return {item_hash: found[item_hash] for item_hash in item_hashes}


def charged_until(net: DevnetProcess, item_hashes: Sequence[str]) -> dict[str, float | None]:
    """When the network itself ended the billing of each, in Unix seconds; None: it goes on."""
    wanted = set(item_hashes)
    with closing(sqlite3.connect(net.folder / "state.db")) as db:
        rows = db.execute("SELECT key, json_extract(body, '$.to_ms') FROM docs WHERE kind='charge'")
        return {key: to_ms and to_ms / 1000 for key, to_ms in rows if key in wanted}


class _Crowd:
    """The leases of one daemon, in the making."""

    def __init__(self, net: DevnetProcess, daemon: DaemonProcess) -> None:
        self._net, self._daemon = net, daemon
        daemon.database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._account = Account("bench", daemon.address, daemon.key_file)
        self._installation = installation_id(daemon.database.parent)
        self._now = datetime.now(UTC)
        self._instance, self._forget = asyncio.run(self._templates())

    async def _templates(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The contents of an INSTANCE and of a FORGET, by the project's own signer."""
        settings = NetworkSettings(key_path=self._daemon.key_file, allow_local=True)
        spec = InstanceSpec(
            payer=self._daemon.address,
            crn=a_crn(),
            vcpus=1,
            memory_mib=2048,
            disk_mib=20_480,
            rootfs=IMAGES["ubuntu22"],
            ssh_pubkey=SSH_KEY,
            stamp=Stamp(self._installation, secrets.token_hex(16), self._now),
        )
        async with open_network(settings) as network:
            create = await network.signer.sign_instance(spec)
            (forget,) = await network.signer.sign_forgets(create.item_hash, spec.payer, 1)
        instance, kill = (
            json.loads(json.loads(message.body)["item_content"]) for message in (create, forget)
        )
        return instance, kill

    def settle(self, size: int, mortal: int) -> None:
        engine = open_engine(sqlite_url(self._daemon.database))
        migrate(engine)
        store = Store(self._net.folder / "state.db")
        try:
            writer = engine.execution_options(**{WRITES: True})
            with store.together(), writer.begin() as connection:
                for start in range(0, size, CHUNK):
                    self._add(store, connection, range(start, min(size, start + CHUNK)), mortal)
        finally:
            engine.dispose()
            store.close()

    def _add(self, store: Store, connection: Connection, numbers: range, mortal: int) -> None:
        made = [self._lease(number) for number in numbers]
        connection.execute(insert(schema.vms), [to_row(vm) for vm, _ in made])
        messages = [{"item_hash": vm.item_hash, "body": json.dumps(raw)} for vm, raw in made]
        connection.execute(insert(schema.signed_messages), messages)
        switches = [
            row for n, (vm, _) in zip(numbers, made, strict=True) for row in self._forgets(vm, n < mortal)
        ]
        connection.execute(insert(schema.forgets), switches)
        connection.execute(insert(schema.ledger), [_reservation(vm) for vm, _ in made])
        connection.execute(insert(schema.events), [_event(vm) for vm, _ in made])
        for vm, raw in made:
            self._publish(store, vm, raw)

    def _lease(self, number: int) -> tuple[Vm, dict[str, Any]]:
        crn = self._net.crns[number % len(self._net.crns)]
        lease, created_at = secrets.token_hex(16), self._now - _AGE + timedelta(milliseconds=number)
        expires_at = created_at + _LEASE
        metadata = {**self._instance["metadata"], "lease": lease, "expires_at": iso(expires_at)}
        node = {**self._instance["requirements"]["node"], "node_hash": crn["hash"]}
        content = {**self._instance, "metadata": metadata, "requirements": {"node": node}}
        at = created_at.timestamp()
        raw = self._account.signed("INSTANCE", {**content, "time": at}, at)
        return self._row(number, raw["item_hash"], lease, crn, created_at, expires_at), raw

    def _row(
        self, number: int, item_hash: str, lease: str, crn: Mapping[str, str], at: datetime, end: datetime
    ) -> Vm:
        return Vm(
            item_hash=item_hash,
            lease_id=lease,
            create_id=f"c-{secrets.token_hex(8)}",
            name=f"worker-{number}",
            state=VmState.RUNNING,
            cause="SSH has an address",
            session=f"session-{number % 50}",
            payer=self._daemon.address,
            signer=self._daemon.address,
            crn_hash=crn["hash"],
            crn_name=crn["name"],
            crn_url=crn["url"],
            compute_units=1,
            vcpus=1,
            memory_mib=2048,
            disk_mib=20_480,
            os_image="ubuntu22",
            rate=RATE,
            created_at=at,
            expires_at=end,
            broadcast_at=at,
            processed_at=at,
            notified_at=at,
            running_at=at,
            host_ipv4=_PLACE,
            ssh_port=24_000 + number % 10_000,
        )

    def _forgets(self, vm: Vm, signed: bool) -> Iterator[dict[str, Any]]:
        at = vm.created_at.timestamp()
        raw: dict[str, Any] = {}
        for n in range(1, FORGETS_PER_VM + 1):
            reason = f"aleph-agentd: the lease has ended ({secrets.token_hex(4)})"
            if signed or not raw:
                content = {**self._forget, "hashes": [vm.item_hash], "reason": reason, "time": at}
                raw = self._account.signed("FORGET", content, at)
            else:
                raw = {**raw, "item_hash": secrets.token_hex(32)}
            body = json.dumps(raw, separators=(",", ":"))
            yield {"item_hash": vm.item_hash, "n": n, "forget_hash": raw["item_hash"], "body": body}

    def _publish(self, store: Store, vm: Vm, raw: dict[str, Any]) -> None:
        """The network has processed it, and charges for it."""
        content, received = json.loads(raw["item_content"]), vm.created_at.timestamp()
        message = Message(**raw, content=content, received_at=received, status=PROCESSED)
        store.put("message", vm.item_hash, message.dump())
        charge = Charge(vm.item_hash, vm.payer, milli_rate(content, PRICING), ms(received))
        store.put("charge", vm.item_hash, asdict(charge))


def _reservation(vm: Vm) -> dict[str, Any]:
    return {
        "at": vm.created_at,
        "item_hash": vm.item_hash,
        "session": vm.session,
        "account": "reserved",
        "units": RESERVE * 10,
        "cause": "admitted",
    }


def _event(vm: Vm) -> dict[str, Any]:
    return {"at": vm.created_at, "kind": vm.state, "item_hash": vm.item_hash, "text": vm.cause}
