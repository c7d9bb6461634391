"""The type checker follows a section from its class into a stage's body: a misspelt key fails before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

BODY = """
from churn_assets.customers.config import CustomersConfig
from churn_assets.flow.asset import Made, Step, asset
from churn_assets.flow.setting import Setting
from churn_assets.risk.config import RiskModelConfig

PRICE = Setting("customers.monthly_revenue", str)


def misspelt(step: Step[RiskModelConfig]) -> float:
    return step.config.gatez.min_auc


def as_another_type(step: Step[RiskModelConfig]) -> int:
    return step.read(PRICE)


@asset(config=CustomersConfig, format="", kinds=(), description="")
def of_another_section(step: Step[RiskModelConfig]) -> Made:
    return Made(step.config.gates.min_auc)
"""


def test_strict_typing_refuses_what_a_section_does_not_have(tmp_path):
    module = tmp_path / "body.py"
    module.write_text(BODY)
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", module]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert '"RiskModelConfig" has no attribute "gatez"' in found.stdout
    assert 'got "str", expected "int"' in found.stdout
    assert 'incompatible type "Callable[[Step[RiskModelConfig]], Made]"' in found.stdout
