"""A group of verbs that says which one was meant."""

from difflib import get_close_matches

import click


class Verbs(click.Group):
    """Like click's group; a verb that is not there is answered with those that are spelt like it."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb of these arguments. Raises UsageError."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as problem:
            near = get_close_matches(args[0], self.list_commands(ctx), n=3) if args else []
            if not near:
                raise
            meant = " or ".join(f"`{word}`" for word in near)
            raise click.UsageError(f"{problem.message} Did you mean {meant}?", ctx) from None
