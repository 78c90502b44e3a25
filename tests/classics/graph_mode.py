"""Graph mode as the tutorials of 2021 to 2023 had it, with mappings and with dicts."""

import torch, copy
from torch import nn
from torch.ao.quantization import get_default_qconfig, QConfigMapping, get_default_qconfig_mapping, get_default_qat_qconfig_mapping
from torch.ao.quantization.quantize_fx import prepare_fx, convert_fx, prepare_qat_fx, fuse_fx
from torch.quantization import default_dynamic_qconfig, float_qparams_weight_only_qconfig, get_default_qat_qconfig
import torch.quantization.quantize_fx as quantize_fx
from torchvision.models import resnet18
model = resnet18(pretrained=False).eval()
example = (torch.randn(1, 3, 64, 64),)
qconfig = get_default_qconfig("fbgemm")
mapping = QConfigMapping().set_global(qconfig)
prepared = prepare_fx(copy.deepcopy(model), mapping, example)
print(prepared.graph)
with torch.inference_mode():
    for _ in range(3): prepared(torch.randn(2, 3, 64, 64))
q = convert_fx(prepared)
print((q(*example) - model(*example)).abs().max().item())
qd = {"": qconfig, "module_name": [("fc", None)]}
p2 = quantize_fx.prepare_fx(copy.deepcopy(model), qd); p2(*example); q2 = quantize_fx.convert_fx(p2); print(type(q2.fc))
class M(nn.Module):
    def __init__(self):
        super().__init__(); self.linear = nn.Linear(4, 4); self.conv = nn.Conv1d(4, 2, 1)
    def forward(self, x): return torch.relu(self.linear(x)) + x
qm = prepare_qat_fx(M().train(), get_default_qat_qconfig_mapping("fbgemm"), torch.randn(2, 4)); qm(torch.randn(2, 4)).sum().backward(); print(convert_fx(qm.eval()).code)
fused = fuse_fx(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()).eval()); print(fused.code)
torch.save(q.state_dict(), 'fx.pth'); q.load_state_dict(torch.load('fx.pth'))
s = torch.jit.trace(q, example); torch.jit.save(s, 'fx.pt'); print('same', torch.equal(torch.jit.load('fx.pt')(*example), q(*example)))
def calibrate(model, data_loader):
    model.eval()
    with torch.no_grad():
        for image, target in data_loader: model(image)
dyn = {"object_type": [(nn.LSTM, default_dynamic_qconfig), (nn.Linear, default_dynamic_qconfig)]}
print(convert_fx(prepare_fx(nn.Sequential(nn.Linear(3, 3)).eval(), dyn, torch.randn(1, 3))))
