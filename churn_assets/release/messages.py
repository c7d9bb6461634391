"""Messages of a loaded release: whoever is made an offer gets a text that may be sent. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from churn_assets.message.model.writing import Message, Situation, template_message, write_messages
from churn_assets.message.text.profile import Offer, Profile, profiles_of
from churn_assets.message.text.safety import Request, Safety

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.customers.schema import CustomerSchema
    from churn_assets.customers.table import CustomerTable
    from churn_assets.message.model.generation import Writer
    from churn_assets.message.model.language_model import LanguageModel
    from churn_assets.release.bundle import Writing

# What a discount is on where no profile says what the customer pays for.
WHOLE_BILL = "monthly bill"


@dataclass(frozen=True, eq=False)
class MessageDesk:
    """Writes the messages of one release, on one device.

    Attributes:
        writing: Its rules.
        model: Its language model; None where the release has no message branch: then every text is the template.
        device: Where the model runs.
    """

    writing: Writing
    model: LanguageModel | None
    device: str = "cpu"

    @cached_property
    def safety(self) -> Safety:
        """The rules, ready to judge texts."""
        profile = self.writing.profile
        return Safety(self.writing.safety, (WHOLE_BILL,) if profile is None else profile.service_texts)

    @cached_property
    def _writer(self) -> Writer | None:
        from churn_assets.message.model.generation import Writer

        return None if self.model is None else Writer.of(self.model, self.device)

    def situations(self, table: CustomerTable, offers: Sequence[float]) -> list[Situation]:
        """Each customer with the discount (a share of the list price) that they are offered.

        Raises:
            ProfileError: No service fits a customer.
        """
        profiles = (
            {
                str(customer): Profile(WHOLE_BILL, float(price))
                for customer, price in zip(table.ids, table.price, strict=True)
            }
            if self.writing.profile is None
            else profiles_of(table, self.writing.profile)
        )
        pairs = zip(map(str, table.ids), offers, strict=True)
        return [
            Situation(customer, profiles[customer], Offer(float(pct), self.writing.months))
            for customer, pct in pairs
        ]

    def write(
        self,
        situations: Sequence[Situation],
        *,
        n: int = 1,
        request: Request | None = None,
        deadline_s: float | None = None,
    ) -> list[list[Message]]:
        """`n` messages for each situation; the template stands in where the model may not speak, or has no time left.

        Raises:
            TemplateError: The template breaks a rule itself.
        """
        if self._writer is None:
            return [[template_message(each, self.safety, request)] for each in situations]
        return write_messages(
            self._writer,
            situations,
            self.safety,
            seed=self.writing.seed,
            max_new_tokens=self.writing.max_new_tokens,
            sampling=self.writing.sampling,
            n=n,
            request=request,
            deadline_s=deadline_s,
        )


def messages_for(
    raw: pd.DataFrame, decided: pd.DataFrame, schema: CustomerSchema, desk: MessageDesk
) -> pd.DataFrame:
    """What to send to everybody who is made an offer, with the placeholder of the name.

    Args:
        raw: Customers as they came in.
        decided: What was decided for them, in the same order.
        schema: What the release takes for a customer.
        desk: The release's.

    Returns:
        One row a customer: `message` (empty without an offer), `written_by` (`model`, `template` or empty) and
        `refused_because` (rules that the model's text broke).
    """
    import pandas as pd

    from churn_assets.customers.table import prepare

    offered = (decided["offer_pct"] > 0).to_numpy()
    rows = pd.DataFrame({"message": "", "written_by": "", "refused_because": ""}, index=decided.index)
    if offered.any():
        table = prepare(raw, schema).where(offered)
        situations = desk.situations(table, decided["offer_pct"].to_numpy()[offered].tolist())
        written = [each[0] for each in desk.write(situations)]
        rows.loc[offered, "message"] = [each.sent.text for each in written]
        rows.loc[offered, "written_by"] = [each.sent.written_by for each in written]
        rows.loc[offered, "refused_because"] = [", ".join(each.sent.verdict.rules) for each in written]
    return rows
