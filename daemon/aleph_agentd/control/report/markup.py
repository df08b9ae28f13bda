"""How texts of VMs, agents and nodes get into a page: everything visible, nothing interpreted."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape

from aleph_agentd.control.text import credits_and_usd, plain


def escaped(text: object) -> str:
    """For an element or a quoted attribute; control characters and direction overrides are made visible."""
    return escape(plain(text), quote=True)


def money(credits_: Decimal) -> str:
    """Credits with USD."""
    return credits_and_usd(float(credits_))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows of texts."""
    head = "".join(f"<th>{escaped(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
