"""Files in and out: image formats, cohort layouts, and the four functions that hide which one it was."""
