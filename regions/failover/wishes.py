"""What operators ask one region's agent for: of each cell the newest counts.

Guarantees that who wanted something else is told so at once, with who was faster and since when,
and that what was told to have failed is not done later.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from regions.failover.aside import worked_on
from regions.failover.journal import Request
from regions.failover.lease import View
from regions.failover.surroundings import Log
from regions.failover.turns import clock

OVERTAKEN = "Somebody else was faster: "  # how an outcome begins that no other try would better


class Wishes:
    """One region's, of all its cells."""

    def __init__(self, region: str, journal: Log) -> None:
        self._region = region
        self._journal = journal
        self._open: list[Request] = []
        self._done: dict[str, Request] = {}

    async def look(self) -> dict[str, Request]:
        """The newest of each cell. May raise Unreachable."""
        self._open = await self._journal.requests()
        return {request.cell: request for request in self._open}

    def to_take(self, request: Request | None) -> Request | None:
        """It, if it asks this region to take the lease once nobody has it."""
        here = request and (request.kind, request.target) == ("take", self._region)
        return request if here else None

    def to_hand_over(self, request: Request | None, view: View) -> str | None:
        """Whom the cell is to be handed over to; nobody who is being worked on, unless forced."""
        if request is None or request.kind != "hand_over":
            return None
        return request.target if request.forced or request.target not in view.aside else None

    async def begin(self, request: Request) -> bool:
        """False: nobody wants it any more. May raise Unreachable."""
        return await self._journal.begin(request)

    async def end(self, request: Request | None, outcome: str) -> None:
        if request is None:
            return
        if outcome == "done":
            self._done[request.cell] = request
        await self._journal.settle(request, outcome)

    async def refuse(
        self, views: Mapping[str, View], held: Collection[str], under_way: Collection[str]
    ) -> None:
        """Tell those whose wish has come true already, or won't here. What is wanted of cells that
        are `under_way`, being handed over, is looked at when that has ended."""
        newest = {request.cell: request for request in self._open}
        for wish in {request.wish: request for request in self._open}.values():
            if wish.cell in under_way:
                continue
            view = views.get(wish.cell)
            reason = self._against(wish, newest[wish.cell], view, here=wish.cell in held)
            if reason is not None:
                await self._journal.settle(wish, reason)

    def _against(
        self, wish: Request, newest: Request, view: View | None, *, here: bool
    ) -> str | None:
        if view is None:
            return f"{OVERTAKEN}every region writes {wish.cell} now."
        if wish.wish != newest.wish:
            return (
                f"{OVERTAKEN}{newest.by or 'an operator'} has asked for {newest.target} since"
                f" {clock(newest.at)}."
            )
        if wish.target == (self._region if here else view.holder):
            return "done"
        if wish.kind == "hand_over" and not here and view.holder not in (None, self._region):
            return f"{OVERTAKEN}{view.holder} writes {wish.cell} now{self._who(wish, view.holder)}."
        if wish.target in view.aside and not wish.forced:
            return worked_on(wish.target)
        return None

    def _who(self, wish: Request, holder: str | None) -> str:
        done = self._done.get(wish.cell)
        if done is None or done.target != holder:
            return ""
        return f", as {done.by or 'an operator'} asked at {clock(done.at)}"
