"""The shape that every operator command has: verbs, `--json`, one-line errors, exit statuses.

0 done · 1 refused or failed, with one line on standard error · 2 bad usage (argparse).
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any, ClassVar, cast

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DjangoDatabaseError

from regions.errors import RegionsError

Add = Callable[[ArgumentParser], None]
# Django gives these to every command; a verb takes its own options only.
_OF_EVERY_COMMAND = frozenset(
    {"verbosity", "settings", "pythonpath", "traceback", "no_color", "force_color", "skip_checks"}
)


class PlatformCommand(BaseCommand):
    """`manage.py NOUN …`: `add(parser)`, `do(**options)` and `show(document)`.

    `do` returns the document for `--json`; `show` prints it for people. Errors of the platform end
    the command with their message and status 1; so does `refusal`, after the document was printed.
    """

    platform_errors: ClassVar[tuple[type[Exception], ...]] = (
        RegionsError,
        psycopg.Error,
        DjangoDatabaseError,
        OSError,
    )
    requires_system_checks = ()
    refusal: str | None = None

    def add_arguments(self, parser: CommandParser) -> None:
        self.add(parser)
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def add(self, parser: ArgumentParser) -> None:
        """The command's own options."""

    def do(self, **options: Any) -> Any:
        raise NotImplementedError

    def show(self, document: Any) -> None:
        self._print(document)

    def handle(self, *args: Any, json: bool, **options: Any) -> None:
        self._carry_out(self.do, self.show, as_json=json, options=options)

    def _carry_out(
        self,
        do: Callable[..., Any],
        show: Callable[[Any], None],
        *,
        as_json: bool,
        options: Mapping[str, Any],
    ) -> None:
        self.as_json = as_json
        own = {name: value for name, value in options.items() if name not in _OF_EVERY_COMMAND}
        try:
            document = do(**own)
        except self.platform_errors as error:
            raise CommandError(one_line(error)) from error
        if as_json:
            self._print(document)
        else:
            show(document)
        if self.refusal:
            raise CommandError(self.refusal)

    def _print(self, document: Any) -> None:
        """For people in lines; a program reads one line as well, and it is written much faster."""
        indent = 2 if self.stdout.isatty() else None
        self.stdout.write(json.dumps(document, indent=indent, default=str))

    def progress(self, message: str) -> None:
        """Say what is being done, on standard error: standard output stays for the result."""
        self.stderr.write(self.style.NOTICE(message))

    def table(self, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
        """Print a table; nothing is cut short where the output is not a terminal."""
        # A tenth of a second, for commands that print no table.
        from rich.console import Console
        from rich.table import Table

        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*("—" if value is None else str(value) for value in row))
        width = None if self.stdout.isatty() else 200
        Console(file=cast(IO[str], self.stdout), width=width).print(table)


class VerbCommand(PlatformCommand):
    """`manage.py NOUN VERB …`: a verb is a pair of methods, `add_VERB(parser)` and `do_VERB`, with
    `show_VERB(document)` to print for people what `do_VERB` returned. A dash is `_` there."""

    verbs: ClassVar[Mapping[str, str]] = {}

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        for verb, help_text in self.verbs.items():
            sub = subparsers.add_parser(verb, help=help_text, description=help_text)
            getattr(self, f"add_{_method(verb)}", lambda _: None)(sub)
            sub.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, json: bool, **options: Any) -> None:
        verb = _method(options.pop("verb"))
        do, show = getattr(self, f"do_{verb}"), getattr(self, f"show_{verb}", self.show)
        self._carry_out(do, show, as_json=json, options=options)


def _method(verb: str) -> str:
    return verb.replace("-", "_")


def one_line(error: BaseException) -> str:
    """The error's first line; PostgreSQL's messages go on with details that stay in the log."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
