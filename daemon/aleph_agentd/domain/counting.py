"""Numbers with their nouns and verbs, for people."""


def counted(number: object, noun: str) -> str:
    """`1 VM`, `2 VMs`; None is an unknown number."""
    if number is None:
        return f"an unknown number of {noun}s"
    return f"{number} {noun}{'' if number == 1 else 's'}"


def be(number: object, one: str = "is", more: str = "are") -> str:
    """The verb that goes with so many."""
    return one if number == 1 else more
