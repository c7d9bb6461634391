"""Every message of the page about one's own table is the message that is told."""

import re
from pathlib import Path

import pytest
import yaml

from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.table import CustomerTableError, read_customers
from churn_assets.offers.config import OfferLogConfig

PAGE = (Path(__file__).parents[2] / "docs" / "own-table.md").read_text()
PAIRS = re.findall(r"^```csv\n(.*?)^```\n\n```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CONFIG, MONTHLY, DATABASES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_has_tables_with_messages():
    assert len(PAIRS) >= 7


@pytest.mark.parametrize(("table", "told"), PAIRS)
def test_the_message_of_a_table_is_the_one_on_the_page(tmp_path, table, told):
    (tmp_path / "customers.csv").write_text(table)
    with pytest.raises(CustomerTableError) as refused:
        read_customers(CustomersConfig.model_validate(yaml.safe_load(CONFIG)), seed=1, root=tmp_path)
    assert str(refused.value).splitlines() == told.splitlines()


@pytest.mark.parametrize("example", re.findall(r"^\| .*? \| `(\w+: .*?)`", PAGE, re.MULTILINE))
def test_an_example_of_the_config_is_one(example):
    written = yaml.safe_load(example)
    base = yaml.safe_load(CONFIG) | {"as_of": "2026-01-01"}
    if "monthly_revenue" not in written:
        written.setdefault("label", base["label"])
    CustomersConfig.model_validate(base | written)


def test_the_monthly_table_on_the_page_is_what_an_experiment_takes():
    assert CustomersConfig.model_validate(yaml.safe_load(MONTHLY)).row_date == "month"


def test_the_tables_of_databases_on_the_page_are_what_an_experiment_takes():
    written = yaml.safe_load(DATABASES)
    customers = CustomersConfig.model_validate(yaml.safe_load(CONFIG) | written["customers"])
    log = OfferLogConfig.model_validate(written["offer_log"])
    assert str(customers.source) == "postgresql://warehouse.example:5432/shop: crm.customers"
    assert str(log.decisions.outcomes) == "bigquery://my-project: crm.outcomes"
