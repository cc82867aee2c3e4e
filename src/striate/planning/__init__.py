"""From measured facts of a cohort to a plan: fingerprint, rules (one decision per file), cost."""
