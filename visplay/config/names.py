"""`module:attribute`: how a configuration names a custom function."""

import pkgutil
import sys
from pathlib import Path
from typing import Any

from visplay.errors import ConfigError


def named(name: str, *, key: str) -> Any:
    """Import `name`, given as `module:attribute`; `key` is the configuration key that holds it.

    Only starting a run or an evaluation calls this; reading a run imports nothing that it names.

    Raises:
        ConfigError: the module or the attribute cannot be imported.
    """
    here = str(Path.cwd())
    if here not in sys.path:  # last, so that a file there hides no package
        sys.path.append(here)
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{key}: {name!r} cannot be imported ({error}); write module:attribute, and start visplay in "
            "the module's folder, or set PYTHONPATH; `rewards` and `rollouts` are visplay's own packages"
        ) from error
