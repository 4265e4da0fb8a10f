-- Associative memories against the worked numbers of the specification (theory, 5.1), its table of
-- magnitudes (6.1) and what can be proved of them. Runs in double.
local hop = require "hop"
local check = require "check"
local T, memory = hop.T, hop.memory

local xi = T.from { { 1, 0, .5 }, { .2, .9, -.3 }, { -.5, .4, 1.1 }, { .3, -.7, .6 } }
local x = T.from { { .6, .1, .8 } }
local worked = {
  { 1, "softmax", { .36975157, .13200388, .25285883, .24538572 }, { .34333865, .04817702, .57065076 },
    { .26071506, .09273247, .56570418 } },
  { 1, "softmax1", { .32547866, .11619815, .22258229, .21600399 }, { .30222834, .04240845, .50232280 },
    { .21817937, .08767895, .46501792 } },
  { 1, "sparsemax", { .59666667, 0, .21666667, .18666667 }, { .54433333, -.04400000, .64866667 },
    { .74533365, -.25466635, .53638091 } },
  { 4, "softmax", { .69982119, .01136826, .15305921, .13575134 }, { .66629064, -.02357083, .59631606 },
    { .88786474, -.07037648, .51477215 } },
  { 4, "softmax1", { .69096463, .01122438, .15112218, .13403335 }, { .65785842, -.02327253, .58876940 },
    { .87287321, -.07220654, .51033638 } },
  { 4, "sparsemax", { 1, 0, 0, 0 }, { 1, 0, .5 }, { 1, 0, .5 } },
}
local function near(what, tensor, want, tolerance)
  local row = tensor:table()
  row = type(row[1]) == "table" and row[1] or row
  for i, v in ipairs(want) do check.near(("%s[%d]"):format(what, i), row[i], v, tolerance) end
end
for _, w in ipairs(worked) do
  local m = memory.model { memories = xi, beta = w[1], separation = w[2] }
  local name = ("%s, beta %d: "):format(w[2], w[1])
  near(name .. "weights", m:weights(x), w[3], 6e-9)
  near(name .. "step", m:step(x), w[4], 6e-9)
  local y = x
  for _ = 1, 4 do y = m:step(y) end
  near(name .. "four steps", y, w[5], 6e-9)
end

local function number(t) return t:view {}:item() end
local energies = { { 1, "softmax", -1.4899239371, -1.5580305927 }, { 1, "softmax1", -1.6174583841, -1.7210795233 },
  { 4, "softmax", -.5842326055, -.6299982705 }, { 4, "softmax1", -.5874166607, -.6335019845 } }
for _, w in ipairs(energies) do
  local m = memory.model { memories = xi, beta = w[1], separation = w[2] }
  local name = ("%s, beta %d: energy "):format(w[2], w[1])
  check.near(name, number(m:energy(x, true)), w[3], 6e-11)
  check.near(name .. "after a step", number(m:energy(m:step(x), true)), w[4], 6e-11)
end
local outside = memory.model { memories = xi, beta = 4, beta_outside = true }
near("the reference's update", outside:step(x), { 1.37335459, .19270809, 2.28260305 }, 6e-9)
for beta, want in pairs { [1] = .3963704240, [4] = -1.9656360608 } do
  local reference = memory.model { memories = xi, beta = beta, beta_outside = true }
  check.near(("the reference's energy, beta %d"):format(beta), number(reference:energy(x)), want, 6e-11)
end

-- ---- what can be proved: energies descend, with constants they are not below 0 ----

hop.seed(3)
local stored, start = memory.sphere(12, 6), T.randn { 50, 6 }
for _, name in ipairs { "softmax", "softmax1", "sparsemax", "entmax15" } do
  for _, beta in ipairs { 0.5, 2, 8 } do
    local m = memory.model { memories = stored, beta = beta, separation = name }
    local z, before = start, m:energy(start):table()
    for _ = 1, 5 do
      local next_z = m:step(z)
      local moved, after = ((next_z - z) * (next_z - z)):table(), m:energy(next_z):table()
      for i = 1, #after do
        local half = 0
        for _, v in ipairs(moved[i]) do half = half + v / 2 end
        if after[i][1] > before[i][1] - half + 1e-9 or after[i][1] < -1e-9 then
          check.equal(("%s, beta %g: energy of query %d"):format(name, beta, i), after[i][1], "lower")
        end
      end
      z, before = next_z, after
    end
    check.equal(name .. " went down", before[1][1] < m:energy(start):table()[1][1], true)
  end
end

-- softmax1 is softmax with one more memory, 0 (5 b)
local with_zero = T.cat({ T.zeros { 1, 6 }, stored }, { axis = 1 })
local a = memory.model { memories = stored, beta = 3, separation = "softmax1" }
local b = memory.model { memories = with_zero, beta = 3 }
check.close("the memory 0", a:step(start), b:step(start), 1e-12)

-- the Jacobian against differences, and its weights' entmax15 gradient through the energy
for _, name in ipairs { "softmax", "softmax1" } do
  local m = memory.model { memories = stored, beta = 3, separation = name }
  local v, h = T.randn { 50, 6 }, 1e-5
  local difference = (m:step(start + v * h) - m:step(start - v * h)) * (1 / (2 * h))
  check.close(name .. ": Jacobian", m:jacobian(start, v), difference, 1e-8)
end
for _, name in ipairs { "softmax", "softmax1", "sparsemax", "entmax15" } do -- T(x) = x - dE/dx
  local m = memory.model { memories = stored, beta = 3, separation = name }
  local h, first = 1e-5, T.from { { 1, 0, 0, 0, 0, 0 } }:expand { 50, 6 }
  local slope = (m:energy(start + first * h) - m:energy(start - first * h)) * (1 / (2 * h))
  local step = (start - m:step(start)):narrow(2, 1, 1)
  check.close(name .. ": the energy's gradient", slope, step, 1e-6)
end

-- ---- retrieval by solvers ends where the steps end ----

local m = memory.model { memories = stored, beta = 4, separation = "softmax1" }
local z = start
for _ = 1, 400 do z = m:step(z) end
for _, solver in ipairs { "picard", "anderson" } do
  local found, info = m:retrieve(start, { solver = solver, max_iter = 400, tol = 1e-11 })
  check.close("fixed points by " .. solver, found, z, 1e-6)
  check.equal(solver .. " converged", T.sum(info.converged:cast "f32"):item(), 50)
end

-- ---- damage, kernels, refusals ----

local ones = T.ones { 4, 1000 }
local kept = T.sum(memory.damage("mask", ones, 0.3)):item() / 4000
check.near("masked share", kept, 0.7, 0.03)
check.near("dropout keeps the mean", T.sum(memory.damage("dropout", ones, 0.5)):item() / 4000, 1, 0.06)
local a_rows = T.from { { 1, 0 }, { 0, 1 }, { -1, 0 } }
check.near("uniform loss", memory.uniform_loss(a_rows):item(), math.log((2 * math.exp(-4) + math.exp(-8)) / 3), 1e-12)
check.near("its largest term", memory.uniform_loss_max(a_rows):item(), -4, 1e-12)
check.near("separation loss", memory.separation_loss(a_rows):item(), 1 - (0 + -1 + 0) / 3, 1e-12)
check.raises("no memory", "at least one row", function() memory.model { memories = T.zeros { 0, 3 } } end)
check.raises("no points", "argument 1 (n) is 0", function() memory.sphere(0, 3) end)
check.raises("more patterns than memory", "GiB are available", function() memory.signs(1000000000000, 3) end)
check.raises("an infinite memory", "row 1 of the memories has inf at position 2", function()
  memory.model { memories = T.from { { 1, math.huge } } }
end)
local many = memory.model { memories = T.zeros { 1, 1 }:expand { 1000000, 1 } }
check.raises("more scores than memory", "1000000 queries and 1000000 patterns need", function()
  many:step(T.zeros { 1, 1 }:expand { 1000000, 1 })
end)
for _, call in ipairs { "step", "energy", "weights", "retrieve" } do
  check.raises(call .. " with NaN", "row 2 of the queries has NaN at position 3", function()
    m[call](m, T.from { { 1, 2, 3, 4, 5, 6 }, { 1, 2, 0 / 0, 4, 5, 6 } })
  end)
end
check.raises("a query of another width", "queries must be {N, 6}", function() m:step(T.zeros { 2, 5 }) end)
check.raises("rows of other lengths", "row 2 has length 2;", function()
  memory.uniform_loss(T.from { { 1, 0 }, { 0, 2 } })
end)
check.raises("no pair of rows", "at least two", function() memory.separation_loss(T.from { { 1, 0 } }) end)
check.raises("unknown separation", "did you mean 'softmax1'", function()
  memory.model { memories = xi, separation = "sofmax1" }
end)
check.raises("a share of all", "leaves nothing", function() memory.damage("mask", xi, 1) end)
check.done()
