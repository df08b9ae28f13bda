"""Whether the network can be reached, how fast, and whether its clock is ours."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from aleph_agentd.control.doctor.facts import Facts
from aleph_agentd.control.doctor.finding import Finding, fail, warn, well
from aleph_agentd.control.text import counted

SLOW_MS = 2000
SKEW_WARN, SKEW_FAIL = timedelta(seconds=30), timedelta(minutes=2)
"""CRNs accept operations that were signed within two minutes of their own time."""
OLD_LIST = timedelta(hours=1)


def endpoints(facts: Facts) -> Iterator[Finding]:
    """Each host that the settings name answers."""
    unreached = [reply for reply in facts.hosts if reply.trouble]
    for reply in [*facts.hosts, *([facts.crn_list] if facts.crn_list else [])]:
        name = f"network {urlsplit(reply.url).netloc}"
        if reply.trouble:
            whole = reply is facts.crn_list or len(unreached) == len(facts.hosts)
            judged = fail if whole else warn
            yield judged(
                name,
                f"{reply.url} does not answer: {reply.trouble}",
                advice="look at this machine's connection, proxy and name server; then look again",
            )
        elif reply.ms > SLOW_MS:
            yield warn(
                name, f"{reply.url} took {reply.ms} ms", advice="the network or your line is slow; look again"
            )
        else:
            yield well(name, f"answers in {reply.ms} ms")


def clock(facts: Facts) -> Iterator[Finding]:
    """Leases end by our clock; nodes check signatures by theirs."""
    dates = [reply.date for reply in facts.hosts if reply.date]
    if not facts.hosts:
        return
    if not dates:
        yield warn("clock", "no host of the network told its time", advice="compare it yourself: date -u")
        return
    skew = min((abs(facts.now - date) for date in dates), default=timedelta())
    says = f"{skew.total_seconds():.0f} s from the network's"
    fix = "sudo timedatectl set-ntp true"
    if skew >= SKEW_FAIL:
        yield fail("clock", f"{says}: CRNs refuse what is signed by it", fix)
    elif skew >= SKEW_WARN:
        yield warn("clock", says, fix)
    else:
        yield well("clock", says)


def crn_list(facts: Facts) -> Iterator[Finding]:
    """The list of hosts is fresh and names some."""
    reply = facts.crn_list
    if reply is None or reply.trouble:
        return
    body = reply.body if isinstance(reply.body, dict) else {}
    crns, again = body.get("crns"), f"nothing to mend here: {reply.url} is the network's; look again later"
    if not isinstance(crns, list) or not crns:
        yield fail("crn list", f"{reply.url} lists no CRN", advice=again)
        return
    refreshed = _instant(body.get("last_refresh"))
    if refreshed is None:
        yield warn("crn list", f"{counted(len(crns), 'CRN')}; its age is not known", advice=again)
    elif facts.now - refreshed > OLD_LIST:
        yield warn(
            "crn list", f"{counted(len(crns), 'CRN')}, as of {refreshed:%Y-%m-%d %H:%M} UTC", advice=again
        )
    else:
        yield well("crn list", f"{counted(len(crns), 'CRN')}, refreshed at {refreshed:%H:%M} UTC")


def _instant(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
