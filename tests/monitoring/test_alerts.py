"""People are told by log or webhook; the webhook's address, a secret, is never told to anybody."""

import json
import logging
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from churn_assets.monitoring import alerts
from churn_assets.monitoring.alerts import Alert, AlertNotSentError, notifier
from churn_assets.monitoring.config import AlertsConfig

LOG = logging.getLogger("alerts")
ALERT = Alert("toy: train failed", "because <a & b>", "look at it", "http://dagster/runs/1")
WEBHOOK = AlertsConfig(webhook_variable="CHURN_WEBHOOK")
SECRET = "T000-very-secret"


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        time.sleep(self.server.delay)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.received, server.status, server.delay = [], 200, 0.0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def post(port):
    notifier(WEBHOOK, {"CHURN_WEBHOOK": f"http://127.0.0.1:{port}/{SECRET}"}, LOG).send(ALERT)


def test_the_webhook_gets_json_that_slack_understands_with_what_why_what_to_do_and_where(receiver):
    post(receiver.server_port)
    (received,) = receiver.received
    assert received == {
        "text": "toy: train failed\nbecause &lt;a &amp; b&gt;\nlook at it\nhttp://dagster/runs/1"
    }


def test_without_a_webhook_the_log_is_told(caplog):
    notifier(AlertsConfig(), {}, LOG).send(ALERT)
    assert "toy: train failed" in caplog.text


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_an_answer_that_is_no_success_is_an_error_that_keeps_the_secret(receiver):
    receiver.status = 403
    with pytest.raises(AlertNotSentError, match="answered 403") as failure:
        post(receiver.server_port)
    assert SECRET not in str(failure.value)
    assert failure.value.__suppress_context__


def test_nobody_there_is_an_error_that_keeps_the_secret():
    with pytest.raises(AlertNotSentError, match="could not be reached") as failure:
        post(unused_port())
    assert SECRET not in str(failure.value)


@pytest.mark.parametrize("url", [f"not a url {SECRET}", f"http://[{SECRET}", f"http://127.0.0.1:{SECRET}/"])
def test_an_address_that_is_none_is_an_error_that_keeps_the_secret(url):
    with pytest.raises(AlertNotSentError) as failure:
        notifier(WEBHOOK, {"CHURN_WEBHOOK": url}, LOG).send(ALERT)
    assert SECRET not in str(failure.value)


def test_a_webhook_that_does_not_answer_is_given_up(receiver, monkeypatch):
    monkeypatch.setattr(alerts, "TIMEOUT", 0.2)
    receiver.delay = 2.0
    began = time.monotonic()
    with pytest.raises(AlertNotSentError, match="could not be reached"):
        post(receiver.server_port)
    assert time.monotonic() - began < 1.5


def test_a_variable_that_is_not_set_is_named():
    with pytest.raises(AlertNotSentError, match="CHURN_WEBHOOK is not set"):
        notifier(WEBHOOK, {}, LOG)


def test_a_notifier_does_not_show_its_secret():
    assert SECRET not in repr(notifier(WEBHOOK, {"CHURN_WEBHOOK": SECRET}, LOG))
