"""A reader of the map sees what is published at once, whole, and nothing older than before."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regions import mapfile
from regions.mapfile import MapReader, MapWriter, Watched

Entries = dict[str, Any]

KEYS = st.sampled_from("abcd")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.dictionaries(KEYS, st.none() | st.integers(0, 9))),
        st.just(("replace", {})),
        st.just(("restart", {})),
        st.just(("read", {})),
    ),
    max_size=30,
)


def document(entries: Entries, version: int = 0) -> dict[str, Any]:
    return {"version": version, "entries": dict(entries)}


def watched(folder: Path) -> Watched[tuple[int, Entries]]:
    def change(value, changes):
        version, entries = value
        entries = dict(entries)
        for each in changes:
            assert each.version > version
            version = each.version
            entries.pop(each.key, None)
            if each.entry is not None:
                entries[each.key] = each.entry
        return version, entries

    return Watched(folder, "d", lambda doc: (doc["version"], doc["entries"]), (-1, {}), change)


@given(STEPS)
def test_a_reader_sees_what_was_written_last_and_versions_only_grow(steps) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer, reader = MapWriter(Path(folder), "d"), watched(Path(folder))
        truth: Entries = {}
        writer.replace(document(truth))
        seen = -1
        for verb, entries in [*steps, ("read", {})]:
            truth = {key: value for key, value in {**truth, **entries}.items() if value is not None}
            if verb == "restart":
                writer = MapWriter(Path(folder), "d")
                assert not writer.append({"a": 1}), "a new writer starts with a whole document"
            if verb in ("restart", "replace"):
                writer.replace(document(truth))
            elif verb == "append":
                assert writer.append(entries)
            else:
                version, known = reader.current()
                assert known == truth
                assert version >= seen
                seen = version


def test_a_line_counts_once_its_end_is_written(tmp_path: Path) -> None:
    writer, reader = MapWriter(tmp_path, "d"), MapReader(tmp_path, "d")
    writer.replace(document({}))
    assert reader.news().document is not None
    (log,) = tmp_path.glob("d.*.log")
    with log.open("ab") as half:
        half.write(b'{"version": 2, "key": "a", "en')
        half.flush()
        assert not reader.news()
        half.write(b'try": {"n": 1}}\n')
    (change,) = reader.news().changes
    assert (change.key, change.entry) == ("a", {"n": 1})
    assert not reader.news()


def test_after_many_changes_the_document_is_written_anew(tmp_path: Path) -> None:
    writer = MapWriter(tmp_path, "d")
    writer.replace(document({}))
    entries = {str(number): {} for number in range(mapfile.LOG_LINES)}
    assert writer.append(entries)
    assert not writer.append({"one": {}})
    assert not writer.append(entries)
    for _ in range(4):
        writer.replace(document({}))
    assert len(list(tmp_path.glob("d.*.log"))) <= 2


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still: nobody looks unless there was a signal."""
    now = [100.0]
    monkeypatch.setattr(mapfile.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(mapfile, "LOOK_SECONDS", 0.5)
    return now


def test_what_is_published_is_seen_at_once(tmp_path: Path, seldom) -> None:
    writer, reader = MapWriter(tmp_path, "d"), watched(tmp_path)
    writer.replace(document({"a": 1}))
    assert reader.current()[1] == {"a": 1}
    writer.append({"a": 2})
    assert reader.current()[1] == {"a": 2}
    writer.replace(document({"a": 3}))
    assert reader.current()[1] == {"a": 3}
    MapWriter(tmp_path, "d").replace(document({"a": 4}))
    assert reader.current()[1] == {"a": 4}
    mapfile.publish_document(tmp_path / "d.json", document({"a": 5}, 99))
    assert reader.current() == (99, {"a": 5})


def test_while_nothing_is_published_nobody_looks(tmp_path: Path, seldom) -> None:
    reader = watched(tmp_path)
    MapWriter(tmp_path, "d").replace(document({"a": 1}))
    reader.current()
    mapfile.replace(tmp_path / "d.json", document({"a": 2}))
    assert reader.current()[1] == {"a": 1}
    assert reader.current(fresh=True)[1] == {"a": 2}


def test_a_writer_that_died_before_its_signal_is_seen_a_little_later(
    tmp_path: Path, seldom
) -> None:
    reader = watched(tmp_path)
    MapWriter(tmp_path, "d").replace(document({"a": 1}))
    reader.current()
    mapfile.replace(tmp_path / "d.json", document({"a": 2}))
    seldom[0] += 0.5
    assert reader.current()[1] == {"a": 2}


def test_a_folder_that_comes_later_or_is_another_is_found_and_then_heard(
    tmp_path: Path, seldom
) -> None:
    folder = tmp_path / "map"
    reader = watched(folder)
    for number in range(3):
        assert reader.current()[1] == ({"a": number - 1} if number else {})
        if folder.exists():
            folder.rename(tmp_path / f"earlier{number}")
        writer = MapWriter(folder, "d")
        writer.replace(document({"a": -1}))
        seldom[0] += 0.5
        assert reader.current()[1] == {"a": -1}
        writer.append({"a": number})
        assert reader.current()[1] == {"a": number}


def test_a_signal_that_is_too_short_to_be_mapped_is_none(tmp_path: Path, seldom) -> None:
    (tmp_path / mapfile.SIGNAL).write_bytes(b"")
    reader = watched(tmp_path)
    assert reader.current() == (-1, {})
    MapWriter(tmp_path, "d").replace(document({"a": 1}))
    seldom[0] += 0.5
    assert reader.current()[1] == {"a": 1}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_is_forked_in_the_midst_of_a_look_sees_what_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapfile, "LOOK_SECONDS", 100.0)
    reading, go_on = threading.Event(), threading.Event()

    def parse(document: Any) -> str:
        if document["entries"] == {"a": 2}:
            reading.set()
            go_on.wait(300)
        return str(document["entries"])

    writer, reader = MapWriter(tmp_path, "d"), Watched(tmp_path, "d", parse, "nothing")
    writer.replace(document({"a": 1}))
    assert reader.current() == "{'a': 1}"
    writer.replace(document({"a": 2}))
    looking = threading.Thread(target=reader.current)
    looking.start()
    assert reading.wait(300)
    writer.replace(document({"a": 3}))
    child = os.fork()
    if not child:
        try:
            found = reader.current()
        finally:
            os._exit(0 if found == "{'a': 3}" else 1)
    assert os.waitpid(child, 0)[1] == 0
    go_on.set()
    looking.join()
    assert reader.current() == "{'a': 3}"


def test_threads_that_look_together_lose_no_change(tmp_path: Path) -> None:
    writer, reader = MapWriter(tmp_path, "d"), watched(tmp_path)
    writer.replace(document({}))
    stop = threading.Event()
    older: list[tuple[int, int]] = []

    def look() -> None:
        last = -1
        while not stop.is_set():
            version, _ = reader.current()
            if version < last:
                older.append((last, version))
            last = version

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(90):
        if number % 30 == 29:
            writer.replace(document({str(key): key for key in range(number)}))
        assert writer.append({str(number): number})
    stop.set()
    for thread in threads:
        thread.join()
    assert older == []
    assert reader.current()[1] == {str(number): number for number in range(90)}


def test_nobody_goes_on_with_nothing_while_another_reads_for_the_first_time(tmp_path: Path) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def parse(document: Any) -> str:
        reading.set()
        go_on.wait(300)
        return "the map"

    MapWriter(tmp_path, "d").replace(document({}))
    reader = Watched(tmp_path, "d", parse, "nothing")
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(reader.current())) for _ in range(2)]
    threads[0].start()
    assert reading.wait(300)
    threads[1].start()
    threads[1].join(0.2)  # were it let through, it would be through by now
    go_on.set()
    for thread in threads:
        thread.join()
    assert found == ["the map", "the map"]
