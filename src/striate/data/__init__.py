"""Cohorts, their checks, and the way from files to the patches a network learns from."""
