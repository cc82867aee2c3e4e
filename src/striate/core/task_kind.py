"""`TaskKind`: what a network is asked to do."""

from typing import Literal

TaskKind = Literal["segmentation", "classification", "sequence", "reconstruction"]
"""A mask; a class for an image; a class for each image of a sequence; the image itself."""
