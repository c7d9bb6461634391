"""What README and docs say is true: commands parse, links lead somewhere, names are those of the code."""

import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import get_args

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import typer
import yaml

from churn_assets.batch.config import CustomerDecisionsConfig
from churn_assets.cli import app, errors
from churn_assets.customers.table import EMBEDDED, read_customers
from churn_assets.definitions import build_defs
from churn_assets.experiment import Experiment, StoreConfig, load_experiment
from churn_assets.flow.check import LOADS_AND_AGREES
from churn_assets.flow.registry import registry
from churn_assets.offers.config import COLUMNS
from churn_assets.offers.economics import catalogue
from churn_assets.offers.log import read_log
from churn_assets.store import cache, location, signatures
from churn_assets.store import errors as store_errors

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LARGEST_PICTURE = 250_000  # bytes
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page, language):
    return [body for found, body in FENCE.findall(page.read_text()) if found == language]


def prose(page):
    return FENCE.sub("", page.read_text())


def commands():
    lines = [(page.name, line) for page in PAGES for body in blocks(page, "sh") for line in body.splitlines()]
    return [pytest.param(line, id=f"{name}: {line}") for name, line in lines if line.strip()]


def new_experiments():
    """Experiments that a reader makes with `cp configs/a.yaml configs/b.yaml`."""
    words = [shlex.split(line.values[0]) for line in commands()]
    return {Path(each[-1]).stem for each in words if each[0] == "cp"}


def parsed(arguments):
    """The context of a `churn` command line, parsed by the real command and not run."""
    group = typer.main.get_command(app)
    with group.make_context("churn", list(arguments)) as context:
        while hasattr(group, "resolve_command"):
            name, group, rest = group.resolve_command(context, [*context._protected_args, *context.args])
            context = group.make_context(name, rest, parent=context)
        return context


@pytest.mark.parametrize("line", commands())
def test_every_command_is_one_that_exists(line):
    program, *arguments = shlex.split(line)
    if Path(program).name == "churn":
        given = parsed(arguments).params
        known = {path.stem for path in (ROOT / "configs").glob("*.yaml")} | new_experiments()
        assert given.get("experiment", "quickstart") in known
    elif program == "make":
        done = subprocess.run([program, "-n", *arguments], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif program == "cp":
        assert (ROOT / arguments[0]).is_file()
    elif program.endswith("python"):
        module = arguments[arguments.index("-m") + 1]
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
    else:
        assert line == ". .venv/bin/activate"


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_picture_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        place = page.parent / file if file else page
        assert place.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", place.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), target


def test_pictures_are_small():
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size < LARGEST_PICTURE, picture.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_config_key_that_is_named_exists(page):
    for name in re.findall(r"`((?:\w+\.)+\w+)(?::[^`]*)?`", prose(page)):
        section, *keys = name.split(".")
        model = Experiment.model_fields.get(section)
        if model is None:
            continue
        for key in keys:
            section = next(
                kind for kind in (*get_args(model.annotation), model.annotation) if kind is not type(None)
            )
            fields = section.model_fields
            assert key in fields, name
            model = fields[key]


def test_the_page_of_gates_names_every_check_of_every_asset():
    rows = re.findall(
        r"^\|([^|]*)\| `(\w+)` \|", (ROOT / "docs" / "how-it-works.md").read_text(), re.MULTILINE
    )
    told, asset = {}, ""
    for named, check in rows:
        asset = named.strip(" `") or asset
        told.setdefault(asset, set()).add(check)
    everywhere, compared = told.pop("every one"), told.pop("models of the decision branch")
    assert everywhere == {LOADS_AND_AGREES}
    real = {asset.name: {spec.name for spec in asset.checks} for asset in registry().assets}
    assert told == {name: checks - compared for name, checks in real.items()}
    assert {name for name, checks in real.items() if checks & compared} == {
        "risk_model", "accept_model", "effect_model", "ppo_decision",
    }  # fmt: skip


def test_the_table_of_exit_codes_is_that_of_the_command():
    told = re.findall(r"^\| (\d+) \| ", (ROOT / "README.md").read_text(), re.MULTILINE)
    failures = [errors.REFUSED, errors.USAGE, errors.STORE, errors.RUN_FAILED, errors.PARTLY, errors.MACHINE]
    assert [int(code) for code in told] == [0, *failures, errors.BUG]


def test_the_store_page_imports_what_exists():
    for body in blocks(ROOT / "docs" / "store.md", "python"):
        exec("\n".join(line for line in body.splitlines() if line.startswith(("from ", "import "))), {})


def test_the_demo_writes_where_the_readme_says():
    recipe = subprocess.run(
        ["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "--out .churn/demo/report.html" in recipe
    assert "`.churn/demo/report.html`" in (ROOT / "README.md").read_text()


def test_the_launchpad_example_is_config_of_its_job():
    example, *_ = blocks(ROOT / "docs" / "operations.md", "yaml")
    config = yaml.safe_load(example)
    job = build_defs().resolve_job_def("promote")
    assert dg.validate_run_config(job, config)["ops"]["promote_release"]["config"]["actor"] == "ann"


def test_the_settings_of_the_cache_and_the_uri_are_those_of_the_code():
    page = (ROOT / "docs" / "store.md").read_text()
    assert {"CHURN_CACHE_DIR", "CHURN_CACHE_BYTES"} == {cache.FOLDER, cache.LIMIT}
    for variable in (cache.FOLDER, cache.LIMIT, location.STORE_VARIABLE, location.SHARED_VARIABLE):
        assert f"`{variable}" in page


def test_the_policy_of_signatures_on_the_store_page_is_one():
    (example,) = blocks(ROOT / "docs" / "store.md", "yaml")
    section = yaml.safe_load(example)["store"]
    for key in section["trusted_keys"]:
        key["public"] = signatures.new_signing_key()[1]
    policy = StoreConfig.model_validate(section)
    assert policy.require_signatures
    page = (ROOT / "docs" / "store.md").read_text()
    assert all(f"`{variable}`" in page for variable in signatures.PRIVATE_KEYS.values())


def test_the_table_of_store_errors_is_complete():
    table = (ROOT / "docs" / "store.md").read_text().split("## Errors")[1]
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))))
    real = {
        name
        for name, found in vars(store_errors).items()
        if isinstance(found, type) and issubclass(found, store_errors.StoreError)
    }
    assert told == real - {
        "StoreError",
        "ContentError",
        "ObjectExists",
    }  # bases, and what never leaves the store


def test_the_section_of_waves_is_one():
    _, example, *_ = blocks(ROOT / "docs" / "operations.md", "yaml")
    section = CustomerDecisionsConfig.model_validate(yaml.safe_load(example)["customer_decisions"])
    assert set(section.model_dump()) == set(yaml.safe_load(example)["customer_decisions"]), "all of its keys"


def test_own_data_are_read_as_the_example_says(tmp_path):
    *_, example = blocks(ROOT / "docs" / "operations.md", "yaml")
    (tmp_path / "broadband.yaml").write_text(example)
    experiment = load_experiment("broadband", tmp_path)
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    accounts = [f"{number:05}" for number in range(200)]
    pd.DataFrame(
        {
            "account": accounts,
            "left": rng.integers(0, 2, 200),
            "list_price": rng.uniform(20, 90, 200),
            "postcode": rng.integers(10_000, 99_999, 200),
            "paid_so_far": rng.uniform(0, 900, 200),
            "plan": rng.integers(1, 4, 200),
            "megabits": rng.choice([50.0, 250.0], 200),
        }
    ).to_parquet(tmp_path / experiment.customers.source)
    offer = rng.choice([0.0, 0.1, 0.2], 200)
    pd.DataFrame(
        {
            "account": accounts,
            "sent_at": pd.date_range("2026-01-05", periods=200, freq="h").map(pd.Timestamp.isoformat),
            "offer_pct": offer,
            "propensity": np.where(offer == 0, 0.5, 0.25),
            "propensity_0": 0.5,
            "propensity_10": 0.25,
            "propensity_20": 0.25,
            "policy_version": "rules-3",
            "prior_offers": 0,
            "accepted": (offer > 0.1).astype(int),
            "churned": 0,
            "margin": 12.5,
        }
    ).to_csv(tmp_path / experiment.offer_log.source, index=False)

    customers = read_customers(experiment.customers, seed=experiment.seed, root=tmp_path)
    arms = catalogue(experiment.arms, experiment.economics)
    log = read_log(tmp_path / experiment.offer_log.source, experiment.offer_log.columns, customers.ids, arms)

    kinds = {feature.name: feature.kind for feature in customers.schema.features}
    assert kinds == {"list_price": "numeric", "plan": "categorical", "megabits": "numeric"}
    assert set(arms.menu(experiment.ppo_decision.menu).ids) <= set(log.menu.ids)
    assert not log.simulated


def test_the_documented_log_columns_are_the_contract():
    table = (ROOT / "docs" / "operations.md").read_text().split("**Offer log.**")[1]
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))))
    assert told == {*COLUMNS, "propensity_no_contact", "propensity_percent_10"}


def test_the_embedded_table_is_where_the_readme_says():
    assert EMBEDDED["telco"] == ROOT / "data" / "telco_customer_churn.csv"
    rows = f"{len(pd.read_csv(EMBEDDED['telco'])):,} rows"
    assert rows in (ROOT / "README.md").read_text()


def test_folders_of_the_readme_stand_in_flow_order():
    (layout,) = [body for body in blocks(ROOT / "README.md", "") if "churn_assets/" in body]
    places = [layout.index(f"{stage}/") for stage in ("store", *registry().stages)]
    assert all(left < right for left, right in pairwise(places))
