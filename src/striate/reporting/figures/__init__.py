"""Plots as small inline SVG: lines, dots, agreement, matrices, characteristics.

Colours come from the page's style, so light and dark both work.
"""
