"""Starts Weights & Biases runs, online where that is wanted and possible, and asks nobody."""

from __future__ import annotations

import logging
import netrc
import os
import socket
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import wandb

Mode = Literal["online", "offline", "disabled"]

PROJECT = "im-bench"
REACH_SECONDS = 3.0
INIT_SECONDS = 20.0

logger = logging.getLogger(__name__)


class Tracker:
    """Starts W&B runs, offline where there is no key, no network, or no wish to be online.

    Args:
        out: The results folder; W&B's own files go to ``<out>/wandb``.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        settings = wandb.setup().settings
        self.project = settings.project or PROJECT
        self.mode: Mode = pick_mode(settings)
        logger.info("Weights & Biases: %s", self.mode)

    def start(self, run_id: str, **described: Any) -> Any:
        """Start a run, or continue the one with this id.

        Should the server refuse, this run and all later ones are kept offline.
        """
        try:
            return self._init(run_id, **described)
        except wandb.errors.Error as error:
            if self.mode != "online":
                raise
            logger.warning("Weights & Biases refuses (%s); going on offline", error)
            self.mode = "offline"
            wandb.teardown(exit_code=1)  # The service would take the refused run for one in use.
            return self._init(run_id, **described)

    def _init(self, run_id: str, **described: Any) -> Any:
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            init_timeout=INIT_SECONDS,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        return wandb.init(
            project=self.project,
            dir=str(self._out),
            id=run_id,
            mode=self.mode,
            # Offline, too: recorded with the run, it lets `wandb sync` append a second part to the
            # first one instead of writing over it.
            resume="allow",
            allow_val_change=True,
            reinit="create_new",
            settings=settings,
            **described,
        )


def pick_mode(settings: Any) -> Mode:
    """Return ``online``, ``offline`` or ``disabled``, without asking anybody anything.

    Args:
        settings: W&B's own, read from its environment variables and files.
    """
    if settings.mode == "disabled":
        return "disabled"
    if settings.mode in ("offline", "dryrun"):
        return "offline"
    return "online" if has_key(settings) and reachable(settings.base_url) else "offline"


def has_key(settings: Any) -> bool:
    """Return whether W&B's settings, or ``.netrc``, hold something to identify oneself by."""
    return bool(find_key(settings) or settings.identity_token_file)


def find_key(settings: Any) -> str:
    """Return the key, or an empty string."""
    if settings.api_key:
        return str(settings.api_key)
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    host = urlsplit(settings.base_url).hostname or ""
    try:
        found = netrc.netrc(str(path)).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return ""
    return (found[2] or "") if found else ""


def reachable(url: str) -> bool:
    """Return whether a server takes connections."""
    parts = urlsplit(url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=REACH_SECONDS).close()
    except OSError:
        return False
    return True
