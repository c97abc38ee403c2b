#!/usr/bin/python3
"""Writes optimizer_fixture.json: 100 steps of PyTorch's Adam, AdamW and SGD on the CPU, in float32.

Run it again only when a case is added: /usr/bin/python3 tests/kernels/make_optimizer_fixture.py
(Debian package python3-torch). The C++ test reads the JSON alone. Gradients are part of the fixture's definition, not
of the file: element i at step t is grad(i, t) below, exact in float32, which the test computes too.
"""
import json
import os

import torch

STEPS, SIZE = 100, 37
KEEP = (1, 2, 10, 100)

CASES = {
    "adam": (torch.optim.Adam, dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8)),
    "adam l2": (torch.optim.Adam, dict(lr=0.01, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1)),
    "adamw": (torch.optim.AdamW, dict(lr=0.003, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)),
    "adamw no decay": (torch.optim.AdamW, dict(lr=0.003, betas=(0.8, 0.999), eps=1e-4, weight_decay=0.0)),
    "sgd": (torch.optim.SGD, dict(lr=0.1)),
    "sgd decay": (torch.optim.SGD, dict(lr=0.1, weight_decay=0.01)),
    "momentum": (torch.optim.SGD, dict(lr=0.05, momentum=0.9)),
    "momentum dampening decay": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, dampening=0.5, weight_decay=0.01)),
    "nesterov decay": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)),
}


def grad(i, t):
    """In sixty-fourths between -2 and 2; every fifth element is always 0."""
    return 0.0 if i % 5 == 0 else ((i * 37 + t * 101 + i * t * 7) % 257 - 128) / 64.0


def run(kind, options):
    value = torch.nn.Parameter(torch.tensor([(i - 18) / 16.0 for i in range(SIZE)]))
    optimizer = kind([value], **options)
    kept = {}
    for t in range(1, STEPS + 1):
        value.grad = torch.tensor([grad(i, t) for i in range(SIZE)])
        optimizer.step()
        if t in KEEP:
            kept[str(t)] = value.tolist()
    return kept


def main():
    cases = []
    for name, (kind, options) in CASES.items():
        options = dict(options)
        betas = options.pop("betas", None)
        recorded = dict(options, beta1=betas[0], beta2=betas[1]) if betas else dict(options)
        kept = run(kind, dict(options, betas=betas) if betas else options)
        cases.append(dict(name=name, kind=kind.__name__, options=recorded, values=kept))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "optimizer_fixture.json")
    with open(path, "w", encoding="ascii") as f:
        json.dump(dict(format="govtrain-optimizer-fixture", version=1, torch=torch.__version__, steps=STEPS,
                       size=SIZE, cases=cases), f, indent=0)
        f.write("\n")


if __name__ == "__main__":
    main()
