"""Which network and which strategy to take, measured on your images, and scores that tell before any training."""

from sktl.transferability._bias_corrected import CorrectedScore, bias_corrected_score
from sktl.transferability._choosing import Quadrant
from sktl.transferability._costs import StrategyCost
from sktl.transferability._log_me import log_me
from sktl.transferability._nearest_neighbour import nearest_neighbour_score
from sktl.transferability._probing import LabelCurve
from sktl.transferability._rank import rank_backbones
from sktl.transferability._ranking import BackboneRanking, RankedNetwork
from sktl.transferability._recommend import recommend_strategy
from sktl.transferability._recommendation import StrategyRecommendation, StrategyRow
from sktl.transferability._strategies import Strategy

__all__ = [
    "BackboneRanking",
    "CorrectedScore",
    "LabelCurve",
    "Quadrant",
    "RankedNetwork",
    "Strategy",
    "StrategyCost",
    "StrategyRecommendation",
    "StrategyRow",
    "bias_corrected_score",
    "log_me",
    "nearest_neighbour_score",
    "rank_backbones",
    "recommend_strategy",
]
