"""The eager workflow: prepare, calibrate (or train), convert. Modules are exchanged in place; nothing is traced."""

from .convert import convert as convert
from .dynamic import quantize_dynamic as quantize_dynamic
from .prepare import prepare as prepare
from .prepare import prepare_qat as prepare_qat
