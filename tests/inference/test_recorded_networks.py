"""Stages cut out of recorded networks are folded, and computed in ONNX Runtime, as others are."""

import numpy as np
import pytest
import torch
from torch import nn

from sktl import PretrainedFeatureExtractor
from sktl.backbones import Preprocessing, load_backbone
from sktl.datasets import make_fractals
from sktl.inference._folding import FastChain
from sktl.stages._traced_stage import TracedStage

SMALL = Preprocessing(crop_size=32)


class Residual(nn.Module):
    """Convolutions and norms whose order no child tells."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.convolutions = nn.ModuleList([nn.Conv2d(8, 8, 3, 1, 1) for _ in range(4)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(8) for _ in range(4)])
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        x = self.stem(x)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = x + norm(convolution(x)).relu()
        return self.fc(x.mean((2, 3)))


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    module = Residual()
    with torch.no_grad():
        for norm in module.norms:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return load_backbone(module.eval(), preprocessing=SMALL)


@pytest.fixture(scope="module")
def images():
    return make_fractals(7, n_classes=7, image_size=40, random_state=0)[0]


def test_norms_in_recorded_stages_are_folded(backbone):
    assert any(isinstance(stage, TracedStage) for stage in backbone.stages)
    fast = FastChain(backbone.stages, 32, fold=True).below(len(backbone.stages))
    assert not any(isinstance(part, nn.BatchNorm2d) for stage in fast for part in stage.modules())
    x = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(nn.Sequential(*fast)(x), backbone.stages(x), rtol=1e-4, atol=1e-5)


def test_vectors_do_not_depend_on_what_comes_together(backbone, images):
    extractor = PretrainedFeatureExtractor(backbone, cache=False).fit(images)
    together = extractor.transform(images)
    apart = np.concatenate([extractor.transform(images[i : i + 1]) for i in range(len(images))])
    np.testing.assert_array_equal(together, apart)


@pytest.mark.slow
def test_onnx_runtime_gives_the_same_vectors(backbone, images):
    pytest.importorskip("onnxruntime")
    plain, onnx = (
        PretrainedFeatureExtractor(backbone, cache=False, engine=engine).fit_transform(images)
        for engine in ("torch", "onnxruntime")
    )
    np.testing.assert_allclose(onnx, plain, rtol=1e-4, atol=1e-5)
