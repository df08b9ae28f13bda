"""What happens in a run, and when: a pure function of the seed. Times are seconds from the beginning."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

DAY_S, HOUR_S, MINUTE_S = 86_400.0, 3600.0, 60.0
CRNS = 12
FOR_EVER = float("inf")
_MOST_GONE_FOR_EVER = 3


@dataclass(frozen=True)
class Session:
    """One client that is connected for a while."""

    number: int
    at: float
    seconds: float


@dataclass(frozen=True)
class Wish:
    """What an agent wants of one VM."""

    number: int
    session: int
    at: float
    ttl_s: float
    compute_units: int
    extend_at: float | None = None
    extend_s: float = 0.0
    destroy_at: float | None = None
    asks_twice: bool = False
    """Sends the same request (the same request key) again, although it was answered."""
    gives_up: bool = False
    """Never asks again when its answer got lost."""


@dataclass(frozen=True)
class Trouble:
    """One thing that goes wrong.

    `what`: a CRN's number; a share of replies; 0 or 1, a way to fail; how many pieces of work a kill waits for.
    """

    at: float
    kind: str
    seconds: float
    what: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """The whole run."""

    seed: int
    days: float
    sessions: tuple[Session, ...]
    wishes: tuple[Wish, ...]
    troubles: tuple[Trouble, ...]

    @property
    def seconds(self) -> float:
        """Until nothing more is asked for or breaks; then everything is left to come to rest."""
        return self.days * DAY_S

    def told(self) -> list[str]:
        """The schedule in short, for people."""
        kinds = Counter(trouble.kind for trouble in self.troubles)
        hours: Counter[str] = Counter()
        for trouble in self.troubles:
            hours[trouble.kind] += min(trouble.seconds, self.seconds - trouble.at) / HOUR_S  # type: ignore[assignment]
        return [
            f"{len(self.wishes)} leases in {len(self.sessions)} sessions over {self.days:g} days",
            *(f"{kinds[kind]:5d} x {kind}, {hours[kind]:.1f} h in all" for kind in sorted(kinds)),
        ]


def make(seed: int, days: float, per_day: float) -> Schedule:
    """The schedule of a seed. Each part has dice of its own, so that more of one leaves the others alone."""
    sessions = tuple(_sessions(random.Random(f"{seed} sessions"), days))
    wishes = tuple(_wishes(random.Random(f"{seed} wishes"), sessions, days, per_day))
    troubles = [
        *_network(random.Random(f"{seed} network"), days),
        *_crns(random.Random(f"{seed} crns"), days),
        *_machine(random.Random(f"{seed} machine"), wishes, days),
    ]
    within = sorted((t for t in troubles if t.at < days * DAY_S), key=lambda trouble: trouble.at)
    return Schedule(seed, days, sessions, wishes, tuple(within))


def as_json(schedule: Schedule) -> dict[str, object]:
    """Everything, for `--schedule`."""
    return asdict(schedule)


def _sessions(dice: random.Random, days: float) -> Iterator[Session]:
    starts = sorted(dice.uniform(0, days * DAY_S) for _ in range(max(2, round(days * 24))))
    for number, at in enumerate(starts):
        yield Session(number, at, min(6 * HOUR_S, max(5 * MINUTE_S, dice.expovariate(1 / (1.5 * HOUR_S)))))


def _wishes(
    dice: random.Random, sessions: tuple[Session, ...], days: float, per_day: float
) -> Iterator[Wish]:
    for number in range(round(days * per_day)):
        session = dice.choice(sessions)
        at = session.at + dice.uniform(0, session.seconds)
        ttl_s = min(12 * HOUR_S, max(6 * MINUTE_S, dice.lognormvariate(8.3, 1.0)))
        later = at + ttl_s * dice.uniform(0.1, 0.9)
        # A client that has gone asks for nothing.
        chance = dice.random() if later < session.at + session.seconds else 1.0
        yield Wish(
            number,
            session.number,
            at,
            ttl_s,
            dice.choice((1, 1, 1, 2, 4)),
            extend_at=later if chance < 0.25 else None,
            extend_s=dice.uniform(0.25, 2) * HOUR_S,
            destroy_at=later if 0.25 <= chance < 0.6 else None,
            asks_twice=dice.random() < 0.15,
            gives_up=dice.random() < 0.2,
        )


def _often(dice: random.Random, days: float, per_day: float) -> list[float]:
    return sorted(dice.uniform(0, days * DAY_S) for _ in range(max(1, round(days * per_day))))


def _network(dice: random.Random, days: float) -> Iterator[Trouble]:
    for at in _often(dice, days, 0.4):
        yield Trouble(at, "CCN outage", dice.uniform(0.5, 6) * HOUR_S, dice.choice((0, 1)))
    for at in _often(dice, days, 0.2):
        yield Trouble(at, "own network outage", dice.uniform(2, 60) * MINUTE_S)
    for at in _often(dice, days, 1.5):
        yield Trouble(at, "storm of lost replies", dice.uniform(10, 60) * MINUTE_S, dice.uniform(0.1, 0.5))


def _crns(dice: random.Random, days: float) -> Iterator[Trouble]:
    gone: set[int] = set()
    for at in _often(dice, days, 2):
        crn, fate = dice.randrange(CRNS), dice.random()
        if crn in gone:
            continue
        if fate < 0.05 and len(gone) < _MOST_GONE_FOR_EVER:
            gone.add(crn)
            yield Trouble(at, "CRN death for ever", FOR_EVER, crn)
        else:
            hours = dice.uniform(0.2, 12) if fate < 0.75 else dice.uniform(12, 72)
            yield Trouble(at, "CRN death", hours * HOUR_S, crn)


def _machine(dice: random.Random, wishes: tuple[Wish, ...], days: float) -> Iterator[Trouble]:
    """Kills come at random, in the middle of creates, and right when a lease ends."""
    moments = _often(dice, days, 4)
    moments += [dice.choice(wishes).at + dice.uniform(0, 40) for _ in _often(dice, days, 6)]
    moments += [
        wish.at + wish.ttl_s + dice.uniform(0, 5)
        for wish in (dice.choice(wishes) for _ in _often(dice, days, 4))
    ]
    for at in moments:
        long = dice.random() < 0.1
        down_s = dice.uniform(1, 10) * MINUTE_S if long else dice.uniform(1, 5)
        yield Trouble(at, "daemon kill", down_s, dice.randrange(16))
    for at in _often(dice, days, 0.5):
        yield Trouble(at, "suspend", dice.uniform(0.1, 8) * HOUR_S)
