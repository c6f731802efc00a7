"""What an installed ONNX Runtime says of its own build, read without importing it."""

from __future__ import annotations

import re
from pathlib import Path

_FILE = "build_and_package_info.py"
_FACT = re.compile(r"""^(\w+)\s*=\s*['"]([^'"]*)['"]""", re.MULTILINE)


def read(capi: Path) -> dict[str, str]:
    """The facts beside a library: `package_name`, `__version__`, for some `cuda_version`; empty where there are none.

    Args:
        capi: The folder of the library.

    Example:
        >>> read(Path("no/such/folder"))
        {}
    """
    try:
        return dict(_FACT.findall((capi / _FILE).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):
        return {}
