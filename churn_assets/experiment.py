"""One YAML file = one experiment: every asset's section in one frozen model. Each asset declares its section."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, ValidationError, create_model, model_validator
from pydantic_core import ErrorDetails, to_jsonable_python

from churn_assets.arms import ArmConfig, Menu, did_you_mean, percent_share
from churn_assets.batch.config import CustomerDecisionsConfig
from churn_assets.campaigns.config import CampaignConfig
from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.labels import DAYS_A_MONTH
from churn_assets.deciding.messages import WHOLE_BILL
from churn_assets.decision.config import PpoDecisionConfig
from churn_assets.decision.limits import BudgetsConfig
from churn_assets.decision.process import RetentionProcess
from churn_assets.flow.asset import AssetSpec
from churn_assets.flow.registry import registry
from churn_assets.message.config import MessagesConfig, SafetyRules
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.safety import safety_of
from churn_assets.message.text.template import TemplateError, check_templates, plain_text
from churn_assets.monitoring.config import AutomationConfig
from churn_assets.offers.config import LOG_COLUMNS, OfferLogConfig
from churn_assets.offers.economics import Economics, ServedTerms, catalogue
from churn_assets.privacy.config import PrivacyConfig
from churn_assets.release.config import ReleaseConfig
from churn_assets.remote.config import ComputeProfiles, wrong_in
from churn_assets.risk.config import RiskModelConfig
from churn_assets.serving.config import ServingConfig
from churn_assets.store.listing import files_like
from churn_assets.store.location import store_uri
from churn_assets.store.signatures import SignaturePolicy

Section = TypeVar("Section", bound=BaseModel)
_Made = TypeVar("_Made")
KeyPath = tuple[str | int, ...]


CHANGED_KEYS = {
    "ppo_text.temperature": "ppo_text.sampling.temperature",
    "ppo_decision.gates.min_gain_lost_by_permutation": "ppo_decision.gates.min_standard_errors_lost",
    "ppo_decision.gates.first_release_confidence": "ppo_decision.gates.release_confidence",
    "risk_model.gates.max_calibration_ratio": "risk_model.gates.tolerated_error",
    "risk_model.gates.max_deviation": "risk_model.gates.least_p_value",
    "risk_model.gates.max_slice_deviation": "risk_model.gates.least_p_value",
}
"""Keys that experiments of earlier versions had, and what stands in their place: every change of a name is here."""
REMOVED_KEYS = {
    "effect_model.min_segment_rows": "effects are shrunken to what the log supports, without groups",
    "effect_model.segments": "which customers differ in their effects is learned from the log",
    "offer_log.gates.min_effective_share": "what counts is how many decisions about an arm chance decided, "
    "offer_log.gates.min_arm_decisions",
    "reward_model.counterfactual_learning_rate": "all pairs are learned at reward_model.learning_rate",
}
"""Keys of earlier versions that nothing stands in for, and why they may be left out: every other that went is here."""


class ExperimentError(ValueError):
    """An experiment cannot be read.

    Attributes:
        problems: Every problem, one line each: file and line, key path, found, expected, nearest key.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class StoreConfig(SignaturePolicy, frozen=True, extra="forbid"):
    """Where artifacts and channels live, and whose signatures they need.

    Attributes:
        uri: A folder (relative to the project), `file:///…`, `gs://bucket/prefix` or `/gcs/bucket/prefix`; the
            variable CHURN_STORE overrides it.
    """

    uri: Annotated[str, Field(min_length=1)] = ".churn/store"


class ExperimentBase(BaseModel, frozen=True, extra="forbid"):
    """What every experiment says, whatever assets there are.

    Attributes:
        name: The file's name; also the partition of every asset.
        seed: Of the split and of everything that is drawn or initialised at random.
        store: Where artifacts live.
        channel: The channel that promotion of this experiment's releases moves; left out, of the experiment's name.
        economics: What offers cost and customers are worth.
        arms: What may be offered beside no contact and percents off, which need no declaration.
        safety: What a message must keep to be sent.
        serving: How a release is served.
        privacy: How the decision log names customers, and how long it is kept.
        automation: What happens by itself.
        campaign: The campaign that `churn design` plans; left out: none.
        budgets: What all offers together, and those to one customer, may use; left out: as much as they are worth.
        compute: On which machines assets are made; left out: on this one.
        customer_decisions: The waves that are decided with the release that leads.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    store: StoreConfig = StoreConfig()
    channel: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    economics: Economics
    arms: tuple[ArmConfig, ...] = ()
    safety: SafetyRules = SafetyRules()
    serving: ServingConfig = ServingConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    automation: AutomationConfig = AutomationConfig()
    campaign: CampaignConfig | None = None
    budgets: BudgetsConfig | None = None
    compute: ComputeProfiles = ComputeProfiles()
    customer_decisions: CustomerDecisionsConfig = CustomerDecisionsConfig()

    def section(self, kind: type[Section]) -> Section:
        """The section of an asset, by its class.

        Raises:
            LookupError: The experiment goes without it.
        """
        found = self.find(kind)
        if found is None:
            raise LookupError(f"experiment {self.name!r} has no section of {kind.__name__}")
        return found

    def find(self, kind: type[Section]) -> Section | None:
        """The section of an asset, by its class; None where the experiment goes without it."""
        return next((value for _, value in self if type(value) is kind), None)

    @property
    def served_terms(self) -> ServedTerms:
        """What its served decisions are read by."""
        return ServedTerms.of(self.arms, self.economics, self.section(CustomersConfig).constants)

    @model_validator(mode="after")
    def _branches_are_whole(self) -> Self:
        """The sections of a branch are there where the release has it, and nowhere else: nothing is ignored."""
        branches, flow = self.section(ReleaseConfig).branches, registry()
        needed = {asset: branch for branch in branches for asset in flow.members[branch]}
        members = [asset for asset in flow.assets if asset.branch is not None]
        there = [asset.name for asset in members if getattr(self, asset.name) is not None]
        missing = [a.name for a in members if a.name in needed and a.name not in there and not a.optional]
        problems = [
            f"{name}: missing section; release.branches: {needed[name]} needs it{_with_less(name)}"
            for name in missing
        ]
        if unread := [name for name in there if name not in needed]:
            told = ", ".join(branches)
            problems.append(
                f"release.branches: found [{told}], with which nothing reads {', '.join(unread)}; leave them out, or "
                f"name the branch that does: {', '.join(dict.fromkeys(str(flow[name].branch) for name in unread))}"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @model_validator(mode="after")
    def _menus_are_of_known_arms(self) -> Self:
        ids = [arm.id for arm in self.arms]
        for place, arm_id in enumerate(ids):
            if arm_id in ids[:place]:
                raise ValueError(f"arms.{place}.id: found {arm_id!r} a second time, expected ids that differ")
            if percent_share(arm_id) is not None:
                raise ValueError(
                    f"arms.{place}.id: found {arm_id!r}, which is always there as a percent off; expected another id"
                )
        known = catalogue(self.arms, self.economics)
        campaign = self.campaign
        if campaign is not None:
            _resolved("campaign", lambda: campaign.arms(known))
            if campaign.served and self.find(PpoDecisionConfig) is not None:
                raise ValueError(
                    "campaign.served: found true in an experiment with a policy, expected false: a share of its "
                    "customers is left to chance by serving.exploration_share"
                )
        decision, log = self.find(PpoDecisionConfig), self.find(OfferLogConfig)
        tried = (
            _resolved("offer_log.menu", lambda: log.demo_menu(known))
            if log is not None and log.simulated
            else None
        )
        if decision is None:
            return self
        menu = _resolved("ppo_decision.menu", lambda: known.menu(decision.menu))
        window = self.section(CustomersConfig).label.window_months
        _resolved("ppo_decision", lambda: RetentionProcess.build(decision, self.economics, window, self.arms))
        self._texts_can_be_sent(menu)
        if tried is not None:
            strange = [arm.id for arm in menu if arm.contacts and arm.family not in tried.families]
            if strange:
                raise ValueError(
                    f"ppo_decision.menu: found {', '.join(strange)}, of which the demo world tries nothing alike; add "
                    "it to offer_log.menu"
                )
        return self

    @model_validator(mode="after")
    def _budgets_can_be_meant(self) -> Self:
        if self.budgets is None:
            return self
        decision = self.find(PpoDecisionConfig)
        if decision is None:
            raise ValueError(
                "budgets: found limits in an experiment without a policy, expected ppo_decision beside them; what a "
                "campaign uses is planned by `churn design`"
            )
        menu = catalogue(self.arms, self.economics).menu(decision.menu)
        if problems := [*self.budgets.problems(menu)]:
            raise ValueError("\n".join(problems))
        return self

    @model_validator(mode="after")
    def _effects_can_be_learned(self) -> Self:
        log = self.find(OfferLogConfig)
        if (
            log is not None
            and log.propensities == "contacted_only"
            and self.find(PpoDecisionConfig) is not None
        ):
            raise ValueError(
                "offer_log.propensities: found contacted_only, which shows no effect of contact, beside ppo_decision; "
                "expected release.branches: [risk, accept] without effect_model and ppo_decision, or a log in which "
                "some were left alone"
            )
        return self

    @model_validator(mode="after")
    def _outcomes_are_of_one_window(self) -> Self:
        outcome, log = self.economics.outcome, self.find(OfferLogConfig)
        if outcome is None:
            return self
        problems = []
        if self.campaign is not None:
            problems.append("campaign: found beside economics.outcome; `churn design` plans for leaving only")
        if log is None or log.simulated:
            problems.append(
                f"offer_log: found no file beside economics.outcome; expected one with the column {outcome.column!r}"
            )
        elif log.decisions is not None and log.decisions.window_days < outcome.window_days:
            problems.append(
                f"offer_log.decisions.window_days: found {log.decisions.window_days:g} beside "
                f"economics.outcome.window_days: {outcome.window_days:g}; expected at least as many: before, a part of "
                "the outcome has come"
            )
        decision = self.find(PpoDecisionConfig)
        menu = () if decision is None else catalogue(self.arms, self.economics).menu(decision.menu)
        lasting = [arm.id for arm in menu if arm.months > 1]
        if lasting:
            problems.append(
                f"arms: found {', '.join(lasting)}, which run on after the outcome's one window; expected 1 month"
            )
        shares = [arm.id for arm in menu if percent_share(arm.id)]
        if shares and not outcome.amount:
            problems.append(
                f"ppo_decision.menu: found {', '.join(shares)} of an outcome that has no price; expected amounts"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _texts_can_be_sent(self, menu: Menu) -> None:
        """The templates keep the rules for every arm and service; whatever they cannot keep, hardly any text can."""
        check_templates(self.safety, menu)
        messages = self.find(MessagesConfig)
        services = (WHOLE_BILL,) if messages is None else messages.profile.service_texts
        safety = safety_of(self.safety, services, menu)
        for arm in menu:
            for service in services if arm.contacts else ():
                profile = Profile(service, bill=0.0, currency=self.economics.currency)
                try:
                    plain_text(profile, arm, safety)
                except TemplateError as error:
                    raise ValueError(
                        f"{error}, for arm {arm.id!r} and service {service!r}; expected a template that keeps every "
                        "rule of safety, and rules that it can keep"
                    ) from error

    @model_validator(mode="after")
    def _columns_are_there_when_they_are_read(self) -> Self:
        customers = self.section(CustomersConfig)
        gone = {customers.id: "the id", customers.label.column: "the label, which nobody knows when deciding"}
        gone |= {customers.row_date: "the day of the row"} if customers.row_date else {}
        gone |= {
            column: f"customers.optional.{role}, no feature"
            for role, column in customers.optional.columns.items()
        }
        gone |= dict.fromkeys(customers.exclude, "in customers.exclude")
        dropped = [name for name, what in customers.path_dependent.items() if what == "drop"]
        gone |= dict.fromkeys(dropped, "dropped by customers.path_dependent")
        texts = {name for name, kind in customers.kinds.items() if kind == "categorical"}
        numbers = [*self._columns_read_as_numbers()]
        problems = [
            f"{key}: found column {name!r}, which is {gone[name]}; expected a feature"
            for key, name in (*numbers, *self._columns_read())
            if name in gone
        ]
        problems += [
            f"{key}: found column {name!r}, which is categorical by customers.kinds; expected a number"
            for key, name in numbers
            if name in texts
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _columns_read_as_numbers(self) -> Iterator[tuple[str, str]]:
        """Key and column of whatever must be a number."""
        customers = self.section(CustomersConfig)
        yield "customers.monthly_revenue", customers.monthly_revenue
        if customers.tenure:
            yield "customers.tenure", customers.tenure
        for name in customers.ranges:
            yield f"customers.ranges.{name}", name
        for name in self.section(RiskModelConfig).monotone:
            yield f"risk_model.monotone.{name}", name

    def _columns_read(self) -> Iterator[tuple[str, str]]:
        """Key and column of every other feature that a section names."""
        for name in self.section(CustomersConfig).kinds:
            yield f"customers.kinds.{name}", name
        for name in self.section(RiskModelConfig).gates.known_before:
            yield "risk_model.gates.known_before", name
        for place, arm in enumerate(self.arms):
            for number, condition in enumerate(arm.eligible):
                yield f"arms.{place}.eligible.{number}.column", condition.column
        for place, name in enumerate(self.automation.live.slices):
            yield f"automation.live.slices.{place}", name
        for place, limit in enumerate(() if self.budgets is None else self.budgets.limits):
            for number, condition in enumerate(limit.where):
                yield f"budgets.limits.{place}.where.{number}.column", condition.column
        messages = self.find(MessagesConfig)
        if messages is None:
            return
        for place, rule in enumerate(messages.profile.services):
            for name in rule.where:
                yield f"messages.profile.services.{place}.where.{name}", name
        if messages.profile.contract is not None:
            yield "messages.profile.contract.column", messages.profile.contract.column

    @model_validator(mode="after")
    def _least_is_below_largest(self) -> Self:
        problems = [*_crossed(self)]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @model_validator(mode="after")
    def _nothing_waits_for_an_asset_that_is_not_made(self) -> Self:
        made = {name for name in registry().names if getattr(self, name, None) is not None}
        if unread := sorted(set(self.automation.max_age_days) - made):
            raise ValueError(
                f"automation.max_age_days.{unread[0]}: found an age of {unread[0]}, which this experiment does not "
                "make; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _machines_can_make_what_they_are_given(self) -> Self:
        made = [name for name in registry().names if getattr(self, name, None) is not None]
        if problems := [*wrong_in(self.compute, made, store_uri(self.store.uri))]:
            raise ValueError("\n".join(problems))
        return self

    @model_validator(mode="after")
    def _messages_speak_of_the_discount_months(self) -> Self:
        messages, months = self.find(MessagesConfig), self.economics.discount_months
        if messages is not None and months not in messages.durations:
            raise ValueError(
                f"messages.durations: found {list(messages.durations)}, expected economics.discount_months ({months}) "
                "among them"
            )
        return self


BOUNDS = (("min_", "max_"), ("least_", "largest_"))
"""How keys are called that bound one thing from both sides."""


def _crossed(section: BaseModel, key: str = "") -> Iterator[str]:
    """Every pair of bounds of a section, and of those within it, between which there is nothing."""
    for name, value in section:
        if isinstance(value, BaseModel):
            yield from _crossed(value, f"{key}{name}.")
        for low, high in BOUNDS:
            other = getattr(section, high + name.removeprefix(low), None) if name.startswith(low) else None
            if isinstance(value, int | float) and isinstance(other, int | float) and value > other:
                opposite = high + name.removeprefix(low)
                yield f"{key}{name}: found {value}, expected at most {key}{opposite}, which is {other}"


def _resolved(key: str, made: Callable[[], _Made]) -> _Made:
    try:
        return made()
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def _with_less(name: str) -> str:
    """How to go without a section, where that is a way to begin."""
    if name not in registry().members["decision"]:
        return ""
    return "; `branches: [risk]` goes without any log of offers, see docs/first-campaign.md"


def _field(asset: AssetSpec) -> Any:
    """The section of an asset: it may be left out where the asset, or its branch, may."""
    if asset.optional or asset.branch not in (None, "risk"):
        return asset.config | None, None
    return asset.config, ...


if TYPE_CHECKING:
    Experiment = ExperimentBase
else:
    Experiment = create_model(
        "Experiment",
        __base__=ExperimentBase,
        __module__=__name__,
        __doc__="One experiment: a section for each asset of the flow beside what every experiment says.",
        **{asset.name: _field(asset) for asset in registry().assets},
    )


def load_experiment(name: str, config_dir: Path) -> Experiment:
    """Reads and validates `<config_dir>/<name>.yaml`.

    Raises:
        ExperimentError: No such file, not YAML, a key twice, unknown or missing, or a wrong value.
    """
    path = config_dir / f"{name}.yaml"
    if not path.is_file():
        names = [each.stem for each in files_like(config_dir, "*.yaml")]
        near = did_you_mean(name, names)
        raise ExperimentError([f"{path}: no such experiment{near}; expected one of {names}"])
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} at {error.start}"
        raise ExperimentError([f"{path}: found {found}, expected UTF-8; save it in that encoding"]) from error
    content = completed_for_one_file(completed_for_outcome(_parse(path, text)))
    if content.setdefault("name", name) != name:
        raise ExperimentError([f"{path}: name: found {content['name']!r}, expected the file's name {name!r}"])
    content.setdefault("channel", name)
    try:
        # By way of JSON: strict types (no bool or text for a number) that still take lists for tuples.
        return Experiment.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        raise ExperimentError(_problems(path, text, error)) from error


def completed_for_outcome(content: dict[str, Any]) -> dict[str, Any]:
    """What an experiment's file says, with what follows from another outcome than leaving (`economics.outcome`).

    Nothing is followed beyond the window: a decision is one step, nothing of customers is hidden in it, and the largest
    outcome stands where otherwise a price does. What the file says itself goes before, and is judged as always.
    """
    economics = content.get("economics")
    outcome = economics.get("outcome") if isinstance(economics, dict) else None
    if not isinstance(outcome, dict) or not (outcome.get("worth") or outcome.get("largest")):
        return content
    assert isinstance(economics, dict)
    most = outcome.get("worth") or outcome.get("largest")
    amount = "largest" in outcome
    days = outcome.get("window_days", 0)
    window = (
        days / DAYS_A_MONTH if isinstance(days, int | float) else days
    )  # its own section refuses what is no number
    label = {"column": outcome.get("column"), "window_months": window}
    follows: dict[str, Any] = {
        "economics": {"value_horizon_months": 1, "discount_months": 1} | ({} if amount else {"margin": 1.0}),
        "customers": {
            "label": label | ({"nothing": True} if amount else {"positive": False}),
            "monthly_revenue": LARGEST_OUTCOME,
            "constants": {LARGEST_OUTCOME: most},
            "gates": {"min_label_rate": 0.0, "max_label_rate": 1.0},
        },
        "risk_model": {
            "gates": {"min_auc": 0.5, "min_slice_auc": 0.5, "min_brier_skill": -0.01, "min_spread": 1e-9}
        },
        "accept_model": {},
        "effect_model": {},
        "ppo_decision": {
            "episode_length": 1,
            "hidden": {
                "frailty": 0.0,
                "frailty_band": [0.0, 0.0],
                "effect_decay_band": [0.0, 0.0],
                "taste": 0.0,
            },
            "ppo": {"total_timesteps": 65_536},
        },
    }
    release = content.get("release")
    branches = release.get("branches") if isinstance(release, dict) else None
    if isinstance(branches, list) and branches and "decision" not in branches:
        idle = {"effect_model", "ppo_decision"} | (set() if "accept" in branches else {"accept_model"})
        follows = {name: each for name, each in follows.items() if name not in idle}
    made = {
        name: _beneath(content[name], each) if name in content else each for name, each in follows.items()
    }
    return {**content, **made}


def completed_for_one_file(content: dict[str, Any]) -> dict[str, Any]:
    """What an experiment's file says; where customers and log are one file, with the log's columns as no features."""
    customers, log, economics = (content.get(name) for name in ("customers", "offer_log", "economics"))
    if not (isinstance(customers, dict) and isinstance(log, dict)):
        return content
    if log.get("source") is None or log.get("source") != customers.get("source"):
        return content
    columns, outcome = log.get("columns"), economics.get("outcome") if isinstance(economics, dict) else None
    theirs = columns if isinstance(columns, dict) else {}
    read = [theirs.get(name, name) for name in LOG_COLUMNS]
    read += [name for ours, name in theirs.items() if ours not in LOG_COLUMNS]
    read += [outcome.get("column")] if isinstance(outcome, dict) else []
    read += [log["drawn_together"]] if isinstance(log.get("drawn_together"), str) else []
    return {**content, "customers": {"log_columns": read} | customers}


LARGEST_OUTCOME = "largest_outcome"
"""The feature, the same for everybody, that stands for a price where the outcome is not leaving."""


def _beneath(given: Any, follows: Any) -> Any:
    """What is given, and of mappings what follows where nothing is."""
    if not isinstance(given, dict) or not isinstance(follows, dict):
        return given
    return given | {
        name: _beneath(given[name], each) if name in given else each for name, each in follows.items()
    }


def section_digest(section: Any) -> str:
    """Digest (sha256, hex) of a section or plain value, a list included; equal where the resolved values are equal."""
    canonical = json.dumps(
        to_jsonable_python(section), sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: `Yes` and dates are texts, `1e-5` is a number, a key stands once."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for _REPLACED in [{f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "timestamp", "int")}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9][0-9_]*$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} is not a text", key_node.start_mark
            )
        if key in mapping:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} stands twice", key_node.start_mark
            )
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value.replace("_", "")))


_MOST_VALUES = 100_000
"""Of one experiment, its aliases written out: a few lines of them could be more than a machine's memory."""


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506, TID251 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ExperimentError([f"{path}{line}: {error.problem or error}"]) from error
    except yaml.YAMLError as error:
        raise ExperimentError([f"{path}: not YAML: {error}"]) from error
    except RecursionError as error:
        raise ExperimentError([f"{path}: not YAML: found values in values without end"]) from error
    if not isinstance(content, dict):
        raise ExperimentError([f"{path}: found {_kind(content)}, expected sections by name"])
    if (values := _grown(content, {})) > _MOST_VALUES:
        raise ExperimentError(
            [
                f"{path}: found aliases (*) that make {values:.3g} values of it, expected at most {_MOST_VALUES}"
            ]
        )
    return content


def _grown(value: Any, known: dict[int, int]) -> int:
    """How many values a text has once its aliases are written out; `known` are parts that were counted."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        children = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_grown(each, known) for each in children)
    return known[id(value)]


class _Lines:
    """Finds the line of a key path, the nearest enclosing one where the key itself is not in the file."""

    def __init__(self, text: str) -> None:
        self._root = yaml.compose(text, Loader=_Loader)

    def of(self, path: KeyPath) -> str:
        node, line = self._root, None
        for key in path:
            found = None
            if isinstance(node, yaml.MappingNode):
                pairs = [(k, v) for k, v in node.value if k.value == str(key)]
                found = (pairs[0][0].start_mark.line, pairs[0][1]) if pairs else None
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                found = (node.value[key].start_mark.line, node.value[key])
            if found is None:
                break
            line, node = found
        return "" if line is None else f":{line + 1}"


def _problems(path: Path, text: str, error: ValidationError) -> list[str]:
    """One line a wrong key, the unknown keys first: they often explain the missing ones."""
    lines = _Lines(text)
    expected: dict[tuple[bool, str], list[str]] = {}
    for each in error.errors(include_url=False):
        where, valid = _located(each["loc"])
        if each["type"].startswith("union_tag"):
            where = (*where, each["ctx"]["discriminator"].strip("'"))
        found, wanted = _problem(each, where, valid)
        for told in wanted.split("\n"):  # a rule about several sections says itself which key it is about
            about = where or _key_of(told)
            start = f"{path}{lines.of(about)}: {'.'.join(map(str, where))}".removesuffix(": ") + f": {found}"
            expected.setdefault((each["type"] != "extra_forbidden", start), []).append(told)
    ordered = sorted(expected.items(), key=lambda item: item[0][0])
    return [start + " or ".join(dict.fromkeys(wanted)) for (_, start), wanted in ordered]


def _key_of(message: str) -> KeyPath:
    """The key path with which a message begins, if it does."""
    key = re.match(r"([a-z_]+(?:\.[^.:]+)*): ", message)
    return tuple(int(each) if each.isdigit() else each for each in key[1].split(".")) if key else ()


def _located(loc: KeyPath) -> tuple[KeyPath, list[str]]:
    """The path without pydantic's own steps (as the branch of a union), which stand in no file; keys valid there."""
    path: list[str | int] = []
    valid: list[str] = []
    kind: Any = Experiment
    for key in loc:
        kind = _plain(kind)
        branches = [each for each in map(_plain, get_args(kind)) if _is_section(each)]
        if _is_section(kind):
            valid = list(kind.model_fields)
            kind = kind.model_fields[str(key)].annotation if key in valid else None
        elif get_origin(kind) in (tuple, list, dict):
            valid, kind = [], get_args(kind)[get_origin(kind) is dict]
        elif branches:
            kind = next(
                (each for each in branches if key in (field.default for field in each.model_fields.values())),
                branches[0],
            )
            continue
        else:
            break
        path.append(key)
    return tuple(path), valid


def _plain(annotation: Any) -> Any:
    """What is annotated, or may be left out."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        given = [each for each in get_args(annotation) if each is not NoneType]
        return _plain(given[0]) if len(given) == 1 else annotation
    return annotation


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _problem(error: ErrorDetails, path: KeyPath, valid: list[str]) -> tuple[str, str]:
    """What was found at a path, and what was expected; the keys that are valid there."""
    if error["type"] == "extra_forbidden" and (now := CHANGED_KEYS.get(".".join(map(str, path)))):
        return (
            "a key of an earlier version; expected ",
            f"{now}, which stands in its place with its own meaning",
        )
    if error["type"] == "extra_forbidden" and (why := REMOVED_KEYS.get(".".join(map(str, path)))):
        return "a key of an earlier version; expected ", f"nothing: {why}; take it out"
    if error["type"] == "extra_forbidden":
        return f"unknown key{did_you_mean(str(path[-1]), valid)}; expected one of ", ", ".join(valid)
    if error["type"] == "union_tag_invalid":
        tags = error["ctx"]["expected_tags"]
        near = did_you_mean(error["ctx"]["tag"], tags.strip("'").split("', '"))
        return f"found {json.dumps(error['ctx']['tag'])}{near}; expected one of ", tags
    if error["type"] in ("missing", "union_tag_not_found"):
        unknown = sorted(set(error["input"]) - set(valid))
        close = difflib.get_close_matches(str(path[-1]), unknown, n=1)
        return f"missing {'section' if len(path) == 1 else 'key'}", f"; found {close[0]!r}" if close else ""
    expected = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if error["type"] == "value_error":
        return "", expected
    expected = {"an object": "a section", "a valid array": "a list"}.get(expected, expected)
    return f"found {_kind(error['input'])}, expected ", expected


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a section" if isinstance(value, dict) else f"a list {json.dumps(value)}"
    return json.dumps(value)
