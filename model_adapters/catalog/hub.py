"""What the Hugging Face hub, or its local cache, says about a model; nothing here downloads weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model_adapters.interface import ModelError

_SECONDS = 10  # to wait for the hub's answer


def hub_reachable() -> bool:
    """Tell whether the hub answers at all; False also where its client was told to stay offline."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS)
    except _unreachable():
        return False
    return True


def hub_commit(hub_id: str, revision: str, *, offline: bool) -> str:
    """Return the commit that a revision stands for: as the hub says, or as the local cache remembers.

    Raises:
        ModelError: the hub refuses the model, or cannot be reached and the cache knows nothing.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    if not (offline or constants.HF_HUB_OFFLINE):
        try:
            commit = HfApi().model_info(hub_id, revision=revision, timeout=_SECONDS).sha
        except HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else "no status"
            raise ModelError(
                f"{hub_id}@{revision}: the hub refuses it ({status}); check the name, and for a gated model "
                "accept its terms and run `hf auth login`"
            ) from error
        except _unreachable():
            commit = None  # no network: the cache below may know
        if commit:
            return str(commit)
    reference = _cached_model(hub_id) / "refs" / revision
    if reference.is_file():
        return reference.read_text(encoding="utf-8").strip()
    raise ModelError(f"{hub_id}@{revision}: not in the local cache, and the hub cannot be reached")


def weights_cached(hub_id: str, revision: str) -> bool:
    """Tell whether every weight file of a model lies in the local cache.

    `revision` is a commit, tag or branch. Where weights are in several files their index says in which.
    """
    import json

    reference = _cached_model(hub_id) / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    snapshot = _cached_model(hub_id) / "snapshots" / commit
    if (snapshot / "model.safetensors").is_file():
        return True
    index = snapshot / "model.safetensors.index.json"
    try:
        files = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError):
        return False
    return all((snapshot / str(file)).is_file() for file in files)


def may_read_gated(hub_id: str) -> bool:
    """Ask the hub whether this user may read a gated model; without a token the answer is no."""
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        return False
    try:
        HfApi().auth_check(hub_id)
    except _unreachable():  # a refusal, or no answer
        return False
    return True


def _cached_model(hub_id: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}"


def _unreachable() -> Any:
    """Return the errors of a hub that cannot be reached.

    The HTTP library differs between versions of the hub's client; its error is a base of the client's own.
    """
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    return (*HfHubHTTPError.__bases__, OfflineModeIsEnabled, OSError)
