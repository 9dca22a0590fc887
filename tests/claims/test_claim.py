import math

import numpy as np
import pytest

from jaxemb import claims, cli
from jaxemb.claims import Claim, Margin, book, judged, over_seeds, page, table, told
from jaxemb.harness import record
from jaxemb.harness.record import Record
from jaxemb.harness.summary import DASH
from jaxemb.train import Plan


def made(recipe, values, *, metric="mrr@10", each="seed"):
    return Record(
        recipe=recipe, config={}, task="toy@1", metric=metric, values=values, each=each, device="none", versions={}
    )


RECORDS = [made("plain", (0.1, 0.3, 0.2)), made("method", (0.2, 0.35, 0.35)), made("twin", (0.2, 0.3, 0.1))]


def toy(margins, records=RECORDS):
    return Claim("A paper", "It is better.", "none", "toys", "all", 0.1, margins, lambda where: records, dict)


def test_differences_are_taken_seed_by_seed():
    (found,) = judged([Margin("mrr@10", "method", over="plain", least=0.09, every=0.04)], RECORDS)
    np.testing.assert_allclose(found.values, [0.1, 0.05, 0.15])
    assert found.held


@pytest.mark.parametrize(
    "margin",
    [
        Margin("mrr@10", "method", over="plain", least=0.11),
        Margin("mrr@10", "method", over="plain", every=0.06),
        Margin("mrr@10", "twin", over="plain", every=0.0),
        Margin("mrr@10", "method", most=0.2),
        Margin("mrr@10", "method", least=0.31),
        Margin("mrr@10", "method", over="plain", ratio=True, least=1.7),
    ],
)
def test_a_margin_that_is_missed_does_not_hold(margin):
    assert not judged([margin], RECORDS)[0].held


def test_ratios_are_divided():
    (found,) = judged([Margin("mrr@10", "method", over="plain", ratio=True, least=1.6)], RECORDS)
    np.testing.assert_allclose(found.values, [2.0, 0.35 / 0.3, 1.75])
    assert found.held


@pytest.mark.parametrize(
    ("margin", "records", "said"),
    [
        (Margin("mrr@10", "method"), RECORDS, "nothing could break it"),
        (Margin("mrr@10", "absent", least=0.0), RECORDS, "got 0"),
        (Margin("mrr@10", "method", least=0.0), [*RECORDS, RECORDS[1]], "got 2"),
        (Margin("mrr@10", "few", least=0.0), [made("few", (0.1, 0.2))], "3 seeds"),
        (Margin("mrr@10", "lost", least=0.0), [made("lost", (0.1, 0.2, math.nan))], "all finite"),
        (Margin("mrr@10", "asked", least=0.0), [made("asked", (0.1, 0.2, 0.3), each="query")], "a query"),
        (Margin("mrr@10", "long", over="plain", least=0), [RECORDS[0], made("long", (0.1,) * 4)], "4 seeds"),
    ],
)
def test_what_cannot_be_judged_is_refused(margin, records, said):
    with pytest.raises(ValueError, match=said):
        judged([margin], records)


def test_an_interval_of_one_seed_is_refused():
    with pytest.raises(ValueError, match="two values"):
        over_seeds([1.0])


def test_the_table_has_a_row_a_recipe_and_the_page_says_what_held():
    records = [*RECORDS, made("plain", (1.0,), metric="seconds", each="once")]
    lines = table(records).splitlines()
    assert lines[0] == "| row | mrr@10 | seconds |"
    assert lines[2] == "| plain | 0.200 [-0.048, 0.448] | 1 |"
    assert lines[3].endswith(f"| {DASH} |")
    whole = page({"toy": toy((Margin("mrr@10", "method", over="twin", least=0.5),))}, {"toy": records})
    assert "DOES NOT HOLD: mrr@10 of method - twin >= 0.5; got 0.100" in whole
    assert told(judged([Margin("mrr@10", "twin", most=0.25)], RECORDS)[0]).startswith("holds: mrr@10 of twin <= 0.25;")


def installed(monkeypatch, chosen):
    monkeypatch.setattr(book, "CLAIMS", ("toy",))
    monkeypatch.setattr(claims, "CLAIMS", ("toy",))
    monkeypatch.setattr(claims, "claim", lambda name: chosen)


@pytest.mark.parametrize(("least", "code"), [(0.05, 0), (0.5, 1)])
def test_the_command_writes_records_and_ends_by_what_held(monkeypatch, tmp_path, capsys, least, code):
    installed(monkeypatch, toy((Margin("mrr@10", "method", over="plain", least=least),)))
    out = tmp_path / "out"
    assert cli.main(["claim", "toy", "--out", str(out), "--data", str(tmp_path / "data")]) == code
    assert record.read(out / "toy.jsonl") == RECORDS
    assert ("DOES NOT HOLD" in capsys.readouterr().out) == bool(code)


def test_the_command_lists_and_plans(monkeypatch, capsys):
    monkeypatch.setattr("jax.config.update", lambda name, value: None)
    installed(monkeypatch, toy(())._replace(plan=lambda: {"large": Plan(10, 4, 8, 2_000_000_000, 500_000_000)}))
    assert cli.main(["claim", "--list"]) == 0
    assert "toy " in capsys.readouterr().out
    assert cli.main(["claim", "toy", "--plan"]) == 0
    assert "| large | 10 | 4 | 8 | 2.00 GB | 0.50 GB |" in capsys.readouterr().out


def test_the_command_refuses_few_seeds_and_unknown_claims(monkeypatch, tmp_path, capsys):
    assert cli.main(["claim", "nothing-like-it"]) == 2
    assert "no claim 'nothing-like-it'" in capsys.readouterr().err
    installed(monkeypatch, toy(()))
    assert cli.main(["claim", "toy", "--seeds", "2", "--out", str(tmp_path / "out")]) == 2
    assert "--seeds 3 or more, got 2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_every_claim_can_be_judged():
    """What a claim needs before anything is measured: bounds, a time that two cores have, and words."""
    for name in claims.CLAIMS:
        one = claims.claim(name)
        assert one.margins, name
        assert 0 < one.minutes <= 6, name
        assert all((one.paper, one.says, one.published, one.scale, one.differs)), name
