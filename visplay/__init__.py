"""VisPlay: a vision-language model improves itself from unlabelled images (arXiv 2511.15661).

    import visplay

    config = visplay.load_config("configs/demo.yaml")
    run = visplay.train(config, display=visplay.Display())
    print(run.candidates().to_pandas())
    print(run.reasoner().answer("runs/demo-images/000000.png", "How many circles are there?"))

Each name is imported when it is first used, so `import visplay` is fast and does not load torch. Other
packages are then as quiet as on the command line, unless an environment variable says otherwise.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visplay import errors
    from visplay.cli.doctor import examine as doctor
    from visplay.cli.plan import print_plan as plan
    from visplay.config.loading import Config, load_config
    from visplay.errors import VisplayError
    from visplay.evaluation.comparison import compare_stored as compare
    from visplay.evaluation.export import export
    from visplay.notebook import Answering, Run, evaluate, open_answering, open_run, train
    from visplay.progress import Display

__version__ = "0.2.0"
__all__ = [
    "Answering", "Config", "Display", "Run", "VisplayError", "compare", "doctor", "errors", "evaluate",
    "export", "load_config", "open_answering", "open_run", "plan", "train",
]  # fmt: skip
_HOMES = {
    "Answering": "visplay.notebook:Answering", "Config": "visplay.config.loading:Config",
    "Display": "visplay.progress:Display", "Run": "visplay.notebook:Run",
    "VisplayError": "visplay.errors:VisplayError",
    "compare": "visplay.evaluation.comparison:compare_stored", "errors": "visplay.errors:",
    "doctor": "visplay.cli.doctor:examine", "plan": "visplay.cli.plan:print_plan",
    "evaluate": "visplay.notebook:evaluate", "export": "visplay.evaluation.export:export",
    "load_config": "visplay.config.loading:load_config",
    "open_answering": "visplay.notebook:open_answering", "open_run": "visplay.notebook:open_run",
    "train": "visplay.notebook:train",
}  # fmt: skip


def _hold(name: str) -> None:
    """Import a top-level package of ours where a file of that name in the user's folder would hide it."""
    home = Path(__file__).parents[1] / name
    found = find_spec(name)
    if found is not None and found.origin == str(home / "__init__.py"):
        return
    spec = spec_from_file_location(name, home / "__init__.py", submodule_search_locations=[str(home)])
    assert spec and spec.loader
    sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


for _name in ("rewards", "rollouts"):
    if _name not in sys.modules:
        _hold(_name)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'visplay' has no attribute {name!r}")
    import_module("visplay.launcher").quieten()
    return resolve_name(_HOMES[name])


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
