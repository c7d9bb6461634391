"""Language packs: what is right in a language passes, what is not is refused, and a language without a pack by name."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from telco_texts import ANY_MENU, PROFILE, percent

from churn_assets.message.config import MessagesConfig, SafetyRules
from churn_assets.message.model.audit import says_only
from churn_assets.message.text.languages.packs import LANGUAGES
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.quantities import read_quantities
from churn_assets.message.text.safety import SERVICE, safety_of
from churn_assets.message.text.template import plain_text
from churn_assets.message.text.terms import offers_of

SERVICES = MessagesConfig.model_validate({"profile": PROFILE}).profile.service_texts
PERSON = Profile("fiber internet", 57.0, 30, "monthly", "EUR")
OFFER = percent(0.2, 6)
SAFETY = {code: safety_of(SafetyRules(language=code), SERVICES, ANY_MENU) for code in LANGUAGES}
TEXTS = {
    "de": "Hallo {name}, vielen Dank für Ihr Vertrauen. %s Bitte antworten Sie mit JA. Viele Grüße, Ihr Serviceteam. "
    "Antworten Sie mit STOPP, um sich abzumelden.",
    "es": "Hola {name}, gracias por tu confianza. %s Responde SÍ para aceptar. Un saludo, tu equipo. Responde BAJA si "
    "no quieres más mensajes.",
}


def rules(code: str, said: str, person: Profile = PERSON) -> set[str]:
    return set(SAFETY[code].check(TEXTS[code] % said, person, OFFER).rules)


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_the_packs_template_says_every_arm(code):
    for arm in offers_of(ANY_MENU, (1, 3, 6, 12)):
        text = plain_text(PERSON, arm, SAFETY[code])
        assert SAFETY[code].check(text, PERSON, arm).violations == ()
        assert says_only(text.replace(PERSON.service, SERVICE), arm, "EUR"), text


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("de", "Sie erhalten 20% Rabatt auf Ihren Tarif für 6 Monate."),
        ("de", "Wir bieten Ihnen zwanzig Prozent Rabatt für sechs Monate."),
        ("de", "Als kleines Dankeschön erhalten Sie 20 % Rabatt auf {service} für die nächsten 6 Monate."),
        ("de", "Sparen Sie 20% auf Ihre Rechnung für ein halbes Jahr."),
        ("es", "Disfruta de un 20% de descuento en tu factura durante 6 meses."),
        ("es", "Te ofrecemos un veinte por ciento de descuento durante seis meses."),
        (
            "es",
            "Como agradecimiento, te damos un 20 % de descuento en tu {service} durante los próximos 6 meses.",
        ),
        ("es", "Ahorra un 20% en tu factura durante medio año."),
    ],
)
def test_the_offer_in_a_languages_own_words_passes(code, said):
    assert rules(code, said) == set()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("de", "Sie erhalten 25% Rabatt für 6 Monate."),
        ("de", "Sie erhalten einundzwanzig Prozent Rabatt für 6 Monate."),
        ("de", "Sie erhalten 20% Rabatt für 12 Monate."),
        ("de", "Sie erhalten 20% Rabatt für ein Jahr."),
        ("de", "Sie erhalten 20% Rabatt nach 6 Monaten."),
        ("de", "Sie erhalten 20% Rabatt für 6 Monate, wenn Sie bleiben."),
        ("de", "Sie erhalten keinen 20% Rabatt für 6 Monate."),
        ("de", "Sie erhalten 20% Rabatt auf Zubehör für 6 Monate."),
        ("de", "Sie erhalten bis zu 20% Rabatt für 6 Monate."),
        ("de", "Sie zahlen nur 20% für 6 Monate."),
        ("de", "Sie erhalten 20% Rabatt für 6 Monate. Handeln Sie sofort."),
        ("de", "Sie erhalten 20% Rabatt für 6 Monate. Unsere Daten zeigen, dass Sie gehen."),
        ("de", "Sie erhalten 20% Rabatt für 6 Monate und ein Tablet."),
        ("de", "You get 20% off for 6 months."),
        ("es", "Disfruta de un 25% de descuento durante 6 meses."),
        ("es", "Disfruta de un treinta y cinco por ciento de descuento durante 6 meses."),
        ("es", "Disfruta de un 20% de descuento durante 12 meses."),
        ("es", "Disfruta de un 20% de descuento durante un año."),
        ("es", "Disfruta de un 20% de descuento después de 6 meses."),
        ("es", "Disfruta de un 20% de descuento durante 6 meses si te quedas."),
        ("es", "No disfrutas de un 20% de descuento durante 6 meses."),
        ("es", "Disfruta de un 20% de descuento en accesorios durante 6 meses."),
        ("es", "Disfruta de hasta un 20% de descuento durante 6 meses."),
        ("es", "Paga solo un 20% durante 6 meses."),
        ("es", "Disfruta de un 20% de descuento durante 6 meses. Es tu última oportunidad."),
        ("es", "Disfruta de un 20% de descuento durante 6 meses. Sabemos que quieres irte."),
        ("es", "Disfruta de un 20% de descuento durante 6 meses y un router gratis."),
        ("es", "You get 20% off for 6 months."),
    ],
)
def test_another_offer_or_pressure_is_refused_in_every_language(code, said):
    assert rules(code, said)


@pytest.mark.parametrize("code", ["de", "es"])
def test_newcomers_are_not_thanked_for_years(code):
    thanks = {"de": "Danke für all die Jahre bei uns.", "es": "Gracias por todos estos años con nosotros."}[
        code
    ]
    offer = {
        "de": "Sie erhalten 20% Rabatt für 6 Monate.",
        "es": "Recibe un 20% de descuento durante 6 meses.",
    }[code]
    assert rules(code, f"{thanks} {offer}") == set()
    assert rules(code, f"{thanks} {offer}", Profile("fiber internet", 57.0, 2)) == {"loyalty"}


@pytest.mark.parametrize(
    ("code", "text", "value", "unit"),
    [
        ("de", "fünfundzwanzig Prozent", 25, "percent"), ("de", "ein halbes Jahr", 6, "months"),
        ("de", "zwölf Monate", 12, "months"), ("de", "zehn Euro", 10, "money"),
        ("es", "treinta y cinco por ciento", 35, "percent"), ("es", "medio año", 6, "months"),
        ("es", "veintiún", None, None), ("es", "doce meses", 12, "months"), ("es", "diez euros", 10, "money"),
    ],
)  # fmt: skip
def test_numbers_are_read_in_words_of_a_language(code, text, value, unit):
    found = read_quantities(text, LANGUAGES[code].plain).found
    assert [(each.value, each.unit) for each in found] == ([(value, unit)] if unit else [])


def test_a_language_without_a_pack_is_refused_by_name():
    with pytest.raises(ValidationError, match="language: found 'fr', expected one of de, en, es"):
        SafetyRules.model_validate({"language": "fr"})


def test_spanish_messages_of_ones_own_are_safe_by_their_pack():
    text = (
        "Hola {name}, gracias por seguir con nosotros. Disfruta de un 20% de descuento en tu factura durante 6 meses. "
        "Gracias por azul azul verde. Responde BAJA si no quieres más mensajes."
    )
    assert SAFETY["es"].check(text, PERSON, OFFER).violations == ()
    assert not SAFETY["en"].check(text, PERSON, OFFER).safe
