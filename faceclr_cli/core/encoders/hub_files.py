"""Files of the Hugging Face hub: from the cache, or downloaded if the hub can be reached."""

from __future__ import annotations

import logging
import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from faceclr_cli.core.errors import ModelError

PREFIXES = ("hf-hub:", "hf_hub:")


def is_hub_source(source: str) -> bool:
    """Returns True for `hf-hub:USER/MODEL`."""
    return source.startswith(PREFIXES)


def find_hub_file(source: str, name: str) -> Path:
    """Returns a file of a repository on the hub: from the cache if it is there, otherwise downloaded.

    Args:
        source: `hf-hub:USER/MODEL`, or `hf-hub:USER/MODEL@REVISION`.
        name: Name of the file in the repository.

    Returns:
        The file in the cache. The name of its folder is the commit.

    Raises:
        ModelError: The file or the repository does not exist, or is not in the cache and the hub cannot be reached.
    """
    repository, _, revision = source.partition(":")[2].partition("@")
    try:
        cached = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
        if not is_hub_reachable():
            raise ModelError(
                f"{source}: {name} is not in the cache, and {hub_host()} cannot be reached; "
                "run once with a network connection"
            )
        return Path(_download(repository, name, revision or None))
    except HFValidationError as error:
        raise ModelError(f"{source}: not a repository of the hub; write hf-hub:USER/MODEL") from error
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{source}: {name} is not in the cache and could not be downloaded; run once with a network connection"
        ) from error
    except EntryNotFoundError as error:
        raise ModelError(f"{source}: has no file {name}") from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(f"{source}: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from error


def is_hub_reachable() -> bool:
    """Returns False if the name of the hub cannot be resolved, which its client would retry for most of a minute."""
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(hub_host(), 443)
    except OSError:
        return False
    return True


def hub_host() -> str:
    """Returns the host name of the hub."""
    return urlsplit(huggingface_hub.constants.ENDPOINT).hostname or ""


def _download(repository: str, name: str, revision: str | None) -> str:
    client = logging.getLogger("huggingface_hub")
    level = client.level
    client.setLevel(logging.ERROR)
    try:
        path: str = huggingface_hub.hf_hub_download(repository, name, revision=revision)
    finally:
        client.setLevel(level)
    return path
