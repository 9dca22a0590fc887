import numpy as np

from jaxemb import compress, evaluate, index
from jaxemb.data.task import Task
from jaxemb.harness import Encoded, Settings, measure, of_index


def test_an_index_is_a_row():
    chance = np.random.default_rng(0)
    document = chance.normal(size=(50, 16)).astype(np.float32)
    task = Task(
        name="toy@1",
        split="test",
        document_ids=[str(i) for i in range(50)],
        documents=["text"] * 50,
        query_ids=["q", "r"],
        queries=["a", "b"],
        judgements={"q": {"3": 1}, "r": {"7": 1}},
    )
    query = document[[3, 7]] / 2
    truth = evaluate.neighbours(query, document, 10)
    built = index.build("exact", document, compressor=compress.int8())
    system = of_index("toy int8", built, {"encoder": "toy"}, build_s=(0.1,))
    found = {one.metric: one for one in measure(system, task, Encoded(query), truth, Settings(calls=3, repeats=2))}
    learnt = sum(np.asarray(value).nbytes for value in built.state.values())
    assert found["bytes_per_vector"].values == (16.0,)
    assert found["index_bytes_resident"].values == (50.0 * 16 + learnt,)
    assert 50 * 16 + learnt < found["index_bytes_disk"].values[0] < 50 * 16 + learnt + 2000
    assert found["ndcg@10"].values == (1.0, 1.0)
    assert np.mean(found["fidelity@10"].values) > 0.8
    config = found["ndcg@10"].config
    assert (config["encoder"], config["index"], config["compressor"]) == ("toy", "exact", "int8")
    assert config["settings"] == dict(built.settings)
