"""Which leases a region holds: it keeps those that it has, and tries for those that are open.

Two loops, so that nothing keeps a renewal waiting: one does nothing but renew; the other looks at
every cell, decides, acts and says why. What is renewed has a database here that answers, so that a
region whose PostgreSQL is lost loses its leases with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any

import psycopg

from regions.errors import RegionsError
from regions.failover.decide import Action, Decision, Sight, decide, unsettled
from regions.failover.journal import Request
from regions.failover.lease import Held, Leases, View
from regions.failover.lease_map import LeaseMap
from regions.failover.link import Unreachable
from regions.failover.promoting import Promotions
from regions.failover.resting import Rests
from regions.failover.rounds import Rounds
from regions.failover.surroundings import Log, Surroundings
from regions.failover.turns import Turns, utc_now
from regions.failover.wishes import Wishes
from regions.topology import CellSpec

TICK_SECONDS = 0.2
KEEP_SECONDS = 0.05  # how often the keeper looks whether a renewal is due
PATIENCE_SECONDS = 10.0  # after a hand-over of its own accord that failed
SHAKY_SECONDS = 30.0  # so long others have the first try, after the database here took no writes


class Leader:
    """One region's part in the leases of all its cells. Runs until cancelled."""

    def __init__(
        self,
        region: str,
        leases: Leases,
        around: Surroundings,
        journal: Log,
        lease_map: LeaseMap,
        *,
        ttl: float,
        chance: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = utc_now,
    ) -> None:
        self.held: dict[str, Held] = {}
        self._region = region
        self._leases = leases
        self._rounds = Rounds(leases)
        self._around = around
        self._journal = journal
        self._map = lease_map
        self._ttl = ttl
        self._clock = clock
        self._wall = wall
        self._turns = Turns(journal.say, wall)
        self._wishes = Wishes(region, journal)
        self._trip = 0.0
        self.views: Mapping[str, View] = {}
        self._held_then: set[str] = set()
        self._patient_until: dict[str, float] = {}
        self._open_since: dict[str, float] = {}
        self._rests = Rests(clock, chance)
        self._stumbled_at: dict[str, float] = {}
        self._handing_over: set[str] = set()
        self._promotions = Promotions(region, around, journal, clock)
        self._background: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        await asyncio.gather(self._keep_forever(), self._lead_forever())

    async def _keep_forever(self) -> None:
        while True:
            await self._keep()
            await asyncio.sleep(KEEP_SECONDS)

    async def _keep(self) -> None:
        """When a third of the time to live has passed of any lease, renew all: in one round."""
        before = self._clock() - self._ttl / 3
        old = [lease for lease in self.held.values() if lease.asked <= before]
        if not any(map(self._may_renew, old)):
            return
        due = [lease for lease in self.held.values() if self._may_renew(lease)]
        try:
            server_clock = await self._around.server_clock()
            renewed = await self._rounds.renew(due)
        except (Unreachable, psycopg.Error) as error:
            self._journal.say("agent", f"Not renewed: PostgreSQL here does not answer: {error}")
            for lease in due:
                self._stumbled_at[lease.cell] = self._clock()
            return
        until = {end: server_clock(end) for end in {lease.until for lease in renewed.values()}}
        for lease in due:
            name = lease.cell
            # It may have been lost, or handed over, while the acceptors were asked.
            if name in renewed and self.held.get(name) is lease:
                self.held[name] = renewed[name]
                replica = self._around.replica(name)
                if replica and not self._promotions.under_way(renewed[name]):
                    opened = replica.open_gate(lease.epoch, until[renewed[name].until])
                    self._spawn(self._journal.attempt(name, opened))

    def _may_renew(self, lease: Held) -> bool:
        replica = self._around.replica(lease.cell)
        return replica is not None and replica.writable and not replica.handing_over

    def _drop_ended(self) -> None:
        """Forget leases that have ended by this process' clock; their gates ended before."""
        now = self._clock()
        for name in [name for name, lease in self.held.items() if lease.until <= now]:
            del self.held[name]
            self._journal.say(
                name, f"{self._region} lost the lease on {name}: it was not renewed in time."
            )

    async def _lead_forever(self) -> None:
        while True:
            started = self._clock()
            try:
                await self._lead()
            except (Unreachable, psycopg.Error) as error:
                self._journal.say("agent", f"This region's PostgreSQL does not answer: {error}")
            self._drop_ended()
            await asyncio.sleep(max(0.02, TICK_SECONDS - (self._clock() - started)))

    async def _lead(self) -> None:
        """One turn: look at every leased cell, decide, act."""
        leased = list(self._around.leased())
        await self._let_go({spec.name for spec in leased})
        requests = await self._wishes.look()
        asked = self._clock()
        views = await self._leases.observe([spec.name for spec in leased])
        self._trip = self._clock() - asked
        self._drop_ended()
        if requests:
            self._spawn(self._wishes.refuse(views, set(self.held), set(self._handing_over)))
        if views is not self.views or self.held.keys() != self._held_then:
            self._remember(views)
        acquire: list[CellSpec] = []
        for spec in unsettled(
            leased,
            held=self.held,
            writable=self._writable,
            vacant=lambda name: views[name].open,
            asked=requests,
            cut_off=self._region not in self._around.reached,
        ):
            sight = self._sight(spec, views[spec.name], requests)
            decision = decide(sight)
            if decision.action not in (Action.WAIT, Action.HOLD):
                self._spawn(self._journal.event(spec.name, decision))
            match decision.action:
                case Action.ACQUIRE:
                    acquire.append(spec)
                case Action.STEP_DOWN:
                    self.held.pop(spec.name, None)
                    self._stumbled_at[spec.name] = self._clock()
                case Action.HAND_OVER if spec.name not in self._handing_over:
                    request = requests[spec.name] if sight.hand_over_to else None
                    self._spawn(self._hand_over(spec.name, decision.target or "", request))
        await self._acquire(acquire, views, requests)
        self._map.publish()

    def _remember(self, views: Mapping[str, View]) -> None:
        """What the acceptors say now and did not say at the last turn."""
        self.views, self._held_then = views, set(self.held)
        self._map.remember(views, self._leases.majority, self.held)
        for name, view in views.items():
            if view.answered >= self._leases.majority:
                self._promotions.saw(name, view.holder)
            if not view.open:
                self._open_since.pop(name, None)
                self._rests.over(name)

    async def _let_go(self, leased: set[str]) -> None:
        """Of what every region writes from now on."""
        for name in [name for name in self.held if name not in leased]:
            lease = self.held.pop(name)
            await self._leases.release(lease, successor=None, reserved=0)

    async def _acquire(
        self, cells: list[CellSpec], views: Mapping[str, View], requests: Mapping[str, Request]
    ) -> None:
        asked = self._clock()
        won = await self._leases.acquire([spec.name for spec in cells])
        now = self._clock()
        for spec in cells:
            name = spec.name
            if name in won:
                self._rests.over(name)
                self.held[name] = won[name]
                if spec.timetable and views[name].last != self._region:
                    self._map.gains(name, spec.timetable, self._wall())
                self._map.writes(name, self._region, won[name].epoch)
                # Who was asked for by name takes over whatever others have.
                taken = self._wishes.to_take(requests.get(name))
                chosen = taken is not None or views[name].successor == self._region
                before = None if chosen else self._promotions.before(name, views[name].last)
                self._spawn(self._promote(name, won[name], before))
                await self._wishes.end(taken, "done")
            else:
                self._rests.failed(name, now - asked)

    async def _promote(self, name: str, lease: Held, before: str | None) -> None:
        """Open the gate, or leave the cell to a region that has more of what `before` wrote."""

        def held() -> Held | None:
            now = self.held.get(name)
            return now if now is not None and now.epoch == lease.epoch else None

        better = await self._promotions.promote(lease, before, held)
        if better is None or held() is None:
            return
        del self.held[name]
        pause = self._rests.leave(name, self._trip)
        await self._leases.release(lease, successor=better, reserved=pause)

    async def _hand_over(self, name: str, target: str, request: Request | None) -> None:
        async def renew() -> bool:
            lease = self.held.get(name)
            renewed = await self._rounds.renew([lease] if lease else [])
            if name in renewed:
                self.held[name] = renewed[name]
            return name in renewed

        held = self.held.get(name)
        if held is None:
            return
        self._handing_over.add(name)
        try:
            if request is not None and not await self._wishes.begin(request):
                return
            forced = request is not None and request.forced
            await self._around.hand_over(held, target, renew, forced=forced)
            self._rests.hand_over(name, self._trip)
            self.held.pop(name, None)
            outcome = "done"
        except (RegionsError, psycopg.Error) as error:
            outcome = f"{error} {self._region} goes on writing."
            self._patient_until[name] = self._clock() + PATIENCE_SECONDS
        finally:
            self._handing_over.discard(name)
        await self._wishes.end(request, outcome)
        await self._journal.event(name, Decision(Action.HAND_OVER, f"To {target}: {outcome}"))

    def _writable(self, cell: str) -> bool:
        replica = self._around.replica(cell)
        return replica is not None and replica.writable

    def _sight(self, spec: CellSpec, view: View, requests: Mapping[str, Request]) -> Sight:
        now, name = self._clock(), spec.name
        stumbled = self._stumbled_at.get(name, float("-inf"))
        shaky = now - stumbled < SHAKY_SECONDS
        # Its own lease is open to a region before it ends: one that is shaky lets it end first.
        if view.open and not (shaky and view.holder == self._region):
            self._open_since.setdefault(name, now)
        else:
            self._open_since.pop(name, None)
            self._rests.over(name)
        since = self._open_since.get(name)
        asked = requests.get(name)
        return Sight(
            cell=spec,
            region=self._region,
            writable=self._writable(name),
            held=name in self.held,
            holder=view.holder,
            open_for=None if since is None else now - max(since, stumbled),
            trip=self._trip,
            resting=self._rests.left(name, chosen=view.successor == self._region),
            quorum=view.answered >= self._leases.majority,
            successor=view.successor,
            turn=self._turns.of(spec),
            gained=self._map.gained(name, spec.timetable),
            aside=view.aside,
            reached=self._around.reached,
            shaky=shaky,
            patient=now < self._patient_until.get(name, now),
            hand_over_to=self._wishes.to_hand_over(asked, view),
            asked_to_take=self._wishes.to_take(asked) is not None,
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
