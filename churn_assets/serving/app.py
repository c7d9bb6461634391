"""The HTTP interface: what each path takes and gives. Decides nothing itself; `run` says what it is made of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, TypeVar

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from churn_assets.customers.features import too_far
from churn_assets.deciding.budgets import BudgetUse
from churn_assets.deciding.decider import (
    Budget,
    CustomerError,
    CustomerInput,
    Decider,
    Decision,
    LastContact,
    Rollout,
)
from churn_assets.deciding.ledger import LedgerError
from churn_assets.deciding.release_models import Foreseen
from churn_assets.deciding.risk_only import AnyDecider, CustomersForeseen
from churn_assets.decision.limits import BudgetError
from churn_assets.decision.process import Floats
from churn_assets.offers.economics import OutcomeConfig
from churn_assets.offers.pseudonyms import pseudonymous
from churn_assets.offers.records import asked_by, decision_payload, told_by
from churn_assets.offers.segments import DECISIONS, OUTCOMES
from churn_assets.serving import openapi
from churn_assets.serving.background import Background
from churn_assets.serving.batching import DynamicBatcher
from churn_assets.serving.budgets import BudgetDesk
from churn_assets.serving.config import ServingConfig
from churn_assets.serving.decision_log import DecisionLog, LogUnavailableError
from churn_assets.serving.docs_page import show_docs
from churn_assets.serving.messages import Wanted
from churn_assets.serving.metrics import Metrics
from churn_assets.serving.problems import PROBLEM_JSON, Problem, problem_body
from churn_assets.serving.question import path_of, read_body
from churn_assets.serving.reload import ReleaseFollower, ServedRelease
from churn_assets.serving.schemas import (
    BudgetView,
    CustomerQuestion,
    DecisionsAnswer,
    DecisionsQuestion,
    MessageView,
    OutcomeReport,
    OutcomesAnswer,
    OutcomesQuestion,
    UndecidedView,
    redacted,
)
from churn_assets.serving.security import Guard, Keyring, incident
from churn_assets.serving.switch import OfferSwitch
from churn_assets.serving.trial import TrialFollower
from churn_assets.serving.views import LiveView, model_view, ready_view, release_view
from churn_assets.tables.rules import id_fault

_LOG = logging.getLogger(__name__)

R = TypeVar("R")

_INLINE = 32
"""Customers decided for in the event loop; more are a thread's, so that others are answered meanwhile."""

_LARGE_BODY = 64 << 10
"""Bytes of a question from which a call waits for its turn: some hundred customers."""


@dataclass(frozen=True)
class Parts:
    """What the interface is made of, one of each in a process.

    Attributes:
        config: The `serving:` section.
        rollout: Who is not left to the policy.
        switch: Whether all offers are stopped.
        follower: Which release answers.
        log: Decisions and outcomes.
        background: What goes on beside answering.
        metrics: Counters.
        keys: API keys; None where none is asked for.
        clock: Aware time now.
        budgets: Keeps the limits that hold for all calls together; None where there are none.
        pseudonyms: Secret by which the decision log names customers; empty: by their ids.
        trial: Which candidate answers beside the release; None where no trial is followed.
        outcome: What the value is of; None: of customers who stay.
    """

    config: ServingConfig
    rollout: Rollout
    switch: OfferSwitch
    follower: ReleaseFollower
    log: DecisionLog
    background: Background
    metrics: Metrics
    keys: Keyring | None
    clock: Callable[[], datetime]
    budgets: BudgetDesk | None = None
    pseudonyms: bytes = b""
    trial: TrialFollower | None = None
    outcome: OutcomeConfig | None = None

    @property
    def served(self) -> ServedRelease:
        """The release that answers, with the candidate beside it while a trial runs.

        Raises:
            Problem: None does.
        """
        leads = _served(self.follower)
        return leads if self.trial is None else self.trial.answering or leads

    @property
    def live_rollout(self) -> Rollout:
        """Who is not left to the policy now: nobody is made an offer while they are stopped."""
        return replace(self.rollout, kill_switch=True) if self.switch.stopped else self.rollout


def create_app(parts: Parts) -> Guard:
    """The ASGI application of one process, guarded."""
    app = FastAPI(
        openapi_url=openapi.DOCUMENT_PATH,
        lifespan=lambda _: parts.background.running(),
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    show_docs(app)
    desk = DecisionDesk(parts)

    @app.get(openapi.RELEASE_PATH)
    async def release() -> Response:
        """The release that answers: members, menu, features that a question needs, groups and switches."""
        return _json(
            msgspec.json.encode(
                release_view(parts.follower, parts.config, parts.trial, stopped=parts.switch.stopped)
            )
        )

    @app.get(openapi.LIVE_PATH)
    async def live() -> Response:
        """Whether the process answers at all."""
        return _json(msgspec.json.encode(LiveView(live=True)))

    @app.get(openapi.READY_PATH)
    async def ready() -> Response:
        """Whether a release answers and can be recorded, and whether it is the one that leads the channel."""
        view = ready_view(parts.follower, parts.log, parts.background.states)
        return _json(msgspec.json.encode(view), status=200 if view.ready else 503)

    @app.get(openapi.MODEL_PATH)
    async def model(name: str) -> Response:
        """A model of the release that answers."""
        return _json(msgspec.json.encode(model_view(_served(parts.follower), name)))

    @app.get(openapi.METRICS_PATH)
    async def metrics() -> Response:
        """Counters for Prometheus, of all workers together."""
        return Response(parts.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.exception_handler(Problem)
    async def refuse(_: Request, problem: Exception) -> Response:
        return _refusal(problem if isinstance(problem, Problem) else incident(problem))

    @app.exception_handler(HTTPException)
    async def not_there(_: Request, error: HTTPException) -> Response:
        return _refusal(Problem(error.status_code, str(error.detail), "see /docs", error.headers))

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        return _refusal(incident(error))

    document = openapi.document(keys=parts.keys is not None)
    app.openapi = lambda: document  # type: ignore[method-assign]
    posted = {openapi.DECISIONS_PATH: desk.decide, openapi.OUTCOMES_PATH: desk.record}
    return Guard(Posted(posted, app), parts.keys, parts.config.limits, parts.metrics)


class Reply(NamedTuple):
    """The JSON answer to what was posted."""

    body: bytes
    status: int = 200


PARTLY = 207
"""Status of an answer that could not decide for everybody."""


@dataclass(frozen=True)
class Direct:
    """The route of a path that the framework does not see."""

    path: str


class Posted:
    """Takes the two paths that carry the load, before the framework: it would cost as much as the decision.

    Args:
        answers: By path, what makes the JSON answer from body, query and the name of the key.
        app: Everything else.
    """

    def __init__(
        self, answers: Mapping[str, Callable[[bytes, bytes, str], Awaitable[Reply]]], app: ASGIApp
    ) -> None:
        self._answers = answers
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answers.get(scope["path"]) if scope["type"] == "http" else None
        if answer is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = Direct(scope["path"])
        if scope["method"] != "POST":
            raise Problem(405, "Method Not Allowed", "expected POST", {"allow": "POST"})
        body, status = await answer((await receive())["body"], scope["query_string"], scope.get("caller", ""))
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _outcome_fault(told: OutcomeReport, wanted: OutcomeConfig | None) -> str:
    """What is told of something else than the experiment's value is of; empty for nothing."""
    if wanted is None:
        return (
            ""
            if told.outcome is None
            else "outcome: found a value, expected `churned` (economics.outcome is not set)"
        )
    if told.churned is not None:
        return f"churned: found a value, expected `outcome`: {wanted.column} (economics.outcome)"
    if told.outcome not in (None, 0, 1) and not wanted.amount:
        return f"outcome: found {told.outcome:g}, expected 0 or 1: {wanted.column} (economics.outcome.worth)"
    return ""


class DecisionDesk:
    """Answers questions: reads them strictly, has the release decide, and lets no answer out before it is logged."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large-calls")
        self._ledger = ThreadPoolExecutor(1, thread_name_prefix="budgets")
        self._batcher = DynamicBatcher()
        self._turns = asyncio.Semaphore(parts.config.limits.batches_at_once)

    async def decide(self, body: bytes, query: bytes, caller: str = "") -> Reply:
        """As `_answer`; large calls wait for their turn, or what they log would hold up every small one."""
        if len(body) < _LARGE_BODY:
            return await self._answer(body, query, caller)
        async with self._turns:
            return await self._answer(body, query, caller)

    async def _answer(self, body: bytes, query: bytes, caller: str) -> Reply:
        """The JSON answer to a `DecisionsQuestion`; `message=false` in the query leaves messages out.

        Raises:
            Problem: The question is malformed, no release answers, or the decision log cannot be written.
        """
        parts, served = self._parts, self._parts.served
        wants_message = _flag(query, "message", default=True)
        question = read_body(body, _DECISIONS)
        rollout = parts.live_rollout
        customers, (decided, uses), undecided = await self._decide(served, question, rollout)
        messages = await _written(served, customers, decided) if wants_message else {}
        answer = _ENCODER.encode(
            DecisionsAnswer(
                release=served.decider.release,
                policy=served.decider.policy,
                simulated=served.bundle.simulated,
                decided_at=parts.clock(),
                kill_switch=rollout.kill_switch,
                durable=parts.config.decision_log.flush,
                decisions=served.answers.views(decided, messages, named=served.candidate is not None),
                undecided=undecided,
                budgets=[
                    BudgetView(each.name, each.unit, each.most, each.used, each.shadow_price) for each in uses
                ],
            )
        )
        asked, told = pseudonymous(body, answer, parts.pseudonyms) if parts.pseudonyms else (body, answer)
        await self._log(DECISIONS, *decision_payload(asked, asked_by(told, caller)))
        self._count(decided, messages)
        for _ in undecided:
            parts.metrics.flagged("undecided")
        return Reply(answer, PARTLY if undecided else 200)

    async def record(self, body: bytes, query: bytes, caller: str = "") -> Reply:
        """The JSON answer to an `OutcomesQuestion`; its query is empty.

        Raises:
            Problem: The question is malformed, or the decision log cannot be written.
        """
        if query:
            raise Problem(422, "invalid query", "expected none")
        question = read_body(body, _OUTCOMES)
        for index, outcome in enumerate(question.outcomes):
            if (expected := id_fault(outcome.decision_id)) is not None:
                detail = (
                    f"outcomes[{index}].decision_id: found a text that names no decision, expected {expected}"
                )
                raise Problem(422, "invalid question", detail)
            if fault := _outcome_fault(outcome, self._parts.outcome):
                raise Problem(422, "invalid question", f"outcomes[{index}].{fault}")
        await self._log(OUTCOMES, told_by(_ENCODER.encode(question.outcomes), caller))
        number = len(question.outcomes)
        self._parts.metrics.outcomes(number)
        durable = self._parts.config.decision_log.flush
        return Reply(_ENCODER.encode(OutcomesAnswer(recorded=number, durable=durable)))

    async def _decide(self, served: ServedRelease, question: DecisionsQuestion, rollout: Rollout) -> _Decided:
        customers = question.customers
        batch = [_input(customer) for customer in customers]
        if len({customer.customer_id for customer in batch}) < len(batch):
            raise Problem(422, "invalid question", "customers: found a customer twice, expected each once")
        try:
            return customers, await self._decided(served, question, batch, rollout), []
        except CustomerError:  # seldom: only then is everybody looked at for faults
            faults = await self._run(served.decider.faults, batch)
        undecided = [_undecided(batch[index], error) for index, error in faults.items()]
        good = [index for index in range(len(batch)) if index not in faults]
        if not good:
            raise _invalid(undecided)
        customers, batch = [customers[index] for index in good], [batch[index] for index in good]
        return customers, await self._decided(served, question, batch, rollout), undecided

    async def _decided(
        self,
        served: ServedRelease,
        question: DecisionsQuestion,
        batch: Sequence[CustomerInput],
        rollout: Rollout,
    ) -> _Kept:
        decider, parts = served.decider, self._parts
        budget, uses = Budget(question.budget_price, question.remaining_budget), list[BudgetUse]()
        try:
            rows = await self._run(decider.encoded, batch)
            foreseen = await self._foreseen(decider, batch, rows)
            if parts.budgets is not None and len(decider.menu) > 1:
                return await self._within(parts.budgets, decider, batch, rows, foreseen, budget, rollout)
            decided = await self._run(decider.decide, batch, rollout, budget, foreseen)
        except (CustomerError, Problem):
            raise
        except Exception:
            _LOG.error("no decision for %s", redacted(question))
            raise
        # Last: whoever is at fault is left out before anybody is counted.
        self._within_reach(decider, rows, foreseen.known)
        return decided, uses

    async def _within(
        self,
        desk: BudgetDesk,
        decider: AnyDecider,
        batch: Sequence[CustomerInput],
        rows: Floats,
        foreseen: Foreseen | CustomersForeseen,
        budget: Budget,
        rollout: Rollout,
    ) -> _Kept:
        """Within the limits of all calls; who lies outside of what was learned uses nothing of them."""
        if not (isinstance(decider, Decider) and isinstance(foreseen, Foreseen)):
            raise Problem(
                503, "budgets do not fit the release", "it lets chance decide: take budgets out, or it back"
            )
        self._within_reach(decider, rows, foreseen.known)
        work = partial(desk.decide, decider, batch, rows, foreseen, rollout, budget)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._ledger, work)
        except BudgetError as error:
            raise Problem(503, "budgets do not fit the release", str(error)) from error
        except LedgerError as error:
            _LOG.error("%s", error)
            raise Problem(503, "not decided", "the budgets' ledger cannot be used; ask again") from error

    async def _foreseen(
        self, decider: AnyDecider, batch: Sequence[CustomerInput], rows: Floats
    ) -> Foreseen | CustomersForeseen:
        if isinstance(decider, Decider) and len(batch) <= _INLINE:
            prior = [customer.prior_offers for customer in batch]
            return await self._batcher.foresee(decider.models, rows, prior)
        return await self._run(decider.foresee, batch, rows)

    async def _run(self, work: Callable[..., R], batch: Sequence[CustomerInput], *others: object) -> R:
        """Here for a few customers, in a thread for many."""
        if len(batch) <= _INLINE:
            return work(batch, *others)
        return await asyncio.get_running_loop().run_in_executor(self._large, work, batch, *others)

    def _within_reach(self, decider: AnyDecider, rows: Floats, known: Sequence[bool]) -> None:
        """Counts who lies far outside of what was learned, as no customer does whom the release knows."""
        if all(known):
            return
        counts = decider.outside(rows)
        for name, count in counts.items():
            self._parts.metrics.outside(name, count)
        told = too_far(counts, len(rows), decider.schema)
        if told:
            raise Problem(422, "far outside of what was learned", "; ".join(told))

    async def _log(self, kind: bytes, *payload: bytes) -> None:
        try:
            await self._parts.log.append(kind, *payload)
        except LogUnavailableError as error:  # the log tells why, once
            raise Problem(503, "not recorded", "the decision log cannot be written; ask again") from error

    def _count(self, decided: Sequence[Decision], messages: dict[int, MessageView | None]) -> None:
        metrics = self._parts.metrics
        metrics.decisions([decision.chosen.arm.id for decision in decided], [d.risk for d in decided])
        for decision in decided:
            if decision.assigned != "policy":
                metrics.flagged(decision.assigned)
            if not decision.known:
                metrics.flagged("unseen")
        for message in messages.values():
            if message is None:
                metrics.message("nobody", "no service known")
            else:
                metrics.message(message.written_by, message.reason)


_Kept = tuple[list[Decision], list[BudgetUse]]
"""Decisions, and how the limits stand after them."""

_Decided = tuple[list[CustomerQuestion], _Kept, list[UndecidedView]]
"""Who was decided for, the decisions in the same order, and who could not be decided for."""


def _undecided(customer: CustomerInput, error: CustomerError) -> UndecidedView:
    return UndecidedView(error.index, customer.customer_id, error.field, error.found, error.expected)


def _invalid(undecided: Sequence[UndecidedView]) -> Problem:
    """Nobody could be decided for: what is wrong with the first."""
    first = undecided[0]
    more = f" (and {len(undecided) - 1} more customers)" if len(undecided) > 1 else ""
    where = path_of(first.index, first.field)
    detail = f"{where}: found {first.found}, expected {first.expected}{more}"
    return Problem(422, "invalid customer", detail)


_DECISIONS = msgspec.json.Decoder(DecisionsQuestion)
_OUTCOMES = msgspec.json.Decoder(OutcomesQuestion)
_ENCODER = msgspec.json.Encoder()


def _served(follower: ReleaseFollower) -> ServedRelease:
    if follower.served is None:
        raise Problem(503, "no release answers", "see /v2/health/ready", {"retry-after": "5"})
    return follower.served


def _input(customer: CustomerQuestion) -> CustomerInput:
    last = customer.last_contact
    return CustomerInput(
        customer.customer_id,
        customer.features,
        customer.eligible,
        customer.opted_out,
        None if last is None else LastContact(last.months_ago, last.accepted),
        customer.offers_used,
        customer.offers_accepted,
        customer.prior_offers,
    )


def _wanted(customer: CustomerQuestion, decision: Decision) -> Wanted:
    before = () if customer.last_message is None else (customer.last_message,)
    return Wanted(customer.features, decision.chosen.arm, customer.local_time, before)


async def _written(
    served: ServedRelease, customers: Sequence[CustomerQuestion], decided: Sequence[Decision]
) -> dict[int, MessageView | None]:
    """Messages to whom an arm was decided for, by position, each in the words of the release that decided."""
    contacts: dict[str, list[int]] = {}
    for place, decision in enumerate(decided):
        if decision.arm:
            contacts.setdefault(decision.release, []).append(place)
    messages: dict[int, MessageView | None] = {}
    for release, places in contacts.items():
        wanted = [_wanted(customers[place], decided[place]) for place in places]
        messages |= zip(places, await served.writer(release).write(wanted), strict=True)
    return messages


def _flag(query: bytes, name: str, *, default: bool) -> bool:
    """A query parameter that is true or false; nothing else may stand in the query."""
    if not query:
        return default
    values = {f"{name}=true".encode(): True, f"{name}=false".encode(): False}
    if query not in values:
        raise Problem(422, "invalid query", f"expected {name}=true or {name}=false")
    return values[query]


def _json(body: bytes, *, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _refusal(problem: Problem) -> Response:
    return Response(problem_body(problem), problem.status, problem.headers, PROBLEM_JSON)


def utc_now() -> datetime:
    """Aware time now."""
    return datetime.now(UTC)
