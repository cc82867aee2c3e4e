"""A trained model on disk: plan, weights, facts and card."""
