"""Which operating system user server processes run as.

PostgreSQL refuses to run as root. Where filban is root, its programs run as `postgres` or as the
owner of the data directory; everywhere else they run as who we are.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filban.errors import ClusterError

# Distributions create `postgres` with the server package; `nobody` exists everywhere else.
_CANDIDATES = ("postgres", "nobody")
USER_VARIABLE = "FILBAN_SERVER_USER"


@dataclass(frozen=True, slots=True)
class Owner:
    """An operating system user. `switch` says whether we have to become it first."""

    uid: int
    gid: int
    name: str
    home: str

    @property
    def switch(self) -> bool:
        return os.geteuid() == 0 and self.uid != 0

    def prefix(self) -> tuple[str, ...]:
        """What goes before a command line so that it runs as this user.

        `setpriv` (util-linux) and not the `user=` of subprocess: uvloop refuses that argument.
        """
        if not self.switch:
            return ()
        return ("setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups", "--")

    def take(self, path: Path) -> None:
        """Make `path` (not what is below it) this user's, if we may and it is not yet."""
        if self.switch:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def give_back(self, path: Path, uid: int, gid: int) -> None:
        """Undo `take`."""
        if self.switch:
            os.chown(path, uid, gid, follow_symlinks=False)

    def reaches(self, path: Path) -> bool:
        """Whether this user gets to `path` and may read it: a virtual environment under root's
        home cannot be read by `postgres`."""
        path = path.resolve()
        return all(self._may(p, stat.S_IXUSR) for p in path.parents) and self._may(
            path, stat.S_IRUSR
        )

    def _may(self, path: Path, user_bit: int) -> bool:
        try:
            info = path.stat()
        except OSError:
            return False
        if self.uid in (0, info.st_uid):
            return bool(info.st_mode & user_bit) or self.uid == 0
        shift = 3 if info.st_gid == self.gid else 6
        return bool(info.st_mode & (user_bit >> shift))


def me() -> Owner:
    """Who we are."""
    return _owner(os.geteuid())


def server_user() -> Owner:
    """Who new data directories belong to: us, or as root $FILBAN_SERVER_USER, `postgres`, `nobody`.

    Raises ClusterError where root finds none of them.
    """
    if os.geteuid() != 0:
        return me()
    wanted = os.environ.get(USER_VARIABLE)
    found = _first((wanted,) if wanted else _CANDIDATES)
    if found is None or found.uid == 0:
        raise ClusterError(
            "PostgreSQL refuses to run as root, and there is no other user to run it as"
            + (f": {USER_VARIABLE}={wanted} is not usable" if wanted else ""),
            hint="useradd --system postgres, or run filban as an ordinary user",
        )
    return found


def owner_of(path: Path) -> Owner:
    """Who owns an existing path."""
    return _owner(path.stat().st_uid)


def _first(names: Sequence[str]) -> Owner | None:
    for name in names:
        try:
            return _from(pwd.getpwnam(name))
        except KeyError:
            continue
    return None


def _owner(uid: int) -> Owner:
    try:
        return _from(pwd.getpwuid(uid))
    except KeyError:  # containers run with numeric ids that /etc/passwd does not know
        return Owner(uid, os.getegid(), str(uid), "/")


def _from(entry: pwd.struct_passwd) -> Owner:
    return Owner(entry.pw_uid, entry.pw_gid, entry.pw_name, entry.pw_dir)
