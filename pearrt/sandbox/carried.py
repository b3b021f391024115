"""Code that is carried into an app's process, compiled here: nothing of pearrt's is importable there, and its
name says nothing of where it lies on this machine. A shell of the sandbox room."""

from __future__ import annotations

import importlib.machinery
from pathlib import Path
from types import CodeType

from pearrt.sandbox.layout import SHIM_NAME


def code_of(source: Path) -> CodeType:
    """What runs inside: from the package's bytecode cache where there is one."""
    loader = importlib.machinery.SourceFileLoader(source.stem, str(source))
    code = loader.get_code(source.stem)
    assert code is not None
    return _renamed(code)


def _renamed(code: CodeType) -> CodeType:
    inner = tuple(_renamed(c) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_filename=SHIM_NAME, co_consts=inner)
