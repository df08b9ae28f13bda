"""`aleph-agentctl logs`, over the agents' own tool."""

import json
from typing import Any


def _page(text: str, offset: int, total: int, next_words: str = "") -> dict[str, Any]:
    fenced = f"<untrusted 0123456789abcdef>\n{text}\n</untrusted 0123456789abcdef>"
    return {
        "item_hash": "ab" * 32,
        "name": "web",
        "log": fenced,
        "offset": offset,
        "total": total,
        "next": next_words,
    }


def test_the_last_pages_are_shown_without_marks_and_without_escapes(daemon, cli, make_vm):
    """Read forward, to the end."""
    daemon.says("vms.get", make_vm())
    pages = iter(
        [
            _page("b\n", 9998, 10_000),
            _page("a\x1b[31m\n", 1808, 10_000, "Older: offset=0. Newer: offset=5904."),
            _page("b\n", 5904, 10_000, "Older: offset=1808."),
        ]
    )
    daemon.says("tools.call", lambda *_: next(pages))
    assert cli.run("logs", "web") == 0
    assert cli.out == "a\nb\n"
    asked = [params["arguments"] for method, params in daemon.asked if method == "tools.call"]
    assert [words.get("offset") for words in asked] == [None, 10_000 - 2 * 4096, 5904]


def test_json_is_the_answer_with_the_text_that_was_read(daemon, cli, make_vm):
    """For scripts."""
    daemon.says("vms.get", make_vm())
    daemon.says("tools.call", _page("x\n", 0, 2))
    assert cli.run("logs", "web", "--json") == 0
    assert json.loads(cli.out)["log"] == "x\n"
