"""What the probe is to find in the sandboxes of both kinds, and outside of them."""

NAMESPACES = dict.fromkeys((f"{name} namespace" for name in ("user", "mount", "net", "pid", "uts")), "EPERM")
FILTERED = {
    "own folder": "open",
    "setuid file": "EPERM",
    "raw socket": "EPERM",
    "packet socket": "EAFNOSUPPORT",
    "netlink socket": "EAFNOSUPPORT",
    "writable code": "EPERM",
    **NAMESPACES,
}
"""Also where the manager may not make namespaces."""
HIDDEN = {
    "home": "ENOENT",
    "tmp": "ENOENT",
    "usr": "EROFS",
    "etc": "EROFS",
    "system bus": "EACCES",
    "user bus": "ENOENT",
}
"""By its own view of the files."""
IN_REACH = {"home": "open", "tmp": "open", "usr": "EACCES", "system bus": "open"}
"""Outside: kept from nothing but what an ordinary user may not write."""
OUTSIDE = IN_REACH | {
    "setuid file": "open",
    "netlink socket": "open",
    "packet socket": "EPERM",
    "writable code": "open",
    "user namespace": "open",
}


def part(found: dict[str, str], expected: dict[str, str]) -> dict[str, str]:
    """The findings that the expectation is about."""
    return {name: found[name] for name in expected}
