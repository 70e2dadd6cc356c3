"""Experiments with symmetry and expressivity, as functions: what a family can see, in numbers and pictures."""
