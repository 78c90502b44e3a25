"""Tests for what you quantize: strategies, oracles, and checks that shrink to the simplest counter-example.

`strategies` draws arrays, qparams, quantized tensors, layers and calibration streams; `oracles` computes exactly and
slowly; `closeness`, `conformance` and `quantizers` hold the three checks below. Needs hypothesis: `nanoquant[testing]`.

Property-test your own quantizer
--------------------------------

A formula copied from a web page looks right, and on one picture does something plausible. State what must hold for
*every* input instead, and let a machine look for the exception:

>>> import numpy as np
>>> from nanoquant.testing import check_quantizer
>>> def quantize(x, scale, zero_point):
...     return np.clip(np.rint((x - zero_point) / scale), 0, 255)
>>> def dequantize(q, scale, zero_point):
...     return scale * (q - zero_point)
>>> check_quantizer(quantize, dequantize)
Traceback (most recent call last):
AssertionError: P4: real zero becomes 0, which means -1.0 (scale 1.0, zero point 1). It computes rint((x - z) / s): \
convention A's integer zero point in convention B's formula, where a real offset belongs: try rint(x / s) + z

The counter-example is the simplest there is: x = 0, scale 1, zero point 1. The advice is right:

>>> def quantize(x, scale, zero_point):
...     return np.clip(np.rint(x / scale) + zero_point, 0, 255)
>>> check_quantizer(quantize, dequantize)

`nanoquant.conventions` has the formulas that may be mixed up. `check_observer` does the same for an observer, and
`assert_quantized_close` compares what is equal but for a step here and there.
"""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ImportError as missing:
    raise ImportError("nanoquant.testing needs hypothesis: pip install 'nanoquant[testing]'") from missing

from . import oracles as oracles, strategies as strategies
from .closeness import assert_quantized_close as assert_quantized_close
from .conformance import check_observer as check_observer
from .quantizers import check_quantizer as check_quantizer
