from secateur.export.details import layer_lines


def test_what_a_picture_computes_and_which_form_was_taken():
    result = {
        "dynamic_share": {"stem": 0.5},
        "layers": {"stem": {"macs": 1e6, "dense_macs": 4e6, "read": 1.0, "made": 0.25}},
        "forms": {"stem": "dense", "block": "skip"},
        "milliseconds": {"block": {"dense": 0.5, "skip": 0.25}},
        "whole": {"dense": 2.0, "1 forms": 1.5},
    }
    assert layer_lines(result) == [
        "stem   1.000 of 4.000 M MACs, reads 100 %, makes 25 %, 50 % of its channels change with the picture; dense",
        "block  skip (dense 0.500, skip 0.250 ms)",
        "the whole network: dense 2.000, 1 forms 1.500 ms",
    ]


def test_most_learners_have_nothing_to_tell():
    assert layer_lines({"dense": {}}) == []
