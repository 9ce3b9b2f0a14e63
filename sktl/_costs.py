"""What a candidate costs: the figures that are kept of every fit, and how they are called."""

__all__ = ["COSTS", "MB"]

COSTS = {
    "fit_seconds": "seconds to fit, per split",
    "predict_seconds": "seconds to predict, per split",
    "n_images_through_network": "images through the network, per split",
    "n_parameters": "network parameters kept",
    "n_trained_parameters": "network parameters trained",
    "peak_memory": "peak memory in MB",
}
MB = 10**6
