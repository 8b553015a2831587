"""What other packages say of themselves is kept off the terminal; our own display says what matters.

Nothing of a run is lost with it: errors are raised, and what a user may mend is said by us.
"""

import logging
import os
import warnings

_SETTINGS = {
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TORCH_LOGS": "-all",  # its own names that it is about to rename, and that there is no CUDA
}
_LOGGERS = (
    "vllm.triton_utils.importing",  # that Triton has no backend for CPUs
    "datasets.fingerprint",  # that prompts which are made when they are read have no fingerprint
)


def quieten() -> None:
    """Call it before anything else is imported; what a user has set in the environment stays."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    # Of TRL's own use of vLLM, which is not ours.
    warnings.filterwarnings("ignore", message="TRL currently supports vLLM versions", category=UserWarning)
