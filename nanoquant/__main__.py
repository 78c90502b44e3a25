"""`python -m nanoquant` is the command `nanoquant`."""

import sys

from .cli import main

sys.exit(main())
