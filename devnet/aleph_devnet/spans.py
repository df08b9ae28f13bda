"""Times as lists of (since, to), in any order and with any overlap. Pure."""

Spans = list[tuple[float, float]]


def clipped(spans: Spans, since: float) -> Spans:
    """What of them is after a moment."""
    return [(max(start, since), end) for start, end in spans if end > since]


def merged(spans: Spans) -> Spans:
    """The same time, as spans in order that do not touch."""
    found: Spans = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def without(spans: Spans, holes: Spans) -> Spans:
    """What of them lies in no hole."""
    left = spans
    for start, end in holes:
        left = [
            piece for a, b in left for piece in ((a, min(b, start)), (max(a, end), b)) if piece[0] < piece[1]
        ]
    return left


def length(spans: Spans) -> float:
    """Seconds covered, none of them counted twice."""
    return sum(end - start for start, end in merged(spans))
