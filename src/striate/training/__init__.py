"""How a network learns: the loop of the lecture's five steps, losses, optimisers, checkpoints."""
