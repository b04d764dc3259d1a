"""Claims about what follows from class counts."""

import numpy as np
import pytest
import torch

from criterions.priors import class_weights, effective_number, first_probabilities, inverse_frequency, inverse_root, log_prior, prior_logits
from utils.errors import UserError

COUNTS = (600, 300, 90, 10)


def test_inverse_frequencies_have_mean_one_and_even_out_the_classes():
    weights = inverse_frequency(COUNTS)
    assert weights.mean() == pytest.approx(1)
    np.testing.assert_allclose(weights * COUNTS, (weights * COUNTS)[0])


def test_inverse_roots_lie_halfway_between_no_weights_and_inverse_frequencies():
    weights = inverse_root(COUNTS)
    assert weights.mean() == pytest.approx(1)
    halfway = inverse_frequency(COUNTS) ** 0.5
    np.testing.assert_allclose(weights / weights[0], halfway / halfway[0])
    np.testing.assert_allclose(class_weights("sqrt", classes=tuple("abcd"), counts=COUNTS), weights)


def test_the_effective_number_goes_from_no_weights_to_inverse_frequencies():
    np.testing.assert_allclose(effective_number(COUNTS, 0.0), 1)
    np.testing.assert_allclose(effective_number(COUNTS, 1 - 1e-9), inverse_frequency(COUNTS), rtol=1e-4)
    by_hand = [0.001 / (1 - 0.999**count) for count in COUNTS]
    np.testing.assert_allclose(effective_number(COUNTS), by_hand / np.mean(by_hand))


def test_a_class_without_images_keeps_everything_finite():
    for values in (inverse_frequency((5, 0)), inverse_root((5, 0)), effective_number((5, 0)), log_prior((5, 0))):
        assert np.isfinite(values).all()


def test_class_weights_come_from_a_rule_or_a_file(tmp_path):
    (tmp_path / "w.csv").write_text("class,weight\na,2\nb,0.5\n")
    given = {"classes": ("a", "b"), "counts": (3, 1)}
    np.testing.assert_allclose(class_weights("auto", **given), [0.5, 1.5])
    np.testing.assert_allclose(class_weights(str(tmp_path / "w.csv"), **given), [2, 0.5])
    with pytest.raises(UserError, match="--class_weights automatic"):
        class_weights("automatic", **given)


def test_logits_of_a_prior_answer_with_the_prior():
    shares = np.array(COUNTS) / 1000
    logits = torch.from_numpy(prior_logits(shares, "softmax"))
    np.testing.assert_allclose(logits.softmax(0).numpy(), shares)
    logits = torch.from_numpy(prior_logits(shares, "sigmoid"))
    np.testing.assert_allclose(torch.sigmoid(logits).numpy(), shares)


def test_first_probabilities_are_those_of_the_data_a_number_or_a_file(tmp_path):
    given = {"classes": ("a", "b"), "counts": (3, 1)}
    np.testing.assert_allclose(first_probabilities("data", **given), [0.75, 0.25])
    np.testing.assert_allclose(first_probabilities("data", images=6, **given), np.array(given["counts"]) / 6)
    np.testing.assert_allclose(first_probabilities("0.01", **given), [0.01, 0.01])
    (tmp_path / "p.csv").write_text("class,weight\na,0.2\nb,0.1\n")
    np.testing.assert_allclose(first_probabilities(str(tmp_path / "p.csv"), **given), [0.2, 0.1])
    with pytest.raises(UserError, match="--prior_bias often"):
        first_probabilities("often", **given)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_one_class_alone_has_a_finite_logit(activation):
    assert np.isfinite(prior_logits(first_probabilities("data", classes=("a",), counts=(9,)), activation)).all()


@pytest.mark.parametrize(("probabilities", "activation"), [((0.0, 0.5), "softmax"), ((1.0, 0.5), "sigmoid"), ((-0.1, 0.5), "sigmoid")])
def test_a_probability_without_logit_names_the_flag(probabilities, activation):
    with pytest.raises(UserError, match="--prior_bias"):
        prior_logits(probabilities, activation)


@pytest.mark.parametrize("beta", [1.0, -0.1, float("nan")])
def test_a_beta_out_of_range_is_named(beta):
    with pytest.raises(UserError, match="beta"):
        effective_number(COUNTS, beta)
