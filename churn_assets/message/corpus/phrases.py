"""The sentences of the embedded corpus, by slot; those that say an offer, by kind of arm. Data only.

Placeholders: `{worth}` and `{duration}` (see `terms.py`), `{service}`; `{name}` stays in a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TONES = ("warm", "formal", "friendly", "brief")

OPENINGS: Mapping[str, tuple[str, ...]] = {
    "warm": (
        "Hi {name}, thank you for being with us.",
        "Hi {name}, we really appreciate having you as a customer.",
        "Hello {name}, thank you for your trust in us.",
        "Hello {name}, it means a lot that you are with us, thank you.",
        "Hi {name}, thank you for letting us look after you.",
    ),
    "formal": (
        "Dear {name}, thank you for being a valued customer.",
        "Dear {name}, we appreciate your trust in our service.",
        "Dear {name}, thank you for choosing our company.",
        "Dear {name}, please accept our thanks for your custom.",
        "Dear {name}, your custom is something we truly appreciate.",
    ),
    "friendly": (
        "Hey {name}, thank you for being part of the family.",
        "Hey {name}, it is good to have you here.",
        "Hi {name}, we are glad that you are our customer.",
        "Hey {name}, a big thank you from all of us.",
        "Hi {name}, we are happy that you chose us.",
    ),
    "brief": (
        "Hi {name}, a quick note of thanks.",
        "Hello {name}, we have good news for you.",
        "Hello {name}, thank you.",
        "Hi {name}, good news and a thank you.",
        "Hello {name}, we appreciate you.",
    ),
}
LOYAL_OPENINGS: Mapping[str, str] = {
    "warm": "Hi {name}, thank you for all the years with us.",
    "formal": "Dear {name}, we appreciate your loyalty over the years.",
    "friendly": "Hey {name}, we go back a long way, thank you.",
    "brief": "Hi {name}, thank you for staying so long.",
}
SHORT_OPENINGS = (
    "Hi {name}.",
    "Hello {name}.",
    "Dear {name}.",
)
"""Poor, but nothing that may not be sent."""
PLAIN_OPENINGS = (
    "Dear customer.",
    "Hello.",
    "Hi {name}.",
    "Attention {name}.",
    "{name}, our records say you may leave.",
)
ACKNOWLEDGEMENTS = (
    "We know that a fair price matters to you.",
    "We are sorry if your bill has felt high.",
    "We understand that costs add up, and we are sorry.",
    "We want your {service} to be worth every bill.",
    "We hope that your {service} is working well for you.",
    "We know that good value matters to you.",
    "We have been thinking about how to give you more value.",
    "We hope you enjoy your {service}.",
    "We know that bills add up.",
    "We would like your {service} to cost you less.",
)
CONTACT_ACKNOWLEDGEMENTS = (
    "We want your {service} to be worth every bill.",
    "We hope that your {service} is working well for you.",
    "We hope you enjoy your {service}.",
    "We are sorry if we have not been in touch for a while.",
    "We know how much you count on your {service}.",
)
"""What is said to somebody who is offered nothing: no word of money."""
RUDE_ACKNOWLEDGEMENTS = (
    "Everyone deals with high bills sometimes.",
    "Your complaint about the bill was noted.",
    "You should have read the terms.",
    "You should have called us before.",
)


@dataclass(frozen=True)
class OfferSentences:
    """How one kind of arm is said.

    Attributes:
        told: Says the arm and the service.
        plain: Says the arm and forgets the service.
    """

    told: tuple[str, ...]
    plain: tuple[str, ...]


OFFERS = (
    "We would like to offer you {worth} off your {service} for the next {duration}.",
    "As a small thank you, please enjoy {worth} off your {service} for {duration}.",
    "You can now get {worth} off your {service} for {duration}.",
    "We have set aside {worth} off your {service} for {duration}.",
    "For the next {duration} you get {worth} off your {service}.",
    "Take {worth} off your {service} for {duration}.",
    "Please enjoy your {service} with {worth} off for {duration}.",
    "Your {service} comes with {worth} off for the next {duration}.",
    "We are happy to take {worth} off your {service} for {duration}.",
    "For {duration} we take {worth} off your {service}.",
    "Here is {worth} off your {service} for the next {duration}.",
    "Starting now you have {worth} off your {service} for {duration}.",
)
PLAIN_OFFERS = (
    "You get {worth} off for {duration}.",
    "There is {worth} off for you for {duration}.",
    "Your account shows {worth} off for the next {duration}.",
)
AMOUNTS = (
    "We would like to offer you {worth} off your {service} each month for the next {duration}.",
    "As a small thank you, please enjoy {worth} off your {service} every month for {duration}.",
    "You can now get {worth} off your {service} each month for {duration}.",
    "We have set aside {worth} off your {service} every month for {duration}.",
    "For the next {duration} you get {worth} off your {service} each month.",
    "Take {worth} off your {service} a month for {duration}.",
    "Your {service} comes with {worth} off a month for the next {duration}.",
    "We are happy to take {worth} off your {service} every month for {duration}.",
    "For {duration} we take {worth} off your {service} each month.",
    "Here is {worth} off your {service} a month for the next {duration}.",
)
PLAIN_AMOUNTS = (
    "You get {worth} off each month for {duration}.",
    "There is {worth} off a month for you for {duration}.",
    "Your account shows {worth} off every month for the next {duration}.",
)
FREE_MONTHS = (
    "We would like to offer you {worth} of your {service}.",
    "As a small thank you, please enjoy {worth} of your {service}.",
    "You can now get {worth} of your {service}.",
    "We have set aside {worth} of your {service}.",
    "Please enjoy {worth} of your {service} on us.",
    "Here is a thank you: {worth} of your {service}.",
    "We are happy to give you {worth} of your {service}.",
    "Your {service} comes with {worth}.",
)
PLAIN_FREE_MONTHS = (
    "You get {worth}.",
    "There is {worth} for you.",
    "Your account shows {worth}.",
)
GIFTS = (
    "We would like to give you {worth} for your {service}.",
    "As a small thank you, please enjoy {worth} with your {service}.",
    "You can now get {worth} for your {service}.",
    "We have set aside {worth} for your {service}.",
    "Your {service} comes with {worth}.",
    "We are happy to send you {worth} for your {service}.",
    "Here is a thank you for your {service}: {worth}.",
    "To go with your {service} you get {worth}.",
)
PLAIN_GIFTS = (
    "You get {worth}.",
    "There is {worth} for you.",
    "Your account shows {worth}.",
)
CONTACTS = (
    "We would like to hear how your {service} is working for you.",
    "Is your {service} working as it should, and can we help with anything?",
    "We would be glad to talk with you about your {service}.",
    "Our team would like to know what you think of your {service}.",
    "We would love to hear how you get on with your {service}.",
    "We are here for you and your {service}.",
    "Let us talk about what you need from your {service}.",
    "We would like to go through your {service} with you.",
)
PLAIN_CONTACTS = (
    "We would like to talk to you.",
    "We are here for you.",
    "Our team would like to know what you think.",
)
SAID: Mapping[str, OfferSentences] = {
    "percent_off": OfferSentences(OFFERS, PLAIN_OFFERS),
    "amount_off": OfferSentences(AMOUNTS, PLAIN_AMOUNTS),
    "free_months": OfferSentences(FREE_MONTHS, PLAIN_FREE_MONTHS),
    "gift": OfferSentences(GIFTS, PLAIN_GIFTS),
    "contact": OfferSentences(CONTACTS, PLAIN_CONTACTS),
}
OTHER_GIFTS = (
    "a new tablet",
    "a pair of headphones",
    "a smart watch",
    "a power bank",
    "a coffee mug",
    "a speaker",
)
"""What a message gives away by mistake."""
VAGUE_OFFERS = (
    "We have a special discount for you.",
    "You can save on your plan if you stay.",
    "There is an offer on your account.",
    "Ask us about a better price for your {service}.",
    "Something good is waiting on your account.",
    "Call us to hear about a lower bill.",
    "A better price for your {service} may be possible.",
    "Your loyalty may be worth a discount.",
)
PROMISES = (
    "We guarantee you will never have a problem again.",
    "This price is locked forever.",
    "You will never pay more, guaranteed.",
    "We promise the fastest speeds forever.",
    "We promise that your bill will never rise.",
)
FILLERS = (
    "Our network covers many cities and we keep growing every year.",
    "We also have many other products that you can buy in our stores.",
    "You can read about our history on the company page.",
    "Our stores are open every day and our staff can show you new devices.",
)
CALLS_TO_ACTION = (
    "Please reply YES to accept.",
    "Just reply YES and we will apply it today.",
    "Please call us any time if you have questions.",
    "Reply YES and we will set it up for you.",
    "Please tell us if you would like it.",
    "Let us know and we will take care of it.",
    "If you like it, please reply YES.",
    "A short YES from you is all we need.",
    "Please let us know what you think.",
    "Say YES and we will do the rest.",
    "Please write back if it suits you.",
    "We will set it up as soon as you reply YES.",
)
CONTACT_CALLS = (
    "Please tell us a good time to talk.",
    "Please call us any time if you have questions.",
    "Just reply YES and we will be in touch.",
    "Please let us know what you think.",
    "Let us know how we can help.",
    "Please write back if it suits you.",
    "A short YES from you is all we need.",
)
SHORT_CALLS = (
    "Reply YES to accept.",
    "Reply YES.",
    "Text YES to accept.",
    "Say YES.",
)
"""Poor, but nothing that may not be sent."""
SHORT_CONTACT_CALLS = (
    "Reply YES.",
    "Let us know.",
    "Call us.",
    "Write back.",
)
PRESSING_CALLS = (
    "Reply now or lose it.",
    "This is your last chance.",
    "Act now.",
    "Do not wait, act now or pay more.",
)
SIGN_OFFS: Mapping[str, tuple[str, ...]] = {
    "warm": (
        "Thank you, the care team.",
        "With warm wishes, the care team.",
        "Warm regards, the care team.",
        "With thanks, your care team.",
    ),
    "formal": (
        "Kind regards, your support team.",
        "Best regards, the customer care team.",
        "With kind regards, the customer team.",
        "Yours, the support team.",
    ),
    "friendly": (
        "Talk soon, the care team.",
        "Thank you, your friends in support.",
        "See you soon, the care team.",
        "Cheers, your support team.",
    ),
    "brief": ("Thanks, the care team.", "Your care team.", "Best, the support team.", "Thank you, the team."),
}
OPT_OUTS = (
    "Reply STOP to opt out.",
    "Text STOP to opt out.",
    "To opt out, reply STOP.",
    "To opt out, text STOP.",
    "You can opt out with STOP.",
    "Send STOP to opt out.",
)
GUSHES = (
    "Thank you, thank you so much, please enjoy, thank you.",
    "Please, please enjoy it, we appreciate you, thank you, thank you.",
)
OTHER_NAMES = (
    "Maria",
    "James",
    "Aisha",
    "Wei",
    "Carlos",
    "Priya",
    "Tom",
    "Elena",
    "Omar",
    "Hannah",
    "Kofi",
    "Grace",
)
"""Whom a message greets by mistake."""
