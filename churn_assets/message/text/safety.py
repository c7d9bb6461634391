"""Whether a text may be sent: one set of rules for preferences, gates and serving. Judges texts, writes none.

A text is judged as a model wrote it, with its placeholders: `{name}` and `{service}` are resolved when it is sent.
Where a sentence could be read in two ways, it counts as broken: the plain template then says the same safely.

| Rule | Broken when |
|---|---|
| wrong_discount | a percentage, fraction or amount is not the offer's, cannot be read, or is not said as a discount |
| wrong_duration | a duration is not the offer's (the customer's tenure is none either), or cannot be read |
| missing_offer | discount and duration, free months or gift (whatever the arm brings) are not said, where `required` |
| unclear_offer | the offer is hedged ("up to"), denied, conditional, or an amount is not said to be off every month |
| other_offer | something else is offered: another gift, a discount where none is meant, anything by a bare contact |
| condition, other_time, other_price | a sentence that nothing allowed explains speaks of a condition, time or price |
| records | such a sentence says what is known of the customer |
| unexplained | any other sentence that nothing allowed explains |
| loyalty | somebody is thanked for years who has not been a customer for `loyal_months` |
| other_number | any other number is named, in digits or words |
| placeholder | a placeholder is unknown or malformed |
| missing_name, missing_service | not said, where `required` |
| wrong_service | another service is named, or the discount is on something else |
| length | words outside of `min_words` … `max_words` |
| unfinished | does not end with the end of a sentence |
| repetition | a sentence stands twice, or three words repeat at once |
| banned_phrase, pressure | a phrase of the config is said |
| personal_data | an address, link, long number or code is named |
| other_person | a name is written out, or somebody but the customer is greeted |
| characters | other scripts, control or invisible characters, words spelled letter by letter |
| opt_out | no way to opt out is told, on a channel that needs one |
| quiet_hours | the customer's clock says that it is not the time |
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time
from functools import lru_cache
from typing import Literal

from churn_assets.arms import Arm, Menu
from churn_assets.message.config import ContactChannel, QuietHours, RuleId, SafetyRules
from churn_assets.message.text.explain import GIFT_SIGN, NAME_SIGN, SERVICE_SIGN, Explainer
from churn_assets.message.text.gifts import gift_pattern, gift_words, others
from churn_assets.message.text.languages.pack import Language
from churn_assets.message.text.languages.packs import LANGUAGES
from churn_assets.message.text.offer_rules import BrokenRules, judge_offer, symbols
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.quantities import Quantities, read_quantities
from churn_assets.message.text.terms import ArmFacts, arm_facts

Severity = Literal["block", "warn"]
TONE: frozenset[RuleId] = frozenset({"pressure", "loyalty", "records", "unexplained"})
"""Rules about how things are said: they forbid a text like all others, and accuse it of no false offer."""

NAME, SERVICE = "{name}", "{service}"
_ASKED: ContactChannel = "sms"
"""The channel of a text of which no arm is known."""
_FREE_MONTHS = frozenset({"free month", "free months", "month free", "months free"})
"""Banned phrases that are the very offer of an arm of free months: its own rules judge them."""

_BRACES = re.compile(r"[{}\[\]<>]|%s\b|\$\w*name\b", re.I)
_ON_WHAT = re.compile(
    r"\b[WF] .*\b(?:off|on|of) (?:your|the|our) (?!next\b|coming\b)([a-z ]+?)"
    r"(?= (?:for|on|over|during|if|when|and|each|every|per|a month)\b|[^a-z ]|$)"
)
"""What a sentence that nothing explains says that a discount, or a free month, is on."""
_ADDRESS = re.compile(r"@|://|www\.|\.(?:com|net|org|io|co|info|biz|app|me|ly|gg|link)\b", re.I)
_LONG_NUMBER = re.compile(r"\d(?:[ ().-]{0,2}\d){6,}")
_CODE_LENGTH = 6
_COUNTED = re.compile(r"\d+-?(?:days?|weeks?|months?|years?|percent)\b", re.I)
_GREETED = re.compile(r"\b(?:(?:[Hh]i|[Hh]ello|[Hh]ey|[Dd]ear),? |(?:Mr|Mrs|Ms|Dr)\.? )([A-Z][a-z]+)\b")
_CAPITALISED = re.compile(r"[A-Z][a-z]+")
_ANYBODY = frozenset({"there", "customer", "valued", "all", "team", "friend"})
_SPELLED = re.compile(r"(?:(?<![A-Za-z'])[A-Za-z][ ._*-]+){3,}[A-Za-z](?![A-Za-z'])")


def _phrases(phrases: Sequence[str]) -> re.Pattern[str] | None:
    """Any of these phrases, at the borders of words; gaps may be spaces, hyphens or line breaks."""
    if not phrases:
        return None
    gaps = (r"[\s-]+".join(map(re.escape, re.split(r"[\s-]+", phrase.casefold()))) for phrase in phrases)
    return re.compile(rf"\b(?:{'|'.join(gaps)})\b")


def _is_quiet(local: time, hours: QuietHours | None) -> bool:
    if hours is None:
        return False
    local = local.replace(tzinfo=None)  # the customer's clock, wherever they are
    if hours.start < hours.end:
        return hours.start <= local < hours.end
    return local >= hours.start or local < hours.end


@dataclass(frozen=True)
class SendRequest:
    """How and when a text would be sent.

    Attributes:
        channel: The way it takes; the arm's where None.
        local_time: The customer's clock; None where nothing is about to be sent, so no hour is quiet.
    """

    channel: ContactChannel | None = None
    local_time: time | None = None


@dataclass(frozen=True)
class RuleViolation:
    """One broken rule."""

    rule: RuleId
    reason: str
    severity: Severity


@dataclass(frozen=True)
class Verdict:
    """Every rule that a text breaks, in the order of the rules."""

    violations: tuple[RuleViolation, ...]

    @property
    def safe(self) -> bool:
        """Whether nothing forbids sending the text."""
        return not self.blocking

    @property
    def blocking(self) -> tuple[RuleViolation, ...]:
        """The violations that forbid it."""
        return tuple(violation for violation in self.violations if violation.severity == "block")

    @property
    def rules(self) -> tuple[RuleId, ...]:
        """The broken rules."""
        return tuple(violation.rule for violation in self.violations)


class Safety:
    """The rules of an experiment, ready to judge texts."""

    def __init__(self, rules: SafetyRules, services: Sequence[str], gifts: Sequence[str] = ()) -> None:
        """Prepares the rules.

        Args:
            rules: The `safety:` section.
            services: Every service that a profile can name (`ProfileConfig.service_texts`).
            gifts: Every gift of the menu: where there is one, no text may speak of another than its arm's.
        """
        self.rules = rules
        self._services = tuple(service.casefold() for service in services)
        self._generic = frozenset(text.casefold() for text in rules.generic_services)
        self._gifts = tuple(gifts)
        self._given = _phrases(rules.gift_phrases)
        self._banned = _phrases(rules.banned_phrases)
        self._banned_but_free = _phrases(
            [each for each in rules.banned_phrases if each.casefold() not in _FREE_MONTHS]
        )
        self._pressing = _phrases(rules.pressure_phrases)
        self._opt_out = _phrases(rules.opt_out_phrases)
        self._names = frozenset(rules.first_names)
        self._foreign = re.compile(rf"[^\n -~{re.escape(rules.extra_characters)}]")
        self._warn = frozenset(rules.warn)
        self.language = LANGUAGES[rules.language]
        said = (*rules.sentences, rules.template, rules.contact_template)
        known = [_as_said(sentence, self.language) for sentence in said]
        self._explainer = Explainer(self.language.grammar, rules.generic_services, known)

    @property
    def tells_gifts(self) -> bool:
        """Whether the menu has any gift."""
        return bool(self._gifts)

    def check(self, text: str, profile: Profile, arm: Arm, request: SendRequest | None = None) -> Verdict:
        """Judges a text with its placeholders, written for this customer and arm."""
        request, facts = request or SendRequest(), arm_facts(arm, profile.currency)
        original, text = text, text if facts.gift is None else gift_pattern(facts.gift).sub(GIFT_SIGN, text)
        read, folded = read_quantities(_marked(text, profile.service), self.language.plain), text.casefold()
        channel = request.channel or arm.channel or _ASKED
        found = [
            *judge_offer(read, facts, required="offer" in self.rules.required),
            *self._other_gifts(folded, profile, facts),
            *self._services_named(folded, profile),
            *self._wording(
                original,
                _own_service(profile.service).sub("service", text),
                read,
                request,
                channel,
                facts,
                profile.service,
            ),
        ]
        if {rule for rule, _ in found} <= self._warn | {"quiet_hours"}:
            found += self._explained(symbols(read, facts), profile, facts)
        return self._verdict(found)

    def _explained(self, tokens: Sequence[str], profile: Profile, facts: ArmFacts) -> BrokenRules:
        """The sentences that nothing allowed explains: last, for what no other rule has named."""
        kinds, strange = self._explainer.kinds(tokens)
        for sentence in strange:
            what = _ON_WHAT.search(sentence.words)
            elsewhere: RuleId | None = (
                "wrong_service" if what and what.group(1) not in self._generic else None
            )
            rule = elsewhere or sentence.fault or "unexplained"
            yield rule, f"says {sentence.words!r}, which nothing allowed explains"
        if facts.nothing and not kinds.isdisjoint(("offer", "accept")):
            yield "other_offer", "gives something or has something accepted, expected no offer"
        if "loyalty" in kinds and (profile.tenure_months or 0) < self.rules.loyal_months:
            months = "unknown" if profile.tenure_months is None else f"{profile.tenure_months} months"
            yield (
                "loyalty",
                f"thanks for years; found a tenure of {months}, expected {self.rules.loyal_months}",
            )

    def check_wording(self, text: str, request: SendRequest | None = None) -> Verdict:
        """Judges a text of which customer and arm are unknown, by the rules that need neither."""
        request, read = request or SendRequest(), read_quantities(text, self.language.plain)
        return self._verdict(list(self._wording(text, text, read, request, request.channel or _ASKED)))

    def names_somebody(self, text: str) -> bool:
        """Whether a text names a person who is not the customer's placeholder, or holds a mail address."""
        return "@" in text or any(rule == "other_person" for rule, _ in self._people(text))

    def _verdict(self, found: list[tuple[RuleId, str]]) -> Verdict:
        return Verdict(
            tuple(
                RuleViolation(rule, reason, "warn" if rule in self._warn else "block")
                for rule, reason in found
            )
        )

    def _wording(
        self,
        original: str,
        text: str,
        read: Quantities,
        request: SendRequest,
        channel: ContactChannel,
        facts: ArmFacts | None = None,
        service: str = "",
    ) -> BrokenRules:
        yield from self._placeholders(text)
        yield from self._form(original, read, service)
        yield from self._said(text.casefold(), channel, facts)
        yield from self._people(text)
        if request.local_time is not None and _is_quiet(request.local_time, self.rules.quiet_hours):
            yield "quiet_hours", f"{request.local_time:%H:%M} is within the quiet hours"

    def _other_gifts(self, folded: str, profile: Profile, facts: ArmFacts) -> BrokenRules:
        """Gifts that are not the arm's, by name or by a word for such things; `GIFT_SIGN` stands for its own."""
        if facts.discount and not self._gifts:
            return
        plain, own = _plain(folded, profile), facts.gift
        for gift in others(own, self._gifts):
            if gift_pattern(gift).search(plain):
                yield "other_offer", f"says {gift!r}, expected {own or 'no gift'!r}"
                return
        meant = frozenset() if own is None else gift_words(own) | {"gift", "gifts"}
        for phrase in self._given.finditer(plain) if self._given else ():
            if not meant.issuperset(re.split(r"[\s-]+", phrase.group())):
                yield "other_offer", f"says {phrase.group()!r}, expected {own or 'no gift'!r}"
                return

    def _placeholders(self, text: str) -> BrokenRules:
        rest = text.replace(NAME, "").replace(SERVICE, "")
        if odd := _BRACES.search(rest):
            yield "placeholder", f"found {odd.group()!r}, expected {NAME} or {SERVICE} and no other"
        if "name" in self.rules.required and NAME not in text:
            yield "missing_name", f"does not say {NAME}"

    def _services_named(self, folded: str, profile: Profile) -> BrokenRules:
        own = profile.service.casefold()
        plain = folded.replace(SERVICE, own)
        if "service" in self.rules.required and own not in plain:
            yield "missing_service", f"does not say {profile.service!r}"
        for service in self._services:
            if service in plain and service != own:
                yield "wrong_service", f"says {service!r}, expected {profile.service!r}"
                return

    def _form(self, text: str, read: Quantities, service: str) -> BrokenRules:
        words = len(text.split())
        rules = self.rules
        if not rules.min_words <= words <= rules.max_words:
            yield "length", f"has {words} words, expected {rules.min_words} to {rules.max_words}"
        if not text.rstrip().endswith((".", "!", "?")):
            yield "unfinished", "does not end with the end of a sentence"
        sentences = [
            part for part in re.split(r"[.!?]\s+|[.!?]$", text.casefold().strip()) if part.count(" ") > 1
        ]
        if len(set(sentences)) < len(sentences):
            yield "repetition", "says the same sentence twice"
        elif stutter := _stutter(read.tokens):
            yield "repetition", f"says {stutter!r} twice in a row"
        if foreign := self._foreign.search(_own_service(service).sub("", text) if service else text):
            yield "characters", f"found character U+{ord(foreign.group()):04X}"
        elif spelled := _SPELLED.search(text):
            yield "characters", f"found {spelled.group()!r}, a word letter by letter"

    def _said(self, folded: str, channel: ContactChannel, facts: ArmFacts | None) -> BrokenRules:
        free = facts is not None and facts.free_months is not None
        banned = self._banned_but_free if free else self._banned
        if banned and (phrase := banned.search(folded)):
            yield "banned_phrase", f"says {phrase.group()!r}"
        if self._pressing and (phrase := self._pressing.search(folded)):
            yield "pressure", f"says {phrase.group()!r}"
        channels = self.rules.opt_out_channels
        if channel in channels and self._opt_out and not self._opt_out.search(folded):
            yield "opt_out", f"does not say how to opt out, as {channel} needs"

    def _people(self, text: str) -> BrokenRules:
        if private := _ADDRESS.search(text) or _LONG_NUMBER.search(text):
            yield "personal_data", f"found {private.group()!r}"
        elif codes := [word for word in text.split() if len(word) >= _CODE_LENGTH and _is_code(word)]:
            yield "personal_data", f"found {codes[0]!r}"
        if names := self._names.intersection(_CAPITALISED.findall(text)):
            yield "other_person", f"names {min(names)!r}, expected {NAME}"
            return
        for greeted in _GREETED.findall(text):
            if greeted.casefold() not in _ANYBODY:
                yield "other_person", f"greets {greeted!r}, expected {NAME}"
                return


def _is_code(word: str) -> bool:
    return (
        any(map(str.isdigit, word))
        and any(map(str.isalpha, word))
        and "%" not in word
        and not _COUNTED.match(word)
    )


def _stutter(tokens: Sequence[str]) -> str:
    """Three tokens that stand twice in a row, if any do."""
    later = (tokens[shift:] for shift in range(1, 6))
    for a, b, c, d, e, f in zip(tokens, *later, strict=False):
        if a == d and b == e and c == f:
            return f"{a} {b} {c}"
    return ""


@lru_cache
def _own_service(service: str) -> re.Pattern[str]:
    """The customer's service where a text names it: what its name is made of says nothing."""
    return re.compile(rf"(?<!\w){re.escape(service)}(?!\w)", re.I)


def _marked(text: str, service: str) -> str:
    """A text with signs for name and service: their words are no part of what it says."""
    return _own_service(service).sub(
        SERVICE_SIGN, text.replace(SERVICE, SERVICE_SIGN).replace(NAME, NAME_SIGN)
    )


def _as_said(sentence: str, language: Language) -> list[str]:
    """Tokens of a sentence of the config, with symbols for its placeholders."""
    told = _marked(sentence, SERVICE).replace("{percent}%", " \ue003 ").replace("{offer}", " \ue004 ")
    named = {"\ue003": "W", "\ue004": "OFFER", "\ue005": "D"}
    read = read_quantities(told.replace("{duration}", " \ue005 "), language.plain)
    return [named.get(token, token) for token in read.tokens]


def _plain(folded: str, profile: Profile) -> str:
    """A casefolded text in which the customer's own service is just that: its words offer nothing."""
    return folded.replace(SERVICE, "service").replace(profile.service.casefold(), "service")


def safety_of(rules: SafetyRules, services: Sequence[str], menu: Menu) -> Safety:
    """The rules for texts about a menu's arms."""
    return Safety(rules, services, gifts_of(menu))


def gifts_of(menu: Menu) -> tuple[str, ...]:
    """Every gift of a menu, in the words of a message."""
    return tuple(dict.fromkeys(arm.terms.gift_words for arm in menu if arm.terms.gift_words))
