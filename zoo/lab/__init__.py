"""Experiments with symmetry and expressivity: which structures a network distinguishes, and how exact its symmetry is.

Start with ``experiments.py`` (expressivity) and ``equivariance.py`` (symmetry).
"""
