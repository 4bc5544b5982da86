"""The drill from one end to the other: fix a moment, restore to it, hold the copy against it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

from filban.backup.apart import Told, apart
from filban.backup.restore import lay
from filban.backup.restore.targets import LATEST, RecoveryTarget
from filban.backup.shelf import Shelf
from filban.backup.verify import files
from filban.backup.verify.faults import Fault
from filban.backup.verify.manifest import Manifest
from filban.backup.verify.stored import Source, codec_of
from filban.cluster import Cluster, abandoned
from filban.errors import BinariesNotFound, DiskFull, FilbanError, NotGood, NotSupported
from filban.flows.drill import checks, equality
from filban.flows.drill.equality import Mode, Moment
from filban.flows.drill.rows import Options, Result, Step
from filban.flows.progress import Progress, Silent, step
from filban.flows.restore.look import Look, assert_reachable, look
from filban.flows.restore.scratch import lay_scratch, recover_scratch
from filban.pg import Target, parse

# A segment that is not in the repository after a minute will not be there because we wait longer:
# the archiver itself tries once a minute (PGARCH_AUTOWAKE_INTERVAL).
ARCHIVE_SECONDS = 60.0
_POLL_SECONDS = 0.1


@contextlib.asynccontextmanager
async def drilled(
    shelf: Shelf,
    primary: Target | None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> AsyncIterator[tuple[Result, Cluster | None]]:
    """Drill, then hand out what was found and the running copy (None if it did not come up) for
    the block; after it the copy is removed.

    primary: compared with, if given. What is wrong with the backup is in the result, never raised;
    raised is what keeps a drill from being made at all: no backup, no room, no programs, and of the
    primary what `equality.moment` raises.
    """
    base, state = abandoned.begin()
    try:
        async with contextlib.AsyncExitStack() as stack:
            drill = _Drill(shelf, options or Options(), progress or Silent(), base / "data")
            if primary is not None and drill.options.equality is not None:
                moment = equality.moment(primary, drill.options.tables)
                drill.moment = await stack.enter_async_context(moment)
            await drill.run(primary.database if primary else "postgres")
            yield drill.result, drill.copy
    finally:
        await abandoned.remove(base, state)


async def drill(
    shelf: Shelf,
    primary: Target | None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Result:
    """As `drilled`, when nobody wants the copy."""
    async with drilled(shelf, primary, options, progress) as (result, _):
        return result


_WORDS = {True: "", False: "FAILED: ", None: "not made: "}


class _Failed(Exception):
    """A step has failed without which the next ones mean nothing; it is in the result."""


class _Drill:
    """One drill's state: what each step leaves to the next."""

    def __init__(self, shelf: Shelf, options: Options, progress: Progress, into: Path) -> None:
        self.shelf = shelf
        self.options = options
        self.progress = progress
        self.into = into
        self.result = Result("", shelf.name, str(LATEST))
        self.moment: Moment | None = None
        self.copy: Cluster | None = None
        self._look: Look | None = None

    async def run(self, database: str) -> None:
        with contextlib.suppress(_Failed):
            found = await self._bring_back()
            if self.copy is not None:
                await self._examine(self.copy, found, database)

    async def _bring_back(self) -> Look:
        if self.moment is not None:
            self.result.lock_seconds = self.moment.lock_seconds
            await self._step("archive", partial(self._archived, self.moment), needed=True)
        await self._step("look", self._choose, needed=True)
        if self._look is None:
            raise _Failed
        await self._step("files", partial(self._files, self._look), needed=True)
        await self._step("replay", partial(self._replay, self._look), needed=True)
        return self._look

    async def _examine(self, copy: Cluster, found: Look, database: str) -> None:
        options = self.options
        if self.moment is not None and options.equality is not None:
            work = partial(self._equal, copy, self.moment, options.equality, database)
            await self._step("equality", work)
        if options.amcheck:
            await self._step("amcheck", partial(checks.amcheck, copy, deep=options.deep))
        if options.dump:
            await self._step("dump", partial(checks.dump, copy))
        for one in options.assertions:
            work = partial(checks.assertion, copy, one, database)
            await self._step(f"assertion {one.name}", work)
        if options.checksums:
            await self._step("checksums", partial(_checksums, copy))
        if options.manifest:
            await self._step("manifest", partial(self._manifest, found))

    async def _step(
        self, name: str, work: Callable[[], Awaitable[str]], *, needed: bool = False
    ) -> None:
        begun = time.monotonic()
        outcome: bool | None = True
        with step(self.progress, name) as running:
            try:
                said = await work()
            except (DiskFull, BinariesNotFound):
                raise
            except NotSupported as error:
                outcome, said = None, error.message
            except FilbanError as error:
                outcome, said = False, error.message
            running.summary = _WORDS[outcome] + said
        self.result.steps.append(Step(name, outcome, time.monotonic() - begun, said))
        if needed and not outcome:
            raise _Failed

    async def _archived(self, moment: Moment) -> str:
        """Until the WAL of the moment is in the repository: so much would have been lost."""
        deadline = time.monotonic() + ARCHIVE_SECONDS
        while not await asyncio.to_thread(self._is_there, moment.segment):
            if time.monotonic() > deadline:
                raise NotGood(
                    f"segment {moment.segment} is not in the repository after "
                    f"{ARCHIVE_SECONDS:g} s",
                    hint="filban check says whether archiving fails",
                )
            await asyncio.sleep(_POLL_SECONDS)
        self.result.archive_seconds = time.time() - moment.at
        return f"{self.result.archive_seconds:.1f} s behind the primary"

    def _is_there(self, segment: str) -> bool:
        wanted = segment.encode()
        return any(
            codec_of(n.rpartition(b"/")[2])[0] == wanted for n, _ in self.shelf.wal().names()
        )

    async def _choose(self) -> str:
        target = LATEST if self.moment is None else RecoveryTarget("name", self.moment.name)
        found = await look(self.shelf, target, label=self.options.label)
        self.result.backup = found.plan.backup.label
        self.result.target = str(target)
        assert_reachable(found)
        self._look = found
        return f"{self.result.backup}, timeline {found.plan.timeline}"

    async def _files(self, found: Look) -> str:
        begun = time.monotonic()
        self.result.bytes = await lay_scratch(self.shelf, found, self.into)
        self.result.files_seconds = time.monotonic() - begun
        return f"{self.result.bytes:,} bytes"

    async def _replay(self, found: Look) -> str:
        begun = time.monotonic()
        restored: list[str] = []
        self.copy, done = await recover_scratch(
            self.shelf, found, self.into, on_restored=restored.append,
            superuser=self.moment.superuser if self.moment else None,
        )  # fmt: skip
        self.result.replay_seconds = time.monotonic() - begun
        self.result.segments = len(restored)
        self.result.replay_bytes = found.plan.replay_bytes
        return done.outcome.stopped or "to the end of the WAL"

    async def _equal(self, copy: Cluster, moment: Moment, mode: Mode, database: str) -> str:
        there = await equality.digests(moment.reader, moment.tables, moment.seed, mode)
        here = await equality.digests_of_copy(parse(copy.dsn_socket(database)), moment, mode)
        self.result.tables_compared = len(there)
        self.result.rows_compared = sum(d.rows for d in there)
        equality.assert_equal(there, here)
        locked = moment.lock_seconds * 1000
        return f"{len(there)} tables, {self.result.rows_compared:,} rows; locked {locked:.1f} ms"

    async def _manifest(self, found: Look) -> str:
        """The files as they lie in the repository; those of the copy have been written to since."""
        count = 0
        for label in found.plan.backup.chain or (found.plan.backup.label,):
            source = self.shelf.contents(label)
            known = await asyncio.to_thread(lay.manifest_of, source)
            try:
                faults = await apart(partial(_faults, label, source, known))
                count += known.files
            finally:
                known.close()
            if faults:
                raise NotGood(
                    f"{faults[0].subject}: {faults[0].detail}", hint="filban backup verify"
                )
        return f"{count:,} files"


def _faults(label: str, source: Source, known: Manifest, told: Told) -> list[Fault]:
    return list(files.check_files(label, source, known, told))


async def _checksums(copy: Cluster) -> str:
    """pg_checksums wants it stopped; it runs again afterwards, for whoever keeps it."""
    await copy.stop("fast")
    try:
        return await checks.checksums(copy)
    finally:
        await copy.start()
