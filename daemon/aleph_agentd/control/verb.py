"""What every verb shares: `--json`, which is understood on either side of the verb's name."""

import click


def _remember(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().meta["json"] = True


json_option = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=_remember,
    help="Answer in JSON; errors too.",
)


def as_json() -> bool:
    """Whether this run answers in JSON."""
    return bool(click.get_current_context().find_root().meta.get("json"))
