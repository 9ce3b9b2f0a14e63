"""The strategies that there are for one network: as it is, frozen, some stages trained further, all of it anew."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Any

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sktl.feature_extraction import PretrainedClassifier, PretrainedFeatureExtractor
from sktl.feature_extraction.frozen_pipeline import frozen_pipeline, linear_probe
from sktl.fine_tuning import FineTuneClassifier, FineTuneRegressor
from sktl.inference import embedding_widths

__all__ = ["Strategy", "frozen_strategies", "probe_on_vectors", "trained_strategies", "used_as_it_is"]


@dataclass(frozen=True, eq=False)
class Strategy:
    """One way to use a network for a task of one's own.

    Parameters
    ----------
    name : str
        What the comparison calls it.
    kind : {"as it is", "frozen", "fine-tuned", "from scratch"}
        Which of the four.
    stages : tuple of str
        Stages whose features are taken, or that are trained.
    estimator : estimator
        Unfitted.
    pooling : str or None, default=None
        From maps to vectors, where features are taken.
    depth : int, "all" or None, default=None
        How many of the top stages are trained; None where none is.

    See Also
    --------
    StrategyRecommendation : Chooses among them.

    Examples
    --------
    >>> from sktl import FineTuneClassifier
    >>> from sktl.transferability import Strategy
    >>> Strategy("fine_tuned_1", "fine-tuned", ("stage4",), FineTuneClassifier(), depth=1).words
    'fine-tune the top stage'
    """

    name: str
    kind: str
    stages: tuple[str, ...]
    estimator: Any
    pooling: str | None = None
    depth: int | str | None = None

    @property
    def words(self) -> Any:
        """What to do, in words."""
        if self.kind == "as it is":
            return "use it as it is, with its own classes"
        if self.kind == "from scratch":
            return "train the network from scratch"
        if self.kind == "fine-tuned":
            trained: dict[Any, str] = {"all": "all stages", 1: "the top stage"}
            return f"fine-tune {trained.get(self.depth, f'the top {self.depth} stages')}"
        which = f"stage {self.stages[0]!r}" if len(self.stages) == 1 else "all stages"
        return f"frozen features of {which} ({self.pooling}) with a linear model"


def used_as_it_is(y, record, **network):
    """Return the strategy of the network's own classes, in a list: empty where the labels are not names of these."""
    names = Counter(record.categories or ())  # of which those that several classes have are no answer
    if record.head is None or not all(isinstance(label, str) and names[label] == 1 for label in set(y.tolist())):
        return []
    return [Strategy("as_it_is", "as it is", record.stage_names, PretrainedClassifier(**network))]


def frozen_strategies(task, record, **shared):
    """Return the strategies of a linear model on frozen features, each with its columns among those of all stages."""
    every = record.stage_names
    columns = _columns_of_stages(record, shared["image_size"])
    choices = [("avg+std", every), *(("avg+std", (name,)) for name in every if len(every) > 1)]
    choices += [("avg", (name,)) for name in every if columns["avg"][name] != columns["avg+std"][name]]
    if len(every) > 1 and columns["avg"] != columns["avg+std"]:
        choices.append(("avg", every))
    return {
        _frozen(task, stages, pooling, is_first=number == 0, every=every, **shared): [
            columns[pooling][name] for name in stages
        ]
        for number, (pooling, stages) in enumerate(choices)
    }


def _frozen(task, stages, pooling, *, is_first, every, **shared):
    if is_first:
        return Strategy("frozen", "frozen", stages, frozen_pipeline(task, **shared), pooling)
    layer = "all" if stages == every else stages[0]
    model = make_pipeline(PretrainedFeatureExtractor(**shared, layer=layer, pooling=pooling), linear_probe(task))
    return Strategy(f"frozen_{layer}_{pooling}", "frozen", stages, model, pooling)


def _columns_of_stages(record, image_size):
    """Find where the features of each stage lie, by pooling, among those of all stages with mean and deviation."""
    preprocessing = record.preprocessing if image_size is None else record.preprocessing.resized(image_size)
    widths = {how: embedding_widths(record, record.stage_names, how, preprocessing) for how in ("avg", "avg+std")}
    ends = np.cumsum(widths["avg+std"]).tolist()
    starts = [end - width for end, width in zip(ends, widths["avg+std"], strict=True)]
    return {
        how: {name: (start, start + width) for name, start, width in zip(record.stage_names, starts, own, strict=True)}
        for how, own in widths.items()
    }


def probe_on_vectors(task, columns):
    """Make the linear model of a frozen strategy for the vectors of all stages, of which it takes its columns."""
    return make_pipeline(FunctionTransformer(_taken, kw_args={"columns": columns}), linear_probe(task))


def _taken(vectors, columns):
    return np.concatenate([vectors[:, start:end] for start, end in columns], axis=1)


def trained_strategies(task, record, *, max_epochs, can_start_anew, **shared):
    """Return the strategies that train the network: one stage, two, four and so on, all, and all from scratch."""
    kind = FineTuneClassifier if task == "classification" else FineTuneRegressor
    every = record.stage_names
    depths = list(takewhile(lambda depth: 2 * depth <= len(every), (2**power for power in count())))
    found = [
        Strategy(
            f"fine_tuned_{depth}",
            "fine-tuned",
            every if depth == "all" else every[-depth:],
            kind(unfreeze_depth=depth, max_epochs=max_epochs, **shared),
            depth=depth,
        )
        for depth in [*depths, "all"]
    ]
    if can_start_anew:
        anew = kind(unfreeze_depth="all", max_epochs=max_epochs, **{**shared, "weights": None})
        found.append(Strategy("from_scratch", "from scratch", every, anew, depth="all"))
    return found
