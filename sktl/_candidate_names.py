"""Names that the candidates of a comparison go by, for whatever reads their results."""

__all__ = ["CANDIDATE_NAMES", "CHANCE_LEVEL", "PIXELS", "RANDOM_WEIGHTS"]

CHANCE_LEVEL = "dummy"  # what a candidate without any learning scores
PIXELS = "pixels"  # what a candidate without a network scores
RANDOM_WEIGHTS = "frozen_random"  # what the frozen recipe scores without pretraining
CANDIDATE_NAMES = (CHANCE_LEVEL, PIXELS, RANDOM_WEIGHTS, "frozen", "fine_tuned", "from_scratch")
