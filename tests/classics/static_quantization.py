"""Eager static quantization as blog posts of 2020 had it: train, fuse, prepare, calibrate, convert, compare sizes and accuracies."""

import os
import time
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms
from torch.quantization import QuantStub, DeQuantStub

torch.manual_seed(191009)
transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
trainset = torchvision.datasets.MNIST(root='./data', train=True, download=True, transform=transform)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=16, shuffle=True, num_workers=2, pin_memory=True)
testset = torchvision.datasets.MNIST(root='./data', train=False, download=True, transform=transform)
testloader = torch.utils.data.DataLoader(testset, batch_size=16, shuffle=False, num_workers=0)

class AverageMeter(object):
    def __init__(self, name, fmt=':f'):
        self.name = name; self.fmt = fmt; self.reset()
    def reset(self):
        self.val = 0; self.avg = 0; self.sum = 0; self.count = 0
    def update(self, val, n=1):
        self.val = val; self.sum += val * n; self.count += n; self.avg = self.sum / self.count
    def __str__(self):
        fmtstr = '{name} {val' + self.fmt + '} ({avg' + self.fmt + '})'
        return fmtstr.format(**self.__dict__)

def accuracy(output, target):
    with torch.no_grad():
        batch_size = target.size(0)
        _, pred = output.topk(1, 1, True, True)
        pred = pred.t()
        correct = pred.eq(target.view(1, -1).expand_as(pred))
        return correct[:1].view(-1).float().sum(0, keepdim=True).mul_(100.0 / batch_size).item()

class Net(nn.Module):
    def __init__(self, q=False):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, bias=False)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(6 * 3 * 3, 32, bias=False)
        self.relu3 = nn.ReLU()
        self.fc3 = nn.Linear(32, 10, bias=False)
        self.q = q
        if q:
            self.quant = QuantStub()
            self.dequant = DeQuantStub()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.q:
            x = self.quant(x)
        x = self.pool1(self.relu1(self.conv1(x)))
        x = x.reshape(x.shape[0], -1)
        x = self.fc3(self.relu3(self.fc1(x)))
        if self.q:
            x = self.dequant(x)
        return x

net = Net(q=False).cuda() if torch.cuda.is_available() else Net(q=False)
def print_size_of_model(model):
    torch.save(model.state_dict(), "temp.p")
    print('Size (MB):', os.path.getsize("temp.p") / 1e6)
    os.remove('temp.p')
def train(model, loader, cuda=False):
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    model.train()
    for epoch in range(3):
        running_loss = AverageMeter('loss'); acc = AverageMeter('train_acc')
        for i, data in enumerate(loader, 0):
            inputs, labels = data
            if cuda:
                inputs = inputs.cuda(); labels = labels.cuda()
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss.update(loss.item(), outputs.shape[0])
            acc.update(accuracy(outputs, labels), outputs.shape[0])
        print('[%d] ' % (epoch + 1), running_loss, acc)
def test(model, loader):
    correct = 0; total = 0
    model.eval()
    with torch.no_grad():
        for data in loader:
            images, labels = data
            outputs = model(images)
            _, predicted = torch.max(outputs.data, 1)
            total += labels.size(0)
            correct += (predicted == labels).sum().item()
    return 100 * correct / total
train(net, trainloader)
score = test(net, testloader)
print('Accuracy of the network on the test images: {}% - FP32'.format(score))
print_size_of_model(net)

qnet = Net(q=True)
qnet.load_state_dict(net.state_dict())
qnet.eval()
for m in qnet.modules():
    if isinstance(m, nn.ReLU):
        m.inplace = True
torch.quantization.fuse_modules(qnet, [['conv1', 'relu1'], ['fc1', 'relu3']], inplace=True)
print_size_of_model(qnet)
qnet.qconfig = torch.quantization.default_qconfig
print(qnet.qconfig)
torch.quantization.prepare(qnet, inplace=True)
print('Post Training Quantization Prepare: Inserting Observers')
print('\n Conv1: After observer insertion \n\n', qnet.conv1)
test(qnet, trainloader)
print('Post Training Quantization: Calibration done')
torch.quantization.convert(qnet, inplace=True)
print('\n Conv1: After fusion and quantization \n\n', qnet.conv1)
print("Size of model after quantization")
print_size_of_model(qnet)
score = test(qnet, testloader)
print('Accuracy of the quantized network: {}% - INT8'.format(score))
# custom qconfig
from torch.quantization.observer import MovingAverageMinMaxObserver
qnet2 = Net(q=True); qnet2.load_state_dict(net.state_dict()); qnet2.eval()
torch.quantization.fuse_modules(qnet2, [['conv1', 'relu1'], ['fc1', 'relu3']], inplace=True)
qnet2.qconfig = torch.quantization.QConfig(
    activation=MovingAverageMinMaxObserver.with_args(reduce_range=True),
    weight=torch.quantization.MinMaxObserver.with_args(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric))
torch.quantization.prepare(qnet2, inplace=True); test(qnet2, trainloader); torch.quantization.convert(qnet2, inplace=True)
print('custom', test(qnet2, testloader))
torch.backends.quantized.engine = 'qnnpack'
ts = torch.jit.script(qnet2); torch.jit.save(ts, "q.pt"); again = torch.jit.load("q.pt"); print('reloaded', test(again, testloader))
