"""Exports on the hub; the token is huggingface_hub's own affair: `HF_TOKEN`, or what `hf auth login` keeps.

No message holds it: of a refusal the status and the hub's own words are told, of the request nothing.
"""

from pathlib import Path
from typing import Literal

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)

from visplay.errors import HubError

_TOKEN = "Set HF_TOKEN to a token that may write, or log in with `hf auth login`"


def push(folder: Path, repo: str, *, kind: Literal["model", "dataset"], public: bool = False) -> str:
    """Upload a folder as one commit; the repository is made where there is none.

    What the hub already has of the files is not sent again, so a failed upload goes on.

    Args:
        folder: what to upload.
        repo: `ORG/NAME`, or `NAME` for the token's own user.
        kind: of the repository.
        public: of a repository that is made here; one that exists stays as it is.

    Returns:
        The address of the repository.

    Raises:
        HubError: with the mend; `folder` is as it was.
    """
    api = HfApi(library_name="visplay")
    try:
        made = api.create_repo(repo, repo_type=kind, private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=made.repo_id, folder_path=folder, repo_type=kind, commit_message=f"Upload {folder.name}"
        )
    # The hub's own client raises RuntimeError and ValueError, too, for what a server said.
    except (httpx2.HTTPError, OSError, RuntimeError, ValueError) as error:
        raise HubError(
            f"{folder} is written and whole, but it is not on the hub as {repo}: {_mend(error, repo)}; then "
            "the same command goes on"
        ) from None  # what lies below holds the request
    return str(made)


def _mend(error: BaseException, repo: str) -> str:
    if isinstance(error, HFValidationError):
        return "that is no name of a repository. Give --push ORG/NAME"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE keeps the network closed. Unset it"
    if isinstance(error, LocalTokenNotFoundError):
        return f"there is no token. {_TOKEN}"
    found: BaseException | None = error
    while found is not None and not isinstance(found, HfHubHTTPError):
        found = found.__cause__
    if found is None:
        unreachable = isinstance(error, httpx2.HTTPError | OSError)
        why = "the hub cannot be reached" if unreachable else f"the upload failed ({_first_line(error)})"
        return f"{why}. See to the network, or to HF_ENDPOINT"
    status = found.response.status_code
    if status == 401:
        return f"the hub does not know the token, or there is none (status 401). {_TOKEN}"
    if status in (403, 404):
        return (
            f"the token has no right to write to {repo} (status {status}). Take a token that may write "
            "there, or a repository of your own"
        )
    said = f": {_first_line(found.server_message)}" if found.server_message else ""
    return f"the hub answered with status {status}{said}. Mend that; where the hub is at fault, wait a while"


def _first_line(said: object) -> str:
    return (str(said).strip().splitlines() or [type(said).__name__])[0]
