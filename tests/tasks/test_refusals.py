"""Everything a task file must not say is refused with file, line and key."""

# ruff: noqa: E501  (the tables of refusals keep one case a line)

from __future__ import annotations

from collections.abc import Callable

import pytest

Report = Callable[..., list[str]]

PHANTOM = """\
source:
  layout: phantom
  generator_version: 2
  size: 64
  splits:
    train: {first: 0, count: 100}
    test: {first: 100, count: 50}
"""
FOLDER = """\
source:
  layout: folder
  directory: lumps
  accepted: [manifest, image_folder]
  splits:
    train: {folder: one}
    test: {folder: two}
"""
HUB = """\
source:
  layout: hub
  repository: clinic/lumps
  revision: 0123456789abcdef0123456789abcdef01234567
  fingerprint: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  splits:
    train: {split: train}
    test: {split: validation}
"""


def with_source(text: str, source: str) -> str:
    return text[: text.index("source:")] + source


def test_the_whole_task_is_good(problems: Report, lumps: str) -> None:
    assert problems(lumps) == []
    assert problems(with_source(lumps, PHANTOM)) == []
    assert problems(with_source(lumps, FOLDER)) == []
    assert problems(with_source(lumps, HUB)) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: Lumps", "titel: Lumps", "2: titel: unknown key; did you mean `title`?"),
        ("title: Lumps\n", "", "1: title: is required"),
        ("title: Lumps", "title: ' '", "2: title: must not be empty"),
        ("title: Lumps", "title: 12", "2: title: must be text (put numbers, yes and no in quotes)"),
        ("version: 1", "version: '1'", "3: version: must be a whole number"),
        ("version: 1", "version: 0", "3: version: must be greater than 0"),
        ("version: 1", "version: 1\nmax_train: yes", "4: max_train: must be a whole number"),
        ("version: 1", "version: 1\nhomepage: http://a.org", "4: homepage: `http://a.org`: must be an https:// "),
        ("ultrasound", "ultrasund", "4: modality: `ultrasund`: must be "),
        ("ultrasound", "ultrasund", "did you mean `ultrasound`?"),
        ("true", "maybe", "17: redistribute_pixels: must be true or false"),
        ("id: lumps", "id: Lumps", "1: id: `Lumps`: must be lower-case letters, digits"),
        ("id: lumps", "id: bumps", "1: id: `bumps`: must be the file's name, `lumps`"),
        (", wording: no lump", "", "7: classes[0].wording: is required"),
        ("wording: no lump", "wording: ''", "7: classes[0].wording: ``: must be words"),
        ("name: none", "name: no", "7: classes[0].name: must be text"),
        ("aliases: [squashy]", "alias: [squashy]", "8: classes[1].alias: unknown key; did you mean `aliases`?"),
        ("wording: hard lump", "wording: Soft-Lump", "9: classes[2].wording: `Soft-Lump` already means class `soft`"),
        ("name: hard", "name: soft", "9: classes[2].name: `soft` already means class `soft`"),
        ("[squashy]", "[squashy, hard_lump]", "8: classes[1].aliases[1]: `hard_lump` already means class `hard`"),
        ("Is it {classes}?", "Is it?", "11: prompts[0].template: a `label` prompt must contain {classes}"),
        ("{options}", "one", "14: prompts[3].template: a `letters` prompt must contain {options}"),
        ("{options}", "{options} {classes}", "14: prompts[3].template: {classes} is unknown"),
        ("Say {classes}", "{image} is {classes}", "12: prompts[1].template: {image} is unknown"),
        ("id: paraphrase_2", "id: free", "13: prompts[2].id: `free` is the id of two prompts"),
        ("kind: letters", "kind: letter", "did you mean `letters`?"),
        ("primary_prompt: free", "primary_prompt: fre", "15: primary_prompt: `fre` is none of the prompts free,"),
        ("primary_prompt: free", "primary_prompt: letters", "15: primary_prompt: `letters` must be of kind `label`"),
        ("layout: npz", "layout: npy", "20: source.layout: `npy`: must be npz or folder or phantom or hub; did you mean `npz`?"),
        ("  layout: npz\n", "", "19: source.layout: is required: npz or folder or phantom"),
        ("file: lumps.npz", "file: ../lumps.npz", "21: source.file: `../lumps.npz`: must be a relative path"),
        ("file: lumps.npz", "file: /lumps.npz", "21: source.file: `/lumps.npz`: must be a relative path"),
        ("md5: 0123", "md5: z123", "22: source.md5: `z123456789abcdef0123456789abcdef`: must be 32 lower-case"),
        ("md5:", "m5:", "22: source.m5: unknown key; did you mean `md5`?"),
        ("train:", "trian:", "24: source.splits.trian: `trian`: must be 'train', 'val' or 'test'; did you mean `train`?"),
        ("test: {images", "val: {images", "23: source.splits.test: a task needs a test split"),
        ("images: test_images", "imges: test_images", "25: source.splits.test.imges: unknown key; did you mean `images`?"),
        ("labels: test_labels", "folder: x", "25: source.splits.test.folder: is no key of the layout `npz`"),
        (", labels: test_labels", "", "25: source.splits.test.labels: is required where the layout is `npz`"),
        ("test_images", "train_images", "25: source.splits.test.images: splits overlap: array `train_images` is already"),
        ("test_labels", "train_labels", "25: source.splits.test.labels: splits overlap: array `train_labels`"),
        ("version: 1", "version: 1\nsubset: {seed: 0, sizes: {test: 0}}", "4: subset.sizes.test: must be greater than 0"),
        ("version: 1", "version: 1\nversion: 2", "4: version: stands twice; first in line 3"),
        ("version: 1", "version: 1\n1: one", "4: key `1` must be text"),
        ("version: 1", "version: 2020-13-40", "3: version: `2020-13-40` cannot be read"),
        ("version: 1", "version: &v 1\nseed: *v", "4: seed: anchors and aliases are not allowed"),
        ("version: 1", "version: !!python/object/apply:os.getcwd []", "3: version: the tag tag:yaml.org,2002:python/object/apply"),
        ("version: 1", "version: !!python/name:os.getcwd", "3: not valid YAML: could not determine"),
        ("version: 1", "version: [1", "not valid YAML"),
    ],
)  # fmt: skip
def test_refused_with_file_line_and_key(
    problems: Report, lumps: str, old: str, new: str, message: str
) -> None:
    assert old in lumps
    lines = problems(lumps.replace(old, new, 1))
    assert any(line.startswith("lumps.yaml:") and message in line for line in lines), lines


@pytest.mark.parametrize(
    ("source", "old", "new", "message"),
    [
        (PHANTOM, "first: 100", "first: 99", "25: source.splits.test.first: splits overlap: images 99 to 148, and in"),
        (PHANTOM, "first: 100,", "", "25: source.splits.test.first: is required where the layout is `phantom`"),
        (PHANTOM, "size: 64", "size: 8", "22: source.size: must be greater than or equal to 16"),
        (PHANTOM, "source:", "subset: {seed: 0, sizes: {test: 51}}\nsource:", "19: subset.sizes.test: 51 images of 50"),
        (FOLDER, "folder: two", "folder: one", "25: source.splits.test.folder: splits overlap: `one`, and `one`"),
        (FOLDER, "folder: two", "folder: one/x", "25: source.splits.test.folder: splits overlap: `one/x`, and `one`"),
        (FOLDER, "folder: one", "folder: ./two", "25: source.splits.test.folder: splits overlap: `two`, and `two`"),
        (FOLDER, "[manifest, image_folder]", "[]", "22: source.accepted: "),
        (FOLDER, "manifest,", "manifst,", "22: source.accepted[0]: `manifst`: must be "),
        (FOLDER, "  splits", "  class_folders: {sfot: x}\n  splits", "23: source.class_folders.sfot: `sfot` is none of"),
        (FOLDER, "  splits", "  file_list: nope.csv\n  splits", "23: source.file_list: no file list `nope.csv`; there are"),
        (HUB, "clinic/lumps", "lumps", "21: source.repository: `lumps`: must be owner/name"),
        (HUB, "clinic/lumps", "../lumps", "21: source.repository: `../lumps`: must be owner/name"),
        (HUB, "  revision: 0123456789abcdef0123456789abcdef01234567\n", "", "19: source.revision: is required"),
        (HUB, "revision:", "revison:", "22: source.revison: unknown key; did you mean `revision`?"),
        (HUB, "0123456789abcdef0123456789abcdef01234567\n", "main\n", "23: source.fingerprint: `main` can move"),
        (HUB, "  splits", "  label_column: image\n  splits", "24: source.label_column: `image` is already the image_column"),
        (HUB, "  splits", "  published_counts: {val: 3}\n  splits", "24: source.published_counts.val: `val` is none of train, test"),
        (HUB, "split: validation", "split: train", "26: source.splits.test.split: splits overlap: `train` is already split `train`"),
        (HUB, "split: validation", "split: 'train[:9]'", "26: source.splits.test.split: `train[:9]`: must be the name of a split"),
        (HUB, "split: validation", "folder: x", "26: source.splits.test.split: is required where the layout is `hub`"),
        (FOLDER, "  splits", "  file_list: busi.csv\n  splits", "23: source.file_list: busi.csv has the label `benign`"),
    ],
)  # fmt: skip
def test_sources_refused(problems: Report, lumps: str, source: str, old: str, new: str, message: str) -> None:
    text = with_source(lumps, source)
    assert old in text
    lines = problems(text.replace(old, new, 1))
    assert any(message in line for line in lines), lines


def test_a_subset_may_size_a_validation_set_that_is_cut_from_train(problems: Report, lumps: str) -> None:
    subset = "subset: {seed: 0, sizes: {val: 5}}\n"
    assert problems(with_source(lumps, subset + PHANTOM)) == []
    without_train = PHANTOM.replace("    train: {first: 0, count: 100}\n", "")
    assert problems(with_source(lumps, subset + without_train)) == [
        "lumps.yaml:19: subset.sizes.val: the source has no split `val`"
    ]


def test_a_split_without_a_folder_is_in_the_folder_of_its_name(problems: Report, lumps: str) -> None:
    unstated = FOLDER.replace("{folder: two}", "{}")
    assert problems(with_source(lumps, unstated)) == []
    assert "overlap" in problems(with_source(lumps, unstated.replace("one", "test")))[0]


@pytest.mark.parametrize(
    ("first", "count", "overlaps"),
    [(100, 50, False), (99, 1, True), (0, 1, True), (20, 10, True), (50, 100, True)],
)
def test_index_ranges_overlap_exactly_where_they_share_an_index(
    problems: Report, lumps: str, first: int, count: int, overlaps: bool
) -> None:
    shared = set(range(100)) & set(range(first, first + count))
    assert bool(shared) == overlaps
    changed = PHANTOM.replace("{first: 100, count: 50}", f"{{first: {first}, count: {count}}}")
    assert bool(problems(with_source(lumps, changed))) == overlaps


def test_letters_and_two_paraphrases_are_needed(problems: Report, lumps: str) -> None:
    lines = lumps.splitlines(keepends=True)
    without_letters = "".join(line for line in lines if "id: letters" not in line)
    assert problems(without_letters) == [
        "lumps.yaml:10: prompts: at least one prompt of kind `letters` is needed"
    ]
    one_paraphrase = "".join(line for line in lines if "paraphrase_2" not in line)
    assert problems(one_paraphrase) == [
        "lumps.yaml:10: prompts: 2 paraphrases of kind `label` are needed beside the primary prompt"
    ]


@pytest.mark.parametrize(("count", "good"), [(1, False), (2, True), (26, True), (27, False)])
def test_two_to_26_classes(problems: Report, lumps: str, count: int, good: bool) -> None:
    start, end = lumps.index("  - {name: none"), lumps.index("prompts:")
    classes = "".join(f"  - {{name: class{i}, wording: word {i}}}\n" for i in range(count))
    lines = problems(lumps[:start] + classes + lumps[end:])
    expected = f"lumps.yaml:6: classes: {count} classes; a task has 2 to 26, one letter an option"
    assert lines == ([] if good else [expected])


def test_all_problems_of_a_file_are_reported_in_order_of_lines(problems: Report, lumps: str) -> None:
    text = lumps.replace("title:", "titel:").replace("version: 1", "version: one").replace("md5: 0", "md5: x")
    assert problems(text.replace("wording: hard lump", "wording: soft lump")) == [
        "lumps.yaml:2: titel: unknown key; did you mean `title`?",
        "lumps.yaml:3: version: must be a whole number",
        "lumps.yaml:9: classes[2].wording: `soft lump` already means class `soft`",
        "lumps.yaml:22: source.md5: `x123456789abcdef0123456789abcdef`: must be 32 lower-case hexadecimal digits",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "lumps.yaml:1: must be a mapping"),
        (b"- a\n- b\n", "lumps.yaml:1: must be a mapping"),
        (b"a: 1\n\xff\n", "lumps.yaml:2: is not UTF-8 text"),
        (b"a: 1\nb: \x07\n", "lumps.yaml:2: holds a character that YAML does not allow"),
        (b"a: 1\n---\nb: 1\n", "not valid YAML"),
        (b"a: " + b"[" * 3000, "lumps.yaml:1: nested too deeply; 50 levels are read"),
        (b"[" * 900_000, "lumps.yaml:1: nested too deeply"),
        (b"a:" + b" [" * 50 + b"]" * 50, "lumps.yaml:1: nested too deeply"),
        (b"a:" + b" [" * 49 + b"]" * 49, "lumps.yaml:1: a: unknown key"),
        (b"#" * 1_000_001, "lumps.yaml: 1000001 bytes"),
    ],
)
def test_unreadable_files(tmp_path, content: bytes, message: str) -> None:
    from tasks import catalog
    from tasks.spec import TaskError

    path = tmp_path / "lumps.yaml"
    path.write_bytes(content)
    with pytest.raises(TaskError) as caught:
        catalog.load(path)
    assert message in str(caught.value)
