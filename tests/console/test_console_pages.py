"""What each page shows, who may see it, and what is refused before anything is shown."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from churn_assets.console import pages
from churn_assets.console.asked import HEADERS, LARGEST_FORM
from churn_assets.console.pages import Console
from churn_assets.console.run import WithConsole
from churn_assets.privacy.audit import subject
from churn_assets.serving.security import Keyring
from churn_assets.store.access import looks_on
from churn_assets.store.errors import StoreUnreachable

PAGES = ("/releases", "/live", "/spend", "/customers", "/decisions", "/audit")


def known(served) -> str:
    return str(served.parts.follower.served.bundle.golden.customers[0]["customerID"])


def looks(served) -> list[tuple[str, str, str]]:
    found = looks_on(served.shop.store.backend, "quickstart", datetime.now(UTC).date())
    return [(each.who, each.what, each.whom) for each in found]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_shown_to_a_viewer_and_binds_the_browser(vera, path):
    answer = vera.get(path)
    assert answer.status_code == 200, answer.text
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert "unsafe-inline" not in answer.headers["content-security-policy"]
    assert not re.search(r"<script|\sstyle=|\son\w+=", answer.text)
    assert 'aria-current="page"' in answer.text


@pytest.mark.parametrize("path", ["", *PAGES])
def test_whoever_is_not_logged_in_is_sent_to_the_login(quiet, path):
    answer = quiet.browser().get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/login")


def test_the_list_has_verdict_leader_and_lift_and_a_viewer_no_act(vera, quiet):
    page = vera.get("/releases").text
    assert quiet.shop.first.version in page
    assert quiet.shop.second.version in page
    assert '<strong class="tag">leads</strong>' in page
    assert "Promote" in page or "Discuss" in page
    assert 'name="act"' not in page


def test_a_release_has_its_verdict_and_its_report_in_a_sandbox(vera, quiet):
    page = vera.get(f"/releases/{quiet.shop.second.version}").text
    assert 'sandbox=""' in page
    report = vera.get(f"/releases/{quiet.shop.second.version}/report")
    policy = report.headers["content-security-policy"]
    assert policy.startswith("sandbox;")
    assert "'sha256-" in policy
    assert "unsafe" not in policy
    assert "<h1>Report of" in report.text
    assert vera.get("/releases/20260101T000000Z-000000000000").status_code == 404


def test_a_customer_is_explained_with_the_message_and_it_is_written_down_who_looked(vera, quiet):
    customer = known(quiet)
    page = vera.post("/customers", {"csrf": vera.csrf("/customers"), "customer": customer})
    assert page.status_code == 200, page.text
    for said in ("A server answers now", "Every arm", "What drives the risk", "What was decided before"):
        assert said in page.text
    assert ("vera", "customer", subject(quiet.shop.root, customer)) in looks(quiet)
    stranger = vera.post("/customers", {"csrf": vera.csrf("/customers"), "customer": "<b>nobody</b>"})
    assert "does not know this customer" in stranger.text
    assert "<b>nobody</b>" not in stranger.text


def test_what_cannot_be_written_down_is_not_shown(vera, quiet, monkeypatch):
    csrf = vera.csrf("/customers")

    def refuse(*_):
        raise StoreUnreachable("the bucket is away")

    monkeypatch.setattr(pages, "note_access", refuse)
    page = vera.post("/customers", {"csrf": csrf, "customer": known(quiet)})
    assert page.status_code == 503
    assert "What drives the risk" not in page.text


@pytest.mark.parametrize("key", ["", "churn_wrong", "crm", "revoked"])
def test_a_wrong_key_gets_no_session(quiet, key):
    clear = quiet.shop.keys.get(key, key)
    answer = quiet.browser().post("/login", {"key": clear})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert ("", "login refused", "") in looks(quiet)
    assert not clear or clear not in answer.text


def test_tries_to_log_in_are_few(desk):
    browser = desk.browser()
    codes = [browser.post("/login", {"key": f"churn_{n}"}).status_code for n in range(15)]
    assert codes[0] == 401
    assert codes[-1] == 429


def test_the_cookie_is_for_this_page_alone_and_new_at_every_login(quiet):
    browser = quiet.browser()
    first = browser.post("/login", {"key": quiet.shop.keys["vera"]}).headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=Strict", "Path=/console", "Max-Age=7200"):
        assert part in first
    assert "Secure" not in first, "on loopback there is no TLS"
    told = browser.post("/login", {"key": quiet.shop.keys["vera"]}, **{"x-forwarded-proto": "https"})
    second = told.headers["set-cookie"]
    assert "Secure" in second
    assert first.split(";")[0] != second.split(";")[0]
    old = quiet.browser()
    answer = old.client.get("/console/releases", headers={"cookie": first.split(";")[0]})
    assert answer.status_code == 303, "the session before is over"


def test_beyond_loopback_a_session_needs_tls_and_the_login_says_so(quiet):
    far = WithConsole(quiet.app._api, Console(quiet.place, loopback=False), quiet.parts)
    client = TestClient(far, base_url="http://retention.example", follow_redirects=False)
    assert "came without TLS" in client.get("/console/login").text
    assert "came without TLS" not in client.get("/console/login", headers={"x-forwarded-proto": "https"}).text
    headers = {"origin": "http://retention.example"}
    answer = client.post("/console/login", data={"key": quiet.shop.keys["vera"]}, headers=headers)
    assert "; Secure" in answer.headers["set-cookie"]


def test_logging_out_ends_the_session_and_not_only_the_cookie(quiet):
    browser = quiet.browser().log_in("vera")
    cookie = browser.client.cookies["churn_console"]
    answer = browser.post("/logout", {"csrf": browser.csrf()})
    assert answer.status_code == 303
    assert "Max-Age=0" in answer.headers["set-cookie"]
    again = quiet.browser().client.get("/console/releases", headers={"cookie": f"churn_console={cookie}"})
    assert again.status_code == 303


def test_a_session_ends_by_its_time_and_with_its_key(desk):
    browser = desk.browser().log_in("vera")
    cookie = browser.client.cookies["churn_console"]
    csrf = browser.csrf()
    desk.later = timedelta(minutes=121)
    late = desk.browser().client.post(
        "/console/customers", data={"csrf": csrf, "customer": "x"},
        headers={"cookie": f"churn_console={cookie}", "origin": "http://127.0.0.1:8080"},
    )  # fmt: skip
    assert (late.status_code, late.headers["location"]) == (303, "/console/login")
    desk.later = timedelta(0)
    desk.shop.revoke("vera")
    desk.place.sessions._keys._look_at = 0.0
    assert browser.get("/releases").status_code == 303


SPOILS = (
    lambda c: c[:-1] + ("0" if c[-1] != "0" else "1"),
    lambda c: "A" + c[1:],
    lambda c: "x",
    lambda c: ".",
)


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_forged_cookie_is_nobody(quiet, spoil):
    browser = quiet.browser().log_in("vera")
    cookie = spoil(browser.client.cookies["churn_console"])
    answer = quiet.browser().client.get("/console/releases", headers={"cookie": f"churn_console={cookie}"})
    assert answer.status_code == 303


def test_a_form_from_elsewhere_is_refused(vera):
    form = {"csrf": vera.csrf(), "customer": "x"}
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        answer = vera.client.post("/console/customers", data=form, headers=headers)
        assert answer.status_code == 403, headers
    assert vera.client.post("/console/customers", data=form).status_code == 403, "no origin at all"
    other = vera.served.browser().log_in("anna").csrf()
    assert vera.post("/customers", {"csrf": other, "customer": "x"}).status_code == 403
    assert vera.post("/customers", {"customer": "x"}).status_code == 403


def test_a_viewer_does_nothing(vera, quiet):
    form = {"csrf": vera.csrf(), "act": "stop", "expected": "0", "reason": "I would like to"}
    assert vera.post("/acts", form).status_code == 403
    assert vera.post("/requests/1", {"csrf": form["csrf"], "answer": "approve"}).status_code == 403
    assert not quiet.parts.switch.stopped
    assert "Who looked at what" not in vera.get("/audit").text


def test_what_is_no_form_or_too_large_or_of_another_method_is_refused(vera):
    origin = vera.origin
    post = vera.client.post
    assert post("/console/acts", json={"act": "stop"}, headers=origin).status_code == 415
    assert post("/console/acts", data={"reason": "x" * (LARGEST_FORM + 1)}, headers=origin).status_code == 413
    assert vera.client.put("/console/acts", headers=origin).status_code == 405
    assert vera.get("/acts").status_code == 405
    assert vera.get("/nothing").status_code == 404
    assert vera.client.head("/console/releases").content == b""


def test_the_api_goes_on_beside_it_and_a_persons_key_does_not_open_it(quiet, vera):
    assert vera.client.get("/v2/health/live").json() == {"live": True}
    ring = Keyring(quiet.shop.key_file)
    assert ring.name_of(b"Bearer " + quiet.shop.keys["crm"].encode()) == "crm"
    assert ring.name_of(b"Bearer " + quiet.shop.keys["anna"].encode()) is None
