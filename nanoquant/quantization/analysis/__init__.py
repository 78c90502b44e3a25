"""What a network costs and is worth: accuracy, bytes, time, layer by layer and model by model."""

from . import numeric_suite as numeric_suite
from .compare import Comparison as Comparison, compare as compare, evaluate as evaluate
from .profile import LayerProfile as LayerProfile, ModelProfile as ModelProfile, profile as profile
