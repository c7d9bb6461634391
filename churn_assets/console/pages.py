"""The pages of the console and what their forms do: who may see what, in which order it is checked and written down."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from churn_assets.console.approvals import ActRequest, ApprovalError, answer_request, requests_in
from churn_assets.console.asked import (
    COOKIE,
    PATH,
    BrowserRequest,
    ConsoleAnswer,
    ConsoleRefusal,
    see_other,
)
from churn_assets.console.deeds import (
    END_TRIAL,
    LEAST_REASON,
    MOST_REASON,
    SWITCHED,
    TRIALS,
    Deed,
    approve_and_do,
    do_or_ask,
)
from churn_assets.console.lookup import CustomerBook, look_up
from churn_assets.console.plots import PlotPoint, line_plot
from churn_assets.console.rendering import page, report_policy, style_sheet
from churn_assets.console.results import LiveResults, decided_in_trial, live_results, spending
from churn_assets.console.summaries import ReleaseSummary, Summaries
from churn_assets.customers.names import names_of
from churn_assets.monitoring.reigns import reign_of
from churn_assets.offers.decision_index import DecisionFilter
from churn_assets.offers.decision_search import of_customer
from churn_assets.privacy.audit import subject
from churn_assets.release.bundle import RELEASE, RELEASE_ASSET
from churn_assets.release.report.trend import trends_by_figure
from churn_assets.release.trial import trial_now
from churn_assets.serving.config import Act
from churn_assets.serving.security import RateLimit
from churn_assets.serving.switch import is_stopped
from churn_assets.store.access import AccessRecord, looks_on, note_access
from churn_assets.store.errors import (
    ChannelConflict,
    InvalidName,
    InvalidSetting,
    PromotionRefused,
    StoreError,
)
from churn_assets.store.privacy_key import privacy_key
from churn_assets.store.reference import ArtifactRef

if TYPE_CHECKING:
    from churn_assets.console.place import ConsolePlace
    from churn_assets.console.sessions import ConsoleSession
    from churn_assets.store.channels import ChannelRecord

Needed = Literal["nobody", "viewer", "promoter"]
"""Who may see a page: anybody, whoever is logged in, or whoever may promote."""

_LOGINS_PER_SECOND, _LOGINS_AT_ONCE = 0.2, 10
_REQUESTS_PER_SECOND, _REQUESTS_AT_ONCE = 10.0, 100
MOST_DECISIONS = 100
"""Decisions that one search shows."""
_NOTICES = {
    "done": "It is done and written down.",
    "asked": "Asked for. Another person approves it below.",
    "declined": "The request is declined.",
    "out": "You are logged out.",
}


_NO_TLS = "This page came without TLS, and beyond this machine a session needs it: open it by https."


@dataclass(frozen=True)
class _Route:
    method: str
    path: re.Pattern[str]
    answer: Callable[..., ConsoleAnswer]
    needed: Needed


class Console:
    """Answers what browsers ask; one request at a time needs no lock, several threads may ask at once.

    Args:
        place: Where it acts.
        loopback: Whether only this machine reaches the server, so that no TLS is between.
    """

    def __init__(self, place: ConsolePlace, *, loopback: bool) -> None:
        self._place = place
        self._loopback = loopback
        self._logins = RateLimit(_LOGINS_PER_SECOND, _LOGINS_AT_ONCE)
        self._rate = RateLimit(_REQUESTS_PER_SECOND, _REQUESTS_AT_ONCE)
        self._summaries = Summaries()
        self._customers = CustomerBook()
        self._live_known: tuple[tuple[int, int, str], LiveResults] | None = None
        version = r"(?P<version>[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12})"
        pages: tuple[tuple[str, str, Callable[..., ConsoleAnswer], Needed], ...] = (
            ("GET", "", self._start, "viewer"),
            ("GET", "/console.css", self._style, "nobody"),
            ("GET", "/login", self._login, "nobody"),
            ("POST", "/login", self._logged_in, "nobody"),
            ("POST", "/logout", self._logged_out, "viewer"),
            ("GET", "/releases", self._releases, "viewer"),
            ("GET", f"/releases/{version}", self._release, "viewer"),
            ("GET", f"/releases/{version}/report", self._report, "viewer"),
            ("POST", "/acts", self._act, "promoter"),
            ("POST", r"/requests/(?P<seq>[0-9]{1,9})", self._answer_request, "promoter"),
            ("GET", "/trial", self._trial, "viewer"),
            ("GET", "/live", self._live, "viewer"),
            ("GET", "/spend", self._spend, "viewer"),
            ("GET", "/customers", self._customer_form, "viewer"),
            ("POST", "/customers", self._customer, "viewer"),
            ("GET", "/decisions", self._decision_form, "viewer"),
            ("POST", "/decisions", self._decisions, "viewer"),
            ("GET", "/audit", self._audit, "viewer"),
        )
        self._routes = [
            _Route(method, re.compile(path), answer, needed) for method, path, answer, needed in pages
        ]

    def answer(self, request: BrowserRequest) -> ConsoleAnswer:
        """The answer, whatever is asked; a refusal is a page of its own.

        Raises:
            OSError: The machine said no.
        """
        session = self._place.sessions.read(request.cookie, self._place.now())
        try:
            return self._answered(request, session)
        except ConsoleRefusal as refusal:
            return self._refused(refusal, session)
        except (ChannelConflict, ApprovalError) as error:
            return self._refused(ConsoleRefusal(409, "Not done", str(error)), session)
        except (PromotionRefused, InvalidSetting) as error:
            return self._refused(ConsoleRefusal(422, "Refused", str(error)), session)
        except StoreError as error:
            # Whoever is not logged in is told no more than that.
            said = str(error) if session else type(error).__name__
            return self._refused(ConsoleRefusal(503, "The store does not answer as it should", said), session)

    def refused(self, refusal: ConsoleRefusal) -> ConsoleAnswer:
        """The page of a request that could not even be read."""
        return self._refused(refusal, None)

    def _answered(self, request: BrowserRequest, session: ConsoleSession | None) -> ConsoleAnswer:
        who = session.name if session else request.address
        if self._rate.wait(f"{'key' if session else 'address'} {who}"):
            raise ConsoleRefusal(429, "Too many requests", "Wait a moment.", {"retry-after": "1"})
        route, named = self._route(request)
        if request.method == "POST":
            self._refuse_forged(request, session, login=route.needed == "nobody")
        if route.needed != "nobody" and session is None:
            return see_other(f"{PATH}/login")
        if route.needed == "promoter" and not (session and session.promotes):
            raise ConsoleRefusal(
                403, "Not yours to do", "Your key looks and does not promote (role: viewer)."
            )
        return route.answer(request, session, **named)

    def _route(self, request: BrowserRequest) -> tuple[_Route, dict[str, str]]:
        below = request.path.removeprefix(PATH).rstrip("/")
        found = [(route, match) for route in self._routes if (match := route.path.fullmatch(below))]
        for route, match in found:
            if route.method == request.method:
                return route, match.groupdict()
        if found:
            raise ConsoleRefusal(405, "Not here", f"Found {request.method}.", {"allow": found[0][0].method})
        raise ConsoleRefusal(404, "No such page", "Go to the releases.")

    def _refuse_forged(self, request: BrowserRequest, session: ConsoleSession | None, *, login: bool) -> None:
        """A form counts only from a page of this server, and of this very session."""
        if not request.same_origin:
            raise ConsoleRefusal(
                403, "Not from this page", "The form came from another place: open the page here."
            )
        if login or session is None:  # whoever is not logged in is sent to the login
            return
        if request.form.get("csrf", "") != session.csrf:
            raise ConsoleRefusal(
                403, "Not from this session", "The form is of another session: open the page again."
            )

    def _refused(self, refusal: ConsoleRefusal, session: ConsoleSession | None) -> ConsoleAnswer:
        body = self._page("refused", session, title=refusal.title, refusal=refusal)
        return ConsoleAnswer(body, refusal.status, headers=refusal.headers)

    def _page(self, name: str, session: ConsoleSession | None, *, title: str, **told: Any) -> bytes:
        switch, served = self._place.parts.switch, self._place.parts.follower.served
        return page(
            name,
            title=title,
            session=session,
            path=PATH,
            here=name,
            experiment=self._place.experiment.name,
            channel=self._place.channel.name,
            stopped=switch.stopped,
            stopped_by=switch.newest if is_stopped(switch.newest) and not switch.always else None,
            answering=served.ref.version if served else "",
            **told,
        )

    def _noted(self, session: ConsoleSession | None, what: str, whom: str = "") -> None:
        """Written down before anything is shown; what cannot be written down is not shown."""
        named = subject(self._place.root, whom, privacy_key(os.environ)) if whom else ""
        who, now = session.name if session else "", self._place.now()
        record = AccessRecord(who=who, what=what, whom=named, at=now)
        note_access(self._place.store.backend, self._place.experiment.name, record)

    # --- logging in and out

    def _start(self, *_: object) -> ConsoleAnswer:
        return see_other(f"{PATH}/releases")

    def _style(self, *_: object) -> ConsoleAnswer:
        headers = {"cache-control": "max-age=300"}
        return ConsoleAnswer(style_sheet(), kind="text/css; charset=utf-8", headers=headers)

    def _login(self, request: BrowserRequest, session: ConsoleSession | None) -> ConsoleAnswer:
        if session is not None:
            return see_other(f"{PATH}/releases")
        notice = _NOTICES.get(request.query.get("notice", ""), "")
        wrong = "" if self._loopback or request.encrypted else _NO_TLS
        return ConsoleAnswer(self._page("login", None, title="Log in", notice=notice, wrong=wrong))

    def _logged_in(self, request: BrowserRequest, session: ConsoleSession | None) -> ConsoleAnswer:
        wait = self._logins.wait(request.address)
        if wait:
            headers = {"retry-after": str(int(wait) + 1)}
            raise ConsoleRefusal(429, "Too many tries", f"Try again in {int(wait) + 1} seconds.", headers)
        sessions, now = self._place.sessions, self._place.now()
        key = sessions.key_of(request.form.get("key", ""))
        if key is None:
            self._noted(None, "login refused")
            body = self._page(
                "login", None, title="Log in", notice="", wrong="No good key that opens the console."
            )
            return ConsoleAnswer(body, 401)
        if session is not None:
            sessions.end(session, now)
        cookie = sessions.opened(key, now)
        self._noted(sessions.read(cookie, now), "logged in")
        return see_other(f"{PATH}/releases", self._cookie(cookie, sessions.seconds, request))

    def _logged_out(self, request: BrowserRequest, session: ConsoleSession) -> ConsoleAnswer:
        self._place.sessions.end(session, self._place.now())
        self._noted(session, "logged out")
        return see_other(f"{PATH}/login?notice=out", self._cookie("", 0, request))

    def _cookie(self, value: str, seconds: int, request: BrowserRequest) -> dict[str, str]:
        secure = "; Secure" if request.encrypted or not self._loopback else ""
        told = f"{COOKIE}={value}; Path={PATH}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
        return {"set-cookie": told}

    # --- releases

    def _releases(self, request: BrowserRequest, session: ConsoleSession) -> ConsoleAnswer:
        place, head = self._place, self._place.channel.head()
        found = self._summaries.newest(place, head)
        trends = trends_by_figure([each.trend for each in reversed(found) if each.trend])
        switch = place.switch.head()
        body = self._page(
            "releases",
            session,
            title="Releases",
            notice=_NOTICES.get(request.query.get("notice", ""), ""),
            head=head,
            releases=found,
            plots=[
                line_plot(
                    name,
                    [PlotPoint(_day(release.made), *f.ends) for release, f in points],
                    place.experiment.economics.currency if points[0][1].amount.unit.endswith("money") else "",
                )
                for name, points in trends.items()
            ],
            requests=self._open_requests(),
            can_go_back=self._can_go_back(),
            switch_seq=0 if switch is None else switch.seq,
            two_persons=place.config.needing_two,
            least_reason=LEAST_REASON,
        )
        return ConsoleAnswer(body)

    def _can_go_back(self) -> bool:
        history = self._place.channel.history()
        return len({record.release for record in history}) > 1

    def _open_requests(self) -> list[ActRequest]:
        return [each for each in self._all_requests() if each.state == "open"]

    def _all_requests(self) -> list[ActRequest]:
        return requests_in(self._place.requests.history(), self._place.lasts, self._place.now())

    def _release(self, request: BrowserRequest, session: ConsoleSession, version: str) -> ConsoleAnswer:
        place, head = self._place, self._place.channel.head()
        summary = self._summary(version, head)
        led = [record for record in place.channel.history() if record.ref == summary.ref]
        leads = head is not None and head.ref == summary.ref
        body = self._page(
            "release",
            session,
            title=f"Release {version}",
            notice=_NOTICES.get(request.query.get("notice", ""), ""),
            summary=summary,
            head=head,
            leads=leads,
            led=led,
            requests=[each for each in self._open_requests() if each.release == str(summary.ref)],
            two_persons=place.config.needing_two,
            least_reason=LEAST_REASON,
            trial=trial_now(place.store, place.channel, place.now()),
            policy=place.experiment.automation.promotion.trial,
            currency=place.experiment.economics.currency,
        )
        return ConsoleAnswer(body)

    def _summary(self, version: str, head: ChannelRecord | None) -> ReleaseSummary:
        ref = ArtifactRef(self._place.experiment.name, RELEASE_ASSET, version)
        if not self._place.store.exists(ref):
            raise ConsoleRefusal(404, "No such release", f"Found no release {version}; look at the releases.")
        return self._summaries.of(self._place, ref, head)

    def _report(self, *_: object, version: str) -> ConsoleAnswer:
        ref = ArtifactRef(self._place.experiment.name, RELEASE_ASSET, version)
        if not self._place.store.exists(ref):
            raise ConsoleRefusal(404, "No such release", f"Found no release {version}.")
        report = self._place.store.load(ref, RELEASE).report
        if not report:
            raise ConsoleRefusal(
                404, "No report", "This release was stored without one: `churn report` makes it."
            )
        return ConsoleAnswer(report.encode(), headers={"content-security-policy": report_policy(report)})

    # --- acts

    def _act(self, request: BrowserRequest, session: ConsoleSession) -> ConsoleAnswer:
        deed = self._deed(request, session)
        self._noted(session, deed.act)
        done = do_or_ask(self._place, deed)
        if done == "done":
            self._look_at_once(deed.act)
        return see_other(f"{PATH}/releases?notice={done}")

    def _deed(self, request: BrowserRequest, session: ConsoleSession) -> Deed:
        form = request.form
        act, reason, seq = form.get("act", ""), form.get("reason", "").strip(), form.get("expected", "")
        if act not in get_args(Act):
            raise ConsoleRefusal(422, "Not done", f"Found the act {act[:40]!r}, expected one of a form.")
        if not LEAST_REASON <= len(reason) <= MOST_REASON:
            said = (
                f"Found {len(reason)} characters, expected {LEAST_REASON} to {MOST_REASON}: why is it done?"
            )
            raise ConsoleRefusal(422, "A reason is missing", said)
        if not re.fullmatch(r"[0-9]{1,9}", seq):
            raise ConsoleRefusal(
                422, "Not done", "The form does not say which record it rests on: open the page again."
            )
        release = form.get("release", "")
        if act in ("promote", "begin_trial") or release:
            release = str(self._known(release))
        about_none = act in SWITCHED or act == END_TRIAL
        return Deed(cast("Act", act), "" if about_none else release, int(seq), session.name, reason)

    def _known(self, release: str) -> ArtifactRef:
        try:
            ref = ArtifactRef.parse(release)
        except InvalidName:
            ref = None
        ours = ref is not None and (ref.experiment, ref.asset) == (self._place.experiment.name, RELEASE_ASSET)
        if ref is None or not ours or not self._place.store.exists(ref):
            raise ConsoleRefusal(
                422, "No such release", f"Found no release {release[:200]!r} of this experiment."
            )
        return ref

    def _answer_request(self, request: BrowserRequest, session: ConsoleSession, seq: str) -> ConsoleAnswer:
        answer, place = request.form.get("answer", ""), self._place
        self._noted(session, f"{answer[:10]} request {seq}")
        if answer == "decline":
            reason = request.form.get("reason", "").strip()[:MOST_REASON]
            answer_request(
                place.requests,
                int(seq),
                approve=False,
                actor=session.name,
                lasts=place.lasts,
                now=place.now(),
                reason=reason,
            )
            return see_other(f"{PATH}/releases?notice=declined")
        if answer != "approve":
            raise ConsoleRefusal(422, "Not done", "Found neither approve nor decline.")
        done = approve_and_do(place, int(seq), session.name)
        self._look_at_once(done.act)
        return see_other(f"{PATH}/releases?notice=done")

    def _look_at_once(self, act: Act) -> None:
        """This worker knows of the switch before the next poll; a release is loaded by the loop that follows."""
        if act in SWITCHED:
            self._place.parts.switch.check()

    def _trial(self, _: BrowserRequest, session: ConsoleSession) -> ConsoleAnswer:
        place, now = self._place, self._place.now()
        trial, follower = trial_now(place.store, place.channel, now), place.parts.trial
        rows = []
        if trial is not None:
            with place.decisions() as index:
                rows = decided_in_trial(index.decided_by(trial.record.at), trial)
        body = self._page(
            "trial",
            session,
            title="Trial",
            trial=trial,
            rows=rows,
            served=None if follower is None else follower.answering,
            trouble=None if follower is None else follower.trouble,
            acts=list(reversed(place.trials.history())),
            requests=[each for each in self._open_requests() if each.act in TRIALS],
            two_persons=place.config.needing_two,
            least_reason=LEAST_REASON,
        )
        return ConsoleAnswer(body)

    # --- what the decision log tells

    def _live(self, _: BrowserRequest, session: ConsoleSession) -> ConsoleAnswer:
        place, head = self._place, self._place.channel.head()
        results = None if head is None else self._results(head)
        points = results.over_time if results else ()
        lift = [PlotPoint(_day(p.until), p.earned.lift.value, *p.earned.lift.interval) for p in points]
        body = self._page(
            "live",
            session,
            title="Live results",
            head=head,
            results=results,
            limits=place.experiment.automation.live,
            currency=place.experiment.economics.currency,
            plot=line_plot("Lift over no contact", lift, place.experiment.economics.currency)
            if lift
            else None,
            trouble=place.parts.follower.trouble,
            holdout=place.parts.rollout.holdout_share,
        )
        return ConsoleAnswer(body)

    def _results(self, head: ChannelRecord) -> LiveResults:
        """Worked out anew when a segment came or another day began: it reads every decision of the release."""
        place = self._place
        with place.decisions() as index:
            known = (head.seq, len(index.names()), f"{place.now():%Y%m%d}")
            if self._live_known is not None and self._live_known[0] == known:
                return self._live_known[1]
            reign = reign_of(head, place.trials.history())
            found = live_results(index, reign, place.experiment, place.now())
        self._live_known = (known, found)
        return found

    def _spend(self, _: BrowserRequest, session: ConsoleSession) -> ConsoleAnswer:
        place = self._place
        with place.decisions() as index:
            rows, decided = spending(index, place.experiment), index.decided()
        served = place.parts.follower.served
        curve = place.store.load(served.ref, RELEASE).tables.get("budget", []) if served else []
        body = self._page(
            "spend",
            session,
            title="Budgets and spend",
            rows=rows,
            months=[
                (month, int(part["n"].sum()), int(part["contacts"].sum()))
                for month, part in list(decided.groupby("month"))[::-1]
            ],
            curve=curve,
            currency=place.experiment.economics.currency,
        )
        return ConsoleAnswer(body)

    def _customer_form(self, _: BrowserRequest, session: ConsoleSession) -> ConsoleAnswer:
        body = self._page("customers", session, title="Customers", found=None, asked="")
        return ConsoleAnswer(body)

    def _customer(self, request: BrowserRequest, session: ConsoleSession) -> ConsoleAnswer:
        place, customer = self._place, request.form.get("customer", "").strip()
        if not 1 <= len(customer) <= 200:
            raise ConsoleRefusal(422, "No customer named", "Found no id of 1 to 200 characters.")
        served = place.parts.follower.served
        if served is None:
            raise ConsoleRefusal(503, "No release answers", "Promote a release, or see /v2/health/ready.")
        self._noted(session, "customer", customer)
        with place.decisions() as index:
            history = of_customer(index, names_of(customer), MOST_DECISIONS)
        parts, known = place.parts, self._customers.of(place.store, str(served.ref), served.bundle)
        rollout = parts.live_rollout
        found = look_up(known, served, customer, history, rollout, place.now())
        body = self._page("customers", session, title=f"Customer {customer}", found=found, asked=customer)
        return ConsoleAnswer(body)

    def _decision_form(self, _: BrowserRequest, session: ConsoleSession) -> ConsoleAnswer:
        return self._found_decisions(session, {}, DecisionFilter())

    def _decisions(self, request: BrowserRequest, session: ConsoleSession) -> ConsoleAnswer:
        asked = {name: request.form.get(name, "").strip()[:200] for name in _SEARCHED}
        since, until = _from(asked["since"]), _from(asked["until"])
        wanted = DecisionFilter(
            decision=asked["decision"],
            customer=asked["customer"],
            release=asked["release"],
            arm=asked["arm"],
            assigned=asked["assigned"],
            since=since,
            until=None if until is None else until + timedelta(days=1),
        )
        return self._found_decisions(session, asked, wanted)

    def _found_decisions(
        self, session: ConsoleSession, asked: dict[str, str], wanted: DecisionFilter
    ) -> ConsoleAnswer:
        self._noted(session, "decisions", wanted.customer)
        with self._place.decisions() as index:
            found, problems = index.search(wanted, MOST_DECISIONS), dict(index.problems)
        body = self._page(
            "decisions",
            session,
            title="Decisions",
            asked=dict.fromkeys(_SEARCHED, "") | asked,
            found=found,
            most=MOST_DECISIONS,
            problems=problems,
            currency=self._place.experiment.economics.currency,
        )
        return ConsoleAnswer(body)

    def _audit(self, request: BrowserRequest, session: ConsoleSession) -> ConsoleAnswer:
        place = self._place
        asked = _from(request.query.get("day", ""))
        day = (asked or place.now().astimezone(UTC)).date()
        looks = looks_on(place.store.backend, place.experiment.name, day) if session.promotes else []
        body = self._page(
            "audit",
            session,
            title="Audit trail",
            history=list(reversed(place.channel.history())),
            requests=self._all_requests(),
            switched=list(reversed(place.switch.history())),
            trials=list(reversed(place.trials.history())),
            day=day,
            looks=looks,
        )
        return ConsoleAnswer(body)


_SEARCHED = ("decision", "customer", "release", "arm", "assigned", "since", "until")


def _from(text: str) -> datetime | None:
    """The beginning of a day, UTC; None for an empty text.

    Raises:
        ConsoleRefusal: It is no day.
    """
    if not text:
        return None
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        raise ConsoleRefusal(
            422, "No day", f"Found {text[:40]!r}, expected a day such as 2026-11-30."
        ) from None


def _day(at: datetime | None) -> str:
    return "" if at is None else f"{at:%d %b %Y}"
