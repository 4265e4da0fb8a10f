-- Both halves of hoplab in one model: a transformer block with outlier-free attention (softmax1, arXiv
-- 2404.03828), tied over an endless depth: its output is its own fixed point, solved for each token.
--   hoplab run deq_text.lua -s data.train=book.txt
--   hoplab run deq_text.lua -s data.train=book.txt -s model.softmax=vanilla

local hop = require "hop"
local T, nn, deq, optim, data = hop.T, hop.nn, hop.deq, hop.optim, hop.data

-- z <- norm(x + attention(z) + mlp(z)), every sequence of the batch one sample
local function block(o)
  local weights = nn.normaliser(o.softmax)
  return deq.fn {
    params = function(p)
      for _, name in ipairs { "query", "key", "value" } do p[name] = nn.linear(o.width, o.width) end
      p.out = nn.linear(o.width, o.width, { std = 0.02 })
      p.up = nn.linear(o.width, 4 * o.width, { std = 0.02, act = "gelu" })
      p.down = nn.linear(4 * o.width, o.width, { std = 0.02 })
      p.norm, p.inner_norm = nn.layer_norm(o.width), nn.layer_norm(o.width)
    end,
    step = function(p, z, x)
      local a = T.attention(p.query(z), p.key(z), p.value(z), { heads = o.heads, causal = true,
        base = weights.base, gamma = weights.gamma, eta = weights.eta })
      local h = p.inner_norm(x + p.out(a))
      return p.norm(x + h + p.down(p.up(h)))
    end }
end

local model = nn.module { name = "deq-text",
  params = function(p, o)
    p.embed = nn.embedding(o.vocab, o.width, { std = 0.02 })
    p.position = nn.embedding(o.seq_len, o.width, { std = 0.02 })
    p.core = deq.layer { fn = block(o), state = { o.seq_len, o.width },
      forward = { solver = "anderson", max_iter = o.max_iter, tol = o.tol },
      backward = { method = o.gradient, steps = 3 } }
    p.norm = nn.layer_norm(o.width)
  end,
  loss = function(p, batch)
    local ids = batch.ids
    local places = T.cast(T.iota { shape = { ids:size(2) } }, "i32")
    local x = p.embed(ids) + p.position(places)
    local z, info = p.core(x)
    hop.tap("equilibrium", z)
    local loss = T.lm_loss(p.norm(z), p.embed.weight, nil, batch.labels)
    return loss, deq.metrics(info, { tol = 1e-3 })
  end }

return hop.experiment {
  name = "deq-text",
  seed = 1,
  model = model { vocab = 256, width = 128, heads = 4, seq_len = 128, softmax = "softmax1", max_iter = 16,
    tol = 1e-3, gradient = "phantom" },
  data = data.clm { train = "generated", tokens = "bytes", seq_len = 128, batch_size = 16 },
  optim = optim.adamw { lr = 1e-3, weight_decay = 0.1 },
  schedule = optim.linear { warmup = 50 },
  train = { max_steps = 300, max_grad_norm = 1 },
  log = { every = 5 },
  eval = { every = 150, batches = 20 },
  probe = { every = 20 },
}
