"""What the models of the message branch must prove, measured on what was loaded from the store. Pure functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from churn_assets.gates.estimates import Z_ONE_SIDED_95, Estimate, Floats, Integers, clustered_mean
from churn_assets.gates.report import Gate, Outcome
from churn_assets.message.corpus import gold
from churn_assets.message.model.author import OPPONENTS
from churn_assets.message.model.repeats import MOST_SAID_AGAIN
from churn_assets.message.model.writing import Message, Situation
from churn_assets.message.text.safety import TONE
from churn_assets.message.text.terms import duration_words, prompt_words, worth_words
from churn_assets.message.training.gate_config import PpoTextGates, RewardGates, SftGates
from churn_assets.message.training.over_optimisation import judge_verdict

if TYPE_CHECKING:
    from churn_assets.message.model.language_model import RewardModel
    from churn_assets.message.training.config import PpoTextConfig
    from churn_assets.message.training.rollouts import TextPolicy

Booleans = npt.NDArray[np.bool_]
_SENTENCE = re.compile(r"[^.!?]+[.!?]")
LEAST_ERROR = 1e-9
EXAMPLES = 12
"""Texts shown in a table."""


def gold_scores(situations: Sequence[Situation], texts: Sequence[str]) -> Floats:
    """(n,) quality of raw texts by the hidden gold rules, about -1 to 1."""
    pairs = zip(situations, texts, strict=True)
    return np.array([gold.gold_score(each.profile, each.arm, text).total for each, text in pairs])


def labels_by_gold(
    situations: Sequence[Situation], chosen: Sequence[str], rejected: Sequence[str]
) -> Booleans:
    """(n,) whether the gold rules prefer the text that the label says was chosen."""
    return gold_scores(situations, chosen) > gold_scores(situations, rejected)


def language(perplexity: float, config: SftGates) -> Outcome:
    """Does the model expect what people write to customers it never saw?"""
    detail = "a token of held-out messages"
    return Outcome((Gate("held_out_perplexity", perplexity, "<=", config.max_perplexity, detail),))


def copies_offer(
    situations: Sequence[Situation], texts: Sequence[str], right: Booleans, config: SftGates
) -> Outcome:
    """Do greedy messages say the offer of their prompt, and no other number?

    Args:
        situations: (n,) whom and what they were written for.
        texts: (n,) the messages.
        right: (n,) whether each says just its offer, by the second parser.
        config: Thresholds.
    """
    detail = f"of {len(right)} greedy messages"
    wrong_first = np.argsort(right, kind="stable")[:EXAMPLES].tolist()
    return Outcome(
        (Gate("offer_copied_share", float(right.mean()), ">=", config.min_offer_copied, detail),),
        {"examples": [_example(situations[row], texts[row], right=bool(right[row])) for row in wrong_first]},
    )


def ranks_pairs(
    margins: Floats,
    judge_margins: Floats,
    label_right: Booleans | None,
    rules: Sequence[str],
    config: RewardGates,
    truths: Sequence[Floats] = (),
) -> Outcome:
    """Are held-out pairs ranked as people labelled them, single edits of every rule too, and by more than a constant?

    Args:
        margins: (n,) reward of the chosen text over that of the rejected one.
        judge_margins: (n,) the same by the judge.
        label_right: (n,) whether the gold rules agree with the label; None where none wrote the labels.
        rules: (n,) the rule that a single edit breaks; empty for two texts written apart.
        config: Thresholds.
        truths: Each (n,): by how much the chosen text is better by the gold rules, and by held-out outcomes; none where
            no gold rules wrote the labels.
    """
    right, agreed = margins > 0, (margins > 0) == (judge_margins > 0)
    true = np.ones(len(right), bool) if label_right is None else label_right
    accuracy, ceiling = float(right.mean()), float(true.mean())
    counted = f"accuracy {accuracy:.3f} of {len(right)} held-out pairs; {ceiling:.3f} of the labels are right"
    opposite = "pairs that reward and judge rank in opposite ways"
    gates = [
        Gate("accuracy_vs_ceiling", accuracy / ceiling, ">=", config.min_accuracy_vs_ceiling, counted),
        Gate("spread_of_margins", float(margins.std()), ">=", 1e-6, "a constant reward has none"),
        Gate("judge_disagreement", float((~agreed).mean()), "<=", config.max_judge_disagreement, opposite),
    ]
    if truths:
        together = errors_together(margins, judge_margins, *truths)
        low = float(
            np.tanh(np.arctanh(min(together, 1 - 1e-9)) - Z_ONE_SIDED_95 / np.sqrt(max(1, len(right) - 5)))
        )
        detail = f"one-sided 95 % lower bound; {together:.3f} of the errors of reward and judge, given what is true"
        gates.append(Gate("judge_error_correlation", low, "<=", config.max_error_correlation, detail))
    of_rule = {rule: np.array([each == rule for each in rules]) for rule in sorted({*rules} - {""})}
    if of_rule:
        hard = np.logical_or.reduce([*of_rule.values()]) & true
        detail = f"{int(hard.sum())} pairs that differ by one edit"
        gates.append(Gate("hard_accuracy", float(right[hard].mean()), ">=", config.min_hard_accuracy, detail))
    rows: list[dict[str, Any]] = [
        {"rule": rule, "pairs": int(pairs.sum()), "accuracy": float(right[pairs].mean())}
        for rule, which in of_rule.items()
        if (pairs := which & true).sum() >= config.min_rule_pairs
    ]
    if rows:
        least, rule = min((row["accuracy"], row["rule"]) for row in rows)
        gates.append(Gate("worst_rule_accuracy", least, ">=", config.min_rule_accuracy, rule))
    return Outcome(tuple(gates), {"rules": rows})


def errors_together(reward: Floats, judge: Floats, *truths: Floats) -> float:
    """Partial correlation of two judgements given the truth: of what is wrong with both; 0 where one makes no error.

    Both are compared with the truth whatever its form: its sign and cube stand beside it, as a judgement saturates.

    Args:
        reward: (n,) one.
        judge: (n,) the other.
        truths: Each (n,), what both are about.
    """
    forms = [form for truth in truths for form in (truth, truth**3, np.sign(truth))]
    known = np.column_stack([np.ones(len(reward)), *forms])
    errors = [each - known @ np.linalg.lstsq(known, each, rcond=None)[0] for each in (reward, judge)]
    spreads = [float(each.std()) for each in errors]
    if min(spreads) < LEAST_ERROR:
        return 0.0
    return float(np.mean(errors[0] * errors[1]) / (spreads[0] * spreads[1]))


def rewards_are_its_own(
    logged: Floats,
    rescored: Floats,
    given: Floats,
    expected: Floats,
    own: float,
    tolerance: float = 1e-3,
) -> Outcome:
    """Proof of use: every reward that the training logged is what the published reward model says of that text.

    And the log is of the published policy: it finds the last messages in it more probable than the SFT model does.

    Args:
        logged: (n,) raw rewards as the training got them.
        rescored: (n,) the published reward model's, of the same prompts and texts.
        given: (n,) rewards as the policy got them: standardised, clipped, less the penalty for a missing end.
        expected: (n,) the same from `rescored`.
        own: Nats a token by which the published policy finds the last messages of the log more probable than the SFT
            model does; about the KL divergence where they are its own.
        tolerance: Largest difference: what another batch shape can change by rounding, in units of the reward.
    """
    n = len(logged)
    raw = float(np.abs(logged - rescored).max()) if n else None
    shaped = float(np.abs(given - expected).max()) if n else None
    spread = float(given.std()) if n else None
    likelier = (
        "nats a token by which this policy finds its last messages more probable than the SFT model does"
    )
    return Outcome(
        (
            Gate("rewards_logged", n, ">=", 1),
            Gate("difference_from_reward_model", raw, "<=", tolerance, f"largest of {n} logged rewards"),
            Gate("difference_as_given", shaped, "<=", tolerance, "standardised, clipped, less the penalty"),
            Gate("spread_of_rewards", spread, ">=", 1e-3, "a constant has none"),
            Gate("log_is_its_own", own if n else None, ">=", 0.0, likelier),
        )
    )


def better_than_sft(
    situations: Sequence[Situation],
    ours: Floats,
    theirs: Floats,
    by: str,
    config: PpoTextGates,
    opponents: Mapping[str, Floats] = MappingProxyType({}),
    by_outcome: Sequence[Mapping[str, Any]] = (),
) -> Outcome:
    """Are messages better than the SFT model's for the same held-out customers, and worse for no slice of them?

    What else could be sent is compared as well, and decides nothing here: a release sends the template where the model
    is not better (`author.py`).

    Args:
        situations: (n,) whom and what they were written for.
        ours: (n,) quality of our messages.
        theirs: (n,) quality of the SFT model's.
        by: Who says so: the gold rules or the judge.
        config: Thresholds.
        opponents: (n,) quality of what others would write, by name.
        by_outcome: Rows of the same table by what came of messages that were sent, which count more than `by`.
    """
    everybody = np.ones(len(situations), bool)
    overall, row = _slice("all", "", everybody, situations, ours, theirs)
    rows, slices = [row], list[Gate]()
    for kind, names in {
        "offer": [worth_words(each.arm, each.profile.currency) or each.arm.label for each in situations],
        "service": [each.profile.service for each in situations],
    }.items():
        for name in sorted(set(names)):
            inside = np.array([each == name for each in names])
            if inside.sum() < config.min_slice_prompts:
                continue
            gain, row = _slice(kind, name, inside, situations, ours, theirs)
            detail = f"upper end of the 95 % interval; mean {gain.value:+.3f}"
            high = gain.interval[1]
            slices.append(Gate(f"gain_{kind}_{name}", high, ">=", config.min_slice_gain, detail))
            rows.append(row)
    low, high = overall.interval
    detail = f"by {by}: {theirs.mean():.3f} before, {ours.mean():.3f} after; 95 % {low:+.3f} to {high:+.3f}"
    gate = Gate("gain_lower_bound", overall.lower_bound, ">=", config.min_gain, detail)
    against = [dict(each) for each in by_outcome]
    against += [_opponent(situations, name, by, ours, each) for name, each in opponents.items()]
    return Outcome((gate, *slices), {"slices": rows, OPPONENTS: against})


def well_formed(
    situations: Sequence[Situation],
    messages: Sequence[Message],
    config: PpoTextGates,
    told_again: Sequence[float] = (),
) -> Outcome:
    """Do messages come to an end, does every customer get one of their own, and do they differ in more than the facts?

    Args:
        situations: (n,) whom and what they were written for.
        messages: (n,) the messages.
        config: Thresholds.
        told_again: Of the next messages to some of them, the share of sentences that stood in the first.
    """
    plain = [without_facts(each.raw, at) for each, at in zip(messages, situations, strict=True)]
    told = Counter(sentence for text in plain for sentence in {*_SENTENCE.findall(text)})
    common = [
        {"sentence": each.strip(), "share": count / len(plain)} for each, count in told.most_common(EXAMPLES)
    ]
    again = 1 - len({*plain}) / len(plain)
    texts = [each.raw for each in messages]
    ended = float(np.mean([each.ended for each in messages]))
    words = np.array([len(text.split()) for text in texts])
    lengths = [
        {"percentile": each, "words": float(np.percentile(words, each))} for each in (0, 5, 50, 95, 100)
    ]
    return Outcome(
        (
            Gate("ended_share", ended, ">=", config.min_ended, f"of {len(texts)}"),
            Gate("unique_share", len(set(texts)) / len(texts), ">=", config.min_unique, f"of {len(texts)}"),
            Gate(
                "common_sentence_share",
                float(common[0]["share"]) if common else None,
                "<=",
                config.max_common_sentence,
                f"of the messages say {common[0]['sentence']!r}, the facts apart" if common else "",
            ),
            Gate(
                "same_but_for_facts",
                again,
                "<=",
                config.max_same_but_for_facts,
                "an earlier message over again",
            ),
            *_not_told_again(told_again, config),
        ),
        {"words": lengths, "sentences": common},
    )


def _not_told_again(again: Sequence[float], config: PpoTextGates) -> Iterator[Gate]:
    if len(again):
        much = float(np.mean(np.array(again) > MOST_SAID_AGAIN))
        detail = (
            f"of {len(again)} customers get a next message most of which they got before; {np.mean(again):.3f} of its "
            "sentences on average"
        )
        yield Gate("told_again_share", much, "<=", config.max_told_again, detail)


def without_facts(text: str, situation: Situation) -> str:
    """A message with signs for what it says of its customer and arm: what is left could be said to anybody."""
    arm, profile = situation.arm, situation.profile
    for words, sign in (
        (profile.service, "{service}"),
        (worth_words(arm, profile.currency), "{worth}"),
        (duration_words(arm), "{duration}"),
    ):
        text = text.replace(words, sign) if words else text
    return text.strip()


@dataclass(frozen=True)
class Course:
    """What a training's own messages say of it, step by step; each array is (steps,).

    Attributes:
        reward: Mean reward, in standard deviations of the SFT model's.
        judge: The same by the judge, on which nothing was trained.
        kl: KL divergence from the SFT model, nats a token.
        kept: The step whose weights were kept.
    """

    reward: Floats
    judge: Floats
    kl: Floats
    kept: int

    @property
    def rows(self) -> list[dict[str, float]]:
        """One row a step."""
        columns = zip(self.reward, self.judge, self.kl, strict=True)
        return [
            {"step": step, "reward": float(reward), "judge": float(judge), "kl": float(kl)}
            for step, (reward, judge, kl) in enumerate(columns)
        ]


def course_of(policy: TextPolicy, reward: RewardModel, config: PpoTextConfig) -> Course:
    """The course of a training, from its logged messages and the published scales."""
    rows = policy.rollouts.assign(
        scaled=reward.reward.standardised(policy.rollouts["reward_logit"].to_numpy(np.float32)),
        judged=reward.judge.standardised(policy.rollouts["judge_logit"].to_numpy(np.float32)),
        nats=policy.rollouts["kl"] * policy.rollouts["tokens"],
    )
    steps = rows.groupby("step")
    rewarded, judged = (steps[name].mean().to_numpy(np.float64) for name in ("scaled", "judged"))
    kl = (steps["nats"].sum() / steps["tokens"].sum()).to_numpy(np.float64)
    kept = len(judged) - 1
    if policy.model.record.figures["stopped_by_judge"]:
        window, tolerance = config.judge_window, config.judge_tolerance
        kept = judge_verdict(judged.tolist(), rewarded.tolist(), window=window, tolerance=tolerance).best_step
    return Course(rewarded, judged, kl, kept)


def stays_close(nats: Floats, places: Integers, course: Course, config: PpoTextGates) -> Outcome:
    """Did the policy move, and not too far from the SFT model?

    Args:
        nats: (n,) KL divergence of the published policy from the SFT model, summed over each message's tokens.
        places: (n,) tokens of each message.
        course: Of the training, to be looked at.
        config: Thresholds.
    """
    kl = float(nats.sum() / places.sum())
    detail = (
        f"nats a token, {len(nats)} messages of the published weights; {course.kl[course.kept]:.3f} of the training's "
        f"own at step {course.kept}"
    )
    return Outcome(
        (
            Gate("kl_at_least", kl, ">=", config.min_kl, detail),
            Gate("kl_at_most", kl, "<=", config.max_kl, detail),
        ),
        {"training": course.rows},
    )


def not_over_optimised(
    judged: Floats, before: Floats, course: Course, window: int, config: PpoTextGates
) -> Outcome:
    """Does the reward still mean something? Where it rises and the judge falls, the policy games the reward model.

    Args:
        judged: (n,) the judge's scores of what the published policy writes, in standard deviations of the SFT
            model's.
        before: (m,) the same of the SFT model's messages.
        course: Of the training: how high the judge's score was at its best.
        window: Steps that are averaged: those of few messages are noise.
        config: Thresholds.
    """
    along = course.judge[: course.kept + 1]
    window = min(window, len(along))
    best = float(np.convolve(along, np.full(window, 1 / window), "valid").max())
    now, then = float(judged.mean()), float(before.mean())
    detail = f"standard deviations: {best:+.2f} at the training's best, {now:+.2f} of the published weights"
    agrees = f"the held-out judge agrees that it improved: the SFT model's messages have {then:+.2f}"
    return Outcome(
        (
            Gate("judge_fall", best - now, "<=", config.max_judge_fall, detail),
            Gate("judge_gain", now - then, ">=", config.min_judge_gain, agrees),
        ),
        {"training": course.rows},
    )


def safe_to_send(
    situations: Sequence[Situation],
    messages: Sequence[Message],
    another: Booleans,
    sent_only: Booleans,
    sent_broken: Booleans,
    config: PpoTextGates,
) -> Outcome:
    """How often raw texts break a rule or say another offer; what would be sent never does.

    Args:
        situations: (n,) whom and what they were written for.
        messages: (n,) raw texts with their verdicts, and what would be sent.
        another: (n,) whether the raw text names another number than its offer's, by the second parser.
        sent_only: (n,) whether what would be sent says just its offer, by the second parser.
        sent_broken: (n,) whether what would be sent breaks a blocking rule.
        config: Thresholds.
    """
    n = len(situations)
    broken = [{violation.rule for violation in each.sent.verdict.blocking} for each in messages]
    replaced = np.array([bool(rules) or not each.ended for rules, each in zip(broken, messages, strict=True)])
    unsafe = np.array(
        [bool(rules - TONE) or not each.ended for rules, each in zip(broken, messages, strict=True)]
    )
    counts = {rule: sum(rule in rules for rules in broken) for rule in sorted(set().union(*broken))}
    unsafe_share, replaced_share, wrong_share = (float(each.mean()) for each in (unsafe, replaced, another))
    wrong_sent, by_parser = int((~sent_only).sum()), "by the second parser"
    refused = np.flatnonzero(replaced | another)
    return Outcome(
        (
            Gate("prompts", n, ">=", config.prompts, "held-out customers and offers"),
            Gate("unsafe_raw_share", unsafe_share, "<=", config.max_unsafe, "by what they say"),
            Gate(
                "replaced_raw_share", replaced_share, "<=", config.max_replaced, "a template is sent instead"
            ),
            Gate("wrong_offer_raw_share", wrong_share, "<=", config.max_wrong_offer, by_parser),
            Gate("unsafe_sent", int(sent_broken.sum()), "==", 0, "of what would be sent"),
            Gate("wrong_offer_sent", wrong_sent, "==", 0, f"of what would be sent, {by_parser}"),
        ),
        {
            "rules_broken": [
                {"rule": rule, "texts": count, "share": count / n} for rule, count in counts.items()
            ],
            "refused": [
                _example(situations[row], messages[row].raw, right=False)
                for row in refused[:EXAMPLES].tolist()
            ],
        },
    )


def no_worse_than(
    situations: Sequence[Situation], ours: Floats, theirs: Floats, by: str, config: PpoTextGates
) -> Outcome:
    """Is the quality no worse than the champion's for the same customers?"""
    difference = _mean(situations, ours - theirs)
    detail = f"upper end of the 95 % interval, by {by}: champion {theirs.mean():.3f}, this {ours.mean():.3f}"
    return Outcome(
        (Gate("difference_from_champion", difference.interval[1], ">=", -config.champion_tolerance, detail),)
    )


def _mean(situations: Sequence[Situation], values: Floats) -> Estimate:
    _, customer = np.unique([each.customer for each in situations], return_inverse=True)
    return clustered_mean(values, customer)


def _slice(
    kind: str, name: str, inside: Booleans, situations: Sequence[Situation], ours: Floats, theirs: Floats
) -> tuple[Estimate, dict[str, Any]]:
    """The gain of some of the messages, and its row in the table."""
    before, after = theirs[inside], ours[inside]
    gain = _mean([situations[row] for row in np.flatnonzero(inside).tolist()], after - before)
    low, high = gain.interval
    return gain, {
        "slice": kind,
        "value": name,
        "prompts": len(after),
        "before": float(before.mean()),
        "after": float(after.mean()),
        "gain": gain.value,
        "low": low,
        "high": high,
    }


def _opponent(
    situations: Sequence[Situation], name: str, by: str, ours: Floats, theirs: Floats
) -> dict[str, Any]:
    gain = _mean(situations, ours - theirs)
    low, high = gain.interval
    figures = {"ours": float(ours.mean()), "theirs": float(theirs.mean()), "gain": gain.value}
    return {"opponent": name, "by": by, "prompts": len(ours), **figures, "low": low, "high": high}


def _example(situation: Situation, text: str, *, right: bool) -> dict[str, Any]:
    offer = prompt_words(situation.arm, situation.profile.currency)
    return {"offer": offer, "text": text.strip(), "right": right}
