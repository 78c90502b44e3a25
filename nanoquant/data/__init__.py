"""Data: the handwritten digits in the package, files of the common image sets, and batches of them."""

from .batches import batches as batches
from .digits import load_digit_rows as load_digit_rows, load_digits as load_digits
from .idx import load_cifar10 as load_cifar10, load_idx as load_idx
from .loader import DataLoader as DataLoader, Dataset as Dataset, Subset as Subset, TensorDataset as TensorDataset
from .loader import default_collate as default_collate, random_split as random_split
