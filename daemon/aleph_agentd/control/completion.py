"""`completion`: a script for the shell, written from the verbs themselves; it starts no program at a TAB."""

import shlex
from collections.abc import Iterator
from typing import NamedTuple

import click

from aleph_agentd.control import output
from aleph_agentd.control.verb import as_json, json_option

PROGRAM = "aleph-agentctl"
SHELLS = ("bash", "zsh", "fish")


class Word(NamedTuple):
    """One word that may be typed, and what it is for."""

    text: str
    about: str


class Verb(NamedTuple):
    """What may follow the words of `path`."""

    path: tuple[str, ...]
    words: tuple[Word, ...]


@click.command
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
def completion(shell: str) -> None:
    """Print a completion script.

    \b
    bash:  aleph-agentctl completion bash > ~/.local/share/bash-completion/completions/aleph-agentctl
    zsh:   aleph-agentctl completion zsh > ~/.zfunc/_aleph-agentctl   (with fpath+=~/.zfunc before compinit)
    fish:  aleph-agentctl completion fish > ~/.config/fish/completions/aleph-agentctl.fish
    """
    root = click.get_current_context().find_root().command
    verbs = list(_verbs(root, ()))
    script = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](verbs)
    if as_json():
        output.say_json({"shell": shell, "script": script})
    else:
        click.echo(script)


def _verbs(command: click.Command, path: tuple[str, ...]) -> Iterator[Verb]:
    context = click.Context(command)
    names = command.list_commands(context) if isinstance(command, click.Group) else []
    inner = {name: command.get_command(context, name) for name in names} if names else {}  # type: ignore[attr-defined]
    words = [Word(name, one.get_short_help_str(70)) for name, one in inner.items()]
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            about = (parameter.help or "").partition("\n")[0]
            words += [Word(name, about) for name in parameter.opts if name.startswith("--")]
        elif isinstance(parameter.type, click.Choice):
            words += [Word(str(choice), "") for choice in parameter.type.choices]
    yield Verb(path, tuple(words))
    for name, one in inner.items():
        yield from _verbs(one, (*path, name))


def _bash(verbs: list[Verb]) -> str:
    cases = "\n".join(
        f"        {shlex.quote(' '.join(verb.path))}) words={shlex.quote(' '.join(w.text for w in verb.words))} ;;"
        for verb in verbs
    )
    paths = shlex.quote("\n" + "\n".join(" ".join(verb.path) for verb in verbs) + "\n")
    return f"""# bash completion of {PROGRAM}; made by `{PROGRAM} completion bash`
_aleph_agentctl() {{
    local word path= words= known={paths} i
    for (( i = 1; i < COMP_CWORD; i++ )); do
        word=${{COMP_WORDS[i]}}
        [[ $known == *$'\\n'"${{path:+$path }}$word"$'\\n'* ]] && path="${{path:+$path }}$word"
    done
    case $path in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _aleph_agentctl {PROGRAM}"""


def _zsh(verbs: list[Verb]) -> str:
    cases = "\n".join(
        f"        {shlex.quote(' '.join(verb.path))}) words=({_described(verb)}) ;;" for verb in verbs
    )
    paths = shlex.quote("\n" + "\n".join(" ".join(verb.path) for verb in verbs) + "\n")
    return f"""#compdef {PROGRAM}
# made by `{PROGRAM} completion zsh`
_aleph_agentctl() {{
    local word where= known={paths}
    local -a words
    local -i i
    local -a typed=("${{(@)words_typed}}")
    for (( i = 2; i < CURRENT; i++ )); do
        word=${{typed[i]}}
        [[ $known == *$'\\n'"${{where:+$where }}$word"$'\\n'* ]] && where="${{where:+$where }}$word"
    done
    case $where in
{cases}
    esac
    _describe -t words {PROGRAM} words || _files
}}
_aleph_agentctl_start() {{
    local -a words_typed=("${{(@)words}}")
    _aleph_agentctl "$@"
}}
if [[ ${{funcstack[1]}} == _{PROGRAM} ]]; then
    _aleph_agentctl_start "$@"  # loaded by the first TAB, which wants its answer
else
    compdef _aleph_agentctl_start {PROGRAM}
fi"""


def _described(verb: Verb) -> str:
    return " ".join(shlex.quote(f"{word.text}:{word.about}".replace("\n", " ")) for word in verb.words)


def _fish(verbs: list[Verb]) -> str:
    lines = [f"# fish completion of {PROGRAM}; made by `{PROGRAM} completion fish`"]
    for verb in verbs:
        inner = [other.path[-1] for other in verbs if other.path[:-1] == verb.path and other.path]
        seen = [f"__fish_seen_subcommand_from {name}" for name in verb.path]
        none = [f"not __fish_seen_subcommand_from {' '.join(inner)}"] if inner else []
        condition = shlex.quote("; and ".join([*seen, *none]) or "true")
        for word in verb.words:
            name = f"-l {word.text[2:]}" if word.text.startswith("--") else f"-a {shlex.quote(word.text)}"
            lines.append(f"complete -c {PROGRAM} -n {condition} {name} -d {shlex.quote(word.about)}")
    return "\n".join(lines)
