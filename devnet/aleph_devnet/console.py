"""What a VM prints on its console, and how a CRN tells it.

The route, its answers and the fields of an entry are those of aleph-vm (views/operator.py, operate_logs_json);
the lines themselves are from memory of how a cloud image boots.
"""

from typing import Any

from aleph_devnet.clock import iso

MOST_LINES = 10_000
_BOOT = (
    "[    0.000000] Linux version 5.15.0-devnet",
    "[    1.204711] systemd[1]: Detected virtualization kvm.",
    "[    9.871002] cloud-init[512]: Cloud-init v. 23.4 finished. Datasource DataSourceNoCloud.",
)


class Console:
    """The lines of one VM, over all its boots here."""

    def __init__(self, item_hash: str, content: dict[str, Any]) -> None:
        self._item_hash = item_hash
        self.owner = str(content["address"])
        self._lines: list[tuple[float, str]] = []

    def boots(self, now: float) -> None:
        """One more boot, to the login prompt."""
        for line in (*_BOOT, f"{self._item_hash[:16]} login:"):
            self._lines.append((now, line))
        del self._lines[:-MOST_LINES]

    def entries(self) -> list[dict[str, Any]]:
        """As the node's journal has them."""
        return [
            {
                "SYSLOG_IDENTIFIER": f"vm-{self._item_hash}-stdout",
                "MESSAGE": line,
                "file": "stdout",
                "__REALTIME_TIMESTAMP": iso(at),
            }
            for at, line in self._lines
        ]
