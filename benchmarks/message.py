"""The message branch at the quickstart's settings: quality before and after PPO, safety, and its time against TRL's.

Gold figures are means of the hidden quality score of texts for held-out customers; nothing that is trained knows it.
TRL 1.12's PPOTrainer starts from the same models; benchmarks/trl_ppo.py says how to install it.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Figure, main  # first: it sets the number of threads

import numpy as np  # isort: skip
import transformers

from benchmarks.embarrassing import embarrassing
from benchmarks.stages import ROOT, call_stages, project_folder
from churn_assets.customers.table import CustomerTable
from churn_assets.definitions import Overrides, build_project
from churn_assets.experiment import Experiment
from churn_assets.flow.registry import registry
from churn_assets.gates.estimates import Estimate, clustered_mean
from churn_assets.message.by_outcome import Outcomes, opponents_by_outcome
from churn_assets.message.corpus.data import MessageCorpus, Preferences
from churn_assets.message.corpus.sends import ROWS, draw_sends
from churn_assets.message.corpus.words_world import WordsWorld, truth_of_messages
from churn_assets.message.guides import guide_of_messages
from churn_assets.message.measured import messages_of_opponents
from churn_assets.message.model.audit import says_another, says_only
from churn_assets.message.model.author import authorship
from churn_assets.message.model.gates import errors_together, gold_scores, labels_by_gold
from churn_assets.message.model.generation import Generated, Writer, generate
from churn_assets.message.model.language_model import LanguageModel, RewardModel
from churn_assets.message.model.likelihood import divergence, perplexity
from churn_assets.message.model.masks import Guide, guide_of
from churn_assets.message.model.scoring import Scorer, score
from churn_assets.message.model.writing import Situation, situations_of
from churn_assets.message.model.writing import write_messages as write_to
from churn_assets.message.text.profile import profiles_of
from churn_assets.message.text.safety import safety_of
from churn_assets.message.text.terms import offers_of
from churn_assets.message.training.config import PpoTextConfig
from churn_assets.message.training.ppo import PpoTrainer, train_ppo
from churn_assets.message.training.rollouts import Judged, Jury, TextPolicy, prompts_of_step
from churn_assets.offers.economics import catalogue

EXPERIMENT = "quickstart"
SEEDS = range(3)
THREADS = 1
"""Of every training: the second of one seed must give the same bytes, and two wait for each other on a busy machine."""
HELD_OUT = 2000
"""Prompts whose messages are read for wrong offers."""

WITHOUT_KL_STEPS = 48
"""3,072 messages, three times as many as with KL's price."""

TRL = ROOT / ".churn" / "peers" / "trl-1.12"
WRITING = 512
"""Prompts of a gold figure: its standard error is about .01."""


@dataclass
class Branch:
    """One run of the branch: every stage followed by its checks.

    Attributes:
        seconds: Of each stage with its checks.
        failed: Checks that did not pass.
        ppo_seconds: Of the RL training alone, done once more.
        situations: Held-out customers, each with an offer.
        guide: Of the prompts that were trained on.
    """

    experiment: Experiment
    messages: MessageCorpus
    preferences: Preferences
    sft: LanguageModel
    reward: RewardModel
    policy: TextPolicy
    situations: Sequence[Situation]
    guide: Guide
    seconds: dict[str, float]
    failed: list[str]
    ppo_seconds: float
    table: CustomerTable

    def gold(self, model: LanguageModel, count: int = WRITING) -> float:
        return self.gold_of(self.written(model, count))

    def written(self, model: LanguageModel, count: int, *, greedy: bool = False) -> list[Generated]:
        return self.written_by(Writer.of(model), count, greedy=greedy)

    def written_by(self, writer: Writer, count: int, *, greedy: bool = False) -> list[Generated]:
        prompts = [each.prompt for each in self.situations[:count]]
        tokens = self.experiment.ppo_text.max_new_tokens
        guide = guide_of(self.guide.masks, self.guide.safety, self.situations[:count])
        written = generate(
            writer, prompts, seed=0, max_new_tokens=tokens, greedy=greedy, guide=None if greedy else guide
        )
        return [each[0] for each in written]

    def gold_of(self, written: Sequence[Generated]) -> float:
        situations = self.situations[: len(written)]
        return float(gold_scores(situations, [each.text for each in written]).mean())


class Permuted(Jury):
    """Gives every message another one's reward: what is learned from is as large as ever, and says nothing."""

    def of(self, prompts: Sequence[str], written: Sequence[Generated]) -> Judged:
        judged = super().of(prompts, written)
        letters = sum(len(each.text) for each in written)
        order = np.random.default_rng(len(written) + letters).permutation(len(written))
        return Judged(
            judged.reward[order], judged.standardised, judged.judged, judged.logit, judged.judge_logit
        )


def branch(seed: int) -> Branch:
    """Tables, models and checks at the quickstart's settings, with this seed."""
    compute = {"compute": {"threads": THREADS}}
    sections = {"sft_model": {"base": {"source": "from_scratch"}, **compute}, "reward_model": compute}
    sections["preferences"] = {"source": "corpus", "sends": {"source": "demo_world"}}
    with project_folder(EXPERIMENT, {"seed": seed, **sections, "ppo_text": compute}) as root:
        project = build_project(Overrides(root=root))
        called = call_stages(project, EXPERIMENT, ("customers", *registry().members["message"]))
        experiment = project.experiment(EXPERIMENT)
    values = called.values
    table, messages, config = values["customers"], values["messages"], experiment.messages
    economics = experiment.economics
    menu = catalogue(experiment.arms, economics).menu(experiment.ppo_decision.menu)
    profiles = profiles_of(table.where(table.held_out), config.profile, economics.currency)
    known = frozenset(messages.of("train")["prompt"])
    offers = offers_of(menu, config.durations)
    safety = safety_of(experiment.safety, config.profile.service_texts, menu)
    guide = guide_of_messages(values["sft_model"], messages, safety)
    start = time.perf_counter()
    again = train_ppo(
        values["sft_model"],
        values["reward_model"],
        messages,
        experiment.ppo_text,
        seed=experiment.seed,
        guide=guide,
    )
    seconds = time.perf_counter() - start
    if again.model.digest != values["ppo_text"].model.digest:
        sys.exit("ppo_text: found other weights in a second training of one seed, expected the same")
    return Branch(
        experiment,
        messages,
        values["preferences"],
        values["sft_model"],
        values["reward_model"],
        values["ppo_text"],
        situations_of(profiles, offers, HELD_OUT, known),
        guide,
        {name: called.seconds[name] for name in registry().members["message"]},
        called.failed,
        seconds,
        table,
    )


def reward_accuracy(run: Branch) -> dict[str, float]:
    """On held-out pairs: over the ceiling, of all and of texts written apart; and of single edits labelled right."""
    pairs, whole = run.preferences.of("test"), [True] * len(run.preferences.of("test"))
    scorer, prompts = Scorer.of(run.reward), pairs["prompt"].tolist()
    chosen, rejected = pairs["chosen"].tolist(), pairs["rejected"].tolist()
    ranked = score(scorer, prompts, chosen, whole) > score(scorer, prompts, rejected, whole)
    known = run.preferences.situations(pairs)
    right = labels_by_gold([Situation("", *each) for each in known if each is not None], chosen, rejected)
    edit = (pairs["kind"] == "edit").to_numpy()
    return {
        "all": float(ranked.mean() / right.mean()),
        "apart": float(ranked[~edit].mean() / right[~edit].mean()),
        "edits": float(ranked[edit & right].mean()),
    }


def offer_copied(run: Branch) -> float:
    """Share of the SFT model's greedy messages that say exactly the offer of their prompt."""
    written = run.written(run.sft, WRITING, greedy=True)
    pairs = zip(written, run.situations, strict=False)
    return statistics.fmean(says_only(text.text, at.arm, at.profile.currency) for text, at in pairs)


def held_out_messages(run: Branch) -> dict[str, float]:
    """Of messages for held-out customers, drawn as those that are sent; KL, gold and ends of the policy's own draws."""
    config = run.experiment
    safety = run.guide.safety
    policy, sft = Writer.of(run.policy.model), Writer.of(run.sft)
    tokens = config.ppo_text.max_new_tokens
    drawn = {"seed": 0, "max_new_tokens": tokens, "sampling": config.ppo_text.sampling}
    messages = write_to(policy, run.situations, safety, **drawn)
    written = run.written_by(policy, len(run.situations))
    prompts, texts = [each.prompt for each in run.situations], [each.text for each in written]
    guide = guide_of(run.guide.masks, safety, run.situations)
    nats, places = divergence(policy, sft, prompts, texts, [each.ended for each in written], guide)
    compared = run.situations[:WRITING]
    opponents = messages_of_opponents(compared, safety, 0, composed=True)
    wrong = [
        (
            says_another(each.raw, at.arm, at.profile.currency),
            says_another(each.sent.text, at.arm, at.profile.currency),
        )
        for each, at in zip(messages, run.situations, strict=True)
    ]
    return {
        "wrong_raw": statistics.fmean(raw for raw, _ in wrong),
        "wrong_sent": statistics.fmean(sent for _, sent in wrong),
        "unsafe_raw": statistics.fmean(
            not safety.check(each.raw, at.profile, at.arm).safe
            for each, at in zip(messages, run.situations, strict=True)
        ),
        "unique": len({each.raw for each in messages[:WRITING]}) / WRITING,
        "ended": statistics.fmean(each.ended for each in written),
        "kl": float(nats.sum() / places.sum()),
        "gold": run.gold_of(written),
        "embarrassing": statistics.fmean(
            bool(embarrassing(each.sent.text, at.profile.tenure_months))
            for each, at in zip(messages, run.situations, strict=True)
        ),
        "replaced_raw": statistics.fmean(each.sent.written_by == "template" for each in messages),
        **{
            f"gold_{name}": float(gold_scores(compared, [each.raw for each in those]).mean())
            for name, those in opponents.items()
        },
        **in_the_worlds(run, [each.sent.text for each in messages]),
    }


def in_the_worlds(run: Branch, sent: Sequence[str]) -> dict[str, float]:
    """What is sent against the template, by the world's own truth; and who writes, where words matter and where not.

    Of situations whose offer runs as long as the menu's: the world answers to no other.
    """
    config, economics = run.experiment, run.experiment.economics
    menu = catalogue(config.arms, economics).menu(config.ppo_decision.menu)
    rows = [
        row for row, at in enumerate(run.situations) if at.arm.months == menu[menu.position[at.arm.id]].months
    ]
    situations, ours = [run.situations[row] for row in rows], [sent[row] for row in rows]
    template = [
        each.raw
        for each in messages_of_opponents(situations, run.guide.safety, 0, composed=False)["template"]
    ]
    known = [(at.customer, at.profile, at.arm) for at in situations]
    customer = np.unique([at.customer for at in situations], return_inverse=True)[1]
    found: dict[str, float] = {}
    for words in (True, False):
        world = WordsWorld(run.table.newest_labelled, menu, economics, words=words)
        sends, _ = draw_sends(
            world, run.table, config.messages, config.safety, ROWS, config.seed, economics.currency
        )
        outcomes = Outcomes.of(sends, config.ppo_text.worth)
        if outcomes is None:
            sys.exit("sends: found too few of held-out customers to compare by, expected thousands")
        rivals = opponents_by_outcome(outcomes, situations, ours, {"template": template})
        found["model_writes" if words else "model_writes_without_words"] = (
            authorship(rivals).author == "model"
        )
        if words:
            truth = truth_of_messages(world, known, {"ours": ours, "template": template}, config.seed)
            for name, of in (("acceptance_lift", "accepts"), ("value", "value")):
                gain: Estimate = clustered_mean(
                    getattr(truth["ours"], of) - getattr(truth["template"], of), customer
                )
                found |= {name: gain.value, f"{name}_low": gain.interval[0]}
    return found


def judges_errors(run: Branch) -> float:
    """How the judge's errors go with the reward's on held-out pairs, given gold."""
    pairs, whole = run.preferences.of("test"), [True] * len(run.preferences.of("test"))
    prompts, known = pairs["prompt"].tolist(), run.preferences.situations(pairs)
    situations = [Situation("", *each) for each in known if each is not None]
    scorer, judge = Scorer.of(run.reward), run.reward.judge
    reward, judged, gold = (
        of(pairs["chosen"].tolist()) - of(pairs["rejected"].tolist())
        for of in (
            lambda texts: score(scorer, prompts, texts, whole).astype(float),
            lambda texts: judge.score(prompts, texts, whole).astype(float),
            lambda texts: gold_scores(situations, texts),
        )
    )
    return errors_together(reward, judged, gold)


def steps_of(trainer: PpoTrainer, config: PpoTextConfig, run: Branch) -> Iterator[int]:
    """Train; how many steps are done, after each."""
    prompts = list(dict.fromkeys(run.messages.of("train")["prompt"]))
    while trainer.step < config.steps:
        trainer.run_step(prompts_of_step(prompts, trainer.step, config.batch_size, run.experiment.seed))
        yield trainer.step


def without_kl(run: Branch) -> dict[str, float]:
    """A longer training that may leave the SFT model as far behind as it likes, a third of the way and at its end."""
    config = run.experiment.ppo_text.model_copy(
        update={"init_beta": 0.0, "stop_when_judge_turns": False, "steps": WITHOUT_KL_STEPS}
    )
    trainer = PpoTrainer(run.sft, run.reward, config, run.experiment.seed, run.guide)
    scorer, found = Scorer.of(run.reward), {}
    for step in steps_of(trainer, config, run):
        if step in {WITHOUT_KL_STEPS // 3, WITHOUT_KL_STEPS}:
            written = run.written(trainer.finished().model, WRITING)
            texts, ended = [each.text for each in written], [each.ended for each in written]
            rewards = score(scorer, [each.prompt for each in run.situations[:WRITING]], texts, ended)
            when = "" if step == WITHOUT_KL_STEPS else "early_"
            found |= {
                f"{when}gold": run.gold_of(written),
                f"{when}unique": len(set(texts)) / len(texts),
                f"{when}reward": float(run.reward.reward.standardised(rewards).mean()),
            }
    return found


def after_permuted(run: Branch) -> float:
    """Gold score after a training in which every message gets another one's reward."""
    config = run.experiment.ppo_text.model_copy(update={"stop_when_judge_turns": False})
    trainer = PpoTrainer(run.sft, run.reward, config, run.experiment.seed, run.guide)
    trainer.diary.jury = Permuted(run.reward, config, run.guide)
    for _ in steps_of(trainer, config, run):
        pass
    return run.gold(trainer.finished().model)


def trl_ppo(run: Branch) -> tuple[float, float]:
    """Gold score and seconds of TRL 1.12's PPO on the same models and as many messages."""
    if not (TRL / "trl").is_dir():
        sys.exit(f"found no TRL 1.12 in {TRL}: benchmarks/trl_ppo.py says how to put it there")
    config = run.experiment.ppo_text
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run.sft.network().save_pretrained(folder / "sft")
        run.reward.network().save_pretrained(folder / "reward")
        run.sft.tokenizer.transformers_tokenizer().save_pretrained(folder / "tokenizer")
        task = config.model_dump(mode="json") | {
            "prompts": list(dict.fromkeys(run.messages.of("train")["prompt"])),
            "tokens": float(run.policy.rollouts["tokens"].mean()),
            "threads": THREADS,
            "seed": run.experiment.seed,
        }
        (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.trl_ppo", scratch]
        environment = os.environ | {"PYTHONPATH": f"{TRL}{os.pathsep}{ROOT}"}
        subprocess.run(command, env=environment, cwd=ROOT, check=True)
        seconds = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))
        network = transformers.AutoModelForCausalLM.from_pretrained(folder / "policy").eval()
    return run.gold_of(run.written_by(Writer(network, run.sft.tokenizer), WRITING)), seconds


def measure() -> Sequence[Figure]:
    rows: list[dict[str, float]] = []
    rivals: list[float] = []
    for seed in SEEDS:
        run = branch(seed)
        test = run.messages.of("test")
        row = {
            "sft_perplexity": perplexity(
                Writer.of(run.sft), test["prompt"].tolist(), test["completion"].tolist()
            ),
            "offer_copied": offer_copied(run),
            "gold_before": run.gold(run.sft),
            **{f"accuracy_{name}": value for name, value in reward_accuracy(run).items()},
            "gold_after": run.gold(run.policy.model),
            "judges_errors": judges_errors(run),
            **held_out_messages(run),
            "seconds": sum(run.seconds.values()),
            "failed": len(run.failed),
            "permuted": after_permuted(run),
        }
        rival, seconds = trl_ppo(run)
        gain, spent = row["gold_after"] - row["gold_before"], run.ppo_seconds
        rivals.append((gain / spent) / max((rival - row["gold_before"]) / seconds, 1e-9))
        row |= {"ppo_seconds": spent, "trl_gold": rival, "trl_seconds": seconds}
        print(f"seed {seed}:", ", ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
        print("  checks that failed:", "; ".join(run.failed) or "none", flush=True)
        print("  seconds:", {name: round(value, 1) for name, value in run.seconds.items()}, flush=True)
        rows.append(row)
        if seed == SEEDS[0]:
            no_kl = without_kl(run)
        del run
        gc.collect()

    def of(name: str) -> list[float]:
        return [row[name] for row in rows]

    early = WITHOUT_KL_STEPS // 3
    worst = f"worst of {len(SEEDS)} seeds"
    return [
        Figure("branch_seconds", max(of("seconds")), "<=", 170, "corpus, training and gates; aim 120"),
        Figure(
            "checks_failed", sum(of("failed")), "<=", 0, f"of all assets of the branch, {len(SEEDS)} seeds"
        ),
        Figure("sft_perplexity", max(of("sft_perplexity")), note="a token of held-out messages"),
        Figure("offer_copied_share", min(of("offer_copied")), ">=", 0.97, worst),
        Figure("reward_accuracy_vs_ceiling", min(of("accuracy_all")), ">=", 0.95, worst),
        Figure("reward_accuracy_written_apart", min(of("accuracy_apart")), note="over its own ceiling"),
        Figure("reward_accuracy_single_edits", min(of("accuracy_edits")), note="of those labelled right"),
        Figure("gold_before", statistics.fmean(of("gold_before")), note="SFT model"),
        Figure("gold_after_min", min(of("gold_after")), ">=", 0.74, "aim .97; 1,024 messages"),
        Figure("gold_per_second_vs_trl_ppo", statistics.median(rivals), ">=", 1.4, "aim 2; gain a second"),
        Figure("gold_after_trl_ppo", statistics.fmean(of("trl_gold"))),
        Figure("ppo_seconds", statistics.median(of("ppo_seconds"))),
        Figure("trl_ppo_seconds", statistics.median(of("trl_seconds"))),
        Figure("kl_per_token", statistics.fmean(of("kl")), note="of messages for held-out customers"),
        Figure("kl_per_token_min", min(of("kl")), ">=", 0.12),
        Figure("kl_per_token_max", max(of("kl")), "<=", 0.18),
        Figure("gold_template", statistics.fmean(of("gold_template")), note="of as many prompts"),
        Figure("gold_composer", statistics.fmean(of("gold_composer")), note="the corpus' own sentences"),
        Figure(
            "acceptance_lift_vs_template",
            min(of("acceptance_lift")),
            ">=",
            0,
            "the world's truth; worst seed",
        ),
        Figure(
            "acceptance_lift_low", min(of("acceptance_lift_low")), ">=", 0, "lower end of 95 %, worst seed"
        ),
        Figure("value_vs_template", min(of("value")), ">=", 0, "money a message; worst seed"),
        Figure("value_vs_template_low", min(of("value_low")), ">=", 0, "lower end of 95 %, worst seed"),
        Figure("model_writes_where_words_matter", min(of("model_writes")), ">=", 1, "of every seed"),
        Figure("model_writes_where_not", max(of("model_writes_without_words")), "<=", 0, "of any seed"),
        Figure("judge_error_correlation", max(of("judges_errors")), "<=", 0.15, "given gold"),
        Figure("embarrassing_share", max(of("embarrassing")), "<=", 0, f"of {HELD_OUT:,} that would be sent"),
        Figure("replaced_raw_share", max(of("replaced_raw")), "<=", 0.05, "a template is sent instead"),
        Figure("wrong_offer_rate_raw", max(of("wrong_raw")), "<=", 0, f"{HELD_OUT:,} held-out prompts"),
        Figure("wrong_offer_rate_sent", max(of("wrong_sent")), "<=", 0, "by the second parser"),
        Figure("unsafe_rate_raw", max(of("unsafe_raw")), "<=", 0.05, "any blocking rule"),
        Figure(
            "unique_share",
            min(of("unique")),
            ">=",
            0.98,
            f"of {WRITING} messages, drawn as those that are sent",
        ),
        Figure("ended_share", min(of("ended"))),
        Figure("gold_without_kl_early", no_kl["early_gold"], note=f"{early} steps without the price of KL"),
        Figure("gold_without_kl", no_kl["gold"], note=f"{WITHOUT_KL_STEPS} steps"),
        Figure("reward_without_kl_early", no_kl["early_reward"], note="standard deviations of SFT's rewards"),
        Figure("reward_without_kl", no_kl["reward"]),
        Figure("unique_share_without_kl", no_kl["unique"], note="of its own draws"),
        Figure(
            "gold_after_permuted",
            statistics.fmean(of("permuted")),
            note="each message got another one's reward; see gold_before",
        ),
    ]


if __name__ == "__main__":
    main(__doc__, measure)
