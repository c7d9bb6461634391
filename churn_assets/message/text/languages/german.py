"""German."""

from __future__ import annotations

from churn_assets.message.text.languages.pack import Language, grammar

_GRAMMAR = grammar(
    """
[spelled out]
gibt's = gibt es
geht's = geht es

[parts]
NICE = (treuer|guter|geschätzter|geschätzte|lieber|liebe|kleines|kleine|kleinen|kleiner|großes|großen|
  herzliches|besonderes|schönes|schönen|guten|gute|herzlichen|lieben|persönliches)
NOW = (jetzt|nun|heute|ab sofort|ab heute|gerne|gern|auch|daher|deshalb)
YOUR = (ihr|ihre|ihren|ihrem|ihrer|dein|deine|deinen|deinem|deiner|den|die|das|dem|der)
OBJECT = (YOUR)? (monatliche|monatlichen)? (GENERIC SERVICE|SERVICE|GENERIC)|den preis (für|von) (YOUR)?
  SERVICE
SPAN = (für|über) (die (nächsten|kommenden))? D|D lang|für einen zeitraum von D
ON = (auf|für|von|bei) OBJECT
EVERY = (each month|a month|monthly)
REST = ((,)? (SPAN|ON|EVERY|für sie|für dich))*
WORTH = (einen|ein|den|ihren|deinen|diesen)? (NICE)? W (EVERY)? discount|(einen|den|ihren|deinen)? discount
  von (EVERY)? W|W less
BEING = (ihr|dein|das|ihre|deine) (vertrauen|zeit|geduld|unterstützung)|dass (sie|du) (bei uns|unser kunde|
  kunde bei uns|unsere kundin) (sind|bist)|dass (sie|du) (da|hier) (sind|bist)|alles
THANKS = (herzlichen|vielen|besten|lieben|tausend)? dank|danke|danke (sehr|schön)|wir (danken|bedanken uns
  bei) (ihnen|dir) (herzlich|sehr)?
INTRO = als (NICE)? (dankeschön|zeichen unseres dankes|dank)|um (ihnen|dir) zu danken|(es gibt)? gute
  (nachrichten|nachricht) (für (sie|dich))?|NOW|SPAN|EVERY
TAIL = INTRO|(nur|extra)? für (sie|dich)|von uns
REPLY = (bitte|einfach)? (antworten sie|antworte|schreiben sie|schreib|schreibe|senden sie|sende|sagen sie|
  sag) (uns)? (bitte|einfach)? (mit|nur)? (einem)? ja
YEARS = (all)? (gemeinsamen)? the years (bei uns|mit uns)?|(ihre|deine) treue

[offers]
SAVES = (save|sie save|du save|save sie) W REST
CUTS = (senken|reduzieren) (wir)? OBJECT (SPAN)? um W REST
OFFER = (WORTH|F (von|für) OBJECT|D free (von|für) OBJECT|D free|F|G (für|zu) OBJECT|G) REST
RUNS = (gilt|läuft) SPAN

[greeting]
(hallo|guten tag|guten morgen|guten abend|liebe|lieber|sehr geehrte|sehr geehrter|hi) (,)? (NAME|kundin|
  kunde)?
NAME

[social]
THANKS (von uns)? (für BEING|(,)? dass (sie|du) (bei uns|unser kunde|unsere kundin) (sind|bist))?
(wir schätzen|wir freuen uns über) (sehr)? (ihr|dein) vertrauen
(schön|es freut uns|wir freuen uns) (,)? dass (sie|du) (bei uns|unser kunde|da) (sind|bist)
(es gibt)? gute (nachrichten|nachricht) (für (sie|dich))?
wir hoffen (,)? es geht (ihnen|dir) gut
wir (möchten|würden gern|würden gerne) (wissen|hören) (,)? (wie (YOUR) (GENERIC)? SERVICE (läuft|
  funktioniert)|wie zufrieden (sie|du) mit (YOUR) SERVICE (sind|bist))
wie (läuft|funktioniert) (YOUR) (GENERIC)? SERVICE
(einen)? (schönen|guten) tag
wir sind (gern|gerne|immer)? für (sie|dich) da

[loyalty]
THANKS für YEARS
wir schätzen YEARS

[before an offer]
INTRO

[behind an offer]
TAIL

[offer]
(bitte)? (genießen sie|genieße|nutzen sie|nutze|nehmen sie|nimm|holen sie sich|hol dir) OFFER
(wir)? (möchten|würden) (wir)? (ihnen|dir) (gern|gerne)? OFFER (anbieten|geben|schenken)
(wir)? (bieten|geben|schenken) (wir)? (ihnen|dir) (NOW)? OFFER (an)?
(wir)? haben (wir)? (für (sie|dich))? OFFER (für (sie|dich))? (reserviert|vorbereitet)
(sie|du)? (erhalten|bekommen|haben|erhältst|bekommst|hast|erhalten sie|bekommen sie|erhältst du|bekommst du)
  OFFER
(hier (sind|ist)|es gibt)? OFFER
(wir)? (möchten|können|werden)? CUTS
SAVES
(der|ihr|dein|dieser) discount RUNS

[call]
REPLY
(rufen sie uns|ruf uns) (jederzeit|gerne|gern)? (an)? (if (sie|du) (fragen) (haben|hast))?
(sagen sie uns|sag uns) (,)? (was (sie denken|du denkst)|wann (wir (sie|dich) anrufen (können|dürfen)|es
  (ihnen|dir) passt))

[accept]
REPLY (,)? (um (es|den discount|das offer)? anzunehmen)?
(zum annehmen|um anzunehmen) (,)? REPLY

[sign_off]
(mit)? (freundlichen|herzlichen|besten|vielen|viele|herzliche|freundliche|beste|liebe|schöne)? (grüßen|
  grüße|gruß|dank) (,)? (von)? (ihr|dein|das|ihrem|deinem)? (team|serviceteam|kundenteam|kundendienst|
  service - team)?

[opt_out]
(antworten sie|antworte|senden sie|sende|schreiben sie|schreib) (bitte)? (mit)? (dem wort)? stopp (,)? (um
  (sich|dich) abzumelden|um not more nachrichten zu (erhalten|bekommen)|if (sie|du) not more nachrichten
  (möchten|möchtest|wünschen|willst))
(zum abmelden|um (sich|dich) abzumelden) (,)? (antworten sie|antworte|senden sie|sende) (mit)? stopp
(abmelden|abmeldung) (mit|per) stopp

[faults]
opt_out = abmelden|abzumelden|stopp
records = unsere daten|unseren daten|wir wissen
pressure = letzte|dringend|sofort|verlieren|verlierst|beeilen|müssen|musst|sonst|warten|frist
condition = if|sofern|unter der bedingung|vertrag|bleiben|bleibst|bedingungen|dafür
other_time = nach|innerhalb|bis|vorher|danach|dann|endet|beginnt|erst
other_price = zahlen|zahlst|preis|kosten|kostet|more
other_offer = free|geschenk|zusätzlich|discount|immer|nie
"""
)

_ONES = (
    "null", "ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf",
    "dreizehn",
    "vierzehn", "fünfzehn", "sechzehn", "siebzehn", "achtzehn", "neunzehn",
)  # fmt: skip
_TENS = ("zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig")

GERMAN = Language(
    grammar=_GRAMMAR,
    plain={
        **{word: str(number) for number, word in enumerate(_ONES) if number != 1},
        **{word: str(10 * tens) for tens, word in enumerate(_TENS, 2)},
        **{
            f"{one}und{word}": str(10 * tens + ones)
            for tens, word in enumerate(_TENS, 2)
            for ones, one in enumerate(_ONES[1:10], 1)
        },
        "eins": "1", "hundert": "100", "tausend": "1000", "prozent": "percent", "die hälfte": "half",
        "zum halben preis": "half", "ein drittel": "1 third", "ein viertel": "1 quarter", "doppelt": "double",
        "ein dutzend": "1 dozen", "tag": "day", "tage": "days", "tagen": "days", "woche": "week", "wochen": "weeks",
        "monat": "month", "monate": "months", "monaten": "months", "jahr": "year", "jahre": "years",
        "jahren": "years",
        "einen monat": "1 month", "ein monat": "1 month", "ein jahr": "1 year", "ein halbes jahr": "6 months",
        "eine woche": "1 week", "guten tag": "guten tag", "schönen tag": "schönen tag", "jeden monat": "each month",
        "pro monat": "a month", "im monat": "a month", "monatlich": "monthly", "nächsten monat": "next month",
        "gratis": "free", "kostenlos": "free", "kostenlose": "free", "kostenlosen": "free", "kostenfrei": "free",
        "rabatt": "discount", "nachlass": "discount", "ermäßigung": "discount", "weniger": "less",
        "günstiger": "less",
        "sparen": "save", "spare": "save", "spar": "save", "sparst": "save", "die jahre": "the years",
        "die vielen jahre": "the years", "mehr": "more", "nicht": "not", "kein": "not", "keine": "not",
        "keinen": "not",
        "nie": "never",
        "ohne": "without", "wenn": "if", "falls": "if", "sofern": "if", "bis zu": "up to", "mindestens": "at least",
        "vielleicht": "maybe", "fast": "almost", "angebot": "offer", "geschenk": "gift", "dollar": "dollars",
        "cent": "cents",
    },
    offers={
        "percent_off": "{worth} Rabatt auf Ihren Tarif {service} für {duration}",
        "amount_off": "{worth} Rabatt pro Monat auf Ihren Tarif {service} für {duration}",
        "free_months": "{duration} gratis für Ihren Tarif {service}",
        "gift": "{worth}",
    },
    month="1 Monat",
    months="{months} Monate",
    defaults={
        "template": "Hallo {name}, danke, dass Sie unser Kunde sind. Wir möchten Ihnen {offer} anbieten. Bitte "
        "antworten Sie "
        "mit JA. Viele Grüße, Ihr Serviceteam. Antworten Sie mit STOPP, um sich abzumelden.",
        "contact_template": "Hallo {name}, danke, dass Sie unser Kunde sind. Wir möchten wissen, wie Ihr Tarif "
        "{service} läuft. "
        "Sagen Sie uns, wann es Ihnen passt. Viele Grüße, Ihr Serviceteam. Antworten Sie mit STOPP, um sich "
        "abzumelden.",
        "generic_services": ("rechnung", "tarif", "preis", "vertrag"),
        "opt_out_phrases": ("abmelden", "abzumelden", "mit stopp"),
        "banned_phrases": (
            "garantie", "garantiert", "garantieren", "versprechen", "versprochen", "für immer", "unbegrenzt",
            "risikofrei",
            "ohne risiko", "bester preis", "passwort", "kreditkarte", "bankkonto", "geburtsdatum", "gutschein",
        ),
        "pressure_phrases": (
            "letzte chance", "jetzt oder nie", "dringend", "sofort handeln", "warten sie nicht", "beeilen sie sich",
            "unsere daten zeigen",
        ),
        "gift_phrases": ("geschenk", "geschenke", "router", "tablet", "kopfhörer", "neues handy", "prämie"),
        "first_names": ("Anna", "Lukas", "Emma", "Peter", "Sabine", "Thomas", "Julia", "Michael", "Monika",
        "Wolfgang"),
        "extra_characters": "’‘“”„–—…äöüßÄÖÜ€",
    },
)  # fmt: skip
