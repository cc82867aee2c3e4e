"""Several networks on one cohort: what is run, what each run cost and reached, and what that says."""
