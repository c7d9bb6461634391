"""What is really sent: the model's text, or the plain template where that is unsafe; and how names are put in."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from churn_assets.arms import Arm, percents
from churn_assets.message.config import SafetyRules
from churn_assets.message.text.offer_rules import OFFERED
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.quantities import read_quantities
from churn_assets.message.text.safety import NAME, SERVICE, Safety, SendRequest, Verdict
from churn_assets.message.text.terms import arm_facts, duration_in, offer_in

WAITING = frozenset({"quiet_hours"})
"""Rules that another text would break as well: the message waits."""

_BETWEEN_NAMES = frozenset(" '’.-\u200c\u200d")
"""What may stand between the letters of a name; joiners as Persian and Indian scripts need them."""
_LONGEST_NAME = 40


class TemplateError(ValueError):
    """The plain template breaks the rules that it stands in for, or cannot say an arm: nothing can be sent."""


class RenderError(ValueError):
    """A text cannot be resolved: an unknown placeholder, or a name that is none."""


@dataclass(frozen=True)
class Outgoing:
    """What is sent to a customer.

    Attributes:
        text: With its placeholders.
        written_by: Whose text it is.
        verdict: On the model's text; on the template where no model wrote one.
        waits: The text may not be sent now.
    """

    text: str
    written_by: Literal["model", "template"]
    verdict: Verdict
    waits: bool


def plain_text(profile: Profile, arm: Arm, safety: Safety) -> str:
    """The template's text for a customer and an arm, with the placeholder of the name.

    Raises:
        TemplateError: it cannot say the arm, or breaks a rule itself.
    """
    key, text = _template(safety.rules, arm)
    share = arm.terms.share_off
    for placeholder, words in (
        ("{offer}", offer_in(arm, profile.currency, safety.language)),
        ("{percent}", "" if share is None else percents(share)),
        ("{duration}", duration_in(arm, safety.language)),
        (SERVICE, profile.service),
    ):
        text = text.replace(placeholder, words)
    broken = safety.check(text, profile, arm).blocking
    if broken:
        raise TemplateError(f"{key}: {broken[0].rule}: {broken[0].reason}; found {text!r}")
    return text


def check_templates(rules: SafetyRules, arms: Iterable[Arm]) -> None:
    """Whether every arm that contacts can be said by the templates.

    Raises:
        TemplateError: one cannot; names the key, the arm and what is expected.
    """
    for arm in arms:
        if arm.contacts:
            _template(rules, arm)


def _template(rules: SafetyRules, arm: Arm) -> tuple[str, str]:
    """Key and text of the template that says an arm."""
    facts = arm_facts(arm, "")
    if facts.nothing:
        return "safety.contact_template", rules.contact_template
    for placeholder, known in (("{percent}", facts.percent), ("{duration}", facts.months)):
        if placeholder in rules.template and known is None:
            raise TemplateError(
                f"safety.template: found {placeholder}, which says nothing of arm {arm.id!r} ({arm.label}); "
                "expected {offer}, which says any arm"
            )
    return "safety.template", rules.template


def outgoing(
    written: str | None, profile: Profile, arm: Arm, safety: Safety, request: SendRequest | None = None
) -> Outgoing:
    """Decides what is sent: the text that a model wrote (None: there is no model) if it is safe, else the template.

    Raises:
        TemplateError: the template is needed and breaks a rule itself.
    """
    text = plain_text(profile, arm, safety) if written is None else written.strip()
    verdict = safety.check(text, profile, arm, request)
    waits = not WAITING.isdisjoint(verdict.rules)
    if written is not None and {violation.rule for violation in verdict.blocking} <= WAITING:
        return Outgoing(text, "model", verdict, waits)
    return Outgoing(plain_text(profile, arm, safety), "template", verdict, waits)


def is_name(name: str) -> bool:
    """Whether a name says nothing but a name: letters of any script with their marks, no number that counts anything.

    >>> is_name("प्रिया"), is_name("Ten"), is_name("Ten Percent")
    (True, True, False)
    """
    letters = [unicodedata.category(sign)[0] in "LM" for sign in name]
    read = read_quantities(name)
    return (
        0 < len(name) <= _LONGEST_NAME
        and unicodedata.category(name[0])[0] == "L"
        and (letters[-1] or name[-1] == ".")
        and all(letter or sign in _BETWEEN_NAMES for letter, sign in zip(letters, name, strict=True))
        and not any(a in _BETWEEN_NAMES and a == b for a, b in itertools.pairwise(name))
        and not read.loose
        and all(quantity.unit == "none" for quantity in read.found)
        and not (read.found and OFFERED.intersection(read.tokens))
    )


def fill_placeholders(text: str, profile: Profile, name: str) -> str:
    """Puts name and service in the place of their placeholders.

    Raises:
        RenderError: another placeholder is in the text, or the name is no name: it is put in after the text was
            judged, so it may say nothing.
    """
    if not is_name(name):
        raise RenderError(f"name: found {name!r}, expected at most {_LONGEST_NAME} letters, no number")
    unknown = re.findall(r"[{}]", text.replace(NAME, "").replace(SERVICE, ""))
    if unknown:
        raise RenderError(
            f"found {unknown[0]!r} in {text!r}, expected {NAME} and {SERVICE} and no other placeholder"
        )
    return text.replace(SERVICE, profile.service).replace(NAME, name)
