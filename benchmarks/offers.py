"""Texts whose every token is drawn at random under the masks: how many say another offer, and what the masks cost.

No model has a part in the texts: a token is as likely as any other that may follow, or, in every second batch, as it
follows the one before in the corpus. Twenty thousand by default; `--texts 1000000` is the slow one, an hour or more.
What the masks cost is measured on an untrained network of the quickstart's size, in CPU time within one process: its
random texts meet more states than those of a trained one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.report import Figure, main
from benchmarks.safety import LOYAL, SERVICES, every_kind
from churn_assets.message.config import SafetyRules
from churn_assets.message.corpus.sentences import write_sendable
from churn_assets.message.model.audit import says_another, says_only
from churn_assets.message.model.base_model import base_model
from churn_assets.message.model.generation import Writer, generate
from churn_assets.message.model.masks import Guide, TokenMasks, guide_of
from churn_assets.message.model.tokenizer import TextTokenizer
from churn_assets.message.model.writing import Situation
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.safety import SERVICE, Safety, safety_of
from churn_assets.message.text.terms import offers_of
from churn_assets.message.training.config import FromScratch

ROOM = 96
BATCH = 512
TIMED = 256
ROUNDS = 5
FOLLOWING = 0.02
"""Weight of a token that never followed in the corpus, beside those that did."""

Draws = np.random.Generator
Weights = npt.NDArray[np.float64]


def situations() -> list[Situation]:
    """Every kind of arm, for every duration, with every service."""
    arms = offers_of(every_kind(), (1, 3, 6, 12, 24))
    return [
        Situation("", Profile(service, 57.0, LOYAL, "monthly", "EUR"), arm)
        for service in SERVICES
        for arm in arms
    ]


def corpus(known: Sequence[Situation], safety: Safety, rng: Draws) -> list[tuple[str, str]]:
    """Prompts, and texts that may be sent."""
    return [
        (each.prompt, write_sendable(each.profile, each.arm, 0.6, safety, rng).completion)
        for each in known
        for _ in range(4)
    ]


def successors(tokenizer: TextTokenizer, texts: Sequence[tuple[str, str]]) -> Weights:
    """(tokens, tokens) how often each token follows each other one in the corpus."""
    found = np.full((tokenizer.size, tokenizer.size), FOLLOWING)
    for ids, start in tokenizer.supervised(*map(list, zip(*texts, strict=True))):
        for before, after in zip(ids[start - 1 :], ids[start:], strict=False):
            found[before, after] += 1
    return found


def drawn(
    tokenizer: TextTokenizer, guide: Guide, wanted: Sequence[Situation], follows: Weights | None, rng: Draws
) -> list[str]:
    """A text for each situation; every token at random, evenly or as tokens follow each other in the corpus."""
    facts = guide.of(each.prompt for each in wanted)
    followed = guide.masks.follow(facts, ROOM)
    written: list[list[int]] = [[] for _ in wanted]
    going, before = np.arange(len(wanted)), np.zeros(len(wanted), np.int64)
    while len(going):
        weights = followed.allowed(tokenizer.size) * (1.0 if follows is None else follows[before])
        sums = weights.cumsum(1)
        tokens = (sums <= rng.random((len(sums), 1)) * sums[:, -1:]).sum(1)
        for row, token in zip(going.tolist(), tokens.tolist(), strict=True):
            written[row].append(token)
        on = tokens != tokenizer.eos_id
        followed.advance(tokens)
        followed.keep(on)
        going, before = going[on], tokens[on]
    return tokenizer.decode(written)


def is_wrong(text: str, each: Situation) -> bool:
    """Whether offer, service or name are another's or missing, by the second parser, which shares no code."""
    apart = text.replace(each.profile.service, SERVICE)
    currency = each.profile.currency
    return (
        says_another(apart, each.arm, currency)
        or not says_only(apart, each.arm, currency)
        or each.profile.service.casefold() not in text.casefold()
        or "{name}" not in text
    )


def overhead(writer: Writer, guide: Guide, wanted: Sequence[Situation]) -> float:
    """CPU time of writing under the masks, over that of as many tokens without: the least of some rounds of each."""
    prompts = [each.prompt for each in wanted][:TIMED]
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(ROUNDS + 1):
        for masked in (True, False):
            start = time.process_time()
            texts = generate(
                writer, prompts, seed=number, max_new_tokens=ROOM, guide=guide if masked else None
            )
            spent = time.process_time() - start
            if number:  # the first round works out what later ones look up
                seconds[masked].append(spent / sum(len(each[0].tokens) for each in texts))
    return min(seconds[True]) / min(seconds[False])


def measure(texts: int) -> Sequence[Figure]:
    torch.set_num_threads(1)
    rng, rules, known = np.random.default_rng(20), SafetyRules(), situations()
    safety = safety_of(rules, SERVICES, every_kind())
    told = corpus(known, safety, rng)
    base = FromScratch(source="from_scratch")
    network, tokenizer = base_model(base, [text for pair in told for text in pair], seed=0, root=Path())
    guide = guide_of(TokenMasks(tokenizer, rules), safety, known)
    follows = successors(tokenizer, told)
    wrong, unfinished, start = 0, 0, time.process_time()
    for number in range(0, texts, BATCH):
        wanted = [known[row] for row in rng.integers(len(known), size=min(BATCH, texts - number))]
        written = drawn(tokenizer, guide, wanted, follows if number // BATCH % 2 else None, rng)
        bad = [(text, each) for text, each in zip(written, wanted, strict=True) if is_wrong(text, each)]
        wrong += len(bad)
        unfinished += sum(text[-1] not in ".!?" for text in written)
        for text, each in bad[:3]:
            print(f"{each.arm.label}, {each.profile.service}: {text}", flush=True)
    spent = time.process_time() - start
    counted = f"of {texts:,} texts of random tokens; 95 % bound {3 / texts:.1g}"
    return [
        Figure("wrong_offer_rate_raw", wrong / texts, "<=", 0, counted),
        Figure("unfinished_share", unfinished / texts, "<=", 0, f"within {ROOM} tokens"),
        Figure("texts", texts, note="say --texts for more"),
        Figure("cpu_ms_a_text", 1000 * spent / texts, note="drawn and read"),
        Figure(
            "decoding_vs_unmasked",
            overhead(Writer(network.eval(), tokenizer), guide, known),
            "<=",
            1.10,
            "CPU time a token",
        ),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--texts", type=int, default=20_000)
    arguments, sys.argv[1:] = parser.parse_known_args()
    main(__doc__, lambda: measure(arguments.texts))
