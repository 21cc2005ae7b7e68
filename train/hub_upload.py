"""An export onto the Hugging Face hub, through `huggingface_hub`, which knows token (`HF_TOKEN`, `hf auth login`) and
endpoint (`HF_ENDPOINT`)."""

from __future__ import annotations

from pathlib import Path

from rlcode.errors import HubError, InputError


def check_repository(repository: str) -> None:
    """
    Raises:
        InputError: it is no name of a repository, OWNER/NAME.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise InputError(f"--push_to_hub {repository}: {error}") from error


def upload(folder: Path, repository: str, *, private: bool = False) -> str:
    """Upload all of `folder` in one commit, into a repository that is made if it is not there; returns the address.

    Raises:
        HubError: it could not be done. `folder` is as it was.
    """
    import httpx
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        made = api.create_repo(repository, private=private or None, exist_ok=True)
        api.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message="Export of rlcode")
    except (OSError, ValueError, httpx.HTTPError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise HubError(
            f"{folder} is whole, but could not be uploaded to {repository} at {api.endpoint}: {said[0]}. Check "
            f"network and token (`hf auth login`, or HF_TOKEN); to upload it later: hf upload {repository} {folder}"
        ) from error
    return str(made)
