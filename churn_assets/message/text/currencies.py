"""How money is named in an English text: ISO codes, signs and words, and the currencies that each may mean."""

from __future__ import annotations

from collections.abc import Mapping

_CODES = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF "
    "CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG "
    "HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA "
    "MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD "
    "RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX "
    "USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG"
)
CODES: frozenset[str] = frozenset(_CODES.split())
"""Every currency of ISO 4217."""

_DOLLARS = "USD AUD BBD BMD BND BSD BZD CAD FJD GYD HKD JMD KYD LRD NAD NZD SBD SGD SRD TTD TWD XCD"
_CROWNS = "CZK DKK ISK NOK SEK"
_POUNDS = "GBP EGP FKP GIP LBP SDG SHP SSP SYP"
_RUPEES = "INR LKR MUR NPR PKR SCR"
_FRANCS = "CHF BIF CDF DJF GNF KMF RWF XAF XOF XPF"
_PESOS = "MXN ARS CLP COP CUP DOP PHP UYU"
_SHILLINGS = "KES SOS TZS UGX"

_SIGNS = {
    "$": f"{_DOLLARS} {_PESOS}", "€": "EUR", "£": _POUNDS, "¥": "JPY CNY", "₹": "INR", "₩": "KRW KPW", "₽": "RUB",
    "₺": "TRY", "₴": "UAH", "₫": "VND", "₦": "NGN", "₱": "PHP", "฿": "THB", "₪": "ILS", "₡": "CRC", "₲": "PYG",
    "₸": "KZT", "₵": "GHS", "₼": "AZN", "₾": "GEL", "kr": _CROWNS, "zł": "PLN", "rs": _RUPEES, "kč": "CZK",
    "ft": "HUF", "lei": "RON MDL",
}  # fmt: skip
_WORDS = {
    "dollar": _DOLLARS, "buck": _DOLLARS, "euro": "EUR", "pound": _POUNDS, "quid": "GBP", "yen": "JPY",
    "yuan": "CNY", "rupee": _RUPEES, "franc": _FRANCS, "peso": _PESOS, "crown": _CROWNS, "krona": _CROWNS,
    "kronor": "SEK", "krone": _CROWNS, "kroner": _CROWNS, "zloty": "PLN", "won": "KRW KPW", "ruble": "RUB BYN",
    "rouble": "RUB BYN", "lira": "TRY", "rand": "ZAR", "shekel": "ILS", "dirham": "AED MAD", "dinar": "BHD DZD IQD "
    "JOD KWD LYD RSD TND", "riyal": "SAR QAR YER", "rial": "IRR OMR YER", "baht": "THB", "ringgit": "MYR",
    "rupiah": "IDR", "real": "BRL", "reais": "BRL", "hryvnia": "UAH", "forint": "HUF", "shilling": _SHILLINGS,
    "naira": "NGN", "cedi": "GHS", "dong": "VND", "taka": "BDT", "sol": "PEN", "lev": "BGN",
}  # fmt: skip


def _named() -> dict[str, frozenset[str]]:
    named = {code.casefold(): frozenset({code}) for code in CODES}
    named |= {sign: frozenset(codes.split()) for sign, codes in _SIGNS.items()}
    for word, codes in _WORDS.items():
        named |= dict.fromkeys((word, f"{word}s"), frozenset(codes.split()))
    return named


MEANT: Mapping[str, frozenset[str]] = _named()
"""Currencies that a casefolded token may mean."""
BEFORE: frozenset[str] = frozenset({*_SIGNS, *(code.casefold() for code in CODES)})
"""What may stand before the number: `$10`, `EUR 10`."""
HUNDREDTHS = frozenset({"cent", "cents", "penny", "pence"})
"""Of any currency that has them."""
_COUNTED = ("dollar", "buck", "euro", "pound", "franc", "rupee", "peso", "krona", "krone", "zloty", "yen")
ONE_OF: frozenset[str] = frozenset(
    {*_COUNTED, *(f"{word}s" for word in _COUNTED), "usd", "eur", "gbp", "chf"}
)
"""What `one` may count: one dollar, but no `one real advantage`, no `one try`."""
