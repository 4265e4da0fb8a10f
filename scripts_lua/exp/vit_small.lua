-- A small vision transformer on MNIST: patches of 7 x 7, 4 layers of width 64; a minute or two on two cores.
--   hoplab run vit_small.lua
--   hoplab run vit_small.lua -s model.attention.method=outeffhop
--   hoplab run vit_small.lua -s data.set=cifar-10 -s model.patch=4 -s data.flip=true -s data.crop=4 -s train.epochs=20
-- Sizes of images and classes are the data's. Digits are generated where no MNIST is found.

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

return hop.experiment {
  name = "vit-small",
  seed = 1,

  -- from the published start, 0.02 for width 384, so narrow a model learns slowly
  model = nn.vit { patch = 7, layers = 4, width = 64, heads = 4, init_std = 0.08, label_smoothing = 0.1 },
  data = data.images { batch_size = 64, mean = 0.5, std = 0.5 },
  optim = optim.adamw { lr = 2e-3, weight_decay = 0.03, no_decay = { "bias", "norm", "pos_embed", "cls_token" } },
  schedule = optim.cosine { warmup = 200, final = 0.01 },
  train = { epochs = 3, max_grad_norm = 1.0 },

  log = { every = 10 },
  eval = { every = 500 },
  save = { every = 500, keep = 2, best = "eval/accuracy:max" },
  probe = { every = 100 },
}
