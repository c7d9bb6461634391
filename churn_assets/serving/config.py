"""The `serving:` section of an experiment: who is left out or explored, limits, log, reload. No secret stands here."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from churn_assets.deciding.exploration import Plausible, TopTwo

ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LimitsConfig(_Section):
    """What one caller may ask of a server.

    Attributes:
        body_bytes: Largest request body.
        body_seconds: Longest time for a body to arrive.
        requests_per_second: Of one API key, or of one address where no key is asked for, in each worker process.
        burst: Requests that may come at once before the rate counts.
        concurrent_requests: Of one worker; more are answered with 503.
        connections: Of one worker; one more is answered with 503 and closed.
        batches_at_once: Calls with a large body that one worker answers at a time, so that they and what they log keep
            no small call waiting; the others wait their turn.
        unauthorized_per_second: Requests of one address without a good key that are answered with 401; more with 429.
    """

    body_bytes: Annotated[int, Field(ge=1024, le=64 << 20)] = 4 << 20
    body_seconds: Seconds = 10.0
    requests_per_second: Annotated[float, Field(gt=0)] = 20_000.0
    burst: Count = 20_000
    concurrent_requests: Count = 1_000
    connections: Count = 2_000
    batches_at_once: Count = 2
    unauthorized_per_second: Annotated[float, Field(gt=0)] = 5.0


class DecisionLogConfig(_Section):
    """The local decision log and its way into the store.

    Attributes:
        folder: Relative to the project; shared by all workers of a machine.
        flush: Wait for the disk before answering. Without, an answer says `"durable": false`.
        write_seconds: Longest time for the disk; then callers get 503, and the server is not ready until it is back.
        segment_bytes: A segment is sealed at this size,
        segment_seconds: or at this age.
        ship_seconds: How often sealed segments are shipped to the store.
    """

    folder: Annotated[str, Field(min_length=1)] = ".churn/decision_log"
    flush: bool = True
    write_seconds: Seconds = 2.0
    segment_bytes: Annotated[int, Field(ge=4096, le=1 << 30)] = 16 << 20
    segment_seconds: Seconds = 300.0
    ship_seconds: Seconds = 15.0


class ExplorationConfig(_Section):
    """Which arm those get who explore.

    Attributes:
        design: `uniform`: each arm that they may get is as likely; `plausible`: the likelier, the more it is expected
            to be worth, among those within reach of the best; `top_two`: the likelier, the likelier it is the best or
            the next best, given what the log leaves open about effects.
        reach: Of `plausible`: as a share of the largest expected value of any of the customer's arms.
        floor: Of `plausible` and `top_two`: least probability of each arm that is possible.
    """

    design: Literal["uniform", "plausible", "top_two"] = "uniform"
    reach: Annotated[float, Field(gt=0, le=10)] = 0.2
    floor: Annotated[float, Field(gt=0, le=0.1)] = 0.005

    @property
    def plausible(self) -> Plausible | None:
        """As a decider takes it; None by another design."""
        return Plausible(self.reach, self.floor) if self.design == "plausible" else None

    @property
    def top_two(self) -> TopTwo | None:
        """The same of `top_two`."""
        return TopTwo(self.floor) if self.design == "top_two" else None


Act = Literal["promote", "rollback", "stop", "resume", "begin_trial", "end_trial"]
"""What a person may do in the console: let a release lead, go back to one, stop all offers, make offers again, begin
and end a trial of a release."""


class ConsoleConfig(_Section):
    """The pages for people at `/console`.

    Attributes:
        enabled: Serve them. They need a file of keys (`CHURN_API_KEYS`) with people in it (`churn keys --role`).
        two_persons: What one person asks for and another one approves; where a promotion needs both, so does the start
            of a trial. The ways out of harm are not among them unless they are named.
        request_hours: After which what was asked for can no longer be approved.
        session_minutes: After which a person logs in again.
    """

    enabled: bool = False
    two_persons: tuple[Act, ...] = ("promote", "resume")
    request_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 24.0
    session_minutes: Annotated[float, Field(ge=1, le=24 * 60)] = 120.0

    @property
    def needing_two(self) -> frozenset[Act]:
        """What another person approves: where a promotion is, a trial that begins is too."""
        asked = frozenset(self.two_persons)
        return asked | {"begin_trial"} if "promote" in asked else asked


class ServingConfig(_Section):
    """How a release is served.

    Attributes:
        holdout_share: Customers who are never contacted, so that what contact does can be measured.
        exploration_share: Customers who get an allowed arm at random, so that later models can learn.
        exploration: Which one, by what chance.
        assignment_epoch: Changing it draws both groups anew.
        kill_switch: No offer to anybody, said in every answer, whatever `churn offers` and the console say.
        poll_seconds: How often the channel is asked whether it moved.
        message_seconds: Longest time for the messages of a request; then the template is sent, marked.
        require_keys: Whether a server starts without a file of API keys: `off_loopback` lets only one that listens on
            loopback do so. A file that is named (`CHURN_API_KEYS`) is in force wherever the server listens.
        limits: What one caller may ask.
        decision_log: The local log.
        console: The pages for people.
    """

    holdout_share: ShareBelowOne = 0.0
    exploration_share: ShareBelowOne = 0.0
    exploration: ExplorationConfig = ExplorationConfig()
    assignment_epoch: Annotated[str, Field(max_length=64)] = ""
    kill_switch: bool = False
    poll_seconds: Seconds = 2.0
    message_seconds: Seconds = 2.0
    require_keys: Literal["off_loopback", "always", "never"] = "off_loopback"
    limits: LimitsConfig = LimitsConfig()
    decision_log: DecisionLogConfig = DecisionLogConfig()
    console: ConsoleConfig = ConsoleConfig()

    @model_validator(mode="after")
    def _somebody_is_left_to_the_policy(self) -> Self:
        if self.holdout_share + self.exploration_share >= 1:
            raise ValueError(
                f"holdout_share {self.holdout_share} and exploration_share {self.exploration_share} "
                "leave nobody to the policy"
            )
        return self
