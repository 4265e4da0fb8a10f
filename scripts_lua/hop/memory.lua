-- Associative memories (spec: theory; arXiv 2008.02217, 2309.12673, 2404.03828): what a query retrieves
-- from stored patterns, and the energy that the retrieval descends. Memories are the rows of {M, d},
-- queries those of {N, d}.

local core, api, hop = ...
local T = hop.T

local memory = {}
hop.memory = memory

local BARELY, UNIT = 1e-30, 1e-3 -- UNIT: lengths this close to 1 are 1

local function row_sum(x) return T.sum(x, { axes = { -1 }, keep = true }) end
local function row_max(x) return T.max(x):detach() end
local function largest(x) return T.max(x:view { 1, x:numel() }):view {} end

-- ---- what is refused ----

-- Values are not known in a recording that is compiled later, so only calls outside of one look at them.

local function check_rows(name, what, x, d)
  if x:dim() ~= 2 or x:size(1) < 1 or d and x:size(2) ~= d then
    api.fail(name, ("%s must be {%s, %s} with at least one row, not {%s}"):format(what,
      what == "memories" and "M" or "N", d or "d", table.concat(x:size(), ", ")))
  end
  if core.tracing() or T.sum(x:detach() * 0):item() == 0 then return end
  for i, row in ipairs(x:table { force = true }) do
    for j, v in ipairs(row) do
      if v ~= v or math.abs(v) == math.huge then
        api.fail(name, ("row %d of the %s has %s at position %d"):format(i, what, v ~= v and "NaN" or tostring(v), j),
          "every number must be finite; mask or fill what is missing before")
      end
    end
  end
end

-- numbers: of the largest arrays that a call holds at a time
local function check_room(name, numbers, what)
  local need, have = numbers * (core.fp64() and 8 or 4), core.available()
  if have < 0 or need <= have then return end
  api.fail(name, ("%s need %.1f GiB, %.1f GiB are available"):format(what, need / 2 ^ 30, have / 2 ^ 30),
    "take fewer patterns or a smaller width, or ask with fewer queries at a time")
end

-- Of losses of rows of unit length, which have no lower bound for others
local function check_units(name, a)
  check_rows(name, "rows", a)
  if a:size(1) < 2 then api.fail(name, "one row has no pairs; take at least two") end
  if core.tracing() then return end
  local lengths = row_sum(a * a):sqrt():detach()
  if largest((lengths - 1):abs()):item() <= UNIT then return end
  for i, row in ipairs(lengths:table { force = true }) do
    if math.abs(row[1] - 1) > UNIT then
      api.fail(name, ("row %d has length %.4g; the loss is one of rows of length 1"):format(i, row[1]),
        "memory.unit_rows(a) gives them that length")
    end
  end
end

-- ln of the sum of exp over rows, {N, 1}; zero: with one more score, of 0
local function log_sum_exp(z, zero)
  local most = row_max(z)
  if zero then most = T.maximum(most, 0) end
  local sum = row_sum((z - most):exp())
  if zero then sum = sum + (-most):exp() end
  return sum:log() + most
end

-- Separation functions: weights of scores z {N, M}; the conjugate whose gradient they are, {N, 1};
-- and the largest entropy of weights of M memories, by which the conjugate can exceed the largest score.
local function normaliser(base, conjugate, entropy)
  return { weights = function(z) return (T.normalise(z, { base = base })) end, conjugate = conjugate,
    entropy = entropy }
end

local separations = {
  softmax = normaliser("softmax", function(z) return log_sum_exp(z, false) end, math.log),
  softmax1 = normaliser("softmax1", function(z) return log_sum_exp(z, true) end,
    function(m) return math.log(m + 1) end),
  -- p z + H(p), H(p) = (1 - |p|^2) / 2 (1602.02068), and with 1.5: 4 / 3 (1 - sum p^1.5) (1905.05702)
  sparsemax = normaliser("sparsemax", function(z, p) return row_sum(p * z - p * p * 0.5) + 0.5 end,
    function(m) return (1 - 1 / m) / 2 end),
  entmax15 = normaliser("entmax15", function(z, p)
    return row_sum(p * z - (p + BARELY):sqrt() * p * (4 / 3)) + 4 / 3
  end, function(m) return 4 / 3 * (1 - m ^ -0.5) end),
}

-- The largest `keep` scores of each row stay, the others become 0, not -inf: they still have a weight.
local function top(z, keep)
  local m = z:size(2)
  local k = math.max(1, math.floor(m * keep))
  local order = {}
  for i, row in ipairs(z:table { force = true }) do
    local index = {}
    for j = 1, m do index[j] = j end
    table.sort(index, function(a, b) return row[a] > row[b] end)
    order[i] = {}
    for j = 1, m do order[i][j] = 0 end
    for j = 1, k do order[i][index[j]] = 1 end
  end
  return z * T.from(order)
end

for _, percent in ipairs { 20, 50, 80 } do
  separations["topk_" .. percent] = { weights = function(z)
    return (T.normalise(top(z, percent / 100), { base = "softmax" }))
  end }
  separations[("random_mask_%02d"):format(percent // 10)] = { weights = function(z)
    local p = percent / 100
    local kept = T.lt(T.rand { z:size(1), z:size(2) }, 1 - p):cast "f32"
    return (T.normalise(z * kept * (1 / (1 - p)), { base = "softmax" }))
  end }
end
separations.polynomial = { weights = function(z) return z:pow(10) end }

local names = {}
for name in pairs(separations) do names[#names + 1] = name end
table.sort(names)

-- Similarities of queries {N, d} and memories {M, d}: {N, M}
local function distances(memories, x, sign, exponent)
  local n, m, d = x:size(1), memories:size(1), x:size(2)
  local apart = x:view { n, 1, d }:expand { n, m, d } - memories:view { 1, m, d }:expand { n, m, d }
  local sum = exponent == 1 and T.sum(apart:abs(), { axes = { -1 } })
    or (T.sum(apart * apart, { axes = { -1 } }) + BARELY):sqrt()
  return sum * sign
end

local model = { __name = "memory" }
model.__index = model

function model:scores(x)
  local xi = self.memories
  local n, m, d = x:size(1), xi:size(1), xi:size(2)
  check_rows("memory:scores", "queries", x, d)
  local is_distance = self.overlap == "manhattan" or self.overlap == "l2"
  check_room("memory:scores", 2 * n * m * (is_distance and d or 1),
    ("scores of %d queries and %d patterns"):format(n, m))
  if self.overlap == "dot" then return x:matmul(xi:t()) end
  if self.overlap == "kernel" then return x:matmul(self.kernel:t()):matmul(xi:matmul(self.kernel:t()):t()) end
  return distances(xi, x, self.sign, self.overlap == "manhattan" and 1 or 2)
end

-- {N, M}
function model:weights(x)
  return separations[self.separation].weights(self.scores(self, x) * (self.beta_outside and 1 or self.beta))
end

-- T(x) {N, d}: one step of retrieval
function model:step(x)
  local y = self:weights(x):matmul(self.memories)
  return self.beta_outside and y * self.beta or y
end

-- E(x) {N, 1}, not below 0 with constants. With beta_outside the reference's, which has no 1 / beta and takes the
-- memories' lengths for 1.
function model:energy(x, without_constants)
  local s = separations[self.separation]
  if not s.conjugate then
    api.fail("memory:energy", ("no energy is known of '%s'"):format(self.separation),
      "softmax, softmax1, sparsemax and entmax15 have one")
  end
  local z = self:scores(x) * self.beta
  local p = s.weights(z)
  local unit = self.beta_outside and 1 or 1 / self.beta
  local e = row_sum(x * x) * 0.5 - s.conjugate(z, p) * unit
  if without_constants then return e end
  local m = self.beta_outside and 1 or self:largest_norm()
  return e + (s.entropy(self.memories:size(1)) * unit + 0.5 * m * m)
end

function model:largest_norm()
  return largest(row_sum(self.memories * self.memories):sqrt()):item()
end

-- J(x) v of queries {N, d} and directions {N, d}, for softmax and softmax1
function model:jacobian(x, v)
  local p, u = self:weights(x), v:matmul(self.memories:t())
  return (p * u - p * row_sum(p * u)):matmul(self.memories) * self.beta
end

-- The fixed points that x runs into, as deq.layer solves; and its report
function model:retrieve(x, options)
  local own = self
  check_rows("memory:retrieve", "queries", x, self.memories:size(2))
  local layer = hop.deq.layer { fn = hop.deq.fn { step = function(_, z) return own:step(z) end },
    state = { x:size(2) }, init = function(_, input) return input end, forward = options }
  local z, info = layer(x)
  return z, info
end

api.define(hop, { name = "hop.memory.model", safety = "setup",
  doc = "Stored patterns as an associative memory. m:step(x) is one step of retrieval, T(x) = " ..
    "weights(x) memories; m:weights(x), m:scores(x), m:energy(x), m:jacobian(x, v), and m:retrieve(x, " ..
    "options) runs to the fixed point by the solvers of deq.layer. softmax is the modern Hopfield " ..
    "network (arXiv 2008.02217), sparsemax the sparse one (2309.12673), softmax1 the outlier-efficient " ..
    "one (2404.03828), overlap kernel U-Hop (2404.03827).",
  args = { { "options", "table", options = {
    { "memories", "tensor", required = true, doc = "{M, d}, one per row" },
    { "beta", "number", default = 1, min = 0, doc = "inverse temperature" },
    { "separation", "string", default = "softmax", choices = names, doc = "what makes weights of scores" },
    { "overlap", "string", default = "dot", choices = { "dot", "manhattan", "l2", "kernel" },
      doc = "similarity of query and memory" },
    { "sign", "number", default = -1, min = -1, max = 1, doc = "of the two distances; the reference has +1, " ..
      "which prefers the farthest memory" },
    { "kernel", "tensor", doc = "{d, d}, for overlap kernel" },
    { "beta_outside", "boolean", default = false,
      doc = "as the reference: T(x) = beta separation(scores) memories, and " ..
      "energies that are right for beta 1 and memories of length 1 only" },
  } } },
  returns = "memory", example = "hop.memory.model { memories = T.randn{10, 20}, beta = 4 }",
  fn = function(o)
    check_rows("hop.memory.model", "memories", o.memories)
    if o.overlap == "kernel" and not o.kernel then
      api.fail("hop.memory.model", "overlap kernel needs a kernel {d, d}")
    end
    return setmetatable(o, model)
  end })

-- ---- patterns and their damage ----

local shape = { { "n", "integer", min = 1 }, { "d", "integer", min = 1 } }

api.define(hop, { name = "hop.memory.sphere", safety = "setup",
  doc = "n points on the sphere of this radius in d dimensions: {n, d}.",
  args = { shape[1], shape[2], { "radius", "number", default = 1, min = 0 } }, returns = "tensor",
  example = "hop.memory.sphere(10, 20)",
  fn = function(n, d, radius)
    check_room("hop.memory.sphere", 2 * n * d, ("%d patterns of width %d"):format(n, d))
    local x = T.randn { n, d }
    return x / row_sum(x * x):sqrt() * radius
  end })

api.define(hop, { name = "hop.memory.signs", safety = "setup",
  doc = "n vectors of 1 and -1, of unit length unless plain: {n, d}.",
  args = { shape[1], shape[2], { "plain", "boolean", default = false } }, returns = "tensor",
  example = "hop.memory.signs(10, 20)",
  fn = function(n, d, plain)
    check_room("hop.memory.signs", 2 * n * d, ("%d patterns of width %d"):format(n, d))
    return (T.lt(T.rand { n, d }, 0.5):cast "f32" * 2 - 1) * (plain and 1 or 1 / math.sqrt(d))
  end })

local damage = {
  add = function(x, s) return x + T.randn(x:size()) * s end,
  -- as the reference adds noise to pictures
  picture = function(x, s) return T.minimum((x + T.randn(x:size()) * s):abs(), 1) end,
  mask = function(x, p) return x * T.lt(T.rand(x:size()), 1 - p):cast "f32" end,
  -- inverted dropout, which the reference queries with: what is kept is scaled up
  dropout = function(x, p) return x * T.lt(T.rand(x:size()), 1 - p):cast "f32" * (1 / (1 - p)) end,
  flip = function(x, p) return x * (T.lt(T.rand(x:size()), 1 - p):cast "f32" * 2 - 1) end,
}

api.define(hop, { name = "hop.memory.damage", safety = "setup",
  doc = "Damaged copies of patterns: add (normal noise of deviation s), picture (the same, made positive and cut " ..
    "at 1), mask (a share s of the numbers becomes 0), dropout (and the others are scaled up), flip (of signs).",
  args = { { "kind", "string", choices = { "add", "dropout", "flip", "mask", "picture" } }, { "x", "tensor" },
    { "s", "number", min = 0 } },
  returns = "tensor", example = 'hop.memory.damage("mask", x, 0.5)',
  fn = function(kind, x, s)
    if kind ~= "add" and kind ~= "picture" and s >= 1 then
      api.fail("hop.memory.damage", ("a share of %g leaves nothing; it must be below 1"):format(s))
    end
    return damage[kind](x, s)
  end })

-- ---- kernel learning (U-Hop, arXiv 2404.03827) ----

-- Rows of unit length
function memory.unit_rows(x) return x / (row_sum(x * x) + BARELY):sqrt() end

local function pairs_apart(a)
  local n = a:size(1)
  local inner = a:matmul(a:t())
  local square = row_sum(a * a)
  local apart = square:expand { n, n } + square:t():expand { n, n } - inner * 2
  local i = T.arange(1, n):cast "f32"
  return apart, T.lt(i:view { n, 1 }:expand { n, n }, i:view { 1, n }:expand { n, n }):cast "f32", inner
end

-- ln of the mean of exp(-2 |a_i - a_j|^2) over pairs of rows
function memory.uniform_loss(a)
  check_units("memory.uniform_loss", a)
  local n = a:size(1)
  local apart, upper = pairs_apart(a)
  return (T.sum((apart * -2):exp() * upper, { axes = { 1, 2 } }) * (2 / (n * (n - 1)))):log()
end

-- The largest term of it
function memory.uniform_loss_max(a)
  check_units("memory.uniform_loss_max", a)
  local apart, upper = pairs_apart(a)
  return largest(apart * -2 * upper - (upper * -1 + 1) * 1e9)
end

-- 1 - the sum of the products of pairs / n; the reference descends it, which makes rows more alike
function memory.separation_loss(a)
  check_units("memory.separation_loss", a)
  local _, upper, inner = pairs_apart(a)
  return T.sum(inner * upper, { axes = { 1, 2 } }) * (-1 / a:size(1)) + 1
end

return memory
