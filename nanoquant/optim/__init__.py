"""Optimizers and learning-rate schedules, with torch's names and arguments."""

from . import lr_scheduler as lr_scheduler
from .optimizers import SGD as SGD
from .optimizers import Adam as Adam
from .optimizers import AdamW as AdamW
from .optimizers import Optimizer as Optimizer
