"""Which network to take: scores of its features on your images, and of a candidate that was chosen for being best."""

from sktl.transferability._bias_corrected import CorrectedScore, bias_corrected_score
from sktl.transferability._log_me import log_me
from sktl.transferability._nearest_neighbour import nearest_neighbour_score
from sktl.transferability._rank import rank_backbones
from sktl.transferability._ranking import BackboneRanking, RankedNetwork

__all__ = [
    "BackboneRanking",
    "CorrectedScore",
    "RankedNetwork",
    "bias_corrected_score",
    "log_me",
    "nearest_neighbour_score",
    "rank_backbones",
]
