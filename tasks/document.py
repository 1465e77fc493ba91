"""Read YAML strictly, as a tree that remembers the file and line of every key: tasks, cards, studies, boards.

PyYAML's safe loader parses. Beyond it are refused: a key that stands twice, keys that are not text, anchors and
aliases (they hide where a value stands, and can grow without bound), and large or deep files.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tasks.problems import DocumentError, Problem, problems_of

SHIPPED = Path(str(importlib.resources.files("tasks")))
SUFFIXES = (".yaml", ".yml")
MAX_BYTES = 1_000_000
MAX_DEPTH = 50

# The parser in C reads the same YAML some eight times as fast, where PyYAML was built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")

Scalar = object
Schema = TypeVar("Schema", bound=BaseModel)


@dataclass(frozen=True)
class Node:
    """A value of a YAML document with the place of its key (of itself in a list)."""

    value: dict[str, Node] | list[Node] | Scalar
    file: str
    line: int | None  # None where the value comes from no file

    def plain(self) -> object:
        """Return the value as ordinary dictionaries, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def child(self, key: int | str) -> Node | None:
        """Return the node under a key or list index, or None."""
        if isinstance(self.value, dict) and isinstance(key, str):
            return self.value.get(key)
        if isinstance(self.value, list) and isinstance(key, int) and key < len(self.value):
            return self.value[key]
        return None

    def problem(self, key: str, message: str) -> Problem:
        """Return a problem that stands at this node."""
        return Problem(self.file, self.line, key, message)


def load_checked(
    path: Path,
    schema: type[Schema],
    failure: type[Exception],
    edit: Callable[[dict[str, Any]], object] | None = None,
) -> Schema:
    """Read a YAML file and check it against a schema; `edit` may change its content before the check.

    Raises:
        failure: it cannot be read, is no YAML mapping, or breaks the schema; each problem is named with file, line
            and key, all on one line.
    """
    try:
        document = read_document(path)
    except DocumentError as error:
        raise failure(error.one_line) from error
    content: Any = document.plain()
    if edit is not None:
        edit(content)
    return checked(content, document, schema, failure)


def checked(content: object, document: Node, schema: type[Schema], failure: type[Exception]) -> Schema:
    """Check content against a schema; `document` says where each key stands.

    Raises:
        failure: it breaks the schema, as in `load_checked`.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise failure(DocumentError.of(*problems_of(error, document, schema)).one_line) from error


def read_extended(path: Path) -> Node:
    """Read a YAML file upon what it extends: mappings are merged, everything else is replaced.

    Of several bases the later wins, with all that it extends itself; the file wins over its bases.

    Raises:
        DocumentError: if a file cannot be read, is no YAML mapping, or extends itself.
    """
    return _resolve(path, ())


def merge(base: Node, over: Node) -> Node:
    """Lay `over` upon `base`: mappings key by key, lists and scalars as a whole."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, child in over.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return Node(merged, over.file, over.line)


def _resolve(path: Path, below: tuple[Path, ...]) -> Node:
    document = read_document(path)
    assert isinstance(document.value, dict)
    extends = document.value.pop("extends", None)
    if extends is None:
        return document
    chain = (*below, path.resolve())
    parents = extends.value if isinstance(extends.value, list) else [extends]
    bases = [_resolve(_parent(path, parent, chain), chain) for parent in parents]
    merged = document
    for base in reversed(bases):
        merged = merge(base, merged)
    return merged


def _parent(path: Path, reference: Node, chain: tuple[Path, ...]) -> Path:
    """Find the file that `extends:` names: a file beside this one, or a shipped task or base."""
    name = reference.value
    if not isinstance(name, str):
        raise DocumentError.of(reference.problem("extends", "must be a name or a file, or a list of them"))
    beside = path.parent / name
    parent = beside if beside.suffix in SUFFIXES else SHIPPED / f"{name}.yaml"
    if parent.resolve() in chain:
        raise DocumentError.of(reference.problem("extends", f"`{name}` extends itself"))
    if not parent.is_file():
        wanted = f"no file {parent}" if parent is beside else f"no shipped task or base `{name}`"
        raise DocumentError.of(reference.problem("extends", wanted))
    return parent


def read_document(path: Path) -> Node:
    """Read a YAML file.

    Raises:
        DocumentError: it cannot be read, or is no YAML mapping.
    """
    text = _read_text(path)
    loader = _LOADER(text)
    try:
        _refuse_depth(text, path)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise DocumentError.of(Problem(str(path), 1, "", "must be a mapping of keys, such as `id: …`"))
        return _Builder(str(path), loader).build(node, "", 1)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.context, error.problem) if part)
        line = mark.line + 1 if mark else None
        raise DocumentError.of(Problem(str(path), line, "", f"not valid YAML: {message}")) from error
    finally:
        loader.dispose()


def _refuse_depth(text: str, path: Path) -> None:
    """Refuse what is nested deeper than any of these files is, before anything goes into it."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else None
            raise DocumentError.of(
                Problem(str(path), line, "", f"nested too deeply; {MAX_DEPTH} levels are read")
            )


def _read_text(path: Path) -> str:
    """Return the file's text; every way in which that fails is a DocumentError."""
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise DocumentError.of(
                Problem(str(path), None, "", f"{len(data)} bytes; {MAX_BYTES} at most are read")
            )
        text = data.decode("utf-8-sig")
        yaml.reader.Reader(text)
    except OSError as error:
        raise DocumentError.of(Problem(str(path), None, "", f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DocumentError.of(Problem(str(path), line, "", "is not UTF-8 text")) from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise DocumentError.of(
            Problem(str(path), line, "", "holds a character that YAML does not allow")
        ) from error
    return text


class _Builder:
    """Turn PyYAML's nodes into ours."""

    def __init__(self, file: str, loader: Any) -> None:
        self._file = file
        self._loader = loader
        self._seen: set[int] = set()

    def build(self, node: yaml.Node, key: str, line: int) -> Node:
        """Return `node`, whose key stands in `line`, as a Node."""
        if id(node) in self._seen:
            raise self._error(line, key, "anchors and aliases are not allowed; write the value out")
        self._seen.add(id(node))
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
            raise self._error(line, key, f"the tag {node.tag} is not allowed")
        if isinstance(node, yaml.MappingNode):
            return Node(self._mapping(node, key), self._file, line)
        if isinstance(node, yaml.SequenceNode):
            items = [
                self.build(item, f"{key}[{index}]", item.start_mark.line + 1)
                for index, item in enumerate(node.value)
            ]
            return Node(items, self._file, line)
        try:
            return Node(self._loader.construct_object(node, deep=True), self._file, line)
        except ValueError as error:
            raise self._error(line, key, f"`{node.value}` cannot be read: {error}") from error

    def _mapping(self, node: yaml.MappingNode, above: str) -> dict[str, Node]:
        children: dict[str, Node] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            name = key_node.value
            if not isinstance(name, str) or key_node.tag != "tag:yaml.org,2002:str":
                shown = name if isinstance(name, str) else "…"
                raise self._error(line, above, f"key `{shown}` must be text; put it in quotes")
            key = f"{above}.{name}" if above else name
            if name in children:
                raise self._error(line, key, f"stands twice; first in line {children[name].line}")
            children[name] = self.build(value_node, key, line)
        return children

    def _error(self, line: int, key: str, message: str) -> DocumentError:
        return DocumentError.of(Problem(self._file, line, key, message))
