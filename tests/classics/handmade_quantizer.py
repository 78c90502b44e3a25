"""Quantization-aware training by hand, as blog posts of 2019 had it: nothing of it knows that a library might help.

A rounding whose gradient goes straight through; trackers of ranges, modules with buffers that change in place; quantizers,
symmetric and asymmetric; and a Conv2d that quantizes its input and its weights, on its own or with the batch
normalization behind it folded in. It runs on torch and on nanoquant as it stands.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.autograd import Function


class Round(Function):
    @staticmethod
    def forward(ctx, input):
        return torch.round(input)

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output.clone()


class Tracker(nn.Module):
    """The range seen so far. shape: (1,) for a whole tensor, (channels, 1, 1, 1) for filters."""

    def __init__(self, shape):
        super(Tracker, self).__init__()
        self.per_channel = len(shape) > 1
        self.register_buffer("low", torch.zeros(*shape))
        self.register_buffer("high", torch.zeros(*shape))
        self.register_buffer("seen", torch.zeros(1))

    def extremes(self, x):
        if not self.per_channel:
            return torch.min(x), torch.max(x)
        low, high = x, x
        for dim in (3, 2, 1):
            low = torch.min(low, dim, keepdim=True)[0]
            high = torch.max(high, dim, keepdim=True)[0]
        return low, high

    @torch.no_grad()
    def forward(self, x):
        low, high = self.extremes(x)
        if self.seen == 0:
            self.seen.add_(1)
            self.low.copy_(low)
            self.high.add_(high)
        else:
            self.follow(low, high)


class WidestTracker(Tracker):
    def follow(self, low, high):
        self.low.copy_(torch.min(self.low, low))
        self.high.add_(-self.high).add_(torch.max(self.high, high))


class AveragedTracker(Tracker):
    momentum = 0.1

    def follow(self, low, high):
        self.low.mul_(1 - self.momentum).add_(low * self.momentum)
        self.high.mul_(1 - self.momentum).add_(self.momentum * high)


class Quantizer(nn.Module):
    def __init__(self, bits, tracker):
        super(Quantizer, self).__init__()
        self.bits = bits
        self.tracker = tracker
        self.register_buffer("scale", None)
        self.register_buffer("zero_point", None)

    def forward(self, x):
        if self.training:
            self.tracker(x)
        self.choose()
        q = Round.apply(x * self.scale - self.zero_point)
        q = torch.clamp(q, self.q_min, self.q_max)
        return (q + self.zero_point) / self.scale


class SymmetricQuantizer(Quantizer):
    def __init__(self, *args, **kwargs):
        super(SymmetricQuantizer, self).__init__(*args, **kwargs)
        self.register_buffer("q_min", torch.tensor(-(1 << (self.bits - 1))))
        self.register_buffer("q_max", torch.tensor((1 << (self.bits - 1)) - 1))

    def choose(self):
        steps = torch.min(torch.abs(self.q_min), torch.abs(self.q_max))
        widest = torch.max(torch.abs(self.tracker.low), torch.abs(self.tracker.high))
        self.scale = steps / widest
        self.zero_point = torch.zeros_like(self.scale)


class AsymmetricQuantizer(Quantizer):
    def __init__(self, *args, **kwargs):
        super(AsymmetricQuantizer, self).__init__(*args, **kwargs)
        self.register_buffer("q_min", torch.tensor(0))
        self.register_buffer("q_max", torch.tensor((1 << self.bits) - 1))

    def choose(self):
        self.scale = (self.q_max - self.q_min) / (self.tracker.high - self.tracker.low)
        self.zero_point = torch.round(self.tracker.low * self.scale)


class QuantizedConv2d(nn.Conv2d):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 bits=8, quantizer=AsymmetricQuantizer, first=False):
        super(QuantizedConv2d, self).__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                                              bias)
        self.first = first
        self.input_quantizer = quantizer(bits=bits, tracker=AveragedTracker((1,)))
        self.weight_quantizer = quantizer(bits=bits, tracker=WidestTracker((out_channels, 1, 1, 1)))

    def convolve(self, x, weight, bias):
        if not self.first:
            x = self.input_quantizer(x)
        return F.conv2d(input=x, weight=self.weight_quantizer(weight), bias=bias, stride=self.stride,
                        padding=self.padding, dilation=self.dilation, groups=self.groups)

    def forward(self, x):
        return self.convolve(x, self.weight, self.bias)


class FoldedConv2d(QuantizedConv2d):
    """Trains with the batch's bias and the running factor of the weights; the output is set right afterwards."""

    def __init__(self, *args, eps=1e-5, momentum=0.1, **kwargs):
        super(FoldedConv2d, self).__init__(*args, bias=False, **kwargs)
        self.eps, self.momentum = eps, momentum
        self.gamma = nn.Parameter(torch.Tensor(self.out_channels))
        self.beta = nn.Parameter(torch.Tensor(self.out_channels))
        nn.init.uniform_(self.gamma, 0.5, 1.0)
        nn.init.zeros_(self.beta)
        self.register_buffer("running_mean", torch.zeros(self.out_channels))
        self.register_buffer("running_var", torch.ones(self.out_channels))
        self.register_buffer("batches", torch.tensor(0))

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            y = F.conv2d(x, self.weight, None, self.stride, self.padding, self.dilation, self.groups)
            dims = [dim for dim in range(4) if dim != 1]
            mean, var = torch.mean(y, dim=dims), torch.var(y, dim=dims)
            with torch.no_grad():
                keep = 1 - self.momentum if self.batches > 0 else 0
                self.running_mean.mul_(keep).add_(mean * (1 - keep))
                self.running_var.mul_(keep).add_(var * (1 - keep))
                self.batches += 1
        factor = self.gamma / torch.sqrt(self.running_var + self.eps)
        y = self.convolve(x, self.weight * factor.reshape(-1, 1, 1, 1), None)
        if self.training:
            y *= (torch.sqrt(self.running_var + self.eps) / torch.sqrt(var + self.eps)).reshape(1, -1, 1, 1)
        y += (self.beta - mean * (self.gamma / torch.sqrt(var + self.eps))).reshape(1, -1, 1, 1)
        return y


class Block(nn.Module):
    def __init__(self, *args, folded, **kwargs):
        super(Block, self).__init__()
        self.folded = folded
        self.conv = FoldedConv2d(*args, **kwargs) if folded else QuantizedConv2d(*args, **kwargs)
        if not folded:
            self.bn = nn.BatchNorm2d(args[1])
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.conv(x)
        if not self.folded:
            x = self.bn(x)
        return self.relu(x)


class Net(nn.Module):
    def __init__(self, symmetric, folded):
        super(Net, self).__init__()
        kind = {"quantizer": SymmetricQuantizer if symmetric else AsymmetricQuantizer, "folded": folded}
        self.features = nn.Sequential(
            Block(1, 8, kernel_size=3, padding=1, first=True, **kind),
            Block(8, 16, kernel_size=3, stride=2, padding=1, **kind),
            Block(16, 32, kernel_size=1, **kind),
            nn.AvgPool2d(kernel_size=2),
        )
        self.classifier = nn.Linear(32 * 2 * 2, 10)

    def forward(self, x):
        x = self.features(x)
        x = x.view(x.size(0), -1)
        return self.classifier(x)


def train(model, loader, epochs):
    criterion = nn.CrossEntropyLoss()
    groups = [{"params": [value], "weight_decay": 1e-4 if value.dim() > 1 else 0.0} for _, value in model.named_parameters()]
    optimizer = optim.SGD(groups, lr=0.05, momentum=0.9)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    losses = []
    for _ in range(epochs):
        model.train()
        for data, target in loader:
            optimizer.zero_grad()
            loss = criterion(model(data), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
    return losses


def test(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, target in loader:
            output = model(data)
            pred = output.data.max(1, keepdim=True)[1]
            correct += pred.eq(target.data.view_as(pred)).cpu().sum().item()
    return correct / len(loader.dataset)
