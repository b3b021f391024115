"""Makes `bootstrap` importable from where this pearrt has its sources: in an installed one, those that came
with the wheel and that it builds bootstrappers from."""

from __future__ import annotations

import importlib.util
import sys

from pearrt.publish.pyz import Sources

if "bootstrap" not in sys.modules:
    _folder = Sources.found().folders["bootstrap"]
    _spec = importlib.util.spec_from_file_location(
        "bootstrap", _folder / "__init__.py", submodule_search_locations=[str(_folder)]
    )
    assert _spec is not None
    assert _spec.loader is not None
    sys.modules["bootstrap"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["bootstrap"])
