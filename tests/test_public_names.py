"""The names that `import clipdata` gives."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

import clipdata as cd


def test_every_public_name_is_there() -> None:
    for name in cd.__all__:
        assert getattr(cd, name) is not None
    assert {"Table", "Run", "Mapped", "Comparison", "Encoder", "Step", "log", "progress_bar"} <= set(cd.__all__)


def test_no_module_hides_a_public_function() -> None:
    for module in pkgutil.iter_modules(cd.__path__):
        importlib.import_module(f"clipdata.{module.name}")
        if module.name in cd.__all__:
            assert isinstance(getattr(cd, module.name), ModuleType)
    assert callable(cd.compare)
    assert callable(cd.progress_bar)


def test_the_names_alone_load_neither_torch_nor_lance_nor_rich() -> None:
    check = (
        "import sys, clipdata; dir(clipdata); print(sorted({'torch', 'lance', 'rich', 'open_clip'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True).stdout.strip() == "[]"
