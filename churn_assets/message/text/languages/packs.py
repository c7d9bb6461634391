"""Every language that texts can be judged in. Adding one is its file, and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from churn_assets.message.text.languages.english import ENGLISH
from churn_assets.message.text.languages.german import GERMAN
from churn_assets.message.text.languages.pack import Language
from churn_assets.message.text.languages.spanish import SPANISH

LANGUAGES: Mapping[str, Language] = {"en": ENGLISH, "de": GERMAN, "es": SPANISH}
"""By ISO 639."""
