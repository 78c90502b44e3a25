"""What a network costs and is worth: accuracy, bytes, time, layer by layer and model by model."""

from .compare import Comparison as Comparison
from .compare import compare as compare
from .compare import evaluate as evaluate
from .profile import LayerProfile as LayerProfile
from .profile import ModelProfile as ModelProfile
from .profile import profile as profile
