"""Pretrain the bundled network `tiny_fractal` on fractals drawn by formula.

One command, to be started again after any interruption: it goes on from the last checkpoint and ends with the same
weights as if it had never been stopped. One core is enough, no accelerator and no download are needed::

    python pretraining/tiny_fractal.py --folder out/tiny_fractal --output out/tiny_fractal.safetensors

Each class is one iterated function system. The pictures start plain (grey on dark) and become cluttered as the training
goes on; with cluttered pictures from the start the loss stays at chance for the first 80,000 or so.
"""

import argparse
import copy
import json
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sktl.backbones.sources._bundled import IMAGE_SIZE, MEAN, STD, TINY_FRACTAL, TinyResNet
from sktl.datasets._fractals import make_noise, paint, render, sample_systems, vary_systems

RENDERED_SIZE = 64
N_NOISE = 1024
PARTS = ("network", "average", "describe", "optimizer")
N_STATISTICS = 14
N_HELD_OUT = 4  # instances of each class that are never trained on


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("out") / TINY_FRACTAL, help="for the checkpoint")
    parser.add_argument("--output", type=Path, help="where the weights go at the end (default: in --folder)")
    parser.add_argument("--steps", type=int, default=14_000, help="length of the schedule; changing it starts afresh")
    parser.add_argument("--minutes", type=float, default=math.inf, help="pause after so many minutes")
    parser.add_argument("--pause-after", type=int, default=None, help="pause after so many steps")
    parser.add_argument("--save-every", type=float, default=120, help="seconds between checkpoints")
    parser.add_argument("--classes", type=int, default=256)
    parser.add_argument("--instances", type=int, default=64, help="rendered pictures of each class")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--statistics", type=float, default=0.5, help="weight of the loss for colour and texture")
    parser.add_argument("--average", type=float, default=0.999, help="decay of the running mean of the weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


def recipe(options):
    """Return what decides the result: a checkpoint of another recipe is not continued."""
    left_out = {"folder", "output", "minutes", "pause_after", "save_every", "threads"}
    return {name: value for name, value in vars(options).items() if name not in left_out}


def draw_pictures(options):
    """Render once: classes, their training instances, held-out instances and backgrounds."""
    rng = np.random.default_rng([options.seed, 1])
    systems = sample_systems(options.classes, rng)
    parts = []
    for n in (options.instances, N_HELD_OUT):
        y = np.repeat(np.arange(options.classes), n)
        parts.append((render(vary_systems(systems[y], rng), RENDERED_SIZE, rng), torch.from_numpy(y)))
    return parts[0], parts[1], make_noise(N_NOISE, IMAGE_SIZE, rng)


def to_tensor(images):
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32)  # channels last in memory
    return (batch / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def batch_at(step, options, pictures, noise):
    """Make the batch of one step: a function of seed and step alone, so that there is no random state to keep."""
    rng = np.random.default_rng([options.seed, 2, step])
    density, y = pictures
    chosen = rng.integers(0, len(density), options.batch)
    difficulty = min(0.9, 0.25 + 1.5 * step / options.steps)
    hard = rng.random(options.batch) < difficulty
    return to_tensor(paint(density[chosen], hard, noise, rng)), y[torch.from_numpy(chosen)]


def statistics(x):
    """Describe colour and texture: mean and spread of the channels, and how grey values differ at four distances.

    The class is in the shape alone, and a network that is asked for nothing else forgets the rest.
    """
    grey = x.mean(1)
    texture = []
    for lag in (1, 2, 4, 8):
        texture += [
            (grey[:, lag:] - grey[:, :-lag]).abs().mean((1, 2)),
            (grey[..., lag:] - grey[..., :-lag]).abs().mean((1, 2)),
        ]
    return torch.cat([x.mean((2, 3)), x.std((2, 3)), torch.stack(texture, 1).add(1e-2).log()], 1)


def scale_of_statistics(options, pictures, noise):
    """Measure mean and standard deviation of the statistics over batches from all of the schedule."""
    steps = np.linspace(0, options.steps, 16, endpoint=False).astype(int)
    values = torch.cat([statistics(batch_at(int(step), options, pictures, noise)[0]) for step in steps])
    return values.mean(0), values.std(0)


def rate_at(step, options):
    """Warm up over a tenth, then follow a cosine down to zero."""
    warm_up = max(1, options.steps // 10)
    if step < warm_up:
        return options.learning_rate * (step + 1) / warm_up
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, options.steps - warm_up)))


@torch.no_grad()
def held_out_accuracy(network, options, pictures, noise):
    """Score unseen instances, all of them cluttered, always the same pictures."""
    network.eval()
    density, y = pictures
    images = paint(density, np.ones(len(density), bool), noise, np.random.default_rng([options.seed, 3]))
    predicted = torch.cat([network(part).argmax(1) for part in to_tensor(images).split(256)])
    network.train()
    return (predicted == y).float().mean().item()


@torch.no_grad()
def follow(average, network, step, decay):
    """Move the running mean of weights and batch-norm statistics; the decay starts small, for a mean without bias."""
    decay = min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def write_atomically(path, write):
    """Write beside the file and rename, so that a reader or a crash never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    write(temporary)
    temporary.chmod(0o644)  # safetensors leaves the file to its owner alone
    os.replace(temporary, path)


def export(network, path, metadata, name=TINY_FRACTAL):
    """Save kernels in float16; batch-norm statistics and biases stay float32."""
    tensors = {
        key: (value.half() if value.is_floating_point() and value.ndim > 1 else value).contiguous().clone()
        for key, value in network.state_dict().items()
    }
    text = {name: json.dumps(metadata)}  # one entry, for safetensors writes several in random order
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=text))


@dataclass
class Run:
    """What is trained and how far it is."""

    network: torch.nn.Module
    average: torch.nn.Module
    describe: torch.nn.Module  # from the features to the statistics; not exported
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0

    def save(self, path, options):
        state = {name: getattr(self, name).state_dict() for name in PARTS}
        state.update(step=self.step, seconds=self.seconds, recipe=recipe(options))
        write_atomically(path, lambda temporary: torch.save(state, temporary))

    def restore(self, path, options):
        """Go on from the checkpoint, if there is one of the same recipe."""
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state["recipe"] != recipe(options):
            print(f"{path} is of another recipe: start afresh", flush=True)
            return
        for name in PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds = state["step"], state["seconds"]
        print(f"go on at step {self.step}", flush=True)


def build(options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        network = TinyResNet(options.classes).to(memory_format=torch.channels_last).train()
        describe = torch.nn.Linear(network.fc.in_features, N_STATISTICS)
    parameters = [*network.parameters(), *describe.parameters()]
    matrices, vectors = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": options.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return Run(network, copy.deepcopy(network), describe, torch.optim.AdamW(groups, lr=options.learning_rate))


def take_step(run, options, pictures, noise, scale):
    """Take one step and return its losses: of the classes, and of the statistics."""
    x, y = batch_at(run.step, options, pictures, noise)
    for group in run.optimizer.param_groups:
        group["lr"] = rate_at(run.step, options)
    target = (statistics(x) - scale[0]) / scale[1]
    with torch.autocast("cpu", torch.bfloat16):
        features = run.network.embed(x)
        loss = torch.nn.functional.cross_entropy(run.network.fc(features), y)
        described = torch.nn.functional.mse_loss(run.describe(features).float(), target)
    run.optimizer.zero_grad()
    (loss + options.statistics * described).backward()
    run.optimizer.step()
    follow(run.average, run.network, run.step, options.average)
    run.step += 1
    return loss.item(), described.item()


def train(options):
    """Train, or go on training; returns the path of the weights, or None when paused."""
    torch.set_num_threads(options.threads)
    checkpoint = options.folder / "checkpoint.pt"
    run = build(options)
    run.restore(checkpoint, options)
    pictures, held_out, noise = draw_pictures(options)
    scale = scale_of_statistics(options, pictures, noise)
    print(f"{len(pictures[1])} pictures rendered; chance loss {math.log(options.classes):.2f}", flush=True)
    end = min(options.steps, options.pause_after or options.steps)
    started = saved = time.perf_counter()
    before, first, losses, paused = run.seconds, run.step, [], False
    while run.step < end and not paused:
        losses.append(take_step(run, options, pictures, noise, scale))
        now = time.perf_counter()
        run.seconds = before + now - started
        paused = now - started > 60 * options.minutes
        if now - saved > options.save_every or run.step == end or paused:
            run.save(checkpoint, options)
            report(run, options, np.mean(losses, axis=0), (run.step - first) / (now - started), held_out, noise)
            losses.clear()
            saved = now
    if run.step < options.steps:
        print(f"paused at step {run.step} of {options.steps}; the same command goes on", flush=True)
        return None
    return finish(run, options, held_out, noise)


def report(run, options, losses, steps_per_second, held_out, noise):
    raw, mean = (held_out_accuracy(network, options, held_out, noise) for network in (run.network, run.average))
    print(
        f"step {run.step}/{options.steps} loss {losses[0]:.3f} {losses[1]:.3f} held-out {raw:.3f} averaged {mean:.3f} "
        f"{steps_per_second * options.batch:.0f} images/s, {run.seconds / 60:.1f} min, "
        f"{(options.steps - run.step) / steps_per_second / 60:.1f} min left",
        flush=True,
    )


def finish(run, options, held_out, noise):
    """Export the running mean, or the last weights where those do better on the held-out fractals."""
    candidates = {"averaged": run.average, "last": run.network}
    accuracy = {name: held_out_accuracy(network, options, held_out, noise) for name, network in candidates.items()}
    kept = max(accuracy, key=accuracy.get)  # the first, averaged, on a tie
    path = options.output or options.folder / f"{TINY_FRACTAL}.safetensors"
    metadata = {
        "recipe": recipe(options),
        "images": run.step * options.batch,
        "kept": kept,
        "held_out_accuracy": round(accuracy[kept], 4),
    }
    export(candidates[kept], path, metadata)
    print(f"kept the {kept} weights, held-out {accuracy}; {run.seconds:.0f} s; wrote {path}", flush=True)
    return path


if __name__ == "__main__":
    train(parse())
