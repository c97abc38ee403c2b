#!/usr/bin/env python3
"""One training step of the quickstart's model in PyTorch, for comparison with bench_step: the same model, distribution of
initial weights, batch, optimizer and clipping (per block), nothing governed. Prints the parameters, the losses of the first
and the last step, then the median time of a step, its spread and tokens/s.

usage: tools/bench/step_torch.py [--device cuda|cpu] [--rounds N] [--precision fp32|tf32|bf16] [--compile] [shape options]

The defaults are configs/quickstart.yaml with every example as long as the context, which is what `bench_step whole` uses.
PyTorch does it its own best way: its fused attention, norm and AdamW; bf16 is autocast, which keeps activations and
attention in bf16, as bench_step does not. A step begins with tokens on the host and ends when the device is done, as there.
Needs PyTorch 2.4 or newer.
"""
import argparse
import contextlib
import os
import statistics
import sys
import time

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
    from torch.nn.functional import rms_norm
except ImportError:
    sys.exit("PyTorch 2.4 or newer is not installed")


EPS = 1e-5


class Layer(nn.Module):
    def __init__(self, width, heads, mlp):
        super().__init__()
        self.heads, self.head_dim = heads, width // heads
        self.norm1, self.norm2 = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = nn.Linear(width, mlp, bias=False), nn.Linear(width, mlp, bias=False)
        self.down = nn.Linear(mlp, width, bias=False)

    def split(self, x):
        return x.view(*x.shape[:2], self.heads, self.head_dim).transpose(1, 2)

    def forward(self, x, cosine, sine):
        h = rms_norm(x, x.shape[-1:], self.norm1, EPS)
        q, k, v = (self.split(p(h)) for p in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(rotate(q, cosine, sine), rotate(k, cosine, sine), v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).reshape(x.shape))
        h = rms_norm(x, x.shape[-1:], self.norm2, EPS)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def rotate(x, cosine, sine):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cosine - b * sine, b * cosine + a * sine), -1)


class Model(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.embed = nn.Parameter(torch.empty(o.vocab, o.width))
        self.layers = nn.ModuleList(Layer(o.width, o.heads, o.mlp) for _ in range(o.layers))
        self.norm = nn.Parameter(torch.ones(o.width))
        half = o.width // o.heads // 2
        angle = torch.arange(o.context)[:, None] * 10000.0 ** (-torch.arange(half) / half)
        self.register_buffer("cosine", angle.cos())
        self.register_buffer("sine", angle.sin())
        for name, q in self.named_parameters():
            if q.ndim > 1:
                into_residual = name.endswith(("o.weight", "down.weight"))
                nn.init.normal_(q, std=0.02 / (2 * o.layers) ** 0.5 if into_residual else 0.02)

    def forward(self, tokens):
        x = F.embedding(tokens, self.embed)
        for layer in self.layers:
            x = layer(x, self.cosine, self.sine)
        return F.linear(rms_norm(x, x.shape[-1:], self.norm, EPS), self.embed)

    def blocks(self):
        return [[self.embed], *([*layer.parameters()] for layer in self.layers), [self.norm]]


def optimizer_of(model):
    matrices = [q for q in model.parameters() if q.ndim > 1]
    vectors = [q for q in model.parameters() if q.ndim == 1]
    return torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
                             lr=1e-3, betas=(0.9, 0.95), eps=1e-8, fused=True)


def step(run, model, optimizer, tokens, targets, precision):
    """tokens, targets: [examples, context] on the model's device. Returns the loss, there."""
    half = torch.autocast(tokens.device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
    optimizer.zero_grad(set_to_none=True)
    with half:
        loss = F.cross_entropy(run(tokens).flatten(0, 1), targets.flatten())
    loss.backward()
    for block in model.blocks():
        nn.utils.clip_grad_norm_(block, 1.0)
    optimizer.step()
    return loss.detach()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--rounds", type=int, default=40)
    p.add_argument("--precision", choices=("fp32", "tf32", "bf16"), default="fp32", help="of matrix products")
    p.add_argument("--compile", action="store_true", help="with torch.compile")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of the CPU")
    for name, value in dict(layers=4, width=192, heads=6, mlp=512, vocab=2048, context=256, examples=16).items():
        p.add_argument(f"--{name}", type=int, default=value)
    o = p.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(o.threads)
    torch.set_float32_matmul_precision("high" if o.precision == "tf32" else "highest")
    cuda = o.device.startswith("cuda")
    model = Model(o).to(o.device)
    run = torch.compile(model) if o.compile else model
    optimizer = optimizer_of(model)
    seconds, losses = [], []
    for i in range(-3, o.rounds):
        host = torch.randint(o.vocab, (2, o.examples, o.context))
        if cuda:
            host = host.pin_memory()
            torch.cuda.synchronize()
        begin = time.perf_counter()
        loss = step(run, model, optimizer, *host.to(o.device, non_blocking=True), o.precision)
        losses.append(loss.item())
        if cuda:
            torch.cuda.synchronize()
        if i >= 0:
            seconds.append(time.perf_counter() - begin)
    seconds.sort()
    middle = statistics.median(seconds)
    device = torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads"
    print(f"{sum(q.numel() for q in model.parameters())} parameters, {len(model.blocks())} blocks, "
          f"{o.examples * o.context} tokens a step; loss {losses[0]:.4f} in the first step, {losses[-1]:.4f} in the last")
    print(f"torch {torch.__version__} | {device} | {o.precision}{', compiled' if o.compile else ''} | "
          f"{1e3 * middle:.2f} ms/step, {1e3 * seconds[len(seconds) // 10]:.2f}..{1e3 * seconds[len(seconds) * 9 // 10]:.2f} | "
          f"{o.examples * o.context / middle:.0f} tok/s")


if __name__ == "__main__":
    main()
