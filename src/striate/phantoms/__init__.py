"""Synthetic cohorts made from real anatomy: shape, lesions, contrast, scanner, artefacts."""
