#!/usr/bin/env python3
"""Writes gpt2.ref and llama.ref: tiny models, their per-example losses, routed gradients and norms, by PyTorch.

    /usr/bin/python3 tests/models/make_reference.py [folder]

Plain torch operations, float64, gradients by torch.autograd, one example at a time; values rounded to float32. Run it
again only to change the cases: the tests read the files that are committed beside it. Written with PyTorch 1.13.

Format (little endian): "GOVTREF1", then records until the end of the file: uint32 length of the name, name, uint32
number of dimensions, int64 each, and float32 data.
"""
import struct
import sys
from pathlib import Path

import torch

torch.set_default_dtype(torch.float64)


class Gpt2:
    vocab, width, heads, layers, context, mlp = 29, 16, 4, 2, 24, 40

    def names(self):
        d, f = self.width, self.mlp
        yield "transformer.wte.weight", (self.vocab, d)
        yield "transformer.wpe.weight", (self.context, d)
        for n in range(self.layers):
            at = f"transformer.h.{n}."
            for name, shape in [("ln_1.weight", (d,)), ("ln_1.bias", (d,)), ("attn.c_attn.weight", (d, 3 * d)),
                                ("attn.c_attn.bias", (3 * d,)), ("attn.c_proj.weight", (d, d)),
                                ("attn.c_proj.bias", (d,)), ("ln_2.weight", (d,)), ("ln_2.bias", (d,)),
                                ("mlp.c_fc.weight", (d, f)), ("mlp.c_fc.bias", (f,)),
                                ("mlp.c_proj.weight", (f, d)), ("mlp.c_proj.bias", (d,))]:
                yield at + name, shape
        yield "transformer.ln_f.weight", (d,)
        yield "transformer.ln_f.bias", (d,)

    def block(self, name):
        if name.startswith("transformer.w"):
            return 0
        return 1 + int(name.split(".")[2]) if ".h." in name else self.layers + 1

    def logits(self, p, tokens):
        def norm(x, at):
            return torch.nn.functional.layer_norm(x, (self.width,), p[at + ".weight"], p[at + ".bias"], 1e-5)

        def conv1d(x, at):
            return x @ p[at + ".weight"] + p[at + ".bias"]

        n, hd = len(tokens), self.width // self.heads
        x = p["transformer.wte.weight"][tokens] + p["transformer.wpe.weight"][:n]
        hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
        for layer in range(self.layers):
            at = f"transformer.h.{layer}."
            q, k, v = conv1d(norm(x, at + "ln_1"), at + "attn.c_attn").split(self.width, dim=1)
            q, k, v = (t.view(n, self.heads, hd).transpose(0, 1) for t in (q, k, v))
            scores = (q @ k.transpose(1, 2) / hd ** 0.5).masked_fill(hidden, float("-inf"))
            mixed = (scores.softmax(-1) @ v).transpose(0, 1).reshape(n, self.width)
            x = x + conv1d(mixed, at + "attn.c_proj")
            up = conv1d(norm(x, at + "ln_2"), at + "mlp.c_fc")
            gelu = 0.5 * up * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (up + 0.044715 * up ** 3)))
            x = x + conv1d(gelu, at + "mlp.c_proj")
        return norm(x, "transformer.ln_f") @ p["transformer.wte.weight"].T


class Llama:
    vocab, width, heads, kv_heads, layers, context, mlp = 31, 24, 4, 2, 2, 24, 36

    def names(self):
        d, f, kv = self.width, self.mlp, self.width // self.heads * self.kv_heads
        yield "model.embed_tokens.weight", (self.vocab, d)
        for n in range(self.layers):
            at = f"model.layers.{n}."
            for name, shape in [("input_layernorm.weight", (d,)), ("self_attn.q_proj.weight", (d, d)),
                                ("self_attn.k_proj.weight", (kv, d)), ("self_attn.v_proj.weight", (kv, d)),
                                ("self_attn.o_proj.weight", (d, d)), ("post_attention_layernorm.weight", (d,)),
                                ("mlp.gate_proj.weight", (f, d)), ("mlp.up_proj.weight", (f, d)),
                                ("mlp.down_proj.weight", (d, f))]:
                yield at + name, shape
        yield "model.norm.weight", (d,)
        yield "lm_head.weight", (self.vocab, d)

    def block(self, name):
        if name.startswith("model.embed"):
            return 0
        return 1 + int(name.split(".")[2]) if ".layers." in name else self.layers + 1

    def logits(self, p, tokens):
        def norm(x, at):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * p[at + ".weight"]

        n, hd = len(tokens), self.width // self.heads
        angle = torch.arange(n)[:, None] * 10000.0 ** (-torch.arange(0, hd, 2) / hd)
        cos, sin = torch.cat([angle, angle], 1).cos(), torch.cat([angle, angle], 1).sin()

        def rope(t):
            return t * cos + torch.cat([-t[..., hd // 2:], t[..., :hd // 2]], -1) * sin

        x = p["model.embed_tokens.weight"][tokens]
        hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
        for layer in range(self.layers):
            at = f"model.layers.{layer}."
            h = norm(x, at + "input_layernorm")
            q = rope((h @ p[at + "self_attn.q_proj.weight"].T).view(n, self.heads, hd).transpose(0, 1))
            k = rope((h @ p[at + "self_attn.k_proj.weight"].T).view(n, self.kv_heads, hd).transpose(0, 1))
            v = (h @ p[at + "self_attn.v_proj.weight"].T).view(n, self.kv_heads, hd).transpose(0, 1)
            k, v = (t.repeat_interleave(self.heads // self.kv_heads, 0) for t in (k, v))
            scores = (q @ k.transpose(1, 2) / hd ** 0.5).masked_fill(hidden, float("-inf"))
            mixed = (scores.softmax(-1) @ v).transpose(0, 1).reshape(n, self.width)
            x = x + mixed @ p[at + "self_attn.o_proj.weight"].T
            h = norm(x, at + "post_attention_layernorm")
            gate = torch.nn.functional.silu(h @ p[at + "mlp.gate_proj.weight"].T)
            x = x + (gate * (h @ p[at + "mlp.up_proj.weight"].T)) @ p[at + "mlp.down_proj.weight"].T
        return norm(x, "model.norm") @ p["lm_head.weight"].T


def reference(model, seed):
    torch.manual_seed(seed)
    p = {}
    for name, shape in model.names():
        value = 0.3 * torch.randn(*shape)
        if len(shape) == 1 and name.endswith("weight"):
            value = value + 1
        p[name] = value.float().double().requires_grad_()
    lengths = [5, 1, 17, 24, 9]
    blocks = model.layers + 2
    weight = torch.tensor([0, 0.25, 0.5, 1, 2])[torch.randint(0, 5, (len(lengths), blocks))]
    weight[3] = 1
    out = {f"weight/{name}": value for name, value in p.items()}
    tokens, targets, nll = [], [], []
    norms = torch.zeros(len(lengths), blocks)
    routed = {name: torch.zeros_like(value) for name, value in p.items()}
    for i, length in enumerate(lengths):
        text = torch.randint(0, model.vocab, (length,))
        target = torch.randint(0, model.vocab, (length,))
        target[torch.rand(length) < 0.1] = -1
        log_p = model.logits(p, text).log_softmax(-1)
        loss = -sum((log_p[t, y] for t, y in enumerate(target.tolist()) if y >= 0), torch.zeros(()))
        grads = torch.autograd.grad(loss, list(p.values())) if loss.requires_grad else \
            [torch.zeros_like(v) for v in p.values()]
        for name, g in zip(p, grads):
            b = model.block(name)
            routed[name] += weight[i, b] * g
            norms[i, b] += g.pow(2).sum()
        tokens.append(text)
        targets.append(target)
        nll.append(loss.detach())
    out |= {f"grad/{name}": g for name, g in routed.items()}
    out |= {"lengths": torch.tensor(lengths), "tokens": torch.cat(tokens), "targets": torch.cat(targets),
            "route": weight, "nll": torch.stack(nll), "norms": weight * norms.sqrt()}
    return out


def write(path, records):
    with open(path, "wb") as f:
        f.write(b"GOVTREF1")
        for name, value in records.items():
            raw = name.encode()
            f.write(struct.pack("<I", len(raw)) + raw + struct.pack("<I", value.dim()))
            f.write(struct.pack(f"<{value.dim()}q", *value.shape))
            f.write(value.detach().float().numpy().astype("<f4").tobytes())
    print(path, path.stat().st_size, "bytes")


folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
write(folder / "gpt2.ref", reference(Gpt2(), 1))
write(folder / "llama.ref", reference(Llama(), 2))
