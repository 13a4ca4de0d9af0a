"""YAML as plain values with line numbers."""

from __future__ import annotations

import time

import pytest

from sweep.study.load import StudyError
from sweep.study.yaml import MOST_BYTES, dump_yaml, parse, read_text


def refused(text: str) -> list[str]:
    return [f"{problem.line}: {problem.message}" for problem in parse(text).problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-1.", -1.0),
        ("+2", 2),
        ("-0", 0),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("''", ""),
        ('"\\u00e9"', "é"),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text, value):
    document = parse(f"key: {text}")
    assert document.problems == []
    assert document.value == {"key": value}
    assert isinstance(document.value, dict)
    assert type(document.value["key"]) is type(value)


def test_lines_of_every_path():
    text = "a: 1\n\n# comment\nb:\n  - c: 2\n    d: [3,\n        4]\n  - 5\n"
    document = parse(text)
    assert document.value == {"a": 1, "b": [{"c": 2, "d": [3, 4]}, 5]}
    assert document.lines == {
        (): 1,
        ("a",): 1,
        ("b",): 4,
        ("b", 0): 5,
        ("b", 0, "c"): 5,
        ("b", 0, "d"): 6,
        ("b", 0, "d", 0): 6,
        ("b", 0, "d", 1): 7,
        ("b", 1): 8,
    } | {path: line for path, line in document.lines.items() if "?" in path}


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("a: 1\nb: 2\na: 3", ["3: duplicate key 'a', first on line 1"]),
        ("a: {b: 1, b: 1}", ["1: duplicate key 'b', first on line 1"]),
        ("a: &x 1", ["1: anchors are not supported, got &x"]),
        (
            "a: &x 1\nb: *x",
            [
                "1: anchors are not supported, got &x",
                "2: aliases are not supported, got *x; write the value again",
            ],
        ),
        (
            "a: !!python/object/apply:os.system [x]",
            ["1: tags are not supported, got !!python/object/apply:os.system"],
        ),
        ("a:\n  b: !foo {c: 1}", ["2: tags are not supported, got !foo"]),
        ("a: !!str 1", ["1: tags are not supported, got !!str"]),
        ("a: ! 1", ["1: tags are not supported, got !"]),
        ("a: 1\n<<: {b: 2}", ["2: merge keys are not supported, got <<; write the keys out"]),
        ("a: 1\n2: b", ["2: keys must be text, got 2"]),
        ("true: b", ["1: keys must be text, got true"]),
        ("? [a, b]\n: c", ["1: keys must be text, got a list"]),
        ("? {a: b}\n: c", ["1: keys must be text, got a mapping"]),
        ("? \n: c", ["1: keys must be text, got nothing"]),
        (".nan: c", ["1: must be a finite number, got .nan"]),
        ("a: .inf", ["1: must be a finite number, got .inf"]),
        ("a: -.INF", ["1: must be a finite number, got -.INF"]),
        ("a: .NaN", ["1: must be a finite number, got .NaN"]),
        ("a: 1e999", ["1: must be a finite number, got 1e999"]),
        ("a: 9223372036854775808", ["1: must fit in 64 bits, got 9223372036854775808"]),
        ("a: " + "9" * 5000, ["1: must fit in 64 bits, got " + "9" * 57 + "..."]),
        ("a: 1\n---\nb: 2", ["2: holds more than one YAML document, expected one"]),
        ('a: "\\ud800"', ["1: holds half of a surrogate pair, which is no character"]),
        ("a: 1\nb: \x00", ["2: the character U+0000 is not allowed in YAML"]),
        ("a: 1\nb: \x1b", ["2: the character U+001B is not allowed in YAML"]),
        ('a: 1\nb: "\\UFFFFFFFF"', ["2: not valid YAML: an escape names no character, or a number is too long"]),
        ("%YAML 1." + "9" * 5000, ["1: not valid YAML: an escape names no character, or a number is too long"]),
        ("a: b: c", ["1: not valid YAML: mapping values are not allowed here"]),
        (
            "a: [1, 2\nb: 3",
            ["2: not valid YAML: expected ',' or ']', but got ':', while parsing a flow sequence"],
        ),
        (
            "a:\n\t- b",
            [
                "2: not valid YAML: found character '\\t' that cannot start any token, "
                "while scanning for the next token"
            ],
        ),
        ("a: *unknown", ["1: aliases are not supported, got *unknown; write the value again"]),
    ],
)
def test_what_is_refused(text, problems):
    assert refused(text) == problems


def test_problems_are_found_together():
    assert refused("a: &x 1\nb: !t 2\na: 3\n4: .inf") == [
        "1: anchors are not supported, got &x",
        "2: tags are not supported, got !t",
        "3: duplicate key 'a', first on line 1",
        "4: keys must be text, got 4",
        "4: must be a finite number, got .inf",
    ]


def test_the_first_of_duplicate_keys_is_kept():
    assert parse("a: {b: 1}\na: {c: 2}").value == {"a": {"b": 1}}


@pytest.mark.parametrize(
    "text",
    ["[" * 500_000, "{a: " * 200_000, "? " * 1000, "- " * 1000, "\n".join(" " * n + "a:" for n in range(500))],
    ids=["lists", "mappings", "keys", "blocks", "indented"],
)
def test_deep_nesting_is_refused_quickly(text):
    start = time.perf_counter()
    assert [problem.message for problem in parse(text).problems] == ["nested more than 32 levels deep"]
    assert time.perf_counter() - start < 5


def test_nesting_within_the_bound_is_read():
    value = parse("[" * 32 + "]" * 32).value
    for _ in range(31):
        assert isinstance(value, list)
        (value,) = value
    assert value == []


def test_a_bomb_of_aliases_is_refused_quickly():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    start = time.perf_counter()
    problems = parse("\n".join(lines)).problems
    assert time.perf_counter() - start < 5
    assert len(problems) == 12 + 11 * 9


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True], "b": {"c": [{"d": 1e-05}]}},
        ["no", "1e3", "0o17", "1_000", "null", "~", "", " x", "x ", "a: b", "a #b", "é", "\u2028", "😀", "- a", "<<"],
        [
            "shipped:x",
            "a:",
            "true",
            "True",
            "1.5",
            ".5",
            "*a",
            "&a",
            "!t",
            "%",
            "'",
            '"',
            "a\nb",
            "\t",
            "=",
            "x" * 300,
        ],
        {"yes": 1, "1": 2, "a b": {"low": 1e300, "high": -0.0}},
    ],
)
def test_what_is_dumped_is_read_back(value):
    document = parse(dump_yaml(value))
    assert document.problems == []
    assert document.value == value
    assert repr(document.value) == repr(value)


def test_equal_lists_are_not_dumped_as_aliases():
    shared = [1, 2]
    assert dump_yaml({"a": shared, "b": shared}) == "a: [1, 2]\nb: [1, 2]\n"


def unreadable(path) -> str:
    with pytest.raises(StudyError) as caught:
        read_text(path)
    return str(caught.value).removeprefix(str(path))


def test_files_that_cannot_be_read(tmp_path):
    assert unreadable(tmp_path / "none.yaml") == ": there is no such file"
    assert unreadable(tmp_path) == ": this is a folder, expected a file"
    (tmp_path / "file").write_text("")
    assert unreadable(tmp_path / "file" / "study.yaml") == ": cannot be read: Not a directory"
    (tmp_path / "latin").write_bytes(b"a: 1\nb: caf\xe9\n")
    assert unreadable(tmp_path / "latin") == ":2: not UTF-8 text, got byte 0xe9"
    (tmp_path / "utf16").write_bytes("a: 1".encode("utf-16"))
    assert unreadable(tmp_path / "utf16") == ":1: not UTF-8 text, got byte 0xff"


def test_the_size_of_a_file_is_bounded(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_bytes(b"#" * MOST_BYTES)
    assert len(read_text(path)) == MOST_BYTES
    path.write_bytes(b"#" * (MOST_BYTES + 1))
    assert unreadable(path) == ": larger than 1000000 bytes, which no study file is"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_text(path) == "a: 1\n"
