"""The tests of coverage against SciPy's distributions and cases with a known answer."""

import numpy as np
import pytest
from scipy.stats import binomtest, chi2

from stockcast_assets.forecasting.evaluation.coverage import coverage_test


def test_the_promised_rate_is_accepted_and_another_is_not() -> None:
    missed = np.arange(1000) % 5 == 0
    assert coverage_test(missed, 80).kupiec_p == pytest.approx(1)
    assert coverage_test(missed, 90).kupiec_p < 1e-9


def test_kupiec_agrees_with_the_exact_binomial_test() -> None:
    generator = np.random.default_rng(3)
    for rate in (0.16, 0.2, 0.23):
        missed = generator.random(2000) < rate
        exact = binomtest(int(missed.sum()), 2000, 0.2).pvalue
        assert coverage_test(missed).kupiec_p == pytest.approx(exact, abs=0.02)


def test_kupiec_is_the_likelihood_ratio() -> None:
    missed = np.arange(100) < 25
    ratio = -2 * (75 * np.log(0.8 / 0.75) + 25 * np.log(0.2 / 0.25))
    assert coverage_test(missed).kupiec_p == pytest.approx(chi2.sf(ratio, 1))


def test_misses_in_clusters_are_found_and_independent_ones_are_not_accused() -> None:
    generator = np.random.default_rng(5)
    clustered = np.repeat(generator.random(200) < 0.2, 5)
    assert coverage_test(clustered).christoffersen_p < 1e-9
    accused = [coverage_test(generator.random(500) < 0.2).christoffersen_p < 0.05 for _ in range(400)]
    assert 0.02 < np.mean(accused) < 0.09


def test_nothing_and_one_case_are_no_evidence() -> None:
    for missed in (np.zeros(0, bool), np.ones(1, bool)):
        assert coverage_test(missed).christoffersen_p == 1
