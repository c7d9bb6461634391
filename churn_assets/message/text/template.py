"""What is really sent: the model's text, or the plain template where that is unsafe; and how names are put in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from churn_assets.message.text.profile import Offer, Profile
from churn_assets.message.text.quantities import read_quantities
from churn_assets.message.text.safety import NAME, SERVICE, Request, Safety, Verdict

WAITING = frozenset({"quiet_hours"})
"""Rules that another text would break as well: the message waits."""

_NAME = re.compile(r"[^\W\d_]+(?:[ '’.-]{1,2}[^\W\d_]+)*\.?")
_LONGEST_NAME = 40


class TemplateError(ValueError):
    """The plain template breaks the rules that it stands in for: nothing can be sent."""


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


def plain_text(profile: Profile, offer: Offer, safety: Safety) -> str:
    """The template's text for a customer and an offer, with the placeholder of the name.

    Raises:
        TemplateError: it breaks a rule itself.
    """
    text = safety.rules.template.replace("{percent}", offer.percent).replace("{duration}", offer.duration)
    text = text.replace(SERVICE, profile.service)
    broken = safety.check(text, profile, offer).blocking
    if broken:
        raise TemplateError(f"safety.template: {broken[0].rule}: {broken[0].reason}; found {text!r}")
    return text


def outgoing(
    written: str | None, profile: Profile, offer: Offer, safety: Safety, request: Request | None = None
) -> Outgoing:
    """Decides what is sent: the text that a model wrote (None: there is no model) if it is safe, else the template.

    Raises:
        TemplateError: the template is needed and breaks a rule itself.
    """
    text = plain_text(profile, offer, safety) if written is None else written.strip()
    verdict = safety.check(text, profile, offer, request)
    waits = not WAITING.isdisjoint(verdict.rules)
    if written is not None and {violation.rule for violation in verdict.blocking} <= WAITING:
        return Outgoing(text, "model", verdict, waits)
    return Outgoing(plain_text(profile, offer, safety), "template", verdict, waits)


def render(text: str, profile: Profile, name: str) -> str:
    """Puts name and service in the place of their placeholders.

    Raises:
        RenderError: another placeholder is in the text, or the name is no name: it is put in after the text was
            judged, so it may say nothing.
    """
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name) or read_quantities(name).found:
        raise RenderError(f"name: found {name!r}, expected at most {_LONGEST_NAME} letters, no number")
    unknown = re.findall(r"[{}]", text.replace(NAME, "").replace(SERVICE, ""))
    if unknown:
        raise RenderError(
            f"found {unknown[0]!r} in {text!r}, expected {NAME} and {SERVICE} and no other placeholder"
        )
    return text.replace(SERVICE, profile.service).replace(NAME, name)
