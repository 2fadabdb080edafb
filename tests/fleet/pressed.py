"""Does what the console's button does, and its worker then: `python -m tests.fleet.pressed VERB
SUBJECT ARGUMENTS`, with the arguments in JSON. Prints the operation's state and error."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from uuid import uuid4

import django

REPOSITORY = Path(__file__).parents[2]


def main(verb: str, subject: str, arguments: str) -> None:
    sys.path.insert(1, str(REPOSITORY / "platform"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from console.operations.queue import TASKS
    from tenants.databases import control_writer_alias
    from tenants.models import Operation

    made = Operation.objects.using(control_writer_alias()).create(
        id=uuid4(), verb=verb, slug=subject, arguments=json.loads(arguments), actor="console"
    )
    TASKS[verb](str(made.id))
    ended = Operation.objects.using(control_writer_alias()).get(id=made.id)
    json.dump({"state": ended.state, "error": ended.error}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
