"""Dynamic quantization of a language model, as the tutorials of 2019 and 2020 had it."""

import os, time, torch
import torch.nn as nn
import torch.nn.functional as F
class LSTMModel(nn.Module):
    def __init__(self, ntoken, ninp, nhid, nlayers, dropout=0.5):
        super(LSTMModel, self).__init__()
        self.drop = nn.Dropout(dropout); self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid, nlayers, dropout=dropout)
        self.decoder = nn.Linear(nhid, ntoken); self.init_weights(); self.nhid = nhid; self.nlayers = nlayers
    def init_weights(self):
        initrange = 0.1
        self.encoder.weight.data.uniform_(-initrange, initrange)
        self.decoder.bias.data.zero_()
        self.decoder.weight.data.uniform_(-initrange, initrange)
    def forward(self, input, hidden):
        emb = self.drop(self.encoder(input))
        output, hidden = self.rnn(emb, hidden)
        output = self.drop(output)
        decoded = self.decoder(output)
        return decoded, hidden
    def init_hidden(self, bsz):
        weight = next(self.parameters())
        return (weight.new_zeros(self.nlayers, bsz, self.nhid), weight.new_zeros(self.nlayers, bsz, self.nhid))
torch.manual_seed(1)
ntokens = 200
model = LSTMModel(ntoken=ntokens, ninp=64, nhid=64, nlayers=2)
model.eval(); print(model)
def repackage_hidden(h):
    if isinstance(h, torch.Tensor): return h.detach()
    else: return tuple(repackage_hidden(v) for v in h)
data = torch.randint(ntokens, (65, 4), dtype=torch.long)
criterion = nn.CrossEntropyLoss()
def get_batch(source, i, bptt=16):
    seq_len = min(bptt, len(source) - 1 - i)
    return source[i:i + seq_len], source[i + 1:i + 1 + seq_len].reshape(-1)
def evaluate(m, source):
    m.eval(); total = 0.; hidden = m.init_hidden(4)
    with torch.no_grad():
        for i in range(0, source.size(0) - 1, 16):
            d, t = get_batch(source, i)
            out, hidden = m(d, hidden); hidden = repackage_hidden(hidden)
            total += len(d) * criterion(out.view(-1, ntokens), t).item()
    return total / (len(source) - 1)
optimizer = torch.optim.SGD(model.parameters(), lr=2.0)
model.train(); hidden = model.init_hidden(4)
for i in range(0, 64, 16):
    d, t = get_batch(data, i); hidden = repackage_hidden(hidden)
    model.zero_grad(); out, hidden = model(d, hidden); loss = criterion(out.view(-1, ntokens), t); loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25); optimizer.step()
import torch.quantization
quantized_model = torch.quantization.quantize_dynamic(model, {nn.LSTM, nn.Linear}, dtype=torch.qint8)
print(quantized_model)
def print_size_of_model(model):
    torch.save(model.state_dict(), "temp.p"); print('Size (MB):', os.path.getsize("temp.p") / 1e6); os.remove('temp.p')
print_size_of_model(model); print_size_of_model(quantized_model)
torch.set_num_threads(1)
def time_model_evaluation(m, d):
    s = time.time(); loss = evaluate(m, d); print('''loss: {0:.3f}\nelapsed time (seconds): {1:.1f}'''.format(loss, time.time() - s)); return loss
a = time_model_evaluation(model, data); b = time_model_evaluation(quantized_model, data); assert abs(a - b) < 0.05
lstm = nn.LSTM(5, 5)
print(torch.quantization.quantize_dynamic(nn.Sequential(lstm), {nn.LSTM: torch.quantization.per_channel_dynamic_qconfig}, dtype=torch.qint8))
x = torch.randn(3, 1, 5); print(lstm(x)[0].shape, torch.allclose(lstm(x)[0], lstm(x)[0], atol=1e-6))
