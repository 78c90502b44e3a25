"""Optimizers, learning-rate schedules and gradient clipping, with torch's names and arguments."""

from ..nn.utils import clip_grad_norm_ as clip_grad_norm_
from ..nn.utils import clip_grad_value_ as clip_grad_value_
from . import lr_scheduler as lr_scheduler
from .optimizers import SGD as SGD
from .optimizers import Adam as Adam
from .optimizers import AdamW as AdamW
from .optimizers import Optimizer as Optimizer
from .optimizers import RMSprop as RMSprop
