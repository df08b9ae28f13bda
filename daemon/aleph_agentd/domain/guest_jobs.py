"""Commands in a VM run as jobs there: what is sent to its shell, and how its answer is read. Pure.

A job is a directory in the VM, `~/.aleph-agent/jobs/ID`, or below /run where the disk is full: `command`, `out`,
`err`, `pid`, `boot` (of which boot it is) and, when it has ended, `code`. It survives the connection and the daemon.

A stream that breaks off ends like one that is over: so a command says how long it is, and no part of one is run.
It runs at most once on one disk, however many ask for it at a time; below /run until the next boot.
"""

import re
import shlex
from dataclasses import dataclass

from .untrusted import page_end

PAGE = 4096
"""Bytes of one stream in one answer of the script."""
PLACE = "~/.aleph-agent/jobs"

_SCRIPT = r"""
umask 077
nonce=$1 verb=$2 job=$3 wait=$4 offset=$5 size=$6
home=${HOME:-/root}/.aleph-agent/jobs/$job spare=/run/aleph-agent/jobs/$job
known() { for dir in "$home" "$spare"; do [ -e "$dir/pid" ] && return; done; return 1; }
boot() { cat /proc/sys/kernel/random/boot_id; }
ended() { [ -e "$dir/code" ]; }
alive() { [ "$(cat "$dir/boot")" = "$(boot)" ] && kill -0 "$(cat "$dir/pid")"; }
begin() {
  mkdir -p "$dir" && boot >"$dir/boot.$nonce" && echo "$$" >"$dir/pid.$nonce" \
    && printf '%s\n' "$command" >"$dir/command.$nonce" \
    && [ "$(($(wc -c <"$dir/command.$nonce")))" -eq "$((size + 1))" ] \
    && mv "$dir/boot.$nonce" "$dir/boot" && mv "$dir/command.$nonce" "$dir/command" \
    || { rm -f "$dir/boot.$nonce" "$dir/pid.$nonce" "$dir/command.$nonce"; return 1; }
  # Who makes this link has the right to run it, and nobody else; until it runs, it is as alive as who made it.
  ln "$dir/pid.$nonce" "$dir/pid" 2>/dev/null; won=$?
  rm -f "$dir/pid.$nonce"
  # Two that won, each in a place of its own, see each other: then neither runs it.
  if [ "$won" -eq 0 ] && ! { [ -e "$home/pid" ] && [ -e "$spare/pid" ]; }; then
    cd "${HOME:-/}"
    setsid sh -c 'trap : TERM
      "${SHELL:-/bin/sh}" "$0/command" >"$0/out" 2>"$0/err"
      echo "$?" >"$0/code.new"; mv "$0/code.new" "$0/code"' "$dir" </dev/null >/dev/null 2>&1 &
    echo "$!" >"$dir/pid.$nonce" && mv "$dir/pid.$nonce" "$dir/pid"
  fi
  [ -e "$dir/pid" ]
}
if ! known && [ "$verb" = start ]; then
  command=$(cat)
  if [ "$(($(printf %s "$command" | wc -c)))" -ne "$size" ]; then
    echo 'not begun: only a part of it came' >&2
    exit 1
  fi
  for dir in "$home" "$spare"; do begin && break; done
fi
pause() { sleep 0.1 || { sleep 1; i=$((i + 9)); }; i=$((i + 1)); }
{
  if [ "$verb" = stop ] && ! ended && alive; then
    kill -s TERM -- "-$(cat "$dir/pid")"
    i=0; while [ "$i" -lt 20 ] && ! ended && alive; do pause; done
    if ! ended && alive; then kill -s KILL -- "-$(cat "$dir/pid")"; echo 137 >"$dir/code"; fi
  fi
  i=0; while [ "$i" -lt "$wait" ] && ! ended && alive; do pause; done
  state=lost code=- out=0 err=0
  if [ ! -e "$dir/pid" ]; then state=none; elif ! ended && alive; then state=running; fi
  if [ "$state" != none ] && ended; then state=done code=$(head -c 3 "$dir/code"); fi
  [ -e "$dir/out" ] && out=$(($(wc -c <"$dir/out")))
  [ -e "$dir/err" ] && err=$(($(wc -c <"$dir/err")))
} 2>/dev/null
printf '%s %s %s %s %s\n' "$nonce" "$state" "$code" "$out" "$err"
part() { tail -c "+$(($2 + 1))" "$1" | head -c "$3"; }
show() {
  if [ "$offset" -ge 0 ]; then
    n=$(($2 - offset)); [ "$n" -gt PAGE ] && n=PAGE
    [ "$n" -gt 0 ] && part "$1" "$offset" "$n"
  elif [ "$2" -gt PAGE ]; then part "$1" 0 HALF; part "$1" $(($2 - HALF)) HALF
  elif [ "$2" -gt 0 ]; then part "$1" 0 "$2"; fi
}
show "$dir/out" "$out"
show "$dir/err" "$err"
exit 0
""".replace("PAGE", str(PAGE)).replace("HALF", str(PAGE // 2))

_STATES = ("done", "running", "lost", "none")
_JOB = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Stream:
    """What is told of one stream: both ends of it, or with an offset a page from there that can be read alone."""

    head: bytes
    tail: bytes
    total: int


@dataclass(frozen=True)
class JobReport:
    """How a job stands, as its VM says: `lost` ended without leaving an exit code, `none` is not known there."""

    state: str
    exit_code: int | None
    out: Stream
    err: Stream


def is_job(text: str) -> bool:
    """Whether this can be a job's id."""
    return bool(_JOB.fullmatch(text))


def line_for(
    nonce: str, verb: str, job: str, wait_s: float = 0, offset: int | None = None, command: bytes = b""
) -> str:
    """The shell command; `start` wants the `command` that is to run on its standard input, all of it.

    A job of this id that there is already is not started again. It waits at most `wait_s` for the end.
    """
    size = len(command.rstrip(b"\n"))  # a shell's $(cat) ends there, too
    numbers = (round(wait_s * 10), -1 if offset is None else offset, size)
    return shlex.join(("sh", "-c", _SCRIPT, "aleph-agent", nonce, verb, job, *map(str, numbers)))


def report_of(printed: bytes, nonce: str, offset: int | None = None) -> JobReport | None:
    """The answer; None if it makes no sense. What stands before it is a login's chatter."""
    found = re.search(rb"%s (\w{1,9}) (-|\d{1,3}) (\d{1,18}) (\d{1,18})\n" % nonce.encode(), printed)
    if found is None or (state := found[1].decode(errors="replace")) not in _STATES:
        return None
    out_total, err_total = int(found[3]), int(found[4])
    rest = printed[found.end() :]
    out = rest[: _told(out_total, offset)]
    err = rest[len(out) :][: _told(err_total, offset)]
    code = None if found[2] == b"-" or state != "done" else int(found[2])
    return JobReport(state, code, _stream(out, out_total, offset), _stream(err, err_total, offset))


def _told(total: int, offset: int | None) -> int:
    return min(PAGE, total if offset is None else max(0, total - offset))


def _stream(told: bytes, total: int, offset: int | None) -> Stream:
    if offset is not None and offset + len(told) < total:
        return Stream(told[: page_end(told)], b"", total)
    if offset is not None or total <= PAGE:
        return Stream(told, b"", total)
    return Stream(told[: PAGE // 2], told[PAGE // 2 :], total)
