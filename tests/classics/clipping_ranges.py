"""Observers and clipping ranges of random tensors, plotted, as a blog post of 2022 had it."""

import torch
from torch.quantization.observer import MinMaxObserver, MovingAverageMinMaxObserver, HistogramObserver
import matplotlib; matplotlib.use("Agg")
import matplotlib.pyplot as plt
C, L = 3, 4
normal = torch.distributions.normal.Normal(0, 1)
inputs = [normal.sample((C, L)), normal.sample((C, L))]
print(inputs)
observers = [MinMaxObserver(), MovingAverageMinMaxObserver(), HistogramObserver()]
for obs in observers:
    for x in inputs: obs(x)
    print(obs.__class__.__name__, obs.calculate_qparams())
for qscheme in [torch.per_tensor_affine, torch.per_tensor_symmetric]:
    obs = MovingAverageMinMaxObserver(qscheme=qscheme)
    for x in inputs: obs(x)
    print(f"Qscheme: {qscheme} | {obs.calculate_qparams()}")
from torch.quantization.observer import MovingAveragePerChannelMinMaxObserver
obs = MovingAveragePerChannelMinMaxObserver(ch_axis=0)
for x in inputs: obs(x)
print(obs.calculate_qparams())
act = torch.distributions.pareto.Pareto(1, 10).sample((1024,)); weights = torch.distributions.normal.Normal(0, 0.12).sample((3, 64, 7, 7)).flatten()
def get_symmetric_range(x):
    beta = torch.max(x.max(), x.min().abs()); return -beta.item(), beta.item()
def get_affine_range(x): return x.min().item(), x.max().item()
def plot(plt, data, scheme):
    boundaries = get_affine_range(data) if scheme == 'affine' else get_symmetric_range(data)
    a, _, _ = plt.hist(data, density=True, bins=100); ymin, ymax = 0., 1.
    ymin, ymax = torch.tensor(a).min(), torch.tensor(a).max()
    plt.vlines(x=boundaries, ls='--', colors='purple', ymin=ymin, ymax=ymax)
fig, axs = plt.subplots(2, 2)
plot(axs[0, 0], act, 'affine'); axs[0, 0].set_title("Activation, Affine-Quantized")
plot(axs[0, 1], act, 'symmetric'); plot(axs[1, 0], weights, 'affine'); plot(axs[1, 1], weights, 'symmetric'); plt.savefig('x.png')
