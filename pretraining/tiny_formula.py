"""Pretrain the bundled network `tiny_formula` on shapes and textures drawn by formula.

One command, to be started again after any interruption: it goes on from the last checkpoint and ends with the same
weights as if it had never been stopped. One core is enough, no accelerator and no download are needed::

    python pretraining/tiny_formula.py --folder out/tiny_formula --output out/tiny_formula.safetensors

Most pictures hold a shape before a texture, and the network is asked for the class of both. The learning rate is
constant and falls to zero over the last `--decay` steps only. Until then the checkpoint does not depend on `--steps`:
a run that has ended goes on with more of them from where its rate began to fall.
"""

import argparse
import copy
import json
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy, grid_sample, mse_loss

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _families import SHARES, draw_shapes, draw_textures, sample_shapes, sample_textures
from tiny_fractal import N_STATISTICS, export, follow, statistics, write_atomically

from sktl.backbones.sources._bundled import BUNDLED, MEAN, STD, TINY_FORMULA, TINY_FRACTAL, TinyResNet

SHIPPED = BUNDLED[TINY_FORMULA]
RENDERED_SIZE = 64
N_COLOURS = 64
N_HELD_OUT = 4  # instances of each class that are never trained on
PARTS = ("network", "average", "heads", "optimizer")
NO_CLASS = -100  # what cross_entropy leaves out


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("out") / TINY_FORMULA, help="for the checkpoints")
    parser.add_argument("--output", type=Path, help="where the weights go at the end (default: in --folder)")
    parser.add_argument("--steps", type=int, default=100_000, help="length of the training")
    parser.add_argument("--decay", type=int, default=15_000, help="steps at the end over which the rate falls to zero")
    parser.add_argument("--end-size", type=int, default=None, help="size of the pictures over these")
    parser.add_argument("--minutes", type=float, default=math.inf, help="pause after so many minutes")
    parser.add_argument("--pause-after", type=int, default=None, help="pause after so many steps")
    parser.add_argument("--save-every", type=float, default=120, help="seconds between checkpoints")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--families", nargs="+", default=list(SHARES), choices=list(SHARES))
    parser.add_argument("--widths", type=int, nargs=4, default=SHIPPED.widths, help="channels of the stages")
    parser.add_argument("--size", type=int, default=48, help="height and width of the pictures trained on")
    parser.add_argument("--shapes", type=int, default=SHIPPED.n_classes, help="number of classes of shapes")
    parser.add_argument("--textures", type=int, default=256, help="number of classes of textures")
    parser.add_argument("--instances", type=int, default=32, help="rendered pictures of each class")
    parser.add_argument("--renew", type=int, default=6_000, help="steps after which all pictures are rendered anew")
    parser.add_argument("--ramp", type=int, default=1_500, help="steps over which the pictures become difficult")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--warm-up", type=int, default=300, help="steps over which the rate rises")
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--texture-weight", type=float, default=0.5, help="weight of the loss for the textures")
    parser.add_argument("--statistics-weight", type=float, default=0.5, help="of the loss for colour and contrast")
    parser.add_argument("--average", type=float, default=0.999, help="decay of the running mean of the weights")
    parser.add_argument("--start", choices=["small", "random"], default="small", help="where the weights start")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


ANY_TIME = {"folder", "output", "minutes", "pause_after", "save_every", "threads"}
END = {"steps", "decay", "end_size"}  # matters to the last part alone


def recipe(options, *left_out):
    """Return what decides the result: a checkpoint of another recipe is not continued."""
    chosen = {name: value for name, value in vars(options).items() if name not in ANY_TIME.union(*left_out)}
    return json.loads(json.dumps(chosen))


class Pictures:
    """The rendered shapes and textures: classes are drawn once, instances anew every so many steps."""

    def __init__(self, options):
        self.options, self.drawn_for = options, None
        rng = np.random.default_rng([options.seed, 1])
        self.shapes = sample_shapes(options.shapes, options.families, rng)
        self.textures = sample_textures(options.textures, rng)
        self.held_out = self._draw(N_HELD_OUT, rng)

    def _draw(self, n, rng):
        drawn = draw_shapes(self.shapes, n, RENDERED_SIZE, rng), draw_textures(self.textures, n, RENDERED_SIZE, rng)
        return [torch.from_numpy(part) for part in drawn]

    def at(self, step):
        """Return the pictures that a step is trained on."""
        if self.drawn_for != step // self.options.renew:
            self.drawn_for = step // self.options.renew
            rng = np.random.default_rng([self.options.seed, 2, self.drawn_for])
            self.drawn = self._draw(self.options.instances, rng)
        return self.drawn

    def batch(self, step, size):
        """Make the batch of one step: a function of seed and step alone, so that there is no random state to keep."""
        shapes, textures = self.at(step)
        rng = np.random.default_rng([self.options.seed, 3, step])
        n = self.options.batch
        hard = rng.random(n) < min(0.85, 0.25 + 0.6 * step / self.options.ramp)
        chosen = rng.integers(0, len(shapes), n), rng.integers(0, len(textures), n)
        x, shown = paint(shapes[chosen[0]], textures[chosen[1]], hard, size, rng)
        y = [torch.from_numpy(k // self.options.instances) for k in chosen]
        return x, [labels.masked_fill(~here, NO_CLASS) for labels, here in zip(y, shown, strict=True)]


def tensor(values):
    return torch.from_numpy(np.asarray(values, np.float32))


def paint(shapes, textures, hard, size, rng):
    """Turn grey shapes and textures into pictures; also returns in which of them a shape and a texture can be seen.

    What is not hard is grey: a shape on a plain ground, as in drawings and print, or a texture alone.
    """
    n = len(shapes)
    alone = rng.random(n) < np.where(hard, 0.15, 0.4)
    plain = ~alone & (~hard | (rng.random(n) < 0.2))
    colours, ground = palettes(plain, hard, rng)
    shape = move(shapes, size, rng, scale=(0.6, 1.25), shift=0.25, padding="zeros")
    texture = move(textures, size, rng, scale=(0.6, 1.6), shift=0.5, padding="reflection")
    opaque = (shape / 40).clamp_(max=1) * tensor(~alone)[:, None, None]
    images = look_up(ground, texture)
    images += opaque[..., None] * (look_up(colours, shape) - images)
    blurred = np.flatnonzero(hard & (rng.random(n) < 0.5))
    images[blurred] = blur(images[blurred], np.exp(rng.uniform(np.log(0.3), np.log(2), len(blurred))))
    images = (images - torch.tensor(MEAN)) / torch.tensor(STD)
    return images.permute(0, 3, 1, 2), (torch.from_numpy(~alone), torch.from_numpy(~plain))


def move(pictures, size, rng, scale, shift, padding):
    """Mirror sideways, turn, shear, scale, shift and bend by a wave; returns grey values from 0 to 255."""
    n = len(pictures)
    angle, shear = rng.uniform(-np.pi / 6, np.pi / 6, n), rng.uniform(-0.2, 0.2, n)
    zoom = np.exp(rng.uniform(np.log(scale[0]), np.log(scale[1]), n))
    mirror, offset = rng.choice([-1.0, 1.0], n), rng.uniform(-shift, shift, (2, n))
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    line = (np.arange(size) + 0.5) * (2 / size) - 1
    wave = rng.uniform(0, 0.08, (2, n, 1)) * np.sin(
        rng.uniform(1, 5, (2, n, 1)) * line + rng.uniform(0, 6.3, (2, n, 1))
    )
    u, v = line - offset[0][:, None], line - offset[1][:, None]
    right = tensor(np.stack([(mirror * cos)[:, None] * u, -sin[:, None] * u + wave[1]]))
    down = tensor(np.stack([(mirror * sin + shear)[:, None] * v + wave[0], cos[:, None] * v]))
    grid = torch.empty(n, size, size, 2)
    for k in range(2):
        torch.add(right[k][:, None, :], down[k][:, :, None], out=grid[..., k])
    return grid_sample(pictures[:, None].to(torch.float32), grid, padding_mode=padding, align_corners=False)[:, 0]


def palettes(plain, hard, rng):
    """Draw colours of shapes and of grounds for the grey values, each an array of shape (n_pictures, 64, 3)."""
    n, value = len(hard), np.linspace(0, 1, N_COLOURS, dtype=np.float32)[:, None]
    ends = rng.random((2, 2, n, 1, 3), dtype=np.float32)
    straight = ends[0] + (ends[1] - ends[0]) * value
    phase, frequency = rng.random((2, n, 1, 3), dtype=np.float32), 0.2 + rng.random((2, n, 1, 1), dtype=np.float32)
    wave = 0.5 + 0.5 * ends[0] * np.cos(2 * np.pi * (frequency * value + phase))
    colours, ground = np.where(rng.random((2, n, 1, 1)) < 0.5, straight, wave)
    middle = ground[np.arange(n), rng.integers(0, N_COLOURS, n)][:, None]
    ground = middle + (ground - middle) * np.where(plain, 0, np.exp(rng.uniform(-1.5, 0, n)))[:, None, None]
    both = np.stack([colours, ground])
    grey = hard & (rng.random(n) < 0.15)
    both[:, grey] = both[:, grey].mean(3, keepdims=True)
    both = (both - 0.5) * rng.uniform(0.6, 1.2, (n, 1, 1)) + 0.5 + rng.uniform(-0.15, 0.15, (n, 1, 1))
    easy = np.flatnonzero(~hard)  # bright grey on dark, or the other way round
    shade, bright = rng.uniform(0, 0.2, (2, len(easy), 1, 1)), rng.uniform(0.6, 1, (len(easy), 1, 1))
    both[0, easy] = bright + shade[0] * (value - 1)
    both[1, easy] = shade[1] + np.where(plain[easy, None, None], 0, bright - shade[1]) * value
    inverted = easy[rng.random(len(easy)) < 0.5]
    both[:, inverted] = 1 - both[:, inverted]
    return both.clip(0, 1).astype(np.float32)


def look_up(palette, values):
    n, size = len(values), values.shape[1]
    index = (values * (N_COLOURS / 256)).to(torch.int32) + N_COLOURS * torch.arange(n, dtype=torch.int32)[:, None, None]
    return torch.from_numpy(palette).view(-1, 3).index_select(0, index.view(-1)).view(n, size, size, 3)


def blur(images, sigma):
    """Blur by a Gaussian, its width (in pixels) another one for each picture."""
    n, size = images.shape[:2]
    distance = np.subtract.outer(np.arange(size), np.arange(size))
    kernel = np.exp(-0.5 * (distance / sigma[:, None, None]) ** 2)
    kernel = tensor(kernel / kernel.sum(2, keepdims=True))
    for _ in range(2):  # along rows, then, transposed, along columns
        images = (kernel @ images.reshape(n, size, 3 * size)).view(n, size, size, 3).transpose(1, 2)
    return images


def rate_at(step, options):
    """Rise over the warm-up, stay, and fall to zero in a straight line at the end."""
    return options.learning_rate * min(1, (step + 1) / options.warm_up, (options.steps - step) / options.decay)


class Heads(torch.nn.Module):
    """What is asked for besides the class of the shape; not exported."""

    def __init__(self, options):
        super().__init__()
        self.texture = torch.nn.Linear(options.widths[3], options.textures)
        self.statistics = torch.nn.Linear(options.widths[3], N_STATISTICS)


@dataclass
class Run:
    """What is trained and how far it is."""

    options: argparse.Namespace
    network: torch.nn.Module
    average: torch.nn.Module
    heads: torch.nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    scale: torch.Tensor = field(default=None)

    @property
    def falling(self):
        """From this step on the rate falls, and the checkpoint is of this end alone."""
        return self.options.steps - self.options.decay

    def path(self, step):
        end = f"end_{self.options.steps}_{self.options.decay}.pt"
        return self.options.folder / ("checkpoint.pt" if step <= self.falling else end)

    def save(self):
        state = {name: getattr(self, name).state_dict() for name in PARTS}
        state.update(step=self.step, seconds=self.seconds, recipe=recipe(self.options, END))
        write_atomically(self.path(self.step), lambda temporary: torch.save(state, temporary))

    def restore(self):
        """Go on from the checkpoint, if there is one of the same recipe that this end can follow."""
        for path in (self.path(self.options.steps), self.path(0)):
            state = torch.load(path, weights_only=True) if path.exists() else None
            if state is None:
                continue
            if state["recipe"] != recipe(self.options, END):
                print(f"{path} is of another recipe: start afresh", flush=True)
            elif path == self.path(0) and state["step"] > self.falling:
                raise SystemExit(f"{path} is at step {state['step']}: --steps less --decay must be at least that.")
            else:
                for name in PARTS:
                    getattr(self, name).load_state_dict(state[name])
                self.step, self.seconds = state["step"], state["seconds"]
                print(f"go on at step {self.step}", flush=True)
                return


@torch.no_grad()
def widen(network, small):
    """Let the first channels of a network compute what a narrower one does; the others keep their random weights."""
    for name, value in network.state_dict().items():
        if name.startswith("fc") or value.ndim == 0:
            continue
        known = tuple(slice(n) for n in small[name].shape)
        if value.ndim > 1:
            value[known[0]] = 0  # the other channels are not heard by the first ones
        value[known] = small[name].to(value.dtype)


def build(options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        network = TinyResNet(options.shapes, options.widths).to(memory_format=torch.channels_last).train()
        heads = Heads(options)
    if options.start == "small":
        widen(network, load_file(BUNDLED[TINY_FRACTAL].weights.path))
    parameters = [*network.parameters(), *heads.parameters()]
    matrices, vectors = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": options.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.learning_rate)
    return Run(options, network, copy.deepcopy(network), heads, optimizer)


def scale_of_statistics(pictures, options):
    """Measure mean and standard deviation of the statistics over difficult batches."""
    values = torch.cat([statistics(pictures.batch(options.ramp + step, options.size)[0]) for step in range(16)])
    return values.mean(0), values.std(0)


def losses_of(run, x, y):
    """Return the losses of the shapes, of the textures and of the statistics."""
    target = (statistics(x) - run.scale[0]) / run.scale[1]
    with torch.autocast("cpu", torch.bfloat16):
        features = run.network.embed(x)
        shape, texture, described = (
            head(features).float() for head in (run.network.fc, run.heads.texture, run.heads.statistics)
        )
    return cross_entropy(shape, y[0]), cross_entropy(texture, y[1]), mse_loss(described, target)


def take_step(run, pictures):
    """Take one step and return its losses."""
    options = run.options
    x, y = pictures.batch(run.step, options.size if run.step < run.falling else options.end_size or options.size)
    for group in run.optimizer.param_groups:
        group["lr"] = rate_at(run.step, options)
    losses = losses_of(run, x, y)
    run.optimizer.zero_grad()
    (losses[0] + options.texture_weight * losses[1] + options.statistics_weight * losses[2]).backward()
    run.optimizer.step()
    follow(run.average, run.network, run.step, options.average)
    run.step += 1
    return [loss.item() for loss in losses]


@torch.no_grad()
def held_out_accuracy(network, pictures):
    """Score unseen instances of the shapes, all of them before textures, always the same pictures."""
    options, rng = pictures.options, np.random.default_rng([pictures.options.seed, 4])
    shapes, textures = pictures.held_out
    behind = textures[rng.integers(0, len(textures), len(shapes))]
    x, shown = paint(shapes, behind, np.ones(len(shapes), bool), options.size, rng)
    network.eval()
    predicted = torch.cat([network(part).argmax(1) for part in x.split(256)])
    network.train()
    right = predicted == torch.arange(len(shapes)) // N_HELD_OUT
    return right[shown[0]].float().mean().item()


def train(options):
    """Train, or go on training; returns the path of the weights, or None when paused."""
    torch.set_num_threads(options.threads)
    run = build(options)
    run.restore()
    pictures = Pictures(options)
    run.scale = scale_of_statistics(pictures, options)
    chance = math.log(options.shapes), math.log(options.textures)
    print(f"chance losses {chance[0]:.2f} {chance[1]:.2f}", flush=True)
    end = min(options.steps, options.pause_after or options.steps)
    started = saved = time.perf_counter()
    before, first, losses, paused = run.seconds, run.step, [], False
    while run.step < end and not paused:
        losses.append(take_step(run, pictures))
        now = time.perf_counter()
        run.seconds = before + now - started
        paused = now - started > 60 * options.minutes
        if now - saved > options.save_every or run.step in (end, run.falling) or paused:
            run.save()
            report(run, losses, (run.step - first) / (now - started), pictures)
            losses.clear()
            saved = now
    if run.step < options.steps:
        print(f"paused at step {run.step} of {options.steps}; the same command goes on", flush=True)
        return None
    return finish(run, pictures)


def report(run, losses, steps_per_second, pictures):
    options = run.options
    raw, mean = (held_out_accuracy(network, pictures) for network in (run.network, run.average))
    print(
        f"step {run.step}/{options.steps} loss {' '.join(f'{loss:.3f}' for loss in np.mean(losses, axis=0))} "
        f"held-out {raw:.3f} averaged {mean:.3f} {steps_per_second * options.batch:.0f} images/s, "
        f"{run.seconds / 60:.1f} min, {(options.steps - run.step) / steps_per_second / 60:.1f} min left",
        flush=True,
    )


def finish(run, pictures):
    """Export the last weights, or the running mean where that does better on the held-out shapes."""
    candidates = {"last": run.network, "averaged": run.average}
    accuracy = {name: held_out_accuracy(network, pictures) for name, network in candidates.items()}
    kept = max(accuracy, key=accuracy.get)
    path = run.options.output or run.options.folder / f"{TINY_FORMULA}.safetensors"
    metadata = {
        "recipe": recipe(run.options),
        "images": run.step * run.options.batch,
        "kept": kept,
        "held_out_accuracy": round(accuracy[kept], 4),
    }
    export(candidates[kept], path, metadata, TINY_FORMULA)
    print(f"kept the {kept} weights, held-out {accuracy}; {run.seconds:.0f} s; wrote {path}", flush=True)
    return path


if __name__ == "__main__":
    train(parse())
