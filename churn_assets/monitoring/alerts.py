"""Who is told, and how: one notifier for the log and for a webhook. Decides nothing about what is worth telling."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Protocol

from churn_assets.monitoring.config import AlertsConfig

TIMEOUT = 5.0
"""Seconds that a webhook may take: a sensor waits for it."""


class AlertNotSentError(RuntimeError):
    """Nobody was told. The message never holds the webhook's URL, which is a secret."""


@dataclass(frozen=True)
class Alert:
    """Something that people should know.

    Attributes:
        title: One line.
        detail: Why, for people.
        what_to_do: The next step.
        link: Where to look; empty where there is no page for it.
    """

    title: str
    detail: str
    what_to_do: str
    link: str = ""

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(part for part in (self.title, self.detail, self.what_to_do, self.link) if part)


class Notifier(Protocol):
    """Tells people."""

    def send(self, alert: Alert) -> None:
        """Tell them.

        Raises:
            AlertNotSentError: They were not told.
        """


@dataclass(frozen=True)
class LogNotifier:
    """Tells the log."""

    log: logging.Logger

    def send(self, alert: Alert) -> None:
        """See `Notifier`."""
        self.log.warning(alert.text)


@dataclass(frozen=True, repr=False)
class WebhookNotifier:
    """Posts JSON that Slack's incoming webhooks, and what imitates them, understand."""

    url: str

    def send(self, alert: Alert) -> None:
        """See `Notifier`."""
        # Slack gives these three characters a meaning; a link in angle brackets is one that can be clicked.
        plain = alert.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        body = json.dumps({"text": plain}).encode()
        try:
            request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=TIMEOUT):
                return
        except urllib.error.HTTPError as error:
            found = f"answered {error.code}"
        except (urllib.error.URLError, HTTPException, OSError, ValueError) as error:
            # Only the kind: these errors quote what they were given.
            found = f"could not be reached ({type(getattr(error, 'reason', error)).__name__})"
        raise AlertNotSentError(f"the webhook {found}") from None


def notifier(config: AlertsConfig, environment: Mapping[str, str], log: logging.Logger) -> Notifier:
    """What the experiment asks for.

    Raises:
        AlertNotSentError: The variable that should hold the webhook's URL is not set.
    """
    if config.webhook_variable is None:
        return LogNotifier(log)
    url = environment.get(config.webhook_variable)
    if not url:
        raise AlertNotSentError(f"automation.alerts.webhook_variable: {config.webhook_variable} is not set")
    return WebhookNotifier(url)
