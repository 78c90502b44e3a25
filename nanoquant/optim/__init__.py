"""Optimizers, learning-rate schedules and gradient clipping, with torch's names and arguments."""

from ..nn.utils import clip_grad_norm_ as clip_grad_norm_, clip_grad_value_ as clip_grad_value_
from . import lr_scheduler as lr_scheduler
from .optimizers import SGD as SGD, Adam as Adam, AdamW as AdamW, Optimizer as Optimizer, RMSprop as RMSprop
