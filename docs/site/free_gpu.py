"""Write docs/free-gpu.ipynb, a notebook for a hosted GPU of 16 GB, from docs/one-gpu.md.

    python docs/site/free_gpu.py

The headings, the explanations and the commands that both share are the page's; a test compares the file
with what this program makes.
"""

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
NOTEBOOK = DOCS / "free-gpu.ipynb"
_BLOCK = re.compile(r"^```.*?^```\n", re.DOTALL | re.MULTILINE)

INTRODUCTION = """# Your pictures on a free hosted GPU

This notebook follows [Your pictures on one GPU](one-gpu.md) on a hosted NVIDIA T4 with 16 GB. **It has not
been run on such a card.** `visplay plan` expects 11.9 GB for the configuration below. A test loads this
configuration and reads the commands, but no test runs them on a GPU.

Choose a GPU runtime before you start. A session needs Python 3.11 or 3.12, 20 GB of disk, and access to the
Hugging Face hub, from which the model (7.5 GB) and the benchmark are downloaded. A hosted session can end
at any time, and its disk is then deleted. Interrupt the training before that and copy the run, as step 3
shows. The cells that upload pictures and mount a drive are for Google Colab; on another host, set `FROM`
and `KEEP` to folders there and remove the lines with `google.colab` and `drive`."""

INSTALL = """REPOSITORY = "https://example.org/visplay.git"  # the address from which you can clone visplay
%pip install --quiet "git+{REPOSITORY}"
!visplay doctor"""

PICTURES = """import shutil
from pathlib import Path

FROM = "upload"  # or the path of a folder that is already here, e.g. one of a mounted drive
if FROM == "upload":
    from google.colab import files

    Path("photos").mkdir(exist_ok=True)
    for name in files.upload():
        shutil.move(name, Path("photos") / name)
elif not Path("photos").exists():
    Path("photos").symlink_to(FROM)
print(len(list(Path("photos").iterdir())), "files")"""

MOUNT = """from google.colab import drive

KEEP = "/content/drive/MyDrive/visplay"  # a folder that outlives the session
drive.mount("/content/drive")
!mkdir -p "{KEEP}" runs
!test ! -d "{KEEP}/mine" || test -d runs/mine || cp -r "{KEEP}/mine" runs/"""

CONFIGURATION = """%%writefile mine.yaml
name: mine
iterations: 1
model:
  path: Qwen/Qwen2.5-VL-3B-Instruct
  dtype: float16 # a T4 has no arithmetic in bfloat16
  max_pixels: 250880 # 320 tokens a picture
engine:
  backend: transformers
  batch_size: 32
images:
  source: photos
votes:
  samples: 5
questioner:
  steps: 5
  prompts_per_step: 4
  max_tokens: 256
curation:
  questions_per_image: 4
reasoner:
  steps: 10
  prompts_per_step: 4
  max_tokens: 512
optimizer:
  micro_batch_size: 2
evaluation:
  benchmarks: [mmstar]
  limit: 100
  maj_limit: 0
  blind_limit: 0"""

SHOW = """from html import escape
from pathlib import Path

from IPython.display import HTML

page = escape(Path("runs/mine/report.html").read_text())
HTML(f'<iframe srcdoc="{page}" width="100%" height="800"></iframe>')"""

TABLE = """import visplay

run = visplay.open_run("runs/mine")
run.candidates().to_pandas()[["question", "silver_answer", "confidence", "kept"]].head(20)"""


def notebook() -> str:
    """The notebook as JSON."""
    page = (DOCS / "one-gpu.md").read_text()
    parts = {part.split("\n", 1)[0]: part for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:]}
    check, write, train, helped, health = parts.values()
    cells = [
        _text(INTRODUCTION),
        _text(_prose(check)),
        _code(INSTALL),
        _text(f"## Your pictures\n\nUpload pictures, or name a folder on this machine. {_few(write)}"),
        _code(PICTURES),
        _text(
            "## 2. Write a configuration\n\nThe values are smaller than the defaults, so that one iteration "
            "is short: it samples about 4,500 completions. How long that takes on this card has not been "
            "measured."
        ),
        _code(CONFIGURATION),
        _code("!visplay plan mine.yaml --card t4\n!visplay doctor mine.yaml"),
        _text(
            "`doctor` loads the model and compares the log-probs of engine and trainer. If it reports that "
            "they differ or that a value is not finite, set `model.dtype: float32` and use a smaller model, "
            "for example `model.path: HuggingFaceTB/SmolVLM2-500M-Video-Instruct` without `max_pixels`."
        ),
        _text(_prose(train)),
        _code(MOUNT),
        _code(_command(train, "visplay train")),
        _code('!cp -r runs/mine "{KEEP}/"'),
        _text(_prose(helped)),
        _code(_command(helped, "visplay report")),
        _code(SHOW),
        _code(TABLE),
        _text(f"## {health.strip()}"),
        _text(
            "## 5. Evaluate and export\n\n`evaluate` asks more questions than the run did. `export` writes "
            "the adapter with a model card; [Working with the hub](hub.md) describes its use and publication."
        ),
        _code(
            "!visplay evaluate runs/mine -b mmstar --limit 300 --out evaluation\n"
            "!visplay export runs/mine out/reasoner\n"
            '!cp -r evaluation out "{KEEP}/"'
        ),
    ]  # fmt: skip
    for place, cell in enumerate(cells):
        cell["id"] = f"cell-{place:02}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"accelerator": "GPU", "colab": {"gpuType": "T4"}, "kernelspec": kernel}
    whole = {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _text(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def _code(text: str) -> dict[str, Any]:
    source = text.splitlines(keepends=True)
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}


def _prose(part: str) -> str:
    """A section of the page without its code blocks."""
    return "## " + re.sub(r"\n{2,}", "\n\n", _BLOCK.sub("", part)).strip()


def _few(part: str) -> str:
    """The page's paragraph on the number of pictures."""
    return next(text for text in part.split("\n\n") if text.startswith("How many pictures"))


def _command(part: str, start: str) -> str:
    """The command of a section that begins like this, as a line of a notebook."""
    found = re.search(rf"^`?({re.escape(start)}[^`\n]*)", part, re.MULTILINE)
    assert found, f"{start} is not in the page"
    return f"!{found[1]}"


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(), encoding="utf-8")
