"""Draws captioned pictures: the training data of the small model.

A scene is a value that can be drawn at any size and put into words; both are pure functions of a
numpy generator, so that data, captions and held-out sets are reproducible from a seed.
"""

from __future__ import annotations

import dataclasses

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
COUNTS = {1: "one", 2: "two", 3: "three"}
TEXTURES = ("plain", "striped", "dotted")
PLAIN_WORDING = "{things} on {a_ground} background"
WORDINGS = (
    PLAIN_WORDING,
    "a picture of {things} on {a_ground} background",
    "a drawing of {things}, {ground} background",
    "{things}, {ground} background",
    "{a_ground} background with {things}",
    "{things} in front of {a_ground} background",
)
STAR_INNER_RADIUS = 0.45
"""Of a star with its points at 1: a little fatter than a pentagram, for sharp points in 32x32."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """`count` equal shapes of one colour on a background of another.

    `positions` are centres and `radius` the shapes' half width, both in parts of the picture's
    side; `angle` in radians; `texture` is drawn into the shapes; `shade` darkens the background
    from top to bottom by that part (0: flat); `wording` is the caption's form, of `WORDINGS`.
    """

    shape: str
    colour: str
    background: str
    count: int
    texture: str
    positions: tuple[tuple[float, float], ...]
    radius: float
    angle: float
    shade: float
    wording: str = PLAIN_WORDING

    @property
    def caption(self) -> str:
        """The scene in words: "two striped red circles on a blue background"."""
        texture = "" if self.texture == "plain" else f"{self.texture} "
        ground = self.background + (" gradient" if self.shade else "")
        things = f"{texture}{self.colour} {self.shape}"
        things = _with_article(things) if self.count == 1 else f"{COUNTS[self.count]} {things}s"
        return self.wording.format(things=things, ground=ground, a_ground=_with_article(ground))


def random_scene(generator: np.random.Generator) -> Scene:
    """A scene drawn from the training distribution: mostly one plain shape on a flat ground."""
    colour, background = generator.choice(list(COLOURS), size=2, replace=False)
    count = int(generator.choice([1, 2, 3], p=[0.86, 0.07, 0.07]))
    texture = str(generator.choice(TEXTURES, p=[0.94, 0.03, 0.03]))
    radius = generator.uniform(*{1: (0.27, 0.33), 2: (0.17, 0.2), 3: (0.125, 0.145)}[count])
    spots = {1: [0.5], 2: [0.27, 0.73], 3: [0.18, 0.5, 0.82]}[count]
    jitter = 0.05 if count == 1 else 0.02
    positions = tuple(
        (float(x + generator.uniform(-jitter, jitter)), float(0.5 + generator.uniform(-0.05, 0.05)))
        for x in spots
    )
    return Scene(
        shape=str(generator.choice(SHAPES)),
        colour=str(colour),
        background=str(background),
        count=count,
        texture=texture,
        positions=positions,
        radius=float(radius),
        angle=float(generator.uniform(-0.1, 0.1)),
        shade=float(generator.uniform(0.25, 0.5)) if generator.random() < 0.05 else 0.0,
        wording=PLAIN_WORDING if generator.random() < 0.5 else str(generator.choice(WORDINGS)),
    )


def draw(scene: Scene, size: int) -> np.ndarray:
    """The picture: uint8 (size, size, 3), with edges one pixel soft."""
    y, x = (np.mgrid[0:size, 0:size].astype(np.float32) + 0.5) / size
    ground = np.array(COLOURS[scene.background], np.float32)
    picture = ground * (1 - scene.shade * y)[..., None]
    for centre_x, centre_y in scene.positions:
        local_x, local_y = _rotate(x - centre_x, y - centre_y, scene.angle)
        distance = signed_distance(scene.shape, local_x / scene.radius, local_y / scene.radius)
        cover = np.clip(0.5 - distance * scene.radius * size, 0, 1)[..., None]
        ink = _ink(scene, local_x, local_y)
        picture = picture * (1 - cover) + ink * cover
    return np.clip(picture, 0, 255).astype(np.uint8)


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _rotate(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = np.cos(angle), np.sin(angle)
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


def _ink(scene: Scene, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The colour of a shape at each pixel: (size, size, 3) or (3,)."""
    ink = np.array(COLOURS[scene.colour], np.float32)
    if scene.texture == "plain":
        return ink
    # towards white on dark inks, towards black on light ones, so that the texture is seen
    other = ink * 0.45 if ink.mean() > 110 else ink * 0.45 + 140
    if scene.texture == "striped":
        mask = np.sin(x * 2 * np.pi / 0.11) > 0.35
    else:
        mask = np.hypot(x % 0.11 - 0.055, y % 0.11 - 0.055) < 0.03
    return np.where(mask[..., None], other, ink)
