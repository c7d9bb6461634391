"""The checks of the message branch: which gates run on what, and what to do when one fails."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from churn_assets.gates.plots import Plot
from churn_assets.gates.report import Outcome, no_champion
from churn_assets.gates.spec import CheckSpec, GateInputs

Run = Callable[[Any, GateInputs], Outcome]

# Of the experiment, what says which arms messages are about.
_MENU = ("ppo_decision.menu", "arms", "economics.discount_months", "economics.currency")


def _safety(inputs: GateInputs) -> Any:
    from churn_assets.message.text.safety import safety_of

    return safety_of(
        inputs.section("safety"), inputs.section("messages").profile.service_texts, _menu(inputs)
    )


def _menu(inputs: GateInputs) -> Any:
    from churn_assets.arms import Catalogue

    months, currency = inputs.section("economics.discount_months"), inputs.section("economics.currency")
    known = Catalogue(inputs.section("arms"), months, currency=currency)
    return known.menu(inputs.section("ppo_decision.menu"))


def _message_volume(messages: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.message.corpus import gates as table_gates

    return table_gates.message_volume(messages, inputs.section("messages").gates)


def _separate_splits(value: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.message.corpus import gates as table_gates

    return table_gates.separate_splits(value, inputs.upstream("customers"))


def _message_wording(messages: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.message.corpus import gates as table_gates

    return table_gates.message_wording(messages, _safety(inputs), inputs.section("messages").gates)


def _pair_volume(preferences: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.message.corpus import gates as table_gates

    return table_gates.pair_volume(preferences, inputs.section("preferences").gates)


def _pair_labels(preferences: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.message.corpus import gates as table_gates

    return table_gates.pair_labels(preferences, _safety(inputs), inputs.section("preferences"))


_SEPARATE_SPLITS = CheckSpec(
    name="honest_split",
    description="No customer, prompt or text on two sides of the split; the hash of the id says which side.",
    advice="Look for repeated texts in the source; never change splits by hand.",
    run=_separate_splits,
)

MESSAGES: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="enough_messages",
        description="Enough different texts, none twice for one prompt, every offer told about equally often.",
        advice="Add messages, above all about the rarest offer; a model copies only offers that it saw told.",
        run=_message_volume,
        sections=("messages",),
        plots=(Plot("offers", "bar", "offer", ("messages",), "Messages by offer", "offer", "messages"),),
    ),
    _SEPARATE_SPLITS,
    CheckSpec(
        name="fit_to_imitate",
        description="No personal data or foreign characters in any text; enough texts that could be sent as they are.",
        advice="Remove or correct the messages that the safety rules name; a model repeats what it was shown.",
        run=_message_wording,
        sections=("messages", "safety", *_MENU),
        plots=(Plot("rules", "bar", "rule", ("share",), "Texts that break each rule", "rule", "share"),),
    ),
)

PREFERENCES: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="enough_pairs",
        description="Enough pairs to train and to test on, of each single edit too; never a text against itself.",
        advice="Collect more pairs; with fewer, neither the reward nor its accuracy can be trusted.",
        run=_pair_volume,
        sections=("preferences",),
    ),
    _SEPARATE_SPLITS,
    CheckSpec(
        name="believable_labels",
        description="A text that may be sent is rarely rejected for one that must not be; simulated labels are as "
        "noisy as the experiment says.",
        advice="Have the pairs labelled again that prefer an unsafe text, or correct the safety rules.",
        run=_pair_labels,
        sections=("messages", "preferences", "safety", *_MENU),
        plots=(
            Plot("labels", "bar", "rule", ("turned",), "Labels against the hidden rules", "rule", "share"),
        ),
    ),
)


# What checks of the models need to know of the experiment to write to held-out customers.
_SITUATED = ("messages", *_MENU)
# Messages along which KL divergence is measured: of 100 it varies by .004 around .144, of a trained quickstart.
_MEASURED = 256


def _held_out(inputs: GateInputs, count: int) -> Any:
    """Customers that no model was fitted on, each with an offer; no prompt that was trained on."""
    from churn_assets.message.model.writing import situations_of
    from churn_assets.message.text.profile import profiles_of
    from churn_assets.message.text.terms import offers_of

    def make() -> Any:
        table, config = inputs.upstream("customers"), inputs.section("messages")
        unseen = table.where(table.held_out)
        known = frozenset(inputs.upstream("messages").of("train")["prompt"])
        offers = offers_of(_menu(inputs), config.durations)
        profiles = profiles_of(unseen, config.profile, inputs.section("economics.currency"))
        return situations_of(profiles, list(profiles), offers, count, known)

    return inputs.once(f"{count} held-out situations", make)


def _writer(name: str, model: Any, device: Any, inputs: GateInputs) -> Any:
    from churn_assets.message.model.generation import Writer

    return inputs.once(f"writer of {name}", lambda: Writer.of(model, str(device)))


def _on_threads_of(asset: str, *checks: CheckSpec) -> tuple[CheckSpec, ...]:
    """The checks of a model, each run with as many threads as it was trained with."""

    def threaded(run: Run) -> Run:
        def measured(value: Any, inputs: GateInputs) -> Outcome:
            from churn_assets.message.training.compute import threads

            with threads(inputs.section(asset).compute):
                return run(value, inputs)

        return measured

    return tuple(replace(check, run=threaded(check.run)) for check in checks)


def _device(inputs: GateInputs, section: str) -> Any:
    from churn_assets.message.training.compute import device_of

    return device_of(inputs.section(section).compute)


def _scores(model: Any, which: Any, device: Any, prompts: Any, texts: Any, ended: Any) -> Any:
    from churn_assets.message.model.scoring import Scorer, score

    return score(Scorer.of(model, which, str(device)), prompts, texts, ended).astype(float)


def _says_only(situations: Any, texts: Any) -> Any:
    """(n,) whether each text says its offer and no other number, by the second parser."""
    import numpy as np

    from churn_assets.message.model.audit import says_only

    pairs = zip(situations, texts, strict=True)
    return np.array([says_only(text, each.arm, each.profile.currency) for each, text in pairs], bool)


def _learned_the_language(model: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.message.model import gates
    from churn_assets.message.model.likelihood import perplexity

    config = inputs.section("sft_model").gates
    held_out = inputs.upstream("messages").of("test").head(config.prompts)
    writer = _writer("sft_model", model, _device(inputs, "sft_model"), inputs)
    found = perplexity(writer, held_out["prompt"].tolist(), held_out["completion"].tolist())
    return gates.language(found, config)


def _copies_the_offer(model: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.message.model import gates
    from churn_assets.message.model.generation import generate

    config = inputs.section("sft_model").gates
    situations = _held_out(inputs, config.prompts)
    written = generate(
        _writer("sft_model", model, _device(inputs, "sft_model"), inputs),
        [each.prompt for each in situations],
        seed=inputs.section("seed"),
        max_new_tokens=config.max_new_tokens,
        greedy=True,
    )
    texts = [each[0].text for each in written]
    return gates.copies_offer(situations, texts, _says_only(situations, texts), config)


def _ranks_pairs(model: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.message.model import gates
    from churn_assets.message.model.writing import Situation

    preferences = inputs.upstream("preferences")
    held_out = preferences.of("test")
    prompts, whole = held_out["prompt"].tolist(), [True] * len(held_out)
    chosen, rejected = held_out["chosen"].tolist(), held_out["rejected"].tolist()
    device = _device(inputs, "reward_model")
    margins = {
        which: _scores(model, which, device, prompts, chosen, whole)
        - _scores(model, which, device, prompts, rejected, whole)
        for which in ("reward", "judge")
    }
    right = None
    if preferences.simulated:
        known = zip(held_out["customer_id"], preferences.situations(held_out), strict=True)
        of_rows = [Situation(customer, *found) for customer, found in known if found]
        right = gates.labels_by_gold(of_rows, chosen, rejected)
    config = inputs.section("reward_model").gates
    return gates.ranks_pairs(margins["reward"], margins["judge"], right, held_out["rule"].tolist(), config)


def _course(policy: Any, inputs: GateInputs) -> Any:
    from churn_assets.message.model import gates

    return gates.course_of(policy, inputs.upstream("reward_model"), inputs.section("ppo_text"))


def _writers(policy: Any, inputs: GateInputs) -> tuple[Any, Any]:
    """The policy and the SFT model, ready to run."""
    device = _device(inputs, "ppo_text")
    return (
        _writer("ppo_text", policy.model, device, inputs),
        _writer("sft_model", inputs.upstream("sft_model"), device, inputs),
    )


def _rewards_are_its_own(policy: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.message.model import gates
    from churn_assets.message.model.likelihood import mean_log_ratio
    from churn_assets.message.training.rollouts import shaped_reward

    config, reward = inputs.section("ppo_text"), inputs.upstream("reward_model")
    logged = policy.rollouts
    prompts, texts, ended = (logged[name].tolist() for name in ("prompt", "text", "ended"))
    rescored = _scores(reward, "reward", _device(inputs, "ppo_text"), prompts, texts, ended)
    given = shaped_reward(reward.reward.standardised(rescored), ended, config)
    last = logged[logged["step"] == _course(policy, inputs).kept]
    return gates.rewards_are_its_own(
        logged["reward_logit"].to_numpy(float),
        rescored,
        logged["reward"].to_numpy(float),
        given.astype(float),
        mean_log_ratio(
            *_writers(policy, inputs), *(last[name].tolist() for name in ("prompt", "text", "ended"))
        ),
    )


def _messages_of(name: str, model: Any, inputs: GateInputs, count: int) -> Any:
    """What a model writes to held-out customers, raw and as it would be sent."""
    from churn_assets.message.model.writing import write_messages

    config = inputs.section("ppo_text")

    def make() -> Any:
        written = write_messages(
            _writer(name, model, _device(inputs, "ppo_text"), inputs),
            _held_out(inputs, config.gates.prompts)[:count],
            _safety(inputs),
            seed=inputs.section("seed"),
            max_new_tokens=config.max_new_tokens,
            sampling=config.sampling,
        )
        return [each[0] for each in written]

    return inputs.once(f"{count} messages of {name}", make)


def _judged(messages: Any, situations: Any, inputs: GateInputs) -> Any:
    """(n,) the judge's scores of raw texts, in standard deviations of the SFT model's."""
    reward = inputs.upstream("reward_model")
    prompts, ended = [each.prompt for each in situations], [each.ended for each in messages]
    texts = [each.raw for each in messages]
    raw = _scores(reward, "judge", _device(inputs, "ppo_text"), prompts, texts, ended)
    return reward.judge.standardised(raw).astype(float)


def _quality(messages: Any, situations: Any, inputs: GateInputs) -> tuple[Any, str]:
    """How good raw texts are, and who says so: the gold rules where they labelled the pairs, else the judge."""
    from churn_assets.message.model import gates

    if inputs.upstream("preferences").simulated:
        return gates.gold_scores(situations, [each.raw for each in messages]), "the gold rules"
    return _judged(messages, situations, inputs), "the judge"


def _stays_close(policy: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.message.model import gates
    from churn_assets.message.model.likelihood import divergence

    config = inputs.section("ppo_text").gates
    messages = _messages_of("ppo_text", policy.model, inputs, config.prompts)[:_MEASURED]
    prompts = [each.prompt for each in _held_out(inputs, config.prompts)[: len(messages)]]
    texts, ended = [each.raw for each in messages], [each.ended for each in messages]
    found = divergence(*_writers(policy, inputs), prompts, texts, ended)
    return gates.stays_close(*found, _course(policy, inputs), config)


def _not_over_optimised(policy: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.message.model import gates

    config = inputs.section("ppo_text")
    count = config.gates.compared_prompts
    situations = _held_out(inputs, config.gates.prompts)[:count]
    ours = _messages_of("ppo_text", policy.model, inputs, config.gates.prompts)[: len(situations)]
    theirs = _messages_of("sft_model", inputs.upstream("sft_model"), inputs, count)
    return gates.not_over_optimised(
        _judged(ours, situations, inputs),
        _judged(theirs, situations, inputs),
        _course(policy, inputs),
        config.judge_window,
        config.gates,
    )


def _compared(policy: Any, other: str, model: Any, inputs: GateInputs) -> tuple[Any, Any, Any, str]:
    """Situations, our quality, the other model's, and who says so."""
    config = inputs.section("ppo_text").gates
    situations = _held_out(inputs, config.prompts)[: config.compared_prompts]
    ours = _messages_of("ppo_text", policy.model, inputs, config.prompts)[: len(situations)]
    theirs = _messages_of(other, model, inputs, config.compared_prompts)
    quality, by = _quality(ours, situations, inputs)
    return situations, quality, _quality(theirs, situations, inputs)[0], by


def _better_than_sft(policy: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.message.model import gates

    compared = _compared(policy, "sft_model", inputs.upstream("sft_model"), inputs)
    return gates.better_than_sft(*compared, inputs.section("ppo_text").gates)


def _well_formed(policy: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.message.model import gates

    config = inputs.section("ppo_text").gates
    return gates.well_formed(_messages_of("ppo_text", policy.model, inputs, config.prompts), config)


def _safe_to_send(policy: Any, inputs: GateInputs) -> Outcome:
    import numpy as np

    from churn_assets.message.model import gates
    from churn_assets.message.model.audit import says_another

    config, safety = inputs.section("ppo_text").gates, _safety(inputs)
    situations = _held_out(inputs, config.prompts)
    messages = _messages_of("ppo_text", policy.model, inputs, config.prompts)
    pairs = list(zip(situations, messages, strict=True))
    another = [says_another(text.raw, each.arm, each.profile.currency) for each, text in pairs]
    broken = [not safety.check(text.sent.text, each.profile, each.arm).safe for each, text in pairs]
    only = _says_only(situations, [text.sent.text for text in messages])
    return gates.safe_to_send(situations, messages, np.array(another), only, np.array(broken), config)


def _writes_no_worse(policy: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.message.model import gates

    led = inputs.champions("ppo_text")
    if led is None:
        return no_champion()
    compared = _compared(policy, "champion", led[0].model, inputs)
    return gates.no_worse_than(*compared, inputs.section("ppo_text").gates)


SFT_MODEL = _on_threads_of(
    "sft_model",
    CheckSpec(
        name="learned_the_language",
        description="Expects the messages that were written to customers it never saw.",
        advice="Train longer, or look at its loss curve; nothing after it mends a poor start.",
        run=_learned_the_language,
        sections=("sft_model",),
    ),
    CheckSpec(
        name="copies_the_offer",
        description="Says just the offer of its prompt to customers it never saw, by an independent parser.",
        advice="Copying appears late and abruptly: more epochs, or more messages for each offer.",
        run=_copies_the_offer,
        sections=("sft_model", "seed", *_SITUATED),
    ),
)

REWARD_MODEL = _on_threads_of(
    "reward_model",
    CheckSpec(
        name="ranks_pairs",
        description="Ranks held-out pairs as people labelled them, single edits of every rule too; a constant cannot.",
        advice="More pairs of the rule named in the table; a constant reward means that nothing was learned.",
        run=_ranks_pairs,
        sections=("reward_model",),
        plots=(Plot("rules", "bar", "rule", ("accuracy",), "Single edits ranked right", "rule", "share"),),
    ),
)

PPO_TEXT = _on_threads_of(
    "ppo_text",
    CheckSpec(
        name="rewards_are_the_models",
        description="Proof of use: every reward logged in training is the published reward model's, of that very text, "
        "and the log is of the published weights.",
        advice="The training did not use the reward model that it names, or the weights are not those that it ended "
        "with: never release it; materialize it again.",
        run=_rewards_are_its_own,
        sections=("ppo_text",),
    ),
    CheckSpec(
        name="stays_close",
        description="The published weights moved away from the SFT model, and no further than the KL target allows.",
        advice="Too far: raise init_beta or lower the learning rate. Not at all: the reward taught nothing.",
        run=_stays_close,
        sections=("ppo_text", "safety", "seed", *_SITUATED),
        plots=(
            Plot(
                "training",
                "line",
                "step",
                ("kl",),
                "KL divergence from the SFT model",
                "step",
                "nats a token",
            ),
        ),
    ),
    CheckSpec(
        name="not_over_optimised",
        description="A second reward model, on which nothing was trained, agrees that what the published weights write "
        "is better.",
        advice="The policy games its reward model: more pairs, a lower target_kl, or fewer steps.",
        run=_not_over_optimised,
        sections=("ppo_text", "safety", "seed", *_SITUATED),
        plots=(
            Plot(
                "training",
                "line",
                "step",
                ("reward", "judge"),
                "Reward and held-out judge along the training",
                "step",
                "standard deviations",
            ),
        ),
    ),
    CheckSpec(
        name="better_than_sft",
        description="Better messages than the SFT model's for the same held-out customers, and worse in no slice.",
        advice="See the slice in the table; where the judge turned early, the reward model is too weak.",
        run=_better_than_sft,
        sections=("ppo_text", "safety", "seed", *_SITUATED),
        plots=(Plot("slices", "bar", "value", ("gain",), "Gain over the SFT model", "slice", "quality"),),
    ),
    CheckSpec(
        name="well_formed",
        description="Messages come to an end, and customers get messages of their own.",
        advice="Unfinished: raise max_new_tokens or the penalty for a missing end. All alike: the KL is too cheap.",
        run=_well_formed,
        sections=("ppo_text", "safety", "seed", *_SITUATED),
    ),
    CheckSpec(
        name="safe_to_send",
        description="Raw texts seldom break a rule or say another offer; what would be sent never does.",
        advice="See which rule in the table; never loosen a rule to pass.",
        run=_safe_to_send,
        sections=("ppo_text", "safety", "seed", *_SITUATED),
        plots=(
            Plot(
                "rules_broken", "bar", "rule", ("share",), "Raw texts that break each rule", "rule", "share"
            ),
        ),
    ),
    CheckSpec(
        name="writes_no_worse_than_champion",
        description="No worse than the champion's messages for the same held-out customers.",
        advice="Keep the champion; look at what changed in the report.",
        run=_writes_no_worse,
        sections=("ppo_text", "safety", "seed", *_SITUATED),
        against_champion=True,
    ),
)
