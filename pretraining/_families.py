"""Families of shapes and textures drawn by formula: every class is one formula, every picture an instance of it.

Two kinds of classes, each with two functions: what is fixed for a class (`sample_shapes`, `sample_textures`), and
pictures of instances of given classes (`draw_shapes`, `draw_textures`), grey, uint8. In a shape 0 is transparent.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sktl.datasets._fractals import _count, render, sample_systems, vary_systems

# No digits, and of letters that are alike but for mirroring or size, one.
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabefghijmnrtyΓΔΘΛΞΠΣΦΨΩαβγδεζηθλμξπσφψωБДЖИЦЧЩЪЭЮЯ"
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Bold"),
    *("DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic"),
)
SHARES = {"fractals": 0.34, "trees": 0.1, "letters": 0.09, "contours": 0.14, "assemblies": 0.33}
GREY = 48  # of lines and of the darkest parts of a shape
ALL_SHADERS = 0.7  # share of textures that are shaders; the others are noise


def sample_shapes(n_classes, families, rng):
    """Draw the classes of each family, as many as its share says; returns a dict of what `draw_shapes` takes."""
    share = np.array([SHARES[family] for family in families])
    ends = np.round(np.cumsum(share / share.sum()) * n_classes).astype(int)
    counts = np.diff(ends, prepend=0)
    return {family: SHAPES[family][0](n, rng) for family, n in zip(families, counts, strict=True)}


def draw_shapes(classes, n_instances, size, rng):
    """Draw instances of all classes, class by class, as an array of shape (n_classes * n_instances, size, size)."""
    drawn = []
    for family, formulas in classes.items():
        chosen = np.repeat(np.arange(len(formulas)), n_instances)
        for start in range(0, len(chosen), 256):  # bounds the memory
            drawn.append(SHAPES[family][1](formulas, chosen[start : start + 256], size, rng))
    return np.concatenate(drawn)


def _draw_fractals(systems, chosen, size, rng):
    return render(vary_systems(systems[chosen], rng), size, rng)


def _sample_trees(n, rng):
    """Children of a branch (2 or 3), its depth, and for each child: angle, length, bend; the last column is width."""
    low = [(-1.1, 0.5, -0.5)] * 3
    high = [(1.1, 0.85, 0.5)] * 3
    children = rng.uniform(low, high, (n, 3, 3))
    children[:, 0, 0], children[:, 1, 0] = -np.abs(children[:, 0, 0]) - 0.15, np.abs(children[:, 1, 0]) + 0.15
    return [(child, rng.integers(2, 4), rng.uniform(0.0, 0.05)) for child in children]


def _draw_trees(trees, chosen, size, rng):
    """Let branches grow from branches, and count points along them."""
    return np.concatenate([_draw_tree(*trees[k], size, rng) for k in chosen])


def _draw_tree(children, n_children, width, size, rng):
    at, angle, length = np.zeros((1, 2)), np.full(1, np.pi / 2), np.ones(1)
    along, points = np.linspace(0, 1, 16)[:, None], []
    for _ in range(7 if n_children == 2 else 5):
        turn, ratio, bend = children[:n_children].T
        way = angle + np.tile(bend, len(angle) // n_children or 1)[: len(angle)] * along
        step = np.stack([np.cos(way), np.sin(way)], 2) * (length / 16)[:, None]
        path = at + np.cumsum(step, 0)
        points.append((path + rng.normal(0, width, (8, *path.shape)) * length[:, None]).reshape(-1, 2))
        at = np.repeat(path[-1], n_children, 0)
        angle = (way[-1][:, None] + turn + rng.normal(0, 0.12, (len(angle), n_children))).ravel()
        length = (length[:, None] * ratio * rng.uniform(0.85, 1.15, (len(length), n_children))).ravel()
    x, y = np.concatenate(points).T.astype(np.float32)
    return _count(x[:, None, None], -y[:, None, None], size)


def _sample_letters(n, rng):
    if n > len(LETTERS):
        raise ValueError(f"There are {len(LETTERS)} letters. Got a share of {n} classes. Ask for fewer classes.")
    return rng.permutation(list(LETTERS))[:n]


def _draw_letters(letters, chosen, size, rng):
    """Draw letters of several fonts, filled or in outline."""
    from matplotlib import get_data_path

    folder = Path(get_data_path()) / "fonts" / "ttf"
    drawn = np.zeros((len(chosen), size, size), np.uint8)
    for i, k in enumerate(chosen):
        font = ImageFont.truetype(folder / f"{FONTS[rng.integers(len(FONTS))]}.ttf", int(size * rng.uniform(0.7, 0.9)))
        width = int(rng.integers(1, 4))
        layers = []
        for stroke in (0, width):
            image = Image.new("L", (size, size))
            place = {"anchor": "mm", "font": font, "fill": 255, "stroke_width": stroke}
            ImageDraw.Draw(image).text((size / 2, size / 2), str(letters[k]), **place)
            layers.append(np.asarray(image, np.int16))
        style = rng.integers(3)
        drawn[i] = layers[0] if style == 0 else layers[1] if style == 1 else np.maximum(layers[1] - layers[0], 0)
    return drawn


def _grid(n, size, rng, warp):
    """Coordinates from -1 to 1, bent by two waves that are others in each picture."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = np.broadcast_to(line, (n, size, size)), np.broadcast_to(line[:, None], (n, size, size))
    frequency, phase = rng.uniform(0.5, 3.5, (2, n, 1)), rng.uniform(0, 2 * np.pi, (2, n, 1))
    wave = np.sin(frequency * line + phase) * (warp * rng.uniform(0, 1, (2, n, 1)))
    wave = wave.astype(np.float32)
    return x + wave[0][:, :, None], y + wave[1][:, None, :]


def _ink(distance, level, style, width):
    """Grey values of a part: filled, filled with an edge, or the edge alone; where it is not, NaN."""
    inside = distance < 0
    edge = np.abs(distance) < width
    filled = np.where(inside, level, np.nan)
    return np.where(edge & (style > 0), np.where(style == 1, GREY, 255), np.where(style < 2, filled, np.nan))


def _sample_contours(n, rng):
    """Two waves around a circle (how many, how high), the number of rings, the aspect."""
    waves, heights = rng.integers(1, 14, (n, 2)), rng.uniform(0.03, 0.35, (n, 2))
    return np.concatenate([waves, heights, rng.integers(1, 6, (n, 1)), rng.uniform(0.5, 1, (n, 1))], 1)


def _draw_contours(contours, chosen, size, rng):
    """Draw rings whose radius goes up and down around the centre."""
    n = len(chosen)
    first, second, high, higher, rings, aspect = contours[chosen].T.astype(np.float32)[:, :, None, None]
    x, y = _grid(n, size, rng, 0.12)
    angle, distance = np.arctan2(y, x * aspect), np.hypot(y, x * aspect)
    shift, jitter = rng.uniform(0, 2 * np.pi, (n, 1, 1)), rng.uniform(0.8, 1.2, (2, n, 1, 1))
    radius = 1 + jitter[0] * high * np.sin(first * angle) + jitter[1] * higher * np.sin(second * angle + shift)
    radius *= 0.9 / (1 + high + higher)
    style, width = rng.integers(0, 3, (n, 1, 1)), rng.uniform(0.02, 0.07, (n, 1, 1))
    levels = rng.uniform(GREY, 255, (5, n, 1, 1))
    drawn = np.zeros((n, size, size), np.float32)
    for k in range(5):
        ring = _ink(distance - radius * (1 - k / rings), levels[k], style, width)
        drawn = np.where((k < rings) & ~np.isnan(ring), ring, drawn)
    return drawn.astype(np.uint8)


def _sample_assemblies(n, rng):
    """Six parts (or fewer, then of size 0): centre, size, angle, exponent, taper, level; some mirrored from another."""
    low = (-0.55, -0.55, np.log(0.12), np.log(0.12), -np.pi / 2, 0, -0.8, GREY)
    high = (0.55, 0.55, np.log(0.6), np.log(0.6), np.pi / 2, 3, 0.8, 255)
    parts = rng.uniform(low, high, (n, 6, 8))
    parts[:, :, 2:4] = np.exp(parts[:, :, 2:4])
    parts[:, :, 5] = np.array([1, 2, 2, 9])[rng.integers(0, 4, (n, 6))]
    parts[:, :, 6] *= rng.random((n, 6)) < 0.5
    upright = rng.random((n, 6)) < 0.5
    parts[:, :, 4] *= ~upright
    symmetric = rng.random(n) < 0.5
    mirrored = parts[:, 1::2].copy()
    mirrored[:, :, 0] *= -1
    mirrored[:, :, 4] *= -1
    parts[symmetric, 2::2] = mirrored[symmetric][:, :2]
    parts[symmetric, 0, 0], parts[symmetric, 0, 4] = 0, 0
    parts[:, :, 2:4] *= (np.arange(6) < rng.integers(2, 7, (n, 1)))[:, :, None]
    return parts


def _draw_assemblies(assemblies, chosen, size, rng):
    """Put parts over each other: each a box, an ellipse or a diamond, turned and perhaps tapered."""
    n = len(chosen)
    x, y = _grid(n, size, rng, 0.12)
    style, width = rng.integers(0, 3, (n, 1, 1)), rng.uniform(0.02, 0.06, (n, 1, 1))
    jitter = rng.normal(0, (0.04, 0.04, 0.1, 0.1, 0.12, 0, 0.08, 20), (n, 6, 8))
    parts = assemblies[chosen]
    parts[:, :, 2:4] *= np.exp(jitter[:, :, 2:4])
    jitter[:, :, 2:4] = 0
    parts = (parts + jitter).astype(np.float32)
    drawn = np.zeros((n, size, size), np.float32)
    for k in range(6):
        across, down, wide, high, angle, power, taper, level = parts[:, k].T[:, :, None, None]
        cos, sin, here = np.cos(angle), np.sin(angle), wide > 0
        wide, high = np.maximum(wide, 1e-3), np.maximum(high, 1e-3)
        v = np.abs((y - down) * cos - (x - across) * sin) / high
        signed = ((y - down) * cos - (x - across) * sin) / high
        u = np.abs((x - across) * cos + (y - down) * sin) / (wide * np.clip(1 + taper * signed, 0.1, 2))
        u, v = np.minimum(u, 50), np.minimum(v, 50)  # far away, whose ninth power would overflow
        ring = (u**power + v**power) ** (1 / power)
        part = _ink((ring - 1) * np.minimum(wide, high), np.clip(level, GREY, 255), style, width)
        drawn = np.where(here & ~np.isnan(part), part, drawn)
    return drawn.astype(np.uint8)


SHAPES = {
    "fractals": (sample_systems, _draw_fractals),
    "trees": (_sample_trees, _draw_trees),
    "letters": (_sample_letters, _draw_letters),
    "contours": (_sample_contours, _draw_contours),
    "assemblies": (_sample_assemblies, _draw_assemblies),
}


def sample_textures(n_classes, rng):
    """Draw a seed for each class: its program is what that seed makes."""
    return rng.integers(0, 2**31, n_classes)


def draw_textures(classes, n_instances, size, rng):
    """Draw instances of all textures, class by class, as an array of shape (n_classes * n_instances, size, size)."""
    drawn = np.empty((len(classes), n_instances, size, size), np.uint8)
    for k, seed in enumerate(classes):
        if k < ALL_SHADERS * len(classes):
            field = _Shader(np.random.default_rng(seed), rng, n_instances, size).draw()
        else:
            field = _noise(np.random.default_rng(seed), rng, n_instances, size)
        low, high = np.quantile(field.reshape(n_instances, -1)[:, ::7], (0.01, 0.99), axis=1)[:, :, None, None]
        drawn[k] = ((field - low) * (255 / np.maximum(high - low, 1e-6))).clip(0, 255).astype(np.uint8)
    return drawn.reshape(-1, size, size)


def _noise(program, rng, n, size):
    """Noise of spectrum 1/f^β, perhaps stretched, in steps or folded."""
    exponent, stretch, steps, kind = program.uniform((0.6, 1, 2, 0), (2.2, 3.5, 5, 3))
    along_y, along_x = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    angle = rng.uniform(-0.3, 0.3, (n, 1, 1)) + program.uniform(0, np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    frequency = np.hypot((cos * along_x + sin * along_y) * stretch, (cos * along_y - sin * along_x) / stretch)
    frequency[:, 0, 0] = np.inf
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((n, size, size))) * frequency**-exponent, s=(size, size))
    field = (field / field.std((1, 2), keepdims=True)).astype(np.float32)
    return field if kind < 1 else np.floor(field * steps / 2) if kind < 2 else np.abs(field)


class _Shader:
    """A random program of waves, rings, spokes, cells and noise, which are combined, folded and bent by each other."""

    def __init__(self, program, rng, n, size):
        self.program, self.rng, self.n = program, rng, n
        self.x, self.y = _grid(n, size, rng, 0.15)

    def draw(self):
        x, y = self.x, self.y
        for _ in range(self.program.integers(0, 3)):
            strength = self._number(0.05, 0.35)
            x, y = x + strength * self._leaf(x, y), y + strength * self._leaf(x, y)
        field = self._leaf(x, y)
        for _ in range(self.program.integers(0, 3)):
            other, kind = self._leaf(x, y), self.program.integers(5)
            if kind == 0:
                field = field + self._number(0.4, 1.2) * other
            elif kind == 1:
                field = field * other
            elif kind == 2:
                field = np.maximum(field, other)
            elif kind == 3:
                field = np.where(other > 0, field, -field)
            else:
                field = np.sin(self._number(2, 6) * field + other)
        return self._finish(field)

    def _finish(self, field):
        kind = self.program.integers(4)
        if kind == 0:
            return np.tanh(self._number(3, 8) * field)
        if kind == 1:
            return np.abs(field)
        return field

    def _number(self, low, high):
        """Draw a number of the program, up to a tenth greater or smaller in each picture."""
        return (self.program.uniform(low, high) * self.rng.uniform(0.9, 1.1, (self.n, 1, 1))).astype(np.float32)

    def _free(self, low, high):
        """Draw a number that is free in each picture."""
        return self.rng.uniform(low, high, (self.n, 1, 1)).astype(np.float32)

    def _leaf(self, x, y):
        kind = self.program.integers(6)
        if kind == 0:
            angle = np.float32(self.program.uniform(0, np.pi)) + self._free(-0.2, 0.2)
            frequency = np.exp(self._number(1.0, 3.4))
            return np.sin(frequency * (np.cos(angle) * x + np.sin(angle) * y) + self._free(0, 6.3))
        if kind == 1:
            u, v = x - self._free(-1, 1), y - self._free(-1, 1)
            return np.sin(np.exp(self._number(1.2, 3.2)) * np.hypot(u, v) + self._free(0, 6.3))
        if kind == 2:
            u, v = x - self._free(-0.6, 0.6), y - self._free(-0.6, 0.6)
            return np.sin(self.program.integers(2, 9) * np.arctan2(v, u) + self._number(0, 6) * np.hypot(u, v))
        if kind == 3:
            return self._cells(x, y)
        if kind == 4:
            frequency = np.exp(self._number(1.0, 2.8))
            return np.sin(frequency * x + self._free(0, 6.3)) * np.sin(frequency * y + self._free(0, 6.3))
        field = np.zeros_like(x)
        for octave in range(3):
            frequency, angle = np.exp(self._number(1.0, 2.2)) * 2**octave, self._free(0, 6.3)
            wave = np.sin(frequency * (np.cos(angle) * x + np.sin(angle) * y) + self._free(0, 6.3))
            field += 0.6**octave * wave * np.sin(frequency * (np.cos(angle) * y - np.sin(angle) * x))
        return field

    def _cells(self, x, y):
        """Distance to the nearest of a jittered lattice of points, or how much farther the second is."""
        frequency, second = self._number(2, 7), self.program.random() < 0.5
        u, v = x * frequency + self._free(0, 9), y * frequency + self._free(0, 9)
        column, row = np.floor(u), np.floor(v)
        seed = self._free(1, 2)
        nearest = np.full(x.shape, 9, np.float32)
        next_one = nearest.copy()
        for i in (-1, 0, 1):
            for j in (-1, 0, 1):
                a, b = column + i, row + j
                noise = np.sin(a * 12.9898 * seed + b * 78.233) * 43758.5453
                noise -= np.floor(noise)
                distance = np.hypot(u - a - noise, v - b - np.float32(1) + noise)
                next_one = np.minimum(next_one, np.maximum(nearest, distance))
                nearest = np.minimum(nearest, distance)
        return next_one - nearest if second else nearest
