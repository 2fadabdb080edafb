"""Where the boxes and lines of the map go. Pure: numbers and words in, numbers and words out.

One column a jurisdiction, because that border decides what may cross; a line joins two regions
that replicate at least one cell with each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

NODE_WIDTH, NODE_HEIGHT = 232, 104
COLUMN_GAP, ROW_GAP = 168, 76
FRAME, TITLE = 24, 26


@dataclass(frozen=True, slots=True)
class Place:
    """What the diagram must know of a region."""

    name: str
    country: str
    jurisdiction: str
    state: str
    writes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    place: Place
    x: float
    y: float

    @property
    def centre(self) -> float:
        return self.y + NODE_HEIGHT / 2

    @property
    def middle(self) -> float:
        return self.x + NODE_WIDTH / 2


@dataclass(frozen=True, slots=True)
class Frame:
    """The border of a jurisdiction."""

    jurisdiction: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    """Two regions and the cells that both have. `broken` when one of them is down."""

    a: str
    b: str
    cells: tuple[str, ...]
    broken: bool
    path: str
    label_x: float
    label_y: float

    @property
    def label(self) -> str:
        count = f"{len(self.cells)} cell{'s' if len(self.cells) != 1 else ''}"
        return f"{count}, cut" if self.broken else count

    @property
    def label_width(self) -> int:
        return 7 * len(self.label) + 18

    @property
    def half_width(self) -> float:
        return self.label_width / 2


@dataclass(frozen=True, slots=True)
class Diagram:
    width: float
    height: float
    frames: tuple[Frame, ...]
    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]

    @property
    def description(self) -> str:
        """The whole picture in sentences, for those who don't see it."""
        regions = [
            f"{node.place.name} ({node.place.country}, {node.place.jurisdiction}) is "
            f"{node.place.state} and writes {', '.join(node.place.writes) or 'nothing'}."
            for node in self.nodes
        ]
        lines = [
            f"{line.a} and {line.b} share {', '.join(line.cells)}"
            f"{'; one of them is down' if line.broken else ''}."
            for line in self.lines
        ]
        return " ".join([*regions, *lines])


def draw(places: Sequence[Place], cells: Mapping[str, Sequence[str]]) -> Diagram:
    """Lay out the regions; `cells` maps each cell to the regions that have a replica of it."""
    columns: dict[str, list[Place]] = {}
    for place in places:
        columns.setdefault(place.jurisdiction, []).append(place)
    tallest = max((len(column) for column in columns.values()), default=0)
    height = _column_height(tallest)
    nodes: list[Node] = []
    frames: list[Frame] = []
    x = 1.0
    for jurisdiction, column in columns.items():
        width = NODE_WIDTH + 2 * FRAME
        top = (height - _column_height(len(column))) / 2 + 1
        frames.append(Frame(jurisdiction, x, top, width, _column_height(len(column))))
        for row, place in enumerate(column):
            y = top + TITLE + FRAME / 2 + row * (NODE_HEIGHT + ROW_GAP)
            nodes.append(Node(place, x + FRAME, y))
        x += width + COLUMN_GAP
    return Diagram(
        width=max(x - COLUMN_GAP, 0) + 1,
        height=height + 2,
        frames=tuple(frames),
        nodes=tuple(nodes),
        lines=tuple(_lines(nodes, cells)),
    )


def _column_height(count: int) -> float:
    return TITLE + 1.5 * FRAME + count * NODE_HEIGHT + max(count - 1, 0) * ROW_GAP


def _lines(nodes: Sequence[Node], cells: Mapping[str, Sequence[str]]) -> Iterable[Line]:
    for a, b in combinations(nodes, 2):
        shared = tuple(
            cell
            for cell, regions in cells.items()
            if a.place.name in regions and b.place.name in regions
        )
        if shared:
            path, label_x, label_y = _curve(a, b)
            broken = "down" in (a.place.state, b.place.state)
            yield Line(a.place.name, b.place.name, shared, broken, path, label_x, label_y)


def _curve(a: Node, b: Node) -> tuple[str, float, float]:
    """A line from box to box: straight down inside a column, an S between columns."""
    if a.x == b.x:
        start, end = a.y + NODE_HEIGHT, b.y
        return f"M{a.middle} {start} L{a.middle} {end}", a.middle, (start + end) / 2
    start_x, end_x = a.x + NODE_WIDTH, b.x
    half = (start_x + end_x) / 2
    path = f"M{start_x} {a.centre} C{half} {a.centre} {half} {b.centre} {end_x} {b.centre}"
    return path, half, (a.centre + b.centre) / 2
