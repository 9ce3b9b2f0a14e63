import pytest
import torch

from sktl.backbones.finiteness import check_finite, names_of_nonfinite
from sktl.exceptions import WeightsError


def test_tensors_that_are_no_numbers_are_named():
    tensors = {"a": torch.ones(2), "b": torch.ones(2), "c": torch.tensor([1, 2]), "d": torch.ones(0)}
    check_finite(tensors, "net")
    tensors["b"][1] = torch.nan
    tensors["a"] = torch.full((1, 2), -torch.inf, dtype=torch.float64)
    assert names_of_nonfinite(tensors) == ["a", "b"]
    with pytest.raises(WeightsError, match=r"finite numbers\. Got NaN or infinity in 2 tensors of net \('a'\)"):
        check_finite(tensors, "net")
