-- Theory, 3: retrieval against the number of memories (spec: theory 4, 5 f, h; 6.3, 6.1). Queries are memories
-- with noise; what comes back is compared with the memory, and with the bound of the theory.
--
--   hoplab run scripts_lua/exp/theory_retrieval.lua

local hop = require "hop"
local tools = require "exp.theory_tools"
local T, memory = hop.T, hop.memory

-- Squared error and success rate after one step and after ten (spec 6.1, an independent simulation in
-- d = 20 with noise 0.1): beta, M, softmax, softmax1, sparsemax
local expected = {
  { 5, 10, { .013, .99, .72 }, { .015, .99, .65 }, { 0, 1, 1 } },
  { 5, 30, { .063, .61, 0 }, { .065, .59, 0 }, { 0, 1, 1 } },
  { 5, 100, { .216, .01, 0 }, { .217, .01, 0 }, { 0, 1, 1 } },
  { 5, 1000, { .522, 0, 0 }, { .522, 0, 0 }, { .002, 1, 1 } },
  { 10, 100, { .004, 1, 1 }, { .004, 1, 1 }, { 0, 1, 1 } },
  { 10, 300, { .020, .95, .58 }, { .020, .95, .58 }, { 0, 1, 1 } },
  { 10, 1000, { .076, .53, 0 }, { .076, .53, 0 }, { 0, 1, 1 } },
  { 10, 3000, { .178, .06, 0 }, { .178, .06, 0 }, { 0, 1, 1 } },
  { 20, 3000, { .002, 1, 1 }, { .002, 1, 1 }, { 0, 1, 1 } },
}
local separations = { "softmax", "softmax1", "sparsemax" }

-- One cell: mean squared error, success after one step, after ten, nearest memory; mean error and mean of its
-- bound, and by how much an error is above its bound at most. bounds: of each query, {N, 1}; nil: not known
local function cell(stored, queries, target, beta, name, bounds)
  local m = memory.model { memories = stored, beta = beta, separation = name }
  local norm = m:largest_norm()
  local x = m:step(queries)
  local error1 = tools.squares(x - target)
  local products = x:matmul(stored:t())
  local nearest = tools.mean(T.le(T.max(products), T.sum(x * target, { axes = { -1 }, keep = true }) + 1e-6):cast "f32")
  local y = x
  for _ = 2, 10 do y = m:step(y) end
  local good = (norm / 4) ^ 2
  local out = { tools.mean(error1), tools.mean(T.lt(error1, good):cast "f32"),
    tools.mean(T.lt(tools.squares(y - target), good):cast "f32"), nearest }
  if bounds then
    local length = error1:sqrt()
    out[5], out[6], out[7] = tools.mean(length), tools.mean(bounds), tools.largest(length - bounds)
  end
  return out
end

-- Of queries of the memories `index` {N}: products with the own memory and largest with another, {N, 1} each
local function margins(stored, queries, index)
  local n, m = queries:size(1), stored:size(1)
  local products = queries:matmul(stored:t())
  local own = T.eq(index:view { n, 1 }:expand { n, m }, T.arange(0, m - 1):cast "f32":view { 1, m }:expand { n, m })
  own = own:cast "f32"
  return T.sum(products * own, { axes = { -1 }, keep = true }), T.max(products - own * 1e9)
end

return hop.study {
  name = "retrieval",
  project = "theory",
  options = {
    { "counts", "table", default = { 10, 30, 100, 300, 1000, 3000 }, doc = "numbers of memories, on the unit sphere" },
    { "betas", "table", default = { 5, 10, 20 }, doc = "inverse temperatures" },
    { "width", "integer", default = 20, min = 2, doc = "of a memory" },
    { "noise", "number", default = 0.1, min = 0, doc = "of the queries" },
    { "queries", "integer", default = 1000, min = 1, doc = "per cell, spread over sets of memories" },
    { "sets", "integer", default = 5, min = 1, doc = "of memories, per cell" },
  },
  run = function(s)
    local o, rows, found, worst = s.options, {}, {}, -math.huge
    local done, n_cells = 0, #o.counts * #o.betas
    for _, beta in ipairs(o.betas) do
      local figure, apart = {}, tools.series "share that is well separated"
      local errors = { tools.series "softmax", tools.series "softmax1" }
      local limits = { tools.series "bound of softmax", tools.series "bound of softmax1" }
      for k, name in ipairs(separations) do figure[k] = tools.series(name) end
      for _, count in ipairs(o.counts) do
        local lists, wells = { {}, {}, {} }, {}
        local all = { {}, {}, {} }
        local sets = count < 30 and 10 * o.sets or o.sets
        for i = 1, sets do
          hop.seed(s.seed + i)
          local stored = memory.sphere(count, o.width)
          local n = math.max(1, math.ceil(o.queries / sets))
          local index = (T.rand { n } * count):floor()
          local target = T.embedding(stored, index:cast "i32")
          local queries = memory.damage("add", target, o.noise)
          if count <= 1000 then wells[#wells + 1] = tools.mean((tools.separated(stored, beta))) end
          local own, other = margins(stored, queries, index)
          local bounds = tools.error_bounds(own, other, tools.largest(tools.norms(stored)), count, beta)
          for k, name in ipairs(separations) do
            local c = cell(stored, queries, target, beta, name, bounds[name])
            all[k][i], lists[k][i] = c, c[2]
          end
        end
        for k, name in ipairs(separations) do
          tools.add(figure[k], count, lists[k], true)
          local mean, error1, limit = { 0, 0, 0, 0 }, {}, {}
          for i, c in ipairs(all[k]) do
            for j = 1, 4 do mean[j] = mean[j] + c[j] / #all[k] end
            error1[i], limit[i], worst = c[5], c[6], math.max(worst, c[7] or worst)
          end
          if #error1 > 0 then
            tools.add(errors[k], count, error1)
            tools.add(limits[k], count, limit)
          end
          s:log(count, { [("success/%s, beta %g"):format(name, beta)] = mean[2],
            [("squared error/%s, beta %g"):format(name, beta)] = mean[1] })
          found[("%g %d %s"):format(beta, count, name)] = mean
          rows[#rows + 1] = { beta, count, name, mean[1], mean[2], mean[3], mean[4],
            #wells > 0 and tools.band(wells) or "-" }
        end
        if #wells > 0 then tools.add(apart, count, wells, true) end
        done = done + 1
        s:tick("retrieving", done / n_cells)
      end
      figure[#figure + 1] = apart
      s:figure(("success-beta-%g"):format(beta):gsub("%.", "_"), {
        title = ("Retrieval in one step, beta %g"):format(beta), x = "number of memories", y = "success rate",
        log_x = true, series = figure,
        caption = "Share of noisy memories that one step brings to within a quarter of the memory's length. " ..
          "softmax1 retrieves like softmax, sparsemax more; being well separated is enough, not necessary." })
      for _, line in ipairs(limits) do errors[#errors + 1] = line end
      s:figure(("error-beta-%g"):format(beta):gsub("%.", "_"), {
        title = ("Retrieval error and its bound, beta %g"):format(beta), x = "number of memories",
        y = "mean |T(x) - memory|", log_x = true, log_y = true, series = errors,
        caption = "The error after one step stays below its bound for every query." })
    end
    s:table("retrieval", { columns = { "beta", "M", "separation", "squared error, 1 step", "success, 1 step",
      "success, 10 steps", "nearest memory right", "well separated" }, rows = rows,
      caption = ("queries: memories with noise %g"):format(o.noise) })
    if o.width == 20 and o.noise == 0.1 then
      local worst_error, worst_rate, n = 0, 0, 0
      for _, e in ipairs(expected) do
        for k, name in ipairs(separations) do
          local got = found[("%g %d %s"):format(e[1], e[2], name)]
          if got then
            n = n + 1
            worst_error = math.max(worst_error, math.abs(got[1] - e[2 + k][1]))
            worst_rate = math.max(worst_rate, math.abs(got[2] - e[2 + k][2]), math.abs(got[3] - e[2 + k][3]))
          end
        end
      end
      s:check("squared errors and success rates are those of an independent simulation",
        n > 0 and worst_error < 0.01 and worst_rate < 0.08,
        ("%d cells: squared errors within %.3f, rates within %.3f"):format(n, worst_error, worst_rate))
    end
    s:check("no error after one step is above its bound", worst <= 1e-5, ("largest error - bound %.2g"):format(worst))
  end,
}
