"""From a model and images to masks on the images' own grid, with bounded memory."""
