-- Weights of limited size for equilibrium layers (spec: deq 11): a step whose weights are small enough is a
-- contraction.

local _, api, hop = ...
local T = hop.T

local function fail(name, text) api.fail(name, text) end

-- All dimensions of w but `dim`.
local function others(w, dim)
  local axes = {}
  for i = 1, w:dim() do
    if i ~= dim then axes[#axes + 1] = i end
  end
  return axes
end

-- w times g / size, at most `clip`; g: one number per position of `dim`, default `target`
local function rescaled(name, w, g, size, o)
  if g and g:numel() ~= w:size(o.dim) then
    fail(name, ("g has %d elements; dimension %d of w has %d"):format(g:numel(), o.dim, w:size(o.dim)))
  end
  local shape = {}
  for i = 1, w:dim() do shape[i] = i == o.dim and w:size(i) or 1 end
  local factor = (g and T.reshape(g, shape) or o.target) / size
  return w * (o.clip and T.minimum(factor, o.clip) or factor)
end

local function check_dim(name, w, dim)
  if dim > w:dim() or w:dim() < 2 then
    fail(name, ("w has %d dimensions; it needs at least 2, and dim = %d one of them"):format(w:dim(), dim))
  end
end

local norm_options = {
  { "dim", "integer", default = 1, min = 1, doc = "dimension of the outputs: 1 for x W^T, 2 for x W" },
  { "target", "number", default = 1, min = 0, doc = "norm where no g is given" },
  { "clip", "number", min = 0, doc = "the weight grows by this factor at most; default: no limit" } }

api.define(hop, { name = "deq.weight_norm",
  doc = "w g / |w|, the norm taken for each output (arXiv 1602.07868). g, one number per output, is a " ..
    "parameter that starts at those norms, or nil. Call it in prepare: then once per step of training, not " ..
    "in every evaluation.",
  args = { { "w", "tensor" }, { "g", "tensor", optional = true }, { "options", "table",
    options = norm_options } },
  returns = "tensor", example = "deq.weight_norm(p.W, p.g, { dim = 2 })",
  fn = function(w, g, o)
    check_dim("deq.weight_norm", w, o.dim)
    return rescaled("deq.weight_norm", w, g, T.sqrt(T.square(w):sum(others(w, o.dim), true)), o)
  end })

local spectral_options = table.move(norm_options, 1, #norm_options, 4, {
  { "u", "tensor", doc = "output side, from before" }, { "v", "tensor", doc = "input side, from before" },
  { "iterations", "integer", default = 5, min = 0, doc = "of the power method; 0: u and v as they are" } })

local function unit(t) return t / (T.sqrt(T.square(t):sum()) + 1e-12) end

api.define(hop, { name = "deq.spectral_norm",
  doc = "w g / s, s = u^T w v its largest singular value by power iteration (arXiv 1802.05957); the " ..
    "gradient goes through s, not through u and v. Returns the weight, u and v. To start the iteration " ..
    "where it ended, give u and v again; otherwise take several iterations. Call it in prepare.",
  args = { { "w", "tensor" }, { "g", "tensor", optional = true }, { "options", "table",
    options = spectral_options } },
  returns = "tensor, tensor, tensor", example = "deq.spectral_norm(p.W, nil, { dim = 2 })",
  fn = function(w, g, o)
    check_dim("deq.spectral_norm", w, o.dim)
    local axes = others(w, o.dim)
    local matrix = T.reshape(T.permute(w, { o.dim, table.unpack(axes) }), { w:size(o.dim), -1 })
    local fixed = matrix:detach()
    local n, m = matrix:size(1), matrix:size(2)
    if o.iterations == 0 and not (o.u and o.v) then
      fail("deq.spectral_norm", "iterations = 0 needs u and v")
    end
    local u = T.reshape(o.u or T.iota { start = 1, step = 1 / n, shape = { n } }, { 1, n })
    local v = o.v and T.reshape(o.v, { 1, m })
    for _ = 1, o.iterations do
      v = unit(T.matmul(u, fixed))
      u = unit(T.matmul(v, fixed, { tb = true }))
    end
    u, v = u:detach(), v:detach()
    local s = (T.matmul(u, matrix) * v):sum()
    return rescaled("deq.spectral_norm", w, g, s, o), T.reshape(u, { n }), T.reshape(v, { m })
  end })
