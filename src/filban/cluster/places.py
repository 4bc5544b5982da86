"""Where filban keeps files of its own on this machine: the cache, scratch directories."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filban.cluster.owner import Owner, server_user
from filban.errors import ClusterError, DiskFull

# A Unix socket's path is at most 107 bytes and PostgreSQL adds "/.s.PGSQL.65535" to the directory.
# Source: sun_path in unix(7), 108 bytes with the closing NUL.
SOCKET_DIR_MAX = 107 - len("/.s.PGSQL.65535")

# Root's cache, which everybody may read; what root prepares there is for the whole machine.
ROOT_CACHE = Path("/var/cache/filban")
CACHE_VARIABLE = "FILBAN_CACHE"


@contextlib.contextmanager
def file_errors(what: str) -> Iterator[None]:
    """Turn what the file system refuses into errors that say what we were doing and what to do."""
    try:
        yield
    except OSError as error:
        message = f"{what}: {error.strerror}" + (f" ({error.filename})" if error.filename else "")
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "free some space there (df -h, df -i), or use another directory"
            raise DiskFull(message, hint=hint) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = "use a directory that you can write, or run as its owner"
            raise ClusterError(message, hint=hint) from error
        raise


def cache_dir(*below: str) -> Path:
    """filban's cache directory (or one below it), made if need be.

    $FILBAN_CACHE; else for root /var/cache/filban, so that the server user can read it (root's home
    it cannot), for others $XDG_CACHE_HOME/filban or ~/.cache/filban; a private directory under the
    temporary directory where that cannot be written, as for `nobody`.
    """
    for root in _cache_roots():
        path = root.joinpath(*below)
        with contextlib.suppress(OSError):
            root.mkdir(parents=True, exist_ok=True)
            if not _is_ours(root):
                continue
            path.mkdir(parents=True, exist_ok=True)
            if os.geteuid() == 0:  # the server user reads there, whatever our umask
                root.chmod(0o755)
                path.chmod(0o755)
            if os.access(path, os.W_OK) and server_user().reaches(path):
                return path
    raise ClusterError(
        "there is no directory for filban's cache that we can write and the server user can read",
        hint=f"set {CACHE_VARIABLE} to such a directory",
    )


def _cache_roots() -> list[Path]:
    if named := os.environ.get(CACHE_VARIABLE):
        return [Path(named).resolve()]
    private = Path(tempfile.gettempdir()) / f"filban-cache-{os.geteuid()}"
    if os.geteuid() == 0:
        return [ROOT_CACHE, private]
    xdg = os.environ.get("XDG_CACHE_HOME")
    home = [Path(xdg)] if xdg else [Path(os.path.expanduser("~")) / ".cache"]
    return [*(h / "filban" for h in home if h.is_absolute()), private]


def _is_ours(path: Path) -> bool:
    """Nobody else may have put it there for us: the temporary directory belongs to everybody."""
    info = path.lstat()
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid()


def scratch_root(owner: Owner) -> Path:
    """A temporary directory that `owner` can get to, with a name short enough for a socket."""
    for root in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108
        if root.is_dir() and owner.reaches(root) and len(str(root)) < SOCKET_DIR_MAX // 2:
            return root
    raise ClusterError(
        f"no temporary directory that the user {owner.name} can read",
        hint="set TMPDIR to a directory that everybody can read, such as /tmp",
    )
