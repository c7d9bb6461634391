"""What messages and pairs must prove before a model may learn from them. Pure; thresholds are config."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from churn_assets.customers.table import CustomerTable
from churn_assets.gates.report import Gate, Outcome
from churn_assets.message.config import MessagesGates, PreferencesConfig, PreferencesGates, RuleId
from churn_assets.message.corpus import gold
from churn_assets.message.corpus.data import SPLITS, MessageCorpus, Preferences, splits_of
from churn_assets.message.text.safety import TONE, Safety, Verdict
from churn_assets.message.text.terms import prompt_words

NEVER: tuple[RuleId, ...] = ("personal_data", "other_person", "characters")
"""Rules that no text to learn from may break: a model could repeat it."""


def message_volume(messages: MessageCorpus, gates: MessagesGates) -> Outcome:
    """Enough different texts, and every offer told about equally often."""
    frame, train = messages.frame, messages.of("train")
    told = Counter(
        prompt_words(arm, profile.currency) for profile, arm in filter(None, messages.situations(train))
    )
    origin = "written by the embedded generator" if messages.simulated else "the user's"
    measured = [
        Gate("distinct_messages", int(frame["completion"].nunique()), ">=", gates.min_distinct, origin),
        _rows_twice(messages),
    ]
    if told:
        balance = min(told.values()) * len(told) / sum(told.values())
        measured.append(
            Gate("offer_balance", balance, ">=", gates.min_offer_balance, "rarest offer, of an equal share")
        )
    words = frame["completion"].str.split().str.len()
    sides = [(split, frame[frame["split"] == split]) for split in SPLITS]
    return Outcome(
        tuple(measured),
        {
            "splits": [
                {"split": split, "messages": len(rows), "customers": int(rows["customer_id"].nunique())}
                for split, rows in sides
            ],
            "tones": [
                {"tone": tone or "unknown", "messages": len(rows), "words": float(words[rows.index].mean())}
                for tone, rows in frame.groupby("tone")
            ],
            "offers": [{"offer": offer, "messages": rows} for offer, rows in told.items()],
        },
    )


def message_wording(messages: MessageCorpus, safety: Safety, gates: MessagesGates) -> Outcome:
    """No text that a model must not repeat, and enough that could be sent as they are."""
    verdicts = _verdicts(messages, messages.frame["completion"], safety)
    broken = Counter(rule for verdict in verdicts for rule in set(verdict.rules))
    measured = [Gate(rule, broken[rule], "==", 0, "texts") for rule in NEVER]
    blocking = [{each.rule for each in verdict.blocking} for verdict in verdicts]
    safe, sendable = (
        sum(not rules - spared for rules in blocking) / max(1, len(verdicts))
        for spared in (TONE, frozenset())
    )
    measured += [
        Gate("safe_share", safe, ">=", gates.min_safe_share, "by what they say"),
        Gate("sendable_share", sendable, ">=", gates.min_sendable_share, _why_unsafe(verdicts)),
    ]
    return Outcome(
        tuple(measured),
        {
            "rules": [{"rule": rule, "share": count / len(verdicts)} for rule, count in broken.most_common()],
            "quality": _quality(messages),
        },
    )


def pair_volume(preferences: Preferences, gates: PreferencesGates) -> Outcome:
    """Enough pairs to learn from and to test on, the single edits each."""
    frame, test = preferences.frame, preferences.of("test")
    origin = "written and labelled by the embedded generator" if preferences.simulated else "the user's"
    same = int((frame["chosen"] == frame["rejected"]).sum())
    measured = [
        Gate("train_pairs", len(preferences.of("train")), ">=", gates.min_train, origin),
        Gate("test_pairs", len(test), ">=", gates.min_test),
        Gate("pairs_of_one_text", same, "==", 0),
        _rows_twice(preferences),
    ]
    if preferences.sends is not None:
        measured += _sends_as_stated(preferences.sends, gates)
    edits = test["rule"][test["rule"] != ""].value_counts()
    if len(edits):
        rarest = str(edits.idxmin())
        measured.append(
            Gate("rule_test_pairs", int(edits.min()), ">=", gates.min_rule_pairs, f"fewest: {rarest}")
        )
    pairs = [
        {
            "kind": kind,
            "rule": rule or "any",
            "pairs": len(rows),
            "test": int((rows["split"] == "test").sum()),
        }
        for (kind, rule), rows in frame.groupby(["kind", "rule"])
    ]
    return Outcome(tuple(measured), {"pairs": pairs})


def pair_labels(preferences: Preferences, safety: Safety, config: PreferencesConfig) -> Outcome:
    """A text that may be sent is rarely rejected for one that must not be; simulated labels are as noisy as said."""
    frame, gates = preferences.frame, config.gates
    chosen = _verdicts(preferences, frame["chosen"], safety)
    rejected = _verdicts(preferences, frame["rejected"], safety)
    worse = float(np.mean([b.safe and not a.safe for a, b in zip(chosen, rejected, strict=True)]))
    detail = "unsafe text chosen, safe one rejected"
    opposed = frame[contradicting(frame)]
    share = len(opposed) / max(1, len(frame))
    told = f"{len(opposed)} pairs are preferred the other way round as well"
    measured = [
        Gate("unsafe_preferred", worse, "<=", gates.max_unsafe_preferred, detail),
        Gate("contradicting_pairs", share, "<=", gates.max_contradicting, told),
    ]
    measured.append(_naming_somebody(preferences, safety))
    examples = {"contradicting": opposed.head(5)[["prompt", "chosen", "rejected"]].to_dict("records")}
    if not preferences.simulated:
        return Outcome(tuple(measured), examples)
    turned = ~agrees_with_gold(preferences)
    spread = np.sqrt(config.label_noise * (1 - config.label_noise) / len(frame))
    z = abs(turned.mean() - config.label_noise) / spread if spread else float(turned.any()) * np.inf
    detail = f"{turned.mean():.3f} of the labels turned"
    measured.append(Gate("label_noise_z", float(z), "<=", gates.max_noise_z, detail))
    labels = [
        {"rule": rule or "pair", "pairs": len(rows), "turned": float(turned[rows.index].mean())}
        for rule, rows in frame.groupby("rule")
    ]
    return Outcome(tuple(measured), {"labels": labels, **examples})


def separate_splits(value: MessageCorpus | Preferences, customers: CustomerTable) -> Outcome:
    """Customers stand on the side of the split that the hash of their id says; no prompt or text on two sides."""
    frame = value.frame
    splits = splits_of(customers)
    known = frame[frame["customer_id"] != ""]
    moved = int((known["customer_id"].map(splits) != known["split"]).sum())
    sides = pd.concat([frame[["split", name]].set_axis(["split", "text"], axis=1) for name in value.TEXTS])
    return Outcome(
        (
            Gate("customers_on_two_sides", _on_two(known["customer_id"], known["split"]), "==", 0),
            Gate("rows_on_another_side", moved, "==", 0, "than the hash of seed and id gives"),
            Gate("prompts_on_two_sides", _on_two(frame["prompt"], frame["split"]), "==", 0),
            Gate("texts_on_two_sides", _on_two(sides["text"], sides["split"]), "==", 0),
        )
    )


def contradicting(frame: pd.DataFrame) -> pd.Series:
    """(n,) whether the opposite of a pair stands in the table too."""
    pairs = set(zip(frame["prompt"], frame["chosen"], frame["rejected"], strict=True))
    opposite = zip(frame["prompt"], frame["rejected"], frame["chosen"], strict=True)
    return pd.Series([pair in pairs for pair in opposite], index=frame.index, dtype=bool)


def agrees_with_gold(preferences: Preferences) -> pd.Series:
    """Whether the hidden rules prefer the chosen text, row by row; its mean is the most that a reward can agree.

    Raises:
        ValueError: a row does not say customer and arm.
    """
    frame, known = preferences.frame, preferences.situations()
    if None in known:
        raise ValueError(
            f"row {known.index(None)}: customer and offer are unknown, so the gold rules cannot judge it"
        )
    return pd.Series(
        [
            gold.gold_score(*situation, chosen).total > gold.gold_score(*situation, rejected).total
            for situation, chosen, rejected in zip(known, frame["chosen"], frame["rejected"], strict=True)
            if situation is not None
        ],
        index=frame.index,
        dtype=bool,
    )


def _sends_as_stated(sends: pd.DataFrame, gates: PreferencesGates) -> list[Gate]:
    """Is each variant as frequent as the propensities say it was drawn?"""
    found = sends.groupby("variant")["propensity"].agg(["size", "first"])
    stated = found["first"].to_numpy(float)
    spread = np.sqrt(stated * (1 - stated) / len(sends)).clip(min=1e-9)
    z = np.abs(found["size"].to_numpy() / len(sends) - stated) / spread
    detail = f"of {len(sends)} sends, most of {found.index[int(z.argmax())]!r}: its share and its propensity differ"
    return [Gate("sends_propensity_z", float(z.max()), "<=", gates.max_propensity_z, detail)]


def _naming_somebody(preferences: Preferences, safety: Safety) -> Gate:
    """Of the user's own texts, those that name a person: simulated edits do so by design, with names of nobody."""
    sources = [] if preferences.simulated else [preferences.frame[name] for name in preferences.TEXTS]
    sources += [] if preferences.sends is None else [preferences.sends["text"]]
    naming = [
        (text.name, int(row) + 1)
        for text in sources
        for row in text.index[text.isin([each for each in text.unique() if safety.names_somebody(each)])]
    ]
    detail = (
        f"texts; the first is {naming[0][0]} of row {naming[0][1]}: write {{name}} there"
        if naming
        else "texts"
    )
    return Gate("texts_that_name_somebody", len(naming), "==", 0, detail)


def _rows_twice(table: MessageCorpus | Preferences) -> Gate:
    return Gate("rows_twice", int(table.frame.duplicated(["prompt", *table.TEXTS]).sum()), "==", 0)


def _on_two(values: pd.Series, sides: pd.Series) -> int:
    return int((sides.groupby(values).nunique() > 1).sum())


def _verdicts(table: MessageCorpus | Preferences, texts: pd.Series, safety: Safety) -> list[Verdict]:
    return [
        safety.check_wording(text) if situation is None else safety.check(text, *situation)
        for situation, text in zip(table.situations(), texts, strict=True)
    ]


def _why_unsafe(verdicts: Sequence[Verdict]) -> str:
    """What keeps most of the texts from being sent, with an example; of what is somebody's own, its row instead."""
    reasons: dict[str, list[str]] = {}
    for row, verdict in enumerate(verdicts, 1):
        for each in {each.rule: each for each in verdict.blocking}.values():
            why = f"is in row {row}" if each.rule in NEVER else each.reason
            reasons.setdefault(each.rule, []).append(why)
    told = "of the texts could be sent"
    if reasons:
        rule, found = max(reasons.items(), key=lambda each: len(each[1]))
        told += f"; {len(found)} break {rule}, one {found[0]}"
    return f"{told}; safety.sentences lists your own" if "unexplained" in reasons else told


def _quality(messages: MessageCorpus) -> list[dict[str, Any]]:
    """Quality by the hidden rules, where customer and offer are known."""
    known = messages.situations()
    totals = [
        gold.gold_score(*situation, text).total
        for situation, text in zip(known, messages.frame["completion"], strict=True)
        if situation is not None
    ]
    shares = (0.05, 0.25, 0.5, 0.75, 0.95) if totals else ()
    return [{"of_texts_below": share, "gold": float(np.quantile(totals, share))} for share in shares]
