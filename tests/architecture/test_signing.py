"""Who may hold the key, and what may be signed with it."""

import ast
from pathlib import Path

import pytest

from support.source import ROOT

SOURCE = ROOT / "daemon" / "aleph_agentd"
HOLDERS = {
    "adapters/aleph/account.py": "is the account",
    "adapters/aleph/keys.py": "opens it",
    "adapters/aleph/network.py": "joins the file of the key with the two that sign",
    "adapters/aleph/signer.py": "signs messages that it builds itself",
    "adapters/aleph/hosts.py": "signs the operations on CRNs",
    "adapters/aleph/sdk.py": "imports the library, with a key that is nobody's",
    "key_tool.py": "tells the address of a key file; signs nothing",
}
DOORS = {"KeyAccount", "KeyFile", "open_account", "load_secret", "open_keystore"}
SIGNING = {"sign_raw", "sign_message", "generate_signed_message", "sign_hash", "sign_transaction"}
SIGNERS = {"adapters/aleph/account.py", "adapters/aleph/signer.py"}
TYPED = {"sign_instance", "sign_forgets", "sign_extension", "sign_ports"}


def _touched(path: Path) -> set[str]:
    """Every name that a module mentions."""
    tree = ast.parse(path.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return names | {alias.name for node in imports for alias in node.names}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_only_the_signers_reach_the_account(path: Path) -> None:
    """Whoever holds the account can sign anything: a transfer, or a FORGET of somebody's VM."""
    name, touched = str(path.relative_to(SOURCE)), _touched(path)
    if name not in HOLDERS and name != "adapters/aleph/keystore.py":
        held = touched & DOORS
        assert not held, (
            f"{name} mentions {', '.join(held)}: the key signs only what signer.py and hosts.py build."
            " Add a typed function there, and ask the Signer or Hosts port for it."
        )
    if name not in SIGNERS:
        signed = touched & SIGNING
        assert not signed, (
            f"{name} signs by itself ({', '.join(signed)}): only typed functions of signer.py may."
        )


def test_the_signer_signs_four_things() -> None:
    """A fifth one is a decision: it needs a function that builds the content itself, and a line here."""
    tree = ast.parse((SOURCE / "adapters/aleph/signer.py").read_text())
    signer = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    public = {node.name for node in signer.body if isinstance(node, ast.AsyncFunctionDef)} - {"_account"}
    assert public == TYPED


def test_four_operations_on_a_crn_are_signed() -> None:
    """They are written in the code, never an argument from outside."""
    tree = ast.parse((SOURCE / "adapters/aleph/hosts.py").read_text())
    named = [
        node
        for node in tree.body
        if isinstance(node, ast.Assign) and "Operation" in ast.unparse(node.targets)
    ]
    assert [ast.unparse(node.value) for node in named] == ["Literal['erase', 'reboot', 'reinstall', 'logs']"]


def test_every_holder_is_there() -> None:
    """A line that fits nothing has been left behind."""
    assert not [name for name in HOLDERS if not _touched(SOURCE / name) & DOORS]
