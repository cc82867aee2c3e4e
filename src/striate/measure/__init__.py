"""Numbers about masks: overlap, distance, volume, lesions, intervals, findings. numpy and scipy only."""
