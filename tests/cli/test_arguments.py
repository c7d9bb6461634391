"""The scripts took arguments and ignored them: every parameter of every command must be read."""

import ast
import inspect
import textwrap

import pytest

from churn_assets.cli import app

COMMANDS = {command.callback.__name__: command.callback for command in app.registered_commands}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_argument_of_every_command_is_read_by_its_body(name):
    function = inspect.unwrap(COMMANDS[name])
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    read = {
        node.id
        for statement in tree.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    assert set(inspect.signature(function).parameters) <= read


def test_all_commands_are_looked_at():
    assert {"run", "releases", "show", "promote", "rollback", "checks", "decide"} <= set(COMMANDS)
