"""Breaks the fleet by a schedule, and mends it, with the fleet's own switches; and the etcd cluster
that grants its leases, if one does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from xmlrpc.client import Fault as Refused

from infra.errors import FleetError
from infra.fleet import faults as fleet
from infra.fleet.plan import Plan
from infra.wan.conditions import HEALTHY, Condition, LinkState
from tests.etcd import Cluster
from tests.faults.leased.schedule import LINKS, MEMBERS, Fault

Work = Callable[[], None]


class Nemesis(threading.Thread):
    """Works off the schedule; `mend_all` leaves nothing broken. `failures` are of its own."""

    def __init__(
        self, plan: Plan, schedule: Sequence[Fault], began: float, etcd: Cluster | None = None
    ) -> None:
        super().__init__(daemon=True)
        self.failures: list[str] = []
        self._plan = plan
        self._etcd = etcd
        self._began = began
        self._regions = [region.name for region in plan.regions]
        steps: list[tuple[float, Fault, bool]] = []
        for fault in schedule:
            steps += [(fault.at, fault, True), (fault.at + fault.seconds, fault, False)]
        self._steps = sorted(steps, key=lambda step: step[0])
        self._mending: list[threading.Thread] = []

    def run(self) -> None:
        for at, fault, breaks in self._steps:
            time.sleep(max(0.0, self._began + at - time.monotonic()))
            work = partial(self._break if breaks else self._mend, fault)
            if breaks or fault.kind in (*LINKS, *MEMBERS):
                self._try(fault, work)
            else:
                # A region takes seconds to come back: other things go wrong meanwhile.
                thread = threading.Thread(target=self._try, args=(fault, work), daemon=True)
                thread.start()
                self._mending.append(thread)
        for thread in self._mending:
            thread.join()

    def mend_all(self) -> None:
        if self._etcd:
            self._etcd.mend()
        fleet.heal_all(self._plan, lambda _: None)

    def _try(self, fault: Fault, work: Work) -> None:
        try:
            work()
        except (FleetError, Refused, OSError) as error:
            # Another fault got there first.
            self.failures.append(f"{fault}: {error}")

    def _break(self, fault: Fault) -> None:
        how, _, what = fault.kind.partition(" ")
        match fault.kind:
            case "kill region" | "freeze region":
                fleet.break_region(self._plan, fault.region, how)
            case _ if fault.kind in LINKS:
                self._condition(fault, _CONDITIONS[fault.kind](fault))
            case "kill member" | "lose majority":
                self._members.kill(*self._lost(fault))
            case "freeze member":
                self._members.freeze(fault.region)
            case _:
                verb = "kill" if how == "crash" else how
                fleet.break_process(self._plan, f"{fault.region}:{what}", verb)

    def _mend(self, fault: Fault) -> None:
        how, _, what = fault.kind.partition(" ")
        match fault.kind:
            case "kill region" | "freeze region":
                fleet.heal_region(self._plan, fault.region, lambda _: None)
            case _ if fault.kind in LINKS:
                self._condition(fault, HEALTHY)
            case "kill member" | "lose majority":
                self._members.start(*self._lost(fault))
            case "freeze member":
                self._members.thaw(fault.region)
            case _ if how == "freeze":
                fleet.heal_process(self._plan, f"{fault.region}:{what}")

    @property
    def _members(self) -> Cluster:
        assert self._etcd is not None, "this fleet's leases are not in etcd"
        return self._etcd

    def _lost(self, fault: Fault) -> list[str]:
        alone = fault.kind == "kill member"
        return [name for name in self._members.members if (name == fault.region) is alone]

    def _condition(self, fault: Fault, condition: Condition) -> None:
        peers = [fault.peer]
        if fault.kind == "isolate":
            peers = [region for region in self._regions if region != fault.region]
        for peer in peers:
            one_way = fault.kind == "one way"
            fleet.break_link(self._plan, fault.region, peer, condition, one_way=one_way)


_CONDITIONS: dict[str, Callable[[Fault], Condition]] = {
    "isolate": lambda _: Condition(LinkState.BLACK_HOLE),
    "cut": lambda _: Condition(LinkState.CUT),
    "one way": lambda _: Condition(LinkState.BLACK_HOLE),
    "delay": lambda fault: Condition(latency_ms=fault.ms, jitter_ms=fault.ms / 4),
}
