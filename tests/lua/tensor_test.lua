-- Tensors in scripts: values against plain Lua, gradients against finite differences, the collector.

local hop = require "hop"
local check = require "check"
local T = hop.T

local function flat(t) return T.reshape(t, { -1 }):table() end
local function equal(what, t, want)
  local got = type(t) == "number" and { t } or flat(t)
  if #got ~= #want then return check.that(what, false, ("%d values, want %d"):format(#got, #want)) end
  for i = 1, #want do check.near(("%s [%d]"):format(what, i), got[i], want[i], 1e-6) end
end

-- --- making and reading ---
local a = T.from { { 1, -2, 3 }, { 4, 5, -6 } }
check.equal("dim", a:dim(), 2)
check.equal("numel", a:numel(), 6)
check.equal("size 1", a:size(1), 2)
check.equal("size -1", a:size(-1), 3)
check.equal("dtype", a:dtype(), "f32")
check.equal("table", a:table()[2][3], -6)
check.equal("item", T.from(7.5):item(), 7.5)
check.raises("item of many", "is not one number", function() return a:item() end)
check.raises("ragged", "different lengths", T.from, { { 1, 2 }, { 3 } })
check.raises("text inside", "number", T.from, { { 1, "x" } })
equal("zeros", T.zeros { 2 }, { 0, 0 })
equal("full", T.full({ 2 }, -1.5), { -1.5, -1.5 })
equal("arange", T.arange(1, 4), { 1, 2, 3, 4 })
check.equal("an empty tensor", T.zeros({ 0, 3 }):numel(), 0)
check.equal("its sum", T.zeros({ 0, 3 }):sum():item(), 0)
check.raises("a negative size", "size", T.zeros, { -1 })

-- --- operators and broadcasting ---
equal("add", a + 1, { 2, -1, 4, 5, 6, -5 })
equal("from the left", 1 - a, { 0, 3, -2, -3, -4, 7 })
equal("row", a * T.from { 1, 10, 100 }, { 1, -20, 300, 4, 50, -600 })
equal("column", a + T.from { { 10 }, { 20 } }, { 11, 8, 13, 24, 25, 14 })
equal("div", a / 2, { 0.5, -1, 1.5, 2, 2.5, -3 })
equal("pow", T.from { 2, 3 } ^ 2, { 4, 9 })
equal("neg", -a, { -1, 2, -3, -4, -5, 6 })
equal("floordiv", T.from { 7, -7 } // 2, { 3, -4 })
check.raises("shapes that do not fit", "f32{2, 3}", function() return a + T.zeros { 4 } end)
check.raises("a string", "tensor", function() return a + "x" end)

-- --- parts and shapes ---
equal("narrow", a:narrow(2, 2, 2), { -2, 3, 5, -6 })
equal("narrow from the end", a:narrow(2, -2, 2), { -2, 3, 5, -6 })
equal("select", a:select(1, 2), { 4, 5, -6 })
equal("slice", a:slice { {}, { 2, 3 } }, { -2, 3, 5, -6 })
equal("slice one", a:slice { 1 }, { 1, -2, 3 })
equal("t", a:t(), { 1, 4, -2, 5, 3, -6 })
equal("view", a:view { 3, 2 }:select(1, 2), { 3, 4 })
equal("expand_as", T.from { { 1 }, { 2 } }:expand_as(a), { 1, 1, 1, 2, 2, 2 })
equal("cat", T.cat({ a, a }, 1), { 1, -2, 3, 4, 5, -6, 1, -2, 3, 4, 5, -6 })
equal("mean", a:mean(2), { 2 / 3, 1 })
equal("sum of all", a:sum(), { 5 })
equal("gt", a:gt(0), { 1, 0, 1, 1, 1, 0 })
equal("where", T.where(a:gt(0), a, 0 * a), { 1, 0, 3, 4, 5, 0 })
equal("floor", T.from { 1.5, -1.5, 2 }:floor(), { 1, -2, 2 })
check.raises("view of another count", "6 elements", function() return a:view { 4, 2 } end)
check.raises("no such dimension", "dimension", function() return a:transpose(1, 3) end)
check.raises("position 0", "start at 1", function() return a:narrow(1, 0, 1) end)

-- --- in place ---
local b = T.from { 1, 2 }
local same = b
b:add_(1):mul_(2)
equal("in place", same, { 4, 6 })
local function in_place_on_wanted()
  local w = T.randn { 2, grad = true }
  w:add_(1)
end
check.raises("in place where gradients are wanted", "grad", in_place_on_wanted)

-- --- gradients ---
local function same_as_differences(what, f, x, tol)
  hop.seed(3)
  local ok, err = pcall(hop.grad_check, f, x, { tol = tol })
  check.that(what, ok, tostring(err))
end
local x = T.randn { 3, 4 }
same_as_differences("tanh", function(v) return v:tanh():sum() end, x)
same_as_differences("softmax1", function(v) return (v:softmax1() * T.arange(1, 4)):sum() end, x)
same_as_differences("matmul", function(v) return T.square(v:matmul(v:t())):sum() end, x)
same_as_differences("parts", function(v) return (v:narrow(2, 2, 2) * v:select(1, 1):narrow(1, 1, 2)):sum() end, x)
same_as_differences("layernorm", function(v)
  return (T.layernorm(v, T.ones { 4 }, T.zeros { 4 }) * T.arange(1, 4)):sum()
end, x)
local w = T.from { 3 }:require_grad()
local y = (w ^ 3):sum()
local dy = T.grad(y, { w })[1]
equal("first derivative", dy, { 27 })
equal("second derivative", T.grad(dy:sum(), { w })[1], { 18 })
T.sum(w * w):backward()
equal("backward", w.grad, { 6 })
T.sum(w * w):backward()
equal("backward adds", w.grad, { 12 })
check.that("none", T.grad(y, { w, T.zeros { 2, grad = true } })[2] == nil)
check.that("no way back", hop.no_grad(function() return T.grad((w * w):sum(), { w })[1] end) == nil)

local frozen = hop.no_grad(function() return w * w end)
check.that("nor through what was made so", T.grad((w * 0 + frozen):sum(), { w })[1]:item() == 0)
local p = T.from { 2 }:require_grad()
hop.no_grad(function() return (p * p):item() end)
T.sum(p * p * p):backward()
equal("first seen without gradients", p.grad, { 12 })
equal("detach", T.grad((w * w:detach()):sum(), { w })[1], { 3 })

-- --- the collector ---
local function memory() collectgarbage() return collectgarbage("count") end
local before = memory()
local t = T.zeros { 8 }
for _ = 1, 100000 do t = t + 1 end
check.equal("100000 dependent additions", t:select(1, 1):item(), 100000)
local many = os.getenv "HOPLAB_SANITIZED" and 90000 or 900000
for _ = 1, many do local _ = T.zeros { 8 } end
check.that("a million temporaries are collected", memory() < before + 20000,
  ("%d KiB before, %d after"):format(before // 1, memory() // 1))
do
  local closed <close> = T.zeros { 4 } -- luacheck: ignore
end
local function cycle()
  local c = T.zeros { 1000 }
  local f
  f = function() return c, f end
  return f
end
for _ = 1, 2000 do cycle() end
check.that("cycles through closures are collected", memory() < before + 20000)
local ok = pcall(function() local z = T.zeros { 2 } error("in the middle " .. tostring(z:numel())) end)
check.that("an error in the middle", not ok)
equal("and tensors go on working", T.ones { 2 } + 1, { 2, 2 })

-- --- the same seed, the same numbers ---
hop.seed(5)
local r1 = T.randn { 4 } -- computed only when it is looked at
hop.seed(6)
local r2 = T.randn { 4 }
check.that("another seed", not T.equal(r1, r2))
hop.seed(5)
check.that("seed", T.equal(r1, T.randn { 4 }))
check.that("another draw", not T.equal(r1, T.randn { 4 }))
check.done()
