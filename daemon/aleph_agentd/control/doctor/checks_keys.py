"""Configuration, the key that signs, and the SSH key that gets into VMs."""

from collections.abc import Iterator

from aleph_agentd.control import units
from aleph_agentd.control.doctor.facts import Facts
from aleph_agentd.control.doctor.finding import Finding, aside, command, fail, manage, ours, warn, well

_SSH = ("ssh-ed25519 ", "ssh-rsa ", "ecdsa-sha2-", "sk-ssh-ed25519@openssh.com ", "sk-ecdsa-sha2-")
_FEWEST_WORDS = 2
_PUBLIC = ".pub"


def configuration(facts: Facts) -> Iterator[Finding]:
    """The settings can be read, as the installed daemon reads them."""
    path = str(facts.examined.get("config") or "")
    if trouble := facts.examined.get("config_trouble"):
        yield fail("configuration", str(trouble), **_mend(facts, path))
    elif facts.settings is None:
        yield fail("configuration", "the settings could not be examined", advice="run: aleph-agentd run")
    else:
        yield well("configuration", _origin(facts, path))
    if facts.unseen:
        install = manage(facts.installation.kind, "install")
        yield warn(
            "environment",
            f"this shell sets {', '.join(facts.unseen)}: the installed daemon has other values or none",
            # No command: pasted from a shell that points at a test's network it would take the daemon away from its VMs.
            advice=f"unset them here; or, if the daemon is to have them: {install}",
        )


def _origin(facts: Facts, path: str) -> str:
    installation = facts.installation
    names = sorted(name for name in installation.settings if name.startswith("ALEPH_AGENT_"))
    if not installation.unit:
        return f"{path} and this shell's environment"
    return f"{path} and {installation.unit}" + (f" ({', '.join(names)})" if names else "")


def _mend(facts: Facts, path: str) -> dict[str, str]:
    """Comments the line out, or takes the variable out of the unit; the file that was is kept beside."""
    line, variable = facts.examined.get("config_line"), str(facts.examined.get("config_variable") or "")
    if isinstance(line, int):
        return {
            "fix": command("sed", "-i.bak", f"{line}s/^/# /", path),
            "advice": f"line {line} becomes a comment and its default holds; or correct it by hand",
        }
    if variable and variable in facts.installation.settings:
        return {"fix": manage(facts.installation.kind, "install", without=variable)}
    if variable:
        return {"fix": f"unset {variable}"}
    return {"advice": f"correct {path} by hand"}


def key(facts: Facts) -> Iterator[Finding]:
    """Present, the owner's alone, in a form that we read, and accepted by the daemon that runs."""
    found = facts.examined.get("key")
    if facts.installation.kind == "system":
        seal = f"systemd-creds encrypt --name={units.CREDENTIAL} KEYFILE {units.ENCRYPTED_STORE / units.CREDENTIAL}"
        yield _as_the_daemon_says(facts, "systemd's credential", f"if it is not sealed yet, as root: {seal}")
        return
    if not found:
        return
    path, mode = found["path"], found["mode"]
    if not found["exists"]:
        make = ours("aleph-agentctl", "key", "new", path)
        yield fail(
            "key", f"there is no key file {path}", make, advice="if you have one, copy it there instead"
        )
    elif found["uid"] not in (None, facts.machine.uid):
        owner = command("sudo", "chown", str(facts.machine.uid), path)
        yield fail("key", f"{path} belongs to uid {found['uid']}, not to you", owner)
    elif mode is not None and mode & 0o077:
        yield fail("key", f"{path} is open to other users (mode {mode:04o})", command("chmod", "600", path))
    elif mode is not None and not mode & 0o400:
        yield fail("key", f"{path} cannot be read (mode {mode:04o})", command("chmod", "600", path))
    elif found.get("locked"):
        yield _as_the_daemon_says(facts, f"{path} is encrypted")
    elif found["trouble"]:
        yield _unusable(path, str(found["trouble"]))
    elif trouble := str((facts.status or {}).get("key_trouble") or ""):
        restart = command(*facts.installation.systemctl, "restart", "aleph-agentd")
        yield fail(
            "key",
            f"{path} signs as {found['address']}, but the daemon says: {trouble}",
            restart if facts.installation.unit else "",
            advice="if it says the same after a restart, do what it says",
        )
    else:
        yield well("key", f"{path} signs as {found['address']}")


def _as_the_daemon_says(facts: Facts, what: str, advice: str = "mend the daemon first") -> Finding:
    if facts.status is None:
        return warn("key", f"{what}; no daemon says whether it can be used", advice=advice)
    if trouble := str(facts.status.get("key_trouble") or ""):
        unlock = ours("aleph-agentctl", "unlock")
        return fail("key", f"{what}: {trouble}", advice=f"an encrypted one is opened by: {unlock}")
    return well("key", f"{what}, open, and signs as {facts.status.get('address')}")


def _unusable(path: str, trouble: str) -> Finding:
    why, _, fix = trouble.partition("; run: ")
    if fix:
        return fail("key", why, fix)
    make = ours("aleph-agentctl", "key", "new", path)
    aside = f"{command('mv', '-n', path, f'{path}.unusable')} && {make}"
    return fail(
        "key", trouble, advice=f"copy the right key there; or, for a new account without credits: {aside}"
    )


def ssh_key(facts: Facts) -> Iterator[Finding]:
    """A public key is there for the VMs to let in."""
    if facts.settings is None:
        return
    path, text = str(facts.settings["ssh_pubkey_path"]), facts.machine.ssh_key
    if text is None and facts.installation.kind == "system" and facts.machine.uid:
        yield warn("ssh key", f"only root can look at {path}", advice="look again as root")
    elif text is None:
        yield fail("ssh key", f"there is no public SSH key {path}", **_make_public(facts, path))
    elif not text.startswith(_SSH) or len(text.split()) < _FEWEST_WORDS:
        yield fail("ssh key", f"{path} does not hold a public SSH key", **_make_public(facts, path))
    else:
        yield well("ssh key", path)


def _make_public(facts: Facts, path: str) -> dict[str, str]:
    """From the private key beside it; where there is none, a new pair. What is there is kept, whatever it is."""
    private, installation = path.removesuffix(_PUBLIC), facts.installation
    if private == path:
        # It may be the private key itself, or all that may log in here: no command of ours writes there.
        return {"advice": f"ssh_pubkey_path must name the {_PUBLIC} file, as in ~/.ssh/id_ed25519{_PUBLIC}"}
    root = ("sudo",) if installation.kind == "system" else ()
    if root:
        # Yours, not the daemon's: it is you who logs in.
        make = f"sudo install -D -m 644 ~/.ssh/id_ed25519.pub {command(path)}"
    elif facts.machine.ssh_private:
        make = f"{command('ssh-keygen', '-y', '-f', private)} > {command(path)}"
    else:
        make = command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", private)
    if facts.machine.ssh_key is not None:
        make = f"{command(*root, *aside(path))} && {make}"
    # The sandbox has bound the file that was there when the daemon started.
    again = command(*installation.systemctl, "try-restart", "aleph-agentd")
    return {"fix": f"{make}; {again}" if installation.unit else make}
