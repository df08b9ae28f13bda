"""What goes wrong with an installation: how it is planted, and which check finds it."""

from dataclasses import dataclass

STOP = "systemctl --user stop aleph-agentd.socket aleph-agentd"
RELOAD = "systemctl --user daemon-reload"
OTHERS_DATABASE = (
    '"$PYTHON" -c \'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("CREATE TABLE t (a)")\' "$DB"'
)


@dataclass(frozen=True)
class Fault:
    """`plant` is run by a shell that knows $KEY, $SSH, $DB, $RUN, $CONFIG, $UNITS and $PYTHON."""

    name: str
    plant: str
    check: str


ROUNDS = (
    (
        Fault(
            "a unit without its sandbox",
            f"sed -i '/^PrivateUsers/,/^CapabilityBoundingSet/d' $UNITS/aleph-agentd.service; {RELOAD}; "
            "systemctl --user restart aleph-agentd",
            "sandbox",
        ),
        Fault("a key that others may read", "chmod 644 $KEY", "key"),
        Fault("no public SSH key beside the private one", "rm $SSH.pub", "ssh key"),
        Fault(
            "control.sock open to everybody",
            "chmod 755 $RUN; chmod 666 $RUN/control.sock",
            "socket control.sock",
        ),
        Fault("agent.sock closed to its owner", "chmod 000 $RUN/agent.sock", "socket agent.sock"),
    ),
    (
        Fault("a key that nobody may read", "chmod 000 $KEY", "key"),
        Fault("no SSH key at all", "rm $SSH $SSH.pub", "ssh key"),
        Fault("a daemon that was stopped", STOP, "daemon"),
    ),
    (
        Fault("a setting that does not exist", "echo 'typing_error = 1' > $CONFIG", "configuration"),
        Fault(
            "units that are gone",
            "systemctl --user disable --now aleph-agentd.socket aleph-agentd; "
            f"rm -f $UNITS/aleph-agentd.*; {RELOAD}",
            "units",
        ),
    ),
    (
        Fault("a configuration that is not TOML", "echo '[policy # error' > $CONFIG", "configuration"),
        Fault(
            "a socket unit that listens elsewhere",
            f"{STOP}; sed -i s,%t/aleph-agentd,%t/elsewhere, $UNITS/aleph-agentd.socket; {RELOAD}; "
            "systemctl --user start aleph-agentd.socket",
            "daemon",
        ),
    ),
    (
        Fault("a public SSH key that is none", "echo nonsense > $SSH.pub", "ssh key"),
        Fault(
            "an inventory that is damaged",
            f"{STOP}; rm -f $DB-wal $DB-shm; head -c 40000 /dev/urandom > $DB",
            "inventory",
        ),
    ),
    (
        Fault("a key that others may replace", "chmod 770 ${KEY%/*}", "key"),
        Fault(
            "another program's database in the inventory's place",
            f"{STOP}; rm -f $DB $DB-wal $DB-shm; {OTHERS_DATABASE}",
            "schema",
        ),
    ),
)
"""Faults of one round are planted, found and mended together."""
