"""Our AdamW takes PyTorch's steps, and does not wait for its compiler."""

import copy
import subprocess
import sys

import torch

from electralab.speed.adamw import AdamW

USED = """
import sys, torch
from electralab.speed.adamw import AdamW
model = torch.nn.Linear(4, 2)
optimizer = AdamW(model.parameters(), fused=True)
for _ in range(2):
    model(torch.ones(3, 4)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""


def train(kind: type[torch.optim.AdamW], steps: int, model: torch.nn.Linear, state: dict | None = None) -> dict:
    groups = [{"params": [model.weight], "weight_decay": 0.1}, {"params": [model.bias], "lr": 0.05}]
    optimizer = kind(groups, lr=0.01, betas=(0.9, 0.98), eps=1e-6, fused=True)
    if state is not None:
        optimizer.load_state_dict(state)
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        model(torch.randn(5, 4, generator=generator)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert model.weight.grad is None
    return optimizer.state_dict()


def test_steps_and_state_are_those_of_pytorch() -> None:
    torch.manual_seed(0)
    ours = torch.nn.Linear(4, 2)
    theirs = copy.deepcopy(ours)
    state = copy.deepcopy(train(AdamW, 3, ours))
    expected = copy.deepcopy(train(torch.optim.AdamW, 3, theirs))
    assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)
    assert state["param_groups"] == expected["param_groups"]
    # A checkpoint of one goes on in the other.
    train(AdamW, 2, ours, expected)
    train(torch.optim.AdamW, 2, theirs, state)
    assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)


def test_the_compiler_is_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", USED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
