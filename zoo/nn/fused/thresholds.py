"""Sizes at which fused operations replace plain ones, measured on CPUs with 1 to 2 MB of second-level cache a core."""

from __future__ import annotations

from zoo.nn.fused.operation import Use

__all__ = [
    "ACTIVATION",
    "BLOCKWISE",
    "BLOCKWISE_BYTES",
    "BLOCK_BYTES",
    "FILTERED_SUMS",
    "RECOMPUTED",
    "SHIFTED_SOFTPLUS",
]

ACTIVATION = Use(above=16_384)
"""For fewer numbers torch's own functions are quicker than better ones called from Python."""
SHIFTED_SOFTPLUS = Use(above=65_536)
"""Filters of a small molecule's pairs are rows too, hence four times the threshold of the other activation."""
FILTERED_SUMS = Use(above=131_072)
"""For a small molecule alone the plain operations are quicker."""
RECOMPUTED = Use(above=1 << 22, cpu_only=True, constant_weights=True)
"""Up to 16 MB of float32 messages in a layer, keeping them is a little quicker than computing them again."""
BLOCKWISE = Use(above=65_536, cpu_only=True, inference_only=True)
"""Fewer intermediate numbers stay in the cache as they are."""

BLOCKWISE_BYTES = 256 * 1024
"""Intermediate rows of a chain of layers, for each thread."""
BLOCK_BYTES = 512 * 1024
"""Rows that sums over neighbours work on at a time, so that they stay in the second-level cache."""
