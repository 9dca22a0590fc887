"""Remake tests/golden/small: what torch computes with random recurrent and convolutional layers, value and gradient.

Needs torch (the extra `parity`); run from the repository's root, for all or for some:

    python tools/golden_small.py [name ...]

Writes tests/golden/small/<name>.npz: the states that go in and their mask, the weights under torch's names, the states
that come out, and the gradients of half their squared norm by the states (`slope`) and the weights (`slope.<name>`).
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HERE = Path(__file__).parent.parent / "tests" / "golden" / "small"
LENGTHS = (7, 3, 1, 5)
INPUTS, SIZE = 5, 4


def packed(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """A recurrent network over packed texts, padded with zeros again."""

    def apply(states: Tensor) -> Tensor:
        texts = pack_padded_sequence(states, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(network(texts)[0], batch_first=True)[0]

    return apply


def text_by_text(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A network over every text alone, without padding; `[b, d]` out."""

    def apply(states: Tensor) -> Tensor:
        return torch.cat([network(states[i : i + 1, :length]) for i, length in enumerate(LENGTHS)])

    return apply


def same(convolution: nn.Module) -> Callable[[Tensor], Tensor]:
    """tanh of a convolution over every text alone, padded with zeros again."""

    def apply(states: Tensor) -> Tensor:
        rows = []
        for i, length in enumerate(LENGTHS):
            out = torch.tanh(convolution(states[i, :length].T[None])[0].T)
            rows.append(nn.functional.pad(out, (0, 0, 0, states.shape[1] - length)))
        return torch.stack(rows)

    return apply


def largest(convolutions: nn.ModuleList) -> Callable[[Tensor], Tensor]:
    """The largest value over time of several widths; a text that is too short is filled up with zeros."""

    def one(convolution: nn.Module, text: Tensor) -> Tensor:
        missing = max(convolution.kernel_size[0] - text.shape[1], 0)
        return torch.relu(convolution(nn.functional.pad(text.transpose(1, 2), (0, missing)))).amax(dim=2)

    return text_by_text(lambda text: torch.cat([one(convolution, text) for convolution in convolutions], dim=1))


def network(name: str) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """A module and what is computed with it."""
    recurrent = {"gru": nn.GRU, "lstm": nn.LSTM}
    if name in recurrent:
        module = recurrent[name](INPUTS, SIZE, num_layers=2, batch_first=True, bidirectional=True)
        return module, packed(module)
    if name in ("gru_forward", "lstm_forward"):
        module = recurrent[name.removesuffix("_forward")](INPUTS, SIZE, batch_first=True)
        return module, packed(module)
    if name == "convolution":
        convolution = nn.Conv1d(INPUTS, SIZE, 4, padding="same")
        return convolution, same(convolution)
    convolutions = nn.ModuleList(nn.Conv1d(INPUTS, SIZE, width) for width in (2, 3, 4))
    return convolutions, largest(convolutions)


NAMES = ("gru", "lstm", "gru_forward", "lstm_forward", "convolution", "scales")


def keep(name: str) -> None:
    """Make one network and keep what torch computes with it."""
    torch.manual_seed(0)
    module, apply = network(name)
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.5)
    mask = (torch.arange(max(LENGTHS))[None] < torch.tensor(LENGTHS)[:, None]).int()
    states = torch.randn(len(LENGTHS), max(LENGTHS), INPUTS, requires_grad=True)
    out = apply(states)
    (0.5 * (out**2).sum()).backward()
    values = {"states": states, "mask": mask, "out": out, "slope": states.grad}
    for leaf, weight in module.named_parameters():
        values |= {f"weights.{leaf}": weight, f"slope.{leaf}": weight.grad}
    np.savez(HERE / f"{name}.npz", allow_pickle=False, **{key: value.detach().numpy() for key, value in values.items()})


def main() -> None:
    """Remake what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="name")
    HERE.mkdir(parents=True, exist_ok=True)
    for name in parser.parse_args().names or NAMES:
        keep(name)


if __name__ == "__main__":
    main()
