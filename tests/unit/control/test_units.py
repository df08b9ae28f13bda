"""The unit files, rendered for an installation: whole, explained line by line, and no path says more than it is."""

import re
import tomllib
from pathlib import Path

import pytest

from aleph_agentd.control import units
from support.source import ROOT

KINDS = ("user", "system")
PLAIN = units.Facts(python=Path("/opt/x/bin/python"), code=[Path("/opt/x")])


def service(kind: units.Kind, facts: units.Facts, *, sandbox: bool = True) -> str:
    """The rendered service."""
    return units.render(kind, facts, sandbox=sandbox)["aleph-agentd.service"]


def settings(text: str) -> list[tuple[str, str]]:
    """The lines that are no comments, as key and value."""
    return [tuple(line.split("=", 1)) for line in text.splitlines() if re.match(r"[A-Za-z]+=", line)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sandbox", [True, False])
def test_nothing_is_left_to_fill_in(kind, sandbox):
    """Not a placeholder remains, with or without values for the optional ones."""
    for name, text in units.render(kind, PLAIN, sandbox=sandbox).items():
        left = [line for line in text.splitlines() if re.search("@[A-Z_]+@", line) and line[0] != "#"]
        assert not left, name


@pytest.mark.parametrize("kind", KINDS)
def test_every_line_is_explained_right_above_it(kind):
    """Each setting has a comment of its own; only a repeated one shares that of the first."""
    for path in units.templates(kind).iterdir():
        before = ""
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.match("[A-Za-z]+=", line):
                assert before.startswith("# "), f"{path.name}:{number} {line}"
            before = line


def test_a_placeholder_with_several_values_repeats_its_line_and_one_without_takes_it_away():
    """A list of paths is as many lines, each of which can be read."""
    state = [Path("/home/a/.local/state/aleph-agentd"), Path("/srv/escrow")]
    found = settings(service("user", units.Facts(python=PLAIN.python, code=PLAIN.code, state=state)))
    assert [value for key, value in found if key == "BindPaths"] == [str(path) for path in state]
    text = service("user", PLAIN)
    assert "BindPaths=" not in text and "No `-` in front" not in text


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/home/a b", 'BindReadOnlyPaths="-/home/a b"'),
        ("/home/100%", "BindReadOnlyPaths=-/home/100%%"),
        ('/home/a"b', r'BindReadOnlyPaths="-/home/a\"b"'),
        ("/home/a\\b", r'BindReadOnlyPaths="-/home/a\\b"'),
        ("/home/a:b", 'BindReadOnlyPaths="-/home/a:b"'),
        ("/home/é", "BindReadOnlyPaths=-/home/é"),
    ],
)
def test_a_path_is_quoted_so_that_it_stays_one_path(path, line):
    """Blanks, quotes, specifiers and colons of a directory's name mean nothing to systemd."""
    facts = units.Facts(python=PLAIN.python, code=PLAIN.code, readable=[Path(path)])
    assert line in service("user", facts).splitlines()


@pytest.mark.parametrize("path", ["/home/a\nExecStart=/bin/sh", "/home/$USER", "relative"])
def test_a_path_that_no_unit_can_carry_is_refused(path):
    """Rather no unit than one that says something else."""
    with pytest.raises(units.Unusable):
        units.render("user", units.Facts(python=Path(path), code=[]))


def test_settings_become_environment_lines():
    """A value with a blank is one value."""
    facts = units.Facts(python=PLAIN.python, code=[], settings={"ALEPH_AGENT_COST_THRESHOLD": "5 USD"})
    assert 'Environment="ALEPH_AGENT_COST_THRESHOLD=5 USD"' in service("user", facts).splitlines()


def test_the_system_unit_takes_a_sealed_key_or_a_plain_file_of_root():
    """One of the two ways, and the name is the one that the daemon looks for."""
    sealed = settings(service("system", PLAIN))
    plain = units.Facts(python=PLAIN.python, code=[], encrypted=False, credential=Path("/etc/the key"))
    assert ("LoadCredentialEncrypted", units.CREDENTIAL) in sealed
    assert not [key for key, _ in sealed if key == "LoadCredential"]
    assert ("LoadCredential", f'{units.CREDENTIAL}:"/etc/the key"') in settings(service("system", plain))
    assert ("Environment", f"ALEPH_AGENT_PRIVATE_KEY_PATH=%d/{units.CREDENTIAL}") in sealed


@pytest.mark.parametrize("kind", KINDS)
def test_without_namespaces_only_what_is_really_enforced_is_promised(kind):
    """The fallback has the filters of system calls, and nothing that silently does nothing."""
    text = service(kind, PLAIN, sandbox=False)
    assert "NoNewPrivileges=yes" in text and "SystemCallFilter=@system-service" in text
    assert not [name for name in ("ProtectHome=", "PrivateUsers=", "PrivateTmp=") if f"\n{name}" in text]


def test_the_wheel_brings_the_templates():
    """Where render looks for them in an installed package."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    brought = build["targets"]["wheel"]["force-include"]
    templates = {f"systemd/{kind}": f"aleph_agentd/units/{kind}" for kind in ("system", "user")}
    assert templates.items() <= brought.items()
    assert all((ROOT / place).is_dir() for place in brought)


def test_the_code_of_this_process_holds_the_interpreter_and_the_package():
    """Nothing that the daemon imports lies elsewhere."""
    code = units.code_of_this_process()
    for needed in (Path(units.sys.executable).resolve(), Path(units.__file__)):
        assert any(needed.is_relative_to(path) for path in code), needed
