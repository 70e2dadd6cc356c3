"""Hand-fused operations: each has a plain twin in ordinary torch operations, with the same signature and results.

Start with ``operation.py``: the interface, and the rules by which one of the two forms runs. ``thresholds.py`` holds
every size at which that choice changes. Two helpers make a fused form differentiable: ``multilinear.py`` (sums of
products) and ``recomputed.py`` (functions that keep only their arguments). ``tests/nn/test_fused.py`` compares every
pair to second order; ``make bench-fused`` measures what each fused form gains.
"""
