-- What the studies of the theory share: reductions over queries, bands, pairs of queries and memories.

local hop = require "hop"
local T = hop.T
local tools = {}

-- |x|^2 of rows: {N, 1}
function tools.squares(x) return T.sum(x * x, { axes = { -1 }, keep = true }) end
function tools.norms(x) return tools.squares(x):sqrt() end
function tools.largest(x) return T.max(x:view { 1, x:numel() }):view {}:item() end
function tools.mean(x) return T.sum(x):item() / x:numel() end

-- Mean and 1.96 standard errors of a list of numbers
function tools.band(list)
  local sum, squares = 0, 0
  for _, v in ipairs(list) do sum = sum + v end
  local mean = sum / #list
  for _, v in ipairs(list) do squares = squares + (v - mean) ^ 2 end
  return mean, #list > 1 and 1.96 * math.sqrt(squares / (#list - 1) / #list) or 0
end

-- Adds a point with its band to a series of a figure; the band of a share ends at 0 and 1
function tools.add(series, x, list, is_share)
  local mean, half = tools.band(list)
  local low, high = mean - half, mean + half
  if is_share then low, high = math.max(low, 0), math.min(high, 1) end
  local i = #series.x + 1
  series.x[i], series.y[i], series.low[i], series.high[i] = x, mean, low, high
  return mean
end
function tools.series(name, more)
  local out = { name = name, x = {}, y = {}, low = {}, high = {} }
  for k, v in pairs(more or {}) do out[k] = v end
  return out
end

-- Of memories {M, d}, {M, 1} each: whether they are well separated, Delta >= ln(2 m M / R) / beta + 2 m R, and the
-- radius R of the ball that retrieval then maps into itself (spec 5 h). With the R given there, half of the
-- distance to the next memory, none of equal length ever are (Delta = 2 R^2 then, and R < m); the proof takes any
-- R, and 1 / (2 m beta) asks least of Delta.
function tools.separated(stored, beta)
  local n, norm = stored:size(1), tools.norms(stored)
  local own, other = tools.margins(stored, stored)
  local m = tools.largest(norm)
  local square = tools.squares(stored)
  local apart = square:expand { n, n } + square:t():expand { n, n } - stored:matmul(stored:t()) * 2
  local closest = -(T.max(-(apart + tools.diagonal(n) * 1e9)))
  local half = T.minimum(T.maximum(closest, 0):sqrt(), norm) * 0.5
  local radius = T.maximum(T.minimum(half, 1 / (2 * m * beta)), 1e-9)
  local enough = radius:reciprocal() * (2 * m * n)
  return T.le(enough:log() * (1 / beta) + radius * (2 * m), T.minimum(own - other, own)):cast "f32", radius
end

-- The bounds of |T(x) - xi| for queries x of memories that are `own` and at most `other` similar, {N, 1} each
-- (spec 5 f): of softmax and of softmax1, m the largest length of `count` memories
function tools.error_bounds(own, other, m, count, beta)
  local far = ((own - other) * -beta):exp() * (2 * m * (count - 1))
  return { softmax = far, softmax1 = far + (own * -beta):exp() * m }
end

-- {N} as a list
function tools.list(x) return x:view { x:numel() }:table { force = true } end

-- 1 where row and column are the same, {n, n}
function tools.diagonal(n)
  local i = T.arange(1, n):cast "f32"
  return T.eq(i:view { n, 1 }:expand { n, n }, i:view { 1, n }:expand { n, n }):cast "f32"
end

-- Of queries that belong to the memories one by one, {M, d} each: product with the own one and the largest
-- with another, {M, 1} each
function tools.margins(stored, x)
  local products, own = x:matmul(stored:t()), tools.diagonal(stored:size(1))
  return T.sum(products * own, { axes = { -1 }, keep = true }), T.max(products - own * 1e9)
end

return tools
