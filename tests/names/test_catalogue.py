"""The catalogue of apps: its form, how names are looked up, and what mistakes in users' files say."""

from __future__ import annotations

import re

import pytest
import yaml
from publicsuffixlist import PublicSuffixList

from flowgauge import ConfigError
from flowgauge.names import catalogue
from flowgauge.names.catalogue import CATEGORIES, WITHOUT_APP, Catalogue

TEXT = (catalogue.resources.files("flowgauge.names") / "catalogue.yaml").read_text("utf-8")
SHIPPED = yaml.safe_load(TEXT)


def own(tmp_path, text, name="own.yaml"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def test_the_shipped_catalogue_names_at_least_300_services():
    assert sum(len(apps) for category, apps in SHIPPED.items() if category not in WITHOUT_APP) >= 300


def test_every_shipped_category_is_documented():
    assert set(SHIPPED) <= set(CATEGORIES)


def test_no_app_is_in_two_categories():
    apps = [app for apps in SHIPPED.values() for app in apps]
    assert len(apps) == len(set(apps))


def test_categories_apps_and_domains_are_sorted():
    assert list(SHIPPED) == sorted(SHIPPED)
    for apps in SHIPPED.values():
        assert list(apps) == sorted(apps, key=lambda app: (app.casefold(), app))
        for domains in apps.values():
            assert domains == sorted(domains)


def test_every_shipped_domain_is_at_or_below_a_registrable_domain_and_in_lower_case():
    registries = PublicSuffixList(only_icann=True)
    for domain in catalogue.shipped():
        assert domain == domain.lower()
        assert registries.privatesuffix(domain) is not None, domain


def test_no_domain_is_listed_twice_or_below_one_of_its_own_app():
    shipped = catalogue.shipped()
    assert len(shipped) == sum(len(domains) for apps in SHIPPED.values() for domains in apps.values())
    for domain, entry in shipped.items():
        labels = domain.split(".")
        above = [".".join(labels[at:]) for at in range(1, len(labels))]
        nearest = next((shipped[name] for name in above if name in shipped), None)
        assert nearest != entry, domain


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("youtube.com", ("YouTube", "video")),
        ("r3---sn-4g5e6nze.googlevideo.com", ("YouTube", "video")),
        ("WWW.Netflix.COM.", ("Netflix", "video")),
        ("mail.google.com", ("Gmail", "mail")),
        ("www.google.com", ("Google", "search")),
        ("notnetflix.com", None),
        ("com", None),
        ("", None),
        ("10.0.0.1", None),
    ],
)
def test_the_longest_domain_of_whole_labels_counts(name, entry):
    assert Catalogue().of(name) == entry


@pytest.mark.parametrize(
    ("name", "category"), [("d111111abcdef8.cloudfront.net", "cdn"), ("bucket.s3.amazonaws.com", "cloud")]
)
def test_a_name_that_serves_many_apps_has_a_category_and_no_app(name, category):
    assert Catalogue().of(name) == (None, category)


def test_a_users_domain_wins_over_a_longer_one_that_ships(tmp_path):
    path = own(tmp_path, "productivity: {Work: google.com}\n")
    assert Catalogue([path]).of("mail.google.com") == ("Work", "productivity")
    assert Catalogue([path]).of("netflix.com") == ("Netflix", "video")


def test_the_first_of_two_files_wins(tmp_path):
    paths = [own(tmp_path, f"other: {{{app}: [a.example.net]}}\n", f"{app}.yaml") for app in ("First", "Second")]
    assert Catalogue(paths).of("x.a.example.net") == ("First", "other")


def test_a_domain_in_unicode_is_found_by_its_name_in_packets_and_the_other_way_round(tmp_path):
    read = Catalogue([own(tmp_path, "news: {Zeitung: [bücher.example]}\n")])
    assert read.of("www.xn--bcher-kva.example") == read.of("WWW.Bücher.example") == ("Zeitung", "news")


def test_an_empty_file_changes_nothing(tmp_path):
    assert Catalogue([own(tmp_path, "# nothing yet\n")]).of("netflix.com") == ("Netflix", "video")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("games:\n  Chess: [example.com]\ngame: {Go: example.net}\n", "line 3: category 'game' is not one of ads, "),
        ("- example.com\n", "line 1: the file is not of the form"),
        ("games: [example.com]\n", "line 1: category 'games' is not of the form"),
        ("games:\n  Chess:\n", "line 2: a domain is a name"),
        ("games:\n  Chess: []\n", "line 2: app 'Chess' has no domains"),
        ("games:\n  Chess: [a.example, '*.example.com']\n", "line 2: '*.example.com' is no domain.* without '*.'"),
        ("games:\n  Chess: ['https://example.com/']\n", "line 2: 'https://example.com/' is no domain"),
        ("games:\n  Chess: [a.example]\n  Go: [b.example, A.Example]\n", "line 3: a.example is in line 2 already"),
        ("games:\n  Chess: [a.example]\n  Chess: [b.example]\n", "line 3: 'Chess' is in line 2 already"),
        ("games:\n  Chess: [a.example\n", "line 3: "),
        ("games:\n  Chess: [[a.example]]\n", "line 2: a domain is a name"),
        ("\x00", "is not YAML"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(tmp_path, text, problem):
    path = own(tmp_path, text)
    with pytest.raises(ConfigError, match=re.escape(str(path))) as caught:
        Catalogue([path])
    parts = problem.split(".*")
    assert all(part in str(caught.value) for part in parts)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the catalogue .*missing\.yaml: No such file"):
        Catalogue([tmp_path / "missing.yaml"])
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ConfigError, match="cannot read the catalogue"):
        Catalogue([binary])
