#!/usr/bin/env python3
"""Writes representation_fixture.json: matrix-based entropies, effective ranks and CKA by numpy, for tests only.

Independent of the program: eigenvalues by LAPACK from the full N x N Gram matrix, CKA from centred features (the form
|Y'X|^2 / (|X'X| |Y'Y|)). Run it with numpy installed; the result is committed.
"""
import json
import os

import numpy as np


def matrix(n, d, seed):
    """The same formula is in representation_test.cpp."""
    i, j = np.meshgrid(np.arange(n), np.arange(d), indexing="ij")
    return np.sin(1.7 * i + 0.3 * j * j + seed) + 0.4 * np.cos(0.9 * i * (j + 1) + 2 * seed)


def spectrum(x):
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    p = np.linalg.eigvalsh(x @ x.T)
    p = np.maximum(p, 0)[::-1][: min(x.shape)]
    return p / p.sum()


def entropy(p, alpha):
    p = p[p > 1e-300]
    return float(-(p * np.log(p)).sum() if alpha == 1 else np.log((p**alpha).sum()) / (1 - alpha))


def cka(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    return float(
        np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    )


cases = []
for n, d, seed in [(2, 3, 1), (5, 4, 2), (7, 7, 3), (12, 40, 4), (40, 12, 5), (64, 48, 6), (33, 96, 7)]:
    x, y = matrix(n, d, seed), matrix(n, d + 3, seed + 0.5)
    p = spectrum(x)
    cases.append(
        {
            "n": n,
            "d": d,
            "seed": seed,
            "spectrum": [float(v) for v in p],
            "entropy": {str(a): entropy(p, a) / np.log(min(n, d)) for a in (0.5, 1, 2, 5)},
            "capacity": float(np.exp(entropy(p, 1)) / min(n, d)),
            "cka": cka(x, y),
        }
    )

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "representation_fixture.json")
with open(path, "w") as f:
    json.dump(cases, f, indent=1)
    f.write("\n")
