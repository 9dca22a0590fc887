import dataclasses

import pytest

from jaxemb.data import Task, cap

TASK = Task(
    name="toy@0",
    split="test",
    document_ids=["d1", "d2", "d3", "d4", "d5"],
    documents=["one", "two", "three", "four", "five"],
    query_ids=["q1", "q2", "q3"],
    queries=["first", "second", "third"],
    judgements={"q1": {"d1": 2, "d4": 0}, "q2": {"d2": 1}},
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_ids": [], "queries": [], "judgements": {}}, "needs one query or more, got none"),
        ({"query_ids": ["q1"]}, "one id for each query text, got 1 ids and 3 texts"),
        ({"document_ids": ["d1", "d2", "d3", "d1", "d2"]}, "document id given twice: 2, the first: d1, d2"),
        ({"query_ids": ["q1", "q1", "q2"]}, "query id given twice: 1, the first: q1"),
        ({"documents": ["", "two", " \n", "", "\t"]}, "document without text: 4, the first: d1, d3, d4, ..."),
        ({"queries": ["first", " ", "third"]}, "query without text: 1, the first: q2"),
        ({"judgements": {"q9": {"d1": 1}}}, "name a query that is not in the task: 1, the first: q9"),
        ({"judgements": {"q1": {"d9": 1}}}, r"name a document that is not in the task: 1, the first: d9 \(query q1\)"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        dataclasses.replace(TASK, **change)
    assert "toy@0, split 'test'" in str(caught.value)


def test_a_cap_keeps_the_judged_documents_in_their_order():
    small = cap(TASK, documents=3, queries=2)
    assert small.name == "toy@0[3d,2q]"
    assert (small.split, len(small.documents), len(small.queries)) == ("test", 3, 2)
    assert small.judgements == {query: TASK.judgements[query] for query in small.query_ids if query in TASK.judgements}
    assert {document for judged in small.judgements.values() for document in judged} <= set(small.document_ids)
    for ids, texts, all_ids, all_texts in (
        (small.document_ids, small.documents, TASK.document_ids, TASK.documents),
        (small.query_ids, small.queries, TASK.query_ids, TASK.queries),
    ):
        places = [all_ids.index(each) for each in ids]
        assert places == sorted(places)
        assert texts == [all_texts[place] for place in places]


def test_a_cap_draws_the_same_whatever_the_order():
    backwards = dataclasses.replace(
        TASK,
        document_ids=TASK.document_ids[::-1],
        documents=TASK.documents[::-1],
        query_ids=TASK.query_ids[::-1],
        queries=TASK.queries[::-1],
    )
    assert set(cap(backwards, documents=3, queries=2).document_ids) == set(
        cap(TASK, documents=3, queries=2).document_ids
    )
    assert set(cap(backwards, documents=3, queries=2).query_ids) == set(cap(TASK, documents=3, queries=2).query_ids)


def test_a_task_within_the_cap_is_unchanged():
    assert cap(TASK, documents=5, queries=3) is TASK


def test_a_cap_that_cannot_hold_the_judged_documents_is_refused():
    with pytest.raises(ValueError, match="3 kept queries have 3 judged documents, more than 2"):
        cap(TASK, documents=2, queries=3)
    with pytest.raises(ValueError, match="got 1 and 0"):
        cap(TASK, documents=1, queries=0)
