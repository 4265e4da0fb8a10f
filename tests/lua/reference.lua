-- Files of reference numbers (tests/golden): opening them, and how far a result is from them.

local hop = require "hop"
local check = require "check"
local T = hop.T
local reference = {}

-- Tensors of DIR/name.safetensors and a function for its metadata; nil if it is not there.
function reference.open(dir, name)
  local path = dir .. "/" .. name .. ".safetensors"
  local f = io.open(path)
  if not f then
    check.skip(name, "not in " .. dir)
    return nil
  end
  f:close()
  return hop.load(path), function(key) return hop.metadata(path, key) end
end

function reference.biggest(t) return T.max(T.reshape(T.abs(t), { -1 })):item() end

-- The largest difference over the largest value, or over `size` (a part of a tensor whose largest value
-- lies elsewhere).
function reference.error(got, want, size)
  return reference.biggest(T.reshape(got, want:size()) - want) / (size or reference.biggest(want))
end

-- Checks the error against the plain or the float64 numbers, whichever is nearer.
function reference.agrees(what, got, plain, wide, tol, size)
  local e = reference.error(got, plain, size)
  if wide then e = math.min(e, reference.error(got, wide, size)) end
  check.that(what, e <= tol, ("error %.3g, allowed %.3g"):format(e, tol))
end

return reference
