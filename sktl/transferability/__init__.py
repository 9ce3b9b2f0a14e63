"""Which network and which strategy to take, measured on your images."""

from sktl.transferability._choosing import Quadrant
from sktl.transferability._costs import StrategyCost
from sktl.transferability._probing import LabelCurve
from sktl.transferability._recommend import recommend_strategy
from sktl.transferability._recommendation import StrategyRecommendation, StrategyRow
from sktl.transferability._strategies import Strategy

__all__ = [
    "LabelCurve",
    "Quadrant",
    "Strategy",
    "StrategyCost",
    "StrategyRecommendation",
    "StrategyRow",
    "recommend_strategy",
]
