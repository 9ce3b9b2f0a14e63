"""A fitted estimator as one torch module: prepared bytes in, probabilities or predictions in the units of y out."""

from copy import deepcopy

import numpy as np
import torch
from sklearn.base import is_classifier
from torch import nn

from sktl.fine_tuning.network_outputs import NetworkOutputs
from sktl.images import as_images
from sktl.inference import Placement, pooled_outputs
from sktl.models._pipelines import pipeline_outputs

__all__ = ["FineTunedModule", "PipelineModule"]

_ON_CPU = Placement(torch.device("cpu"), torch.float32)


class FineTunedModule(nn.Module):
    """A fine-tuned network, with what its estimator makes of the outputs."""

    def __init__(self, estimator):
        super().__init__()
        self.network = deepcopy(estimator.module_).cpu().eval()
        self.preprocessing = self.network.preprocessing
        self.mirrors = estimator.test_time_augmentation
        encoding = estimator._encoding()
        self.is_classifier = "classes" in encoding
        if self.is_classifier:
            self.classes, self.multilabel = encoding["classes"], encoding["multilabel"]
        else:
            self.flat = encoding["flat"]
            for name in ("mean", "scale"):
                self.register_buffer(name, torch.as_tensor(encoding[name], dtype=torch.float64))

    def forward(self, images):
        """Return probabilities of float32, or predictions of float64."""
        outputs = self.network(images)
        if self.mirrors:
            outputs = (outputs + self.network(images.flip(3))) / 2
        if self.is_classifier:
            return outputs.sigmoid() if self.multilabel else _softmax(outputs, self.classes)
        predictions = outputs.double() * self.scale + self.mean
        return predictions[:, 0] if self.flat else predictions

    def expected(self, estimator, pictures):
        """Return what the estimator itself gives, on the CPU."""
        outputs = NetworkOutputs.of(estimator._outputs_of(as_images(pictures), self.network, _ON_CPU))
        found = (estimator.predict_proba if self.is_classifier else estimator.predict)(outputs)
        return np.concatenate(found, axis=1) if isinstance(found, list) else found


def _softmax(outputs, classes):
    """Return the probabilities of classes, or those of the classes of each column side by side."""
    parts = outputs.split([len(each) for each in classes], 1) if isinstance(classes, list) else [outputs]
    return torch.cat([part.softmax(1) for part in parts], 1)


class PipelineModule(nn.Module):
    """An extractor, a scaler where there is one, and a linear model."""

    def __init__(self, pipeline):
        super().__init__()
        extractor, *scalers, linear = (step for _, step in pipeline.steps)
        backbone = extractor.backbone_
        cuts = tuple(backbone.n_stages_below(layer) for layer in extractor.layers_)
        self.stages = deepcopy(backbone.stages[: max(cuts)])
        self.pooling = (cuts, extractor.pooling, backbone.own_pooling)
        self.preprocessing = extractor._preprocessing()
        self.is_classifier, self.multilabel = is_classifier(linear), False
        if self.is_classifier:
            self.classes, self.one_by_one = linear.classes_, _is_one_by_one(linear)
        self.flat = linear.coef_.ndim == 1
        # Features of tens of thousands of numbers, or in their own units, want more than float32 in the sums.
        weights = np.atleast_2d(linear.coef_).astype(np.float64)
        offset = np.atleast_1d(linear.intercept_).astype(np.float64)
        for scaler in scalers:
            weights = weights / (scaler.scale_ if scaler.with_std else 1.0)
            offset = offset - (weights @ scaler.mean_ if scaler.with_mean else 0.0)
        self.register_buffer("weights", torch.from_numpy(weights.T.copy()))
        self.register_buffer("offset", torch.from_numpy(offset))

    def forward(self, images):
        """Return probabilities of float32, or predictions of float64."""
        vectors = pooled_outputs(self.stages, self.preprocessing.normalize(images), *self.pooling)
        outputs = vectors.double() @ self.weights + self.offset
        if not self.is_classifier:
            return outputs[:, 0] if self.flat else outputs
        if not self.one_by_one:
            return outputs.softmax(1).float()
        shares = outputs.sigmoid()
        if shares.shape[1] == 1:
            return torch.cat([1 - shares, shares], dim=1).float()
        return (shares / shares.sum(1, keepdim=True)).float()

    def expected(self, pipeline, pictures):
        """Return what the pipeline itself gives, on the CPU."""
        return pipeline_outputs(pipeline, as_images(pictures), _ON_CPU)


def _is_one_by_one(linear):
    """Whether scikit-learn fits and squashes each class by itself."""
    named = {getattr(linear, name, None) for name in ("solver", "multi_class")}
    return len(linear.classes_) <= 2 or not named.isdisjoint({"liblinear", "ovr"})
