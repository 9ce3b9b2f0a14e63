"""The order of work inside `fit`, once images and targets are ready: probe, training, and the better of the two."""

import numpy as np
import torch
from sklearn.base import is_classifier

from sktl.fine_tuning._parameters import settings_of
from sktl.inference import block_rows, check_finite_numbers, run_in_blocks
from sktl.training import build_net, n_epochs, that_need_no_validation, train, trained_tensors, validation_loss

# Cross-entropy of an epoch below which nothing is left to learn.
_LEARNT = 1e-5


def new_net(estimator, network, placement):
    """Make the skorch net that trains the network of an estimator."""
    return build_net(
        network,
        estimator._coding,
        settings_of(estimator),
        placement,
        batch_size=estimator.batch_size,
        **estimator._criterion_options(),
    )


class Fitting:
    """One training of one estimator."""

    def __init__(self, estimator, data, targets, validation, tasks, placement, seed, whole):
        self._estimator = estimator
        self._data = data
        self._targets = targets
        self._validation = validation
        self._tasks = tasks
        self._placement = placement
        self._seed = seed
        self._whole = whole
        estimator.__dict__.pop("best_epoch_", None)

    def start(self, network):
        """Train a new network."""
        data, validation = self._validation.split(self._data)
        n_images = len(data)
        refits = self._stops(validation) and self._estimator.refit and not self._validation.is_pair
        self._begin(n_images, 1 + refits)
        untrained = {name: tensor.clone() for name, tensor in network.state_dict().items()} if refits else None
        net = new_net(self._estimator, network, self._placement)
        self._train_from_probe(net, data, validation, n_images)
        if refits:
            network.load_state_dict(untrained)
            net = new_net(self._estimator, network, self._placement)
            self._train_from_probe(net, self._data, None, n_images, stop_after=self._estimator.best_epoch_)
        return net

    def go_on(self, net):
        """Go on with the training of a network."""
        if self._whole and self._estimator._is_probe():
            solution = self._solve(net.module_.head, self._data, self._features(net.module_, self._data))
            if solution is not None:
                self._tasks.begin_fit(0)
                net.module_.head.take(solution, 1.0)
                self._note(0)
                return net
        n_before = len(net.history)
        data, validation = self._validation.split(self._data)
        self._solve_probe(net.module_, data)
        fallback = self._as_it_stands(net, validation) if self._stops(validation) else None
        self._begin(len(data), 1)
        self._train(net, data, validation, len(data))
        if self._stops(validation):
            self._settle(net, fallback, n_before)
        self._solve_again(net.module_, data)
        return net

    def _stops(self, validation):
        """Whether the training is stopped early, and not only watched."""
        return validation is not None and self._estimator.early_stopping

    def _begin(self, n_images, n_trainings):
        is_probe = self._whole and self._estimator._is_probe()
        # A probe has no epochs, unless there is none to be had.
        self._tasks.begin_fit(None if is_probe else self._n_epochs(n_images) * n_trainings)

    def _n_epochs(self, n_images):
        return n_epochs(self._estimator.max_epochs, n_images, self._estimator.batch_size) if self._whole else 1

    def _train_from_probe(self, net, data, validation, n_images, stop_after=None):
        """Fit a probe; train on from it, unless the probe is all that was asked for; keep whichever does better."""
        # The order matters: the probe is solved on standardised features; it is judged at its own scale, which depth 0
        # would give; only then it is scaled down to start the training, and the optimizer is initialised again, since
        # the rate of a head depends on its start.
        network, solution = net.module_, None
        if self._estimator.weights is not None:  # random features soon look different
            features = self._features(network, data)
            network.head.standardise(features)
            solution = self._solve(network.head, data, features)
            self._solve_probe(network, data)
        is_probe = solution is not None and (stop_after == 0 or (self._whole and self._estimator._is_probe()))
        fallback = None
        if solution is not None:
            network.head.take(solution, 1.0)
            fallback = self._as_it_stands(net, validation) if self._stops(validation) else None
            if not is_probe:
                network.head.take(solution, self._estimator._probe_scale)
                net.initialize_optimizer()
        if is_probe:
            self._note(0)
        else:
            self._train(net, data, validation, n_images, stop_after)
        network.eval()
        if self._stops(validation):
            self._settle(net, fallback)
        self._solve_again(network, data)

    def _train(self, net, data, validation, n_images, stop_after=None):
        """Train for the epochs that so many images ask for: in a refit, those of the first training."""
        network, estimator = net.module_, self._estimator
        if network.update_statistics and len(data) < 2:
            raise ValueError(
                "A network that updates its batch-norm statistics must be trained on at least two distinct images, "
                f"since batch norm compares them. Got {len(data)} instead (n_samples={len(data)})."
            )
        is_open = self._whole and estimator.max_epochs == "auto"
        frozen = network.frozen_digest()
        try:
            train(
                net,
                data,
                validation,
                epochs=self._n_epochs(n_images),
                stop_after=stop_after,
                seed=self._seed,
                schedule=self._whole,
                patience=estimator.patience if self._stops(validation) else None,
                learnt=_LEARNT if is_open and is_classifier(estimator) else None,
                # A second training on all images has no validation data.
                callbacks=estimator.callbacks if stop_after is None else that_need_no_validation(estimator.callbacks),
                told=self._tasks,
                read=self._read,
                verbose=estimator.verbose,
            )
        finally:
            network.eval()
        network.check_frozen(frozen)

    def _read(self, X):
        """Return activations of images that a callback has."""
        return self._data.activations.of(self._estimator._images(X))

    def _settle(self, net, fallback, n_before=0):
        """Note the best epoch on the images set aside; when none was better, go back to before the training."""
        losses = np.nan_to_num(net.history[n_before:, "valid_loss"], nan=np.inf)
        self._note(n_before + int(np.argmin(losses)) + 1)
        if fallback is not None and fallback[0] <= losses.min():
            self._note(n_before)
            for name, tensor in trained_tensors(net.module_).items():
                tensor.copy_(fallback[1][name])

    def _as_it_stands(self, net, validation):
        """Return the loss on the images set aside, and the weights with that loss."""
        loss = validation_loss(net, validation)
        return loss, {name: tensor.clone() for name, tensor in trained_tensors(net.module_).items()}

    def _note(self, epoch):
        if self._whole and self._estimator.early_stopping:
            self._estimator.best_epoch_ = epoch

    def _solve(self, head, data, features):
        return head.solve(self._estimator._coding.probe, *self._taught(data, features))

    def _taught(self, data, features):
        """Return what a linear model is fitted to."""
        return features, self._targets[data.positions], data.weights[data.positions]

    def _solve_probe(self, network, data):
        """Fit the probe on the stages as they were before training, where outputs are averaged with its own."""
        if self._whole and network.probe is not None:
            head = network.probe.head
            features = self._through(network, network.probe.features, data.activations.vectors, data)
            solution = self._solve(head, data, features)
            if solution is not None:  # where a class has no image, there is nothing to average with, or what there was
                head.standardise(features)
                head.take(solution, 1.0)
                share = head.solve(self._estimator._coding.share_beside_probe, *self._taught(data, features))
                network.probe.share_of_others.copy_(torch.as_tensor(share))

    def _solve_again(self, network, data):
        """Fit a linear head once more, as a probe on the features that training has ended with.

        Training goes on until no training image is in doubt; a probe knows how sure it can be. Where the head alone was
        trained, it would be the first probe again.
        """
        if self._whole and network.probe is not None and network.head.from_probe and len(network.trained_stages):
            features = self._features(network, data)
            solution = self._solve(network.head, data, features)
            if solution is not None:
                network.head.standardise(features)
                network.head.take(solution, 1.0)

    def _features(self, network, data):
        """Return pooled features of plain images with the present weights."""
        return self._through(network, network.features, data.activations.__getitem__, data)

    def _through(self, network, function, inputs, data):
        """Return a function of what there is of the plain images at the split point."""
        batch_size, size = self._estimator.batch_size, network.preprocessing.crop_size
        parts = np.array_split(data.positions, -(-len(data) // batch_size))
        if network.n_frozen == len(network.stages):  # what comes from below the split point
            return torch.cat([function(inputs(part).cpu()) for part in parts])  # finite already
        rows = block_rows(size, self._placement.device, batch_size)

        def whole(batch):
            return function(batch if network.n_frozen else network.below_cut(batch))

        key = (self._estimator.backbone_.digest, "features", network.n_frozen, self._placement, size)
        features = torch.cat([run_in_blocks(whole, inputs(part), self._placement, rows, key=key) for part in parts])
        check_finite_numbers(features, "features", data.activations, data.positions)
        return features
