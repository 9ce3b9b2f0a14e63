"""Names that the candidates of a comparison go by, for whatever reads their results."""

__all__ = ["CANDIDATE_NAMES", "CHANCE_LEVEL", "PIXELS"]

CHANCE_LEVEL = "dummy"  # what a candidate without any learning scores
PIXELS = "pixels"  # what a candidate without a network scores
CANDIDATE_NAMES = (CHANCE_LEVEL, PIXELS, "frozen", "fine_tuned", "from_scratch")
