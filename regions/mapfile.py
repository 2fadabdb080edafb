"""A map document as files: `<name>.json`, whole, and `<name>.log`, what has changed since.

The agent is the only writer. Readers guarantee that what they have seen only gets newer and is
never half of something: a document is replaced by rename, a line of the log counts once its end is
written, and a log belongs to one document (it is named in it). A file that is missing or broken
leaves the last good content in force.

A line is `{"version": int, "key": text, "entry": {…} | null}`; null: there is no such entry any
more. So one new tenant among ten thousand costs a line, in the agent and in every process.

That there is something new a process learns from its memory: the folder's *signal*, eight bytes
that it maps and that are others after each change. So no request pays for a system call.
"""

from __future__ import annotations

import json
import mmap
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from regions.errors import RegionsError

T = TypeVar("T")

# How old a look at the files may be when no signal came: whoever changed them died before it gave
# one, or the folder is another since. Seldom: each look is a few system calls, in which another
# thread takes the interpreter, and a busy process' threads then compete for it.
LOOK_SECONDS = 0.5
SIGNAL = ".signal"
SIGNAL_BYTES = 8
# After so many changes the document is written anew: reading it takes longer than a line.
LOG_LINES = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """One entry as it is now. `version` is the whole document's, and only grows."""

    version: int
    key: str
    entry: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class News:
    """What a look brought: a new document (or None: the last one goes on), then changes to it."""

    document: Mapping[str, Any] | None = None
    changes: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return self.document is not None or bool(self.changes)


NOTHING = News()


class MapWriter:
    """Writes one document and its log."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._log: Path | None = None
        self._lines = 0
        # Grows from what an earlier writer has left behind.
        left = MapReader(folder, name).news()
        versions = [int((left.document or {}).get("version", 0))]
        self.version = max(versions + [change.version for change in left.changes])

    def replace(self, document: Mapping[str, Any]) -> None:
        """Write the whole document; its `version` is raised if it would not grow."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.version = max(int(document["version"]), self.version + 1)
        earlier = self._log
        log = self._folder / f"{self._name}.{self.version}.log"
        log.write_bytes(b"")
        publish_document(
            self._folder / f"{self._name}.json",
            {**document, "version": self.version, "log": log.name},
        )
        self._log, self._lines = log, 0
        for old in self._folder.glob(f"{self._name}.*.log"):
            # A reader may still be at the end of the last one.
            if old not in (log, earlier):
                old.unlink(missing_ok=True)

    def append(self, entries: Mapping[str, Mapping[str, Any] | None]) -> bool:
        """Log the entries as they are now. False: it is time to replace the document instead."""
        if self._log is None or self._lines + len(entries) > LOG_LINES:
            return False
        lines = []
        for key, entry in entries.items():
            self.version += 1
            lines.append(json.dumps({"version": self.version, "key": key, "entry": entry}) + "\n")
        with self._log.open("ab") as log:
            log.write("".join(lines).encode())
        give_signal(self._folder)
        self._lines += len(lines)
        return True


@dataclass
class MapReader:
    """Reads one document and its log, from where the last look ended."""

    folder: Path
    name: str
    _seen: tuple[int, int, int] | None = None
    _log: str | None = None
    _offset: int = 0

    def __post_init__(self) -> None:
        # As text: a look takes a third of the time that it takes to put a Path together.
        self._path = str(self.folder / f"{self.name}.json")

    def news(self) -> News:
        """What is new since the last call: two `stat` calls when nothing is."""
        document = None
        with suppress(OSError, ValueError):
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                document = json.loads(Path(self._path).read_bytes())
                log = document.get("log")
                self._log = str(self.folder / log) if log else None
                self._offset, self._seen = 0, seen
        changes = tuple(self._changes())
        return News(document, changes) if document is not None or changes else NOTHING

    def _changes(self) -> Iterator[Change]:
        if self._log is None:
            return
        try:
            if os.stat(self._log).st_size == self._offset:
                return
            with open(self._log, "rb") as log:
                log.seek(self._offset)
                fresh = log.read()
        except OSError:
            return
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            content = json.loads(line)
            yield Change(content["version"], content["key"], content["entry"])


class Signal:
    """A folder's signal, as a process reads it: from memory."""

    def __init__(self, folder: Path) -> None:
        self._path = str(folder / SIGNAL)
        self._inode = 0
        self._page: mmap.mmap | bytes = b""

    def read(self) -> bytes:
        """Compare it with what it was before: it means nothing else. b"" where there is none."""
        return self._page[:SIGNAL_BYTES]

    def find(self) -> None:
        """Map the file that is there now; without one the last goes on."""
        with suppress(OSError, ValueError):
            if os.stat(self._path).st_ino == self._inode:
                return
            with open(self._path, "rb") as file:
                self._page = mmap.mmap(file.fileno(), SIGNAL_BYTES, access=mmap.ACCESS_READ)
                self._inode = os.fstat(file.fileno()).st_ino


class Watched(Generic[T]):
    """A document's parsed content as it was last published; LOOK_SECONDS old at most where the
    signal is missing. Right under threads: one looks, the others go on with what is known, or wait
    for it at the very first. Right in a process that is forked, whoever was looking."""

    def __init__(
        self,
        folder: Path,
        name: str,
        parse: Callable[[Mapping[str, Any]], T],
        empty: T,
        change: Callable[[T, tuple[Change, ...]], T] | None = None,
    ) -> None:
        self._place = folder, name
        self._parse = parse
        self._change = change
        self._value = empty
        self._begin()
        _watched.add(self)

    def _begin(self) -> None:
        self._reader = MapReader(*self._place)
        self._signal = Signal(self._place[0])
        self._seen = b""
        self._look_at = 0.0
        self._looking = threading.Lock()

    def current(self, *, fresh: bool = False) -> T:
        """The newest good content; `empty` until there has been one. `fresh`: as the files are
        now, for whoever has missed something in it."""
        now = time.monotonic()
        late = fresh or now >= self._look_at
        if late or self._signal.read() != self._seen:
            wait = fresh or not self._look_at
            if self._looking.acquire(blocking=wait):
                try:
                    self._look(late=late)
                    self._look_at = now + LOOK_SECONDS
                finally:
                    self._looking.release()
        return self._value

    def _look(self, *, late: bool) -> None:
        if late:
            self._signal.find()
        # Before the files: what is published meanwhile is looked for again.
        self._seen = self._signal.read()
        news = self._reader.news()
        try:
            if news.document is not None:
                self._value = self._parse(news.document)
            if news.changes and self._change is not None:
                self._value = self._change(self._value, news.changes)
        except (ValueError, KeyError, TypeError, RegionsError):
            return


_watched: weakref.WeakSet[Watched[Any]] = weakref.WeakSet()


def _after_fork() -> None:
    """Who was looking is not in this process, and has got nobody knows how far."""
    for one in _watched:
        if one._looking.locked():
            one._begin()


os.register_at_fork(after_in_child=_after_fork)


def publish_document(path: Path, document: Any) -> None:
    """Replace a map's document; every process that watches it sees that."""
    replace(path, document)
    give_signal(path.parent)


def give_signal(folder: Path) -> None:
    """After a change of its files. The file is never shortened nor replaced: it is mapped."""
    signal = os.open(folder / SIGNAL, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(signal, os.urandom(SIGNAL_BYTES), 0)
    finally:
        os.close(signal)


def replace(path: Path, document: Any) -> None:
    """Replace a JSON file by rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(json.dumps(document))
    beside.rename(path)
