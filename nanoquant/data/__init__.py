"""Data: the handwritten digits in the package, and files of the common image sets."""

from .batches import batches as batches
from .digits import load_digits as load_digits
from .idx import load_idx as load_idx
