"""Facts and features of the scans that a model learned from: the same as while predicting, without going through the network."""

import numpy as np

from striate import networks
from striate.data.cohort import Cohort
from striate.inference.engines import network_in, open_engine
from striate.inference.predict import predict_case
from striate.trust.reference import reference


def test_they_are_those_of_a_prediction_and_stop_at_the_layer(tiny_cohort, tiny_plan):
    plan, cases = tiny_plan(), Cohort.open(tiny_cohort).cases
    network = networks.create("small_unet", spatial_dims=3, out_channels=2, features=(4, 8)).eval()
    engine = open_engine(network, exclusive=True)
    ends = []
    network.register_forward_hook(lambda *_: ends.append(1))
    found = list(reference(plan, engine, cases))
    assert not ends, "nothing goes through the whole network"
    assert [case.case for case in found] == [case.name for case in cases]
    for case, evidence in zip(cases, found, strict=True):
        told = predict_case(plan, case, network=engine, observe=True)
        np.testing.assert_allclose(evidence.features, told.observed.features, rtol=1e-5)
        assert evidence.features.size and evidence.facts["flair"]["noise"] > 0 and not evidence.labels
    assert network_in(engine) is network and not network.training


def test_an_engine_without_layers_gives_facts_alone(tiny_cohort, tiny_plan):
    class Deaf:
        name, precision = "deaf", "fp32"

        def __call__(self, tiles):
            raise AssertionError("nothing is computed")

    (found, *_) = reference(tiny_plan(), Deaf(), Cohort.open(tiny_cohort).cases)
    assert found.features.size == 0 and found.facts["flair"]["spacing_x"] == 2.0
