"""What `cell migrate` prints for people: a plan, a report, the state of things."""

from __future__ import annotations

from typing import Any

from regions.cli import VerbCommand


def show_plan(command: VerbCommand, document: dict[str, Any]) -> None:
    write = command.stdout.write
    write(f"{document['up_to_date']} of {document['total']} are up to date.")
    for entry in document["cells"]:
        names = ", ".join(entry["migrations"]) or "nothing but what is noted below"
        write(
            f"\n{entry['cell']}: {entry['tenants']} (such as {entry['for_example']}) lack {names}"
        )
        for key, said in (
            ("behind", "replicas that are behind"),
            ("unlike", "changed by hand or by other merge rules, and mended"),
            ("trouble", "can't be migrated"),
        ):
            if entry[key]:
                found = entry[key]
                write(f"  {said}: {found if isinstance(found, str) else ', '.join(found)}")
        for part in entry["parts"]:
            write(f"  {part['kind']}: {part['what']}")
            for statement in part["sql"] or ():
                write(f"    {statement};")
    if document["quarantined"]:
        write(f"\nIn quarantine: {', '.join(document['quarantined'])}")
    for concern in document["lint"]:
        write(f"{concern['level']}: {concern['migration']} {concern['text']}")
    if document["waves"]:
        write(f"Waves: {', '.join(map(str, document['waves']))}")
    for name, number in document["unknown_migrations"].items():
        write(f"note: {number} have {name}, which this code doesn't know")


def show_report(command: VerbCommand, document: dict[str, Any]) -> None:
    if "units" not in document:
        command.stdout.write(document["state"])
        return
    kept = [unit for unit in document["units"] if unit["state"] != "done"]
    if kept:
        columns = ("cell", "tenant", "state", "attempts", "seconds", "error")
        command.table(columns, ([unit[name] for name in columns] for unit in kept))
    counts = ", ".join(
        f"{document[name]} {name.replace('_', ' ')}"
        for name in ("migrated", "up_to_date", "failed", "blocked", "skipped", "untouched")
        if document[name]
    )
    command.stdout.write(f"{document['state']}: {counts or 'no tenants'} ({document['seconds']} s)")
    if document["quarantined"]:
        command.stdout.write(f"In quarantine: {', '.join(document['quarantined'])}")


def show_status(command: VerbCommand, document: dict[str, Any]) -> None:
    columns = (
        "began",
        "state",
        "done",
        "failed",
        "blocked",
        "skipped",
        "pending",
        "running",
        "actor",
    )
    command.table(columns, ([each[name] for name in columns] for each in document["runs"]))
    if document["runs"]:
        command.stdout.write(document["runs"][0]["next"])
    if document["units"]:
        shown = ("cell", "tenant", "state", "attempts", "error")
        command.table(shown, ([each[name] for name in shown] for each in document["units"]))
