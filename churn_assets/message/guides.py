"""What keeps messages to their facts: made of an experiment's rules, for training and for what is measured. No gate."""

from __future__ import annotations

from churn_assets.arms import Menu
from churn_assets.message.config import MessagesConfig, SafetyRules
from churn_assets.message.corpus.data import MessageCorpus
from churn_assets.message.model.language_model import LanguageModel
from churn_assets.message.model.masks import Guide, guide_of, masks_of
from churn_assets.message.model.writing import Situation
from churn_assets.message.text.safety import Safety, safety_of


def safety_rules(rules: SafetyRules, texts: MessagesConfig, menu: Menu) -> Safety:
    """The rules of the experiment."""
    return safety_of(rules, texts.profile.service_texts, menu)


def guide_of_messages(model: LanguageModel, messages: MessageCorpus, safety: Safety) -> Guide:
    """What is known of the prompts of these messages, where customer and arm are."""
    known = [Situation("", *each) for each in dict.fromkeys(messages.situations()) if each is not None]
    return guide_of(masks_of(model.tokenizer, safety.rules), safety, known)
