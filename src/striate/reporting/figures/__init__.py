"""Plots as small inline SVG: lines, dots and agreement; colours come from the page's style, so light and dark both work.

`descent` is a picture of its own, drawn by matplotlib.
"""
