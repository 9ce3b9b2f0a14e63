"""What `fit` has learnt apart from the numbers of the network, and from both a fitted estimator again."""

import torch
from torch import nn

from sktl._validation import validate_parameters
from sktl.fine_tuning._fitting import new_net
from sktl.fine_tuning._parameters import check_together
from sktl.inference import StoreInfo, resolve_placement
from sktl.training import FineTuneNetwork, StageProbe, build_head

__all__ = ["empty_network", "fitted_state", "restore"]


def fitted_state(estimator):
    """Return in plain Python what training has fixed; the targets are in `estimator._encoding()`."""
    return {
        "unfreeze_depth": estimator.unfreeze_depth_,
        "head": _parameter_of(estimator.module_.head, estimator),
        "dropout": float(estimator.module_.head.dropout.p),
        "from_probe": estimator.module_.head.from_probe,
        "probe": None if estimator.module_.probe is None else estimator.module_.probe.description(),
        "value_range_is_learned": estimator._range_is_learned,
        "seed": estimator._seed,
        "n_trainings": estimator._n_trainings,
    }


def _parameter_of(head, estimator):
    """Return "linear" or the widths of the hidden layers, or raise if the head is one of the user's own."""
    if head.linear:
        return "linear"
    widths = [layer.out_features for layer in head.layers.modules() if isinstance(layer, nn.Linear)][:-1]
    with torch.device("meta"):
        twin = build_head(widths, len(head.mean), estimator._coding.n_outputs, head.dropout.p)
    if callable(estimator.head) or repr(twin.layers) != repr(head.layers):
        raise TypeError("a head of your own")
    return widths


def empty_network(estimator, chain, n_features, preprocessing, state):
    """Build the network of an estimator that has its targets, with names and shapes and no numbers."""
    with torch.device("meta"):
        head = build_head(state["head"], n_features, estimator._coding.n_outputs, state["dropout"])
    network = FineTuneNetwork(
        chain.stages,
        head,
        len(chain.stages) - state["unfreeze_depth"],
        preprocessing,
        chain.own_pooling,
        update_statistics=estimator._updates_statistics(),
    )
    if (probe := state.get("probe")) is not None:  # files of versions without one have no such entry
        n_outputs = estimator._coding.n_outputs
        with torch.device("meta"):
            network.probe = StageProbe(network.trained_stages, chain.own_pooling, n_outputs=n_outputs, **probe)
    return network


def restore(estimator, network, backbone, state):
    """Make an estimator fitted that has its targets: by a network with its numbers, and by what training has fixed."""
    validate_parameters(estimator)
    check_together(estimator)
    estimator.backbone_ = backbone
    estimator.unfreeze_depth_ = state["unfreeze_depth"]
    estimator._range_is_learned = state["value_range_is_learned"]
    estimator._seed, estimator._n_trainings = state["seed"], state["n_trainings"]
    estimator.store_info_, estimator.bad_images_ = StoreInfo(), []
    placement = resolve_placement(estimator.device, estimator.precision)
    network.to(memory_format=torch.channels_last).to(placement.device)
    network.head.from_probe = state["from_probe"]  # by which the rate of the head is chosen when training goes on
    estimator.n_trained_parameters_ = sum(p.numel() for p in network.parameters() if p.requires_grad)
    estimator.net_ = new_net(estimator, network, placement)
    return estimator
