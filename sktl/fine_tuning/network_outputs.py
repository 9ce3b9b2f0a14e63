"""The outputs of a fitted network for some images, for whoever needs several kinds of predictions made of them."""

__all__ = ["NetworkOutputs"]


class NetworkOutputs:
    """Computed once; `predict` and the like of the same estimator take them in place of the images."""

    def __init__(self, estimator, X):
        self._values = estimator._outputs(X)

    @classmethod
    def of(cls, values):
        """Take outputs that were computed in another way."""
        outputs = object.__new__(cls)
        outputs._values = values
        return outputs

    def values(self):
        """Return a copy of the outputs (n_images, n_outputs)."""
        return self._values.copy()
