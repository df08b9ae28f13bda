"""The tables. `vms` has one column per field of `Vm`; a change here needs a step in migrations.py."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, Table, Text

from .types import Rate, Serial, State, UtcInstant, Words

metadata = MetaData()


def _words(name: str) -> Column[str]:
    return Column(name, Words, nullable=False)


def _count(name: str) -> Column[int]:
    # A uid has 32 bits, of which PostgreSQL's INTEGER takes 31.
    return Column(name, Serial, nullable=False)


vms = Table(
    "vms",
    metadata,
    Column("item_hash", Text, primary_key=True),
    *map(_words, ("lease_id", "create_id", "name", "purpose")),
    Column("state", State, nullable=False),
    *map(_words, ("cause", "session", "project", "client")),
    _count("uid"),
    *map(_words, ("payer", "signer", "crn_hash", "crn_name", "crn_url")),
    *map(_count, ("compute_units", "vcpus", "memory_mib", "disk_mib")),
    _words("os_image"),
    Column("rate", Rate, nullable=False),
    Column("created_at", UtcInstant, nullable=False),
    Column("expires_at", UtcInstant, nullable=False),
    _count("lease_version"),
    Column("idle_minutes", Integer, nullable=False, server_default="0"),
    Column("save_paths", Words, nullable=False, server_default=""),
    Column("saved", Words, nullable=False, server_default=""),
    Column("broadcast_at", UtcInstant),
    Column("processed_at", UtcInstant),
    Column("notified_at", UtcInstant),
    Column("running_at", UtcInstant),
    Column("ssh_at", UtcInstant),
    _words("host_ipv4"),
    _count("ssh_port"),
    _words("ipv6"),
    Column("destroy_at", UtcInstant),
    Column("forgotten_at", UtcInstant),
    Column("erased_at", UtcInstant),
    Column("ended_at", UtcInstant),
    Column("verified_at", UtcInstant),
    _count("attempts"),
    Column("next_attempt_at", UtcInstant),
    _words("last_error"),
    Column("unknown_since", UtcInstant),
    Column("host_lost_at", UtcInstant),
    _words("warned"),
    Column("due_at", UtcInstant, index=True),
    Index("ix_vms_create_id", "create_id"),
    # Each of these two answers its question from the index alone: what pages show, and what is bound.
    Index("ix_vms_page", "created_at", "item_hash", "state"),
    Index("ix_vms_bound", "state", "forgotten_at", "name", "rate", "session"),
)

signed_messages = Table(
    "signed_messages",
    metadata,
    Column("item_hash", Text, ForeignKey("vms.item_hash", ondelete="CASCADE"), primary_key=True),
    Column("body", Text, nullable=False),
)

forgets = Table(
    "forgets",
    metadata,
    Column("item_hash", Text, ForeignKey("vms.item_hash", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("forget_hash", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("burnt_at", UtcInstant),
)

# Ours into a VM, and the VM's own as it was at first contact. Nothing that is shown or escrowed reads this table.
guest_keys = Table(
    "guest_keys",
    metadata,
    Column("item_hash", Text, ForeignKey("vms.item_hash", ondelete="CASCADE"), primary_key=True),
    Column("private_key", Text, nullable=False),
    Column("host_key", Words, nullable=False, server_default=""),
    Column("setup", Text, nullable=False, server_default=""),
    Column("setup_result", Text),
)

# Published in our AGGREGATE: the bytes are kept, so that a crash posts the same ones again.
extensions = Table(
    "extensions",
    metadata,
    Column("item_hash", Text, ForeignKey("vms.item_hash", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("message_hash", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("dated_at", UtcInstant, nullable=False, index=True),
    Column("confirmed_at", UtcInstant),
)

# No foreign key: what was spent stays known when the VM's tombstone is gone.
ledger = Table(
    "ledger",
    metadata,
    Column("n", Serial, primary_key=True, autoincrement=True),
    Column("at", UtcInstant, nullable=False),
    Column("item_hash", Text, nullable=False),
    _words("session"),
    Column("account", Text, nullable=False),
    Column("units", BigInteger, nullable=False),
    _words("cause"),
    Column("uid", Serial, nullable=False, server_default="-1"),
    Column("approval", Words, nullable=False, server_default=""),
    Index("ix_ledger_vm", "item_hash"),
    Index("ix_ledger_account", "account", "item_hash", "units"),
    Index("ix_ledger_day", "account", "at", "units"),
    Index("ix_ledger_session", "session", "units"),
    sqlite_autoincrement=True,
)

requests = Table(
    "requests",
    metadata,
    Column("n", Serial, primary_key=True, autoincrement=True),
    Column("request_key", Text, nullable=False, unique=True),
    Column("at", UtcInstant, nullable=False),
    _words("tool"),
    _words("arguments_hash"),
    _words("create_id"),
    Column("answer", Text),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", UtcInstant, nullable=False),
    _words("kind"),
    _words("item_hash"),
    _words("text"),
    sqlite_autoincrement=True,
)

# Append-only. `hash` chains each entry to the one before it; the first one that is kept to `audit_base` in meta.
audit = Table(
    "audit",
    metadata,
    Column("n", Serial, primary_key=True, autoincrement=True),
    Column("at", UtcInstant, nullable=False),
    *map(_words, ("kind", "actor", "session", "request_key", "item_hash", "text")),
    Column("hash", Text, nullable=False),
    sqlite_autoincrement=True,
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Text, primary_key=True),
    *map(_words, ("kind", "state")),
    _count("uid"),
    _count("pid"),
    *map(_words, ("session", "project", "client", "parents", "request", "fingerprint")),
    Column("units", BigInteger, nullable=False),
    Column("rate", Rate, nullable=False),
    _words("policy_version"),
    Column("asked_at", UtcInstant, nullable=False),
    Column("expires_at", UtcInstant, nullable=False),
    Column("decided_at", UtcInstant),
    *map(_words, ("decided_by", "outcome")),
    Index("ix_approvals_state", "state", "expires_at"),
)

# `project` is empty for a freeze of everything; a panic is a freeze that also ends every VM.
freezes = Table(
    "freezes",
    metadata,
    Column("n", Serial, primary_key=True, autoincrement=True),
    Column("at", UtcInstant, nullable=False),
    *map(_words, ("kind", "project", "by", "reason")),
    Column("lifted_at", UtcInstant),
    _words("lifted_by"),
    sqlite_autoincrement=True,
)

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
