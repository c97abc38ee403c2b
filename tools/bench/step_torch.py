#!/usr/bin/env python3
"""One training step of the quickstart's model in PyTorch, for comparison with bench_step: the same shapes, batch,
optimizer and clipping (per block), nothing governed. Prints the median time of a step, its spread and tokens/s.

usage: tools/bench/step_torch.py [--device cuda|cpu] [--rounds N] [--tf32] [--compile] [shape options]

The defaults are configs/quickstart.yaml with every example as long as the context, which is what `bench_step whole` uses.
"""
import argparse
import statistics
import sys
import time

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    sys.exit("PyTorch is not installed")


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
        h = rms_norm(x, self.norm1)
        q, k, v = (self.split(p(h)) for p in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(rotate(q, cosine, sine), rotate(k, cosine, sine), v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).reshape(x.shape))
        h = rms_norm(x, self.norm2)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def rms_norm(x, gain):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * gain


def rotate(x, cosine, sine):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cosine - b * sine, b * cosine + a * sine), -1)


class Model(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.embed = nn.Parameter(0.02 * torch.randn(o.vocab, o.width))
        self.layers = nn.ModuleList(Layer(o.width, o.heads, o.mlp) for _ in range(o.layers))
        self.norm = nn.Parameter(torch.ones(o.width))
        half = o.width // o.heads // 2
        angle = torch.arange(o.context)[:, None] * 10000.0 ** (-torch.arange(half) / half)
        self.register_buffer("cosine", angle.cos())
        self.register_buffer("sine", angle.sin())

    def forward(self, tokens):
        x = self.embed[tokens]
        for layer in self.layers:
            x = layer(x, self.cosine, self.sine)
        return rms_norm(x, self.norm) @ self.embed.T

    def blocks(self):
        return [[self.embed], *([*layer.parameters()] for layer in self.layers), [self.norm]]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--rounds", type=int, default=40)
    p.add_argument("--tf32", action="store_true", help="matrix products in tf32")
    p.add_argument("--compile", action="store_true", help="with torch.compile")
    for name, value in dict(layers=4, width=192, heads=6, mlp=512, vocab=2048, context=256, examples=16).items():
        p.add_argument(f"--{name}", type=int, default=value)
    o = p.parse_args()
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = o.tf32
    cuda = o.device.startswith("cuda")
    model = Model(o).to(o.device)
    run = torch.compile(model) if o.compile else model
    decayed = [q for q in model.parameters() if q.ndim > 1]
    rest = [q for q in model.parameters() if q.ndim == 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=1e-3)
    seconds = []
    for i in range(-3, o.rounds):
        tokens = torch.randint(o.vocab, (o.examples, o.context), device=o.device)
        targets = torch.randint(o.vocab, (o.examples, o.context), device=o.device)
        if cuda:
            torch.cuda.synchronize()
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(run(tokens).flatten(0, 1), targets.flatten())
        loss.backward()
        for block in model.blocks():
            torch.nn.utils.clip_grad_norm_(block, 1.0)
        optimizer.step()
        loss.item()
        if i >= 0:
            seconds.append(time.perf_counter() - begin)
    seconds.sort()
    middle = statistics.median(seconds)
    tokens = o.examples * o.context
    device = torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads"
    print(f"torch {torch.__version__} | {device} | {'tf32' if o.tf32 else 'fp32'}{', compiled' if o.compile else ''} | "
          f"{1e3 * middle:.1f} ms/step, {1e3 * seconds[len(seconds) // 10]:.1f}..{1e3 * seconds[len(seconds) * 9 // 10]:.1f} | "
          f"{tokens / middle:.0f} tok/s")


main()
