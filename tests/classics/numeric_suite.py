"""The numeric suite on an eager model: weights, outputs, and shadows."""
import torch
import torch.nn as nn
import torch.quantization
import torch.ao.ns._numeric_suite as ns
from torch.quantization import QuantStub, DeQuantStub, default_eval_fn


class BasicBlock(nn.Module):
    def __init__(self, channels):
        super(BasicBlock, self).__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.add_relu = torch.nn.quantized.FloatFunctional()

    def forward(self, x):
        out = self.conv2(self.relu(self.conv1(x)))
        return self.add_relu.add_relu(out, x)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.quant = QuantStub()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.layer1 = BasicBlock(8)
        self.fc = nn.Linear(8 * 6 * 6, 10)
        self.dequant = DeQuantStub()

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(self.quant(x))))
        x = self.layer1(x)
        x = torch.flatten(x, 1)
        return self.dequant(self.fc(x))


def compute_error(x, y):
    """
    Computes the signal to quantization noise ratio between two tensors, in dB
    """
    Ps = torch.norm(x)
    Pn = torch.norm(x - y)
    return 20 * torch.log10(Ps / Pn)


torch.manual_seed(0)
data = [torch.randn(4, 3, 8, 8) for _ in range(4)]
float_model = Net()
float_model.eval()
torch.quantization.fuse_modules(float_model, [['conv1', 'bn1', 'relu'], ['layer1.conv1', 'layer1.relu']], inplace=True)
float_model.qconfig = torch.quantization.get_default_qconfig('fbgemm')
qmodel = torch.quantization.prepare(float_model)
for x in data:
    qmodel(x)
qmodel = torch.quantization.convert(qmodel)

# 1. the weights
wt_compare_dict = ns.compare_weights(float_model.state_dict(), qmodel.state_dict())
print('keys of wt_compare_dict:')
print(wt_compare_dict.keys())
weight_errors = {}
for key in wt_compare_dict:
    entry = wt_compare_dict[key]
    weight_errors[key] = compute_error(entry['float'], entry['quantized'].dequantize())
    print(key, weight_errors[key])

# 2. the outputs at the same places
act_compare_dict = ns.compare_model_outputs(float_model, qmodel, data[0])
print('keys of act_compare_dict:')
print(act_compare_dict.keys())
act_errors = {}
for key in act_compare_dict:
    quantized = act_compare_dict[key]['quantized'][0]
    if quantized.is_quantized:
        quantized = quantized.dequantize()
    act_errors[key] = compute_error(act_compare_dict[key]['float'][0], quantized)
    print(key, act_errors[key])

# 3. blocks in the shadow of the quantized ones
ob_dict = ns.compare_model_stub(float_model, qmodel, [BasicBlock, nn.Linear], data[0])
stub_errors = {}
for key in ob_dict:
    print('ob_dict[key].keys():', ob_dict[key].keys())
    stub_errors[key] = compute_error(ob_dict[key]['float'][0], ob_dict[key]['quantized'][0].dequantize())
    print(key, stub_errors[key])


# 4. a logger of one's own
class MyOutputLogger(ns.OutputLogger):
    def __init__(self):
        super(MyOutputLogger, self).__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super(MyOutputLogger, self).forward(x)


ns.prepare_model_outputs(float_model, qmodel, MyOutputLogger)
for x in data:
    float_model(x)
    qmodel(x)
matching = ns.get_matching_activations(float_model, qmodel)
print({key: len(value['float']) for key, value in matching.items()})
