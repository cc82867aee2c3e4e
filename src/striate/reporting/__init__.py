"""Reports: one self-contained HTML page about a run or a prediction, made from the artefacts on disk.

Nothing here needs torch: a report is rendered again on any laptop. `render` turns a folder into the page, `panel`
stores what the image · ground truth · prediction figure needs, `sections` holds one file per section.
"""
