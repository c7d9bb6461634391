"""Starts a server with the console: what it needs beside the API's own, and which of them a request is for."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from churn_assets.console.asked import PATH, ConsoleAnswer, ConsoleRefusal, read_request, send_answer
from churn_assets.console.pages import Console
from churn_assets.console.place import ConsolePlace
from churn_assets.console.sessions import ENDED, Sessions
from churn_assets.experiment import load_experiment
from churn_assets.serving import run
from churn_assets.serving.app import Parts, create_app
from churn_assets.serving.config import ServingConfig
from churn_assets.serving.run import KEYS_FILE, SERVED, ServerPlan, ServingError
from churn_assets.serving.security import Keyring, incident, read_keys
from churn_assets.store.channels import Channel

_LOG = logging.getLogger(__name__)

CONSOLE_KEY = "CHURN_CONSOLE_KEY"
"""Environment variable: what signs sessions; drawn at every start if left out, and then they end with the server."""
CONSOLE_WORKER = "churn_assets.console.run:console_worker"
_SHORTEST_KEY = 32
_AT_ONCE = 2
"""Pages that are made at a time: what people look at must not take the machine from those who ask for decisions."""
_MOST_WAITING = 50


def serve_console(plan: ServerPlan) -> None:
    """As `serving.run.serve`, with the console.

    Raises:
        ServingError: A secret is missing, or too short to be one.
        KeyFileError: The file of keys cannot be used.
    """
    keys_file(os.environ)
    os.environ[CONSOLE_KEY] = session_key(os.environ)
    run.serve(plan, CONSOLE_WORKER)


def keys_file(environment: Mapping[str, str]) -> Path:
    """The file of keys, by which people log in.

    Raises:
        ServingError: None is named.
        KeyFileError: It cannot be used.
    """
    file = environment.get(KEYS_FILE)
    if not file:
        raise ServingError(
            "the console is on (serving.console.enabled) and nobody could log in: make a key with "
            f"`churn keys FILE --add NAME --role promoter` and name that file in {KEYS_FILE}"
        )
    if not any(key.role and key.revoked_at is None for key in read_keys(Path(file))):
        _LOG.warning("%s: found no key with a role, so nobody can log in: churn keys --role", file)
    return Path(file)


def session_key(environment: Mapping[str, str]) -> str:
    """What signs sessions: as given, or drawn now.

    Raises:
        ServingError: It is too short to be a secret.
    """
    given = environment.get(CONSOLE_KEY, "")
    if given and len(given) < _SHORTEST_KEY:
        raise ServingError(
            f"{CONSOLE_KEY}: found {len(given)} characters, expected at least {_SHORTEST_KEY}, or none"
        )
    return given or secrets.token_urlsafe(_SHORTEST_KEY)


def console_worker() -> ASGIApp:
    """The application of one worker process; its plan and secrets come from the environment."""
    plan = msgspec.json.decode(os.environ[SERVED], type=ServerPlan)
    parts = run.worker_parts()
    place = console_place(plan, parts, keys_file(os.environ), os.environ[CONSOLE_KEY].encode())
    return WithConsole(create_app(parts), Console(place, loopback=run.is_loopback(plan.host)), parts)


def console_place(plan: ServerPlan, parts: Parts, keys: Path, secret: bytes) -> ConsolePlace:
    """Where the console of a server acts.

    Args:
        plan: Of the server.
        parts: Of it.
        keys: File of keys.
        secret: Signs sessions.

    Raises:
        ExperimentError: The experiment cannot be read.
        KeyFileError: The file of keys cannot be used.
    """
    root, channel = Path(plan.root), parts.follower.channel
    experiment = load_experiment(plan.experiment, root / "configs")
    length = timedelta(minutes=ServingConfig.model_validate_json(plan.config).console.session_minutes)
    return ConsolePlace(
        root=root,
        store_uri=plan.store,
        experiment=experiment,
        channel=channel,
        champion=Channel(channel.store, experiment.channel),
        parts=parts,
        sessions=Sessions(secret, Keyring(keys), length, root / ENDED),
    )


class WithConsole:
    """Gives what is asked for below `/console` to the console, and all else to the API.

    Args:
        api: The guarded API, which runs what goes on beside the answers.
        console: The pages.
        parts: Of the server.
    """

    def __init__(self, api: ASGIApp, console: Console, parts: Parts) -> None:
        self._api = api
        self._console = console
        self._parts = parts
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="console")
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "http" and (scope["path"] == PATH or scope["path"].startswith(f"{PATH}/"))
        if not ours:
            await self._api(scope, receive, send)
            return
        started = time.perf_counter()
        answer = await self._answer(scope, receive)
        await send_answer(answer, send, with_body=scope["method"] != "HEAD")
        self._parts.metrics.request(PATH, answer.status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive) -> ConsoleAnswer:
        self._waiting += 1
        try:
            if self._waiting > _MOST_WAITING:
                raise ConsoleRefusal(503, "Too many at once", "Try again soon.", {"retry-after": "1"})
            request = await read_request(scope, receive)
            work = asyncio.get_running_loop().run_in_executor(self._threads, self._console.answer, request)
            return await work
        except ConsoleRefusal as refusal:
            return self._console.refused(refusal)
        except Exception as error:  # noqa: BLE001 - the border: nothing of the inside gets past it
            said = incident(error).detail
            return self._console.refused(ConsoleRefusal(500, "Something broke here", f"Tell them: {said}."))
        finally:
            self._waiting -= 1
