"""The peers of `quantize`: codes of a file of vectors by faiss, or by an RQ-VAE in PyTorch.

Prints lines of a name, a tab and a number, as the children of the measurements do: seconds to train and to encode all
vectors, the squared error relative to the squared length of the vectors, the share of items that share their codes,
and the peak of memory in MiB.
"""

import argparse
import time

import numpy as np


def peak_mib():
    """The most memory that this process had so far."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def residual_quantizer(x, args):
    """faiss' own, beam of 1; trained with its defaults."""
    import faiss

    faiss.omp_set_num_threads(args.threads)
    quantizer = faiss.ResidualQuantizer(x.shape[1], args.levels, 8)
    quantizer.max_beam_size = 1
    began = time.perf_counter()
    quantizer.train(x)
    trained = time.perf_counter()
    codes = quantizer.compute_codes(x)
    return trained - began, time.perf_counter() - trained, codes, quantizer.decode(codes)


def kmeans(x, args):
    """faiss.Kmeans level by level, 25 iterations on up to 256 points a centre, its defaults."""
    import faiss

    faiss.omp_set_num_threads(args.threads)
    train, residual, found = 0.0, x.copy(), []
    for level in range(args.levels):
        began = time.perf_counter()
        clusters = faiss.Kmeans(x.shape[1], args.codes, niter=25, seed=level + 1)
        clusters.train(residual)
        train += time.perf_counter() - began
        codes = clusters.index.search(residual, 1)[1][:, 0]
        residual -= clusters.centroids[codes]
        found.append(clusters.centroids)
    # Encoding alone, from the vectors.
    began = time.perf_counter()
    residual, codes = x.copy(), []
    for centroids in found:
        index = faiss.IndexFlatL2(x.shape[1])
        index.add(centroids)
        nearest = index.search(residual, 1)[1][:, 0]
        residual -= centroids[nearest]
        codes.append(nearest)
    return train, time.perf_counter() - began, np.stack(codes, 1), x - residual


def rq_vae(x, args):
    """An RQ-VAE with the same layers, epochs and batches; codewords by gradient, straight-through (MiniOneRec)."""
    import faiss
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(args.threads)
    faiss.omp_set_num_threads(args.threads)
    torch.manual_seed(42)
    layers = [int(units) for units in args.layers.split(",")]

    def chain(widths):
        parts = []
        for at, (a, b) in enumerate(zip(widths, widths[1:])):
            layer = nn.Linear(a, b)
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
            parts += [layer] if at == len(widths) - 2 else [layer, nn.ReLU()]
        return nn.Sequential(*parts)

    widths = [x.shape[1], *layers, args.dim]
    encoder, decoder = chain(widths), chain(widths[::-1])
    books = nn.ParameterList(torch.zeros(args.codes, args.dim) for _ in range(args.levels))

    def quantize(z):
        residual, total, loss, codes, start = z, 0.0, 0.0, [], None
        for book in books:
            far = (residual**2).sum(1, keepdim=True) + (book**2).sum(1) - 2 * residual @ book.t()
            code = far.argmin(1)
            word = functional.embedding(code, book)
            loss = loss + functional.mse_loss(word, residual.detach())
            loss = loss + 0.25 * functional.mse_loss(word.detach(), residual)
            through = residual + (word - residual).detach()
            residual, total = residual - through, total + through
            codes.append(code)
        return total, loss / len(books), torch.stack(codes, 1)

    began = time.perf_counter()
    mean = x.mean(0)
    scale = 1.0 / (x - mean).std()
    data = torch.from_numpy((x - mean) * scale)
    with torch.no_grad():
        residual = encoder(data[torch.randperm(len(data))[:20480]]).numpy().copy()
        for level, book in enumerate(books):
            clusters = faiss.Kmeans(args.dim, args.codes, niter=25, seed=level + 1)
            clusters.train(residual)
            residual -= clusters.centroids[clusters.index.search(residual, 1)[1][:, 0]]
            book.copy_(torch.from_numpy(clusters.centroids))
    everything = [*encoder.parameters(), *decoder.parameters(), *books]
    optimizer = torch.optim.AdamW(everything, lr=1e-3, weight_decay=0.0)
    for _ in range(args.epochs):
        for rows in torch.randperm(len(data)).split(args.batch):
            batch = data[rows]
            total, loss, _ = quantize(encoder(batch))
            loss = loss + functional.mse_loss(decoder(total), batch)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(everything, 1.0)
            optimizer.step()
    trained = time.perf_counter()
    with torch.no_grad():
        codes = torch.cat([quantize(encoder(part))[2] for part in data.split(2048)])
        encoded = time.perf_counter()
        words = sum(book[codes[:, level]] for level, book in enumerate(books))
        back = torch.cat([decoder(part) for part in words.split(2048)]).numpy() / scale + mean
    return trained - began, encoded - trained, codes.numpy(), back


SIDES = {"residual_quantizer": residual_quantizer, "kmeans": kmeans, "rq_vae": rq_vae}


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--side", required=True, choices=SIDES)
    args.add_argument("--vectors", required=True, help="32-bit floats, row by row")
    args.add_argument("--components", type=int, required=True)
    args.add_argument("--threads", type=int, required=True)
    args.add_argument("--levels", type=int, default=3)
    args.add_argument("--codes", type=int, default=256)
    args.add_argument("--dim", type=int, default=32)
    args.add_argument("--layers", default="512,256,128")
    args.add_argument("--epochs", type=int, default=30)
    args.add_argument("--batch", type=int, default=2048)
    args = args.parse_args()

    x = np.fromfile(args.vectors, dtype="<f4").reshape(-1, args.components)
    train, encode, codes, back = SIDES[args.side](x, args)
    peak = peak_mib()
    error = sum(float(((a - b) ** 2).sum(dtype=np.float64)) for a, b in zip(x, back))
    energy = sum(float((a**2).sum(dtype=np.float64)) for a in x)
    _, counts = np.unique(codes, axis=0, return_counts=True)
    for name, figure in [
        ("train", train),
        ("encode", encode),
        ("error", error / energy),
        ("collisions", counts[counts > 1].sum() / len(x)),
        ("peak", peak),
    ]:
        print(f"{name}\t{figure}")


if __name__ == "__main__":
    main()
