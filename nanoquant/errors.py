"""An error that knows where in a model it happened.

Before: nothing. After: `module`.
"""

from __future__ import annotations

from typing import Any


class ModuleError(ValueError, RuntimeError):
    """A module cannot do what it was asked; the message starts with the module's path in the model.

    The module that raises knows itself but not its path, so the calls it passes on the way up complete the message. A
    plain ValueError that leaves a module's forward becomes one too.
    """

    def __init__(self, module: Any, problem: str) -> None:
        super().__init__(problem)
        self.module, self.problem = module, problem
        self.path = ""

    def locate(self, ancestor: Any) -> None:
        """Notes where the module stands below `ancestor`."""
        for name, module in ancestor.named_modules():
            if module is self.module:
                self.path = name

    def __str__(self) -> str:
        return f"{self.path or 'the model itself'} ({self.module.printed_name()}): {self.problem}"


def located(error: ValueError, module: Any) -> ValueError:
    """The error as it leaves a module's call: told its place if it is a ModuleError, made one if it is a plain ValueError."""
    if type(error) is ValueError:
        error = ModuleError(module, str(error)).with_traceback(error.__traceback__)
    if isinstance(error, ModuleError):
        error.locate(module)
    return error
