-- Theory, 5: queries that no memory answers (spec: theory 5 g; 6.5). softmax always gives a mixture of
-- memories; softmax1 can give (nearly) nothing, which is what it is for.
--
--   hoplab run scripts_lua/exp/theory_noop.lua

local hop = require "hop"
local tools = require "exp.theory_tools"
local T, memory = hop.T, hop.memory

-- The solution of the symmetric positive system g a = 1, {n, n} as lists
local function solve_ones(g)
  local n, a = #g, {}
  for i = 1, n do a[i] = 1 end
  for k = 1, n do
    for i = k + 1, n do
      local f = g[i][k] / g[k][k]
      for j = k, n do g[i][j] = g[i][j] - f * g[k][j] end
      a[i] = a[i] - f * a[k]
    end
  end
  for i = n, 1, -1 do
    for j = i + 1, n do a[i] = a[i] - g[i][j] * a[j] end
    a[i] = a[i] / g[i][i]
  end
  return a
end

-- The unit vector whose products with all memories are the same and negative, {1, d}; and that product
local function opposite(stored)
  local a = T.from { solve_ones(stored:matmul(stored:t()):table()) }
  local x = a:matmul(stored) * -1
  x = x / tools.norms(x)
  return x, T.sum(stored:narrow(1, 1, 1) * x):item()
end

-- Unit vectors at right angles to all memories
local function elsewhere(stored, n)
  local basis = {} -- of the memories' span, by Gram and Schmidt
  for i = 1, stored:size(1) do
    local v = stored:narrow(1, i, 1)
    for _, b in ipairs(basis) do v = v - b * T.sum(v * b) end
    basis[i] = v / tools.norms(v)
  end
  local span = T.cat(basis, { axis = 1 })
  local q = T.randn { n, stored:size(2) }
  return memory.unit_rows(q - q:matmul(span:t()):matmul(span))
end

-- n queries of a kind; r: all their products with memories are at most -r, or nil
local kinds = {
  { "zero", function(stored, n) return T.zeros { n, stored:size(2) } end },
  { "orthogonal", function(stored, n) return elsewhere(stored, n) end },
  { "opposed to the sum", function(stored, n, toward)
    local middle = T.sum(stored, { axes = { 1 }, keep = true })
    middle = (middle / tools.norms(middle)):expand { n, stored:size(2) }
    return elsewhere(stored, n) * math.sqrt(1 - toward * toward) + middle * toward
  end },
  { "opposed to each", function(stored, n)
    local x, product = opposite(stored)
    return x:expand { n, stored:size(2) }, -product
  end },
}

return hop.study {
  name = "noop",
  project = "theory",
  options = {
    { "queries", "integer", default = 50, min = 1, doc = "per set of memories" },
    { "sets", "integer", default = 20, min = 2, doc = "of memories" },
    { "patterns", "integer", default = 10, min = 2, doc = "memories of a set, on the unit sphere" },
    { "width", "integer", default = 100, min = 3, doc = "of a memory" },
    { "toward", "number", default = -0.3, min = -1, max = 1,
      doc = "product of an opposed query with the memories' sum" },
    { "betas", "table", default = { 1, 2, 5, 10, 20, 50, 100 }, doc = "inverse temperatures" },
  },
  run = function(s)
    local o, rows, found = s.options, {}, {}
    if o.patterns >= o.width then
      s:refuse(("nothing is at right angles to %d patterns in %d dimensions"):format(o.patterns, o.width),
        "take fewer patterns than width, or more width")
    end
    local lengths, nothing, excess = {}, {}, -math.huge
    for _, kind in ipairs(kinds) do
      for _, name in ipairs { "softmax", "softmax1" } do
        local line = tools.series(("%s, %s"):format(kind[1], name))
        local rest = tools.series(line.name)
        for _, beta in ipairs(o.betas) do
          local length, weight = {}, {}
          for i = 1, o.sets do
            hop.seed(s.seed + i)
            local stored = memory.sphere(o.patterns, o.width)
            local m = memory.model { memories = stored, beta = beta, separation = name }
            local q, r = kind[2](stored, o.queries, o.toward)
            length[i] = tools.mean(tools.norms(m:step(q)))
            weight[i] = 1 - tools.mean(T.sum(m:weights(q), { axes = { -1 } }))
            if r and name == "softmax1" then
              excess = math.max(excess, length[i] / (m:largest_norm() * o.patterns * math.exp(-beta * r)))
            end
          end
          local mean, w = tools.add(line, beta, length), tools.add(rest, beta, weight, true)
          s:log(math.floor(beta + 0.5), { ["length/" .. line.name] = mean, ["weight on nothing/" .. line.name] = w })
          rows[#rows + 1] = { kind[1], name, beta, mean, w }
          found[kind[1] .. name .. beta] = mean
        end
        lengths[#lengths + 1] = line
        if name == "softmax1" then nothing[#nothing + 1] = rest end
        s:tick("querying", #lengths / (2 * #kinds))
      end
    end
    s:table("noop", { columns = { "query", "separation", "beta", "mean |T(x)|", "weight on nothing" }, rows = rows,
      caption = "what memories answer to queries that belong to none of them" })
    s:figure("length", { title = "What is retrieved where nothing fits", x = "beta", y = "mean |T(x)|", log_x = true,
      log_y = true, series = lengths, caption = "Softmax answers every query with a mixture of memories. " ..
        "Softmax1 answers queries that are opposed to all of them with less and less as beta grows." })
    s:figure("weight", { title = "Weight on the zero memory", x = "beta", y = "1 - sum of weights", log_x = true,
      series = nothing, caption = "The weight that softmax1 gives to no memory at all." })
    local last = o.betas[#o.betas]
    local strong, same = found["opposed to eachsoftmax1" .. last], found["opposed to eachsoftmax" .. last]
    s:check("softmax1 answers opposed queries with nearly nothing, softmax does not", strong < 0.01 and same > 0.2,
      ("beta %g: |T| %.2g and %.2g"):format(last, strong, same))
    s:check("softmax1's answer to queries opposed to each is at most m M exp(-beta r)", excess <= 1,
      ("at most %.3f of the bound"):format(excess))
    if found["opposed to the sumsoftmax20"] and o.patterns == 10 and o.width == 100 and o.toward == -0.3 then
      local a, b = found["opposed to the sumsoftmax20"], found["opposed to the sumsoftmax120"]
      s:check("mildly opposed queries, beta 20: about .33 and .21 (independent simulation)",
        math.abs(a - .33) < .03 and math.abs(b - .21) < .03, ("%.3f and %.3f"):format(a, b))
    end
    local share = o.patterns / (o.patterns + 1)
    local zero, zero1 = found["zerosoftmax" .. last], found["zerosoftmax1" .. last]
    s:check("of a zero query softmax1 gives M/(M+1) of softmax's mean of memories",
      math.abs(zero1 / zero - share) < 1e-4, ("%.4f, %.4f of it"):format(zero, zero1 / zero))
  end,
}
