import random

import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from sklearn.cluster import AgglomerativeClustering

from rewards import bleu_distances, cluster_shares, merged_cluster_shares
from rewards.diversity import average_linkage

METHOD_1 = SmoothingFunction().method1
SENTENCES = """what is the color of a the the cat dog how many are there 这是 什么 颜色 的
어떤 색 입니까 몇 개 ? Is it larger than left right"""
WORDS = SENTENCES.split()


def nltk_distances(questions):
    tokens = [question.split() for question in questions]
    distances = np.zeros((len(questions), len(questions)))
    for i in range(len(questions)):
        for j in range(i + 1, len(questions)):
            bleu = sentence_bleu([tokens[j]], tokens[i], smoothing_function=METHOD_1)
            distances[i, j] = distances[j, i] = 1 - bleu
    return distances


def sklearn_shares(distances, threshold=0.5):
    if len(distances) < 2:
        return np.ones(len(distances))
    labels = AgglomerativeClustering(
        n_clusters=None, distance_threshold=threshold, metric="precomputed", linkage="average"
    ).fit_predict(distances)
    return np.bincount(labels)[labels] / len(labels)


def random_questions(rng, count):
    """Random texts, empty ones and near-copies among them; few words, so that ties are many."""
    words = rng.sample(WORDS, rng.randint(2, len(WORDS)))
    questions = [" ".join(rng.choices(words, k=rng.randint(0, 12))) for _ in range(count)]
    for _ in range(count // 3):
        copy = questions[rng.randrange(count)].split()
        if copy:
            copy[rng.randrange(len(copy))] = rng.choice(words)
        questions[rng.randrange(count)] = " ".join(copy)
    return questions


@pytest.mark.parametrize("seed", range(40))
def test_distances_and_shares_equal_nltk_and_sklearn(seed):
    rng = random.Random(seed)
    questions = random_questions(rng, rng.choice([1, 2, 3, 5, 8, 8, 8, 20, 40]))
    expected = nltk_distances(questions)
    np.testing.assert_allclose(bleu_distances(questions), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(cluster_shares(questions), sklearn_shares(expected), rtol=0, atol=1e-9)


def test_linkage_equals_sklearn_on_matrices_full_of_ties():
    rng = np.random.default_rng(3)
    for size in (2, 3, 5, 8, 12, 31, 33, 60):
        for _ in range(20):
            upper = np.triu(rng.integers(1, 10, (size, size)) / 10.0, 1)
            distances = upper + upper.T
            labels = average_linkage(distances, threshold=0.5)
            shares = np.bincount(labels)[labels] / size
            np.testing.assert_allclose(shares, sklearn_shares(distances), rtol=0, atol=1e-9)


def test_bleu_by_hand():
    # hypothesis "a b c d e", reference "a b c d f": p = 4/5, 3/4, 2/3, 1/2; same length, no brevity penalty
    expected = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert bleu_distances(["a b c d e", "a b c d f"])[0, 1] == pytest.approx(1 - expected, abs=1e-12)
    # two words: 2/2, 1/1, then 0/1 smoothed to 0.1 twice; the reference is twice as long: exp(1 - 4/2)
    expected = (1 * 1 * 0.1 * 0.1) ** 0.25 * np.exp(1 - 4 / 2)
    assert bleu_distances(["a b", "a b c d"])[0, 1] == pytest.approx(1 - expected, abs=1e-12)
    # a word counts no oftener than the reference has it: 1/3, then 0.1/2, 0.1/1, 0.1/1
    expected = (1 / 3 * 0.1 / 2 * 0.1 * 0.1) ** 0.25
    assert bleu_distances(["a a a", "a b"])[0, 1] == pytest.approx(1 - expected, abs=1e-12)


def test_the_earlier_question_is_the_hypothesis():
    short_first = bleu_distances(["a b c d", "a b c d e f g h"])
    long_first = bleu_distances(["a b c d e f g h", "a b c d"])
    assert short_first[0, 1] == pytest.approx(1 - np.exp(1 - 8 / 4), abs=1e-12)
    assert long_first[0, 1] == pytest.approx(1 - (4 / 8 * 3 / 7 * 2 / 6 * 1 / 5) ** 0.25, abs=1e-12)


def test_shares_by_hand():
    same = "What is the color of the car?"
    shares = cluster_shares([same, "How many dogs can be seen here?", same, same])
    np.testing.assert_allclose(shares, [0.75, 0.25, 0.75, 0.75])


def test_short_copies_count_only_when_duplicates_are_merged():
    # BLEU of two words with themselves is (1 * 1 * 0.1 * 0.1) ** 0.25 = 0.316: too far apart to merge
    group = ["What color?", "What color?", "这是什么颜色?", "这是什么颜色?"]
    np.testing.assert_allclose(cluster_shares(group), [0.25] * 4)
    np.testing.assert_allclose(merged_cluster_shares(group), [0.5] * 4)


def test_a_threshold_is_not_reached_by_equality():
    distances = np.array([[0.0, 0.5], [0.5, 0.0]])
    assert len(set(average_linkage(distances, threshold=0.5))) == 2
    assert len(set(average_linkage(distances, threshold=0.5 + 1e-9))) == 1


def test_no_questions():
    assert bleu_distances([]).shape == (0, 0)
    assert cluster_shares([]).shape == (0,)
