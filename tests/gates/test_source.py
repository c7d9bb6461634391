"""What counts as the source of a model: if it is left out, a changed model is taken for unchanged."""

import ast

import pytest

from churn_assets.gates.source import FLOW, PACKAGE, training_sources


def gates_imported_by(path):
    tree = ast.parse(path.read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return {module.rpartition(".")[2] for module in modules if module.startswith("churn_assets.gates.")}


@pytest.mark.parametrize("stage", [stage for stage in FLOW if stage not in ("store", "message", "release")])
def test_every_gates_module_that_a_model_is_fitted_with_counts_as_its_source(stage):
    sources = training_sources(stage)
    library = [path for path in sources if path.parent.name in FLOW and path.name != "assets.py"]
    used = set().union(*(gates_imported_by(path) for path in library))
    counted = {path.stem for path in sources if path.parent == PACKAGE / "gates"}
    assert used - {"report"} <= counted  # a report's Gate and Outcome hold verdicts, and shape no model
