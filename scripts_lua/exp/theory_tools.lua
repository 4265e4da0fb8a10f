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

-- Adds a point with its band to a series of a figure
function tools.add(series, x, list)
  local mean, half = tools.band(list)
  local i = #series.x + 1
  series.x[i], series.y[i], series.low[i], series.high[i] = x, mean, mean - half, mean + half
  return mean
end
function tools.series(name, more)
  local out = { name = name, x = {}, y = {}, low = {}, high = {} }
  for k, v in pairs(more or {}) do out[k] = v end
  return out
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
