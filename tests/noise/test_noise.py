"""A share of `make noise`: all that a meter has stored arrives over a bad line, once and as it is."""

import pytest

from tests.noise import household
from tests.noise.run import totals
from tests.tls_peers import has_mbedtls

TLS = pytest.mark.skipif(
    not has_mbedtls(), reason="python-mbedtls, the virtual meter's TLS, has no wheel here"
)
EVERYTHING = "corrupt=0.3%,lose=0.3%,double=0.2%,late=0.1%,garbage=0.05%,half=0.05%,reset=0.005%"


@pytest.mark.parametrize(
    ("port", "security", "faults"),
    [
        ("mep", "digest", "corrupt=1%"),
        ("mep", "rc4", "corrupt=1%"),
        ("optical", "", "corrupt=1%"),
        ("mep", "digest", EVERYTHING),
        ("optical", "", EVERYTHING),
        pytest.param("mep", "tls", "corrupt=0.2%", marks=TLS),
    ],
)
def test_a_day_of_intervals_and_all_events_over_a_bad_line(port: str, security: str, faults: str, figures):
    outcomes = [household.run(port, security, faults, seed) for seed in (1, 2, 3)]
    figures(totals(outcomes))
    for outcome in outcomes:
        assert outcome.wrong == []
        assert outcome.missing == []
        assert outcome.doubled == []
        assert outcome.key_refused == 0
        assert outcome.intervals >= 96
        assert outcome.events >= 30
        assert outcome.faults > 20
