"""Names that the candidates of a comparison go by, for whatever reads their results."""

__all__ = ["CANDIDATE_NAMES", "CHANCE_LEVEL", "PIXELS", "RANDOM_WEIGHTS", "RECIPES"]

CHANCE_LEVEL = "dummy"  # what a candidate without any learning scores
PIXELS = "pixels"  # what a candidate without a network scores
RANDOM_WEIGHTS = "frozen_random"  # what the frozen recipe scores without pretraining
RECIPES = {
    CHANCE_LEVEL: "learns nothing from the images: chance level",
    PIXELS: "a linear model on pictures of 16 × 16 pixels, without a network",
    RANDOM_WEIGHTS: "a linear model on the features of the network with random weights, without pretraining",
    "frozen": "a linear model on the features of the pretrained network, which stays as it is",
    "fine_tuned": "the pretrained network, with its top stages trained further",
    "from_scratch": "the same network from random weights, all of it trained",
}
CANDIDATE_NAMES = tuple(RECIPES)
