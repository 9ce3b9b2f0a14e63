"""Number of epochs, learning rates and their schedule, and the parameter groups of the optimizer."""

import math
from dataclasses import dataclass

# Learning rates of the head and the top stage, by family (sources: the docstring of FineTuneClassifier).
_LEARNING_RATE = 3e-4
_LEARNING_RATES = {"tiny_resnet": 1e-3, "vit": 5e-5, "swin": 5e-5, "maxvit": 5e-5, "convnext": 1e-4}
_FROM_SCRATCH = 1e-3
# A head that starts from a probe is at its best for the features as they are, and only has to follow them.
_FROM_PROBE = 0.1
_MIN_STEPS, _MAX_STEPS, _EPOCHS = 300, 3000, 20
_WARM_UP = 0.1


@dataclass(frozen=True)
class OptimizerSettings:
    """What the optimizer is told: rates, decays, mixing of images, and the teacher's share of the loss."""

    learning_rate: float  # of the top stage
    layer_decay: float  # factor from each stage to the one below
    weight_decay: float  # of matrices and kernels
    from_scratch: bool  # whether nothing in the network is pretrained
    mixup: float = 0.0
    cutmix: float = 0.0
    temperature: float = 1.0  # of the teacher
    distillation: float = 0.0  # its share


def n_epochs(max_epochs, n_samples, batch_size):
    """Return the number of epochs: as given, or 20 but at least 300 and at most 3000 steps."""
    if max_epochs != "auto":
        return max_epochs
    steps_per_epoch = n_batches(n_samples, batch_size)
    steps = min(max(_EPOCHS * steps_per_epoch, _MIN_STEPS), _MAX_STEPS)
    return max(1, round(steps / steps_per_epoch))


def n_batches(n_samples, batch_size):
    """Return the number of batches of an epoch: nearly equal, and of two images at least, as batch norm needs."""
    return max(1, min(math.ceil(n_samples / batch_size), n_samples // 2))


def base_learning_rate(learning_rate, family, from_scratch):
    """Return the learning rate of the head and the top stage."""
    if learning_rate != "auto":
        return learning_rate
    return _FROM_SCRATCH if from_scratch else _LEARNING_RATES.get(family, _LEARNING_RATE)


def parameter_groups(network, settings):
    """Return the parameter groups of the optimizer: one or two per stage and for the head, frozen stages included.

    All groups exist from the start, so that schedules which read them once stay right whatever is frozen later.
    """
    n_stages = len(network.stages)
    rate, decay = settings.learning_rate, 1.0 if settings.from_scratch else settings.layer_decay
    groups = []
    for i, stage in enumerate(network.stages):
        groups += _groups_of(stage, rate * decay ** (n_stages - 1 - i), settings.weight_decay)
    head_rate = rate * (_FROM_PROBE if network.head.from_probe else 1)
    return groups + _groups_of(network.head, head_rate, settings.weight_decay)


def _groups_of(part, rate, weight_decay):
    parameters = list(part.parameters())
    groups = []
    for decay, members in (
        (weight_decay, [p for p in parameters if p.ndim > 1]),
        (0.0, [p for p in parameters if p.ndim <= 1]),
    ):
        if members:
            groups.append({"params": members, "lr": rate, "weight_decay": decay})
    return groups


class WarmUpCosine:
    """Factor on all learning rates: a linear rise over the first tenth of the steps, then a cosine to zero."""

    def __init__(self, n_steps):
        self.n_steps = n_steps
        self.warm_up = max(1, round(_WARM_UP * n_steps))

    def __call__(self, step):
        """Return the factor at a step, counted from 0."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        progress = (step - self.warm_up) / max(1, self.n_steps - self.warm_up)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
