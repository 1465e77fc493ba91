"""Ways to spoil a result: each takes a seeded generator and a result folder, and changes a file of it."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.leaderboard.verify.forgeries import other_claim, other_line, other_name, other_task
from tests.leaderboard.verify.json_edits import EDITS, TOKENS

Mutation = Callable[[Random, Path], None]

RECORD, SAMPLES, PROBES = "record.json", "samples.jsonl", "probes.jsonl"
FILES = (RECORD, SAMPLES, PROBES)


def in_record(edit: Callable[[Random, Any], None]) -> Mutation:
    def mutate(rng: Random, folder: Path) -> None:
        content = _parsed(b"".join(_read(folder / RECORD)))
        if isinstance(content, dict) and content:
            edit(rng, content)
            (folder / RECORD).write_text(json.dumps(content), encoding="utf-8")

    return mutate


def in_line(edit: Callable[[Random, Any], None]) -> Mutation:
    def mutate(rng: Random, folder: Path) -> None:
        path = folder / rng.choice([SAMPLES, PROBES])
        lines = _read(path)
        if not lines:
            return
        place = rng.randrange(len(lines))
        content = _parsed(lines[place])
        if isinstance(content, dict) and content:
            edit(rng, content)
            lines[place] = json.dumps(content).encode() + b"\n"
            path.write_bytes(b"".join(lines))

    return mutate


def token(rng: Random, folder: Path) -> None:
    """Put what is no JSON, or no finite number, in the place of a number."""
    path = folder / rng.choice(FILES)
    text = b"".join(_read(path))
    places = [i for i in range(1, len(text)) if text[i : i + 1].isdigit() and text[i - 1 : i] in b":,[ "]
    if places:
        start = rng.choice(places[:: max(1, len(places) // 500)])
        end = start
        while text[end : end + 1] and text[end : end + 1] in b"0123456789.eE+-":
            end += 1
        path.write_bytes(text[:start] + rng.choice(TOKENS).encode() + text[end:])


def repeated_key(rng: Random, folder: Path) -> None:
    """Let a key stand there twice: who reads first and who reads last see two results."""
    path = folder / rng.choice(FILES)
    lines = _read(path)
    if lines:
        place = 0 if path.name == RECORD else rng.randrange(len(lines))
        key = rng.choice([b'"predicted":3,', b'"label":0,', b'"status":"failed",', b'"readout":"paper",'])
        lines[place] = lines[place].replace(b"{", b"{" + key, 1)
        path.write_bytes(b"".join(lines))


def change_lines(rng: Random, folder: Path) -> None:
    path = folder / rng.choice([SAMPLES, PROBES])
    lines = _read(path)
    if len(lines) < 2:
        return
    one, other = rng.sample(range(len(lines)), 2)
    kind = rng.choice(["drop", "twice", "swap", "shuffle", "half", "blank", "garbage", "copy"])
    if kind == "drop":
        del lines[one]
    elif kind == "twice":
        lines.append(lines[one])
    elif kind == "swap":
        lines[one], lines[other] = lines[other], lines[one]
    elif kind == "shuffle":
        rng.shuffle(lines)
    elif kind == "half":
        lines = lines[: len(lines) // 2]
    elif kind == "blank":
        lines.insert(one, b"\n")
    elif kind == "garbage":
        lines.append(
            rng.choice([b"{}", b"null\n", b"[]\n", b"garbage", b"\x00\x00\n", b"   ", b'{"id": 1}\n'])
        )
    else:
        lines[one] = lines[other]
    path.write_bytes(b"".join(lines))


def drop_alike(rng: Random, folder: Path) -> None:
    """Leave out lines consistently: a layer, a readout, a split, a class."""
    path = folder / rng.choice([SAMPLES, PROBES])
    parsed = [_parsed(line) for line in _read(path)]
    parsed = [one for one in parsed if isinstance(one, dict) and one]
    if parsed:
        key = rng.choice(["site", "readout", "split", "module", "pool", "label", "group", "seed"])
        value = rng.choice(parsed).get(key)
        kept = [json.dumps(one) + "\n" for one in parsed if one.get(key) != value]
        path.write_text("".join(kept), encoding="utf-8")


def cut(rng: Random, folder: Path) -> None:
    path = folder / rng.choice(FILES)
    content = b"".join(_read(path))
    if content:
        path.write_bytes(content[: rng.randrange(len(content))])


def flip_bytes(rng: Random, folder: Path) -> None:
    path = folder / rng.choice(FILES)
    content = bytearray(b"".join(_read(path)))
    if content:
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)


def encode(rng: Random, folder: Path) -> None:
    path = folder / rng.choice(FILES)
    content = b"".join(_read(path))
    text = content.decode("utf-8", errors="replace")
    path_bytes = {
        "utf-16": text.encode("utf-16"),
        "utf-32": text.encode("utf-32"),
        "bom": b"\xef\xbb\xbf" + content,
        "crlf": content.replace(b"\n", b"\r\n"),
        "invalid": content.replace(b"lumps", b"l\xffmps").replace(b"test/", b"te\xfft/", 1),
        "nul": content + b"\x00",
        "spaces": b" \n" + content,
    }
    if content:
        path.write_bytes(path_bytes[rng.choice(list(path_bytes))])


def replace_file(rng: Random, folder: Path) -> None:
    """Put something else in the place of a file."""
    path = folder / rng.choice(FILES)
    if not path.is_file() or path.is_symlink():
        return
    content = path.read_bytes()
    kind = rng.choice(["empty", "missing", "link", "folder", "pipe", "device"])
    path.unlink()
    if kind == "empty":
        path.touch()
    elif kind == "link":
        (folder / "elsewhere").write_bytes(content)
        path.symlink_to(folder / "elsewhere")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")


def compress(rng: Random, folder: Path) -> None:
    """Compress lines: well, damaged, twice, or into something that unpacks to far more."""
    path = folder / rng.choice([SAMPLES, PROBES])
    if not path.is_file() or path.is_symlink():
        return
    packed = bytearray(gzip.compress(path.read_bytes()))
    kind = rng.choice(["well", "damaged", "cut", "twice", "bomb", "plain"])
    if kind == "damaged":
        packed[rng.randrange(20, len(packed))] ^= 0xFF
    elif kind == "cut":
        packed = packed[: rng.randrange(len(packed))]
    elif kind == "twice":
        packed = bytearray(gzip.compress(bytes(packed)))
    elif kind == "bomb":
        packed = bytearray(gzip.compress(b"\n" * 30_000_000))
    elif kind == "plain":
        packed = bytearray(path.read_bytes())
    path.unlink()
    path.with_name(path.name + ".gz").write_bytes(packed)


MUTATIONS: dict[str, Mutation] = {
    **{f"record_{edit.__name__}": in_record(edit) for edit in (*EDITS, other_task, other_name, other_claim)},
    **{f"line_{edit.__name__}": in_line(edit) for edit in (*EDITS, other_line)},
    **{
        change.__name__: change
        for change in (
            token,
            repeated_key,
            change_lines,
            drop_alike,
            cut,
            flip_bytes,
            encode,
            replace_file,
            compress,
        )
    },
}


def _read(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.is_file() and not path.is_symlink() else []


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
