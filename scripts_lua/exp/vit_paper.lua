-- The ViT trainings of arXiv 2404.03828 under the six attention methods, with the published model, optimiser and
-- schedule. Published on a tenth of ImageNet at 224 x 224, patches of 16; no reader here takes that, so images
-- are those of data.images, in patches of 4:
--   hoplab sweep vit_paper.lua -s data.set=cifar-100
--   hoplab run vit_paper.lua -s data.set=cifar-100 -s model.attention.method=outeffhop
-- Not there: mixup, cutmix, RandAugment, random resized crops (a crop from a border of 4 pixels stands in, and
-- should go, with the flip, for digits), half precision. 150 epochs of this model are weeks on a CPU:
-- -s train.epochs and -s model.layers make it smaller.

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

return hop.sweep {
  name = "vit-paper",
  base = hop.experiment {
    name = "vit-paper",
    tags = { "paper" },
    seed = 1000,
    model = nn.preset("vit_small_patch16_224", { image = hop.none, classes = hop.none, patch = 4,
      label_smoothing = 0.1 }),
    data = data.images { batch_size = 512, mean = 0.5, std = 0.5, flip = true, crop = 4 },
    optim = optim.adamw { lr = 1e-3, betas = { 0.9, 0.999 }, weight_decay = 0.03,
      no_decay = { "bias", "norm", "pos_embed", "cls_token" } },
    -- from 1e-6 within 10 epochs to 1e-3, on a cosine over 150 to 1e-5
    schedule = optim.cosine { per = "epoch", warmup = 10, warmup_from = 1e-3, total = 150, final = 0.01,
      overlap = true },
    train = { epochs = 150, accumulate = 10 },
    eval = { every = 1, per = "epoch" },
    save = { every = 1, per = "epoch", keep = 5, best = "eval/accuracy:max" },
    probe = { every = 100 },
  },
  grid = {
    ["model.attention.method"] = { "vanilla", "clipped_softmax", "gated_attention", "outeffhop",
      "clipped_outeffhop", "gated_outeffhop" },
  },
}
