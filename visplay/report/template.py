"""Render a template of this package as a self-contained HTML file.

Text from models, file names and configurations is treated as hostile. Jinja escapes it, and the scripts
insert it as text only. A content security policy lets the page run its own scripts only and forbids requests.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from visplay.errors import RunError
from visplay.evaluation import verdict as wording
from visplay.progress import span
from visplay.runs.run import outside_runs
from visplay.storage import write_text

NO_TEXT = re.compile("[\\0\ud800-\udfff]")  # not allowed in HTML, or not in UTF-8


def page(template: str, *, scripts: Iterable[str], live: bool = False, **values: Any) -> str:
    """Render a template with style, scripts, plotting library and content security policy.

    Everything in `values` is escaped. `live` allows requests to the server that served the page.
    """
    trusted = [Markup(get_plotlyjs()), *(Markup(_asset(name)) for name in scripts)]  # ours and plotly's
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters |= {
        name: getattr(wording, name)
        for name in ("share", "estimate", "points", "difference", "quantity", "p_text", "finite")
    } | {"span": span}
    environment.globals |= {
        name: getattr(wording, name) for name in ("ratio", "majority", "blind", "headline")
    }
    html = environment.get_template(template).render(
        style=Markup(_asset("page.css")), scripts=trusted, policy=_policy(trusted, live=live), **values
    )
    return NO_TEXT.sub("\ufffd", html)


def save_page(path: Path, html: str) -> Path:
    """Write a page to the path that a command was given; missing folders are created.

    Raises:
        RunError: the name does not end in .html or .htm, or the path is inside a run's folder.
    """
    if path.suffix not in (".html", ".htm"):
        raise RunError(f"the page must have a name that ends in .html, got {path}")
    outside_runs(path).parent.mkdir(parents=True, exist_ok=True)
    write_text(path, html)
    return path


def _policy(scripts: Iterable[str], *, live: bool) -> str:
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    connect = "connect-src 'self'; " if live else ""
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; {connect}"
        "base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    return files("visplay.report").joinpath(name).read_text(encoding="utf-8")
