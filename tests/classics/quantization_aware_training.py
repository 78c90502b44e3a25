"""Eager quantization-aware training as the tutorials of 2021 had it: fuse, prepare_qat, train, freeze, convert after each epoch."""

import torch, torch.nn as nn, torchvision, copy, os
from torchvision import transforms, datasets
import torch.quantization
from torch.utils.data import DataLoader
class ConvBNReLU(nn.Sequential):
    def __init__(self, i, o, k=3, s=1, groups=1):
        super(ConvBNReLU, self).__init__(nn.Conv2d(i, o, k, s, (k-1)//2, groups=groups, bias=False), nn.BatchNorm2d(o, momentum=0.1), nn.ReLU(inplace=False))
class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.quant = torch.quantization.QuantStub(); self.dequant = torch.quantization.DeQuantStub()
        self.features = nn.Sequential(ConvBNReLU(1, 8), ConvBNReLU(8, 16, s=2), ConvBNReLU(16, 16, groups=16))
        self.skip_add = nn.quantized.FloatFunctional()
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(16, num_classes))
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode='fan_out')
            elif isinstance(m, nn.BatchNorm2d):
                nn.init.ones_(m.weight); nn.init.zeros_(m.bias)
            elif isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, 0, 0.01); nn.init.zeros_(m.bias)
    def forward(self, x):
        x = self.quant(x)
        x = self.features[0](x); x = self.features[1](x)
        x = self.skip_add.add(x, self.features[2](x))
        x = x.mean([2, 3])
        x = self.classifier(x)
        return self.dequant(x)
    def fuse_model(self, is_qat=False):
        fuse_modules = torch.ao.quantization.fuse_modules_qat if is_qat else torch.ao.quantization.fuse_modules
        for m in self.modules():
            if type(m) == ConvBNReLU:
                fuse_modules(m, ['0', '1', '2'], inplace=True)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
tf = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
train_loader = DataLoader(datasets.MNIST('data', train=True, download=True, transform=tf), batch_size=64, shuffle=True)
test_loader = DataLoader(datasets.MNIST('data', train=False, transform=tf), batch_size=128)
def run(model, opt=None):
    criterion = nn.CrossEntropyLoss().to(device); n = c = 0
    model.train() if opt else model.eval()
    with torch.set_grad_enabled(opt is not None):
        for x, y in train_loader if opt else test_loader:
            x, y = x.to(device), y.to(device)
            out = model(x); loss = criterion(out, y)
            if opt:
                opt.zero_grad(); loss.backward(); opt.step()
            c += (out.argmax(1) == y).sum().item(); n += len(y)
    return c / n
torch.manual_seed(0)
model = Net().to(device)
opt = torch.optim.Adam(model.parameters(), lr=5e-3); sched = torch.optim.lr_scheduler.StepLR(opt, step_size=4, gamma=0.3)
for e in range(3):
    run(model, opt); sched.step()
print('float', run(model))
torch.save(model.state_dict(), 'ck.pth'); model.load_state_dict(torch.load('ck.pth', map_location='cpu'))
m = copy.deepcopy(model); m.train(); m.fuse_model(is_qat=True)
m.qconfig = torch.quantization.get_default_qat_qconfig('fbgemm')
torch.quantization.prepare_qat(m, inplace=True)
opt = torch.optim.SGD(m.parameters(), lr=1e-3, momentum=0.9)
for e in range(2):
    print('qat', run(m, opt))
    if e > 0: m.apply(torch.quantization.disable_observer)
    if e > 0: m.apply(torch.nn.intrinsic.qat.freeze_bn_stats)
    with torch.no_grad():
        q = torch.quantization.convert(m.eval(), inplace=False); q.eval()
        print('epoch', e, run(q))
print(q.features[0])
print(q.classifier[1].weight().int_repr().size(), q.classifier[1].scale)
