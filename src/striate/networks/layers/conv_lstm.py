"""LSTM whose products are convolutions, so that it remembers maps instead of a vector.

Paper
    X. Shi et al.: Convolutional LSTM Network: A Machine Learning Approach for Precipitation Nowcasting. NIPS 2015,
    equation 3. Peepholes: one weight per map, as the numbers of parameters that the paper prints imply; its equation
    reads as if there were one per map and place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from striate.networks.layers.spatial import conv

State = tuple[Tensor, Tensor]
"""Hidden maps and memory, both (B, hidden, *S)."""


class ConvLSTM(nn.Module):
    """One layer over a sequence of maps.

    Parameters
    ----------
    inputs
        Maps of an image; 0: there is no input, the layer goes on from its state alone.
    hidden
        Maps that are remembered.
    kernel
        Of both convolutions, per axis; odd.
    """

    def __init__(self, inputs: int, hidden: int, kernel: tuple[int, ...]) -> None:
        super().__init__()
        self.hidden = hidden
        self.from_input = conv(inputs, 4 * hidden, kernel, bias=False) if inputs else None
        self.from_state = conv(hidden, 4 * hidden, kernel)
        self.peepholes = nn.Parameter(torch.zeros(3, hidden, *(1 for _ in kernel)))  # input, forget, output

    def step(self, driven: Tensor | None, state: State) -> State:
        """Go one image further.

        Parameters
        ----------
        driven
            What comes from the image, (B, 4·hidden, *S): input gate, forget gate, candidate, output gate.
        state
            Before the image.
        """
        h, c = state
        gates = self.from_state(h) if driven is None else self.from_state(h) + driven
        i, f, g, o = gates.chunk(4, dim=1)
        to_input, to_forget, to_output = self.peepholes
        i = torch.sigmoid(i + to_input * c)
        f = torch.sigmoid(f + to_forget * c)
        c = f * c + i * torch.tanh(g)
        o = torch.sigmoid(o + to_output * c)
        return o * torch.tanh(c), c

    def forward(self, x: Tensor, state: State | None = None, *, backwards: bool = False) -> tuple[Tensor, State]:
        """Go through a sequence.

        Parameters
        ----------
        x
            (B, T, inputs, *S); without inputs, maps (B, T, 0, *S) say how far to go.
        state
            At the start; None: zeros.
        backwards
            Begin with the last image.

        Returns
        -------
        hidden, state
            Hidden maps (B, T, hidden, *S), in the order of the images, and the state at the end.
        """
        steps = x.shape[1]
        if state is None:
            zeros = x.new_zeros((x.shape[0], self.hidden, *x.shape[3:]))
            state = zeros, zeros
        driven = None if self.from_input is None else self.from_input(x.flatten(0, 1)).unflatten(0, (-1, steps))
        found: list[Tensor] = []
        for t in reversed(range(steps)) if backwards else range(steps):
            state = self.step(None if driven is None else driven[:, t], state)
            found.append(state[0])
        return torch.stack(found[::-1] if backwards else found, dim=1), state
