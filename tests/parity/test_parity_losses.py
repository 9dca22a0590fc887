"""Losses here and in sentence-transformers on the same vectors: value and gradient, to 1e-6.

| sentence-transformers 6.2                      | jaxemb.losses                         | our mean is theirs     |
|------------------------------------------------|---------------------------------------|------------------------|
| MultipleNegativesRankingLoss                   | info_nce                              | yes                    |
| ... directions, joint                          | joint_info_nce                        | without negatives 1    |
| ... both ways, per_direction; SymmetricRanking | symmetric(info_nce)                   | yes                    |
| ... hardness_mode                              | -                                     | 2                      |
| CachedMultipleNegatives(Symmetric)RankingLoss  | as above, with train's gradient cache | yes                    |
| GISTEmbedLoss, CachedGISTEmbedLoss             | mask_by_guide(info_nce)               | queries to documents 3 |
| TripletLoss                                    | triplet                               | yes                    |
| MegaBatchMarginLoss                            | mega_batch_margin                     | yes                    |
| BatchHardTripletLoss, ...SoftMargin            | batch_hard, batch_hard_soft           | yes 4                  |
| BatchAllTripletLoss, BatchSemiHardTripletLoss  | batch_all, batch_semi_hard            | yes 4                  |
| ContrastiveLoss                                | contrastive_pairs                     | yes                    |
| OnlineContrastiveLoss                          | online_contrastive                    | theirs is our sum      |
| CoSENTLoss, AnglELoss                          | cosent, angle                         | yes, of pairs 5        |
| CosineSimilarityLoss                           | similarity_regression                 | yes                    |
| MarginMSELoss                                  | margin_mse                            | yes                    |
| DistillKLDivLoss                               | list_distillation                     | ours, times T^2        |
| MSELoss, EmbedDistillLoss                      | embedding_distillation, projected     | yes                    |
| SoftmaxLoss                                    | softmax_classification                | yes                    |
| ContrastiveTensionLoss                         | binary_classification                 | theirs is our sum      |
| ContrastiveTensionLossInBatchNegatives         | symmetric(info_nce)                   | yes                    |
| GlobalOrthogonalRegularizationLoss             | global_orthogonal                     | yes, its parts added   |
| MatryoshkaLoss                                 | matryoshka                            | theirs is a sum        |
| AdaptiveLayerLoss, Matryoshka2dLoss            | layers, layer_sizes                   | 6                      |
| DenoisingAutoEncoderLoss                       | token_cross_entropy                   | 6                      |

1. Among documents theirs leaves out a query's own hard negatives, ours only its own document.
2. Their weight of hard negatives has no counterpart here; `hard_info_nce` and `mask_above_own` choose them.
3. Theirs also masks negatives among queries and among documents; `mask_by_guide` refuses a loss with several kinds.
4. Only where every anchor has a negative: one that has none costs nothing here, and there the margin or more.
5. Theirs also takes columns of negatives, with labels of one minus a pair's.
6. Theirs run a model's layers, draw some of them at random and add a divergence of features between layers; ours take
   the vectors of the layers, all of them.  Their decoder is a model of its own.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from sentence_transformers import util
from sentence_transformers.sentence_transformer import losses as theirs
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from jaxemb import losses

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]
NO_MODEL = torch.nn.Identity()


class Fixed(torch.nn.Module):
    """A model that gives the vectors it is told to, and has what the losses ask of one."""

    max_seq_length = 8
    device = "cpu"

    def __init__(self, *columns):
        super().__init__()
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
        self.columns = columns

    def __getitem__(self, at):
        return self

    def get_embedding_dimension(self):
        return self.columns[0].shape[1]

    def forward(self, features):
        return {"sentence_embedding": self.columns[features.get("column", 0)]}


def drawn(n: int, seed: int, d: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def agree(ours, reference, *vectors, atol=1e-6):
    """The same scalar and the same gradient to each of the vectors, from our arrays and from their tensors."""
    tensors = [torch.tensor(one, requires_grad=True) for one in vectors]
    wanted = reference(*tensors)
    wanted.backward()
    every = tuple(range(len(vectors)))
    value, gradient = jax.value_and_grad(ours, argnums=every)(*(jnp.asarray(one) for one in vectors))
    np.testing.assert_allclose(value, wanted.item(), rtol=1e-6, atol=atol)
    for slope, tensor in zip(gradient, tensors, strict=True):
        np.testing.assert_allclose(slope, tensor.grad, atol=atol, rtol=1e-5)


def mean(loss, **kwargs):
    """The mean of our rows, of a query, its document and any further columns of negatives."""
    return lambda query, *columns: loss(query, jnp.concatenate(columns), **kwargs).mean()


def embedded(reference, labels=None):
    return lambda *columns: reference.compute_loss_from_embeddings(list(columns), labels)


COLUMNS = drawn(8, 0), drawn(8, 1), drawn(8, 2), drawn(8, 3)
LABEL = np.array([0, 0, 1, 1, 1, 2, 2, 0])
YES = np.array([1, 0, 0, 1, 1, 0, 1, 0])
CLOSE = np.array([0.2, 0.9, 0.2, 0.5, 0.0, 1.0, 0.5, 0.3], np.float32)

# --- contrastive -----------------------------------------------------------------------------------------------------

ALL = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")
OURS = dict(zip(ALL, ("query_to_document", "query_to_query", "document_to_query", "document_to_document"), strict=True))


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_info_nce_is_multiple_negatives_ranking(columns):
    reference = theirs.MultipleNegativesRankingLoss(NO_MODEL, scale=20.0, similarity_fct=util.cos_sim)
    agree(mean(losses.info_nce, temperature=1 / 20), embedded(reference), *COLUMNS[:columns])


@pytest.mark.parametrize("directions", [ALL, ALL[:2], (ALL[0], ALL[3]), (ALL[0], ALL[2])])
def test_joint_info_nce_is_multiple_negatives_ranking_in_all_directions(directions):
    reference = theirs.MultipleNegativesRankingLoss(NO_MODEL, directions=directions)
    ours = mean(losses.joint_info_nce, temperature=1 / 20, directions=tuple(OURS[one] for one in directions))
    agree(ours, embedded(reference), *COLUMNS[:2])


@pytest.mark.parametrize("columns", [2, 3])
def test_symmetric_is_multiple_negatives_ranking_both_ways(columns):
    reference = theirs.MultipleNegativesRankingLoss(
        NO_MODEL, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
    )
    agree(mean(losses.symmetric(losses.info_nce), temperature=1 / 20), embedded(reference), *COLUMNS[:columns])


def test_cached_multiple_negatives_ranking_is_that_of_all_at_once():
    reference = theirs.CachedMultipleNegativesRankingLoss(Fixed(), mini_batch_size=3)

    def cached(*columns):
        return reference.calculate_loss([list(column.split(3)) for column in columns])

    agree(mean(losses.info_nce, temperature=1 / 20), cached, *COLUMNS[:3])
    agree(mean(losses.tiled(losses.info_nce, rows=3), temperature=1 / 20), cached, *COLUMNS[:3])


@pytest.mark.parametrize(("margin", "rule"), [(0.0, "absolute"), (0.1, "absolute"), (0.05, "relative")])
def test_mask_by_guide_is_gist_from_queries_to_documents(margin, rule, monkeypatch):
    monkeypatch.setattr(
        "sentence_transformers.sentence_transformer.losses.gist_embed.embed_columns",
        lambda model, features: list(model.columns),
    )
    guide = [drawn(8, seed) for seed in (5, 6, 7)]

    def reference(*columns):
        made = theirs.GISTEmbedLoss(
            Fixed(*columns),
            Fixed(*map(torch.tensor, guide)),
            temperature=0.05,
            margin=margin,
            margin_strategy=rule,
            contrast_anchors=False,
            contrast_positives=False,
        )
        return made([{}, {}, {}], None)

    loss = losses.mask_by_guide(losses.info_nce, margin=margin, rule=rule)
    given = {"guide_query": jnp.asarray(guide[0]), "guide_document": jnp.concatenate(guide[1:])}
    agree(mean(loss, temperature=0.05, **given), reference, *COLUMNS[:3])


def test_symmetric_is_contrastive_tension_with_negatives_of_the_batch():
    def reference(query, document):
        made = theirs.ContrastiveTensionLossInBatchNegatives(NO_MODEL, scale=20.0)
        made.model1, made.model2 = Fixed(query), Fixed(document)
        return made([{}], None)

    agree(mean(losses.symmetric(losses.info_nce), temperature=1 / 20), reference, *COLUMNS[:2])


# --- margins ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "distance"),
    [
        (theirs.TripletDistanceMetric.EUCLIDEAN, losses.euclidean_distance),
        (theirs.TripletDistanceMetric.MANHATTAN, losses.manhattan_distance),
        (theirs.TripletDistanceMetric.COSINE, losses.cosine_distance),
    ],
)
def test_triplet(metric, distance):
    reference = theirs.TripletLoss(NO_MODEL, distance_metric=metric, triplet_margin=1.0)
    agree(mean(losses.triplet, margin=1.0, distance=distance), embedded(reference), *COLUMNS[:3])


def test_mega_batch_margin():
    reference = theirs.MegaBatchMarginLoss(NO_MODEL, use_mini_batched_version=False)
    agree(mean(losses.mega_batch_margin), lambda q, d: reference.calculate_loss([[q], [d]]), *COLUMNS[:2])


def cosine_distance(vectors):
    return theirs.BatchHardTripletLossDistanceFunction.cosine_distance(vectors)


def euclidean_distance(vectors):
    return theirs.BatchHardTripletLossDistanceFunction.euclidean_distance(vectors)


@pytest.mark.parametrize(
    ("ours", "reference"),
    [
        (losses.batch_hard, theirs.BatchHardTripletLoss),
        (losses.batch_hard_soft, theirs.BatchHardSoftMarginTripletLoss),
        (losses.batch_all, theirs.BatchAllTripletLoss),
        (losses.batch_semi_hard, theirs.BatchSemiHardTripletLoss),
    ],
)
@pytest.mark.parametrize("label", [LABEL, np.array([0, 0, 1, 1, 1, 2, 3, 0])], ids=["all with company", "some alone"])
@pytest.mark.parametrize(
    ("metric", "similarity", "margin"),
    [(cosine_distance, None, 0.3), (euclidean_distance, losses.negative_distance, 2.0)],
    ids=["cosine", "euclidean"],
)
def test_triplets_of_labels(ours, reference, label, metric, similarity, margin):
    given = {} if ours is losses.batch_hard_soft else {"margin": margin}
    if similarity is not None:
        given["similarity"] = similarity
    made = reference(NO_MODEL, distance_metric=metric, **({"margin": margin} if "margin" in given else {}))
    wanted = embedded(made, torch.tensor(label))
    agree(lambda v: ours(v, v, label=jnp.asarray(label, jnp.int32), **given).mean(), wanted, COLUMNS[0])


# --- pairs with a label ----------------------------------------------------------------------------------------------


def test_contrastive_pairs():
    reference = theirs.ContrastiveLoss(NO_MODEL, margin=0.9)
    ours = mean(losses.contrastive_pairs, margin=0.9, label=jnp.asarray(YES, jnp.int32))
    agree(ours, embedded(reference, torch.tensor(YES)), *COLUMNS[:2])


@pytest.mark.parametrize("yes", [YES, np.zeros(8, int), np.ones(8, int)], ids=["both", "no", "yes"])
def test_online_contrastive_is_their_sum(yes):
    reference = theirs.OnlineContrastiveLoss(NO_MODEL, margin=0.9)
    ours = mean(losses.online_contrastive, margin=0.9, label=jnp.asarray(yes, jnp.int32))
    agree(lambda *columns: 8 * ours(*columns), embedded(reference, torch.tensor(yes)), *COLUMNS[:2])


@pytest.mark.parametrize("d", [16, 15])
@pytest.mark.parametrize(("ours", "reference"), [(losses.cosent, theirs.CoSENTLoss), (losses.angle, theirs.AnglELoss)])
def test_order_of_labels(ours, reference, d):
    made = embedded(reference(NO_MODEL, scale=20.0), torch.tensor(CLOSE))
    agree(mean(ours, temperature=1 / 20, label=jnp.asarray(CLOSE)), made, drawn(8, 0, d), drawn(8, 1, d), atol=3e-6)


def test_similarity_regression_is_cosine_similarity():
    reference = embedded(theirs.CosineSimilarityLoss(NO_MODEL), torch.tensor(CLOSE))
    agree(mean(losses.similarity_regression, label=jnp.asarray(CLOSE)), reference, *COLUMNS[:2])


@pytest.mark.parametrize("product", [False, True])
def test_softmax_classification(product, monkeypatch):
    monkeypatch.setattr(
        "sentence_transformers.sentence_transformer.losses.softmax.embed_columns",
        lambda model, features: list(model.columns),
    )
    label = YES + (LABEL == 2)
    features = losses.product_features if product else losses.difference_features
    weight, bias = drawn(64 if product else 48, 4, 3), drawn(1, 5, 3)[0]

    class Linear(torch.nn.Module):
        def __init__(self, weight, bias):
            super().__init__()
            self.weight, self.bias = weight, bias

        def forward(self, vectors):
            return torch.nn.functional.linear(vectors, self.weight.T, self.bias)

    def reference(left, right, weight, bias):
        made = theirs.SoftmaxLoss(Fixed(left, right), 16, 3, concatenation_sent_multiplication=product)
        made.classifier = Linear(weight, bias)
        return made([{}, {}], torch.tensor(label))

    def ours(left, right, weight, bias):
        given = {"label": jnp.asarray(label, jnp.int32), "classifier": losses.linear(weight, bias, features)}
        return losses.softmax_classification(left, right, **given).mean()

    agree(ours, reference, *COLUMNS[:2], weight, bias)


def test_binary_classification_is_contrastive_tension():
    def reference(query, document):
        made = theirs.ContrastiveTensionLoss(NO_MODEL)
        made.model1, made.model2 = Fixed(query), Fixed(document)
        return made([{}, {}], torch.tensor(YES))

    ours = mean(losses.binary_classification, label=jnp.asarray(YES, jnp.int32), classifier=losses.row_dot)
    agree(lambda *columns: 8 * ours(*columns), reference, *COLUMNS[:2])


# --- a teacher -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("negatives", [1, 2])
def test_margin_mse(negatives):
    teacher = drawn(8, 9, 1 + negatives)
    reference = theirs.MarginMSELoss(NO_MODEL)
    ours = mean(losses.margin_mse, negatives=negatives, teacher=jnp.asarray(teacher))
    vectors = [column / 4 for column in COLUMNS[: 2 + negatives]]
    agree(ours, embedded(reference, torch.tensor(teacher)), *vectors)
    margins = embedded(reference, torch.tensor(teacher[:, :1] - teacher[:, 1:]))
    agree(ours, margins, *vectors)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_list_distillation_is_distill_kl_div_over_the_square_of_the_temperature(temperature):
    teacher = drawn(8, 9, 3)
    reference = theirs.DistillKLDivLoss(NO_MODEL, student_temperature=temperature, teacher_temperature=0.7)
    given = {"temperature": temperature, "teacher_temperature": 0.7, "score": losses.row_dot, "negatives": 2}
    ours = mean(losses.list_distillation, teacher=jnp.asarray(teacher), **given)
    agree(lambda *c: temperature**2 * ours(*c), embedded(reference, torch.tensor(teacher)), *COLUMNS)


def test_score_distillation_is_the_divergence_of_torch():
    teacher = drawn(8, 9, 12)

    def reference(query, document):
        student = torch.log_softmax(util.cos_sim(query, document) / 0.1, dim=-1)
        target = torch.log_softmax(torch.tensor(teacher) / 0.1, dim=-1)
        return torch.nn.functional.kl_div(student, target, reduction="batchmean", log_target=True)

    ours = mean(losses.score_distillation, teacher=jnp.asarray(teacher), temperature=0.1)
    agree(ours, reference, drawn(8, 0), drawn(12, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("metric", "distance"),
    [
        ("mse", losses.mean_squared_distance),
        ("l2", losses.euclidean_distance),
        ("cosine", losses.cosine_distance),
    ],
)
def test_embedding_distillation_is_embed_distill(metric, distance):
    teacher = drawn(8, 9)
    reference = theirs.EmbedDistillLoss(NO_MODEL, distance_metric=metric)
    ours = losses.embedding_distillation
    agree(
        lambda student: ours(student, jnp.asarray(teacher), distance=distance).mean(),
        lambda student: reference.compute_loss_from_embeddings([student], [torch.tensor(teacher)]),
        COLUMNS[0],
    )


def test_projected_is_embed_distill_with_a_projection():
    teacher, matrix, bias = drawn(8, 9, 24), drawn(16, 8, 24), drawn(1, 7, 24)[0]

    def reference(student, matrix, bias):
        made = theirs.EmbedDistillLoss(NO_MODEL, distance_metric="cosine")
        made.projection = lambda vectors: torch.nn.functional.linear(vectors, matrix.T, bias)
        return made.compute_loss_from_embeddings([student], [torch.tensor(teacher)])

    def ours(student, matrix, bias):
        return losses.projected(losses.embedding_distillation, matrix, bias)(student, jnp.asarray(teacher)).mean()

    agree(ours, reference, COLUMNS[0], matrix, bias)


# --- how vectors lie, and parts of them ------------------------------------------------------------------------------


@pytest.mark.parametrize(("one", "two"), [(1.0, 1.0), (0.5, 0.0), (0.0, 2.0)])
def test_global_orthogonal(one, two):
    reference = theirs.GlobalOrthogonalRegularizationLoss(NO_MODEL, mean_weight=one, second_moment_weight=two)
    crowded = [column + 1 for column in COLUMNS[:2]]
    ours = mean(losses.global_orthogonal, mean_weight=one, second_weight=two)
    agree(ours, lambda *columns: sum(embedded(reference)(*columns).values()), *crowded)


def test_matryoshka_is_theirs_over_the_sum_of_the_weights():
    sizes, weights = (4, 16), (1.0, 3.0)

    class Inner(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model
            self.loss = theirs.MultipleNegativesRankingLoss(NO_MODEL)

        def forward(self, features, labels):
            columns = [self.model.forward(dict(feature))["sentence_embedding"] for feature in features]
            return self.loss.compute_loss_from_embeddings(columns, labels)

    def reference(*columns):
        model = Fixed(*columns)
        made = theirs.MatryoshkaLoss(model, Inner(model), sizes, list(weights))
        return made([{"column": 0}, {"column": 1}], None) / sum(weights)

    ours = mean(losses.matryoshka(partial(losses.info_nce, temperature=1 / 20), sizes, weights))
    agree(ours, reference, *COLUMNS[:2])
