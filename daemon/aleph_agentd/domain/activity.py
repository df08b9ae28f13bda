"""Whether anything goes on in a VM: what is sent to its shell, how its answer is read, and since when it is idle. Pure.

Whatever is not plainly an answer is no observation: a VM is never called idle for it.
"""

import re
import shlex
from dataclasses import dataclass

LOAD = 0.2
"""Both of the last minute and of the last five: below it a VM does nothing but be there."""
INTERVAL_S = 120
"""Between two looks."""
MOST_GAP_S = 3 * INTERVAL_S
"""What was not seen for longer may have been busy meanwhile: it is watched anew."""

NAME = "aleph-look"
_SCRIPT = r"""
nonce=$1 jobs=0
boot=$(cat /proc/sys/kernel/random/boot_id)
for dir in "${HOME:-/root}"/.aleph-agent/jobs/* /run/aleph-agent/jobs/*; do
  if [ -e "$dir/pid" ] && [ ! -e "$dir/code" ] && [ "$(cat "$dir/boot")" = "$boot" ] \
    && kill -0 "$(cat "$dir/pid")"; then jobs=$((jobs + 1)); fi
done 2>/dev/null
logins=$(grep -lE '^sshd[a-z-]*: [^ ]+@' /proc/[0-9]*/cmdline 2>/dev/null | wc -l)
read -r one five _ </proc/loadavg || exit 1
printf '%s %s %s %s %s\n' "$nonce" "$one" "$five" "$((logins))" "$jobs"
"""


@dataclass(frozen=True)
class Activity:
    """What a VM says that goes on in it."""

    load: float
    """The higher one of the last minute and the last five."""
    logins: int
    """Besides ours."""
    jobs: int
    """Of aleph_vm_run and setup, that run."""

    @property
    def idle(self) -> bool:
        """Whether nobody would miss it."""
        return self.load < LOAD and not self.logins and not self.jobs


def activity_line(nonce: str) -> str:
    """The shell command."""
    return shlex.join(("sh", "-c", _SCRIPT, NAME, nonce))


def activity_of(printed: bytes, nonce: str) -> Activity | None:
    """The answer; None if it makes no sense, or if it does not even see the login that asks."""
    numbers = rb"(\d{1,6}\.\d\d) (\d{1,6}\.\d\d) (\d{1,6}) (\d{1,6})\n"
    found = re.search(rb"(?:^|\n)%s " % re.escape(nonce.encode()) + numbers, printed)
    if found is None or not int(found[3]):
        return None
    return Activity(max(float(found[1]), float(found[2])), int(found[3]) - 1, int(found[4]))


@dataclass(frozen=True)
class Streak:
    """Looks one after another that saw the same VM idle, by a clock that nobody can set."""

    since: float
    last: float
    lease_version: int

    @property
    def span_s(self) -> float:
        """From the first look to the last."""
        return self.last - self.since


def after(streak: Streak | None, at: float, lease_version: int) -> Streak:
    """One more idle look: it goes on, or it begins anew after a gap or an extension."""
    if streak is None or streak.lease_version != lease_version or not 0 <= at - streak.last <= MOST_GAP_S:
        return Streak(at, at, lease_version)
    return Streak(streak.since, at, lease_version)
