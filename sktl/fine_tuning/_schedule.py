"""How long to train, and how fast each part of the network learns."""

import math

# Learning rates of the head and the top stage, by family (sources: the docstring of FineTuneClassifier).
_LEARNING_RATE = 3e-4
_LEARNING_RATES = {"tiny": 1e-3, "vit": 5e-5, "swin": 5e-5, "maxvit": 5e-5, "convnext": 1e-4}
_FROM_SCRATCH = 1e-3
# A head that starts from a probe is at its best for the features as they are, and only has to follow them.
_FROM_PROBE = 0.1
_MIN_STEPS, _MAX_STEPS, _EPOCHS = 300, 3000, 20
_WARM_UP = 0.1


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


def parameter_groups(network, learning_rate, layer_decay, weight_decay, from_scratch):
    """Return the parameter groups of the optimizer: one or two per stage and for the head, frozen stages included.

    All groups exist from the start, so that schedules which read them once stay right whatever is frozen later.

    Parameters
    ----------
    network : FineTuneNetwork
        Network to train.
    learning_rate : float
        Rate of the top stage and the head; a tenth of it for a head that starts from a probe.
    layer_decay : float
        Factor from each stage to the one below. All parts of a network trained from scratch learn at one rate.
    weight_decay : float
        Decay of matrices and kernels; biases and normalisation are left alone.
    from_scratch : bool
        Whether nothing in the network is pretrained.

    Returns
    -------
    list of dict
        What torch.optim.AdamW takes.
    """
    n_stages = len(network.stages)
    parts = [
        (stage, learning_rate if from_scratch else learning_rate * layer_decay ** (n_stages - 1 - i))
        for i, stage in enumerate(network.stages)
    ]
    parts.append((network.head, learning_rate * (_FROM_PROBE if network.head.from_probe else 1)))
    groups = []
    for part, rate in parts:
        parameters = list(part.parameters())
        for decay, members in (
            (weight_decay, [p for p in parameters if p.ndim > 1]),
            (0.0, [p for p in parameters if p.ndim <= 1]),
        ):
            if members:
                groups.append({"params": members, "lr": rate, "weight_decay": decay})
    return groups


class WarmUpCosine:
    """Factor on all learning rates: a linear rise over the first tenth of the steps, then a cosine to zero.

    Parameters
    ----------
    n_steps : int
        Optimizer steps of the whole training.
    """

    def __init__(self, n_steps):
        self.n_steps = n_steps
        self.warm_up = max(1, round(_WARM_UP * n_steps))

    def __call__(self, step):
        """Return the factor at a step, counted from 0."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        progress = (step - self.warm_up) / max(1, self.n_steps - self.warm_up)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
