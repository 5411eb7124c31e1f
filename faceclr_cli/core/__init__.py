"""The core package: everything that `faceclr` does, without a terminal.

Each command is a function here that takes its config and a reporter, and returns a result. Names in `__init__.pyi` are
stable, and docs/python.md shows how they are used. The modules below may change with any release.

A name is imported when it is first used, so that nothing waits for PyTorch or OpenCV that does not need
them, and `faceclr --help` waits for neither.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
