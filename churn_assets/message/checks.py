"""The checks of the message branch: which gates run on what, and what to do when one fails."""

from churn_assets.arms import ArmConfig
from churn_assets.flow.check import CheckSpec, Given
from churn_assets.flow.setting import Setting
from churn_assets.gates.plots import Plot
from churn_assets.message.config import MessagesConfig, SafetyRules

# What says which arms messages are about; margins and costs are no matter of texts.
NAMED = Setting("ppo_decision.menu", tuple[float | str, ...])
ARMS = Setting("arms", tuple[ArmConfig, ...])
MONTHS = Setting("economics.discount_months", int)
CURRENCY = Setting("economics.currency", str)
TEXTS = Setting("messages", MessagesConfig)
SAFETY = Setting("safety", SafetyRules)

_MENU: Given = {
    "menu": "churn_assets.message.text.terms:menu_of",
    "named": NAMED,
    "arms": ARMS,
    "months": MONTHS,
    "currency": CURRENCY,
    "texts": TEXTS,
}
_RULES: Given = {"safety": "churn_assets.message.guides:safety_rules", "rules": SAFETY, **_MENU}
_SFT: Given = {
    "writer": "churn_assets.message.measured:writer_of_sft",
    "held_out": "churn_assets.message.measured:held_out_situations",
    **_MENU,
}
_POLICY: Given = {
    "writer": "churn_assets.message.measured:writer_of_policy",
    "before": "churn_assets.message.measured:writer_of_sft",
    "held_out": "churn_assets.message.measured:held_out_situations",
    "written": "churn_assets.message.measured:messages_of_policy",
    "written_before": "churn_assets.message.measured:messages_before",
    "quality": "churn_assets.message.measured:quality_of",
    **_RULES,
}


def curves(title: str, unit: str, *figures: str) -> Plot:
    """Figures along a training."""
    return Plot("training", "line", "step", figures, title, "step", unit)


def _bars(table: str, names: str, figure: str, title: str) -> Plot:
    return Plot(table, "bar", names, (figure,), title, names, figure)


_SEPARATE_SPLITS = CheckSpec(
    name="honest_split",
    description="No customer, prompt or text on two sides of the split; the hash of the id says which side.",
    fault="the split leaks: a customer, prompt or text on two sides",
    advice="Look for repeated texts in the source; never change splits by hand.",
    run="churn_assets.message.corpus.gates:separate_splits",
)

MESSAGES: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="enough_messages",
        description="Enough different texts, none twice for one prompt, every offer told about equally often.",
        fault="too few messages to imitate",
        advice="Add messages, above all about the rarest offer; a model copies only offers that it saw told.",
        run="churn_assets.message.corpus.gates:message_volume",
        plots=(_bars("offers", "offer", "messages", "Messages by offer"),),
    ),
    _SEPARATE_SPLITS,
    CheckSpec(
        name="fit_to_imitate",
        description="No personal data or foreign characters in any text; enough texts that could be sent as they are.",
        fault="messages to imitate hold personal data or unsafe text",
        advice="Remove or correct the messages that the safety rules name; a model repeats what it was shown.",
        run="churn_assets.message.corpus.gates:message_wording",
        given=_RULES,
        plots=(_bars("rules", "rule", "share", "Texts that break each rule"),),
    ),
)

PREFERENCES: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="enough_pairs",
        description="Enough pairs to train and to test on, of each single edit too; never a text against itself.",
        fault="too few preference pairs",
        advice="Collect more pairs; with fewer, neither the reward nor its accuracy can be trusted.",
        run="churn_assets.message.corpus.gates:pair_volume",
    ),
    _SEPARATE_SPLITS,
    CheckSpec(
        name="believable_labels",
        description="A text that may be sent is rarely rejected for one that must not be; simulated labels are as "
        "noisy as the experiment says.",
        fault="preference labels are not believable",
        advice="Have the pairs labelled again that prefer an unsafe text, or correct the safety rules.",
        run="churn_assets.message.corpus.gates:pair_labels",
        given=_RULES,
        plots=(
            Plot("labels", "bar", "rule", ("turned",), "Labels against the hidden rules", "rule", "share"),
        ),
    ),
)

SFT_MODEL: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="learned_the_language",
        description="Expects the messages that were written to customers it never saw.",
        fault="the language model did not learn the language",
        advice="Train longer, or look at its loss curve; nothing after it mends a poor start.",
        run="churn_assets.message.measured:learned_the_language",
        given=_SFT,
    ),
    CheckSpec(
        name="copies_the_offer",
        description="Says just the offer of its prompt to customers it never saw, by an independent parser.",
        fault="messages say another offer than the one chosen",
        advice="Copying appears late and abruptly: more epochs, or more messages for each offer.",
        run="churn_assets.message.measured:copies_the_offer",
        given=_SFT,
    ),
)

REWARD_MODEL: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="ranks_pairs",
        description="Ranks held-out pairs as people labelled them, single edits of every rule too; a constant cannot.",
        fault="the reward does not rank messages as people do",
        advice="More pairs of the rule named in the table; a constant reward means that nothing was learned.",
        run="churn_assets.message.measured:ranks_pairs",
        plots=(Plot("rules", "bar", "rule", ("accuracy",), "Single edits ranked right", "rule", "share"),),
    ),
)

PPO_TEXT: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="rewards_are_the_models",
        description="Proof of use: every reward logged in training is the published reward model's, of that very text, "
        "and the log is of the published weights.",
        fault="the messages were trained on other rewards than the published ones",
        advice="The training did not use the reward model that it names, or the weights are not those that it ended "
        "with: never release it; materialize it again.",
        run="churn_assets.message.measured:rewards_are_its_own",
        given=_POLICY,
    ),
    CheckSpec(
        name="stays_close",
        description="The published weights moved away from the SFT model, and no further than the KL target allows.",
        fault="the message policy moved too far, or not at all",
        advice="Too far: raise init_beta or lower the learning rate. Not at all: the reward taught nothing.",
        run="churn_assets.message.measured:stays_close",
        given=_POLICY,
        plots=(curves("KL divergence from the SFT model", "nats a token", "kl"),),
    ),
    CheckSpec(
        name="not_over_optimised",
        description="A second reward model, on which nothing was trained, agrees that what the published weights write "
        "is better.",
        fault="the message policy games its reward",
        advice="The policy games its reward model: more pairs, a lower target_kl, or fewer steps.",
        run="churn_assets.message.measured:not_over_optimised",
        given=_POLICY,
        plots=(
            curves("Reward and held-out judge along the training", "standard deviations", "reward", "judge"),
        ),
    ),
    CheckSpec(
        name="better_than_sft",
        description="Better messages than the SFT model's for the same held-out customers, and worse in no slice.",
        fault="messages are worse after reinforcement learning",
        advice="See the slice in the table; where the judge turned early, the reward model is too weak.",
        run="churn_assets.message.measured:better_than_sft",
        given=_POLICY,
        plots=(Plot("slices", "bar", "value", ("gain",), "Gain over the SFT model", "slice", "quality"),),
    ),
    CheckSpec(
        name="well_formed",
        description="Messages come to an end, customers get messages of their own, and other ones the next time.",
        fault="messages do not end, or are all alike",
        advice="Unfinished: raise max_new_tokens or the penalty for a missing end. All alike: the KL is too cheap.",
        run="churn_assets.message.measured:well_formed",
        given=_POLICY,
    ),
    CheckSpec(
        name="safe_to_send",
        description="Raw texts seldom break a rule or say another offer; what would be sent never does.",
        fault="unsafe text: messages break a safety rule or say another offer",
        advice="See which rule in the table; never loosen a rule to pass.",
        run="churn_assets.message.measured:safe_to_send",
        given=_POLICY,
        plots=(_bars("rules_broken", "rule", "share", "Raw texts that break each rule"),),
    ),
    CheckSpec(
        name="writes_no_worse_than_champion",
        description="No worse than the champion's messages for the same held-out customers.",
        fault="messages are worse than the champion's",
        advice="Keep the champion; look at what changed in the report.",
        run="churn_assets.message.measured:no_worse_than",
        given=_POLICY,
    ),
)
