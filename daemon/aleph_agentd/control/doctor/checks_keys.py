"""Configuration, the key that signs, and the SSH key that gets into VMs."""

from collections.abc import Iterator

from aleph_agentd.control.doctor.facts import Facts
from aleph_agentd.control.doctor.finding import Finding, command, fail, ours, well

_SSH = ("ssh-ed25519 ", "ssh-rsa ", "ecdsa-sha2-", "sk-ssh-ed25519@openssh.com ", "sk-ecdsa-sha2-")


def configuration(facts: Facts) -> Iterator[Finding]:
    """The settings can be read."""
    path = str(facts.examined.get("config") or "")
    if trouble := facts.examined.get("config_trouble"):
        yield fail("configuration", str(trouble), f"${{EDITOR:-vi}} {command(path)}")
    elif facts.settings is None:
        yield fail("configuration", "the settings could not be examined", ours("aleph-agentd", "run"))
    else:
        yield well("configuration", f"read from the environment and {path}")


def key(facts: Facts) -> Iterator[Finding]:
    """Present, the owner's alone, in a form that we read."""
    found = facts.examined.get("key")
    if not found:
        return
    path, mode = found["path"], found["mode"]
    if not found["exists"]:
        yield fail("key", f"there is no key file {path}", ours("aleph-agentctl", "key", "new"))
    elif found["uid"] not in (None, facts.machine.uid):
        yield fail(
            "key",
            f"{path} belongs to uid {found['uid']}, not to you",
            command("sudo", "chown", str(facts.machine.uid), path),
        )
    elif mode is not None and mode & 0o077:
        yield fail("key", f"{path} is open to other users (mode {mode:04o})", command("chmod", "600", path))
    elif mode is not None and not mode & 0o400:
        yield fail("key", f"{path} cannot be read (mode {mode:04o})", command("chmod", "600", path))
    elif found["trouble"]:
        aside = command("mv", "-n", path, f"{path}.unusable")
        yield fail("key", found["trouble"], f"{aside} && {ours('aleph-agentctl', 'key', 'new')}")
    else:
        yield well("key", f"{path} signs as {found['address']}")


def ssh_key(facts: Facts) -> Iterator[Finding]:
    """A public key is there for the VMs to let in."""
    if facts.settings is None:
        return
    path = str(facts.settings["ssh_pubkey_path"])
    private = path.removesuffix(".pub")
    make = command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", private)
    text = facts.machine.ssh_key
    if text is None:
        yield fail(
            "ssh key",
            f"there is no public SSH key {path}",
            f"test -e {command(private)} && {_derive(private, path)} || {make}",
        )
    elif not text.startswith(_SSH) or len(text.split()) < 2:
        yield fail(
            "ssh key",
            f"{path} does not hold a public SSH key",
            f"test -e {command(private)} && {_derive(private, path)} || {{ {command('rm', '-f', path)}; {make}; }}",
        )
    else:
        yield well("ssh key", path)


def _derive(private: str, public: str) -> str:
    return f"{command('ssh-keygen', '-y', '-f', private)} > {command(public)}"
