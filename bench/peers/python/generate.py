"""The peer of `recommend`: a T5 of the same shape, asked through Hugging Face's `generate` with a trie.

The trie is a dictionary from a prefix to the codes that go on, behind `prefix_allowed_tokens_fn`, as MiniOneRec and
others serve. Prints lines of a name, a tab and a number: the median and the 99th percentile of milliseconds for one
user, and users a second in batches of 64 (0 where no batch was asked for).
"""

import argparse
import time


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--codes", required=True, help="a line of codes for each item")
    args.add_argument("--histories", required=True, help="a line of item positions for each user, oldest first")
    args.add_argument("--size", type=int, required=True, help="codes of a level")
    args.add_argument("--threads", type=int, required=True)
    args.add_argument("--beam", type=int, required=True)
    args.add_argument("--users", type=int, required=True, help="users asked one by one")
    args.add_argument("--width", type=int, required=True)
    args.add_argument("--hidden", type=int, required=True)
    args.add_argument("--heads", type=int, required=True)
    args.add_argument("--head-width", type=int, required=True)
    args.add_argument("--layers", type=int, required=True)
    args = args.parse_args()

    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.set_num_threads(args.threads)
    torch.manual_seed(7)
    with open(args.codes) as lines:
        sids = [[int(code) for code in line.split()] for line in lines]
    with open(args.histories) as lines:
        histories = [[int(item) for item in line.split()] for line in lines]
    levels = len(sids[0])
    # 0 pads and begins, 1 ends; then the codes level by level.
    token = lambda level, code: 2 + level * args.size + code
    allowed = {}
    for sid in sids:
        prefix = (0,)
        for level, code in enumerate(sid):
            allowed.setdefault(prefix, set()).add(token(level, code))
            prefix += (token(level, code),)
    allowed = {prefix: sorted(tokens) for prefix, tokens in allowed.items()}
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
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
    ).eval()

    def ask(users):
        rows = [[token(level, code) for item in user for level, code in enumerate(sids[item])] for user in users]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        return model.generate(
            input_ids=ids,
            attention_mask=(ids != 0).long(),
            num_beams=args.beam,
            num_return_sequences=args.beam,
            max_new_tokens=levels,
            min_new_tokens=levels,
            do_sample=False,
            length_penalty=0.0,
            prefix_allowed_tokens_fn=lambda _, sent: allowed[tuple(sent.tolist())],
        )

    with torch.no_grad():
        for user in histories[:3]:
            ask([user])
        samples = []
        for user in histories[: args.users]:
            began = time.perf_counter()
            ask([user])
            samples.append((time.perf_counter() - began) * 1e3)
        samples.sort()
        began = time.perf_counter()
        batch = histories[:64]
        ask(batch)
        bulk = len(batch) / (time.perf_counter() - began)
    at = lambda share: samples[min(len(samples) - 1, int(len(samples) * share))]
    for name, figure in [("p50", at(0.5)), ("p99", at(0.99)), ("bulk", bulk)]:
        print(f"{name}\t{figure}")


if __name__ == "__main__":
    main()
