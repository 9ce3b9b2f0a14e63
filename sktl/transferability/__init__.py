"""Which network to take: scores of its features on your images, and of a candidate that was chosen for being best."""

from sktl.transferability._bias_corrected import CorrectedScore, bias_corrected_score
from sktl.transferability._log_me import log_me
from sktl.transferability._nearest_neighbour import nearest_neighbour_score

__all__ = ["CorrectedScore", "bias_corrected_score", "log_me", "nearest_neighbour_score"]
