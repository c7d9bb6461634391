"""Starts a server: reads config and secrets, refuses what is unsafe, and builds the parts of every worker process."""

from __future__ import annotations

import ipaddress
import logging
import os
import resource
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvicorn

from churn_assets.deciding.decider import Rollout
from churn_assets.deciding.secret import ASSIGNMENT_KEY, SHORTEST_SECRET, assignment_key
from churn_assets.deciding.spending import ledger_of
from churn_assets.decision.limits import BudgetsConfig
from churn_assets.offers.economics import OutcomeConfig
from churn_assets.serving.app import Parts, create_app, utc_now
from churn_assets.serving.background import Background
from churn_assets.serving.budgets import BudgetDesk
from churn_assets.serving.config import ServingConfig
from churn_assets.serving.decision_log import DecisionLog
from churn_assets.serving.metrics import SHARED_FOLDER, Metrics
from churn_assets.serving.protocol import BoundedProtocol
from churn_assets.serving.reload import ReleaseFollower, ServedRelease, load_served
from churn_assets.serving.security import Guard, Keyring, read_keys
from churn_assets.serving.switch import OfferSwitch, switch_log
from churn_assets.serving.trial import TrialFollower
from churn_assets.store.channels import Channel
from churn_assets.store.location import open_store
from churn_assets.store.privacy_key import privacy_key
from churn_assets.store.reference import ArtifactRef
from churn_assets.store.signatures import SignaturePolicy
from churn_assets.store.tried import trial_log

KEYS_FILE = "CHURN_API_KEYS"
"""Environment variable: file of API keys."""

_LOG = logging.getLogger(__name__)

SERVED = "CHURN_SERVED"
"""Environment variable: the plan, from the first process to its workers."""
_SWITCH_SECONDS = 0.0002
"""Longest time that a thread keeps the interpreter while others want it. Python's own 5 ms are too long: the event loop
gives it away at every event, and would wait that long for each while a release is loaded beside it. The decision log's
thread waits too, at every flush: 4,700 decisions a second at full load with 5 ms, 5,900 with 1 ms, 6,500 with this."""
_GRACE_SECONDS = 20
_OWN_DESCRIPTORS = 256


class ServingError(Exception):
    """A server that must not start; says what is missing and how to give it."""


class ServerPlan(msgspec.Struct, frozen=True):
    """What the first process tells its workers. No secret: those stay in the environment.

    Attributes:
        root: Project folder.
        experiment: Whose decisions are logged.
        config: Its `serving:` section, as JSON.
        store: URI.
        channel: That is followed.
        host: Listened on.
        port: Listened on; 0 takes a free one.
        workers: Processes.
        signatures: Whose signatures the store needs, as JSON; nobody's if left out.
        budgets: The experiment's `budgets:` section, as JSON; empty for none.
        pseudonyms: Whether the decision log names customers by pseudonyms.
        outcome: The experiment's `economics.outcome`, as JSON; empty for none.
    """

    root: str
    experiment: str
    config: str
    store: str
    channel: str
    host: str
    port: int
    workers: int
    signatures: str = "{}"
    budgets: str = ""
    pseudonyms: bool = False
    outcome: str = ""


@dataclass(frozen=True)
class Secrets:
    """What comes from the environment and from nowhere else."""

    keys: Path | None
    assignment_key: bytes


WORKER = "churn_assets.serving.run:worker"
"""What makes the application of a worker process."""


def serve(plan: ServerPlan, application: str = WORKER) -> None:
    """Serve until told to stop; then finish what was begun, and seal the decision log.

    Args:
        plan: What to serve, where.
        application: What makes a worker's application, as `module:function`.

    Raises:
        ServingError: Something unsafe was asked for, or a secret is missing.
        KeyFileError: The file of API keys cannot be used.
    """
    config = ServingConfig.model_validate_json(plan.config)
    found = read_secrets(os.environ, config, loopback=is_loopback(plan.host))
    if found.keys is not None:
        read_keys(found.keys)
    else:
        _LOG.warning("no API keys are asked for: whoever reaches %s, through a proxy too, may ask", plan.host)
    with tempfile.TemporaryDirectory(prefix="churn-metrics-") as shared:
        os.environ[SERVED] = msgspec.json.encode(plan).decode()
        if plan.workers > 1:
            os.environ[SHARED_FOLDER] = shared
        uvicorn.run(
            application,
            factory=True,
            host=plan.host,
            port=plan.port,
            workers=plan.workers,
            http=BoundedProtocol,
            ws="none",
            loop="uvloop",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            limit_concurrency=_connections(config.limits.connections),
        )


def _connections(wanted: int) -> int:
    """How many a process may hold: what the system lets it open, less what log, store and models need."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return max(1, min(wanted, most - _OWN_DESCRIPTORS))
    return wanted


def worker() -> Guard:
    """The application of one worker process; its plan and secrets come from the environment."""
    return create_app(worker_parts())


def worker_parts() -> Parts:
    """What the application of a worker process is made of."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    plan = msgspec.json.decode(os.environ[SERVED], type=ServerPlan)
    config = ServingConfig.model_validate_json(plan.config)
    found = read_secrets(os.environ, config, loopback=is_loopback(plan.host))
    root, metrics = Path(plan.root), Metrics()
    keyed = len(found.assignment_key) >= SHORTEST_SECRET
    store = open_store(plan.store, root=root, policy=SignaturePolicy.model_validate_json(plan.signatures))
    log_folder = root / config.decision_log.folder

    def load(ref: ArtifactRef) -> ServedRelease:
        top_two = config.exploration.design == "top_two"
        return load_served(store, ref, config.message_seconds, utc_now(), keyed=keyed, top_two=top_two)

    follower = ReleaseFollower(Channel(store, plan.channel), load, metrics.reload)
    unable = "" if keyed else f"there is no secret to draw with: set {ASSIGNMENT_KEY}"
    if plan.budgets:
        unable = "the experiment's budgets hold for one release: take budgets out, or stop the trial"
    trial = TrialFollower(trial_log(store, plan.channel), follower, load, utc_now, unable)
    log = DecisionLog(log_folder, config.decision_log, utc_now, metrics.flushed)
    switch = OfferSwitch(switch_log(store, plan.channel), always=config.kill_switch)
    keys = None if found.keys is None else Keyring(found.keys)
    return Parts(
        config=config,
        rollout=Rollout(
            found.assignment_key,
            config.assignment_epoch,
            config.holdout_share,
            config.exploration_share,
            config.kill_switch,
            config.exploration.plausible,
            config.exploration.top_two,
        ),
        switch=switch,
        follower=follower,
        log=log,
        background=Background(
            plan.experiment, config, follower, switch, log, log_folder, metrics, trial, keys
        ),
        metrics=metrics,
        keys=keys,
        clock=utc_now,
        budgets=_budget_desk(plan, config, root),
        pseudonyms=privacy_key(os.environ, needed=True) if plan.pseudonyms else b"",
        trial=trial,
        outcome=OutcomeConfig.model_validate_json(plan.outcome) if plan.outcome else None,
    )


def _budget_desk(plan: ServerPlan, config: ServingConfig, root: Path) -> BudgetDesk | None:
    if not plan.budgets:
        return None
    budgets = BudgetsConfig.model_validate_json(plan.budgets)
    ledger = ledger_of(root, budgets, plan.experiment)
    return BudgetDesk(budgets, ledger, config.assignment_epoch, utc_now)


def read_secrets(environment: Mapping[str, str], config: ServingConfig, *, loopback: bool) -> Secrets:
    """The secrets that a config needs.

    Raises:
        ServingError: One is missing, or too short to be a secret.
    """
    needs_keys = config.require_keys == "always" or (config.require_keys == "off_loopback" and not loopback)
    keys = environment.get(KEYS_FILE)
    if keys and config.require_keys == "never":
        raise ServingError(
            f"{KEYS_FILE} names a file of API keys, and serving.require_keys is never: found both, expected one; "
            f"unset {KEYS_FILE} to let everybody ask, or set serving.require_keys to off_loopback or always"
        )
    if needs_keys and not keys:
        raise ServingError(
            f"API keys are asked for here (serving.require_keys: {config.require_keys}): "
            f"make some with `churn keys --add NAME FILE` and name that file in {KEYS_FILE}"
        )
    assignment = assignment_key(environment)
    if config.holdout_share + config.exploration_share > 0 and len(assignment) < SHORTEST_SECRET:
        raise ServingError(
            f"{ASSIGNMENT_KEY}: found {len(assignment)} bytes, expected a secret of at least {SHORTEST_SECRET} to "
            "draw holdout and exploration with; keep it, as another one draws other customers"
        )
    return Secrets(Path(keys) if keys else None, assignment)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
