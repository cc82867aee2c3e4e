"""What a model knows of its own limits: calibration, intervals, likeness to its training data, review, change, attack."""
