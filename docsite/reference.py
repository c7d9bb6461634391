"""The pages of reference, made from what they describe: config models, commands, the front door, the HTTP interface."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

FIELDS_WORDS = {
    "adam_beta2": "Decay of Adam's mean of squared gradients.",
    "algorithm": "What tunes the language model: `ppo` has a critic, `grpo` compares messages of one prompt.",
    "alpha": "Scale of the low-rank update, over its rank.",
    "batch_size": "Rows of a gradient step.",
    "center_rewards_coefficient": "Weight of the term that keeps rewards around zero.",
    "clip_range": "How far the ratio of new to old probability may move before it counts no more.",
    "column": "The column that says it.",
    "columns": "Columns of the log, by what they hold, where they have other names.",
    "discount_factor": "What a reward is worth a token later.",
    "end": "Hour of the day at which they end, by the customer's clock.",
    "entropy_start": "Weight of the entropy at the start; it falls to `entropy_end`.",
    "epochs": "How often every row is learned from.",
    "gae_lambda": "Decay of generalised advantage estimation: 1 trusts returns, 0 the critic.",
    "heads": "Attention heads of a layer.",
    "hidden_size": "Width of the model.",
    "intermediate_size": "Width of the feed-forward part of a layer.",
    "l2_regularization": "Ridge penalty on the values of leaves.",
    "layers": "Layers of the model.",
    "learning_rate": "Step size of the optimiser, or the weight of each tree.",
    "max_features": "Share of the features that each split may choose from.",
    "max_grad_norm": "Longest gradient; a longer one is shortened.",
    "max_iter": "Trees at most.",
    "max_kl": "Most KL divergence from the SFT model, nats a token.",
    "max_leaf_nodes": "Leaves of a tree at most.",
    "max_new_tokens": "Longest completion, in tokens.",
    "max_positions": "Longest text, in tokens.",
    "max_words": "Most words of a text.",
    "min_kl": "Least KL divergence from the SFT model, nats a token: below it nothing was learned.",
    "min_samples_leaf": "Customers in a leaf, at least.",
    "min_test": "Least pairs to test with.",
    "min_train": "Least pairs to train with.",
    "min_words": "Least words of a text.",
    "n_envs": "Customers that are played at once.",
    "n_epochs": "How often each rollout is learned from.",
    "n_steps": "Steps of each customer in a rollout.",
    "name": "Name of the model at its hub.",
    "net_arch": "Widths of the hidden layers.",
    "opt_out_phrases": "One of them is how a text says that the customer may say no.",
    "pressure_phrases": "Phrases that press; a text with one of them is refused.",
    "r": "Rank of the update.",
    "source": "Where it comes from.",
    "start": "Hour of the day at which they start, by the customer's clock.",
    "step_months": "Months between two decisions about one customer.",
    "target_modules": "Layers that are updated, by the end of their names.",
    "test": "Rows that only gates see.",
    "texts": "What is said, by the value of the column.",
    "train": "Rows to learn from.",
    "validation": "Rows that training watches itself by.",
    "value_clip_range": "How far the critic's value may move in one step.",
    "value_coef": "Weight of the critic's loss.",
    "weight_decay": "Decay of the weights in each step.",
}
"""Keys with one meaning wherever they stand, the field's own, which no model says again."""
_SECTION = re.compile(r"^(Attributes|Args|Returns|Raises|Example|Examples|Yields):$", re.MULTILINE)
_ENTRY = re.compile(r"^    (\*{0,2}\w+): (.*)$")


def attributes_of(docstring: str) -> dict[str, str]:
    """What the `Attributes:` or `Args:` of a docstring say, by name.

    >>> attributes_of('''What it is.
    ...
    ... Attributes:
    ...     seed: Of all that is drawn
    ...         at random.
    ... ''')
    {'seed': 'Of all that is drawn at random.'}
    """
    found: dict[str, str] = {}
    inside, name = False, ""
    for line in inspect.cleandoc(docstring).splitlines():
        if _SECTION.match(line):
            inside, name = line in ("Attributes:", "Args:"), ""
        elif inside and (entry := _ENTRY.match(line)):
            name, found[entry[1]] = entry[1], entry[2]
        elif inside and name and line.startswith("        "):
            found[name] += f" {line.strip()}"
    return found


def meaning_of(model: type[BaseModel], name: str) -> str:
    """What a key means, by the first that says it.

    The field's own description, the text below it, the docstring of its class or of a base, or what the section says of
    itself that stands there, or the field's own words; empty where nothing says it.
    """
    field = model.model_fields[name]
    bases = [each for each in model.__mro__ if issubclass(each, BaseModel) and each is not BaseModel]
    told = [field.description, *(texts_below(each).get(name) for each in bases)]
    told += [attributes_of(each.__doc__ or "").get(name) for each in bases]
    told += [_first(inner) for inner in _models(field.annotation)]
    return next(filter(None, told), FIELDS_WORDS.get(name, ""))


@cache
def texts_below(model: type[BaseModel]) -> dict[str, str]:
    """The text that stands below a field in the source of a class, by the field's name."""
    module = inspect.getmodule(model)
    tree = ast.parse(inspect.getsource(module)) if module else ast.Module([], [])
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == model.__name__:
            for field, below in pairwise(node.body):
                text = (
                    ast.get_docstring(ast.Module([below], [])) if isinstance(field, ast.AnnAssign) else None
                )
                if text and isinstance(field.target, ast.Name):
                    found[field.target.id] = " ".join(text.split())
    return found


def config_page() -> str:
    """Every key of an experiment, with kind, default and meaning."""
    from churn_assets.experiment import Experiment

    parts = [
        "# Config keys",
        "",
        (
            "One file of `configs/` is one experiment. Generated from the models that read it; a key that is not here "
            "is refused, with its file, its line and the nearest key."
        ),
    ]
    for path, model in sections(Experiment):
        parts += ["", f"## {f'`{path}`' if path else 'The experiment'}", "", _first(model), ""]
        rows = [
            [f"`{name}`", _kind(field), _default(field), meaning_of(model, name)]
            for name, field in model.model_fields.items()
        ]
        parts += _table(["Key", "Kind", "Default", "Meaning"], rows)
    return "\n".join(parts) + "\n"


def sections(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """A model and every model inside it, each with its path of keys."""
    yield path, model
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            at = f"{path}.{name}" if path else name
            variants = len(list(_models(field.annotation))) > 1
            yield from sections(inner, f"{at} ({inner.__name__})" if variants else at)


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    elif get_origin(kind) in (Union, UnionType, Annotated, tuple, list):
        for each in get_args(kind):
            yield from _models(each)


def _kind(field: FieldInfo) -> str:
    bounds = [bound for each in field.metadata if (bound := _bound(each))]
    return _cell(", ".join([_words(field.annotation), *bounds]))


def _words(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in get_args(kind))
    if origin is Annotated:
        return _words(get_args(kind)[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(each) for each in get_args(kind) if each is not NoneType))
    if origin is not None:
        inside = [_words(each) for each in get_args(kind) if each is not Ellipsis]
        return f"map of {' to '.join(inside)}" if issubclass(origin, Mapping) else f"list of {inside[0]}"
    names = {float: "number", int: "whole number", str: "text", bool: "true or false"}
    return names.get(kind, "section" if inspect.isclass(kind) and issubclass(kind, BaseModel) else "value")


def _bound(constraint: Any) -> str:
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    words = {"min_length": "length at least", "max_length": "length at most"}
    found = [
        f"{text} {value:g}" if isinstance(value, int | float) else f"{text} {value}"
        for key, text in {**signs, **words}.items()
        if (value := getattr(constraint, key, None)) is not None
    ]
    return ", ".join(found)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "left out"
    if isinstance(value, BaseModel):
        return "see below"
    if isinstance(value, tuple | list) and any(isinstance(each, BaseModel) for each in value):
        return "see below"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return f"`{text}`" if len(text) < _LONGEST_DEFAULT else "see the model"


_LONGEST_DEFAULT = 120


def cli_page() -> str:
    """Every command, with arguments and options, as its help says."""
    import typer

    from churn_assets.cli import app

    parts = ["# The command", "", "Generated from `churn --help`.", ""]
    group = typer.main.get_command(app)
    parts += [_plain(group.help), "", _plain(getattr(group, "epilog", None))]
    for name, command in _commands(group, "churn"):
        parts += ["", f"## `{name}`", "", _plain(command.help), "", f"`{_usage(name, command)}`", ""]
        rows = [
            [_names(each), _cell(getattr(each, "help", None) or ""), _given(each)]
            for each in command.params
            if not getattr(each, "hidden", False)
        ]
        if rows:
            parts += _table(["Argument or option", "Meaning", "Default"], rows)
    return "\n".join(parts) + "\n"


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        elif not command.hidden:
            yield f"{path} {name}", command


def _usage(name: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    words = [each.name.upper() if each.required else f"[{each.name.upper()}]" for each in arguments]
    return " ".join([name, *words, "[OPTIONS]"])


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    return ", ".join(f"`{each}`" for each in (*parameter.opts, *parameter.secondary_opts))


def _given(parameter: Any) -> str:
    if parameter.required:
        return "needed"
    value = parameter.default
    if value in (None, False, ()) or callable(value):
        return ""
    # A path of this machine says nothing to a reader of another one.
    return "" if isinstance(value, Path) else f"`{value}`"


def python_page() -> str:
    """The front door: every name that `import churn_assets` gives, with its signature and docstring."""
    import churn_assets

    parts = ["# Python", "", *_told(churn_assets.__doc__ or "")]
    for name in churn_assets.__all__:
        found = getattr(churn_assets, name)
        parts += ["", f"## `{name}`", "", f"From `{found.__module__}`.", "", *_signature(name, found), ""]
        parts += _told(found.__doc__ or "")
        if inspect.isclass(found):
            for method in _methods(found):
                parts += ["", f"### `{name}.{method.__name__}`", "", *_signature(method.__name__, method), ""]
                parts += _told(method.__doc__ or "")
    return "\n".join(parts) + "\n"


def _methods(kind: type) -> Iterable[Any]:
    for name, value in vars(kind).items():
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if not name.startswith("_") and inspect.isfunction(function) and function.__doc__:
            yield function


def _signature(name: str, found: Any) -> list[str]:
    """As it stands in the source: names of types, not their modules."""
    if inspect.isclass(found) and issubclass(found, BaseModel):  # may be made of sections, and stand nowhere
        return ["```python", f"class {name}:", *(f"    {each}" for each in found.model_fields), "```"]
    source = ast.parse(inspect.cleandoc(f"\n{inspect.getsource(found)}"))
    node = source.body[0]
    if isinstance(node, ast.ClassDef):
        made = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
        fields = [ast.unparse(each) for each in node.body if isinstance(each, ast.AnnAssign)]
        if not made:
            return ["```python", f"class {name}:", *(f"    {each}" for each in fields or ["pass"]), "```"]
        node = made[0]
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    returned = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    return ["```python", f"{name}({ast.unparse(node.args)}){returned}", "```"]


def _told(docstring: str) -> list[str]:
    """A docstring in the house's style as Markdown."""
    lines: list[str] = []
    in_example = False
    for line in inspect.cleandoc(docstring).splitlines():
        text = line.strip()
        if in_example and not text:
            lines.append("```")
            in_example = False
        if text.startswith(">>>") and not in_example:
            lines += ["", "```pycon"]
            in_example = True
        if in_example:
            lines.append(text)
        elif _SECTION.match(line):
            lines += ["", f"**{text.removesuffix(':')}**", ""]
        elif entry := _ENTRY.match(line):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        elif line.startswith("        "):
            lines.append(f"  {text}")
        else:
            lines.append(text)
    return [*lines, "```"] if in_example else lines


def http_page() -> str:
    """Every path and every schema of the HTTP interface."""
    from churn_assets.serving.openapi import document

    described = document(keys=True)
    parts = ["# HTTP interface", "", described["info"]["description"]]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts += [
                "",
                f"## {method.upper()} `{path}`",
                "",
                f"{operation['summary']}. {operation['description']}",
            ]
            parts += ["", *_answers(operation)]
    parts += ["", "# Schemas"]
    for name, schema in described["components"]["schemas"].items():
        parts += ["", f"## {name}", "", schema["description"], ""]
        rows = [
            [f"`{field}`", _json_kind(about), _cell(about.get("description", ""))]
            for field, about in schema.get("properties", {}).items()
        ]
        parts += _table(["Field", "Kind", "Meaning"], rows) if rows else [_json_kind(schema)]
    return "\n".join(parts) + "\n"


def _answers(operation: Mapping[str, Any]) -> list[str]:
    rows = []
    asked = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if asked:
        rows.append(["asked", _json_kind(asked["schema"]), operation["requestBody"]["description"]])
    for parameter in operation.get("parameters", ()):
        rows.append([f"`{parameter['name']}`", _json_kind(parameter["schema"]), parameter["description"]])
    for status, answer in sorted(operation["responses"].items()):
        ((_, media),) = answer["content"].items()
        rows.append([status, _json_kind(media["schema"]), answer["description"]])
    return _table(["What", "Kind", "Meaning"], rows)


def _json_kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_json_kind(each) for each in schema[key])
    if schema.get("type") == "array":
        return f"list of {_json_kind(schema['items'])}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map of text to {_json_kind(schema['additionalProperties'])}"
    return str(schema.get("type", "value"))


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    line = lambda cells: f"| {' | '.join(cells)} |"  # noqa: E731 - of this table only
    return [line(head), line(["---"] * len(head)), *(line([_cell(each) for each in row]) for row in rows)]


def _cell(text: str) -> str:
    """As a cell of a table: one line, and no bar that would end it."""
    return " ".join(text.split()).replace("|", "\\|").replace("\\\\|", "\\|")


def _first(model: type[BaseModel]) -> str:
    """The first paragraph of what a model says of itself."""
    return " ".join(inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0].split())


def _plain(text: str | None) -> str:
    return inspect.cleandoc(text or "").replace("\b", "")
