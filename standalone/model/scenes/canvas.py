"""What all scenes are drawn with: the palette, the outlines of the shapes and a canvas.

Lengths and places are in parts of the picture's side, x to the right and y downwards, so that a
scene can be drawn at any size. Outlines are one pixel soft: what is thinner than a pixel gets
fainter rather than jagged, as in a photograph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 39, 40),
    "green": (34, 139, 58),
    "blue": (38, 80, 214),
    "yellow": (246, 214, 40),
    "purple": (140, 54, 168),
    "orange": (246, 132, 28),
    "black": (24, 24, 26),
    "white": (244, 244, 242),
}
SHAPES = ("circle", "square", "triangle", "star")
STAR_INNER_RADIUS = 0.45
"""Of a star with its points at 1: a little fatter than a pentagram, for sharp points in 32x32."""

Point = tuple[float, float]
Ink = np.ndarray | Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A colour (3,), or what gives a colour (rows, columns, 3) for places x and y."""


class Canvas:
    """A picture in the making: `values`, float32 (size, size, 3), RGB from 0 to 255."""

    def __init__(self, size: int, ground: np.ndarray):
        """`ground` is one colour (3,) or one for each pixel (size, size, 3)."""
        self.size = size
        self.values = np.empty((size, size, 3), np.float32)
        self.values[:] = ground

    def coordinates(self, where: tuple[slice, slice] | None = None) -> tuple[np.ndarray, ...]:
        """The pixels' centres, x (1, columns) and y (rows, 1), of a window or of all."""
        centres = (np.arange(self.size, dtype=np.float32) + 0.5) / self.size
        rows, columns = where or (slice(None), slice(None))
        return centres[None, columns], centres[rows, None]

    def window(self, low: Point, high: Point) -> tuple[slice, slice]:
        """Rows and columns that hold the box between two corners and two pixels around it."""
        (left, top), (right, bottom) = low, high
        first = [max(int(edge * self.size) - 2, 0) for edge in (top, left)]
        last = [max(int(edge * self.size) + 3, 0) for edge in (bottom, right)]
        return slice(first[0], last[0]), slice(first[1], last[1])

    def paint(
        self, ink: np.ndarray, cover: np.ndarray, where: tuple[slice, slice] | None = None
    ) -> None:
        """Lay ink, (3,) or (rows, columns, 3), over a window; cover (rows, columns) is 0 to 1."""
        part = self.values[where or (slice(None), slice(None))]
        part += (ink - part) * cover[..., None]

    def cover(self, distance: np.ndarray, blur: float = 0.0) -> np.ndarray:
        """How much of each pixel lies inside, from the signed distance to an outline.

        With `blur` the edge is that wide, as of things out of focus.
        """
        return np.clip(0.5 - distance / max(blur, 1 / self.size), 0, 1)

    def line_cover(self, distance: np.ndarray, width: float) -> np.ndarray:
        """As `cover`, for a line of some width, from the distance to its middle.

        The part of the pixel that the line crosses, so a hair of 1/4 pixel is 1/4 as dark.
        """
        return self.cover(distance - width / 2) - self.cover(distance + width / 2)

    def shape(self, name: str, centre: Point, radius: float, angle: float, ink: Ink) -> None:
        """Draw one of `SHAPES` with that half width, turned by an angle in radians.

        Ink that varies is given the place from the shape's centre, in the shape's turned frame.
        """
        reach = 1.4 * radius
        low, high = (centre[0] - reach, centre[1] - reach), (centre[0] + reach, centre[1] + reach)
        where = self.window(low, high)
        x, y = self.coordinates(where)
        x, y = rotate(x - centre[0], y - centre[1], angle)
        distance = signed_distance(name, x / radius, y / radius) * radius
        self.paint(ink(x, y) if callable(ink) else ink, self.cover(distance), where)

    def ellipse(self, centre: Point, radii: Point, ink: np.ndarray, blur: float = 0.0) -> None:
        """Draw an upright ellipse; `radii` are its half width and half height."""
        reach = (radii[0] + blur, radii[1] + blur)
        low = centre[0] - reach[0], centre[1] - reach[1]
        where = self.window(low, (centre[0] + reach[0], centre[1] + reach[1]))
        x, y = self.coordinates(where)
        unit = np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1])
        self.paint(ink, self.cover((unit - 1) * min(radii), blur), where)

    def strokes(self, lines: Iterable[Sequence[Point]], width: float, ink: np.ndarray) -> None:
        """Draw lines through points, with round ends, as one layer: crossings are not darker."""
        layer = np.zeros((self.size, self.size), np.float32)
        margin = width / 2
        for points in lines:
            for (from_x, from_y), (to_x, to_y) in zip(points, points[1:]):
                low = min(from_x, to_x) - margin, min(from_y, to_y) - margin
                high = max(from_x, to_x) + margin, max(from_y, to_y) + margin
                where = self.window(low, high)
                x, y = self.coordinates(where)
                x, y, step_x, step_y = x - from_x, y - from_y, to_x - from_x, to_y - from_y
                along = (x * step_x + y * step_y) / max(step_x**2 + step_y**2, 1e-12)
                along = np.clip(along, 0, 1)
                distance = np.hypot(x - along * step_x, y - along * step_y)
                np.maximum(layer[where], self.line_cover(distance, width), out=layer[where])
        self.paint(ink, layer)


def colour_of(name: str) -> np.ndarray:
    """A colour of the palette, float32 (3,)."""
    return np.array(COLOURS[name], np.float32)


def is_dark(name: str) -> bool:
    """Whether white is seen better on a colour than black."""
    return bool(np.dot(COLOURS[name], (0.299, 0.587, 0.114)) < 110)


def rotate(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in a frame that is turned by an angle in radians."""
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


def signed_distance(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance (about) to the outline of a shape of half width 1; negative inside."""
    if shape == "circle":
        return np.hypot(x, y) - 1
    if shape == "square":
        return np.maximum(abs(x), abs(y)) - 0.88
    if shape == "star":
        return _star_distance(x, y)
    # a triangle, as three half planes: a flat bottom and two slopes that meet at the top
    slope = (2 * abs(x) - y - 1.0) / np.sqrt(5)
    return np.maximum(slope, y - 0.85)


def _star_distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """As `signed_distance`, for five points: folded to half a point, whose side is straight."""
    part = 2 * np.pi / 5
    angle = abs((np.arctan2(x, -y) + part / 2) % part - part / 2)
    inner = STAR_INNER_RADIUS * np.array([np.cos(part / 2), np.sin(part / 2)])
    side = inner - (1.0, 0.0)
    normal = np.array([side[1], -side[0]]) / np.hypot(*side)
    radius = np.hypot(x, y)
    return (radius * np.cos(angle) - 1) * normal[0] + radius * np.sin(angle) * normal[1]
