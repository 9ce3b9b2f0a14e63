"""Files of weights: tensors of a network out of whatever a training has left behind."""

__all__: list[str] = []
