"""The peer of `train`: steps of training in PyTorch, eager, in 32 bits, by AdamW, of the shapes of `tiger` and `hybrid`.

`tiger` is transformers' T5 with one target drawn for each history. `hybrid` is written as a practitioner would write it: padded
batches, `scaled_dot_product_attention`, fused AdamW; the same parts as ours: items as the sum of an id, their codes and a map of their
content, a causal transformer over items, a sampled softmax over items under a temperature, blocks down the levels of a SID. Prints a line of
a name, a tab and a number: histories a second, the first step left out.
"""

import argparse
import time

import torch
import torch.nn.functional as F
from torch import nn


class Rms(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.scale, 1e-6)


class Block(nn.Module):
    """Attention with rotary positions and SwiGLU, norms first."""

    def __init__(self, width, heads, hidden, dropout, positions):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_1, self.norm_2 = Rms(width), Rms(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        half = width // heads // 2
        angles = torch.arange(positions)[:, None] / 1000.0 ** (torch.arange(half) / half)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def turn(self, x):
        a, b = x.chunk(2, -1)
        cos, sin = self.cos[: x.shape[-2]], self.sin[: x.shape[-2]]
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    def forward(self, x):
        batch, length, width = x.shape
        qkv = self.qkv(self.norm_1(x)).view(batch, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(self.turn(q), self.turn(k), v, is_causal=True)
        mixed = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        x = x + F.dropout(mixed, self.dropout, self.training)
        gate, up = self.gate_up(self.norm_2(x)).chunk(2, -1)
        return x + F.dropout(self.down(F.silu(gate) * up), self.dropout, self.training)


class Hybrid(nn.Module):
    def __init__(self, args, codes, content):
        super().__init__()
        width, levels, dropout = args.width, codes.shape[1], 0.4
        self.levels, self.size, self.negatives, self.dropout = levels, args.size, args.negatives, dropout
        self.register_buffer("codes", codes)
        self.register_buffer("offsets", 1 + torch.arange(levels) * args.size)
        self.register_buffer("content", content)
        self.ids = nn.Embedding(len(codes), width)
        self.table = nn.Embedding(1 + levels * args.size, width)
        self.map = nn.Linear(content.shape[1], width, bias=False)
        block = lambda positions: Block(width, args.heads, args.hidden, dropout, positions)
        self.timeline = nn.ModuleList(block(64) for _ in range(args.layers))
        self.depth = nn.ModuleList(block(levels) for _ in range(args.depth_layers))
        self.norm, self.item_norm, self.depth_norm = Rms(width), Rms(width), Rms(width)
        self.sharpness = 1 / (0.07 * width)

    def items(self, positions):
        codes = self.table(self.codes[positions] + self.offsets).sum(-2)
        return self.ids(positions) + codes + self.map(self.content[positions])

    def forward(self, histories):
        drawn = torch.randint(len(self.codes), (self.negatives,))
        positions, places = torch.unique(torch.cat([histories.flatten(), drawn]), return_inverse=True)
        places = places[: histories.numel()].view_as(histories)
        vectors = self.items(positions)
        start = self.table.weight[0].expand(len(histories), 1, -1)
        x = torch.cat([start, vectors[places[:, :-1]]], 1)
        x = F.dropout(x, self.dropout, self.training)
        for block in self.timeline:
            x = block(x)
        x = self.norm(x).flatten(0, 1)
        # The correction of the sampled softmax: a number for each item of it.
        logits = x @ self.item_norm(vectors).T * self.sharpness - torch.zeros(len(positions))
        loss = F.cross_entropy(logits, places.flatten())
        codes = self.codes[histories.flatten()]
        rows = self.table(codes + self.offsets).cumsum(1)
        depth = torch.cat([torch.zeros_like(rows[:, :1]), rows[:, :-1]], 1)
        y = x[:, None] + F.dropout(depth, self.dropout, self.training)
        for block in self.depth:
            y = block(y)
        y = self.depth_norm(y)
        of_sids = 0
        for level in range(self.levels):
            first = 1 + level * self.size
            logits = y[:, level] @ self.table.weight[first : first + self.size].T
            of_sids = of_sids + F.cross_entropy(logits, codes[:, level])
        return loss + of_sids * (0.3 / self.levels)


def tiger(args, codes):
    from transformers import T5Config, T5ForConditionalGeneration

    levels = codes.shape[1]
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=2 + levels * args.size,
            d_model=args.width,
            d_kv=args.head_width,
            d_ff=args.hidden,
            num_layers=args.layers,
            num_decoder_layers=args.layers,
            num_heads=args.heads,
            feed_forward_proj="relu",
            dropout_rate=0.1,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
    )
    tokens = codes + 2 + torch.arange(levels) * args.size

    def loss(histories):
        targets = torch.randint(histories.shape[1], (len(histories),))
        rows = [tokens[row[:target]].flatten() for row, target in zip(histories, targets)]
        longest = 1 + max(len(row) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = row
            ids[at, len(row)] = 1
        labels = tokens[histories[torch.arange(len(rows)), targets]]
        return model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss

    return model, loss


def main():
    args = argparse.ArgumentParser()
    args.add_argument("shape", choices=["tiger", "hybrid"])
    args.add_argument("--codes", required=True, help="a line of codes for each item")
    args.add_argument("--histories", required=True, help="a line of item positions for each user, oldest first")
    for name in ["size", "content", "batch", "epochs", "threads", "layers", "heads", "width", "hidden"]:
        args.add_argument(f"--{name}", type=int, required=True)
    for name in ["head-width", "depth-layers", "negatives"]:
        args.add_argument(f"--{name}", type=int, default=0)
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(7)
    read = lambda name: torch.tensor([[int(x) for x in line.split()] for line in open(name)])
    codes, histories = read(args.codes), read(args.histories)
    if args.shape == "tiger":
        model, loss = tiger(args, codes)
    else:
        model = Hybrid(args, codes, torch.randn(len(codes), args.content))
        loss = model
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, fused=True)

    def step(batch):
        optimizer.zero_grad(set_to_none=True)
        value = loss(batch)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return value.item()

    step(histories[: args.batch])
    began = time.perf_counter()
    for _ in range(args.epochs):
        order = torch.randperm(len(histories))
        for batch in order.split(args.batch):
            step(histories[batch])
    rate = args.epochs * len(histories) / (time.perf_counter() - began)
    print(f"rate\t{rate}")


if __name__ == "__main__":
    main()
