"""Labels off file names: what matches, what a field takes, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgauge.errors import ConfigError
from flowgauge.labels import make_labeller
from flowgauge.schema import native_columns


def match(template: str, path: str) -> dict[str, str] | None:
    labeller = make_labeller(template)
    assert labeller is not None
    return labeller.match(path)


def split(rule: str, path: str) -> dict[str, str] | None:
    labeller = make_labeller(None, rule)
    assert labeller is not None
    return labeller.match(path)


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("{app}_{action}_*.pcap", "captures/skype_call_01.pcap", {"app": "skype", "action": "call"}),
        ("{app}_{action}_*.pcap", "skype_video_call_01.pcap", {"app": "skype", "action": "video"}),
        ("{app}_{action}.pcap", "skype_video_call.pcap", {"app": "skype", "action": "video_call"}),
        ("{app}/{action}_*.pcap", "/data/x/skype/call_.pcap", {"app": "skype", "action": "call"}),
        ("{app}/*/{action}.pcap", "skype/day1/call.pcap", {"app": "skype", "action": "call"}),
        ("{app}/*", "a/skype/anything", {"app": "skype"}),
        ("vpn-{app}", "vpn-skype.pcap", {"app": "skype"}),
        ("*-{app}.pcap", "a-b-c.pcap", {"app": "b-c"}),
        ("{app}-{action}.pcap", "a--b.pcap", {"app": "a", "action": "-b"}),
    ],
)
def test_a_field_takes_text_up_to_the_next_literal(template: str, path: str, expected: dict[str, str]) -> None:
    """A field takes as little as it can up to the literal behind it, and the last one takes the rest."""
    assert match(template, path) == expected


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{app}_{action}.pcap", "skype.pcap"),
        ("{app}_{action}.pcap", "_call.pcap"),
        ("{app}_{action}.pcap", "skype_.pcap"),
        ("{app}/{action}.pcap", "call.pcap"),
        ("{app}.pcap", "skype.log"),
        ("{app}.pcap", "Skype/"),
        ("x/{app}.pcap", "y/a.pcap"),
        ("Call_{app}.pcap", "call_a.pcap"),
        ("a_{app}_a.pcap", "a_a.pcap"),
    ],
)
def test_what_does_not_match_has_no_labels(template: str, path: str) -> None:
    """Empty fields, missing parts, other literals and another case do not match."""
    assert match(template, path) is None


def test_fields_keep_the_order_of_the_template() -> None:
    """The fields are those of all parts, in the order in which the template names them."""
    labeller = make_labeller("{os}/{app}_{version}_{action}_{n}.pcap")
    assert labeller is not None
    assert labeller.fields == ("os", "app", "version", "action", "n")
    found = labeller.match("/c/linux/skype_8.1_call_07.pcap")
    assert found == {"os": "linux", "app": "skype", "version": "8.1", "action": "call", "n": "07"}
    assert tuple(found) == labeller.fields


@pytest.mark.parametrize(
    "suffix", [".pcap", ".pcapng", ".pcap.gz", ".pcapng.zst", ".PCAP", ".PcapNg.XZ", ".pcap.bz2", ".pcap.lz4"]
)
@pytest.mark.parametrize("template", ["{app}.pcap", "{app}.pcapng", "{app}.pcap.gz", "{app}"])
def test_compression_and_container_do_not_matter(template: str, suffix: str) -> None:
    """Template and name are compared without compression suffixes and with pcapng as pcap."""
    assert match(template, "a/skype" + suffix) == {"app": "skype"}


def test_a_template_without_a_dot_ignores_the_extension() -> None:
    """A template without a dot in its last part sees names without extension; a version number is none."""
    assert match("{app}_{action}", "skype_call.cap") == {"app": "skype", "action": "call"}
    assert match("{app}_{version}", "skype_8.1.pcap.gz") == {"app": "skype", "version": "8.1"}
    assert match("{app}_{version}.*", "skype_8.1.pcap") == {"app": "skype", "version": "8"}


def test_backslashes_separate_folders_too() -> None:
    """Windows paths and templates match as those with slashes do."""
    assert match("{app}/{action}.pcap", r"C:\captures\skype\call.pcap") == {"app": "skype", "action": "call"}
    assert match(r"{app}\{action}.pcap", "skype/call.pcap") == {"app": "skype", "action": "call"}


def test_no_name_makes_matching_slow() -> None:
    """A long name full of near matches is answered at once (a backtracking matcher would need years)."""
    template = "_".join(f"{{f{i}}}" for i in range(12)) + "!.pcap"
    assert match(template, "_" * 250 + ".pcap") is None


@given(st.lists(st.text("abc-.", min_size=1, max_size=5), min_size=2, max_size=2))
def test_values_come_back_as_they_were_written(values: list[str]) -> None:
    """A name made from a template gives back the values that it was made from, where the separator is in none."""
    app, action = values
    assert match("{app}_{action}_*.pcap", f"x/{app}_{action}_1.pcap") == {"app": app, "action": action}


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{app}{action}.pcap", "between two fields"),
        ("{app}*.pcap", "between two fields"),
        ("**/{app}.pcap", "between two fields"),
        ("{app.pcap", "brace"),
        ("app}.pcap", "brace"),
        ("{{app}}.pcap", "brace"),
        ("{a/b}.pcap", "brace"),
        ("{}_x.pcap", "without a name"),
        ("{app}_{app}.pcap", "twice"),
        ("{app}/{app}.pcap", "twice"),
        ("{1st}.pcap", "letters, digits"),
        ("{a-b}.pcap", "letters, digits"),
        ("{client_ip}.pcap", "column already"),
        ("{up_iat_mean_s}.pcap", "column already"),
        ("*.pcap", "names no field"),
        ("/{app}.pcap", "empty part"),
        ("{app}/", "empty part"),
        ("a//{app}", "empty part"),
        ("", "empty part"),
    ],
)
def test_a_bad_template_is_refused(template: str, problem: str) -> None:
    """A template that cannot be is a ConfigError that shows it and says what is wrong."""
    with pytest.raises(ConfigError, match=problem) as error:
        make_labeller(template)
    assert repr(template) in str(error.value)


def test_app_and_action_are_the_columns_that_a_field_may_name() -> None:
    """Of all native columns, only the label columns may be named by a field."""
    free = []
    for column in native_columns():
        try:
            make_labeller(f"{{{column.name}}}.pcap")
        except ConfigError:
            continue
        free.append(column.name)
    assert free == ["app", "action"]


@pytest.mark.parametrize(
    ("rule", "path", "expected"),
    [
        ("_:2:4", "x/17_linux_skype_8.1_call_3.pcap", {"app": "skype", "action": "call"}),
        ("_:2:4", "17_linux_skype_8.1_call_3.pcapng.gz", {"app": "skype", "action": "call"}),
        ("-:1:0", r"C:\x\call-skype.PCAP", {"app": "skype", "action": "call"}),
        ("__:0:1", "a_b__c.pcap", {"app": "a_b", "action": "c"}),
        ("::0:1", "a:b.pcap", {"app": "a", "action": "b"}),
        ("_:0:1", "a_b_8.1", {"app": "a", "action": "b"}),
        ("_:0:5", "a_b.pcap", None),
        ("_:0:1", "a_.pcap", None),
        ("_:0:1", "d_e/name.pcap", None),
    ],
)
def test_split_takes_positions_of_the_name(rule: str, path: str, expected: dict[str, str] | None) -> None:
    """The base name without its extensions is split, and a missing or empty piece is no match."""
    assert split(rule, path) == expected


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("_", "SEPARATOR:APP:ACTION"),
        ("_:2", "SEPARATOR:APP:ACTION"),
        (":0:1", "separator is empty"),
        ("/:0:1", "separates folders"),
        ("_:a:1", "'a' is no whole number"),
        ("_:0:-1", "'-1' is no whole number"),
        ("_:0:", "'' is no whole number"),
        ("_:0:²", "no whole number"),
        ("_:3:03", "position 3 twice"),
    ],
)
def test_a_bad_split_is_refused(rule: str, problem: str) -> None:
    """A split rule that cannot be is a ConfigError that says what it takes."""
    with pytest.raises(ConfigError, match=problem):
        make_labeller(None, rule)


def test_template_and_split_exclude_each_other() -> None:
    """Labels come from one rule: none given is no labeller, both given is an error."""
    assert make_labeller() is None
    with pytest.raises(ConfigError, match="give one"):
        make_labeller("{app}.pcap", "_:0:1")


def test_labels_load_nothing_heavy() -> None:
    """A bad template is refused before NumPy or pyarrow are loaded."""
    modules = "flowgauge.labels, flowgauge.sources.discover"
    code = f"import sys, {modules}; print({{'numpy', 'pyarrow', 'numba'}} & sys.modules.keys())"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def test_pure_paths_are_matched_as_text() -> None:
    """The text of a path object gives the same labels as the text."""
    assert match("{app}/*", str(PurePosixPath("a/skype/x.pcap"))) == {"app": "skype"}
