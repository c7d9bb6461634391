"""What counts as the source of a model: if it is left out, a changed model is taken for unchanged."""

import ast

import pytest

from churn_assets.gates.source import FLOW, JUDGES, PACKAGE, gate_sources, training_sources


def gates_imported_by(path):
    tree = ast.parse(path.read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return {module.rpartition(".")[2] for module in modules if module.startswith("churn_assets.gates.")}


@pytest.mark.parametrize("stage", [stage for stage in FLOW if stage not in ("store", "release")])
def test_every_gates_module_that_a_model_is_fitted_with_counts_as_its_source(stage):
    sources = training_sources(stage)
    library = [path for path in sources if path.parent.name in FLOW and path.name != "assets.py"]
    used = set().union(*(gates_imported_by(path) for path in library))
    counted = {path.stem for path in sources if path.parent == PACKAGE / "gates"}
    assert used - {"report"} <= counted  # a report's Gate and Outcome hold verdicts, and shape no model


def test_whatever_judges_counts_for_verdicts_and_never_for_training():
    for stage in FLOW[1:]:
        own = {path.name for path in (PACKAGE / stage).glob("*.py")} & JUDGES
        assert own <= {path.name for path in gate_sources(stage)}
        assert not JUDGES & {path.name for path in training_sources(stage) if path.parent.name in FLOW}


def test_the_decision_branch_does_not_count_for_messages():
    assert {path.relative_to(PACKAGE).parts[0] for path in training_sources("message")} == {
        "store", "customers", "offers", "message", "gates"
    }  # fmt: skip
