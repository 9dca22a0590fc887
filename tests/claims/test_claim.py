import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import claims, cli
from jaxemb.claims import Claim, Margin, book, judged, over_seeds, page, table, told
from jaxemb.claims import rows as made_of
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


ONCE = made("fixed", (0.2,), each="once")


@pytest.mark.parametrize(
    ("margin", "values", "held"),
    [
        (Margin("mrr@10", "method", over="fixed", every=0.0), [0.0, 0.15, 0.15], False),
        (Margin("mrr@10", "fixed", over="plain", least=0.0, every=-0.2), [0.1, -0.1, 0.0], True),
        (Margin("mrr@10", "fixed", over="twin", ratio=True, most=1.2), [1.0, 0.2 / 0.3, 2.0], False),
        (Margin("mrr@10", "fixed", least=0.21), [0.2], False),
    ],
)
def test_what_no_seed_changes_is_compared_with_every_seed(margin, values, held):
    (found,) = judged([margin], [*RECORDS, ONCE])
    np.testing.assert_allclose(found.values, values, atol=1e-12)
    assert found.held == held
    assert found.each == ("once" if margin.over is None else "seed")


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
        (
            Margin("mrr@10", "method", over="timed", least=0),
            [RECORDS[1], made("timed", (1.0, 2.0, 3.0), each="repeat")],
            "kind",
        ),
        (Margin("mrr@10", "lost", least=0.0), [made("lost", (math.nan,), each="once")], "all finite"),
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
    assert lines[2] == "| plain | 0.200 [-0.048, 0.448] | 1.000 |"
    assert lines[3].endswith(f"| {DASH} |")
    whole = page({"toy": toy((Margin("mrr@10", "method", over="twin", least=0.5),))}, {"toy": records})
    assert "DOES NOT HOLD: mrr@10 of method - twin >= 0.5; got 0.100" in whole
    assert told(judged([Margin("mrr@10", "twin", most=0.25)], RECORDS)[0]).startswith("holds: mrr@10 of twin <= 0.25;")
    told_of = toy(())._replace(legend={"plain": "It learns nothing.", "absent": "It is newer."})
    assert "- `plain`: It learns nothing." in page({"toy": told_of}, {"toy": records})
    assert "newer" not in page({"toy": told_of}, {"toy": records})


def test_repeats_are_called_so_and_one_value_has_no_interval():
    timed = made("timed", (1000.0, 2000.0, 3000.0), metric="pairs/s", each="repeat")
    (found,) = judged([Margin("pairs/s", "timed", least=20)], [timed])
    assert told(found) == "holds: pairs/s of timed >= 20; got 2,000 [-484, 4,484] (repeats 1,000, 2,000, 3,000)"
    (found,) = judged([Margin("mrr@10", "fixed", most=1e-5)], [made("fixed", (2e-6,), each="once")])
    assert told(found) == "holds: mrr@10 of fixed <= 1e-05; got 2.0e-06"


def test_a_step_that_is_built_again_is_not_compiled_again():
    before = jax.config.jax_compilation_cache_dir
    with made_of.compiled_once():
        folder = Path(jax.config.jax_compilation_cache_dir)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        counts = []
        for _ in range(2):
            jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((3, 3))).block_until_ready()
            counts.append(len(list(folder.iterdir())))
    assert 0 < counts[0] == counts[1]
    assert jax.config.jax_compilation_cache_dir == before
    assert not folder.exists()


def test_a_run_tells_how_long_it_took(tmp_path):
    tmp_path.joinpath("words").mkdir()
    records = claims.measured(toy(()), claims.Where(tmp_path, 4))
    assert records[:3] == RECORDS
    assert [(one.metric, one.each, one.task) for one in records[3:]] == [
        ("claim_seconds", "once", "toy@1"),
        ("claim_cpu_seconds", "once", "toy@1"),
    ]
    assert records[3].config == {"seeds": 4, "kept": ["words"]}
    assert 0 <= records[3].values[0] < 10
    assert "- **Time**: 0.0 minutes" in page({"toy": toy(())}, {"toy": records})
    assert "the whole run" not in table(records)
    assert claims.took(RECORDS) == ""


def installed(monkeypatch, chosen):
    monkeypatch.setattr(book, "CLAIMS", ("toy",))
    monkeypatch.setattr(claims, "CLAIMS", ("toy",))
    monkeypatch.setattr(claims, "claim", lambda name: chosen)


@pytest.mark.parametrize(("least", "code"), [(0.05, 0), (0.5, 1)])
def test_the_command_writes_records_and_ends_by_what_held(monkeypatch, tmp_path, capsys, least, code):
    margins = (Margin("mrr@10", "method", over="plain", least=least),)
    installed(monkeypatch, toy(margins)._replace(legend={"absent": "It is told of."}))
    out = tmp_path / "out"
    assert cli.main(["claim", "toy", "--out", str(out), "--data", str(tmp_path / "data")]) == code
    *records, wall, _ = record.read(out / "toy.jsonl")
    assert records == RECORDS
    assert wall.metric == "claim_seconds"
    said = capsys.readouterr()
    assert ("DOES NOT HOLD" in said.out) == bool(code)
    assert "took 0.0 minutes" in said.out
    assert "rows that were not measured: absent" in said.err


def test_a_claim_that_wants_devices_has_them(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("jax.config.update", lambda *one: asked.append(one))
    installed(monkeypatch, toy((Margin("mrr@10", "method", least=0.0),))._replace(devices=2))
    assert cli.main(["claim", "toy", "--out", str(tmp_path / "out"), "--data", str(tmp_path / "data")]) == 0
    assert asked[0] == ("jax_num_cpu_devices", 2)


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
