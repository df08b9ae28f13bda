"""Commands in a VM run as jobs there: what is sent to its shell, and how its answer is read. Pure.

A job is a directory in the VM, `~/.aleph-agent/jobs/ID`, or below /run where the disk is full: `command`, `out`,
`err`, `pid`, `boot` (of which boot it is) and, when it has ended, `code`. It survives the connection and the daemon.
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
nonce=$1 verb=$2 job=$3 wait=$4 offset=$5
command=$(cat)
for base in "${HOME:-/root}/.aleph-agent/jobs" /run/aleph-agent/jobs; do
  dir=$base/$job
  [ -d "$dir" ] && break
  [ "$verb" = start ] && mkdir -p "$dir.new" && printf '%s\n' "$command" >"$dir.new/command" \
    && mv "$dir.new" "$dir" && break
done
boot() { cat /proc/sys/kernel/random/boot_id; }
ended() { [ -e "$dir/code" ]; }
alive() { [ "$(cat "$dir/boot")" = "$(boot)" ] && kill -0 "$(cat "$dir/pid")"; }
if [ "$verb" = start ] && [ -d "$dir" ] && [ ! -e "$dir/pid" ]; then
  boot >"$dir/boot"
  cd "${HOME:-/}"
  setsid sh -c 'trap : TERM
    "${SHELL:-/bin/sh}" "$0/command" >"$0/out" 2>"$0/err"
    echo "$?" >"$0/code.new"; mv "$0/code.new" "$0/code"' "$dir" </dev/null >/dev/null 2>&1 &
  echo "$!" >"$dir/pid"
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
  if [ ! -d "$dir" ]; then state=none; elif ! ended && alive; then state=running; fi
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


def line_for(nonce: str, verb: str, job: str, wait_s: float = 0, offset: int | None = None) -> str:
    """The shell command; `start` wants what is to run on its standard input.

    A job of this id that there is already is not started again. It waits at most `wait_s` for the end.
    """
    words = (nonce, verb, job, str(round(wait_s * 10)), "-1" if offset is None else str(offset))
    return shlex.join(("sh", "-c", _SCRIPT, "aleph-agent", *words))


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
