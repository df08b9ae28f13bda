"""The in-memory file system of a guest: bounded, flat, and never near the machine's own files."""

import posixpath

MAX_BYTES = 4 * 1024 * 1024
MAX_NODES = 2048
MAX_PATH = 1024
NODE_BYTES = 64  # what a name costs, so that empty files are not free


class FilesError(Exception):
    """Why a path cannot be used, in the words a Unix command would print."""


class Files:
    """Absolute path -> content, or None for a directory."""

    def __init__(self) -> None:
        self._nodes: dict[str, bytes | None] = {"/": None}
        self.used = 0

    def resolve(self, cwd: str, path: str) -> str:
        """The absolute, normalised form of `path` as seen from `cwd`."""
        if not path or "\0" in path:
            raise FilesError("No such file or directory")
        if len(path) > MAX_PATH:
            raise FilesError("File name too long")
        full = posixpath.normpath(posixpath.join(cwd, path))
        if len(full) > MAX_PATH:
            raise FilesError("File name too long")
        return "/" + full.lstrip("/")

    def exists(self, path: str) -> bool:
        """Whether a file or directory lies at `path`."""
        return path in self._nodes or path == "/dev/null"

    def is_dir(self, path: str) -> bool:
        """Whether a directory lies at `path`."""
        return path in self._nodes and self._nodes[path] is None

    def read(self, path: str) -> bytes:
        """The content of a file."""
        if path == "/dev/null":
            return b""
        if path not in self._nodes:
            raise FilesError("No such file or directory")
        content = self._nodes[path]
        if content is None:
            raise FilesError("Is a directory")
        return content

    def size(self, path: str) -> int:
        """The length of a file; 0 for a directory."""
        return len(self._nodes.get(path) or b"")

    def write(self, path: str, content: bytes, *, append: bool = False) -> None:
        """Create or replace a file, or add to its end."""
        if path == "/dev/null":
            return
        old = self.read(path) if path in self._nodes else None
        if old is None:
            self._claim_node(path)
        growth = len(content) - (0 if append or old is None else len(old))
        growth += NODE_BYTES + len(path) if old is None else 0
        self._claim_bytes(growth)
        self._nodes[path] = (old or b"") + content if append else content

    def mkdir(self, path: str, *, parents: bool = False) -> None:
        """Make a directory; with `parents`, also those above it, and an existing one is fine."""
        if self.exists(path):
            if parents and self.is_dir(path):
                return
            raise FilesError("File exists")
        if parents and path != "/":
            self.mkdir(posixpath.dirname(path), parents=True)
        self._claim_node(path)
        self._claim_bytes(NODE_BYTES + len(path))
        self._nodes[path] = None

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Delete a file, or a directory with all that is in it."""
        if path not in self._nodes:
            raise FilesError("No such file or directory")
        if path == "/" or (self._nodes[path] is None and not recursive):
            raise FilesError("Is a directory")
        for node in [node for node in self._nodes if node == path or node.startswith(path + "/")]:
            content = self._nodes.pop(node)
            self.used -= len(content or b"") + NODE_BYTES + len(node)

    def listing(self, path: str) -> list[str]:
        """The sorted names in a directory."""
        if path not in self._nodes:
            raise FilesError("No such file or directory")
        prefix = path.rstrip("/") + "/"
        return sorted(
            node[len(prefix) :]
            for node in self._nodes
            if node.startswith(prefix) and node != "/" and "/" not in node[len(prefix) :]
        )

    def _claim_node(self, path: str) -> None:
        if not self.is_dir(posixpath.dirname(path)):
            raise FilesError("No such file or directory")
        if len(self._nodes) >= MAX_NODES:
            raise FilesError("No space left on device")

    def _claim_bytes(self, growth: int) -> None:
        if growth > 0 and self.used + growth > MAX_BYTES:
            raise FilesError("No space left on device")
        self.used += growth
