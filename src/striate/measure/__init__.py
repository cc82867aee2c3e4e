"""Numbers about masks, classes and reconstructed images, with intervals over subjects. numpy and scipy only."""
