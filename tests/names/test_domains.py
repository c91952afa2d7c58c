"""Registrable domains by the public suffix list."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgauge.names.domains import registrable


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("www.example.com", "example.com"),
        ("example.com", "example.com"),
        ("WWW.Example.COM.", "example.com"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("www.ck", "www.ck"),  # an exception of the list
        ("a.b.c.ck", "b.c.ck"),  # a wildcard
        ("pages.someone.github.io", "someone.github.io"),
        ("cdn.example.newtopleveldomain", "example.newtopleveldomain"),
        ("www.xn--85x722f.xn--55qx5d.cn", "xn--85x722f.xn--55qx5d.cn"),
        ("www.食狮.公司.cn", "食狮.公司.cn"),
        ("_dmarc.example.org", "example.org"),
    ],
)
def test_it_is_the_public_suffix_and_one_label_more(name, domain):
    assert registrable(name) == domain


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "localhost", "com", "co.uk", "github.io", "公司.cn", "a..example.com", ".example.com"),
        *("192.0.2.1", "192.0.2.1.", "[2001:db8::1]", "2001:db8::1", "::ffff:192.0.2.1"),
        *("printer.local", "_ipp._tcp.local", "4.2.0.192.in-addr.arpa", "router.lan", f"{'a.' * 127}example.com"),
    ],
)
def test_what_nobody_can_register_has_none(name):
    assert registrable(name) is None


@given(st.text(max_size=300))
def test_any_text_has_a_domain_that_ends_it_or_none(text):
    found = registrable(text)
    assert found is None or text.lower().rstrip(".").endswith(found)


def test_the_list_is_loaded_at_the_first_name():
    code = "import sys, flowgauge.names.domains, flowgauge.names.catalogue; print('publicsuffixlist' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
