"""A file that goes into a VM: what is sent to its shell. Pure.

A stream that breaks off ends like one that is over: so the file is written beside its place, and takes that only
when all of it came. Its mode and its owner stay, and so does a link that leads to it.
"""

import shlex

_SCRIPT = r"""
path=$1 size=$2 nonce=$3
if [ -e "$path" ] && [ ! -f "$path" ]; then echo 'not a regular file' >&2; exit 1; fi
if [ -L "$path" ]; then path=$(readlink -f -- "$path") || exit; fi
case $path in */*) new=${path%/*}/.aleph-agent.$nonce ;; *) new=./.aleph-agent.$nonce ;; esac
mask=$(umask)
umask 077
if cat >"$new"; then
  if [ "$(($(wc -c <"$new")))" -ne "$size" ]; then
    echo 'not written: only a part of it came' >&2
  else
    if [ -e "$path" ]; then
      chown "$(stat -c %u:%g -- "$path")" "$new"
      chmod "$(stat -c %a -- "$path")" "$new"
    else
      chmod "$(printf %o "$((0666 & ~mask))")" "$new"
    fi
    mv -f -- "$new" "$path" && exit
  fi
fi
rm -f -- "$new"
exit 1
"""


def put_line(nonce: str, path: str, size: int) -> str:
    """The shell command that takes these many bytes from its standard input and makes a file of them."""
    return shlex.join(("sh", "-c", _SCRIPT, "aleph-put", home_relative(path), str(size), nonce))


def get_line(path: str, most: int) -> str:
    """The shell command that prints that much of a file."""
    return f"head -c {most} < {shlex.quote(home_relative(path))}"


def home_relative(path: str) -> str:
    """Without `~/`: a login begins at home, and what is quoted is not expanded."""
    return (path[2:].lstrip("/") or ".") if path.startswith("~/") else path
