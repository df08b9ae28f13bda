"""A stand-in for the model's API on loopback. The user's prompt scripts what the "model" does.

Each line `CALL <tool> <json>` of the prompt becomes one tool call, one per turn; after the last one the
"model" says what it was told to say, and ends its turn. In both, placeholders are filled in from the answers
(tests/clients/script.py). What a real model would have seen of each call is in `tool_results`.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .loopback import Loopback, Quiet
from .script import filled

CALL = re.compile(r"^CALL (\S+) (\{.*\})\s*$", re.MULTILINE)
Body = dict[str, Any]


class MockMessagesApi(Loopback):
    """Serves `POST /v1/messages`, plain or streamed, until the `with` block ends; ANTHROPIC_BASE_URL is its `url`."""

    def __init__(self, says: str = "DONE", between: Mapping[int, Callable[[], None]] | None = None) -> None:
        self.requests: list[Body] = []
        self.says, self.between = says, dict(between or {})
        self.printed = ""
        """What the client told its user at the end."""
        super().__init__(_handler(self))

    def tool_results(self) -> list[Body]:
        """The `tool_result` blocks of the longest conversation so far, in order."""
        return max((_played(request)[1] for request in self.requests), key=len, default=[])

    def tools(self) -> dict[str, Body]:
        """Every tool that was ever offered to the model, by name."""
        return {tool["name"]: tool for request in self.requests for tool in request.get("tools", [])}

    def prompt(self) -> str:
        """All that the model was told, but for the tools."""
        return json.dumps([[request.get("system"), request.get("messages")] for request in self.requests])


def _handler(api: MockMessagesApi) -> type[Quiet]:
    numbers = itertools.count(1)

    class Handler(Quiet):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(200, {"data": []})

        def do_HEAD(self) -> None:
            self.answer(200, {})

        def do_POST(self) -> None:
            raw = self.body()
            if "count_tokens" in self.path:
                self.answer(200, {"input_tokens": len(raw) // 4})
            elif not self.path.startswith("/v1/messages"):
                self.answer(200, {})
            else:
                body = json.loads(raw)
                api.requests.append(body)
                message = _turn(api, body, next(numbers), len(raw) // 4)
                if body.get("stream"):
                    self._stream(message)
                else:
                    self.answer(200, message)

        def _stream(self, message: Body) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            for kind, event in _events(message):
                data = json.dumps({"type": kind, **event})
                self.wfile.write(f"event: {kind}\ndata: {data}\n\n".encode())
            self.close_connection = True

    return Handler


def _played(body: Body) -> tuple[list[tuple[str, str]], list[Body]]:
    """The script of a conversation, and the results that it has had so far."""
    script: list[tuple[str, str]] = []
    results: list[Body] = []
    for message in body.get("messages", []):
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if message["role"] == "user" and block.get("type") == "text":
                if calls := CALL.findall(block["text"]):
                    script, results = calls, []
            elif block.get("type") == "tool_result":
                results.append(block)
    return script, results


def _turn(api: MockMessagesApi, body: Body, number: int, tokens: int) -> Body:
    script, results = _played(body)
    answers = [_answer(result) for result in results]
    if len(results) < len(script) and body.get("tools"):
        api.between.pop(len(results), lambda: None)()
        name, arguments = script[len(results)]
        given = filled(json.loads(arguments), answers)
        call = {"type": "tool_use", "id": f"toolu_{number:08}", "name": name, "input": given}
        content, reason = [call], "tool_use"
    else:
        says = filled(api.says, answers) if len(answers) == len(script) else "DONE"
        content, reason = [{"type": "text", "text": says}], "end_turn"
    return {
        "id": f"msg_{number:08}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", "mock"),
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens,
            "output_tokens": 10,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    }


def _answer(result: Body) -> Any:
    content = result["content"]
    text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    try:
        return json.loads(text)
    except ValueError:
        return text


def _events(message: Body) -> Iterator[tuple[str, Body]]:
    yield "message_start", {"message": {**message, "content": [], "stop_reason": None}}
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            text = json.dumps(block["input"])
            empty, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": text}
        yield "content_block_start", {"index": index, "content_block": empty}
        yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield "message_delta", {"delta": end, "usage": {"output_tokens": 10}}
    yield "message_stop", {}
