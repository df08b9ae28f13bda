"""The outside world as the services need it. The docstrings are the contract; adapters and fakes keep it.

Every call to the network may raise `NetworkTrouble`: it means *unknown*, and the call may have taken
effect. No call waits without a limit; each adapter sets its own time-outs.
"""

from .approvals import ApprovalBook, MayAsk
from .audit import Anchors, AuditLog
from .escrow import Backups, EscrowFiles
from .freezes import FreezeLog
from .guest_keys import GuestKey, GuestKeys, SetupResult, SetupScript
from .guests import Door, Guests, GuestTrouble, HostKeyChanged, KeyPair, Printed, Ran
from .hosts import (
    EraseOutcome,
    Execution,
    Hosts,
    Notified,
    NotifyOutcome,
    Reserved,
    ReserveOutcome,
    RestartOutcome,
)
from .inventory import Decide, Endings, Inventory, Remembered, StaleRow
from .market import CrnList, Market, Price
from .messages import InstanceSpec, Messages, MessageStatus, Rejection, Signer
from .notifier import Notifier, NotTold
from .passphrase import PassphraseFile
from .rebuilding import Admission
from .reckoning import Reckoning, Spending
from .restoring import StartCounter
from .saved_files import SavedFiles
from .timers import Timers
from .troubles import KeyMissing, NetworkTrouble, OtherKey, StoreFull, StoreTrouble

__all__ = [
    "Signer",
    "InstanceSpec",
    "Messages",
    "MessageStatus",
    "Rejection",
    "Market",
    "Price",
    "CrnList",
    "Hosts",
    "NotifyOutcome",
    "Notified",
    "Execution",
    "EraseOutcome",
    "Guests",
    "Door",
    "GuestKey",
    "GuestKeys",
    "SetupResult",
    "SetupScript",
    "KeyPair",
    "Printed",
    "Ran",
    "GuestTrouble",
    "HostKeyChanged",
    "ReserveOutcome",
    "Reserved",
    "RestartOutcome",
    "Admission",
    "Inventory",
    "FreezeLog",
    "Decide",
    "Endings",
    "Remembered",
    "StaleRow",
    "ApprovalBook",
    "MayAsk",
    "Notifier",
    "NotTold",
    "PassphraseFile",
    "StartCounter",
    "SavedFiles",
    "Reckoning",
    "Spending",
    "Timers",
    "EscrowFiles",
    "Backups",
    "AuditLog",
    "Anchors",
    "NetworkTrouble",
    "StoreTrouble",
    "StoreFull",
    "KeyMissing",
    "OtherKey",
]
