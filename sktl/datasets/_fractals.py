"""Pictures of fractals drawn by formula: iterated function systems, a chaos game in numpy, and how they are painted.

Three steps, each a function, so that a pre-training can keep the result of the first two and repeat the third:
`sample_systems` draws formulas, `render` draws their grey pictures, `paint` turns those into varied colour pictures.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state

from sktl._validation import Interval, validate_params

if TYPE_CHECKING:
    from numpy.random import RandomState


__all__ = ["make_fractals", "make_noise", "paint", "render", "sample_systems", "vary_systems"]

N_MAPS = 4  # at most; a system of fewer maps has zero probabilities at the end
BURN_IN = 16
N_WALKERS = 256
LARGEST_SINGULAR_VALUE = 0.98
FILLED = (0.06, 0.6)  # share of cells of a coarse grid that a fractal worth keeping touches


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_classes": [Interval(Integral, 1, None, closed="left")],
        "image_size": [Interval(Integral, 8, None, closed="left")],
        "difficulty": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_fractals(
    n_samples: int = 100,
    *,
    n_classes: int = 2,
    image_size: int = 48,
    difficulty: float = 0.5,
    random_state: int | RandomState | None = None,
) -> Any:
    """Draw a data set of fractals, each class one formula.

    A class is an iterated function system of two to four affine maps, their singular values drawn as in [1]_. Its
    pictures differ in small changes of the formula, in rotation, scale, shift and mirroring, and, the more so the
    greater `difficulty`, in colour, background, blur and contrast. Pictures of this kind are what the embedded
    network was pretrained on [2]_; the classes are others.

    Parameters
    ----------
    n_samples : int, default=100
        Number of pictures.
    n_classes : int, default=2
        Number of classes. They are as equal in size as `n_samples` allows.
    image_size : int, default=48
        Height and width of a picture in pixels, at least 8.
    difficulty : float, default=0.5
        Share of pictures in changing colours on a cluttered background; the others are bright grey on dark. From 0
        to 1.
    random_state : int, RandomState instance or None, default=None
        Determines classes and pictures. Pass an int for the same data set at every call.

    Returns
    -------
    X : ndarray of shape (n_samples, image_size, image_size, 3), dtype uint8
        The pictures.
    y : ndarray of shape (n_samples,), dtype int64
        The classes, 0 to `n_classes` - 1, in random order.

    References
    ----------
    .. [1] C. Anderson, R. Farrell (2022). Improving fractal pre-training. WACV. :arxiv:`2110.03091`
    .. [2] H. Kataoka et al. (2020). Pre-training without natural images. ACCV. :arxiv:`2101.08515`

    Examples
    --------
    >>> from sktl.datasets import make_fractals
    >>> X, y = make_fractals(n_samples=6, n_classes=3, random_state=0)
    >>> X.shape, X.dtype
    ((6, 48, 48, 3), dtype('uint8'))
    """
    rng = np.random.default_rng(check_random_state(random_state).randint(0, 2**31 - 1, size=4))
    y = rng.permutation(np.arange(n_samples) % n_classes)
    systems = vary_systems(sample_systems(n_classes, rng)[y], rng)
    hard = rng.permutation(n_samples) < round(difficulty * n_samples)
    X = np.empty((n_samples, image_size, image_size, 3), np.uint8)
    noise = make_noise(min(n_samples, 256), image_size, rng)
    for start in range(0, n_samples, 256):  # bounds the memory
        part = slice(start, start + 256)
        X[part] = paint(render(systems[part], image_size * 4 // 3, rng), hard[part], noise, rng)
    return X, y


def sample_systems(n_systems, rng):
    """Draw iterated function systems whose pictures are neither dust nor a blot."""
    systems = np.empty((0, N_MAPS, 6), np.float32)
    while len(systems) < n_systems:
        n_maps = rng.integers(2, N_MAPS + 1, size=64)
        drawn = np.stack([_sample_system(n, rng) for n in n_maps])
        cells = (render(drawn, 32, rng) > 0).mean((1, 2))
        systems = np.concatenate([systems, drawn[(cells > FILLED[0]) & (cells < FILLED[1])]])
    return systems[:n_systems]


def _sample_system(n_maps, rng):
    """Draw one system; the weighted sum of its singular values is what makes a fractal neither sparse nor full."""
    target = rng.uniform(5 + n_maps, 6 + n_maps) / 2
    while True:  # one draw in ten to thirty is accepted
        values = np.sort(rng.uniform(size=(64, n_maps, 2)), axis=2)[:, :, ::-1]  # s1 >= s2
        values *= (target / (values[:, :, 0] + 2 * values[:, :, 1]).sum(1))[:, None, None]
        good = values.max((1, 2)) <= LARGEST_SINGULAR_VALUE
        if good.any():
            break
    values = values[good][0]
    turn, turn_back = _rotations(rng.uniform(0, 2 * np.pi, size=(2, n_maps)))
    signs = rng.choice([-1.0, 1.0], size=(n_maps, 1, 2))
    matrices = (turn * (values[:, None, :] * signs)) @ turn_back
    system = np.zeros((N_MAPS, 6), np.float32)
    system[:n_maps, :4] = matrices.reshape(n_maps, 4)
    system[:n_maps, 4:] = rng.uniform(-1, 1, size=(n_maps, 2))
    return system


def _rotations(angle):
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos, -sin, sin, cos], axis=-1).reshape(*angle.shape, 2, 2)


def vary_systems(systems, rng):
    """Change one map of each system a little: other instances of the same class, as `sample_systems` returns them."""
    varied = systems.copy()
    n_maps = (systems != 0).any(2).sum(1)
    rows, chosen = np.arange(len(systems)), rng.integers(0, n_maps)
    factor = rng.uniform(0.8, 1.1, size=(len(systems), 1))
    linear = varied[rows, chosen, :4] * factor
    size = np.linalg.norm(linear.reshape(-1, 2, 2).astype(np.float64), ord=2, axis=(1, 2))[:, None]
    varied[rows, chosen, :4] = linear * np.minimum(1, LARGEST_SINGULAR_VALUE / np.maximum(size, 1e-6))
    return varied


def render(systems, size, rng):
    """Draw the attractors by the chaos game: all systems, and many walkers in each, move at once."""
    density = np.empty((len(systems), size, size), np.uint8)
    n_steps = -(-3 * size * size // N_WALKERS)
    for start in range(0, len(systems), 128):
        x, y = _walk(systems[start : start + 128], n_steps, rng)
        density[start : start + 128] = _count(x, y, size)
    return density


def _walk(systems, n_steps, rng):
    n = len(systems)
    a, b, c, d = systems[:, :, :4].transpose(2, 0, 1)
    used = (systems != 0).any(2)
    area = np.where(used, np.maximum(np.abs(a * d - b * c), 0.02), 0)
    bounds = np.cumsum(area / area.sum(1, keepdims=True), axis=1).astype(np.float32)
    columns = [np.ascontiguousarray(systems[:, :, k]).ravel() for k in range(6)]
    base = (np.arange(n) * N_MAPS)[:, None]
    x, y = np.zeros((2, n, N_WALKERS), np.float32)
    path = np.empty((2, n_steps, n, N_WALKERS), np.float32)
    last = used.sum(1)[:, None] - 1
    for step in range(-BURN_IN, n_steps):
        r = rng.random((n, N_WALKERS), dtype=np.float32)
        index = (r > bounds[:, :1]).astype(np.intp)
        for k in range(1, N_MAPS - 1):
            index += r > bounds[:, k : k + 1]
        index = np.minimum(index, last) + base  # rounding may leave the last bound below one
        a, b, c, d, e, f = (column[index] for column in columns)
        x, y = a * x + b * y + e, c * x + d * y + f
        if step >= 0:
            path[0, step], path[1, step] = x, y
    return path


def _count(x, y, size):
    """Count visits on a square grid around each attractor, and take the logarithm."""
    n = x.shape[1]
    low_x, high_x, low_y, high_y = x.min((0, 2)), x.max((0, 2)), y.min((0, 2)), y.max((0, 2))
    scale = (size - 1) / np.maximum(np.maximum(high_x - low_x, high_y - low_y), 1e-6)
    shift_x = (size - scale * (high_x + low_x)) / 2
    shift_y = (size - scale * (high_y + low_y)) / 2
    column = (x * scale[:, None] + shift_x[:, None]).astype(np.int32)
    row = (y * scale[:, None] + shift_y[:, None]).astype(np.int32)
    np.clip(column, 0, size - 1, out=column)
    np.clip(row, 0, size - 1, out=row)
    cell = (np.arange(n, dtype=np.int32)[:, None] * size + row) * size + column
    counts = np.log1p(np.bincount(cell.ravel(), minlength=n * size * size)).reshape(n, size, size)
    return np.ceil(counts * (255 / counts.max((1, 2), keepdims=True))).clip(0, 255).astype(np.uint8)


def make_noise(n, size, rng):
    """Draw colour noise of spectrum 1/f^β for backgrounds: half of it stretched, a third of it in steps with edges."""
    along_y, along_x = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    exponent, stretch, angle = rng.uniform((0.5, 1, 0), (2, 2.5, np.pi), (n, 3)).T
    stretch[rng.random(n) < 0.5] = 1
    steps = np.where(rng.random(n) < 0.3, rng.uniform(0.5, 1.2, n), 0)
    noise = np.empty((n, size, size, 3), np.float32)
    for i in range(n):
        cos, sin = np.cos(angle[i]), np.sin(angle[i])
        frequency = np.hypot((cos * along_x + sin * along_y) * stretch[i], (cos * along_y - sin * along_x) / stretch[i])
        frequency[0, 0] = np.inf
        spectrum = np.fft.rfft2(rng.standard_normal((3, size, size))) * frequency ** -exponent[i]
        channels = _standardise(np.fft.irfft2(spectrum, s=(size, size)))
        if steps[i]:
            channels = _standardise(np.floor(channels / steps[i]))
        noise[i] = channels.transpose(1, 2, 0)
    return noise


def _standardise(channels):
    channels = channels - channels.mean((1, 2), keepdims=True)
    return channels / channels.std((1, 2), keepdims=True)


def paint(density, hard, noise, rng):
    """Turn grey fractals into pictures: move, colour, lay over a background, blur."""
    n, size = len(density), noise.shape[1]
    contrast = np.where(hard, rng.uniform(0.6, 1.3, n), 1)[:, None, None]
    brightness = np.where(hard, rng.uniform(-0.15, 0.15, n), 0)[:, None, None]
    grey = hard & (rng.random(n) < 0.15)
    palette = _palettes(hard, grey, rng)
    palette[..., :3] = (palette[..., :3] - 0.5) * contrast + 0.5 + brightness
    palette[..., :3] *= 1 - palette[..., 3:]  # premultiplied: the last column is how much background shows through
    shown = _move(density, size, rng)
    index = np.arange(n, dtype=np.int32)[:, None, None] * 256 + shown
    layer = palette.reshape(-1, 4).take(index, axis=0)
    images = _backgrounds(noise, hard, grey, contrast, brightness, rng)
    images *= layer[..., 3:]
    images += layer[..., :3]
    blurred = np.flatnonzero(hard & (rng.random(n) < 0.5))
    images[blurred] = _blur(images[blurred], np.exp(rng.uniform(np.log(0.4), np.log(2.5), len(blurred))))
    images *= 255
    return np.clip(images, 0, 255, out=images).astype(np.uint8)


def _palettes(hard, grey, rng):
    """Colour and transparency for each of the 256 densities: hue runs with the density."""
    n = len(hard)
    density = np.linspace(0, 1, 256, dtype=np.float32)[None]
    palette = np.empty((n, 256, 4), np.float32)
    hue = rng.random((n, 1)) + density * rng.uniform(-1, 1, (n, 1))
    saturation, value = rng.uniform(0.3, 1, (n, 1, 1)), rng.uniform(0.5, 1, (n, 1, 1))
    value = value * (1 - rng.uniform(0, 0.6, (n, 1, 1)) * (1 - density[..., None]))
    ramp = np.abs((hue[..., None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1
    colours = value * (1 - saturation * (1 - np.clip(ramp, 0, 1)))
    colours[grey] = colours[grey].mean(2, keepdims=True)
    palette[..., :3] = np.where(hard[:, None, None], colours, 0.5 + 0.5 * density[..., None])
    palette[..., 3] = 1 - np.minimum(1, density * 5)
    return palette


def _move(density, size, rng):
    """Rotate, scale, shift and mirror by bilinear interpolation; result of the given size, dtype int32."""
    n, source = len(density), density.shape[1] + 2
    angle, scale = rng.uniform(-np.pi / 6, np.pi / 6, n), rng.uniform(0.65, 1.25, n)
    mirror = rng.choice([-1.0, 1.0], size=(2, n))
    shift = rng.uniform(-0.25, 0.25, (2, n))
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    grid = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1)[None]
    half = (source - 2) / 2

    def coordinate(along_x, along_y, sign):
        # one padded pixel of black on each side, so that whatever lies outside reads black
        columns = (half * sign * along_x)[:, None] * (grid - shift[0][:, None])
        rows = (half * sign * along_y)[:, None] * (grid - shift[1][:, None])
        total = rows[:, :, None].astype(np.float32) + columns[:, None, :].astype(np.float32)
        total += half + 0.5
        return np.clip(total, 0, source - 1.001, out=total)

    x, y = coordinate(cos, sin, mirror[0]), coordinate(-sin, cos, mirror[1])
    left, top = x.astype(np.int32), y.astype(np.int32)
    x -= left
    y -= top
    padded = np.pad(density, ((0, 0), (1, 1), (1, 1))).astype(np.float32).ravel()
    corner = (np.arange(n, dtype=np.int32)[:, None, None] * source + top) * source + left
    above = padded[corner]
    above += (padded[corner + 1] - above) * x
    corner += source
    below = padded[corner]
    below += (padded[corner + 1] - below) * x
    below -= above
    below *= y
    above += below
    return above.astype(np.int32)


def _backgrounds(noise, hard, grey, contrast, brightness, rng):
    """Noise at random offsets, mixed to random colours; a plain dark grey for the easy pictures."""
    n, size = len(hard), noise.shape[1]
    mixing = rng.normal(0, 0.12, (n, 3, 3)) * np.where(rng.random((n, 1, 1)) < 0.2, 0.1, 1)
    colour = rng.uniform(0.05, 0.95, (n, 1, 3))
    mixing[grey], colour[grey] = mixing[grey].mean(2, keepdims=True), colour[grey].mean(2, keepdims=True)
    mixing[~hard], colour[~hard] = 0, 0.05
    mixing, colour = mixing * contrast, (colour - 0.5) * contrast + 0.5 + brightness
    rows = (np.arange(size, dtype=np.int32) + rng.integers(0, size, (n, 1), dtype=np.int32)) % size
    columns = (np.arange(size, dtype=np.int32) + rng.integers(0, size, (n, 1), dtype=np.int32)) % size
    picture = rng.integers(0, len(noise), (n, 1, 1), dtype=np.int32)
    index = (picture * size + rows[:, :, None]) * size + columns[:, None, :]
    drawn = noise.reshape(-1, 3).take(index.reshape(n, -1), axis=0)
    return (drawn @ mixing.astype(np.float32) + colour.astype(np.float32)).reshape(n, size, size, 3)


def _blur(images, sigma):
    """Blur by a Gaussian, its width (in pixels) another one for each picture."""
    n, size = images.shape[:2]
    distance = np.subtract.outer(np.arange(size), np.arange(size))
    kernel = np.exp(-0.5 * (distance / sigma[:, None, None]) ** 2)
    kernel = (kernel / kernel.sum(2, keepdims=True)).astype(np.float32)
    for _ in range(2):  # along rows, then, transposed, along columns
        images = (kernel @ images.reshape(n, size, 3 * size)).reshape(n, size, size, 3).transpose(0, 2, 1, 3)
    return images
